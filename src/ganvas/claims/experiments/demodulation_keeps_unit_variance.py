"""StyleGAN2, section 2.2: demodulated feature maps have unit variance for any style."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from ganvas.claims.claim import Finding, Seeds, claim
from ganvas.core import rng
from ganvas.nets.stylegan2 import ModulatedConv2d

CHANNELS = 32
STYLES = 32  # each with scales of its own
SIDE = 128  # pixels of a feature map; a standard deviation is known to about 1%
SPREAD = 3.0  # of the styles: scales are N(1, 3^2)


def experiment(seed: int) -> Finding:
    """Feature maps of independent pixels after one layer, demodulated and not."""
    found = {name: deviations(name == "demodulated", seed) for name in ("demodulated", "modulated")}
    return Finding(
        scores(found["demodulated"]),
        {name: sorted(values.flatten().tolist())[::8] for name, values in found.items()},
        {"modulated": scores(found["modulated"])},
    )


@torch.no_grad()
def deviations(demodulate: bool, seed: int) -> torch.Tensor:
    """Standard deviation of each output map [styles, channels], of inputs N(0, 1)."""
    torch.manual_seed(rng.fold_in(seed, "layer"))
    layer = ModulatedConv2d(CHANNELS, CHANNELS, 3, style=CHANNELS, demodulate=demodulate)
    maps = []
    for _ in range(STYLES):
        x, w = torch.randn(1, CHANNELS, SIDE + 2, SIDE + 2), SPREAD * torch.randn(1, CHANNELS)
        maps.append(layer(x, w)[0, :, 1:-1, 1:-1])  # the border sees zeros beside the image
    return torch.stack(maps).std((2, 3))


def scores(found: torch.Tensor) -> dict[str, float]:
    """Largest error of a map's deviation against 1, and largest over smallest."""
    return {
        "worst_error": float((found - 1).abs().max()),
        "range": float(found.max() / found.min()),
    }


def plot(figure: Figure, seeds: Seeds) -> None:
    """Standard deviations in ascending order, of both layers."""
    axes = figure.subplots()
    for i, name in enumerate(("demodulated", "modulated")):
        for s in seeds:
            label = name if s is seeds[0] else None
            axes.plot(s["series"][name], color=f"C{i}", linewidth=1, label=label)
    axes.set(xlabel="feature maps in ascending order", ylabel="standard deviation", yscale="log")
    axes.legend()


CLAIM = claim(__name__, experiment=experiment, plot=plot)
