"""Spectral normalization, section 4.1: it trains at rates too high for a penalty."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.cifar import cifar, fid, measure_fid
from ganvas.claims.kit.training import Comparison, Figures
from ganvas.core import Run
from ganvas.methods import SNGAN, WGANGP
from ganvas.nets import sngan

SETTINGS = {  # table 1: learning rate, beta1, beta2, D's updates for each of G's
    "C": (2e-4, 0.5, 0.999, 1),
    "F": (1e-3, 0.9, 0.999, 5),
}
UPDATES = 20_000  # of G
BATCH = 64
GAMES: dict[str, Any] = {
    "sn": partial(SNGAN, G=sngan.Generator, D=sngan.Discriminator, g_batch=1, sigma_every=0),
    "gp": partial(
        WGANGP, G=sngan.Generator, D=partial(sngan.Discriminator, normalised=False), g_batch=1
    ),
}


def run(game: str, setting: str) -> Run:
    """The paper's standard networks (width 64) at one of its settings."""
    lr, beta1, beta2, n_critic = SETTINGS[setting]
    return Run(
        method=partial(GAMES[game], n_critic=n_critic),
        data=cifar,
        optim=dict.fromkeys("GD", partial(Adam, lr=lr, betas=(beta1, beta2))),
        batch=BATCH,
        images=UPDATES * n_critic * BATCH,
    )


def figures(arms: Mapping[str, Figures]) -> Figures:
    """Ratio of the FIDs of penalty and spectral normalization at F, and all FIDs."""
    fids = {f"{arm}_fid": found["fid"] for arm, found in arms.items()}
    return {
        "gain": fids["gp_F_fid"] / fids["sn_F_fid"],
        "slack": fids["sn_F_fid"] / fids["sn_C_fid"],
        "gp_slack": fids["gp_F_fid"] / fids["gp_C_fid"],
        **fids,
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={f"{game}_{setting}": run(game, setting) for game in GAMES for setting in SETTINGS},
        controls=["gp_F"],
        measure=measure_fid,
        figures=figures,
        device="cuda",
    ),
    plot=plots.bars(
        {
            "sn_C_fid": "spectral, C",
            "sn_F_fid": "spectral, F",
            "gp_C_fid": "penalty, C",
            "gp_F_fid": "penalty, F",
        },
        labels=("FID",),
    ),
    ready=fid,
)
