"""pix2pixHD of NVIDIA/pix2pixHD; its global generator has junyanz' layers and names."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from ganvas.inference.importers.formats import (
    Format,
    Found,
    Misfit,
    OutputMap,
    Setting,
    State,
    unchanged,
)
from ganvas.inference.importers.translation import replicate_borders
from ganvas.nets import multiscale, pix2pixhd
from ganvas.nets.norm import Norm


def _norm(state: State) -> Norm:
    """The norm of all layers: instance norm has no tensors."""
    return "batch" if any(k.endswith(".running_mean") for k in state) else "instance"


def _local_enhancer(state: State) -> Found | None:
    if not {"model1_1.1.weight", "model1_1.4.weight", "model.1.weight"} <= state.keys():
        return None
    numbers = sorted({int(m[1]) for k in state if (m := re.match(r"model(\d+)_[12]\.", k))})
    if numbers != list(range(1, len(numbers) + 1)):
        raise Misfit("its enhancers are not numbered from 1")
    finest = f"model{len(numbers)}"
    width, channels_in = state[f"{finest}_1.1.weight"].shape[:2]
    last = max(int(k.split(".")[1]) for k in state if k.startswith(f"{finest}_2."))
    convs = [k for k, v in state.items() if re.fullmatch(r"model\.\d+\.weight", k) and v.dim() == 4]
    local = len(_blocks(state, "model1_2"))
    reflect = not local or "model1_2.0.conv_block.1.weight" in state
    if reflect and local:
        reflect = state["model1_2.0.conv_block.1.weight"].dim() == 4
    net = pix2pixhd.LocalEnhancer(
        channels_in,
        len(state[f"{finest}_2.{last}.weight"]),
        width,
        (len(convs) - 1) // 2,
        len(_blocks(state, "model")),
        local,
        norm=_norm(state),
        enhancers=len(numbers),
        reflect=reflect,
    )
    names = {"model": "coarse", f"{finest}_1": "down", f"{finest}_2": "up"}
    for n in numbers[:-1]:
        names |= {f"model{n}_1": f"inner_down.{n - 1}", f"model{n}_2": f"inner_up.{n - 1}"}

    def ours(key: str) -> str:
        head, _, rest = key.partition(".")
        return f"{names.get(head, head)}.{rest}"

    # The project's programs leave borders reflected; its files show borders of 0 alone.
    readings = {"reflect": unchanged, "replicate": _replicate} if reflect else {"zero": unchanged}
    borders = Setting(readings, next(iter(readings)), announced=False)
    return Found(
        net,
        {ours(k): v for k, v in state.items()},
        settings={"padding_type": borders} if local else {},
    )


def _replicate(net: nn.Module) -> None:
    """Replicate the borders of the enhancers' residual blocks, not the generator's."""
    assert isinstance(net, pix2pixhd.LocalEnhancer)
    replicate_borders(net.up)
    replicate_borders(net.inner_up)


def _blocks(state: State, part: str) -> set[int]:
    """Places of the residual blocks in a row of layers."""
    return {int(k.split(".")[1]) for k in state if k.startswith(f"{part}.") and ".conv_block." in k}


def _discriminator(state: State) -> Found | None:
    """With the maps of inner layers or without; the highest scale sees whole images."""
    keys = [re.fullmatch(r"(?:scale(\d+)_)?layer(\d+)\.(\d+)\.(\w+)", k) for k in state]
    if not keys or not all(keys):
        return None
    places: dict[str, tuple[int, int, int, str]] = {}  # scale, layer, place in it, name
    for k in keys:
        assert k is not None
        scale, layer, inner = int(k[1] or k[2]), int(k[2]), int(k[3])
        if not k[1]:  # all layers of a scale are in one row, each activation counted
            layer, inner = (1 + (inner - 2) // 3, (inner - 2) % 3) if inner else (0, 0)
        places[k[0]] = scale, layer, inner, k[4]
    scales = 1 + max(scale for scale, *_ in places.values())
    layers = max(layer for _, layer, *_ in places.values())
    first = next((state[k] for k, p in places.items() if p[1:] == (0, 0, "weight")), None)
    if first is None or first.dim() != 4:
        return None
    width, channels = first.shape[:2]
    net = multiscale.MultiscaleDiscriminator(channels, width, layers, scales, norm=_norm(state))

    def ours(key: str) -> str:
        scale, layer, inner, name = places[key]
        at = f"{layer}" if layer == layers else f"{layer}.{inner}"
        return f"scales.{scales - 1 - scale}.layers.{at}.{name}"

    named = {ours(k): v for k, v in state.items()}
    if keys[0] and keys[0][1]:  # with inner layers, which are called without a sigmoid
        return Found(net, named)
    sigmoid = Setting({"false": unchanged, "true": _bounded}, "false")
    return Found(net, named, last_maps, settings={"use_sigmoid": sigmoid})


def last_maps(maps: list[list[Tensor]]) -> tuple[object, ...]:
    """The scores of each scale alone, in a list each, as without feature matching."""
    return tuple([scale[-1]] for scale in maps)


def _bounded(net: nn.Module) -> OutputMap:
    def probabilities(maps: list[list[Tensor]]) -> tuple[object, ...]:
        return tuple([torch.sigmoid(scale[-1])] for scale in maps)

    return probabilities


FORMATS: dict[str, Format] = {
    "pix2pixHD local enhancer (NVIDIA/pix2pixHD)": _local_enhancer,
    "pix2pixHD discriminator (NVIDIA/pix2pixHD)": _discriminator,
}
