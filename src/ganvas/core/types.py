"""The nouns of ganvas: `Method`, `Batch`, `Update`, `Forward`, `Run`.

A GAN is a game: players take turns, and each descends its own objective. A `Method`
describes the turns, a `Run` holds every number that decides the result, and the engine
performs them. This module imports nothing of ganvas.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

Curve = Literal["linear", "spherical"]
# A number of images or steps that is a part of the run: it changes in proportion when
# the run is made shorter or longer than its recipe (`config.fitted`).
Length = Annotated[int, "part of the run"]


@dataclass(frozen=True)
class Clock:
    """Progress of a run.

    step: completed plans
    images: real images drawn, all ranks together
    """

    step: int = 0
    images: int = 0


@dataclass(frozen=True)
class Shape:
    """The facts about the data that a method needs to build its networks.

    channels: 1 to 16
    height, width: in pixels
    classes: number of labels; 0: unlabeled
    palette: the colors of label maps, 0xRRGGBB each, in the order of the labels
    ids: whether these colors stand for numbers, as of `media.label_ids`
    """

    channels: int
    height: int
    width: int
    classes: int = 0
    palette: tuple[int, ...] = ()
    ids: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width


@dataclass(frozen=True)
class Stage:
    """The settings that growth or staged training changes.

    index: a new one resets the optimizers
    batch: as of `Run`; None: the run's
    resolution: longer side of the images in pixels; None: the data's
    alpha: weight of the newest resolution, 0 to 1
    lr: factor on the run's learning rates
    """

    index: int = 0
    batch: int | None = None
    resolution: int | None = None
    alpha: float = 1.0
    lr: float = 1.0


class Batch:
    """Named tensors of one length, immutable.

    x: images [N, C, H, W] in [-1, 1]
    y: their labels [N] (int64); for pairs, the target images
    a, b: the images of two domains
    """

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
        """A batch of `fn` of every field."""
        return Batch(**{k: fn(v) for k, v in self._fields.items()})

    def having(self, **more: Tensor) -> Batch:
        """This batch with further fields."""
        return Batch(**self._fields, **more)

    def get(self, name: str) -> Tensor | None:
        """The field of this name; None if there is none."""
        return self._fields.get(name)

    def holds(self, tensor: Tensor) -> bool:
        """Whether one of the fields is this very tensor."""
        return any(field is tensor for field in self._fields.values())


@dataclass(frozen=True)
class Terms:
    """The result of an objective.

    loss: mean over the batch, a scalar
    log: scalars by name
    outputs: detached tensors of the batch's length, for later turns of the plan
        (CycleGAN's discriminators get the generators' images)
    """

    loss: Tensor
    log: Mapping[str, Tensor] = field(default_factory=dict)
    outputs: Mapping[str, Tensor] = field(default_factory=dict)


Objective = Callable[[Batch], Terms]


@dataclass(frozen=True)
class Update:
    """One optimizer step.

    player: moves; its networks' weights take gradients
    objective: a function of the batch; several are descended as their sum, and scalars
        that they log under one name are added
    batch: arguments of the objectives
    gain: factor on the player's learning rate
    """

    # Each objective is differentiated before the next is computed, so that the
    # activations of only one are in memory at a time.

    player: str
    objective: Objective | Sequence[Objective]
    batch: Batch
    gain: float = 1.0


@dataclass(frozen=True)
class Forward:
    """A forward pass shared by several turns of one step.

    The plan gets its tensors back as `Outcome.outputs`. For other players they are
    data. In the player's next update whose batch holds these very tensors, they carry
    the gradient back into the player's networks, as if they had been computed in that
    turn. The player must therefore not move in between.

    player: owns the networks
    maker: a function of the batch; returns tensors of the batch's length by name
    batch: its argument
    """

    player: str
    maker: Callable[[Batch], Mapping[str, Tensor]]
    batch: Batch


@dataclass(frozen=True)
class Outcome:
    """The result of an `Update` or a `Forward`, which the plan gets back.

    log: scalars by name
    outputs: tensors of the batch's length, of `Terms` or of the `Forward`
    """

    log: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


Plan = Generator[Update | Forward, Outcome, None]


class Method(nn.Module):
    """One paper.

    Subclasses are final, build their networks for a `Shape`, set `players`, and write
    `updates` as the paper's algorithm. Their docstrings open with title, authors, year
    and address, and say how the implementation differs from the paper.

    players: the networks of each player, by the player's name
    ema_networks: names of the networks that generate images; the engine averages their
        weights if the run asks for it, and a model file holds them
    discriminators: names of the networks that tell real from generated images, which
        are their first argument; `Run.augment` is applied before them
    unaugmented: why their images cannot be augmented; empty: they can
    classes: number of labels that `sample` takes; 0: none
    curve: as of `Samples`
    upscale: size of a translated image over the size of its input
    input_channels: of a translation's input, if not the data's: 1 of sketches
    restores: whether a translation gives back what its input has lost, so that gray
        images stay gray
    constant_memory: whether the memory of a translation grows only with its images
    exportable: False if operations depend on the values of the input
    last_snapshots: snapshots, at least, of the stage in which a run ends, if it has as
        many steps; for a stage whose best moment a measure must find
    current_stage: the stage that the engine has entered

    A module whose `per_rank` is true keeps buffers of its own on every rank (an image
    pool).
    """

    players: dict[str, Sequence[nn.Module]]
    ema_networks: Sequence[str] = ("G",)
    classes: int = 0
    upscale: int = 1
    input_channels: int | None = None
    restores: bool = False
    constant_memory: bool = False
    exportable: bool = True
    discriminators: Sequence[str] = ("D",)
    unaugmented: str = ""
    curve: Curve = "spherical"
    last_snapshots: int = 0
    current_stage: Stage = Stage()
    trained_with: Sequence[str] = ()  # settings that only training needs: other files

    def stage(self, clock: Clock) -> Stage:
        """The stage of training at a time."""
        return Stage()

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Yield the optimizer steps of one step of the clock: the Algorithm 1."""
        raise NotImplementedError

    def scores_of(self, output: object) -> Tensor | None:
        """The scores in what a discriminator returns, [N, ...]; None: it has none."""
        while isinstance(output, list | tuple) and output:
            output = output[0]
        return output if isinstance(output, Tensor) else None

    @property
    def device(self) -> torch.device:
        """The device of the first weight."""
        return next(self.parameters()).device


Measure = Literal["frechet", "psnr", "ssim", "lpips"]  # of a snapshot
Schedule = Callable[[Clock], float]
Averaging = Callable[[Clock, int], float]  # (clock, images since the last averaging) -> decay


@dataclass(frozen=True, kw_only=True)
class Run:
    """Every number that decides a run.

    A recipe builds it, `--set` changes it, and run.json holds it.
    """

    method: Callable[[Shape], Method]
    # A partial of ganvas.data.images, pairs or domains; returns a feed.
    data: Callable[..., Any]
    optim: dict[str, Callable[..., torch.optim.Optimizer]]  # by player
    batch: int  # real images per draw, all ranks together
    images: int  # at which the run stops
    lr: Schedule | None = None  # factor on each optimizer's own; None: constant
    momentum: Schedule | None = None  # replaces SGD's; None: constant
    beta2: Schedule | None = None  # replaces Adam's second beta; None: constant
    ema: Averaging | None = None  # None: the last weights are the model
    # Changes the discriminators' images in training (nets/augment.py).
    augment: Callable[[], nn.Module] | None = None
    # Images per forward pass; None: the whole batch. Batch norm and minibatch
    # statistics see only these images. The result is that of the whole batch for
    # networks without the two, and for those whose statistics are of groups of which
    # `micro` is a multiple. VQGAN's weight of the game is computed for each part.
    micro: int | None = None
    # "fp32"; "tf32": products rounded to 10 bits if the device can; "bf16": autocast,
    # with weights in float32.
    precision: str = "fp32"
    # Mode of torch.compile for the networks: "default", "reduce-overhead" (CUDA
    # graphs), …
    compile: str | None = None
    # Weights that stay as they are, as "D:3" (engine/freezing.py).
    frozen: tuple[str, ...] = ()
    seed: int = 0
    # Images that are measured at every snapshot and not trained on, as `data`'s source;
    # None: the test part of `data`, if it has one.
    test: str | None = None
    best: Measure = "frechet"  # decides which checkpoint is kept as the best

    def clock(self, images: int) -> Clock:
        """The clock after about `images` images, in batches of `batch`."""
        return Clock(images // self.batch, images)
