"""mingyuliutw/CoGAN's PyTorch networks for 28x28, in pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganvas.inference.importers.formats import Format, Found, State
from ganvas.nets import cogan


class Pair(cogan.Discriminators):
    """Discriminators called as in their project.

    Images of a and of b, in [0, 1] -> scores of "generated" and "real", [N + M, 2], a's
    first.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Scores [N + M, 2] of images a [N, ...] and b [M, ...] in [0, 1]."""
        return torch.cat([self.scores(a, 0), self.scores(b, 1)])


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
    net = Pair([first.shape[0], *(k.shape[0] for k in middle)], 3, (height, width), first.shape[1])

    def ours(key: str) -> str:
        layer, name = key.split(".")
        if layer.startswith("conv0"):
            return f"own.{'ab'.index(layer[-1])}.0.0.{name}"
        return f"tied.{int(layer[-1]) - 1}.{int(layer.startswith('prelu'))}.{name}"

    return Found(net, {ours(k): v for k, v in state.items()})


FORMATS: dict[str, Format] = {
    "CoGAN generators (mingyuliutw/CoGAN)": _generators,
    "CoGAN discriminators (mingyuliutw/CoGAN)": _discriminators,
}
