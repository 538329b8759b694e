"""R3GAN, section 2: relativistic pairs with both gradient penalties find modes that the loss of 2014 leaves out."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.optim import Adam

from ganvas.claims.claim import Check, Claim, Finding
from ganvas.claims.experiments.modes_25_gaussians import D, G, played, plot
from ganvas.core import Run
from ganvas.core.schedules import Constant, LinearDecay
from ganvas.data import toy
from ganvas.methods import GAN, R3GAN

STEPS = 10_000  # of each player


def _run(method: Any, per_step: int) -> Run:
    """`per_step`: batches that a step draws."""
    points = STEPS * 100 * per_step
    return Run(
        method=partial(method, G=G, D=D),
        data=partial(toy.gaussian_grid_feed),
        optim={p: partial(Adam, lr=1e-3, betas=(0.0, 0.99)) for p in "GD"},
        batch=100,
        images=points,
        lr=LinearDecay(start=points // 2, end=points),
    )


METHODS = {"gan": _run(GAN, 1), "r3gan": _run(partial(R3GAN, gamma=Constant(0.1)), 2)}


def experiment(seed: int) -> Finding:
    figures, series = played(METHODS, seed)
    figures["fewer_with_2014"] = figures["r3gan_modes"] - figures["gan_modes"]
    return Finding(figures, series)


CLAIM = Claim(
    name="r3gan-covers-modes",
    paper="Huang, Gokaslan, Kuleshov and Tompkin, 2024, The GAN is dead; long live the GAN!, arXiv:2501.05441",
    section="sections 2.1 to 2.3, table 1",
    sentence="Relativistic pairs with penalties on real and generated images (RpGAN + R1 + R2) cover all modes, where the loss "
    "of 2014 drops some.",
    experiment=experiment,
    experiment_in_words="PacGAN's 25 Gaussians as in modes-25-gaussians (2,500 samples, a mode found by one sample within "
    "3 deviations), not the paper's 1,000 modes of stacked MNIST. The loss of 2014 and R3GAN with the same networks (generator "
    "3 x 128, ReLU; discriminator 3 x 128 maxout of 2; He's initialisation, no norm), 10,000 steps of each player with batches "
    "of 100, Adam 1e-3 with betas (0, .99), the rate falling to 0 over the second half; gamma 0.1. The networks are those of "
    "points, so that this is about the loss and the penalties. Tried while the sizes were chosen, with a seed that is not "
    "among those reported: from N(0, .02), where all samples start at one point, R3GAN stayed in one mode for 1,500 steps, "
    "whatever gamma; from He's it had 25 modes with gamma 0.1 and 1. The bounds were set knowing that seed. At first "
    "there were 3,000 steps, and the claim did not hold (22 modes in one of three seeds, 11% of the samples good); training "
    "was made longer, and no bound was moved.",
    checks=(
        Check(
            "r3gan_modes",
            ">=",
            25,
            "the paper covers all of its 1,000 modes: none may be missing here",
        ),
        Check(
            "r3gan_reverse_kl",
            "<=",
            0.1,
            "one sample makes a mode found; below 0.1 all have their share (PacGAN's best are at 0.04 to 0.13)",
        ),
        Check(
            "r3gan_good",
            ">=",
            0.1,
            "samples spread evenly over the square find 23 modes with 2.6% good ones: four times that",
        ),
        Check(
            "fewer_with_2014",
            ">",
            0.0,
            "the other half of the sentence; the mean, for that loss's count varies by several from seed to seed",
            over="mean",
        ),
    ),
    figures_in_words={
        "r3gan_modes": "modes of 25 in which R3GAN has a good sample",
        "r3gan_reverse_kl": "reverse KL of the shares of R3GAN's samples by mode, in nats",
        "r3gan_good": "share of R3GAN's samples within 3 deviations of a mode",
        "fewer_with_2014": "modes that R3GAN finds more than the loss of 2014",
    },
    paper_figures={
        "stacked MNIST, 1,000 modes": "RpGAN + R1 + R2: 1000 modes, reverse KL 0.078; GAN + R1 + R2: 693 and 0.927; with R1 "
        "alone both diverge"
    },
    plot=plot,
    minutes=12,
)
