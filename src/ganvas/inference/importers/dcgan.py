"""pytorch/examples' DCGAN."""

from __future__ import annotations

import torch

from ganvas.inference.importers.formats import Format, Found, State, convolutions, numbered
from ganvas.nets import dcgan


def _dcgan_generator(state: State) -> Found | None:
    if not (numbered(state, "main") and "main.0.weight" in state and "main.1.weight" in state):
        return None
    first, *middle, last = convolutions(state)
    height, width = (side << len(middle) + 1 for side in first.shape[2:])
    return Found(
        dcgan.Generator(first.shape[0], last.shape[0], (height, width), last.shape[1]), state
    )


def _dcgan_discriminator(state: State) -> Found | None:
    if not (numbered(state, "main") and {"main.0.weight", "main.2.weight"} <= state.keys()):
        return None
    first, *middle, last = convolutions(state)
    if last.shape[0] != 1 or "main.1.weight" in state:
        return None
    norm = "main.0.bias" not in state
    height, width = (side << len(middle) + 1 for side in last.shape[2:])
    return Found(
        dcgan.Discriminator(first.shape[0], (height, width), first.shape[1], norm),
        state,
        torch.sigmoid,
    )


FORMATS: dict[str, Format] = {
    "DCGAN generator (pytorch/examples)": _dcgan_generator,
    "DCGAN discriminator (pytorch/examples)": _dcgan_discriminator,
}
