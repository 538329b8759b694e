"""Types of the importers.

A format is a function from a state dict to an equivalent network of ganvas, or to None
for a file in another format.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ganvas.core.errors import UserError, printable

State = dict[str, Tensor]


class Misfit(UserError):
    """Tensors have the names of a format and do not fit it; the end of a message."""


class Tensors(State):
    """The tensors of a file, by name. One that is missing is a `Misfit`."""

    def __missing__(self, key: str) -> Tensor:
        raise Misfit(f"{printable(key)[:150]} is missing")


OutputMap = Callable[..., Tensor | tuple[object, ...]]


Reading = Callable[[nn.Module], OutputMap | None]


class Numbers(Mapping[str, Reading]):
    """Readings of a setting that is any number: its text -> function that sets it.

    set: sets a number in the network
    least: the smallest number; `above`: it is excluded
    whole: whole numbers only
    words: further readings, such as none
    """

    def __init__(
        self,
        set: Callable[[nn.Module, float], None],
        least: float = 0.0,
        above: bool = False,
        whole: bool = False,
        words: Mapping[str, Reading] | None = None,
    ) -> None:
        self.set, self.least, self.above, self.whole = set, least, above, whole
        self.words = dict(words or {})

    def _number(self, text: object) -> float | None:
        try:
            number = float(str(text))
        except ValueError:
            return None
        fits = number > self.least if self.above else number >= self.least
        fits = fits and math.isfinite(number) and not (self.whole and number % 1)
        return number if fits else None

    def __getitem__(self, value: str) -> Reading:
        if value in self.words:
            return self.words[value]
        if (number := self._number(value)) is None:
            raise KeyError(value)
        return lambda net: self.set(net, number)

    def __contains__(self, value: object) -> bool:
        return value in self.words or self._number(value) is not None

    def __iter__(self) -> Iterator[str]:
        yield "NUMBER"
        yield from self.words

    def described(self) -> list[str]:
        """The readings as errors name them."""
        kind = "a whole number" if self.whole else "a number"
        return [f"{kind} {'above' if self.above else 'from'} {self.least:g}", *self.words]

    def __len__(self) -> int:
        return 1 + len(self.words)


class Setting(NamedTuple):
    """A setting of a network that names and shapes do not show.

    It is named as the argument of the project's own constructor.

    readings: value, in lower case -> function that sets it in the network, and returns
        an `output_map` in place of the file's, or None; or `Numbers`
    assumed: the value unless another is given; None: one must be given. The network
        has it already
    announced: whether to say what is assumed; False for what the project's own programs
        leave as it is
    """

    readings: Mapping[str, Reading]
    assumed: str | None = None
    announced: bool = True


class Found(NamedTuple):
    """A recognized file.

    net: on the meta device, without weights
    state: the weights, under the names of `net`
    output_map: from the output of `net` to that of the file's project
    input_map: from the project's input images to those of `net`
    settings: what the file does not show, by name
    """

    net: nn.Module
    state: State
    output_map: OutputMap | None = None
    input_map: Callable[[Tensor], Tensor] | None = None
    settings: Mapping[str, Setting] = {}  # never changed


MAX_TAPS = 64
Format = Callable[[State], Found | None]


def convolutions(state: State) -> list[Tensor]:
    """The weights of the convolutions, in order."""
    return [v for v in state.values() if v.dim() == 4]


def numbered(state: State, prefix: str) -> bool:
    """Whether every key is `prefix`.<number>.<name>."""
    return all(re.fullmatch(rf"{prefix}\.\d+\.\w+", k) for k in state)


def separable(filters: Sequence[Tensor], usual: Sequence[float], name: str) -> Sequence[float]:
    """The taps of one filter, stored many times, as they are or as their outer product.

    usual: taps that are returned if they are the same

    Raises `Misfit`, with the filter's `name`, for filters that differ or are no
    outer product of a row with itself.
    """
    first = filters[0].float()
    if first.dim() not in (1, 2) or not 1 <= len(first) <= MAX_TAPS:
        raise Misfit(f"{name} is {list(first.shape)}, expected a filter")
    row = (first if first.dim() == 1 else first.sum(0)) / first.sum()
    whole = row if first.dim() == 1 else row.outer(row)
    for other in filters:
        if other.shape != first.shape or not torch.allclose(
            other.float(), whole * first.sum(), atol=1e-5
        ):
            raise Misfit(f"{name} is not one filter, the same in rows and columns")
    known = torch.tensor(usual, device="cpu")
    same = len(known) == len(row) and torch.allclose(row, known / known.sum(), atol=1e-5)
    return usual if same else row.tolist()


def unchanged(net: nn.Module) -> None:
    """The reading that a network has already."""


def column(scores: Tensor) -> Tensor:
    """Weights [N] as [N, 1]."""
    return scores[:, None]
