"""BigGAN, section 3: a larger batch makes better samples in as many updates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.cifar import cifar, fid, measure_fid
from ganvas.claims.kit.training import Comparison, Figures
from ganvas.core import Run
from ganvas.core.schedules import PerStep
from ganvas.methods import SAGAN
from ganvas.nets import biggan

UPDATES = 15_000
NETWORK = {"width": 64, "attention": [], "init": "glorot"}
ADAM = partial(Adam, betas=(0.0, 0.999))


def run(batch: int) -> Run:
    """SAGAN's game and networks without attention, the same rates for both batches."""
    return Run(
        method=partial(
            SAGAN,
            G=partial(biggan.Generator, latent=128, shared=0, split=False, **NETWORK),
            D=partial(biggan.Discriminator, **NETWORK),
            sigma_every=0,
        ),
        data=cifar,
        optim={"G": partial(ADAM, lr=2e-4), "D": partial(ADAM, lr=2e-4)},
        batch=batch,
        images=UPDATES * batch,
        ema=PerStep(0.9999, start=1_000),
    )


def figures(arms: Mapping[str, Figures]) -> Figures:
    """FID with the small batch over that with the large one."""
    return {
        "gain": arms["batch_64"]["fid"] / arms["batch_512"]["fid"],
        **{f"{arm}_fid": found["fid"] for arm, found in arms.items()},
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"batch_512": run(512), "batch_64": run(64)},
        controls=["batch_64"],
        measure=measure_fid,
        figures=figures,
        device="cuda",
    ),
    plot=plots.bars({"batch_64_fid": "batches of 64", "batch_512_fid": "of 512"}, labels=("FID",)),
    ready=fid,
)
