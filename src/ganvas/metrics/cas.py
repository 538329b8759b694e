"""Classification accuracy score: train on samples, test on real images."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import UserError

CLASSIFIER = (
    "cnn-v1"  # the name under which figures compare; anything below that changes changes it
)
SIDE = 32  # pixels: larger images are resized to this square before they are classified
STEPS, BATCH, RATE = 600, 100, 2e-3


class AccuracyScore(NamedTuple):
    """Fractions of the real test images that are classified correctly.

    score: by the classifier of the samples; `reference`: by one of as many real
    images; `classes`: `score` within each class, in the order of `labels`. Real data
    that trains as many steps on as many images is what a perfect generator could reach.
    """

    score: float
    reference: float
    classes: tuple[float, ...]
    labels: tuple[int, ...]
    trained_on: int
    tested_on: int
    classifier: str


def classification_accuracy_score(
    samples: Tensor,
    sample_labels: Tensor,
    real: Tensor,
    real_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> AccuracyScore:
    """Train on samples, test on real images.

    Ravuri and Vinyals, 2019, arXiv:1905.10887, section 3. Modes that a generator drops
    and labels that it confuses cost accuracy, which distances hardly see.

    Images [N, C, H, W] in [-1, 1] with labels [N], of a conditional generator
    (`samples`), the data that it was trained on (`real`, of which as many are used as
    there are samples) and real data that neither has seen (`test`). The paper trains a
    ResNet-50 on ImageNet; here it is `CLASSIFIER`, three convolutions on 32 pixels, so
    figures compare with each other and not with the paper's. Raises `UserError` if
    shapes, lengths or classes do not match, and if `real` is fewer than `samples`.
    """
    sets = {
        "samples": (samples, sample_labels),
        "real": (real, real_labels),
        "test": (test, test_labels),
    }
    for name, (x, y) in sets.items():
        if x.ndim != 4 or x.shape[1:] != samples.shape[1:] or y.shape != (len(x),) or not len(x):
            raise UserError(
                f"{name}: images [N, C, height, width] of one size and their N labels are needed; "
                f"got {list(x.shape)} and "
                f"{list(y.shape)}, beside samples of {list(samples.shape[1:])}"
            )
        if not bool(torch.isfinite(x).all()):
            raise UserError(
                f"{name}: these images have NaN or infinite pixels, of which nothing can be learned"
            )
    labels = torch.unique(real_labels).cpu()
    for name in ("samples", "test"):
        strange = set(torch.unique(sets[name][1]).tolist()) - set(labels.tolist())
        if strange:
            raise UserError(
                f"{name}: the labels {sorted(strange)} are not among the real data's "
                f"{labels.tolist()}"
            )
    if len(real) < len(samples):
        raise UserError(
            f"the reference trains on as many real images as there are samples; got {len(real)} "
            f"for {len(samples)}: draw fewer "
            "samples"
        )
    chosen = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))[
        : len(samples)
    ]
    scores = []
    for x, y in ((samples, sample_labels), (real[chosen], real_labels[chosen])):
        net = _trained(_prepared(x), torch.searchsorted(labels, y.cpu()), len(labels), steps, seed)
        with torch.no_grad():
            scores.append(torch.cat([net(part).argmax(1) for part in _prepared(test).split(500)]))
    truth = torch.searchsorted(labels, test_labels.cpu())
    right, reference = (s == truth for s in scores)
    return AccuracyScore(
        score=float(right.double().mean()),
        reference=float(reference.double().mean()),
        classes=tuple(float(right[truth == k].double().mean()) for k in range(len(labels))),
        labels=tuple(labels.tolist()),
        trained_on=len(samples),
        tested_on=len(test),
        classifier=CLASSIFIER,
    )


def _prepared(x: Tensor) -> Tensor:
    """On the CPU, no side above SIDE."""
    x = x.detach().to("cpu", torch.float32)
    if max(x.shape[-2:]) <= SIDE:
        return x
    return F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)


def _trained(x: Tensor, y: Tensor, classes: int, steps: int, seed: int) -> nn.Module:
    """Train a small convolutional network for a fixed number of steps.

    Three 3x3 convolutions of 32, 64 and 128 with batch norm and ReLU, the last two of
    stride 2, averaged over pixels, then linear; Adam with the rate falling to 0 as a
    cosine. Draws nothing outside its own seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for a, b, stride in ((x.shape[1], 32, 1), (32, 64, 2), (64, 128, 2)):
            layers += [nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes))
        optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            index = torch.randint(len(x), (BATCH,))
            optimizer.zero_grad()
            F.cross_entropy(net(x[index]), y[index]).backward()
            optimizer.step()
            schedule.step()
    return net.eval().requires_grad_(False)
