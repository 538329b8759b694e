"""Random draws that belong to a sample, not to a process.

The engine announces which rows of the whole batch this process works on; every draw is then made for the whole batch and
cut to those rows. The same seed therefore gives the same noise to the same image however many ranks or micro-batches share
the work, which is what makes two ranks' gradients those of one process. Without an announcement a draw is torch's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """Rows `start`..`stop` of a batch of `total`."""

    start: int
    stop: int
    total: int

    def __len__(self) -> int:  # NamedTuple's own length (3) is of no use to anyone
        return self.stop - self.start


_rows: ContextVar[Rows | None] = ContextVar("rows", default=None)
_copies: ContextVar[int] = ContextVar("copies", default=1)


def fold_in(*parts: int | str) -> int:
    """A 63-bit seed from any number of integers and names: unrelated for unlike parts, the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def rows(announced: Rows | None) -> Iterator[None]:
    """Within: draws are made for `announced.total` rows and cut to `announced`."""
    token = _rows.set(announced)
    try:
        yield
    finally:
        _rows.reset(token)


@contextmanager
def alike(copies: int) -> Iterator[None]:
    """Within: n draws are n / `copies` draws, repeated. For a batch of `copies` versions
    of the same images, one after the other, which are to be augmented alike."""
    token = _copies.set(copies)
    try:
        yield
    finally:
        _copies.reset(token)


def normal(n: int, *shape: int, device: torch.device | str | None = None) -> Tensor:
    """N(0, 1), [n, *shape]."""
    return _cut(n, lambda whole: torch.randn(whole, *shape, device=device))


def uniform(n: int, *shape: int, device: torch.device | str | None = None) -> Tensor:
    """U[0, 1), [n, *shape]."""
    return _cut(n, lambda whole: torch.rand(whole, *shape, device=device))


def integers(n: int, high: int, *, device: torch.device | str | None = None) -> Tensor:
    """Uniform integers in [0, high), [n]."""
    return _cut(n, lambda whole: torch.randint(high, (whole,), device=device))


def _cut(n: int, make) -> Tensor:
    copies = _copies.get()
    if copies > 1 and n % copies == 0:
        with alike(1):
            drawn = _cut(n // copies, make)
        return drawn.repeat(copies, *[1] * (drawn.dim() - 1))
    r = _rows.get()
    if r is None or n % len(r):
        return make(n)
    k = n // len(r)  # an objective may draw k latents for every row, as WGAN-GP's generator does
    return make(r.total * k)[r.start * k : r.stop * k]


def truncated(z: Tensor, threshold: float) -> Tensor:
    """z ~ N(0, 1) as draws of the normal distribution cut to [-threshold, threshold]: Phi^-1(Phi(-t) + Phi(z) (Phi(t) -
    Phi(-t))), by quantiles. Continuous in z and in the threshold, where drawing again until |z| <= t (Brock et al., 2018,
    arXiv:1809.11096, section 3.1) is neither, and the same distribution."""
    below = -z.double().abs()  # the tail where quantiles are exact; the other is its mirror image
    low = torch.special.ndtr(torch.tensor(-threshold, dtype=torch.float64, device=z.device))
    cut = torch.special.ndtri(low + torch.special.ndtr(below) * (1 - 2 * low))
    return (-z.sign() * cut).to(z.dtype)


def latents(n: int, *shape: int, seed: int, first: int = 0) -> Tensor:
    """N(0, 1), [n, *shape]: row i depends on (seed, first + i) alone, so a seed names the same picture in any batch."""
    g = torch.Generator()
    return torch.stack(
        [torch.randn(*shape, generator=g.manual_seed(fold_in(seed, first + i))) for i in range(n)]
    )
