"""SKTBrain/DiscoGAN."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ganvas.inference.importers.formats import Format, Found, State, convolutions, numbered
from ganvas.nets import discogan


def _wider(x: Tensor) -> Tensor:
    """Map [0, 1] to [-1, 1]."""
    return 2 * x - 1


def _generator(state: State) -> Found | None:
    there = {"main.0.weight", "main.2.weight", "main.3.weight"} <= state.keys()
    if not (numbered(state, "main") and there) or "main.1.weight" in state:
        return None
    kernels = convolutions(state)
    width, channels_in = kernels[0].shape[:2]
    if len(kernels) % 2 or kernels[-1].shape[0] != width:
        return None
    depth = len(kernels) // 2
    innermost = kernels[depth - 1].shape[
        0
    ]  # as many channels as the level asks for, or those of a bottleneck
    bottleneck = 0 if innermost == width << depth - 1 else innermost
    net = discogan.Generator(
        channels_in, kernels[-1].shape[1], width, depth - bool(bottleneck), bottleneck
    )
    return Found(net, state, lambda x: (x + 1) / 2, _wider)


def _discriminator(state: State) -> Found | None:
    if not all(re.fullmatch(r"(conv|bn)\d\.\w+", k) for k in state) or "bn2.weight" not in state:
        return None
    first, *middle, last = convolutions(state)

    def ours(key: str) -> str:
        kind, number, name = re.fullmatch(r"(conv|bn)(\d)\.(\w+)", key).groups()  # type: ignore[union-attr]
        return f"main.{max(0, 3 * int(number) - (4 if kind == 'conv' else 3))}.{name}"

    height, width = (side << len(middle) + 1 for side in last.shape[2:])
    net = discogan.Discriminator(first.shape[0], (height, width), first.shape[1])
    return Found(net, {ours(k): v for k, v in state.items()}, _probability, _wider)


def _probability(out: tuple[Tensor, list[Tensor]]) -> tuple[Tensor, list[Tensor]]:
    logits, features = out
    return torch.sigmoid(logits)[:, None, None, None], features


FORMATS: dict[str, Format] = {
    "DiscoGAN generator (SKTBrain/DiscoGAN)": _generator,
    "DiscoGAN discriminator (SKTBrain/DiscoGAN)": _discriminator,
}
