"""The nouns of ganvas, and the foundation of every other package.

The nouns are defined in `core.types` and `core.protocols`, and imported at their first
use, so that the command line does not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ganvas.core.protocols import (
        Adaptive,
        AnySize,
        Couples,
        Dataset,
        Encodes,
        Gradual,
        Likelihood,
        Moves,
        Samples,
        Styled,
        Translates,
        Truncates,
    )
    from ganvas.core.types import (
        Averaging,
        Batch,
        Clock,
        Curve,
        Forward,
        Length,
        Measure,
        Method,
        Objective,
        Outcome,
        Plan,
        Run,
        Schedule,
        Shape,
        Stage,
        Terms,
        Update,
    )

__all__ = [
    "Adaptive",
    "AnySize",
    "Averaging",
    "Batch",
    "Clock",
    "Couples",
    "Curve",
    "Dataset",
    "Encodes",
    "Forward",
    "Gradual",
    "Length",
    "Likelihood",
    "Measure",
    "Method",
    "Moves",
    "Objective",
    "Outcome",
    "Plan",
    "Run",
    "Samples",
    "Schedule",
    "Shape",
    "Stage",
    "Styled",
    "Terms",
    "Translates",
    "Truncates",
    "Update",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        from ganvas.core import protocols, types

        return getattr(types if name in vars(types) else protocols, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
