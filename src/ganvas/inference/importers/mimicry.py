"""kwotsin/mimicry's ResNets: DCGAN, WGAN-GP, SNGAN, cGAN-PD, SAGAN, SSGAN, InfoMax-GAN.

At 32, 48, 64 and 128 px they differ in their numbers of blocks and in their widths.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.inference.importers.formats import (
    Format,
    Found,
    Misfit,
    OutputMap,
    Setting,
    State,
    column,
    unchanged,
)
from ganvas.inference.importers.spectral import with_fixed_sigma
from ganvas.nets import resnet

LAYERS = {"c1": "conv1", "c2": "conv2", "b1": "norm1", "b2": "norm2", "c_sc": "shortcut"}
ATTENDED = {3: 1, 5: 2}  # blocks of SAGAN's generator -> the one that attention follows
D_ATTENDED = {4: 1, 6: 1}


def _generator(state: State) -> Found | None:
    if not _has(state, "l1", "block2.c2", "block3.c_sc"):
        return None
    state = with_fixed_sigma(state)
    kernels = _blocks(state, r"block(\d+)\.c1\.weight", first=2)
    widths = [kernels[0].shape[1], *(len(k) for k in kernels)]
    last, labels = len(kernels) + 2, state.get("block2.b1.embed.weight")
    bottom = math.isqrt(len(state["l1.weight"]) // widths[0])
    net = resnet.Generator(
        latent=state["l1.weight"].shape[1],
        size=bottom << len(kernels),
        channels=len(state[f"c{last}.weight"]),
        upsampling="bilinear",
        classes=0 if labels is None else len(labels),
        widths=widths,
        bottom=bottom,
        attention=ATTENDED[len(kernels)] if "attn_block.gamma" in state else None,
    )
    ends = {"l1": "input", f"b{last}": "norm", f"c{last}": "output", "attn_block": "attention"}
    ours: State = {}
    for key, value in _renamed(state, 2, ends).items():
        layer, _, name = key.rpartition(".")
        if layer.endswith(".embed"):  # that project's gains are not about 1
            gains, biases = value.chunk(2, 1)
            ours |= {f"{layer[:-6]}.gain.{name}": gains - 1, f"{layer[:-6]}.bias.{name}": biases}
        else:
            ours[re.sub(r"\.bn$", ".norm", layer) + f".{name}"] = value
    plain = labels is None and len(kernels) == 3 and len(set(widths)) == 1  # those for 32 px
    settings = {"output": Setting({"tanh": unchanged, "sigmoid": _sigmoid}, "tanh")}
    return Found(net, ours, settings=settings if plain else {})


def _sigmoid(net: nn.Module) -> OutputMap:
    """End a generator in (tanh(x / 2) + 1) / 2 = sigmoid(x), as DCGAN's at 32 px."""
    assert isinstance(net, resnet.Generator)
    net.bounded = lambda x: (x / 2).tanh()
    return lambda images: (images + 1) / 2


class Heads(nn.Module):
    """A discriminator with more outputs than scores.

    Images [N, C, H, W] -> (scores [N, 1], logits [N, rotations]) with `rotations`
    (SSGAN, arXiv:1811.11212); otherwise (scores [N, 1], local features [N, d, H', W'],
    global features [N, d]), which `project` maps to a space of `shared` dimensions
    (InfoMax-GAN, arXiv:2007.04589).
    """

    def __init__(self, D: resnet.Discriminator, rotations: int = 0, shared: int = 0) -> None:
        super().__init__()
        self.D = D
        width = D.output.in_features
        self.rotations = nn.Linear(width, rotations) if rotations else None
        self.projections = nn.ModuleDict()
        if shared:
            local = _width(D)
            for name, inputs, layer in (
                ("local_nrkhs", local, partial(nn.Conv2d, kernel_size=1)),
                ("global_nrkhs", width, nn.Linear),
            ):
                self.projections[f"{name}_a"] = layer(inputs, inputs)
                self.projections[f"{name}_b"] = layer(inputs, shared)
                self.projections[f"{name}_sc"] = layer(inputs, shared)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Score images x [N, C, H, W]."""
        if self.rotations is not None:
            features = self.D.features(x)
            return column(self.D.output(features)), self.rotations(features)
        local = F.relu(self.D.blocks[:-1](x))  # the next block's ReLU works in place there
        features = self.D.pool(F.relu(self.D.blocks[-1](local)), (2, 3))
        return column(self.D.output(features)), local, features

    def project(self, local: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map local [N, d, H, W] and global features [N, d] to the shared space."""
        local, features = (
            self.projections[f"{name}_b"](F.relu(self.projections[f"{name}_a"](x)))
            + self.projections[f"{name}_sc"](x)
            for name, x in (("local_nrkhs", local), ("global_nrkhs", features))
        )
        return local, features


def _width(D: resnet.Discriminator) -> int:
    """Channels before the last block."""
    block = D.blocks[-1]
    assert isinstance(block, resnet.DownBlock)
    return block.conv1.in_channels


def _discriminator(state: State) -> Found | None:
    infomax = _has(state, "local_feat_blocks.0.c1", "global_feat_blocks.0.c1")
    if not (infomax or _has(state, "block1.c1", "block1.c_sc", "block4.c2")):
        return None
    spectral = any(k.endswith((".weight_orig", ".sn_u")) for k in state)
    state = with_fixed_sigma(state)
    local = r"(local|global)_feat_blocks\.(\d+)\.(.+)"
    if infomax:  # InfoMax-GAN's blocks, in two rows
        before = 1 + max(int(m[2]) for k in state if (m := re.match(local, k)) and m[1] == "local")

        def flat(m: re.Match[str]) -> str:
            return f"block{int(m[2]) + 1 + before * (m[1] == 'global')}.{m[3]}"

        state = {re.sub(local, flat, k): v for k, v in state.items()}
    kernels = _blocks(state, r"block(\d+)\.c2\.weight", first=1)
    widths, blocks = [len(k) for k in kernels], len(kernels)
    score = next(k[: -len(".weight")] for k in state if re.fullmatch(r"(l\d+|linear)\.weight", k))
    label = state.get("l_y.weight")
    rotated = "l_y.bias" in state
    # Blocks that change no width and have no shortcut keep the side. At 48 px the last
    # one does in spite of its shortcut, which shows in the name of the linear layer,
    # except in WGAN-GP and InfoMax-GAN.
    shrinking = max(i for i in range(blocks) if f"block{i + 1}.c_sc.weight" in state) + 1
    if score == "l5":
        shrinking = min(shrinking, 4)
    net = resnet.Discriminator(
        channels=state["block1.c1.weight"].shape[1],
        rectified=True,
        pool="sum" if spectral else "mean",
        classes=0 if label is None or rotated else len(label),
        widths=widths,
        shrinking=shrinking,
        narrow=True,
        attention=D_ATTENDED[blocks] if "attn_block.gamma" in state else None,
    )
    settings = {}
    if not spectral:
        pools = {"mean": partial(_pool, pool=torch.mean), "sum": partial(_pool, pool=torch.sum)}
        settings["pooling"] = Setting(pools, "mean")  # of WGAN-GP; DCGAN has the sum
        if score == "l5" and blocks == 5:  # DCGAN
            net.pool, settings = torch.sum, {}
    if blocks == shrinking == 5 and (score == "linear" or not spectral):
        settings["resolution"] = Setting({"64": unchanged, "48": _keep_last}, "64")
    ends = {score: "output", "l_y": "rotations" if rotated else "output.embed"}
    ours = _renamed(state, 1, {**ends, "attn_block": "attention"})
    shared = len(state.get("local_nrkhs_b.weight", ()))
    if not (rotated or shared):
        return Found(net, ours, column, settings=settings)
    heads = Heads(net, len(label) if label is not None and rotated else 0, shared)
    own = {
        k if k.startswith("rotations") else f"projections.{k}" if "_nrkhs_" in k else f"D.{k}": v
        for k, v in ours.items()
    }
    return Found(heads, own, settings=settings)


def _has(state: State, *layers: str) -> bool:
    """Whether the layers have weights, spectrally normalized or not."""
    return all(f"{n}.weight" in state or f"{n}.weight_orig" in state for n in layers)


def _scoring(net: nn.Module) -> resnet.Discriminator:
    D = net.D if isinstance(net, Heads) else net
    assert isinstance(D, resnet.Discriminator)
    return D


def _pool(net: nn.Module, pool: Callable[..., Tensor]) -> None:
    _scoring(net).pool = pool


def _keep_last(net: nn.Module) -> None:
    """Let the last block keep the side."""
    block = _scoring(net).blocks[-1]
    assert isinstance(block, resnet.DownBlock)
    block.down = False


def _blocks(state: State, pattern: str, first: int) -> list[Tensor]:
    """The kernels of all blocks, numbered from `first`."""
    found = {int(m[1]): v for k, v in state.items() if (m := re.fullmatch(pattern, k))}
    if sorted(found) != list(range(first, first + len(found))):
        raise Misfit(f"the blocks are not numbered from {first}")
    return [found[i] for i in sorted(found)]


def _renamed(state: State, first: int, ends: dict[str, str]) -> State:
    def ours(key: str) -> str:
        head, *rest = key.split(".")
        if head.startswith("block"):
            place = ["blocks", str(int(head[5:]) - first), LAYERS.get(rest[0], rest[0])]
            return ".".join([*place, *rest[1:]])
        return ".".join([ends.get(head, head), *rest])

    return {ours(k): v for k, v in state.items()}


FORMATS: dict[str, Format] = {
    "ResNet generator (kwotsin/mimicry)": _generator,
    "ResNet discriminator (kwotsin/mimicry)": _discriminator,
}
