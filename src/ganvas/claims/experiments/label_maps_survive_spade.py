"""SPADE, section 3.2: an even label map survives its normalization, and no other."""

from __future__ import annotations

from itertools import combinations

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ganvas.claims.claim import Finding, Seeds, claim
from ganvas.core import rng
from ganvas.nets.norm import InstanceNorm2d
from ganvas.nets.spade import SPADE

LABELS = 12
CHANNELS = 32
SIDE = 16  # pixels of a feature map


def experiment(seed: int) -> Finding:
    """How much the outputs of a layer differ if the whole map has another label."""
    torch.manual_seed(rng.fold_in(seed, "layers"))
    spade = SPADE(CHANNELS, LABELS, CHANNELS).double().train()
    x = torch.randn(1, CHANNELS, SIDE, SIDE, dtype=torch.float64)
    conv = nn.Conv2d(LABELS, CHANNELS, 3, dtype=torch.float64)
    norm = InstanceNorm2d(CHANNELS, affine=False).double()
    maps = [even(label) for label in range(LABELS)]
    with torch.no_grad():
        found = {
            "spade": differences([spade(x, m) for m in maps]),
            "instance": differences([norm(conv(m)) for m in maps]),
            "convolution": differences([conv(m) for m in maps]),
        }
    return Finding(
        {"least": min(found["spade"]), "washed_away": max(found["instance"])},
        {name: sorted(values) for name, values in found.items()},
        {"instance norm": {"least": min(found["instance"])}},
    )


def even(label: int) -> Tensor:
    """A label map of one label, [1, LABELS, SIDE, SIDE]."""
    m = torch.zeros(1, LABELS, SIDE, SIDE, dtype=torch.float64)
    m[:, label] = 1
    return m


def differences(outputs: list[Tensor]) -> list[float]:
    """Root mean square difference of each pair, away from the border."""
    inner = [y[..., 2:-2, 2:-2] for y in outputs]  # the border sees zeros beside the map
    return [float((a - b).square().mean().sqrt()) for a, b in combinations(inner, 2)]


def plot(figure: Figure, seeds: Seeds) -> None:
    """Differences of all pairs of labels in ascending order, for each layer."""
    axes = figure.subplots()
    names = {
        "convolution": "convolution",
        "spade": "SPADE",
        "instance": "convolution and instance norm",
    }
    for i, (name, said) in enumerate(names.items()):
        for s in seeds:
            values = [max(v, 1e-18) for v in s["series"][name]]
            axes.plot(values, color=f"C{i}", linewidth=1, label=said if s is seeds[0] else None)
    axes.set(
        xlabel="pairs of labels in ascending order",
        ylabel="difference of the outputs",
        yscale="log",
    )
    axes.legend()


CLAIM = claim(__name__, experiment=experiment, plot=plot)
