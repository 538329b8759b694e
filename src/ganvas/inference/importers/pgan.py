"""facebookresearch/pytorch_GAN_zoo's progressive networks."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor, nn

from ganvas.inference.importers.formats import (
    Format,
    Found,
    OutputMap,
    Setting,
    State,
    column,
    unchanged,
)
from ganvas.nets import progan
from ganvas.nets.layers import EqualizedConv2d, EqualizedLinear


def _pgan_generator(state: State) -> Found | None:
    if not {"formatLayer.module.weight", "groupScale0.0.module.weight"} <= state.keys():
        return None
    widths = [
        v.shape[1] for k, v in state.items() if re.fullmatch(r"toRGBLayers\.\d+\.module\.weight", k)
    ]
    net = progan.ProgressiveGenerator(
        latent=state["formatLayer.module.weight"].shape[1],
        size=4 << len(widths) - 1,
        channels=len(state["toRGBLayers.0.module.bias"]),
        widths=widths,
    )
    names = {"formatLayer": "input", "groupScale0.0": "first", "toRGBLayers": "to_rgb"}
    return Found(net, _pgan(state, net, names), settings={"generationActivation": IMAGES})


def _pgan_discriminator(state: State) -> Found | None:
    if not {"decisionLayer.module.weight", "groupScaleZero.1.module.weight"} <= state.keys():
        return None
    widths = [
        v.shape[0]
        for k, v in state.items()
        if re.fullmatch(r"fromRGBLayers\.\d+\.module\.weight", k)
    ]
    net = progan.ProgressiveDiscriminator(
        size=4 << len(widths) - 1,
        channels=state["fromRGBLayers.0.module.weight"].shape[1],
        widths=widths,
        correction=1,
        names=len(state["decisionLayer.module.weight"]) - 1,
        spread=state["groupScaleZero.0.module.weight"].shape[1] > widths[0],
    )
    names = {"groupScaleZero.0": "last", "groupScaleZero.1": "dense", "decisionLayer": "output"}
    ours = _pgan(state, net, {**names, "fromRGBLayers": "from_rgb"})
    return Found(net, ours, _joined if net.names else column)


def _joined(outputs: tuple[Tensor, Tensor]) -> Tensor:
    """Scores [N] and logits of classes [N, k] as one, [N, 1 + k]."""
    return torch.cat([column(outputs[0]), outputs[1]], 1)


def _bounded(net: nn.Module) -> OutputMap:
    return torch.tanh


# The end of generators belongs to the loss: WGAN-GP's leaves images as they are.
IMAGES = Setting({"none": unchanged, "tanh": _bounded}, "none")


def _pgan(state: State, net: nn.Module, names: dict[str, str]) -> State:
    """Rename, and rescale the weights to equal results.

    That project's gain is sqrt(2) in every layer, and it scales biases like weights.
    """
    scales = {
        k: m.scale
        for k, m in net.named_modules()
        if isinstance(m, EqualizedLinear | EqualizedConv2d)
    }
    renamed = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".module.")
        theirs = math.sqrt(2 / state[f"{layer}.module.weight"][0].numel())
        for old, new in names.items():
            layer = re.sub(rf"^{re.escape(old)}\b", new, layer)
        layer = re.sub(
            r"^scaleLayers\.(\d+)\.(\d+)", lambda m: f"blocks.{m[1]}.conv{int(m[2]) + 1}", layer
        )
        renamed[f"{layer}.{kind}"] = value * (theirs if kind == "bias" else theirs / scales[layer])
    return renamed


FORMATS: dict[str, Format] = {
    "progressive generator (facebookresearch/pytorch_GAN_zoo)": _pgan_generator,
    "progressive discriminator (facebookresearch/pytorch_GAN_zoo)": _pgan_discriminator,
}
