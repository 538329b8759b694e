"""DCGAN of pytorch/examples and of facebookresearch/pytorch_GAN_zoo."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import nn

from ganvas.inference.importers.formats import (
    Format,
    Found,
    Setting,
    State,
    column,
    convolutions,
    numbered,
    unchanged,
)
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


def _zoo(state: State, ends: dict[str, str], place: Callable[[int], int]) -> State:
    """Rename pytorch_GAN_zoo's layers; `place`: of the convolutions."""

    def ours(key: str) -> str:
        layer, _, name = key.rpartition(".")
        if m := re.fullmatch(r"main\.(convTranspose|batchNorm)(\d+)", layer):
            return f"main.{place(int(m[2])) + (m[1] == 'batchNorm')}.{name}"
        return f"{ends.get(layer, layer)}.{name}"

    return {ours(k): v for k, v in state.items()}


def _in_order(state: State) -> State:
    return dict(sorted(state.items(), key=lambda item: int(item[0].split(".")[1])))


def _zoo_generator(state: State) -> Found | None:
    if not {"formatLayer.weight", "main.batchNorm0.weight", "main.outlayer.weight"} <= state.keys():
        return None
    doublings = sum(k.startswith("main.convTranspose") for k in state) + 1
    ends = {"formatLayer": "main.0", "main.outlayer": f"main.{3 * doublings}"}
    ours = _zoo(state, ends, lambda i: 3 * i)
    found = _dcgan_generator(_in_order(ours))
    readings = {"tanh": unchanged, "none": _unbounded}  # the end belongs to the loss
    end = Setting(readings, "tanh")
    return None if found is None else found._replace(settings={"generationActivation": end})


def _unbounded(net: nn.Module) -> None:
    main = net.get_submodule("main")
    assert isinstance(main, nn.Sequential)
    main[-1] = nn.Identity()


def _zoo_discriminator(state: State) -> Found | None:
    if not {"decisionLayer.weight", "main.convTranspose0.weight"} <= state.keys():
        return None
    depth = sum(k.startswith("main.convTranspose") for k in state) - 1
    ends = {"decisionLayer": f"main.{3 * depth + 2}"}
    ours = _zoo(state, ends, lambda i: 3 * (depth - i) - 1 if i < depth else 0)
    found = _dcgan_discriminator(_in_order(ours))
    return None if found is None else found._replace(output_map=column)


FORMATS: dict[str, Format] = {
    "DCGAN generator (pytorch/examples)": _dcgan_generator,
    "DCGAN discriminator (pytorch/examples)": _dcgan_discriminator,
    "DCGAN generator (facebookresearch/pytorch_GAN_zoo)": _zoo_generator,
    "DCGAN discriminator (facebookresearch/pytorch_GAN_zoo)": _zoo_discriminator,
}
