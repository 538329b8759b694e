"""Networks from other projects' checkpoints, recognised by their keys and shapes alone: nobody types an architecture.

One function per format looks at a state dict and returns the network of ours that computes the same, with the weights
under its own names, or None where the file is not its own. `FORMATS` lists them; a new format is one more function."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ganvas.errors import UserError, did_you_mean
from ganvas.nets import dcgan, patch, progressive, resnet, translate
from ganvas.nets.layers import EqualizedConv2d, EqualizedLinear

State = dict[str, Tensor]


class Found(NamedTuple):
    """A recognised file. `net` has no weights yet (it is on the meta device), `state` holds them under its names,
    `answer` turns its output into what the file's own project returns."""

    net: nn.Module
    state: State
    answer: Callable[[Tensor], Tensor] | None = None


class Answering(nn.Module):
    """A network of ours that answers as its origin does: called like it, output in the origin's shape and range."""

    def __init__(self, net: nn.Module, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net
        self.answer = answer

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.answer(self.net(*args, **kwargs))


def import_network(file: str | Path, part: str | None = None) -> nn.Module:
    """The network in another project's checkpoint (.pth, .pt or safetensors), in float32 on the CPU, in evaluation
    mode, to be called as its own project calls it. Only tensors are read, never code.

    `part`: which network, where the file holds several (`netG`, `avgG`, ...); by default the averaged generator.
    Progressive networks take `alpha`, the newest resolution's weight, 1 by default. A `UserError` says what the file
    holds where it is no checkpoint, or none of the `FORMATS`."""
    state = _clean(_part(_read(Path(file)), part, file))
    for name, recognise in FORMATS.items():
        try:
            with torch.device("meta"):  # neither memory nor random numbers for weights that are replaced at once
                found = recognise(state)
            if found is None:
                continue
            found.net.load_state_dict(found.state, assign=True)
        except (LookupError, ValueError, RuntimeError) as e:
            why = " ".join(str(e).split())[:400]
            raise UserError(f"{file} looks like a {name}, but its layers do not fit one: {why}") from None
        net = found.net.float()
        return (net if found.answer is None else Answering(net, found.answer)).eval()
    beginning = ", ".join(f"{k} {list(v.shape)}" for k, v in list(state.items())[:4])
    raise UserError(
        f"{file} holds {len(state)} tensors in no format known here; they begin {beginning}. "
        f"Known: {'; '.join(FORMATS)}."
    )


def _read(file: Path) -> Any:
    try:
        with file.open("rb") as f:
            head = f.read(9)
    except OSError as e:
        raise UserError(f"{file} cannot be read: {e.strerror or e}.") from None
    try:
        if head[8:9] == b"{":  # safetensors: eight bytes of length, then JSON
            from safetensors.torch import load_file

            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as e:  # a broken file may fail in any way inside the readers
        if isinstance(e, pickle.UnpicklingError) and re.search("Unsupported (global|class)", str(e)):
            raise UserError(
                f"{file} holds Python objects besides tensors, which are not loaded because they could run code. Where "
                "you trust it, load it in its own project and save only the state dict: "
                "torch.save(network.state_dict(), 'weights.pth')."
            ) from None
        raise UserError(
            f"{file} is not a checkpoint, or only a piece of one ({type(e).__name__}). Expected a state dict saved by "
            "torch.save or safetensors; download or copy it again if it should be one."
        ) from None


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def _part(loaded: Any, part: str | None, file: str | Path) -> Mapping[str, Tensor]:
    """The state dict asked for, out of a bare one or a checkpoint that names several."""
    if part is None and _is_state(loaded):
        return loaded
    parts = {str(k): v for k, v in loaded.items() if _is_state(v)} if isinstance(loaded, Mapping) else {}
    if part is not None:
        if part not in parts:
            raise UserError(
                f"{file} has no part {part!r}. {did_you_mean(part, parts) if parts else 'It has no parts.'}"
            )
        return parts[part]
    if not parts:
        raise UserError(f"{file} holds no weights: expected tensors by name, got {type(loaded).__name__}.")
    if len(parts) == 1:
        return next(iter(parts.values()))
    if "avgG" in parts:
        return parts["avgG"]
    raise UserError(f"{file} holds several networks; say which with `part`: {', '.join(parts)}.")


def _clean(state: Mapping[str, Tensor]) -> State:
    """In natural order (safetensors has its own), without the prefix of nn.DataParallel, and without the running
    statistics that instance norms had before torch 0.4 (they have no weight beside them, and their networks never use
    them)."""
    if all(k.startswith("module.") for k in state):
        state = {k.removeprefix("module."): v for k, v in state.items()}
    stats = ("running_mean", "running_var", "num_batches_tracked")

    def used(key: str) -> bool:
        layer, _, name = key.rpartition(".")
        return name not in stats or f"{layer}.weight" in state

    def natural(key: str) -> list[str | int]:
        return [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", key)]

    return {k: state[k] for k in sorted(state, key=natural) if used(k)}


def _kernels(state: State) -> list[Tensor]:
    """Weights of convolutions, in order."""
    return [v for v in state.values() if v.dim() == 4]


def _numbered(state: State, prefix: str) -> bool:
    """Whether every key is `prefix`.<number>.<name>."""
    return all(re.fullmatch(rf"{prefix}\.\d+\.\w+", k) for k in state)


def _column(scores: Tensor) -> Tensor:
    """[N] -> [N, 1]"""
    return scores[:, None]


def _dcgan_generator(state: State) -> Found | None:
    if not (_numbered(state, "main") and "main.0.weight" in state and "main.1.weight" in state):
        return None
    first, *middle, last = _kernels(state)
    height, width = (side << len(middle) + 1 for side in first.shape[2:])
    return Found(dcgan.Generator(first.shape[0], last.shape[0], (height, width), last.shape[1]), state)


def _dcgan_discriminator(state: State) -> Found | None:
    if not (_numbered(state, "main") and {"main.0.weight", "main.2.weight"} <= state.keys()):
        return None
    first, *middle, last = _kernels(state)
    if last.shape[0] != 1 or "main.1.weight" in state:
        return None
    norm = "main.0.bias" not in state
    height, width = (side << len(middle) + 1 for side in last.shape[2:])
    return Found(dcgan.Discriminator(first.shape[0], (height, width), first.shape[1], norm), state, torch.sigmoid)


def _wgan_gp_generator(state: State) -> Found | None:
    if not {"l1.weight", "block2.b1.weight", "block4.c_sc.weight", "b5.weight", "c5.weight"} <= state.keys():
        return None
    (features, latent), (channels, width) = state["l1.weight"].shape, state["c5.weight"].shape[:2]
    if features != 16 * width:  # mimicry's 48 and 64 px networks narrow from block to block
        return None
    net = resnet.Generator(latent, width, 32, channels, upsampling="bilinear")
    return Found(net, _mimicry(state, 2, {"l1": "input", "b5": "norm", "c5": "output"}))


def _wgan_gp_discriminator(state: State) -> Found | None:
    if not {"block1.c1.weight", "block4.c1.weight", "l5.weight"} <= state.keys():
        return None
    width, channels = state["block1.c1.weight"].shape[:2]
    if state["l5.weight"].shape[1] != width:  # mimicry's 48 and 64 px networks widen from block to block
        return None
    net = resnet.Discriminator(width, 32, channels, rectified=True)
    return Found(net, _mimicry(state, 1, {"l5": "output"}), _column)


def _mimicry(state: State, first: int, ends: dict[str, str]) -> State:
    layers = {"c1": "conv1", "c2": "conv2", "b1": "norm1", "b2": "norm2", "c_sc": "shortcut"}

    def ours(key: str) -> str:
        head, *rest = key.split(".")
        if head.startswith("block"):
            return ".".join(["blocks", str(int(head[5:]) - first), layers.get(rest[0], rest[0]), *rest[1:]])
        return ".".join([ends.get(head, head), *rest])

    return {ours(k): v for k, v in state.items()}


def _pgan_generator(state: State) -> Found | None:
    if not {"formatLayer.module.weight", "groupScale0.0.module.weight"} <= state.keys():
        return None
    widths = [v.shape[1] for k, v in state.items() if re.fullmatch(r"toRGBLayers\.\d+\.module\.weight", k)]
    net = progressive.ProgressiveGenerator(
        latent=state["formatLayer.module.weight"].shape[1],
        size=4 << len(widths) - 1,
        channels=len(state["toRGBLayers.0.module.bias"]),
        widths=widths,
    )
    names = {"formatLayer": "input", "groupScale0.0": "first", "toRGBLayers": "to_rgb"}
    return Found(net, _pgan(state, net, names))


def _pgan_discriminator(state: State) -> Found | None:
    if not {"decisionLayer.module.weight", "groupScaleZero.1.module.weight"} <= state.keys():
        return None
    widths = [v.shape[0] for k, v in state.items() if re.fullmatch(r"fromRGBLayers\.\d+\.module\.weight", k)]
    net = progressive.ProgressiveDiscriminator(
        size=4 << len(widths) - 1,
        channels=state["fromRGBLayers.0.module.weight"].shape[1],
        widths=widths,
        correction=1,
    )
    names = {"groupScaleZero.0": "last", "groupScaleZero.1": "dense", "decisionLayer": "output"}
    return Found(net, _pgan(state, net, {**names, "fromRGBLayers": "from_rgb"}), _column)


def _pgan(state: State, net: nn.Module, names: dict[str, str]) -> State:
    """Our names, and weights that compute the same: that project's gain is sqrt(2) in every layer, and it scales biases
    like weights."""
    scales = {k: m.scale for k, m in net.named_modules() if isinstance(m, EqualizedLinear | EqualizedConv2d)}
    renamed = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".module.")
        theirs = math.sqrt(2 / state[f"{layer}.module.weight"][0].numel())
        for old, new in names.items():
            layer = re.sub(rf"^{re.escape(old)}\b", new, layer)
        layer = re.sub(r"^scaleLayers\.(\d+)\.(\d+)", lambda m: f"blocks.{m[1]}.conv{int(m[2]) + 1}", layer)
        renamed[f"{layer}.{kind}"] = value * (theirs if kind == "bias" else theirs / scales[layer])
    return renamed


def _translating_resnet(state: State) -> Found | None:
    if "model.10.conv_block.1.weight" not in state or any(k.endswith(".filt") for k in state):
        return None
    kernels = _kernels(state)
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
    depth = len(_kernels(state)) // 2
    norm = "batch" if "model.model.1.model.2.weight" in state else "instance"
    # Its dropout leaves no trace in the keys. It is off in evaluation mode, so that the answer is the same without.
    net = translate.UNetGenerator(channels_in, state["model.model.3.weight"].shape[1], width, depth, norm)
    return Found(net, state)


def _patch_discriminator(state: State) -> Found | None:
    if not (_numbered(state, "model") and {"model.0.weight", "model.2.weight", "model.5.weight"} <= state.keys()):
        return None
    kernels = _kernels(state)
    width, channels = kernels[0].shape[:2]
    norm = "batch" if "model.3.weight" in state else "instance"
    return Found(patch.PatchDiscriminator(channels, width, len(kernels) - 2, norm), state)


def _pixel_discriminator(state: State) -> Found | None:
    if not (_numbered(state, "net") and {"net.0.weight", "net.2.weight", "net.5.weight"} <= state.keys()):
        return None
    width, channels = state["net.0.weight"].shape[:2]
    return Found(patch.PixelDiscriminator(channels, width, "batch" if "net.3.weight" in state else "instance"), state)


FORMATS: dict[str, Callable[[State], Found | None]] = {
    "DCGAN generator (pytorch/examples)": _dcgan_generator,
    "DCGAN discriminator (pytorch/examples)": _dcgan_discriminator,
    "WGAN-GP or SNGAN generator at 32 px (kwotsin/mimicry)": _wgan_gp_generator,
    "WGAN-GP discriminator at 32 px (kwotsin/mimicry)": _wgan_gp_discriminator,
    "progressive generator (facebookresearch/pytorch_GAN_zoo)": _pgan_generator,
    "progressive discriminator (facebookresearch/pytorch_GAN_zoo)": _pgan_discriminator,
    "ResNet generator (junyanz/pytorch-CycleGAN-and-pix2pix)": _translating_resnet,
    "U-Net generator (junyanz/pytorch-CycleGAN-and-pix2pix)": _translating_unet,
    "PatchGAN (junyanz/pytorch-CycleGAN-and-pix2pix)": _patch_discriminator,
    "PixelGAN (junyanz/pytorch-CycleGAN-and-pix2pix)": _pixel_discriminator,
}
