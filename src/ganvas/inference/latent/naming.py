"""Names of samples: (seed, number), as `ganvas sample` counts; their latents."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ganvas.core import Samples, Styled, Truncates, rng
from ganvas.core.errors import UserError

MAX_SEED = 2**63 - 1  # torch's
MAX_SAMPLES = 10_000  # of one walk or sheet
SampleName = tuple[int, int]  # seed, number

NAME = re.compile(r"\s*(?:([0-9]{1,18}):)?([0-9]{1,18})(?:-([0-9]{1,18}))?\s*")


def sample_names(text: str) -> list[SampleName]:
    """Parse names of samples.

    `"3,7"`: the first samples of seeds 3 and 7; `"0-4"`: of seeds 0 to 4; `"0:12"`:
    sample 12 of seed 0, counted from 0 along the rows of a grid; `"0:3-5"`: samples 3
    to 5 of seed 0.

    Raises `UserError` for anything else.
    """
    names: list[SampleName] = []
    for part in text.split(","):
        match = NAME.fullmatch(part)
        if match is None:
            raise UserError(
                "samples are named as 3,7 (seeds), 0-4 (a range of seeds) or 0:12 (sample 12 of "
                f"seed 0); got {text[:100]!r}"
            )
        seed, first, last = match[1], int(match[2]), int(match[3] or match[2])
        if last - first >= MAX_SAMPLES or len(names) >= MAX_SAMPLES:
            raise UserError(f"{text[:100]!r} names more than {MAX_SAMPLES:,} samples: name fewer")
        names += [(n, 0) if seed is None else (int(seed), n) for n in range(first, last + 1)]
    if not names:
        raise UserError(
            f"{text!r} names no sample: a range goes from the smaller number to the larger"
        )
    return names


def count_or_names(text: str) -> int | list[SampleName]:
    """A number of samples (`"6"`: the first six), or the names in a text.

    Raises `UserError` for more than `MAX_SAMPLES`.
    """
    if not re.fullmatch("[0-9]+", text):
        return sample_names(text)
    if len(text) > 18 or int(text) > MAX_SAMPLES:
        raise UserError(f"{text[:100]!r} are more than {MAX_SAMPLES:,} samples: ask for fewer")
    return int(text)


def latents(method: Samples, names: Sequence[SampleName]) -> Tensor:
    """Latents z [n, ...] of named samples, each drawn by itself.

    So a name stands for the same sample in every batch.
    """
    if not names:
        raise UserError("no sample is named: name at least one")
    with torch.random.fork_rng():
        rows = []
        for seed, number in names:
            if not (0 <= seed <= MAX_SEED and number >= 0):
                raise UserError(
                    f"got the seed {seed} and the number {number}; expected 0 or more, and a seed "
                    f"of at most {MAX_SEED}"
                )
            rng.reseed(rng.fold_in(seed, number))
            rows.append(method.latent(1))
    return torch.cat(rows)


def generate(
    method: Samples, z: Tensor, y: Tensor | None = None, truncation: float | None = None
) -> Tensor:
    """Generate images [n, C, H, W] of latents z [n, ...] and labels [n].

    truncation: for methods that are `Truncates`
    """
    if truncation is None:
        return method.sample(len(z), z=z, y=y)
    assert isinstance(method, Truncates)
    return method.truncated(z, truncation, y)


def styles(
    method: Styled, z: Tensor, y: Tensor | None = None, truncation: float | None = None
) -> Tensor:
    """Styles w [n, layers, d] of z [n, ...], truncated as the method's samples."""
    return method.styles(z, y) if truncation is None else method.styles(z, y, truncation)
