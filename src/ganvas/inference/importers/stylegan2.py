"""Networks of NVlabs/stylegan2-ada-pytorch, and StyleGAN2's of NVlabs/stylegan3."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ganvas.inference.importers.formats import (
    MAX_TAPS,
    Format,
    Found,
    Misfit,
    Numbers,
    Reading,
    Setting,
    State,
    column,
    separable,
    unchanged,
)
from ganvas.nets import stylegan2
from ganvas.nets.activations import ACTIVATIONS, Activation
from ganvas.nets.layers import EqualizedLinear, MinibatchStdDev, Taps
from ganvas.nets.stylegan import Mapping

CLAMP = 256  # of their training programs, without --fp32
RATE = 0.01  # of a mapping network's layers, as they have it


def _generator(state: State) -> Found | None:
    if not {"synthesis.b4.const", "synthesis.b4.conv1.affine.weight"} <= state.keys():
        return None
    sides = [
        int(m[1]) for k in state if (m := re.fullmatch(r"synthesis\.b(\d+)\.conv1\.weight", k))
    ]
    most = max(sides)
    noisy = "synthesis.b4.conv1.noise_const" in state
    style = state["synthesis.b4.conv1.affine.weight"].shape[1]
    kernel = state["synthesis.b4.conv1.weight"].shape[-1]
    if not kernel % 2:
        raise Misfit(f"convolutions of {kernel} x {kernel} do not keep an image's size")
    net = stylegan2.Generator(
        style=style,
        size=most,
        channels=len(state[f"synthesis.b{most}.torgb.bias"]),
        widths=[len(state[f"synthesis.b{side}.conv1.weight"]) for side in sides],
        architecture=_architecture(state, "synthesis.", "torgb", most),
        noisy=noisy,
        taps=_taps(state),
        kernel=kernel,
        conv_clamp=CLAMP,
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
    return Found(net, _renamed(state, names), settings=_settings(state) | rates(state))


def _discriminator(state: State) -> Found | None:
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
        conv_clamp=CLAMP,
        **{k: v for k, v in _mapping(state, joined).items() if k != "latent"},
    )
    settings = _settings(state)
    # Their converter of TensorFlow's files sets another learning rate here.
    settings |= rates(state, announced=True)
    readings = {"same": unchanged, **_activations(_activate_last).readings}
    settings["epilogue_activation"] = Setting(readings, "same", announced=False)
    if isinstance(net.spread, MinibatchStdDev):
        net.spread.interleaved = True
        whole = {"none": partial(_group, group=1 << 30)}  # the whole batch
        groups = Numbers(_group, least=1, whole=True, words=whole)
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


def _group(net: nn.Module, group: float) -> None:
    """Set the group of the minibatch standard deviation."""
    spread = net.get_submodule("spread")
    assert isinstance(spread, MinibatchStdDev)
    spread.group = int(group)


def clamps(set: Callable[[nn.Module, float | None], None], assumed: float) -> Setting:
    """The limit of activations.

    Their training programs set `assumed`, and none with --fp32. Activations below it
    are the same with both.
    """
    numbers = Numbers(set, above=True, words={"none": lambda net: set(net, None)})
    return Setting(numbers, f"{assumed:g}")


def rates(state: State, announced: bool = False) -> dict[str, Setting]:
    """The learning rate of a mapping network, if there is one with layers.

    announced: whether the project's programs set another one, too. It is announced,
    too, where the weights are unusual: they start from N(0, 1) / rate
    """
    if (first := state.get("mapping.fc0.weight")) is None:
        return {}
    size = float(first.float().square().mean().sqrt()) * RATE
    announced = announced or not 0.2 < size < 5
    return {"lr_multiplier": Setting(Numbers(_rate, above=True), f"{RATE:g}", announced)}


def _settings(state: State) -> dict[str, Setting]:
    """Settings of both networks."""
    settings = {"conv_clamp": clamps(_clamp, CLAMP), "activation": _activations(_activate)}
    if "mapping.fc0.weight" in state:
        settings["mapping_activation"] = _activations(_activate_mapping)
    return settings


def _activations(set: Callable[[nn.Module, Activation], None]) -> Setting:
    """Of which their programs use one."""

    def reading(kind: Activation) -> Reading:
        return lambda net: set(net, kind)

    return Setting({kind: reading(kind) for kind in ACTIVATIONS}, "lrelu", announced=False)


def _clamp(net: nn.Module, clamp: float | None) -> None:
    for module in net.modules():
        if isinstance(module, stylegan2.ModulatedLayer | stylegan2.Block):
            module.clamp = clamp
        if isinstance(module, stylegan2.Synthesis | stylegan2.Discriminator):
            module.conv_clamp = clamp


def _activate(net: nn.Module, activation: Activation) -> None:
    """Set the activation of all layers but the mapping network's."""
    kinds = stylegan2.ModulatedLayer, stylegan2.Block, stylegan2.Discriminator
    for module in net.modules():
        if isinstance(module, kinds):
            module.activation = activation


def _activate_last(net: nn.Module, activation: Activation) -> None:
    """Set the activation of a discriminator's layers at 4x4."""
    assert isinstance(net, stylegan2.Discriminator)
    net.last_activation = activation


def _activate_mapping(net: nn.Module, activation: Activation) -> None:
    for module in net.modules():
        if isinstance(module, Mapping):
            module.activation = activation


def _rate(net: nn.Module, rate: float) -> None:
    """Set what the mapping network's weights are multiplied with."""
    for mapping in net.modules():
        if isinstance(mapping, Mapping):
            for layer in mapping.layers:
                assert isinstance(layer, EqualizedLinear)
                layer.scale, layer.lr = layer.scale / layer.lr * rate, rate


def _architecture(state: State, prefix: str, images: str, most: int) -> stylegan2.Architecture:
    """The architecture; `images`: a block's layer from or to images."""
    if any(re.fullmatch(rf"{re.escape(prefix)}b\d+\.skip\.weight", k) for k in state):
        return "resnet"
    return "skip" if most == 4 or f"{prefix}b4.{images}.weight" in state else "orig"


def _taps(state: State) -> Taps:
    """The resampling filter."""
    blocks = r"(synthesis\.)?b\d+\.resample_filter"  # layers that keep the size do not use theirs
    filters = [v for k, v in state.items() if re.fullmatch(blocks, k)]
    if not filters:
        return stylegan2.TAPS
    first = filters[0].float()
    if first.dim() != 2 or not first.numel() or max(first.shape) > MAX_TAPS:
        return separable(filters, stylegan2.TAPS, "resample_filter")
    if any(f.shape != first.shape or not torch.equal(f.float(), first) for f in filters):
        raise Misfit("resample_filter is not the same in all blocks")
    if torch.linalg.matrix_rank(first, rtol=1e-5) == 1 and torch.equal(first, first.T):
        return separable(filters, stylegan2.TAPS, "resample_filter")
    # A square around it, whose middle is the filter's.
    side, (height, width) = max(first.shape), first.shape
    above, left = side // 2 - height // 2, side // 2 - width // 2
    around = left, side - width - left, above, side - height - above
    return functional.pad(first, around).tolist()


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
    "StyleGAN2 generator (NVlabs/stylegan2-ada-pytorch)": _generator,
    "StyleGAN2 discriminator (NVlabs/stylegan2-ada-pytorch)": _discriminator,
}
