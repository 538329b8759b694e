"""StyleGAN of facebookresearch/pytorch_GAN_zoo."""

from __future__ import annotations

import math
import re

import torch

from ganvas.inference.importers import pgan
from ganvas.inference.importers.formats import Format, Found, State
from ganvas.nets import stylegan
from ganvas.nets.layers import EqualizedConv2d, EqualizedLinear


def _zoo_generator(state: State) -> Found | None:
    """Recognize pytorch_GAN_zoo's StyleGAN generator.

    It has no blur, one noise weight per layer, no output at 4x4, and truncates all
    layers (by `phiTruncation`, which is not in the file).
    """
    if not {"baseScale0", "mean_w", "adain00.styleModulator.module.weight"} <= state.keys():
        return None
    widths = [state["baseScale0"].shape[1]]
    widths += [
        v.shape[1] for k, v in state.items() if re.fullmatch(r"toRGBLayers\.\d+\.module\.weight", k)
    ]
    length, latent = state["mapping.FC.0.module.weight"].shape
    net = stylegan.Generator(
        latent=latent,
        style=length,
        mapping=sum(bool(re.fullmatch(r"mapping\.FC\.\d+\.module\.weight", k)) for k in state),
        size=4 << len(widths) - 1,
        channels=len(state["toRGBLayers.0.module.bias"]),
        widths=widths,
        blur=False,
    )
    settings = {"generationActivation": pgan.IMAGES, "leakyReluLeak": pgan.LEAK}
    return Found(net, _zoo(state, net), settings=settings)


def _zoo(state: State, net: stylegan.Generator) -> State:
    """Rename, and rescale the weights to equal results.

    That project's gain is sqrt(2) in every layer, it scales biases like weights, and
    its style's scale is without the 1.
    """
    scales = {k: m.scale / m.lr for k, m in net.named_modules() if isinstance(m, EqualizedLinear)}
    scales |= {k: m.scale for k, m in net.named_modules() if isinstance(m, EqualizedConv2d)}
    own = net.state_dict()
    renamed: State = {
        "w_avg": state["mean_w"][0],
        "synthesis.const": state["baseScale0"][0],
        **{
            f"synthesis.to_rgb.0.{k}": torch.zeros(
                own[f"synthesis.to_rgb.0.{k}"].shape, device="cpu"
            )
            for k in ("weight", "bias")
        },
        "synthesis.blocks.0.0.bias": torch.zeros(
            len(own["synthesis.blocks.0.0.bias"]), device="cpu"
        ),
    }
    for key, value in own.items():
        if key.endswith(".fixed"):  # there: random noise; here: fixed noise in evaluation
            generator = torch.Generator().manual_seed(0)
            renamed[key] = torch.randn(value.shape, generator=generator, device="cpu")
    for key, value in state.items():
        place, _, kind = key.rpartition(".module.")
        if not place:
            continue
        layer = _zoo_layer(place)
        if layer.endswith(".noise"):
            renamed[f"{layer}.weight"] = (
                value.flatten().expand(own[f"{layer}.weight"].shape).clone()
            )
            continue
        theirs = math.sqrt(2 / state[f"{place}.module.weight"][0].numel())
        if kind == "bias" and layer.endswith(".style"):
            half = len(value) // 2
            value = torch.cat([value[:half] * theirs - 1, value[half:] * theirs])
        else:
            value = value * (theirs if kind == "bias" else theirs / scales[layer])
        if kind == "bias" and layer.startswith("synthesis.blocks") and not layer.endswith(".style"):
            layer = re.sub(r"\.conv(\.0)?$", "", layer)  # added after the noise, which is the same
        renamed[f"{layer}.{kind}"] = value
    return renamed


def _zoo_layer(place: str) -> str:
    if m := re.fullmatch(r"mapping\.FC\.(\d+)", place):
        return f"mapping.layers.{m[1]}"
    if m := re.fullmatch(r"toRGBLayers\.(\d+)", place):
        return f"synthesis.to_rgb.{int(m[1]) + 1}"
    if m := re.fullmatch(r"scaleLayers\.(\d+)\.(\d)(\.styleModulator)?", place):
        kind = "style" if m[3] else "conv" if m[2] == "2" else "conv.0"
        return f"synthesis.blocks.{int(m[1]) + 1}.{int(m[2]) // 2}.{kind}"
    if m := re.fullmatch(r"noiseModulators\.(\d+)\.(\d)", place):
        return f"synthesis.blocks.{int(m[1]) + 1}.{m[2]}.noise"
    if m := re.fullmatch(r"(adain|noiseMod)0(\d)(\.styleModulator)?", place):
        return f"synthesis.blocks.0.{m[2]}.{'style' if m[3] else 'noise'}"
    return {"conv0": "synthesis.blocks.0.1.conv"}[place]


FORMATS: dict[str, Format] = {
    "StyleGAN generator (facebookresearch/pytorch_GAN_zoo)": _zoo_generator,
}
