"""mingyuliutw/CoGAN's PyTorch networks for 28x28, in pairs and alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.inference.importers.formats import Format, Found, State, convolutions, numbered
from ganvas.nets import cogan
from ganvas.nets.layers import Size


class Pair(cogan.Discriminators):
    """Discriminators called as in their project.

    Images of a and of b, in [0, 1] -> scores of "generated" and "real", [N + M, 2], a's
    first.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Scores [N + M, 2] of images a [N, ...] and b [M, ...] in [0, 1]."""
        return torch.cat([self.scores(a, 0), self.scores(b, 1)])


class ClassifyingPair(Pair):
    """Discriminators that also tell classes, called as in their project.

    Images of a and of b, in [0, 1] -> (scores as of `Pair`, features of a's images,
    features of b's [..., width, 1, 1]).
    """

    def __init__(
        self, widths: Sequence[int], tied: int, size: Size, channels: int, classes: int
    ) -> None:
        super().__init__(widths, tied, size, channels)
        self.classes = nn.Conv2d(widths[-1], classes, 1)

    def features(self, x: Tensor, domain: int) -> Tensor:
        """Features [N, width, 1, 1] of images x of a domain (0: a, 1: b)."""
        return self.tied[:-1](self.own[domain](x))

    def classify(self, x: Tensor, domain: int) -> Tensor:
        """Logits [N, classes] of images x in [0, 1] of a domain (0: a, 1: b)."""
        return self.classes(self.features(x, domain)).flatten(1)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Scores [N + M, 2], and features of images a [N, ...] and b [M, ...]."""
        both = self.features(a, 0), self.features(b, 1)
        return self.tied[-1](torch.cat(both)).flatten(1), *both


def _generators(state: State) -> Found | None:
    if (
        not {"dconv0.weight", "bn0.running_mean", "dconv4_a.weight", "dconv4_b.weight"}
        <= state.keys()
    ):
        return None
    kernels = [state[f"dconv{i}.weight"] for i in range(4)]
    height, width = (8 * side - 4 for side in kernels[0].shape[2:])
    net = cogan.Generators(
        kernels[0].shape[0],
        [k.shape[1] for k in kernels],
        4,
        (height, width),
        state["dconv4_a.weight"].shape[1],
    )
    place = {"dconv": 0, "bn": 1, "prelu": 2}

    def ours(key: str) -> str:
        layer, name = key.split(".")
        if layer.startswith("dconv4"):
            return f"own.{'ab'.index(layer[-1])}.0.{name}"
        kind, number = layer[:-1], layer[-1]
        return f"tied.{number}.{place[kind]}.{name}"

    return Found(net, {ours(k): v for k, v in state.items()}, _unit)


def _unit(pair: Any) -> Any:
    """Images of both domains: [-1, 1] -> [0, 1]."""
    return tuple((x + 1) / 2 for x in pair)


def _discriminators(state: State) -> Found | None:
    if (
        not {"conv0_a.weight", "conv0_b.weight", "conv1.weight", "prelu2.weight", "conv3.weight"}
        <= state.keys()
    ):
        return None
    first, *middle = (state[k] for k in ("conv0_a.weight", "conv1.weight", "conv2.weight"))
    height, width = (4 * side + 12 for side in middle[1].shape[2:])
    how = [len(first), *map(len, middle)], 3, (height, width), first.shape[1]
    classes = state.get("conv_cl.weight")
    net = Pair(*how) if classes is None else ClassifyingPair(*how, len(classes))

    def ours(key: str) -> str:
        layer, name = key.split(".")
        if layer == "conv_cl":
            return f"classes.{name}"
        if layer.startswith("conv0"):
            return f"own.{'ab'.index(layer[-1])}.0.0.{name}"
        return f"tied.{int(layer[-1]) - 1}.{int(layer.startswith('prelu'))}.{name}"

    return Found(net, {ours(k): v for k, v in state.items()})


def _single(state: State, activation: str) -> bool:
    """Whether it is a row of layers, with a PReLU of one number at a place."""
    if not numbered(state, "model") or activation not in state or "model.0.weight" not in state:
        return False
    return state[activation].numel() == 1 and state["model.0.weight"].dim() == 4


def _generator(state: State) -> Found | None:
    if not _single(state, "model.2.weight") or "model.1.running_mean" not in state:
        return None
    kernels = convolutions(state)
    height, width = (8 * side - 4 for side in kernels[0].shape[2:])
    widths = [k.shape[1] for k in kernels[:-1]]
    channels = kernels[-1].shape[1]
    net = cogan.Generator(kernels[0].shape[0], widths, (height, width), channels)

    def ours(key: str) -> str:
        _, place, name = key.split(".")
        layer, inner = divmod(int(place), 3)
        return f"layers.{layer}.{name}" if layer == 4 else f"layers.{layer}.{inner}.{name}"

    return Found(net, {ours(k): v for k, v in state.items()}, lambda x: (x + 1) / 2)


def _discriminator(state: State) -> Found | None:
    if not _single(state, "model.5.weight") or "model.2.weight" not in state:
        return None
    first, *middle, _ = convolutions(state)
    height, width = (4 * side + 12 for side in middle[1].shape[2:])
    net = cogan.Discriminator([len(first), *map(len, middle)], (height, width), first.shape[1])

    def ours(key: str) -> str:
        _, place, name = key.split(".")
        layer, inner = divmod(int(place), 2)
        return f"layers.{layer}.{inner}.{name}"

    return Found(net, {ours(k): v for k, v in state.items()})


FORMATS: dict[str, Format] = {
    "CoGAN generators (mingyuliutw/CoGAN)": _generators,
    "CoGAN discriminators (mingyuliutw/CoGAN)": _discriminators,
    "GAN generator for MNIST (mingyuliutw/CoGAN)": _generator,
    "GAN discriminator for MNIST (mingyuliutw/CoGAN)": _discriminator,
}
