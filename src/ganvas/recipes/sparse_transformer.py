"""Recipes of the Sparse Transformer."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import WarmupCosine
from ganvas.data import images
from ganvas.methods import SparseTransformer
from ganvas.nets import sparse_transformer as nets


def sparse_transformer(count: int) -> Run:
    """The 59 million weights for CIFAR-10 of arXiv:1904.10509: 32x32, 140 passes.

    Batches of 16, Adam 3.5e-4, warm-up over 15,000 steps and a cosine to 0; 128 layers
    of width 256, one strided layer to three local ones over rows of 96 values, as in
    the authors' code (the paper: one to one, 128 values). No mirrored images, whose
    density would be another one.
    """
    return Run(
        method=partial(SparseTransformer, T=partial(nets.SparseTransformer)),
        data=partial(images, size=32, labels=False),
        optim={"T": partial(Adam, lr=3.5e-4)},
        batch=16,
        images=140 * count,
        lr=WarmupCosine(warmup=15_000 * 16, end=140 * count),
    )


def sparse_transformer_small(count: int) -> Run:
    """For a laptop and gray images: 28x28 in 16 levels, 8 layers of width 64.

    Strided and local attention in turn, Adam 2e-3, no dropout.
    """
    run = sparse_transformer(count)
    T = partial(
        nets.SparseTransformer,
        levels=16,
        width=64,
        layers=8,
        patterns=["strided", "local"],
        summary=4,
        dropout=0.0,
    )
    return replace(
        run,
        method=partial(SparseTransformer, T=T),
        data=partial(images, size=28, labels=False),
        optim={"T": partial(Adam, lr=2e-3)},
        images=60_000,
        lr=WarmupCosine(warmup=3_000, end=60_000),
    )
