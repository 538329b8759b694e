"""StyleGAN3, section 3: with its filters an image shifts exactly as its input does."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from ganvas.claims.claim import Finding, Seeds, claim
from ganvas.core import rng
from ganvas.metrics.equivariance import decibels, overlap
from ganvas.nets.stylegan3 import Generator, SynthesisLayer

SIDE = 32  # pixels
SHIFTS = (1, 3, 5)  # pixels
ARMS = ("filtered", "aliased")


def experiment(seed: int) -> Finding:
    """Equivariance of untrained generators, with their filters and without."""
    found = {arm: equivariance(arm == "aliased", seed) for arm in ARMS}
    figures = {"least": min(found["filtered"]), "aliased_most": max(found["aliased"])}
    aliased = {"least": min(found["aliased"]), "aliased_most": max(found["aliased"])}
    return Finding(figures, found, {"aliased": aliased})


@torch.no_grad()
def equivariance(aliased: bool, seed: int) -> list[float]:
    """EQ-T of an image whose input is shifted, for each shift, in dB.

    Karras et al., 2021, equation 3, over the pixels that both images show; the peak is
    the range of the image, which no training has set.
    """
    torch.manual_seed(rng.fold_in(seed, "generator"))
    G = Generator(latent=32, style=32, depth=8, base=1024, width=32, size=SIDE, channels=1).eval()
    w = G.styles(torch.randn(1, 32))
    if aliased:
        remove_filters(G)
    G.synthesis(w, decay=0.0)  # magnitudes of this image
    still, found = G.synthesis(w).double(), []
    for shift in SHIFTS:
        G.get_buffer("synthesis.input.transform")[0, 2] = shift / SIDE
        a, b = overlap(still, G.synthesis(w).double(), (0, shift))
        found.append(decibels(float((a - b).square().mean()), float(a.max() - a.min())))
    return found


def remove_filters(G: Generator) -> None:
    """Repeat pixels where they are doubled, and drop pixels where they are halved."""
    for layer in (m for m in G.modules() if isinstance(m, SynthesisLayer)):
        for f, factor in ((layer.up_filter, layer.up), (layer.down_filter, 1)):
            taps = len(f)
            if taps > 1:
                f.zero_()
                start = (taps - factor) // 2
                f[start : start + factor] = 1 / factor


def plot(figure: Figure, seeds: Seeds) -> None:
    """Equivariance against the shift, with the filters and without."""
    axes = figure.subplots()
    for i, (arm, name) in enumerate(zip(ARMS, ("with filters", "without"), strict=True)):
        for s in seeds:
            label = name if s is seeds[0] else None
            axes.plot(SHIFTS, s["series"][arm], "o-", color=f"C{i}", label=label)
    axes.set(xlabel="shift, pixels", ylabel="EQ-T, dB")
    axes.set_xticks(SHIFTS, list(map(str, SHIFTS)))
    axes.legend()


CLAIM = claim(__name__, experiment=experiment, plot=plot)
