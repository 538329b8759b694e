"""Which latents: a picture's name is (seed, number), as `ganvas sample` counts them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ganvas.core import Samples, Styled, Truncates, rng
from ganvas.core.errors import UserError

MAX_PICTURES = 10_000  # of one walk or sheet
Picture = tuple[int, int]  # seed, number


def pictures(text: str) -> list[Picture]:
    """`"3,7"`: the first pictures of seeds 3 and 7; `"0-4"`: of seeds 0 to 4; `"0:12"`: picture 12 of seed 0, counted from 0
    along the rows of a grid; `"0:3-5"`: pictures 3 to 5 of seed 0. Raises `UserError` for anything else."""
    found: list[Picture] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(?:([0-9]{1,18}):)?([0-9]{1,18})(?:-([0-9]{1,18}))?\s*", part)
        if match is None:
            raise UserError(
                f"pictures are named as 3,7 (seeds), 0-4 (a range of seeds) or 0:12 (picture 12 of seed 0); got {text[:100]!r}"
            )
        seed, first, last = match[1], int(match[2]), int(match[3] or match[2])
        if last - first >= MAX_PICTURES or len(found) >= MAX_PICTURES:
            raise UserError(f"{text[:100]!r} names more than {MAX_PICTURES:,} pictures: name fewer")
        found += [(n, 0) if seed is None else (int(seed), n) for n in range(first, last + 1)]
    if not found:
        raise UserError(f"{text!r} names no picture: a range goes from the smaller number to the larger")
    return found


def first_or_named(text: str) -> int | list[Picture]:
    """How many first pictures `"6"` asks for, or which ones any other text names."""
    if not re.fullmatch("[0-9]+", text):
        return pictures(text)
    if len(text) > 18 or int(text) > MAX_PICTURES:
        raise UserError(f"{text[:100]!r} are more than {MAX_PICTURES:,} pictures: ask for fewer")
    return int(text)


def latents(method: Samples, named: Sequence[Picture]) -> Tensor:
    """Their z [n, ...]: one at a time, so that a name is the same picture in any company."""
    if not named:
        raise UserError("no image is named: ask for at least one")
    with torch.random.fork_rng():
        rows = []
        for seed, number in named:
            torch.manual_seed(rng.fold_in(seed, number))
            rows.append(method.latent(1))
    return torch.cat(rows)


def generate(method: Samples, z: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
    """z [n, ...] and labels [n] -> images [n, C, H, W]; `truncation` is for methods that have the skill."""
    if truncation is None:
        return method.sample(len(z), z=z, y=y)
    assert isinstance(method, Truncates)
    return method.truncated(z, truncation, y)


def styles(method: Styled, z: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
    """z [n, ...] -> w [n, layers, d], truncated as the method's samples are."""
    return method.styles(z, y) if truncation is None else method.styles(z, y, truncation)
