"""Types of the importers.

A format is a function from a state dict to an equivalent network of ganvas, or to None
for a file in another format.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

State = dict[str, Tensor]


class Found(NamedTuple):
    """A recognized file.

    net: on the meta device, without weights
    state: the weights, under the names of `net`
    output_map: from the output of `net` to that of the file's project
    input_map: from the project's input images to those of `net`
    """

    net: nn.Module
    state: State
    output_map: Callable[..., Tensor | tuple[object, ...]] | None = None
    input_map: Callable[[Tensor], Tensor] | None = None


Format = Callable[[State], Found | None]


def convolutions(state: State) -> list[Tensor]:
    """The weights of the convolutions, in order."""
    return [v for v in state.values() if v.dim() == 4]


def numbered(state: State, prefix: str) -> bool:
    """Whether every key is `prefix`.<number>.<name>."""
    return all(re.fullmatch(rf"{prefix}\.\d+\.\w+", k) for k in state)


def column(scores: Tensor) -> Tensor:
    """Weights [N] as [N, 1]."""
    return scores[:, None]
