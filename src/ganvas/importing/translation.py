"""junyanz/pytorch-CycleGAN-and-pix2pix's networks."""

from __future__ import annotations

from ganvas.importing.formats import Format, Found, State, convolutions, numbered
from ganvas.nets import patch, translate


def _translating_resnet(state: State) -> Found | None:
    if "model.10.conv_block.1.weight" not in state or any(k.endswith(".filt") for k in state):
        return None
    kernels = convolutions(state)
    blocks = len({k.split(".")[1] for k in state if ".conv_block." in k})
    net = translate.ResNetGenerator(
        channels_in=kernels[0].shape[1],
        channels_out=kernels[-1].shape[0],
        width=kernels[0].shape[0],
        blocks=blocks,
        norm="batch" if "model.2.weight" in state else "instance",
        dropout="model.10.conv_block.6.weight" in state and "model.10.conv_block.5.weight" not in state,
    )
    return Found(net, state)


def _translating_unet(state: State) -> Found | None:
    if not {"model.model.0.weight", "model.model.3.weight"} <= state.keys():
        return None
    width, channels_in = state["model.model.0.weight"].shape[:2]
    depth = len(convolutions(state)) // 2
    norm = "batch" if "model.model.1.model.2.weight" in state else "instance"
    # Its dropout leaves no trace in the keys. It is off in evaluation mode, so that the answer is the same without.
    net = translate.UNetGenerator(channels_in, state["model.model.3.weight"].shape[1], width, depth, norm)
    return Found(net, state)


def _patch_discriminator(state: State) -> Found | None:
    if not (numbered(state, "model") and {"model.0.weight", "model.2.weight", "model.5.weight"} <= state.keys()):
        return None
    kernels = convolutions(state)
    width, channels = kernels[0].shape[:2]
    norm = "batch" if "model.3.weight" in state else "instance"
    return Found(patch.PatchDiscriminator(channels, width, len(kernels) - 2, norm), state)


def _pixel_discriminator(state: State) -> Found | None:
    if not (numbered(state, "net") and {"net.0.weight", "net.2.weight", "net.5.weight"} <= state.keys()):
        return None
    width, channels = state["net.0.weight"].shape[:2]
    return Found(patch.PixelDiscriminator(channels, width, "batch" if "net.3.weight" in state else "instance"), state)


FORMATS: dict[str, Format] = {
    "ResNet generator (junyanz/pytorch-CycleGAN-and-pix2pix)": _translating_resnet,
    "U-Net generator (junyanz/pytorch-CycleGAN-and-pix2pix)": _translating_unet,
    "PatchGAN (junyanz/pytorch-CycleGAN-and-pix2pix)": _patch_discriminator,
    "PixelGAN (junyanz/pytorch-CycleGAN-and-pix2pix)": _pixel_discriminator,
}
