"""BigGAN-deep of ajbrock/BigGAN-PyTorch, and of pytorch-pretrained-BigGAN.

The latter: huggingface/pytorch-pretrained-BigGAN.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from ganvas.core.errors import UserError, printable
from ganvas.core.json_files import read_json
from ganvas.inference.importers import biggan
from ganvas.inference.importers.formats import (
    Format,
    Found,
    Numbers,
    Setting,
    State,
    column,
)
from ganvas.inference.importers.spectral import with_fixed_sigma
from ganvas.nets import biggan_deep
from ganvas.nets.attention import SelfAttention

EPS = 1e-4  # of batch norms, in the published configurations
WEIGHTS, CONFIG = "pytorch_model.bin", "config.json"


def opened(path: Path) -> tuple[Path, dict[str, str]] | None:
    """(file of weights, settings of config.json) of a folder or file of that project.

    None if there is no description of a BigGAN beside it. Raises `UserError` for a
    folder with a description alone.
    """
    file = path / WEIGHTS if path.is_dir() else path
    config = file.with_name(file.name.removesuffix(WEIGHTS) + CONFIG)
    if not file.name.endswith(WEIGHTS) or not config.is_file():
        return None
    described = read_json(config, "description of a network")
    if "attention_layer_position" not in described:
        return None
    if not file.is_file():
        raise UserError(f"{printable(path)} has no {WEIGHTS}; it holds {CONFIG} alone")
    return file, {"eps": str(described.get("eps", EPS))}


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


def _stored(state: State) -> Found | None:
    if (
        not {"embeddings.weight", "generator.gen_z.weight_orig", "generator.bn.running_means"}
        <= state.keys()
    ):
        return None
    state = with_fixed_sigma({k.removeprefix("generator."): v for k, v in state.items()})
    order = [int(k.split(".")[1]) for k in state if k.endswith((".bn_0.running_means", ".gamma"))]
    attended = [int(k.split(".")[1]) for k in state if k.endswith(".gamma")]
    blocks = [n for n in order if n not in attended]
    if len(blocks) % 2:
        raise ValueError(f"it has {len(blocks)} blocks, expected two for each doubling")
    before = {n: sum(b < n for b in blocks) for n in attended}  # the number of a block
    widths = [state[f"layers.{n}.conv_3.weight"].shape[0] for n in blocks]
    shared, classes = state["embeddings.weight"].shape
    G = biggan_deep.DeepGenerator(
        latent=state["gen_z.weight"].shape[1] - shared,
        width=1,
        size=4 << len(blocks) // 2,
        classes=classes,
        shared=shared,
        attention=(),
        multiples=[widths[0], *widths[1::2]],
        normalised=False,
        eps=EPS,
    )
    for n, block in before.items():
        features = len(state[f"layers.{n}.snconv1x1_o_conv.weight"])
        G.before[str(block)] = SelfAttention(features)
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
        elif m and int(m[1]) in before:
            inner = m[2].removeprefix("snconv1x1_").removesuffix("_conv")
            place = ("G.before", str(before[int(m[1])]), inner, last)
            ours[".".join(p for p in place if p)] = value
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
    eps = Setting(Numbers(_eps, above=True), f"{EPS:g}", announced=False)
    return Found(net, ours, settings={"eps": eps})


def _eps(net: nn.Module, eps: float) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = eps


def _generator(state: State) -> Found | None:
    """Recognize ajbrock/BigGAN-PyTorch's BigGANdeep: labels come before z there."""
    names = {"linear.weight", "shared.weight", "blocks.0.0.bn4.gain.weight"}
    if not names | {"output_layer.0.gain"} <= state.keys():
        return None
    kernels = biggan.in_order(state, r"blocks\.\d+\.0\.conv4\.weight")
    first = state["blocks.0.0.conv1.weight"].shape[1]
    widths = [first, *map(len, kernels)]
    # Of different widths there are two blocks for each level, of one three levels.
    depth = 2 if len(set(widths)) > 1 else max(len(kernels) // 3, 1)
    if len(kernels) % depth:
        raise ValueError(f"it has {len(kernels)} blocks, expected {depth} for each level")
    widths = [first, *widths[depth::depth]]
    classes, shared = state["shared.weight"].shape
    bottom = math.isqrt(len(state["linear.weight"]) // first)
    net = biggan_deep.DeepGenerator(
        latent=state["linear.weight"].shape[1] - shared,
        width=1,
        size=bottom << len(widths) - 1,
        channels=len(state["output_layer.2.weight"]),
        classes=classes,
        shared=shared,
        depth=depth,
        attention=(),
        multiples=widths,
        normalised="linear.u0" in state,
        eps=biggan.EPS,
        bottom=bottom,
    )
    biggan.attend(net, state, widths[1:], depth)
    conditioned = re.compile(r"linear\.weight|blocks\.\d+\.0\.bn\d\.(gain|bias)\.weight")
    state = {k: v.roll(-shared, 1) if conditioned.fullmatch(k) else v for k, v in state.items()}
    weights = biggan.ours(state, biggan.GENERATOR, LAYERS, depth)
    return Found(net, weights, settings=biggan.norms(net, state))


def _discriminator(state: State) -> Found | None:
    """Recognize ajbrock/BigGAN-PyTorch's BigGANdeep."""
    if not {"input_conv.weight", "linear.weight", "blocks.0.0.conv4.weight"} <= state.keys():
        return None
    depth = len(biggan.in_order(state, r"blocks\.0\.\d+\.conv4\.weight"))

    def numbered(m: re.Match[str]) -> str:
        """Number the blocks through, and attention as that of the block before it."""
        level, place = int(m[1]), int(m[2])
        attention = int(place == depth)
        return f"blocks.{level * depth + place - attention}.{attention}."

    state = {re.sub(r"^blocks\.(\d+)\.(\d+)\.", numbered, k): v for k, v in state.items()}
    kernels = biggan.in_order(state, r"blocks\.\d+\.0\.conv4\.weight")
    stem, outputs = state["input_conv.weight"], len(state["linear.weight"])
    widths = [len(stem), *map(len, kernels[depth - 1 :: depth])]
    net = biggan_deep.DeepDiscriminator(
        width=1,
        size=4 << len(widths) - 1,
        channels=stem.shape[1],
        classes=len(state["embed.weight"]),
        depth=depth,
        attention=(),
        multiples=widths,
        normalised="linear.u0" in state,
        outputs=outputs,
        # For 32x32, where all widths are the same, two of three levels halve.
        shrinking=2 if len(set(widths)) == 1 else None,
    )
    biggan.attend(net, state, widths[1:], depth)
    names = {**biggan.DISCRIMINATOR, "input_conv": "input"}
    weights = biggan.ours(state, names, LAYERS, depth)
    return Found(net, weights, column if outputs == 1 else None)


LAYERS = {"conv_sc": "shortcut"}
LAYERS |= {f"conv{i + 1}": f"convs.{i}" for i in range(4)}
LAYERS |= {f"bn{i + 1}": f"norms.{i}" for i in range(4)}

FORMATS: dict[str, Format] = {
    "BigGAN-deep generator (ajbrock/BigGAN-PyTorch)": _generator,
    "BigGAN-deep discriminator (ajbrock/BigGAN-PyTorch)": _discriminator,
    "BigGAN-deep generator (huggingface/pytorch-pretrained-BigGAN)": _stored,
}
