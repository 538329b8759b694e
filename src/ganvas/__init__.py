"""ganvas: adversarial generative models on one engine.

import ganvas
ganvas.train("dcgan", "photos/", out="runs/p")
m = ganvas.load("runs/p")
m.sample(16, seed=7)            # PIL images; output="numpy" or "torch" for arrays and tensors
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ganvas.core.errors import UserError
    from ganvas.evaluation.evaluate import measure
    from ganvas.inference.importers import import_network
    from ganvas.inference.load import load
    from ganvas.inference.model import Model
    from ganvas.training.trainer import resume, train

# Imported when first used, so that `ganvas --help` does not wait for torch.
_WHERE = {
    "Model": "inference.model",
    "load": "inference.load",
    "UserError": "core.errors",
    "import_network": "inference.importers",
    "measure": "evaluation.evaluate",
    "resume": "training.trainer",
    "train": "training.trainer",
}

__all__ = ["Model", "UserError", "__version__", "import_network", "load", "measure", "resume", "train"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"ganvas.{_WHERE[name]}"), name)
    try:
        return import_module(f"ganvas.{name}")
    except ModuleNotFoundError as e:
        if e.name != f"ganvas.{name}":
            raise
        raise AttributeError(f"module 'ganvas' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
