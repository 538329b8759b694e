"""Networks of junyanz/pytorch-CycleGAN-and-pix2pix, and of CUT.

CUT: taesungp/contrastive-unpaired-translation.
"""

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
    convolutions,
    numbered,
    unchanged,
)
from ganvas.nets import cut, image_to_image, patchgan, pix2pixhd
from ganvas.nets.norm import Norm


def _norm(state: State, conv: str) -> Norm:
    """The norm, by a convolution before it.

    That project gives the convolution a bias with instance norm only, which has no
    weights unless they are asked for.
    """
    if any(k.endswith("running_mean") for k in state):
        return "batch"
    if any(k.endswith(".weight") and v.dim() == 1 for k, v in state.items()):
        return "affine"
    return "instance" if f"{conv}.bias" in state else "none"


def _resnet(state: State) -> Found | None:
    blocks = {
        int(k.split(".")[1])
        for k in state
        if re.fullmatch(r"model\.\d+\.conv_block\.\d+\.weight", k)
    }
    layers = {
        int(k.split(".")[1]): v.shape
        for k, v in state.items()
        if re.fullmatch(r"model\.\d+\.weight", k) and v.dim() == 4
    }
    if 1 not in layers or 0 in layers or (not blocks and not _ends_wide(layers)):
        return None
    filters = {int(k.split(".")[1]): v for k, v in state.items() if k.endswith(".filt")}
    # Filters of three taps belong to halvings, which come first.
    halvings = [n for n, f in filters.items() if f.shape[-1] == 3]
    middle = min(blocks, default=1 + max(halvings, default=0))
    blur_down = min(filters, default=middle) < middle
    # Reflected borders are a layer of their own before each convolution.
    second = {
        int(k.split(".")[3])
        for k, v in state.items()
        if blocks
        and re.fullmatch(rf"model\.{min(blocks)}\.conv_block\.\d+\.weight", k)
        and v.dim() == 4
    }
    reflect = min(second, default=1) == 1
    make = image_to_image.ResNetGenerator if blocks else pix2pixhd.FeatureEncoder
    net = make(
        channels_in=state["model.1.weight"].shape[1],
        channels_out=convolutions(state)[-1].shape[0],
        width=state["model.1.weight"].shape[0],
        blocks=len(blocks),
        norm=_norm(state, "model.1"),
        dropout=max(second, default=0) == (6 if reflect else 4),
        blur_down=blur_down,
        blur_up=max(filters, default=0) >= middle,
        downs=len(layers) // 2 - 1,
        reflect=reflect,
        bias="model.1.bias" in state,
    )
    for place, filt in filters.items():
        name = f"model.{place}.filt"
        if place < middle:
            _check_filter(name, filt, [1, 2, 1])
        else:
            _check_filter(name, filt, [1, 3, 3, 1], gain=4)
    # The project's programs leave borders reflected; its files show borders of 0 alone.
    readings = (
        {"reflect": unchanged, "replicate": replicate_borders} if reflect else {"zero": unchanged}
    )
    borders = Setting(readings, next(iter(readings)), announced=False)
    return Found(
        net,
        {k: v for k, v in state.items() if not k.endswith(".filt")},
        settings={"padding_type": borders} if blocks else {},
    )


def _ends_wide(layers: dict[int, torch.Size]) -> bool:
    """Whether convolutions are 7x7, an even number of 3x3, and 7x7."""
    kernels = [layers[place][2] for place in sorted(layers)]
    return len(kernels) % 2 == 0 and kernels == [7, *[3] * (len(kernels) - 2), 7]


def _check_filter(name: str, filt: Tensor, row: list[int], gain: int = 1) -> None:
    """Raise `Misfit` unless a filter is the outer product of a row.

    gain: its sum
    """
    taps = filt.new_tensor(row)
    if filt.shape[2:] != (len(row),) * 2 or not torch.allclose(
        filt, taps.outer(taps) * gain / taps.sum() ** 2
    ):
        raise Misfit(f"{name} is not the filter {row}")


def replicate_borders(net: nn.Module) -> None:
    """Replicate the borders in residual blocks in place of reflecting them."""
    for block in net.modules():
        if isinstance(block, image_to_image.ResNetBlock):
            for i, layer in enumerate(block.conv_block):
                if isinstance(layer, nn.ReflectionPad2d):
                    block.conv_block[i] = nn.ReplicationPad2d(1)


def _translating_resnet(state: State) -> Found | None:
    return None if any(k.endswith(".filt") for k in state) else _resnet(state)


def _antialiased_resnet(state: State) -> Found | None:
    return _resnet(state) if any(k.endswith(".filt") for k in state) else None


def _translating_unet(state: State) -> Found | None:
    if not {"model.model.0.weight", "model.model.3.weight"} <= state.keys():
        return None
    width, channels_in = state["model.model.0.weight"].shape[:2]
    depth = len(convolutions(state)) // 2
    # The keys do not show dropout. It is off in evaluation: the output is the same.
    channels_out = state["model.model.3.weight"].shape[1]
    return Found(
        image_to_image.UNetGenerator(
            channels_in, channels_out, width, depth, _norm(state, "model.model.0")
        ),
        state,
    )


def patch_discriminator(state: State, norm: Norm | None = None) -> Found | None:
    """That project's PatchGAN, which other projects have under other names.

    norm: None: as the names tell
    """
    if not (
        numbered(state, "model")
        and {"model.0.weight", "model.2.weight", "model.5.weight"} <= state.keys()
    ):
        return None
    return Found(_patches(state, "model.2", blur=False, norm=norm), state)


def _translating_discriminator(state: State) -> Found | None:
    found = patch_discriminator(state)
    return found if found is None else found._replace(settings=_sigmoid(state))


def _sigmoid(state: State) -> dict[str, Setting]:
    """Whether scores are probabilities, as those without least squares until 2018.

    pix2pix was without by default then, and had batch norm; CycleGAN had neither.
    """
    readings = {"false": unchanged, "true": _probabilities}
    batch = any(k.endswith("running_mean") for k in state)
    return {"use_sigmoid": Setting(readings, "false", announced=batch)}


def _probabilities(net: nn.Module) -> OutputMap:
    return torch.sigmoid


def _patches(
    state: State, second: str, blur: bool, norm: Norm | None = None
) -> patchgan.PatchDiscriminator:
    """The discriminator of convolutions' weights; `second`: the second one's name."""
    kernels = convolutions(state)
    width, channels = kernels[0].shape[:2]
    layers = len(kernels) - 2
    return patchgan.PatchDiscriminator(
        channels,
        width,
        0 if layers == 1 and len(kernels[1]) == width else layers,
        norm or _norm(state, second),
        blur=blur,
        bias=f"{second}.bias" in state,
    )


def _antialiased_patch_discriminator(state: State) -> Found | None:
    filters = {k: v for k, v in state.items() if k.endswith(".filt")}
    if not (
        numbered(state, "model")
        and {"model.0.weight", "model.3.weight"} <= state.keys()
        and "model.2.filt" in filters
    ):
        return None
    for name, filt in filters.items():
        _check_filter(name, filt, [1, 2, 1])
    weights = {k: v for k, v in state.items() if k not in filters}
    return Found(_patches(weights, "model.3", blur=True), weights)


def _patch_mlp(state: State) -> Found | None:
    if not all(re.fullmatch(r"mlp_\d+\.[02]\.(weight|bias)", k) for k in state):
        return None
    first = [v for k, v in state.items() if k.endswith(".0.weight")]
    return Found(cut.PatchMLP([w.shape[1] for w in first], first[0].shape[0]), state)


def _pixel_discriminator(state: State) -> Found | None:
    if not numbered(state, "net") or "net.8.weight" in state:
        return None
    if not {"net.0.weight", "net.2.weight", "net.5.weight"} <= state.keys():
        return None
    width, channels = state["net.0.weight"].shape[:2]
    norm, bias = _norm(state, "net.2"), "net.2.bias" in state
    net = patchgan.PixelDiscriminator(channels, width, norm, bias)
    return Found(net, state, settings=_sigmoid(state))


FORMATS: dict[str, Format] = {
    "ResNet generator (junyanz/pytorch-CycleGAN-and-pix2pix)": _translating_resnet,
    "anti-aliased ResNet generator (taesungp/contrastive-unpaired-translation)": (
        _antialiased_resnet
    ),
    "U-Net generator (junyanz/pytorch-CycleGAN-and-pix2pix)": _translating_unet,
    "PatchGAN (junyanz/pytorch-CycleGAN-and-pix2pix)": _translating_discriminator,
    "anti-aliased PatchGAN (taesungp/contrastive-unpaired-translation)": (
        _antialiased_patch_discriminator
    ),
    "feature MLP (taesungp/contrastive-unpaired-translation)": _patch_mlp,
    "PixelGAN (junyanz/pytorch-CycleGAN-and-pix2pix)": _pixel_discriminator,
}
