"""pytorch_GAN_zoo's StyleGAN, and NVlabs/stylegan2-ada-pytorch's networks.

The former: facebookresearch/pytorch_GAN_zoo.
"""

from __future__ import annotations

import math
import re

import torch

from ganvas.inference.importers.formats import Format, Found, State, column
from ganvas.nets import stylegan, stylegan2
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
    return Found(net, _zoo(state, net))


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
    if (
        not {"synthesis.b4.const", "synthesis.b4.conv1.affine.weight", "mapping.fc0.weight"}
        <= state.keys()
    ):
        return None
    sides = [
        int(m[1]) for k in state if (m := re.fullmatch(r"synthesis\.b(\d+)\.conv1\.weight", k))
    ]
    length, inputs = state["mapping.fc0.weight"].shape
    embed = state.get("mapping.embed.weight")
    net = stylegan2.Generator(
        latent=inputs - (0 if embed is None else len(embed)),
        style=length,
        mapping=_mapping_layers(state),
        size=max(sides),
        channels=len(state["synthesis.b4.torgb.bias"]),
        classes=0 if embed is None else embed.shape[1],
        widths=[len(state[f"synthesis.b{side}.conv1.weight"]) for side in sides],
    )
    names = {
        r"^synthesis\.b4\.const": lambda m: "synthesis.const",
        r"^synthesis\.b(\d+)\.conv0": lambda m: f"synthesis.up.{_level(m[1]) - 1}",
        r"^synthesis\.b(\d+)\.conv1": lambda m: f"synthesis.flat.{_level(m[1])}",
        r"^synthesis\.b(\d+)\.torgb\.(weight|bias)": lambda m: (
            f"synthesis.to_rgb.{_level(m[1])}.{m[2]}"
        ),
        r"^synthesis\.b(\d+)\.torgb\.affine": lambda m: f"synthesis.to_rgb.{_level(m[1])}.style",
        r"^(synthesis\.(?:up|flat)\.\d+)\.(weight|bias)": lambda m: f"{m[1]}.conv.{m[2]}",
        r"\.noise_strength$": lambda m: ".noise.weight",
        r"\.noise_const$": lambda m: ".noise.fixed",
        r"^(synthesis\.(?:up|flat)\.\d+)\.affine": lambda m: f"{m[1]}.conv.style",
        r"^mapping\.w_avg": lambda m: "w_avg",
    }
    return Found(net, _renamed(state, names))


def _stylegan2_discriminator(state: State) -> Found | None:
    """Recognize the discriminator.

    The group of the minibatch standard deviation is not in the file: 4, as in all of
        that
    project's settings but CIFAR-10's.
    """
    if not {"b4.fc.weight", "b4.out.weight", "b8.conv0.weight"} <= state.keys():
        return None
    sides = [int(m[1]) for k in state if (m := re.fullmatch(r"b(\d+)\.conv0\.weight", k))]
    embed, most = state.get("mapping.embed.weight"), max(sides)
    net = stylegan2.Discriminator(
        size=most,
        channels=state[f"b{most}.fromrgb.weight"].shape[1],
        classes=0 if embed is None else embed.shape[1],
        architecture="resnet" if "b8.skip.weight" in state else "orig",
        mapping=_mapping_layers(state),
        widths=[
            len(state["b4.conv.weight"]),
            *(len(state[f"b{side}.conv0.weight"]) for side in sorted(sides)),
        ],
    )
    names = {
        rf"^b{most}\.fromrgb": lambda m: "from_rgb",
        r"^b4\.conv\b": lambda m: "last",
        r"^b4\.fc": lambda m: "dense",
        r"^b4\.out": lambda m: "output",
        r"^b(\d+)\.conv(\d)": lambda m: f"blocks.{_level(most) - _level(m[1])}.conv{int(m[2]) + 1}",
        r"^b(\d+)\.skip": lambda m: f"blocks.{_level(most) - _level(m[1])}.skip",
    }
    return Found(net, _renamed(state, names), column)


def _level(side: int | str) -> int:
    return int(side).bit_length() - 3


def _mapping_layers(state: State) -> int:
    return sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", k)) for k in state)


def _renamed(state: State, names) -> State:
    """Rename `state` by every pattern of `names` in turn, and the mapping network.

    Filters are not weights: dropped.
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
