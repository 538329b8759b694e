"""Networks of junyanz/pytorch-CycleGAN-and-pix2pix, and of CUT.

CUT: taesungp/contrastive-unpaired-translation.
"""

from __future__ import annotations

import re

import torch

from ganvas.inference.importers.formats import Format, Found, State, convolutions, numbered
from ganvas.nets import cut, image_to_image, patchgan
from ganvas.nets.norm import Norm


def _norm(state: State, conv: str) -> Norm:
    """The norm, by a convolution before it.

    That project gives the convolution a bias with instance norm only, which has no
    weights.
    """
    if any(k.endswith("running_mean") for k in state):
        return "batch"
    return "instance" if f"{conv}.bias" in state else "none"


def _resnet(state: State) -> Found | None:
    blocks = {
        int(k.split(".")[1]) for k in state if re.fullmatch(r"model\.\d+\.conv_block\.1\.weight", k)
    }
    if not blocks or "model.1.weight" not in state:
        return None
    filters = {int(k.split(".")[1]): v for k, v in state.items() if k.endswith(".filt")}
    blur_down = min(filters, default=max(blocks)) < min(blocks)
    net = image_to_image.ResNetGenerator(
        channels_in=state["model.1.weight"].shape[1],
        channels_out=convolutions(state)[-1].shape[0],
        width=state["model.1.weight"].shape[0],
        blocks=len(blocks),
        norm=_norm(state, "model.1"),
        dropout=not any(k.endswith(".conv_block.5.weight") for k in state),
        blur_down=blur_down,
        blur_up=max(filters, default=0) > max(blocks),
        downs=(min(blocks) - 4) // (4 if blur_down else 3),
    )
    for place, filt in filters.items():
        row, gain = ([1, 2, 1], 1) if place < min(blocks) else ([1, 3, 3, 1], 4)
        taps = filt.new_tensor(row)
        if filt.shape[2:] != (len(row),) * 2 or not torch.allclose(
            filt, taps.outer(taps) * gain / taps.sum() ** 2
        ):
            raise ValueError(f"model.{place}.filt is not the filter {row}")
    return Found(net, {k: v for k, v in state.items() if not k.endswith(".filt")})


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


def _patch_discriminator(state: State) -> Found | None:
    if not (
        numbered(state, "model")
        and {"model.0.weight", "model.2.weight", "model.5.weight"} <= state.keys()
    ):
        return None
    kernels = convolutions(state)
    width, channels = kernels[0].shape[:2]
    return Found(
        patchgan.PatchDiscriminator(channels, width, len(kernels) - 2, _norm(state, "model.2")),
        state,
    )


def _antialiased_patch_discriminator(state: State) -> Found | None:
    filters = {k: v for k, v in state.items() if k.endswith(".filt")}
    if not (
        numbered(state, "model")
        and {"model.0.weight", "model.3.weight", "model.7.weight"} <= state.keys()
        and {"model.2.filt", "model.6.filt"} <= filters.keys()
    ):
        return None
    for name, filt in filters.items():
        taps = filt.new_tensor([1, 2, 1])
        if filt.shape[2:] != (3, 3) or not torch.allclose(filt, taps.outer(taps) / 16):
            raise ValueError(f"{name} is not the filter [1, 2, 1]")
    weights = {k: v for k, v in state.items() if k not in filters}
    kernels = convolutions(weights)
    width, channels = kernels[0].shape[:2]
    net = patchgan.PatchDiscriminator(
        channels, width, len(kernels) - 2, _norm(weights, "model.3"), blur=True
    )
    return Found(net, weights)


def _patch_mlp(state: State) -> Found | None:
    if not all(re.fullmatch(r"mlp_\d+\.[02]\.(weight|bias)", k) for k in state):
        return None
    first = [v for k, v in state.items() if k.endswith(".0.weight")]
    return Found(cut.PatchMLP([w.shape[1] for w in first], first[0].shape[0]), state)


def _pixel_discriminator(state: State) -> Found | None:
    if not (
        numbered(state, "net") and {"net.0.weight", "net.2.weight", "net.5.weight"} <= state.keys()
    ):
        return None
    width, channels = state["net.0.weight"].shape[:2]
    return Found(patchgan.PixelDiscriminator(channels, width, _norm(state, "net.2")), state)


FORMATS: dict[str, Format] = {
    "ResNet generator (junyanz/pytorch-CycleGAN-and-pix2pix)": _translating_resnet,
    "anti-aliased ResNet generator (taesungp/contrastive-unpaired-translation)": (
        _antialiased_resnet
    ),
    "U-Net generator (junyanz/pytorch-CycleGAN-and-pix2pix)": _translating_unet,
    "PatchGAN (junyanz/pytorch-CycleGAN-and-pix2pix)": _patch_discriminator,
    "anti-aliased PatchGAN (taesungp/contrastive-unpaired-translation)": (
        _antialiased_patch_discriminator
    ),
    "feature MLP (taesungp/contrastive-unpaired-translation)": _patch_mlp,
    "PixelGAN (junyanz/pytorch-CycleGAN-and-pix2pix)": _pixel_discriminator,
}
