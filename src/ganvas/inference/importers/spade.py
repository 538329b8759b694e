"""SPADE of NVlabs/SPADE, and the form of pix2pixHD's generator that it has."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import Any, Literal

from torch import nn

from ganvas.inference.importers.formats import (
    Format,
    Found,
    Misfit,
    OutputMap,
    Setting,
    State,
    unchanged,
)
from ganvas.inference.importers.pix2pixhd import last_maps
from ganvas.inference.importers.spectral import with_fixed_sigma
from ganvas.nets import image_to_image, multiscale, spade
from ganvas.nets.norm import Norm

BLOCKS = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3", "up_4")
PARTS = {"param_free_norm": "norm", "mlp_shared.0": "shared", "mlp_gamma": "gamma"}
PARTS["mlp_beta"] = "beta"
DOUBLINGS = {"normal": 5, "more": 6}  # "most" has a block of its own
LEAST_STYLED = 256  # pixels of a crop: for smaller ones the project's encoder fails


def _generator(state: State) -> Found | None:
    if not {"head_0.norm_0.mlp_gamma.weight", "conv_img.weight", "fc.weight"} <= state.keys():
        return None
    start, gamma = state["fc.weight"], state["head_0.norm_0.mlp_gamma.weight"]
    width, latent = len(gamma) // 16, start.shape[1] if start.dim() == 2 else 0
    grids = _grids(len(start) // max(16 * width, 1)) if latent else [(1, 1)]
    height, breadth = grids[0]
    kind = "most"
    if not any(k.startswith("up_4.") for k in state):
        # A width of the grid for which only one of the two belongs to an image that
        # the encoder takes.
        usual = latent and (LEAST_STYLED >> 6) <= breadth < (LEAST_STYLED >> 5)
        kind = "more" if usual else "normal"
    doublings = DOUBLINGS.get(kind, 7)
    norm: Literal["batch", "instance"] = "instance"
    if "head_0.norm_0.param_free_norm.running_mean" in state:
        norm = "batch"
    net = spade.Generator(
        state["head_0.norm_0.mlp_shared.0.weight"].shape[1],
        state["conv_img.weight"].shape[0],
        width,
        (height << doublings, breadth << doublings),
        latent,
        gamma.shape[1],
        doublings,
        normalized=False,
        norm=norm,
        kernel=gamma.shape[2],
    )

    def ours(key: str) -> str:
        head, _, rest = key.partition(".")
        if head not in BLOCKS:
            return f"{({'fc': 'start', 'conv_img': 'output'}).get(head, head)}.{rest}"
        layer, _, rest = rest.partition(".")
        place = f"blocks.{BLOCKS.index(head)}"
        if layer.startswith("conv_"):
            return f"{place}.{'skip' if layer == 'conv_s' else f'convs.{layer[5:]}'}.{rest}"
        part, _, name = rest.rpartition(".")
        norm = "skip_norm" if layer == "norm_s" else f"norms.{layer[5:]}"
        return f"{place}.{norm}.{PARTS.get(part, part)}.{name}"

    settings = {}
    if kind != "most":
        readings = {k: partial(_double, doublings=n) for k, n in DOUBLINGS.items()}
        settings["num_upsampling_layers"] = Setting(readings, kind)
    if len(grids) > 1:
        ratios = {f"{w / h:.3g}": partial(_regrid, grid=(h, w)) for h, w in grids}
        # Images are square unless the shape of the grid shows that they are not.
        settings["aspect_ratio"] = Setting(ratios, next(iter(ratios)), announced=height != breadth)
    named = {ours(k): v for k, v in with_fixed_sigma(state).items()}
    return Found(net, named, settings=settings)


def _grids(cells: int) -> list[tuple[int, int]]:
    """Grids (height, width) of so many cells, the nearest to a square first.

    Up to an aspect of 4, or the nearest alone; wide ones before tall ones.
    """
    sides = [n for n in range(1, math.isqrt(cells) + 1) if cells % n == 0][::-1]
    near = [n for n in sides if cells <= 4 * n * n] or sides[:1] or [1]
    pairs = [pair for n in near for pair in ((n, cells // n), (cells // n, n))]
    return list(dict.fromkeys(pairs))


def _double(net: nn.Module, doublings: int) -> None:
    """Set whether the third block doubles the size, too."""
    assert isinstance(net, spade.Generator)
    net.doubled[2], net.multiple = doublings > DOUBLINGS["normal"], 1 << doublings


def _regrid(net: nn.Module, grid: tuple[int, int]) -> None:
    """Set the grid that the style becomes."""
    assert isinstance(net, spade.Generator)
    net.grid = grid


def _encoder(state: State) -> Found | None:
    plain = "layer1.weight_orig" in state  # without a norm, which would be layer1.1
    first = "layer1.weight_orig" if plain else "layer1.0.weight_orig"
    if not {first, "fc_mu.weight", "fc_var.weight"} <= state.keys():
        return None
    width, channels = state[first].shape[:2]
    count = sum(k.startswith("layer") and k.endswith(".weight_orig") for k in state)
    norm = "none" if plain else _batch_or_instance(state)
    net = spade.StyleEncoder(
        channels, width, len(state["fc_mu.weight"]), 4 << count, normalized=False, norm=norm
    )

    def ours(key: str) -> str:
        if found := re.fullmatch(r"layer(\d+)(?:\.([01]))?\.(\w+)", key):
            return f"{'norms' if found[2] == '1' else 'convs'}.{int(found[1]) - 1}.{found[3]}"
        head, _, name = key.partition(".")
        return f"{({'fc_mu': 'heads.0', 'fc_var': 'heads.1'}).get(head, head)}.{name}"

    return Found(net, {ours(k): v for k, v in with_fixed_sigma(state).items()})


def _batch_or_instance(state: State) -> Norm:
    return "batch" if any(k.endswith(".running_mean") for k in state) else "instance"


def _discriminator(state: State) -> Found | None:
    """SPADE's; scale 0 sees whole images."""
    pattern = r"discriminator_(\d+)\.model(\d+)\.0(?:\.([01]))?\.(\w+)"
    keys = {k: re.fullmatch(pattern, k) for k in state}
    if "discriminator_0.model0.0.weight" not in state or not all(keys.values()):
        return None
    width, channels = state["discriminator_0.model0.0.weight"].shape[:2]
    scales = len({k.partition(".")[0] for k in state})
    layers = len({k.split(".")[1] for k in state}) - 1
    plain = "discriminator_0.model1.0.weight_orig" in state
    norm = "none" if plain else _batch_or_instance(state)
    net = multiscale.MultiscaleDiscriminator(channels, width, layers, scales, norm=norm, bias=plain)

    def ours(key: str) -> str:
        found = re.fullmatch(pattern, key)
        assert found is not None
        last = int(found[2]) == layers
        layer = found[2] if last else f"{found[2]}.{found[3] or 0}"
        return f"scales.{found[1]}.layers.{layer}.{found[4]}"

    matched = Setting({"false": unchanged, "true": _scores}, "false", announced=False)
    named = {ours(k): v for k, v in with_fixed_sigma(state).items()}
    return Found(net, named, settings={"no_ganFeat_loss": matched})


def _scores(net: nn.Module) -> OutputMap:
    return last_maps


def _resnet(state: State) -> Found | None:
    """pix2pixHD's global generator, each layer with its norm a module of its own."""
    plain = "model.1.weight_orig" in state
    if not plain and "model.1.0.weight_orig" not in state:
        return None
    pattern = r"model\.(\d+)(?:\.([01]))?\.(\w+)"
    inner = r"model\.(\d+)\.conv_block\.([14])(?:\.([01]))?\.(\w+)"
    layers = {k: v for k, v in state.items() if re.fullmatch(pattern, k) and v.dim() == 4}
    blocks = {int(m[1]) for k in state if (m := re.fullmatch(inner, k))}
    downs = len(layers) // 2 - 1
    first, last = (layers[k] for k in (next(iter(layers)), next(reversed(layers))))
    net = image_to_image.ResNetGenerator(
        first.shape[1],
        len(last),
        len(first),
        len(blocks),
        "none" if plain else _batch_or_instance(state),
        downs=downs,
        bias=plain,
    )
    head = 3 + 2 * downs  # the place of the first block; ours counts every norm, too
    _kernels(net, first.shape[2], _kernel(state, min(blocks, default=0)))

    def ours(key: str) -> str:
        if m := re.fullmatch(inner, key):
            at = (1 if m[2] == "1" else 5) + int(m[3] or 0)
            return f"model.{int(m[1]) + 1 + downs}.conv_block.{at}.{m[4]}"
        m = re.fullmatch(pattern, key)
        if m is None:
            raise Misfit(f"{key} has no place")
        layer, within = int(m[1]), int(m[2] or 0)
        if layer > head:
            after = layer - head - len(blocks)
            at = head + 1 + downs + len(blocks) + (after // 2 * 3 + after % 2)
        else:
            at = (layer - 1) // 2 * 3 + 1
        return f"model.{at + within}.{m[3]}"

    start = head + len(blocks)
    ups = tuple(f"model.{start + 2 * i}{'' if plain else '.0'}" for i in range(downs))
    return Found(net, {ours(k): v for k, v in with_fixed_sigma(state, ups).items()})


def _kernel(state: State, block: int) -> int:
    """The side of the kernels in a residual block; 3 if there is none."""
    found = (v for k, v in state.items() if k.startswith(f"model.{block}.conv_block.1."))
    return next((v.shape[2] for v in found if v.dim() == 4), 3)


def _kernels(net: image_to_image.ResNetGenerator, first: int, inner: int) -> None:
    """Set the sides of the kernels of the first convolution and in residual blocks."""

    def resized(layers: Any, pad: int, kernel: int) -> None:
        conv = layers[pad + 1]
        layers[pad] = nn.ReflectionPad2d((kernel - 1) // 2)
        layers[pad + 1] = nn.Conv2d(
            conv.in_channels, conv.out_channels, kernel, bias=conv.bias is not None
        )

    if first != 7:
        resized(net.model, 0, first)
    for block in net.model:
        if isinstance(block, image_to_image.ResNetBlock) and inner != 3:
            resized(block.conv_block, 0, inner)
            resized(block.conv_block, 4, inner)


FORMATS: dict[str, Format] = {
    "SPADE generator (NVlabs/SPADE)": _generator,
    "SPADE style encoder (NVlabs/SPADE)": _encoder,
    "SPADE discriminator (NVlabs/SPADE)": _discriminator,
    "pix2pixHD generator (NVlabs/SPADE)": _resnet,
}
