"""StarGAN's networks (yunjey/stargan).

Its scripts never leave training mode: the generator normalizes each image by the
image's own statistics, though the file has running ones.
"""

from __future__ import annotations

import re

import torch
from torch import nn

from ganvas.core.errors import UserError
from ganvas.inference.importers.formats import (
    Format,
    Found,
    Setting,
    State,
    convolutions,
    unchanged,
)
from ganvas.nets import stargan

HEAD = ("main.0.weight", "main.1.weight", "main.1.bias", "main.3.weight", "main.6.weight")


def _generator(state: State) -> Found | None:
    kernels = convolutions(state)
    # A DCGAN's generator has these names, too; its kernels are other ones.
    if (
        not state.keys() >= set(HEAD)
        or not kernels
        or {k.shape[2:] for k in (kernels[0], kernels[-1])} != {(7, 7)}
        or any(state[f"main.{i}.weight"].shape[2:] != (4, 4) for i in (3, 6))
    ):
        return None
    channels, width = len(kernels[-1]), len(kernels[0])
    labels = kernels[0].shape[1] - channels
    if labels < 0:
        raise UserError(
            f"main.0.weight takes {labels + channels} channels; expected the {channels} of the "
            "image, and labels"
        )
    blocks = {m[1] for k in state if (m := re.match(r"main\.(\d+)\.main\.", k))}
    net = stargan.Generator(channels, labels, width, len(blocks))
    net.use_running(False)
    weights = {k: v for k, v in state.items() if not k.endswith(".num_batches_tracked")}
    if any(k.endswith(".running_mean") for k in weights):
        readings = {"image": unchanged, "running": _running}
        return Found(net, weights, settings={"statistics": Setting(readings, "image")})
    for name, unused in net.named_buffers():  # the file's norms do not track statistics
        weights[name] = torch.ones(unused.shape, device="cpu")
    return Found(net, weights)


def _running(net: nn.Module) -> None:
    assert isinstance(net, stargan.Generator)
    net.use_running(True)


def _discriminator(state: State) -> Found | None:
    if not state.keys() >= {"main.0.weight", "main.0.bias", "conv1.weight", "conv2.weight"}:
        return None
    first, scores, logits = (state[f"{k}.weight"] for k in ("main.0", "conv1", "conv2"))
    if first.shape[2:] != (4, 4) or scores.shape[::2] != (1, 3) or logits.dim() != 4:
        return None
    width, channels = first.shape[:2]
    layers = sum(bool(re.fullmatch(r"main\.\d+\.weight", k)) for k in state)
    size = (logits.shape[2] << layers, logits.shape[3] << layers)
    net = stargan.Discriminator(size, channels, len(logits), width, layers)
    return Found(net, state)


FORMATS: dict[str, Format] = {
    "StarGAN generator (yunjey/stargan)": _generator,
    "StarGAN discriminator (yunjey/stargan)": _discriminator,
}
