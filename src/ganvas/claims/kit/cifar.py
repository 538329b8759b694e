"""CIFAR-10, and FID of a generator of it: for experiments at the papers' settings.

FID needs Inception's weights, in the folder of the environment variable
GANVAS_WEIGHTS.
"""

from __future__ import annotations

from functools import cache

from ganvas.claims.kit.data import place
from ganvas.claims.kit.quality import Quality
from ganvas.claims.kit.training import Figures, Trained
from ganvas.data import Feed, images

SAMPLES = 9_984  # of a distance: whole batches of `Quality`


def cifar() -> Feed:
    """CIFAR-10's training part at 32 px, with labels."""
    return images(place("cifar10"), size=32)


@cache
def fid() -> Quality:
    """FID over 9,984 samples. Raises `UserError` if data or weights are missing."""
    return Quality(cifar(), SAMPLES, features="inception-2015")


def measure_fid(trained: Trained) -> Figures:
    """FID of the model."""
    return {"fid": fid()(trained.model)}
