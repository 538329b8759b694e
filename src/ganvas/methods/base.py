"""Abstract classes between `Method` and the papers: what several papers repeat.

Each paper's `updates` and losses stay in its file. The exception is the loss of VQGAN,
which the autoencoders of latent diffusion take over whole (`AdversarialAutoencoder`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update, distributed, rng
from ganvas.core.errors import ConfigError
from ganvas.metrics.lpips import lpips
from ganvas.nets.conditional import draw_labels
from ganvas.nets.vgg import VGG19, require_channels
from ganvas.objectives.adversarial import hinge
from ganvas.objectives.precision import wide


class NoiseToImage(Method):
    """A generator `G` of images from a latent, and from labels if `classes` is not 0.

    partial_labels: whether it trains on images of which only some have labels; the
        label of the others is -1

    Abstract: a paper builds the networks and adds `updates` and its losses.
    """

    partial_labels: bool = False
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

    "Title. Authors, year, arXiv:number." of the first two paragraphs, or the address of
    a project; if they hold neither, the first paragraph; without a docstring, the empty
    string.
    """
    text = inspect.cleandoc(method.__doc__ or "")
    opening = [" ".join(p.split()) for p in text.split("\n\n")[:2]]
    source = r"(?:arXiv:\d{4}\.\d{4,5}|github\.com/[\w-]+/[\w-]+)\."
    found = re.match(rf".*?{source}", " ".join(opening))
    return found[0] if found else opening[0]


def require_positive(**numbers: int) -> None:
    """Raise `ConfigError` unless all numbers of turns or images are at least 1."""
    for name, value in numbers.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}; give at least 1: --set {name}=1")


def total(terms: Iterable[Terms]) -> Terms:
    """The sum of losses. It logs the mean of scalars of the same name."""
    terms = list(terms)
    names = dict.fromkeys(name for one in terms for name in one.log)
    log = {
        name: torch.stack([t.log[name] for t in terms if name in t.log]).mean() for name in names
    }
    return Terms(torch.stack([t.loss for t in terms]).sum(), log)


class Enlargement(Method):
    """A network that enlarges images, trained on images and their reductions.

    Abstract: a paper builds `G` and adds `updates` and its losses.
    """

    directions: Sequence[str] = ("b",)
    trained_with: Sequence[str] = ("vgg",)
    restores = True  # also at a factor of 1, where networks denoise
    multiple: int
    G: Any  # a network on [0, 1] with `scale`, its upscaling factor, and `multiple`

    def build_generator(self, G: Callable[..., nn.Module], shape: Shape) -> None:
        """Build `G` for large images of a shape."""
        self.G = G(channels=shape.channels)
        self.upscale, self.multiple = self.G.scale, self.G.multiple

    def pair(self, batches: Iterator[Batch]) -> Batch:
        """The next images `y` and their reductions `x`, in [0, 1]."""
        return next(batches).map(lambda image: (image + 1) / 2)

    def fake(self, pair: Batch) -> dict[str, Tensor]:
        """G(x) by the name `fake`, in [0, 1] but for errors."""
        return {"fake": self.G(pair.x)}

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """G(x), limited to [-1, 1]."""
        return self.G((x + 1) / 2).clamp(0, 1) * 2 - 1


class Perceptual(nn.Module):
    """Distance of VGG19's features of images in [0, 1], or of pixels without its file.

    channels: of the images
    vgg: file of VGG19's weights; None: pixels are compared
    layer: layer whose output is compared
    scale: factor of the features

    Raises `UserError` for images that VGG19 does not take.
    """

    def __init__(self, channels: int, vgg: str | None, layer: str, scale: float = 1.0) -> None:
        super().__init__()
        if vgg:
            require_channels(channels)
        self.phi = VGG19(vgg, layer) if vgg else None
        self.scale = scale

    def forward(
        self, made: Tensor, real: Tensor, distance: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """The distance of two batches [N, C, H, W]; `real` takes no gradient."""
        if self.phi is None:
            return distance(made, real)
        wanted = self.phi(real).detach() * self.scale
        return distance(self.phi(made) * self.scale, wanted)


class AdversarialAutoencoder(Method):
    """An autoencoder `AE` whose reconstructions a patch discriminator judges, too.

    The loss of VQGAN (arXiv:2012.09841, equations 4 to 7) and of latent diffusion's
    autoencoders: pixels, LPIPS, the latents' own loss, and the game, whose weight
    follows the gradients at the decoder's last layer.

    Abstract: a paper adds `updates`, `reconstruct` and `translate`.
    """

    ema_networks = ("AE",)
    directions: Sequence[str] = ("b",)
    trained_with: Sequence[str] = ("perceptual",)
    AE: Any  # a network with `multiple` and `last_weight`
    D: nn.Module

    def __init__(
        self,
        shape: Shape,
        AE: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        start: int,
        adversarial_weight: float,
        perceptual_weight: float,
        backbone: str | None,
    ) -> None:
        super().__init__()
        self.AE, self.D = AE(channels=shape.channels), D(channels=shape.channels)
        self.multiple = self.AE.multiple
        self.start, self.adversarial_weight = start, adversarial_weight
        self.perceptual = lpips(backbone) if backbone else None
        self.perceptual_weight = perceptual_weight
        self.players = {"AE": [self.AE], "D": [self.D]}

    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """(reconstructions of images x, the latents' loss, log)."""
        raise NotImplementedError

    def game(self, clock: Clock, batch: Batch) -> Plan:
        """The autoencoder's update; after `start` images with the game, and D's."""
        if clock.images < self.start:
            yield Update("AE", self.reconstruction_loss, batch)
            return
        outputs = (yield Update("AE", self.ae_loss, batch)).outputs
        yield Update("D", self.d_loss, batch.having(**outputs))

    def distance(self, x: Tensor, made: Tensor) -> dict[str, Tensor]:
        """The parts of the reconstruction's loss."""
        log = {"l1": l1_loss(wide(made), x)}
        if self.perceptual is not None:
            log["lpips"] = self.perceptual(wide(made), x).mean()
        return log

    def reconstruction_loss(self, batch: Batch) -> Terms:
        """The loss before the game begins."""
        made, latent_loss, log = self.reconstruct(batch.x)
        log = {**log, **self.distance(batch.x, made)}
        return Terms(self._reconstruction(log) + latent_loss, log)

    def ae_loss(self, batch: Batch) -> Terms:
        """Reconstruction, latents, and the balanced game."""
        made, latent_loss, log = self.reconstruct(batch.x)
        log = {**log, **self.distance(batch.x, made)}
        reconstruction, game = self._reconstruction(log), -wide(self.D(made)).mean()
        weight = self.adversarial_weight * self._balance(reconstruction, game)
        log |= {"adversarial": game, "weight": weight}
        return Terms(reconstruction + latent_loss + weight * game, log, {"fake": made.detach()})

    def d_loss(self, batch: Batch) -> Terms:
        """D's hinge loss, at half weight."""
        d_real, d_fake = wide(self.D(batch.x)), wide(self.D(batch.fake))
        loss = (hinge(d_real, True) + hinge(d_fake, False)) / 2
        return Terms(loss, {"real": d_real.mean(), "fake": d_fake.mean()})

    def _reconstruction(self, log: Mapping[str, Tensor]) -> Tensor:
        if "lpips" not in log:
            return log["l1"]
        return log["l1"] + self.perceptual_weight * log["lpips"]

    def _balance(self, reconstruction: Tensor, game: Tensor) -> Tensor:
        """|gradient of the reconstruction| / |gradient of the game|, at most 1e4."""
        last = self.AE.last_weight
        if not last.requires_grad:  # another player's turn
            return torch.ones((), device=last.device)
        lengths = [
            distributed.mean(torch.autograd.grad(loss, last, retain_graph=True)[0].float()).norm()
            for loss in (reconstruction, game)
        ]
        return (lengths[0] / (lengths[1] + 1e-4)).clamp(max=1e4).detach()
