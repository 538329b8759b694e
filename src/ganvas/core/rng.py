"""Random numbers per sample, independent of the number of processes.

The engine announces which rows of the whole batch this process computes. Every draw is
then made for the whole batch and cut to those rows. The same seed therefore gives the
same noise to the same image with any number of ranks and micro-batches, so that the
gradients of two ranks are those of one process. Without an announcement, draws are
torch's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
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

    def __len__(self) -> int:  # the number of rows, not of the tuple's fields
        return self.stop - self.start


_rows: ContextVar[Rows | None] = ContextVar("rows", default=None)
_copies: ContextVar[int] = ContextVar("copies", default=1)


def fold_in(*parts: int | str) -> int:
    """A 63-bit seed of any number of integers and names.

    Different parts give unrelated seeds, the same on every machine.
    """
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def reseed(seed: int) -> None:
    """Seed torch's global generators of the processor and of the accelerators in use.

    torch.manual_seed also queues the seed for every accelerator that was never used,
    each with the lines of code that called it. That takes longer than to draw a latent,
    or than a small network's forward pass.
    """
    torch.default_generator.manual_seed(seed)
    for accelerator in (torch.cuda, torch.xpu):
        if accelerator.is_initialized():
            accelerator.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


@contextmanager
def rows(announced: Rows | None) -> Iterator[None]:
    """Within the context, draw for `announced.total` rows and cut to `announced`."""
    token = _rows.set(announced)
    try:
        yield
    finally:
        _rows.reset(token)


@contextmanager
def alike(copies: int) -> Iterator[None]:
    """Within the context, repeat n / `copies` draws in place of n draws.

    For a batch of `copies` versions of the same images, one after the other, which are
    to get the same augmentation.
    """
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


def _cut(n: int, make: Callable[[int], Tensor]) -> Tensor:
    """Draw for the whole batch and cut to the n rows that the engine announced."""
    copies = _copies.get()
    if copies > 1 and n % copies == 0:
        with alike(1):
            values = _cut(n // copies, make)
        return values.repeat(copies, *[1] * (values.dim() - 1))
    r = _rows.get()
    if r is None or n % len(r):
        return make(n)
    # An objective may draw k latents for every row, as WGAN-GP's generator does.
    k = n // len(r)
    return make(r.total * k)[r.start * k : r.stop * k]


def truncated(z: Tensor, threshold: float) -> Tensor:
    """Map draws z of N(0, 1) to the normal distribution truncated to [-t, t].

    By quantiles: Phi^-1(Phi(-t) + Phi(z) (Phi(t) - Phi(-t))). The distribution is that
    of drawing again until |z| <= t (Brock et al., 2018, arXiv:1809.11096, section 3.1).
    Unlike that, the map is continuous in z and in t.

    threshold: t, above 0
    """
    below = -z.double().abs()  # the tail in which quantiles are exact
    low = torch.special.ndtr(torch.tensor(-threshold, dtype=torch.float64, device=z.device))
    cut = torch.special.ndtri(low + torch.special.ndtr(below) * (1 - 2 * low))
    return (-z.sign() * cut).to(z.dtype)


def latents(n: int, *shape: int, seed: int, first: int = 0) -> Tensor:
    """N(0, 1), [n, *shape], with one seed for each row.

    Row i depends on (seed, first + i) alone, so that a seed names the same image in any
    batch.
    """
    g = torch.Generator()
    return torch.stack(
        [torch.randn(*shape, generator=g.manual_seed(fold_in(seed, first + i))) for i in range(n)]
    )
