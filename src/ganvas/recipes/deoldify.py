"""Recipes of DeOldify."""

from dataclasses import replace
from functools import partial

from torch.optim import AdamW

from ganvas.core import Run
from ganvas.data import derived
from ganvas.methods import DeOldify
from ganvas.nets import deoldify as nets


def deoldify(count: int) -> Run:
    """The "stable" model of jantic/DeOldify: a wide U-Net on ResNet101, at 192 px.

    One pass with G alone, half a pass with D alone, and a game of 3% of a pass (5 steps
    or more), batches of 8; Adam with betas (0, .9), decoupled weight decay 1e-3, 1e-4
    for G and five times that for D. The project starts from ImageNet's weights and
    raises the side and lowers the rate in steps, down to 2e-5 in the game.
    """
    return Run(
        method=partial(
            DeOldify,
            G=partial(nets.UNet),
            D=partial(nets.Critic),
            pretrain=count,
            critic=count // 2,
        ),
        data=partial(derived, kind="luma", size=192, flip=True),
        optim={
            "G": partial(AdamW, lr=1e-4, betas=(0.0, 0.9), weight_decay=1e-3),
            "D": partial(AdamW, lr=5e-4, betas=(0.0, 0.9), weight_decay=1e-3),
        },
        batch=8,
        images=count + count // 2 + max(count // 33, 5 * 8),
    )


def deoldify_artistic(count: int) -> Run:
    """The "artistic" model: a deep U-Net on ResNet34, more game (a third of a pass).

    The game has half the weight of the images' distance.
    """
    run = deoldify(count)
    assert isinstance(run.method, partial)
    G = partial(nets.UNet, kind="deep", encoder="resnet34", factor=1.5)
    return replace(
        run,
        method=partial(run.method, G=G, adversarial_weight=0.5),
        images=count + count // 2 + max(count // 3, 5 * 8),
    )


def deoldify_small(count: int) -> Run:
    """For a laptop: 64 px, a deep U-Net on an eighth of ResNet18, 100 passes in all.

    80 passes with G alone, 10 with D alone, 10 of the game; batches of 16, Adam 5e-4
    for G and 1e-3 for D.
    """
    run = deoldify(count)
    G = partial(
        nets.UNet, kind="deep", encoder="resnet34", factor=1.0, stem=16, blocks=[2, 2, 2, 2]
    )
    return replace(
        run,
        method=partial(
            DeOldify,
            G=G,
            D=partial(nets.Critic, width=32, blocks=2),
            pretrain=80 * count,
            critic=10 * count,
        ),
        data=partial(derived, kind="luma", size=64, flip=True),
        optim={
            "G": partial(AdamW, lr=5e-4, betas=(0.0, 0.9), weight_decay=1e-3),
            "D": partial(AdamW, lr=1e-3, betas=(0.0, 0.9), weight_decay=1e-3),
        },
        batch=16,
        images=100 * count,
    )
