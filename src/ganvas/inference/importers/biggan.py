"""BigGAN of ajbrock/BigGAN-PyTorch."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.inference.importers.formats import (
    Format,
    Found,
    Numbers,
    Setting,
    State,
    column,
)
from ganvas.inference.importers.spectral import with_power_iteration
from ganvas.nets import biggan
from ganvas.nets.attention import SelfAttention
from ganvas.nets.biggan_deep import DeepDiscriminator, DeepGenerator
from ganvas.nets.conditional import ConditionalBatchNorm2d
from ganvas.nets.norm import BatchNorm2d
from ganvas.nets.spectral import spectral_

# Statistics of that project's three batch norms; two of them are children named "bn".
STATISTICS = {
    "stored_mean": "running_mean",
    "stored_var": "running_var",
    "running_mean": "running_mean",
    "running_var": "running_var",
}


GENERATOR = {"linear": "input", "output_layer.0": "norm", "output_layer.2": "output"}
DISCRIMINATOR = {"linear": "output", "embed": "output.embed"}
LAYERS = {"conv_sc": "shortcut", "bn1": "norm1", "bn2": "norm2"}
ATTENTION = re.compile(r"blocks\.(\d+)\.1\.gamma")
EPS = 1e-5  # of batch norms


def _generator(state: State) -> Found | None:
    if not {"linear.weight", "blocks.0.0.bn1.gain.weight", "output_layer.0.gain"} <= state.keys():
        return None
    if "blocks.0.0.conv4.weight" in state:  # BigGAN-deep
        return None
    kernels = in_order(state, r"blocks\.\d+\.0\.conv1\.weight")
    multiples = [kernels[0].shape[1], *(k.shape[0] for k in kernels)]
    bottom = math.isqrt(len(state["linear.weight"]) // multiples[0])
    part, gain = state["linear.weight"].shape[1], state["blocks.0.0.bn1.gain.weight"]
    shared = state["shared.weight"].shape[1] if "shared.weight" in state else 0
    split = bool(shared) and gain.shape[1] > shared
    net = biggan.Generator(
        latent=part * (len(kernels) + 1) if split else part,
        width=1,
        size=bottom << len(kernels),
        channels=state["output_layer.2.weight"].shape[0],
        classes=len(state["shared.weight"]) if shared else len(gain),
        shared=shared,
        split=split,
        attention=(),
        multiples=multiples,
        normalised="linear.u0" in state,
        bottom=bottom,
    )
    attend(net, state, multiples[1:])
    return Found(net, ours(state, GENERATOR, LAYERS), settings=norms(net, state))


def _discriminator(state: State) -> Found | None:
    if not {"linear.weight", "embed.weight", "blocks.0.0.conv1.weight"} <= state.keys():
        return None
    if "input_conv.weight" in state:  # BigGAN-deep
        return None
    kernels = in_order(state, r"blocks\.\d+\.0\.conv2\.weight")
    widths, first = [len(k) for k in kernels], state["blocks.0.0.conv1.weight"]
    outputs = len(state["linear.weight"])
    net = biggan.Discriminator(
        width=1,
        size=4 << len(kernels) - 1,
        channels=first.shape[1],
        classes=len(state["embed.weight"]),
        attention=(),
        multiples=widths,
        normalised="linear.u0" in state,
        narrow=len(first) == first.shape[1] != widths[0],
        outputs=outputs,
    )
    attend(net, state, widths)
    weights = ours(state, DISCRIMINATOR, LAYERS)
    return Found(net, weights, column if outputs == 1 else None)


def in_order(state: State, pattern: str) -> list[Tensor]:
    """The tensors whose names match, in order."""
    return [v for k, v in state.items() if re.fullmatch(pattern, k)]


class _Added(BatchNorm2d):
    """Batch norm with gains that are added, where `added`."""

    added = True

    def forward(self, input: Tensor) -> Tensor:
        """Normalize [N, C, H, W]."""
        if not self.added:
            return super().forward(input)
        x = F.batch_norm(input, self.running_mean, self.running_var, eps=self.eps)
        return x + (self.weight + self.bias)[:, None, None]


def norms(net: biggan.Generator | DeepGenerator, state: State) -> dict[str, Setting]:
    """Settings of a generator's norms, which become those of the file.

    With --cross_replica, that project multiplies by the gains in a training on several
    devices, but adds them on one device and in every evaluation.
    """
    if not any(re.fullmatch(r"blocks\.0\.0\.bn1\.(bn\.)?\w+_mean", k) for k in state):
        for norm in net.modules():  # "nonorm": labels' gains and biases alone
            if isinstance(norm, ConditionalBatchNorm2d):
                norm.add_module("norm", nn.Identity())
    eps = Numbers(_eps, above=True)
    settings = {"BN_eps": Setting(eps, f"{EPS:g}", announced=False)}
    if "output_layer.0.bn.running_mean" in state:
        net.norm = _Added(net.norm.num_features, eps=net.norm.eps)
        readings = {
            "added": lambda net: _add(net, True),
            "multiplied": lambda net: _add(net, False),
        }
        _add(net, True)
        settings["cross_replica_gain"] = Setting(readings, "added")
    return settings


def _add(net: nn.Module, added: bool) -> None:
    for module in net.modules():
        if isinstance(module, ConditionalBatchNorm2d | _Added):
            module.added = added


def _eps(net: nn.Module, eps: float) -> None:
    """Set that of the blocks' norms; the last norm's is fixed there."""
    for module in net.modules():
        if isinstance(module, ConditionalBatchNorm2d) and isinstance(module.norm, BatchNorm2d):
            module.norm.eps = eps


def attend(
    net: biggan.Generator | biggan.Discriminator | DeepGenerator | DeepDiscriminator,
    state: State,
    widths: Sequence[int],
    depth: int = 1,
) -> None:
    """Add self-attention after the levels that have it.

    widths: after each level; depth: blocks of each level
    """
    after = [int(m[1]) // depth for k in state if (m := ATTENTION.fullmatch(k))]
    net.attention = nn.ModuleDict({str(i): SelfAttention(widths[i]) for i in after})
    if "linear.u0" in state:
        spectral_(net.attention)


def ours(state: State, ends: dict[str, str], layers: dict[str, str], depth: int = 1) -> State:
    """Rename layers; `ends`: outside of blocks, `layers`: in blocks."""

    def name(key: str) -> str:
        layer, _, last = key.rpartition(".")
        if last in STATISTICS:
            layer = layer.removesuffix(".bn")
        if m := re.match(r"blocks\.(\d+)\.(\d)\.?(.*)", layer):
            parts = [layers.get(p, p) for p in m[3].split(".") if p]
            inner = ["norm"] if last in STATISTICS else []
            place = ["blocks", m[1]] if m[2] == "0" else ["attention", str(int(m[1]) // depth)]
            layer = ".".join([*place, *parts, *inner])
        elif layer in ends:
            layer, last = ends[layer], "weight" if last == "gain" else last
        return f"{layer}.{STATISTICS.get(last, last)}"

    counters = ("accumulation_counter", "num_batches_tracked")
    return with_power_iteration({name(k): v for k, v in state.items() if not k.endswith(counters)})


FORMATS: dict[str, Format] = {
    "BigGAN generator (ajbrock/BigGAN-PyTorch)": _generator,
    "BigGAN discriminator (ajbrock/BigGAN-PyTorch)": _discriminator,
}
