"""facebookresearch/pytorch_GAN_zoo's progressive networks."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor, nn

from ganvas.inference.importers.formats import (
    Format,
    Found,
    Numbers,
    OutputMap,
    Setting,
    State,
    column,
    unchanged,
)
from ganvas.nets import progan, stylegan
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
    settings = {"generationActivation": IMAGES, "leakyReluLeak": LEAK}
    return Found(net, _pgan(state, net, names), settings=settings | _equalized(state))


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
    settings = {"leakyReluLeak": LEAK, **_equalized(state)}
    return Found(net, ours, _joined if net.names else column, settings=settings)


def _joined(outputs: tuple[Tensor, Tensor]) -> Tensor:
    """Scores [N] and logits of classes [N, k] as one, [N, 1 + k]."""
    return torch.cat([column(outputs[0]), outputs[1]], 1)


def _bounded(net: nn.Module) -> OutputMap:
    return torch.tanh


# The end of generators belongs to the loss: WGAN-GP's leaves images as they are.
IMAGES = Setting({"none": unchanged, "tanh": _bounded}, "none")


def _leak(net: nn.Module, leak: float) -> None:
    """Set the slope of LeakyReLU, but not in StyleGAN's mapping network, as there."""
    kinds = progan.ProgressiveGenerator, progan.ProgressiveDiscriminator, progan.Block
    for module in net.modules():
        if isinstance(module, (*kinds, stylegan.AdaptiveLayer)):
            module.slope = leak


LEAK = Setting(Numbers(_leak), f"{progan.SLOPE:g}")


def _equalized(state: State) -> dict[str, Setting]:
    """Whether layers scale their results, at a gain of sqrt(2).

    Without, weights start small. It is announced where they are: others are N(0, 1).
    """
    weights = [v.float() for k, v in state.items() if k.endswith(".weight")]
    square = sum(float(w.square().sum()) for w in weights) / sum(w.numel() for w in weights)
    readings = {"true": unchanged, "false": _unscaled}
    return {"equalizedlR": Setting(readings, "true", announced=square < 0.1)}


def _unscaled(net: nn.Module) -> None:
    """Undo what `_pgan` multiplies the weights with for that project's scales."""
    for layer in net.modules():
        if isinstance(layer, EqualizedLinear | EqualizedConv2d):
            for weight in layer.parameters():
                weight.data = weight.data / _gain(layer.weight)


def _gain(weight: Tensor) -> float:
    """That project's scale of a layer."""
    return math.sqrt(2 / weight[0].numel())


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
        theirs = _gain(state[f"{layer}.module.weight"])
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
