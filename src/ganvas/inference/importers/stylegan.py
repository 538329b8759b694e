"""pytorch_GAN_zoo's StyleGAN, and NVlabs/stylegan2-ada-pytorch's networks.

The former: facebookresearch/pytorch_GAN_zoo.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from ganvas.inference.importers import pgan
from ganvas.inference.importers.formats import (
    Format,
    Found,
    Misfit,
    Setting,
    State,
    column,
    separable,
)
from ganvas.nets import stylegan, stylegan2
from ganvas.nets.layers import EqualizedConv2d, EqualizedLinear, MinibatchStdDev


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
    return Found(net, _zoo(state, net), settings={"generationActivation": pgan.IMAGES})


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


def _stylegan2_generator(state: State) -> Found | None:
    if not {"synthesis.b4.const", "synthesis.b4.conv1.affine.weight"} <= state.keys():
        return None
    sides = [
        int(m[1]) for k in state if (m := re.fullmatch(r"synthesis\.b(\d+)\.conv1\.weight", k))
    ]
    most = max(sides)
    noisy = "synthesis.b4.conv1.noise_const" in state
    style = state["synthesis.b4.conv1.affine.weight"].shape[1]
    net = stylegan2.Generator(
        style=style,
        size=most,
        channels=len(state[f"synthesis.b{most}.torgb.bias"]),
        widths=[len(state[f"synthesis.b{side}.conv1.weight"]) for side in sides],
        architecture=_architecture(state, "synthesis.", "torgb", most),
        noisy=noisy,
        taps=_taps(state),
        **_mapping(state, style),
    )
    images = len(net.synthesis.get_submodule("to_rgb")._modules)
    names = {
        r"^synthesis\.b4\.const": lambda m: "synthesis.const",
        r"^synthesis\.b(\d+)\.conv0": lambda m: f"synthesis.up.{_level(m[1]) - 1}",
        r"^synthesis\.b(\d+)\.conv1": lambda m: f"synthesis.flat.{_level(m[1])}",
        r"^synthesis\.b(\d+)\.torgb\.(weight|bias)": lambda m: (
            f"synthesis.to_rgb.{_level(m[1]) % images}.{m[2]}"
        ),
        r"^synthesis\.b(\d+)\.torgb\.affine": lambda m: (
            f"synthesis.to_rgb.{_level(m[1]) % images}.style"
        ),
        r"^synthesis\.b(\d+)\.skip": lambda m: f"synthesis.skips.{_level(m[1]) - 1}",
        r"^(synthesis\.(?:up|flat)\.\d+)\.(weight|bias)": lambda m: f"{m[1]}.conv.{m[2]}",
        r"\.noise_strength$": lambda m: ".noise.weight",
        r"\.noise_const$": lambda m: ".noise.fixed",
        r"^(synthesis\.(?:up|flat)\.\d+)\.affine": lambda m: f"{m[1]}.conv.style",
        r"^mapping\.w_avg": lambda m: "w_avg",
    }
    if "mapping.w_avg" not in state:  # not followed: not truncated there
        state = {**state, "mapping.w_avg": torch.zeros(style, device="cpu")}
    return Found(net, _renamed(state, names))


def _stylegan2_discriminator(state: State) -> Found | None:
    if not {"b4.fc.weight", "b4.out.weight", "b8.conv0.weight"} <= state.keys():
        return None
    sides = [int(m[1]) for k in state if (m := re.fullmatch(r"b(\d+)\.conv0\.weight", k))]
    most, last = max(sides), state["b4.conv.weight"]
    joined = len(state["b4.out.weight"])
    net = stylegan2.Discriminator(
        size=most,
        channels=state[f"b{most}.fromrgb.weight"].shape[1],
        architecture=_architecture(state, "", "fromrgb", most),
        widths=[len(last), *(len(state[f"b{side}.conv0.weight"]) for side in sorted(sides))],
        taps=_taps(state),
        spread=last.shape[1] - len(last),
        joined=joined,
        **{k: v for k, v in _mapping(state, joined).items() if k != "latent"},
    )
    settings = {}
    if isinstance(net.spread, MinibatchStdDev):
        net.spread.interleaved = True
        groups = {str(n): partial(_group, group=n) for n in (1, 2, 4, 8, 16, 32, 64)}
        groups["none"] = partial(_group, group=1 << 30)  # the whole batch
        settings["mbstd_group_size"] = Setting(groups, "4")
    names = {
        rf"^b{most}\.fromrgb": lambda m: "from_rgb",
        r"^b(\d+)\.fromrgb": lambda m: f"more_rgb.{_level(most) - _level(m[1]) - 1}",
        r"^b4\.conv\b": lambda m: "last",
        r"^b4\.fc": lambda m: "dense",
        r"^b4\.out": lambda m: "output",
        r"^b(\d+)\.conv(\d)": lambda m: f"blocks.{_level(most) - _level(m[1])}.conv{int(m[2]) + 1}",
        r"^b(\d+)\.skip": lambda m: f"blocks.{_level(most) - _level(m[1])}.skip",
    }
    return Found(net, _renamed(state, names), column, settings=settings)


def _group(net: nn.Module, group: int) -> None:
    """Set the group of the minibatch standard deviation."""
    spread = net.get_submodule("spread")
    assert isinstance(spread, MinibatchStdDev)
    spread.group = group


def _architecture(state: State, prefix: str, images: str, most: int) -> stylegan2.Architecture:
    """The architecture; `images`: a block's layer from or to images."""
    if any(re.fullmatch(rf"{re.escape(prefix)}b\d+\.skip\.weight", k) for k in state):
        return "resnet"
    return "skip" if most == 4 or f"{prefix}b4.{images}.weight" in state else "orig"


def _taps(state: State) -> Sequence[float]:
    """The resampling filter: an even number of taps, the same from both ends."""
    blocks = r"(synthesis\.)?b\d+\.resample_filter"  # layers that keep the size do not use theirs
    filters = [v for k, v in state.items() if re.fullmatch(blocks, k)]
    taps = separable(filters, stylegan2.TAPS, "resample_filter") if filters else stylegan2.TAPS
    if len(taps) % 2 or any(abs(a - b) > 1e-5 for a, b in zip(taps, reversed(taps), strict=True)):
        raise Misfit(f"resample_filter has {len(taps)} taps, expected an even, symmetric row")
    return taps


def _mapping(state: State, width: int) -> dict[str, Any]:
    """Settings of a mapping network to styles of `width`."""
    embed, first = state.get("mapping.embed.weight"), state.get("mapping.fc0.weight")
    embedding, classes = (0, 0) if embed is None else (embed.shape[0], embed.shape[1])
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", k)) for k in state)
    return {
        "latent": (width if first is None else first.shape[1]) - embedding,
        "mapping": layers,
        "classes": classes,
        "embedding": embedding,
        "hidden": len(first) if first is not None and layers > 1 else None,
    }


def _level(side: int | str) -> int:
    return int(side).bit_length() - 3


def _renamed(state: State, names) -> State:
    """Rename `state` by every pattern of `names` in turn, and the mapping network.

    Filters are not weights and dropped.
    """
    names = {**names, r"^mapping\.fc(\d+)": lambda m: f"mapping.layers.{m[1]}"}
    renamed = {}
    for key, value in state.items():
        if key.endswith("resample_filter"):
            continue
        for pattern, new in names.items():
            key = re.sub(pattern, new, key)
        renamed[key] = value
    return renamed


FORMATS: dict[str, Format] = {
    "StyleGAN generator (facebookresearch/pytorch_GAN_zoo)": _zoo_generator,
    "StyleGAN2 generator (NVlabs/stylegan2-ada-pytorch)": _stylegan2_generator,
    "StyleGAN2 discriminator (NVlabs/stylegan2-ada-pytorch)": _stylegan2_discriminator,
}
