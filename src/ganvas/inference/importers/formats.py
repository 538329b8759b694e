"""What a format is: a function from a state dict to the network of ours that computes the same, or None where the file is not
its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

State = dict[str, Tensor]


class Found(NamedTuple):
    """A recognised file. `net` has no weights yet (it is on the meta device), `state` holds them under its names,
    `answer` turns its output into what the file's own project returns, `ask` the images that the project gives it into ours."""

    net: nn.Module
    state: State
    answer: Callable[[Any], Any] | None = None
    ask: Callable[[Tensor], Tensor] | None = None


Format = Callable[[State], Found | None]


def convolutions(state: State) -> list[Tensor]:
    """Weights of convolutions, in order."""
    return [v for v in state.values() if v.dim() == 4]


def numbered(state: State, prefix: str) -> bool:
    """Whether every key is `prefix`.<number>.<name>."""
    return all(re.fullmatch(rf"{prefix}\.\d+\.\w+", k) for k in state)


def column(scores: Tensor) -> Tensor:
    """[N] -> [N, 1]"""
    return scores[:, None]
