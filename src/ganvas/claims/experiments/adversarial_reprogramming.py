"""Adversarial Reprogramming: a program around images gives a network another task."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.optim import Adam

from ganvas.claims.claim import Finding, claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.data import place
from ganvas.claims.kit.resnet20 import ResNet20, resnet20
from ganvas.claims.kit.training import train
from ganvas.core import Run, rng
from ganvas.data import images
from ganvas.methods import DCGAN
from ganvas.nets import dcgan

SIDE, DIGIT = 32, 14  # pixels of a victim's input, and of the digit in its middle
RATES = (0.02, 0.05, 0.2)  # of Adam; each arm gets the one with the least loss
TRIED, STEPS, BATCH = 60, 500, 64
TESTED = 2_000  # test digits
FITTED = 2_000  # images that set the batch norm of networks that were not trained
READ = 25  # steps from one point of the plot to the next

Victim = Callable[[Tensor], Tensor]


class Program(nn.Module):
    """X = image in the middle + tanh(W M), M = 0 in the middle (equations 1 and 2).

    Gray images [N, 1, 14, 14] in [-1, 1] -> [N, channels, 32, 32] in [-1, 1].
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, SIDE, SIDE))
        self.margin = (SIDE - DIGIT) // 2
        mask = torch.ones(SIDE, SIDE)
        mask[self.margin : -self.margin, self.margin : -self.margin] = 0
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        """Put images into the program."""
        inner = pad(x, (self.margin,) * 4).expand(-1, len(self.weight), -1, -1)
        return inner + (self.weight * self.mask).tanh()


class Task(NamedTuple):
    """Digits [N, 1, 14, 14] in [-1, 1] with labels, to learn and to test."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor


@cache
def digits() -> Task:
    """MNIST's digits at 14 px; the first `TESTED` of the test part."""
    train_part, test_part = (
        images(place("mnist"), size=DIGIT, part="train"),
        images(place("mnist"), size=DIGIT, part="test"),
    )
    learn, test = train_part.fixed(train_part.info.count), test_part.fixed(TESTED)
    return Task(learn.x, learn.y, test.x, test.y)


def odd(task: Task) -> Task:
    """The same digits; the label is whether they are odd."""
    return task._replace(y=task.y % 2, test_y=task.test_y % 2)


class Programmed(TypedDict):
    """Accuracy on test digits, and the mean loss every `READ` steps."""

    accuracy: float
    steps: list[int]
    loss: list[float]


def programmed(victim: Victim, channels: int, task: Task, seed: int) -> Programmed:
    """A program for a frozen victim, by the best of three rates.

    victim: images [N, channels, 32, 32] -> logits, one for each label of the task
    """
    tried = [learned(victim, channels, task, seed, rate, TRIED) for rate in RATES]
    last = [sum(losses[-TRIED // 3 :]) for _, losses in tried]
    program, losses = learned(victim, channels, task, seed, RATES[last.index(min(last))], STEPS)
    with torch.no_grad():
        said = torch.cat([victim(program(x)).argmax(1) for x in task.test_x.split(500)])
    parts = [losses[i : i + READ] for i in range(0, STEPS, READ)]
    return {
        "accuracy": float((said == task.test_y).float().mean()),
        "steps": [READ * (i + 1) for i in range(len(parts))],
        "loss": [sum(part) / len(part) for part in parts],
    }


def learned(
    victim: Victim, channels: int, task: Task, seed: int, rate: float, steps: int
) -> tuple[Program, list[float]]:
    """A program after `steps` of Adam on the cross-entropy, and its losses."""
    program = Program(channels)
    adam = Adam(program.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(rng.fold_in(seed, "program"))
    losses = []
    for _ in range(steps):
        rows = torch.randint(len(task.x), (BATCH,), generator=generator)
        loss = cross_entropy(victim(program(task.x[rows])), task.y[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    return program, losses


def frozen(net: nn.Module) -> nn.Module:
    """Without gradients, in evaluation mode."""
    return net.eval().requires_grad_(False)


@torch.no_grad()
def fitted(net: nn.Module, x: Tensor) -> nn.Module:
    """A network whose batch norm has the statistics of images x, as after training."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean over all batches
    net.train()
    for part in x.split(250):
        net(part)
    return net


def probe(task: Task) -> float:
    """Accuracy of logistic regression on the digits' own pixels."""
    x, y = task.x[:10_000].flatten(1).numpy(), task.y[:10_000].numpy()
    model = LogisticRegression(max_iter=200, C=0.1).fit(x, y)
    return float(np.mean(model.predict(task.test_x.flatten(1).numpy()) == task.test_y.numpy()))


RUN = Run(
    method=partial(
        DCGAN, G=partial(dcgan.Generator, width=16), D=partial(dcgan.Discriminator, width=16)
    ),
    data=partial(images, "letters", size=SIDE, labels=False),
    optim={p: partial(Adam, lr=2e-4, betas=(0.5, 0.999)) for p in "GD"},
    batch=64,
    images=60_000,
)


def as_victim(D: nn.Module, task: Task) -> Victim:
    """A discriminator's score s as logits (-s, s), standardized over bare digits."""
    with torch.no_grad():
        scores = D(Program(1)(task.x[:512]))
    mean, std = scores.mean(), scores.std().clamp(min=1e-6)

    def logits(x: Tensor) -> Tensor:
        s = (D(x).flatten() - mean) / std
        return torch.stack([-s, s], 1)

    return logits


def random(net: nn.Module, seed: int) -> nn.Module:
    """New weights by He's initialization, as before the training of the victim."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.fold_in(seed, "random victim"))
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
    return net


def experiment(seed: int) -> Finding:
    """Programs for a classifier, for a discriminator, and for both with new weights."""
    task, parity = digits(), odd(digits())
    photographs = images(place("cifar10"), size=SIDE).fixed(FITTED).x
    letters = RUN.data().fixed(FITTED).x
    trained: nn.Module = train(RUN, seed).model.D
    start: nn.Module = train(RUN, seed, steps=False).model.D
    found = {
        "classifier": programmed(frozen(resnet20()), 3, task, seed),
        "random": programmed(frozen(random(ResNet20(), seed)), 3, task, seed),
        "random_fitted": programmed(
            frozen(fitted(random(ResNet20(), seed), photographs)), 3, task, seed
        ),
        "discriminator": programmed(as_victim(frozen(trained), parity), 1, parity, seed),
        "random_discriminator": programmed(
            as_victim(frozen(fitted(start, letters)), parity), 1, parity, seed
        ),
    }
    accuracy = {name: result["accuracy"] for name, result in found.items()}
    best = max(accuracy["random"], accuracy["random_fitted"])
    figures = {
        **{f"{name}_accuracy": value for name, value in accuracy.items()},
        "over_random": accuracy["classifier"] - best,
        "probe_accuracy": probe(task),
        "parity_probe_accuracy": probe(parity),
        "discriminator_over_random": accuracy["discriminator"] - accuracy["random_discriminator"],
    }
    return Finding(
        figures,
        found,
        {
            "untrained": {"classifier_accuracy": best},
            "chance": {"classifier_accuracy": 0.1, "over_random": 0.1 - best},
        },
    )


CLAIM = claim(
    __name__,
    experiment=experiment,
    plot=plots.curves(
        {
            ("classifier", "loss"): "trained classifier",
            ("random", "loss"): "random weights",
            ("random_fitted", "loss"): "random weights, fitted batch norm",
        },
        {
            ("discriminator", "loss"): "trained discriminator",
            ("random_discriminator", "loss"): "random weights",
        },
        labels=("loss, ten digits", "loss, odd or even"),
        x="steps",
    ),
    ready=lambda: (digits(), resnet20(), place("cifar10")),
)
