"""The nouns. A GAN is a game: players take turns, each descending its own objective. A `Method` tells the turns, a `Run`
holds every number that decides the outcome, and the engine performs them. Imports torch and nothing of ours."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Curve = Literal["linear", "spherical"]


@dataclass(frozen=True)
class Clock:
    """How far a run is. `images` counts real images drawn, all ranks together; `step` counts completed plans."""

    step: int = 0
    images: int = 0


@dataclass(frozen=True)
class Shape:
    """What a method must know of the data to build its networks: sides in pixels, channels 1 to 4, number of classes (0:
    unlabelled)."""

    channels: int
    height: int
    width: int
    classes: int = 0

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


@dataclass(frozen=True)
class Stage:
    """What growth or staging changes. A new `index` resets the optimizers."""

    index: int = 0
    batch: int | None = None  # None: the run's
    resolution: int | None = None  # the longer side in pixels; None: the data's
    alpha: float = 1.0  # weight of the newest resolution, 0 to 1
    lr: float = 1.0  # times the run's


class Batch:
    """Named tensors of one length. By convention `x` are images [N, C, H, W] in [-1, 1], `y` their labels [N] (int64) or,
    for pairs, the target images; `a` and `b` are the images of two domains. Never changed, only rebuilt."""

    def __init__(self, **fields: Tensor) -> None:
        lengths = {k: len(v) for k, v in fields.items()}
        assert len(set(lengths.values())) == 1, f"unequal lengths: {lengths}"
        self._fields = fields

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self.__dict__["_fields"][name]
        except KeyError:
            raise AttributeError(
                f"this batch has {', '.join(self.__dict__.get('_fields', {}))}, no {name!r}"
            ) from None

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def __len__(self) -> int:
        return len(next(iter(self._fields.values())))

    def __getitem__(self, part: slice) -> Batch:
        return self.map(lambda t: t[part])

    def map(self, fn: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(**{k: fn(v) for k, v in self._fields.items()})

    def having(self, **more: Tensor) -> Batch:
        """This batch with further fields."""
        return Batch(**self._fields, **more)

    def get(self, name: str) -> Tensor | None:
        return self._fields.get(name)

    def holds(self, tensor: Tensor) -> bool:
        """Whether one of the fields is this very tensor."""
        return any(field is tensor for field in self._fields.values())


@dataclass(frozen=True)
class Terms:
    """What an objective returns. `loss` is a mean over the batch; `log` holds scalars; `outputs` holds detached tensors of the
    batch's length for the plan's further turns (CycleGAN's critics judge the pictures that the generators just made)."""

    loss: Tensor
    log: Mapping[str, Tensor] = field(default_factory=dict)
    outputs: Mapping[str, Tensor] = field(default_factory=dict)


Objective = Callable[[Batch], Terms]


@dataclass(frozen=True)
class Update:
    """One optimizer step: `player` descends `objective(batch)`, with `gain` times its learning rate.

    Several objectives are descended as their sum, and what they log under one name is added up. Each is differentiated
    before the next is computed, so that only one holds its networks' activations in memory at a time."""

    player: str
    objective: Objective | Sequence[Objective]
    batch: Batch
    gain: float = 1.0


@dataclass(frozen=True)
class Forward:
    """Tensors of the batch's length that `player` makes once for several turns of the plan, which gets them back as `outputs`.

    To the others they are data. In the player's next update whose batch has them as they are, they carry the gradient back
    into the networks that made them, as if they had been made in that turn: so nothing of the player's may move between."""

    player: str
    maker: Callable[[Batch], Mapping[str, Tensor]]
    batch: Batch


@dataclass(frozen=True)
class Outcome:
    """What a plan gets back for what it yields: scalars, and the tensors that were kept or made."""

    log: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


Plan = Generator[Update | Forward, Outcome, None]


class Method(nn.Module):
    """One paper. Subclasses are final, build their networks for a `Shape`, set `players`, and write `updates` as the
    paper's algorithm. The docstring opens with title, authors, year and address, and says what differs from the paper.

    players: who moves, and which networks each player owns
    ema_networks: names of the networks that generate images; the engine averages their
        weights if the run asks for it, and a model file holds them
    discriminators: names of the networks that tell real from generated images, which are
        their first argument; `Run.augment` is applied before them
    classes: number of labels that `sample` takes; 0: none
    curve: as of `Samples`
    upscale: size of a translated image over the size of its input
    current_stage: the stage that the engine has entered

    A module whose `per_rank` is true keeps buffers of its own on every rank (an image
    pool)."""

    players: dict[str, Sequence[nn.Module]]
    ema_networks: Sequence[str] = ("G",)
    classes: int = 0
    upscale: int = 1
    discriminators: Sequence[str] = ("D",)
    curve: Curve = "spherical"
    current_stage: Stage = Stage()
    trained_with: Sequence[str] = ()  # settings that a trained model does without: other files

    def stage(self, clock: Clock) -> Stage:
        return Stage()

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


class Dataset(Protocol):
    """Real images: batches as a pure function of a cursor."""

    @property
    def info(self) -> Any:
        """What the data set holds (`ganvas.data.feed.Info`): `shape`, `fingerprint`, ..."""
        ...

    def draw(self, cursor: int, n: int, *args: Any, **options: Any) -> Batch:
        """The batch of `n` images at a cursor, which counts images from the run's start.

        options: seed; rows, which are returned of the batch; resolution; device"""
        ...


@runtime_checkable
class Adaptive(Protocol):
    """A module of a method that follows what is logged (an augmentation's strength)."""

    def adapt(self, log: Mapping[str, Tensor], images: int) -> Mapping[str, Tensor]:
        """Adapt after a step of `images` real images that logged `log`.

        Returns scalars to log."""
        ...


@runtime_checkable
class Samples(Protocol):
    """Skill: images from noise, and from labels where `classes` is not 0.

    `curve`: along what paths latents stay likely: on arcs ("spherical") where `latent` is
    normal, on straight lines ("linear") where it is uniform, for arcs leave its cube."""

    classes: int
    curve: Curve

    def latent(self, n: int) -> Tensor:
        """Noise for n images, [n, ...], drawn as in training."""
        ...

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """n images [n, C, H, W] in [-1, 1], from `latent` where `z` is not given; `y`: labels [n] (int64),
        drawn where the method takes them and they are not given."""
        ...


@runtime_checkable
class Translates(Protocol):
    """Skill: images from images. `directions`: what `to` may be. `multiple`: what both sides must be a multiple of."""

    directions: Sequence[str]
    multiple: int

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Images [N, C, H, W] in [-1, 1] -> images of domain `to`, of the same size (times `scale`)."""
        ...


@runtime_checkable
class Truncates(Protocol):
    """Skill: variety given up for likelihood. BigGAN draws z from a narrower normal, StyleGAN moves w towards its mean."""

    def truncated(self, z: Tensor, truncation: float, y: Tensor | None = None) -> Tensor:
        """Images of z [n, ...] as `sample` makes them where `truncation` is at its largest, and nearer to the most likely
        ones the smaller it is; a continuous function of z, so that a seed names a picture and its relatives."""
        ...


@runtime_checkable
class Styled(Protocol):
    """Skill: images from styles, an intermediate latent space W of which every layer takes its own. `layers`: how many."""

    layers: int

    def styles(self, z: Tensor, y: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """z [n, ...] -> w [n, layers, d], moved towards its mean by `truncation` in the
        layers in which the method truncates; 1: untruncated."""
        ...

    def synthesize(self, w: Tensor) -> Tensor:
        """w [n, layers, d] -> images [n, C, H, W] in [-1, 1], the same each time for the same w."""
        ...

    def mean_style(self) -> Tensor:
        """The mean of w over z, [d]."""
        ...


@runtime_checkable
class Encodes(Protocol):
    """Skill: the latent of an image; `sample(n, z=encode(x))` is its reconstruction."""

    def encode(self, x: Tensor) -> Tensor:
        """Images [n, C, H, W] in [-1, 1] -> their most likely latents [n, ...]."""
        ...


@runtime_checkable
class Couples(Protocol):
    """Skill: samples of several domains that belong together. Labels are domains, and one latent gives each domain's version
    of one picture."""

    domains: Sequence[str]
    """Their names, by label."""


Schedule = Callable[[Clock], float]
Averaging = Callable[[Clock, int], float]  # (clock, images since the last averaging) -> decay


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that decides a run's numbers. Built by a recipe, changed by `--set`, written to run.json."""

    method: Callable[[Shape], Method]
    data: Callable[..., Any]  # partial of ganvas.data.images, pairs or domains -> Feed
    optim: dict[str, Callable[..., torch.optim.Optimizer]]  # by player
    batch: int  # real images per draw, all ranks together
    images: int  # where the run stops; schedules do not depend on it
    lr: Schedule | None = None  # times each optimizer's own; None: constant
    momentum: Schedule | None = None  # replaces SGD's; None: constant
    beta2: Schedule | None = None  # replaces Adam's second beta; None: constant
    ema: Averaging | None = None  # None: the last weights are the model
    augment: Callable[[], nn.Module] | None = (
        None  # what the judges' images pass first, in training (nets/augment.py)
    )
    # images per forward pass; None: the whole batch. Batch norm and minibatch statistics see only these images: the same
    # result as with the whole batch have networks without the two, and groups of which `micro` is a multiple.
    micro: int | None = None
    precision: str = "fp32"  # "tf32": products rounded to 10 bits where the device can; "bf16": autocast, weights in float32
    compile: str | None = (
        None  # torch.compile's mode for the networks: "default", "reduce-overhead" (CUDA graphs), …
    )
    seed: int = 0
