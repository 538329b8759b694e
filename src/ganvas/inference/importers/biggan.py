"""BigGAN of ajbrock/BigGAN-PyTorch; BigGAN-deep of pytorch-pretrained-BigGAN.

The latter: huggingface/pytorch-pretrained-BigGAN.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganvas.inference.importers.formats import Format, Found, State, column
from ganvas.inference.importers.spectral import with_fixed_sigma, with_power_iteration
from ganvas.nets import biggan, biggan_deep
from ganvas.nets.attention import SelfAttention
from ganvas.nets.conditional import ConditionalBatchNorm2d
from ganvas.nets.spectral import spectral_

# Statistics of that project's three batch norms; two of them are children named "bn".
STATISTICS = {
    "stored_mean": "running_mean",
    "stored_var": "running_var",
    "running_mean": "running_mean",
    "running_var": "running_var",
}


def _generator(state: State) -> Found | None:
    if not {"linear.weight", "blocks.0.0.bn1.gain.weight", "output_layer.0.gain"} <= state.keys():
        return None
    kernels = _in_order(state, r"blocks\.\d+\.0\.conv1\.weight")
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
    _attend(net, state, multiples[1:])
    if not any(re.fullmatch(r"blocks\.0\.0\.bn1\.(bn\.)?\w+_mean", k) for k in state):
        for norm in net.modules():  # "nonorm": labels' gains and biases alone
            if isinstance(norm, ConditionalBatchNorm2d):
                norm.add_module("norm", nn.Identity())
    names = {"linear": "input", "output_layer.0": "norm", "output_layer.2": "output"}
    return Found(net, _ours(state, names))


def _discriminator(state: State) -> Found | None:
    if not {"linear.weight", "embed.weight", "blocks.0.0.conv1.weight"} <= state.keys():
        return None
    kernels = _in_order(state, r"blocks\.\d+\.0\.conv2\.weight")
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
    _attend(net, state, widths)
    ours = _ours(state, {"linear": "output", "embed": "output.embed"})
    return Found(net, ours, column if outputs == 1 else None)


def _in_order(state: State, pattern: str) -> list[Tensor]:
    return [v for k, v in state.items() if re.fullmatch(pattern, k)]


def _attend(
    net: biggan.Generator | biggan.Discriminator, state: State, widths: Sequence[int]
) -> None:
    """Add self-attention after the blocks that have it; `widths`: after each block."""
    after = [m[1] for k in state if (m := re.fullmatch(r"blocks\.(\d+)\.1\.gamma", k))]
    net.attention = nn.ModuleDict({i: SelfAttention(widths[int(i)]) for i in after})
    if "linear.u0" in state:
        spectral_(net.attention)


def _ours(state: State, ends: dict[str, str]) -> State:
    layers = {"conv_sc": "shortcut", "bn1": "norm1", "bn2": "norm2"}

    def name(key: str) -> str:
        layer, _, last = key.rpartition(".")
        if last in STATISTICS:
            layer = layer.removesuffix(".bn")
        if m := re.match(r"blocks\.(\d+)\.(\d)\.?(.*)", layer):
            parts = [layers.get(p, p) for p in m[3].split(".") if p]
            inner = ["norm"] if last in STATISTICS else []
            layer = ".".join(["blocks" if m[2] == "0" else "attention", m[1], *parts, *inner])
        elif layer in ends:
            layer, last = ends[layer], "weight" if last == "gain" else last
        return f"{layer}.{STATISTICS.get(last, last)}"

    counters = ("accumulation_counter", "num_batches_tracked")
    return with_power_iteration({name(k): v for k, v in state.items() if not k.endswith(counters)})


class StoredStatistics(nn.Module):
    """BigGAN-deep with batch norm statistics for truncations of 0 to 1, in equal steps.

    Called as in its project: (z [N, latent], class vectors [N, classes] or labels [N],
    truncation) -> images [N, 3, H, W] in [-1, 1].

    Between two steps that project gives the closer one the *smaller* weight (stats[i] *
    f + stats[i + 1] * (1 - f) at step i + f), and the published images were generated
    so; `nearer=True` gives it the larger weight.
    """

    def __init__(self, G: biggan_deep.DeepGenerator, steps: int) -> None:
        super().__init__()
        self.G, self.nearer = G, False
        self.latent, self.classes = G.latent, G.classes
        for i, norm in enumerate(self._norms()):
            self.register_buffer(f"means{i}", torch.empty(steps, norm.num_features))
            self.register_buffer(f"vars{i}", torch.empty(steps, norm.num_features))

    def _norms(self) -> list[nn.BatchNorm2d]:
        return [m for m in self.G.modules() if isinstance(m, nn.BatchNorm2d)]

    def forward(self, z: Tensor, y: Tensor, truncation: float = 1.0) -> Tensor:
        """Generate images [N, C, H, W] in [-1, 1] by the statistics of `truncation`.

        z [N, latent]; y: class vectors [N, classes] or labels [N].
        """
        for i, norm in enumerate(self._norms()):
            for kind, now in (("means", norm.running_mean), ("vars", norm.running_var)):
                table = self.get_buffer(f"{kind}{i}")
                at, into = divmod(round(truncation * (len(table) - 1), 6), 1)
                low, high = table[int(at)], table[min(int(at) + 1, len(table) - 1)]
                weight = into if self.nearer else 1 - into  # of the higher one
                assert now is not None
                now.copy_(torch.lerp(low, high, weight) if into else low)
        return self.G(z, y)


def _deep(state: State) -> Found | None:
    if (
        not {"embeddings.weight", "generator.gen_z.weight_orig", "generator.bn.running_means"}
        <= state.keys()
    ):
        return None
    state = with_fixed_sigma({k.removeprefix("generator."): v for k, v in state.items()})
    order = [int(k.split(".")[1]) for k in state if k.endswith((".bn_0.running_means", ".gamma"))]
    attended = [int(k.split(".")[1]) for k in state if k.endswith(".gamma")]
    blocks = [n for n in order if n not in attended]
    level = {n: sum(b < n for b in blocks) // 2 - 1 for n in attended}
    widths = [state[f"layers.{n}.conv_3.weight"].shape[0] for n in blocks]
    shared, classes = state["embeddings.weight"].shape
    G = biggan_deep.DeepGenerator(
        latent=state["gen_z.weight"].shape[1] - shared,
        width=1,
        size=4 << len(blocks) // 2,
        classes=classes,
        shared=shared,
        attention=[8 << i for i in level.values()],
        multiples=[widths[0], *widths[1::2]],
        normalised=False,
    )
    ours: State = {"G.shared.weight": state.pop("embeddings.weight").T.contiguous()}
    for kind in ("weight", "bias"):  # that project's grid has channels last
        cells = state.pop(f"gen_z.{kind}").unflatten(0, (16, widths[0]))
        ours[f"G.input.{kind}"] = cells.transpose(0, 1).flatten(0, 1).contiguous()
        ours[f"G.output.{kind}"] = state.pop(f"conv_to_rgb.{kind}")[:3]  # the others are unused
    tables: list[tuple[str, Tensor, Tensor]] = []
    for key, value in state.items():
        layer, _, last = key.rpartition(".")
        m = re.match(r"layers\.(\d+)\.?(.*)", layer)
        if last == "running_means":
            place = f"G.blocks.{blocks.index(int(m[1]))}.norms.{m[2][3:]}.norm" if m else "G.norm"
            tables.append((place, value, state[f"{layer}.running_vars"]))
        elif m and int(m[1]) in level:
            inner = m[2].removeprefix("snconv1x1_").removesuffix("_conv")
            ours[".".join(p for p in ("G.attention", str(level[int(m[1])]), inner, last) if p)] = (
                value
            )
        elif m and last != "running_vars":
            block = blocks.index(int(m[1]))
            inner = re.sub(r"bn_(\d)\.scale", r"norms.\1.gain", m[2])
            inner = re.sub(r"bn_(\d)\.offset", r"norms.\1.bias", inner)
            ours[f"G.blocks.{block}.{inner.replace('conv_', 'convs.')}.{last}"] = value
        elif layer == "bn" and last in ("weight", "bias"):
            ours[f"G.norm.{last}"] = value
    net = StoredStatistics(G, len(tables[0][1]))
    names = [n for n, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)]
    for place, means, variances in tables:
        i = names.index(place)
        ours |= {f"means{i}": means, f"vars{i}": variances}
        ours |= {
            f"{place}.running_mean": means[-1].clone(),
            f"{place}.running_var": variances[-1].clone(),
        }
    if attended:
        ours = {k: v.reshape(()) if k.endswith(".gamma") else v for k, v in ours.items()}
    return Found(net, ours)


FORMATS: dict[str, Format] = {
    "BigGAN generator (ajbrock/BigGAN-PyTorch)": _generator,
    "BigGAN discriminator (ajbrock/BigGAN-PyTorch)": _discriminator,
    "BigGAN-deep generator (huggingface/pytorch-pretrained-BigGAN)": _deep,
}
