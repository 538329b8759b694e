"""Super-resolution networks of BasicSR, ESRGAN, Real-ESRGAN and leftthomas/SRGAN.

XPixelGroup/BasicSR, xinntao/ESRGAN, xinntao/Real-ESRGAN.
"""

from __future__ import annotations

import math
import re
from functools import partial

import torch
from torch import nn

from ganvas.inference.importers.formats import (
    Format,
    Found,
    Misfit,
    Setting,
    State,
    column,
    convolutions,
    unchanged,
)
from ganvas.inference.importers.spectral import with_fixed_sigma
from ganvas.nets import super_resolution
from ganvas.nets.shuffled_rrdb import ShuffledRRDBNet


def _count(state: State, pattern: str) -> int:
    """The number of different values of the group in `pattern`."""
    return len({m[1] for m in (re.match(pattern, k) for k in state) if m})


def _msrresnet(state: State) -> Found | None:
    if (
        not {"conv_first.weight", "upconv1.weight", "conv_hr.weight", "conv_last.weight"}
        <= state.keys()
    ):
        return None
    width, channels = state["conv_first.weight"].shape[:2]
    scale = (
        4 if "upconv2.weight" in state else math.isqrt(state["upconv1.weight"].shape[0] // width)
    )
    blocks, out = _count(state, r"body\.(\d+)\."), len(state["conv_last.weight"])
    return Found(super_resolution.MSRResNet(channels, width, blocks, scale, out), state)


def _rrdb(state: State) -> Found | None:
    old = {
        "RRDB_trunk": "body",
        "trunk_conv": "conv_body",
        "upconv": "conv_up",
        "HRconv": "conv_hr",
        "RDB": "rdb",
    }
    if "RRDB_trunk.0.RDB1.conv1.weight" in state:  # ESRGAN's first release
        for theirs, ours in old.items():
            state = {k.replace(theirs, ours): v for k, v in state.items()}
    old_steps: tuple[int, ...] = ()
    if "model.1.sub.0.RDB1.conv1.0.weight" in state:
        # Before that, and in most of the community's files.
        state, old_steps = _numbered_rrdb(state)
    if (
        not {"conv_first.weight", "conv_body.weight", "conv_hr.weight", "conv_last.weight"}
        <= state.keys()
    ):
        return None
    width, folded = state["conv_first.weight"].shape[:2]
    out = state["conv_last.weight"].shape[0]
    growth = len(state.get("body.0.rdb1.conv1.weight", ()))  # of no blocks: none
    ups = _count(state, r"conv_up(\d+)\.weight")
    blocks = _count(state, r"body\.(\d+)\.")
    if len(old_steps) == 1 and ups:
        step = old_steps[0]
        return Found(ShuffledRRDBNet(folded, width, blocks, growth, step, out, ups), state)
    # Pixels folded into channels, and channels of images, look alike. In the project's
    # programs images have as many channels as their enlargements.
    possible = [fold for fold in (1, 2, 4)[: ups + 1] if folded % fold**2 == 0]
    usual = [fold for fold in possible if folded == out * fold**2]
    fold = (usual or possible)[0]
    known = usual or possible[1:] == []
    net = super_resolution.RRDBNet(
        folded // fold**2,
        width,
        blocks,
        growth,
        (1 << ups) // fold,
        out,
        doublings=ups,
    )
    readings = {str((1 << ups) // f): partial(_fold, folded=folded, fold=f) for f in possible}
    triple = len(old_steps) > 1 and ups == 1  # one enlargement, by 2 or by 3
    if triple:
        readings["3"] = partial(_triple, channels=folded)
    scale = Setting(readings, str((1 << ups) // fold) if known else None, announced=triple)
    return Found(net, state, settings={"scale": scale})


def _triple(net: nn.Module, channels: int) -> None:
    """Let the one enlargement of an RRDBNet be threefold, of images as they are."""
    assert isinstance(net, super_resolution.RRDBNet)
    net.step = net.scale = 3
    net.channels, net.multiple = channels, 1


def _fold(net: nn.Module, folded: int, fold: int) -> None:
    """Set how many pixels of a side an RRDBNet folds into its first channels."""
    assert isinstance(net, super_resolution.RRDBNet)
    net.scale, net.multiple = net.scale * net.multiple // fold, fold
    net.channels = folded // fold**2


def _numbered_rrdb(state: State) -> tuple[State, tuple[int, ...]]:
    """Rename ESRGAN's old layers (one nn.Sequential) to those of its new code.

    model.1 is the body. After it come, for every enlargement, an upsampling layer, a
    convolution and an activation, or a convolution, PixelShuffle and an activation;
    then two more convolutions.

    Returns (tensors, factors that an enlargement may have: PixelShuffle shows its one).
    """
    blocks = _count(state, r"model\.1\.sub\.(\d+)\.RDB1\.")
    *ups, hr, last = sorted(
        {int(m[1]) for k in state if (m := re.match(r"model\.(\d+)\.", k))} - {0, 1}
    )
    places_of = {way: [3 * i + way for i in range(len(ups))] for way in (2, 3)}
    ends = 3 * len(ups) + 2, 3 * len(ups) + 4
    if ups not in places_of.values() or (hr, last) != ends:
        raise Misfit(f"convolutions at {[*ups, hr, last]} of model, expected those of doublings")
    steps: tuple[int, ...] = (2, 3)
    if ups and ups == places_of[2]:
        first = state[f"model.{ups[0]}.weight"]
        steps = (math.isqrt(len(first) // first.shape[1]),)
    places = {"model.0": "conv_first", f"model.1.sub.{blocks}": "conv_body"}
    places |= {f"model.{at}": f"conv_up{i + 1}" for i, at in enumerate(ups)}
    places |= {f"model.{hr}": "conv_hr", f"model.{last}": "conv_last"}

    def new(key: str) -> str:
        layer, _, name = key.rpartition(".")
        if m := re.fullmatch(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0", layer):
            return f"body.{m[1]}.rdb{m[2]}.conv{m[3]}.{name}"
        return f"{places.get(layer, layer)}.{name}"

    return {new(k): v for k, v in state.items()}, steps


def _compact(state: State) -> Found | None:
    if (
        not all(re.fullmatch(r"body\.\d+\.(weight|bias)", k) for k in state)
        or "body.0.weight" not in state
    ):
        return None
    width, channels = state["body.0.weight"].shape[:2]
    kernels = convolutions(state)
    last = kernels[-1].shape[0]
    # As many channels as the image has, unless the image has one.
    outs = [
        n for n in (channels, 3, 2, 4) if last % n == 0 and math.isqrt(last // n) ** 2 * n == last
    ]
    out = outs[0] if channels == 1 and outs else channels
    prelu = "body.1.weight" in state
    net = super_resolution.CompactNet(
        channels, width, len(kernels) - 2, math.isqrt(last // out), prelu, out
    )
    activation = Setting({"relu": unchanged, "leakyrelu": _leaky})
    if prelu:
        activation = Setting({"prelu": unchanged}, "prelu", announced=False)
    return Found(net, state, settings={"act_type": activation})


def _leaky(net: nn.Module) -> None:
    """Replace ReLU by LeakyReLU(.1)."""
    assert isinstance(net, super_resolution.CompactNet)
    for i, layer in enumerate(net.body):
        if isinstance(layer, nn.ReLU):
            net.body[i] = nn.LeakyReLU(0.1, inplace=True)


def _vgg_discriminator(state: State) -> Found | None:
    if not {"conv0_0.weight", "bn4_1.weight", "linear2.weight"} <= state.keys():
        return None
    width, channels = state["conv0_0.weight"].shape[:2]
    side = 256 if "conv5_0.weight" in state else 128
    return Found(
        super_resolution.VGGStyleDiscriminator(channels, (side, side), width), state, column
    )


def _unet_discriminator(state: State) -> Found | None:
    if (
        not {"conv0.weight", "conv1.weight_orig", "conv8.weight_orig", "conv9.weight"}
        <= state.keys()
    ):
        return None
    width, channels = state["conv0.weight"].shape[:2]
    return Found(
        super_resolution.UNetDiscriminator(channels, width, normalised=False),
        with_fixed_sigma(state),
        settings={"skip_connection": Setting({"true": unchanged, "false": _without_skips}, "true")},
    )


def _without_skips(net: nn.Module) -> None:
    assert isinstance(net, super_resolution.UNetDiscriminator)
    net.skip = False


def _leftthomas(state: State) -> Found | None:
    """Recognize leftthomas/SRGAN's generator.

    Blocks are numbered through: first convolution, residual blocks, end of the body,
        upsampling.

    The end of the body is batch norm, in the first version PReLU.
    """
    if (
        not {"block1.0.weight", "block1.1.weight", "block2.bn1.weight", "block2.prelu.weight"}
        <= state.keys()
    ):
        return None
    width, channels = state["block1.0.weight"].shape[:2]
    blocks = _count(state, r"block(\d+)\.conv1\.weight")
    doublings = _count(state, rf"block{blocks + 3}\.(\d+)\.conv\.weight")
    inner = {"conv1": 0, "bn1": 1, "prelu": 2, "conv2": 3, "bn2": 4}
    ours: State = {}
    for key, value in state.items():
        head, layer, *rest = key.split(".")
        number, last = int(head.removeprefix("block")), rest[-1]
        if number == 1:
            place = f"first.{layer}"
        elif number <= blocks + 1:
            place = f"body.{number - 2}.main.{inner[layer]}"
        elif number == blocks + 2:
            place = f"after.{layer}"
        elif int(layer) < doublings:
            place = f"up.{3 * int(layer) + (0 if rest[0] == 'conv' else 2)}"
        else:
            place = "last"
        ours[f"{place}.{last}"] = value
    activated = f"block{blocks + 2}.1.running_mean" not in state
    return Found(
        super_resolution.SRResNet(
            channels, width, blocks, 1 << doublings, bounded=True, activated=activated
        ),
        ours,
    )


def _leftthomas_discriminator(state: State) -> Found | None:
    """Recognize leftthomas/SRGAN's discriminator, one row of layers."""
    if not {"net.0.weight", "net.21.running_mean", "net.26.weight"} <= state.keys():
        return None
    width, channels = state["net.0.weight"].shape[:2]

    def ours(key: str) -> str:
        _, place, name = key.split(".")
        return f"features.{place}.{name}" if int(place) < 24 else f"dense.{int(place) - 24}.{name}"

    # Its last two convolutions see one pixel.
    renamed = {ours(k): v for k, v in state.items()}
    dense = {k: v.flatten(1) for k, v in renamed.items() if k.startswith("dense") and v.dim() == 4}
    return Found(
        super_resolution.SRDiscriminator(channels, None, width), renamed | dense, torch.sigmoid
    )


FORMATS: dict[str, Format] = {
    "MSRResNet (XPixelGroup/BasicSR)": _msrresnet,
    "RRDBNet (xinntao/ESRGAN, XPixelGroup/BasicSR)": _rrdb,
    "compact network (xinntao/Real-ESRGAN)": _compact,
    "VGG-style discriminator (XPixelGroup/BasicSR)": _vgg_discriminator,
    "U-Net discriminator (XPixelGroup/BasicSR)": _unet_discriminator,
    "SRGAN generator (leftthomas/SRGAN)": _leftthomas,
    "SRGAN discriminator (leftthomas/SRGAN)": _leftthomas_discriminator,
}
