"""Abstract classes between `Method` and the papers: what several papers repeat.

Nothing of an Algorithm 1 is here: each paper's `updates` and losses stay in its
file.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ganvas.core import Batch, Method, Terms, rng
from ganvas.nets.conditional import draw_labels


class NoiseToImage(Method):
    """A generator `G` of images from a latent, and from labels if `classes` is not 0.

    Abstract: a paper builds the networks and adds `updates` and its losses.
    """

    G: Any  # a network with `latent`, the length of its latent

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]."""
        return rng.normal(n, self.G.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Images [n, C, H, W] of latents z [n, ...] and labels y [n]; None: drawn."""
        z = self.latent(n) if z is None else z
        return self.G(z, *self.sample_labels(n, y))

    def sample_labels(self, n: int, y: Tensor | None = None) -> tuple[Tensor, ...]:
        """Labels for n generated images: (y,), uniform if None; () without classes."""
        return draw_labels(n, self.classes, self.device, y)

    def conditioning(self, batch: Batch) -> tuple[Tensor, ...]:
        """Further arguments of G and D for a batch: its labels; () without classes."""
        return (batch.y,) if self.classes else ()


class Direction(NamedTuple):
    """One direction of a translation.

    x, y: images of the source and of the target domain
    forward, backward: the generators into the target and into the source domain
    discriminator: that of the target domain
    """

    x: Tensor
    y: Tensor
    forward: nn.Module
    backward: nn.Module
    discriminator: nn.Module


class UnpairedTranslation(Method):
    """Two generators and two discriminators for images of two domains without pairs.

    `G_ab` and `D_b` belong to the direction "b", `G_ba` and `D_a` to the direction "a".

    Abstract: a paper builds the networks and adds `updates`, the generators' losses and
    `discriminator_loss`, the loss of one discriminator.
    """

    ema_networks = ("G_ab", "G_ba")
    discriminators = ("D_a", "D_b")
    directions: Sequence[str] = ("b", "a")
    d_order: Sequence[str] | None = None  # of `d_loss`; None: that of `directions`
    multiple: int
    G_ab: Any  # a network with `multiple`, of which both sides must be multiples
    G_ba: nn.Module
    D_a: nn.Module
    D_b: nn.Module

    def build_networks(
        self,
        generator: Callable[[], nn.Module],
        discriminator: Callable[[], nn.Module],
    ) -> None:
        """Build the networks, generators first, and make G and D the players."""
        self.G_ab, self.G_ba = generator(), generator()
        self.D_a, self.D_b = discriminator(), discriminator()
        self.multiple = self.G_ab.multiple
        self.players = {"G": [self.G_ab, self.G_ba], "D": [self.D_a, self.D_b]}

    def direction(self, batch: Batch, to: str) -> Direction:
        """The images and networks of the translation to domain `to`, "a" or "b"."""
        if to == "b":
            return Direction(batch.a, batch.b, self.G_ab, self.G_ba, self.D_b)
        return Direction(batch.b, batch.a, self.G_ba, self.G_ab, self.D_a)

    def d_loss(self, batch: Batch) -> Terms:
        """The sum of the discriminators' losses.

        They share no weights, so one descent of the sum is a descent of each.
        """
        return total(self.discriminator_loss(batch, to) for to in self.d_order or self.directions)

    def discriminator_loss(self, batch: Batch, to: str) -> Terms:
        """The loss of the discriminator of domain `to`."""
        raise NotImplementedError

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Images [N, C, H, W] of the other domain to domain `to`."""
        return {"b": self.G_ab, "a": self.G_ba}[to](x)


def supports(method: type[Method], capability: type) -> bool:
    """Whether a class of methods has the functions of a capability, as `Translates`.

    For classes only. The capabilities of an object are seen by `isinstance`, which also
    checks its attributes.
    """
    functions = [name for name, member in vars(capability).items() if inspect.isfunction(member)]
    public = [name for name in functions if not name.startswith("_")]
    return all(inspect.isfunction(inspect.getattr_static(method, name, None)) for name in public)


def citation(method: type[Method]) -> str:
    """The paper of a method, from its docstring.

    "Title. Authors, year, arXiv:number." of the first two paragraphs; if they hold no
    arXiv number, the first paragraph; without a docstring, the empty string.
    """
    text = inspect.cleandoc(method.__doc__ or "")
    opening = [" ".join(p.split()) for p in text.split("\n\n")[:2]]
    found = re.match(r".*?arXiv:\d{4}\.\d{4,5}\.", " ".join(opening))
    return found[0] if found else opening[0]


def total(terms: Iterable[Terms]) -> Terms:
    """The sum of losses. It logs the mean of scalars of the same name."""
    terms = list(terms)
    names = dict.fromkeys(name for one in terms for name in one.log)
    log = {
        name: torch.stack([t.log[name] for t in terms if name in t.log]).mean() for name in names
    }
    return Terms(torch.stack([t.loss for t in terms]).sum(), log)
