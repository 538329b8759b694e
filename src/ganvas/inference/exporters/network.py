"""A model as one torch module that other programs can run: plain tensors in and out.

Images are float32 [N, C, H, W] in [0, 1]; the scaling to the networks' [-1, 1] and back
is inside. Labels and truncation are inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.core import Method, Samples, Styled, Translates
from ganvas.core.errors import CapabilityError, printable
from ganvas.inference.model import Model
from ganvas.methods import BigGAN, Pix2Pix
from ganvas.nets.layers import Dropout
from ganvas.nets.norm import InstanceNorm2d
from ganvas.nets.super_resolution import UNetDiscriminator

LEAST = 16  # pixels of the smaller side of an image that is tried
MULTIPLE = 8  # of the sides of images for a U-Net discriminator
BATCHES = (1, 3, 5)  # of the comparison with torch


@dataclass(frozen=True)
class Input:
    """An input of an exported network.

    axes: a name for each axis that may change, by its number
    text: what it is, for people
    """

    name: str
    axes: dict[int, str]
    text: str


@dataclass(frozen=True)
class Network:
    """A model, ready to be exported.

    module: takes the inputs in their order (`*inputs`), and gives images in [0, 1]
    multiple: both sides of an input image must be a multiple of it; 0: no input image
    notes: how the network differs from the model
    """

    module: nn.Module
    inputs: tuple[Input, ...]
    multiple: int
    channels: int
    size: tuple[int, int]
    notes: tuple[str, ...] = ()

    def examples(self, free: bool = True) -> list[tuple[Tensor, ...]]:
        """Random inputs of three sizes.

        free: input images of several sides, not only those of training
        """
        if isinstance(self.module, _Sampling):
            return [self.module.example(n, n, 0.3 + 0.1 * n) for n in BATCHES]
        height, width = self.size
        sizes = [self.size, (height, width + self.multiple), (2 * height, width)]
        sizes = sizes if free else 3 * [self.size]
        shapes = [(n, self.channels, *size) for n, size in zip(BATCHES, sizes, strict=True)]
        generator = torch.Generator().manual_seed(0)
        return [(torch.rand(shape, generator=generator),) for shape in shapes]

    def latents(self, n: int, seed: int) -> tuple[Tensor, ...]:
        """Inputs of a generator for n images: latents of a seed, without truncation."""
        assert isinstance(self.module, _Sampling)
        return self.module.example(n, seed, 1.0)

    def reference(self, inputs: Sequence[Tensor]) -> Tensor:
        """The result of torch."""
        with torch.inference_mode():
            return self.module(*inputs)


def network(model: Model, to: str | None = None, truncation: float | None = None) -> Network:
    """The network of a model on the processor.

    to: domain of a translation; None: the method's first
    truncation: for BigGAN, whose statistics depend on it; None: none

    Changes the model: layers that draw random numbers are left out (`notes`), and norms
    that torch cannot export are exchanged for equal ones.

    Raises `CapabilityError` for what the model cannot do.
    """
    method = model.method
    if not method.exportable or model.runtime.description["shape"].get("palette"):
        raise CapabilityError(
            f"{type(method).__name__} branches on the colors of its input and cannot be exported"
        )
    notes = ("without the dropout that it has in use",) if _exchange(method) else ()
    height, width = model.training_size
    if isinstance(method, Translates):
        to = to or method.directions[0]
        if to not in method.directions:
            known = " or ".join(method.directions)
            raise CapabilityError(f"this model translates to {known}, not to {to!r}")
        multiple = method.multiple
        size = (_rounded(height, multiple), _rounded(width, multiple))
        axes = {0: "batch", 2: "height", 3: "width"}
        text = f"[batch, {model.runtime.channels}, height, width], in [0, 1]"
        text += f", sides multiples of {multiple}" * (multiple > 1)
        image = Input("image", axes, text)
        channels = model.runtime.channels
        return Network(_Translation(method, to), (image,), multiple, channels, size, notes)
    if to is not None:
        raise CapabilityError("this model generates images from noise: leave the direction out")
    return _sampling(model, method, truncation)


def discriminator(run: Path, checkpoint: str = "last") -> Network:
    """The discriminator `D` of a run, which its model file does not hold.

    run: a run folder with checkpoints
    checkpoint: as of `ganvas.load`

    Its results are logits, [N, 1] or [N, 1, H, W]. Raises `CapabilityError` for a model
    without checkpoints, or without such a network.
    """
    if not (run / "run.json").is_file():
        raise CapabilityError(
            f"{printable(run)} is a model, which holds no discriminator: give the run with its "
            "checkpoints"
        )
    from ganvas.engine.restore import weights_of  # here: a model file needs no engine

    method, record = weights_of(run, checkpoint)
    D = getattr(method, "D", None)
    if not isinstance(D, nn.Module):
        raise CapabilityError(f"{type(method).__name__} has no discriminator named D")
    shape = record["shape"]
    multiple = MULTIPLE if isinstance(D, UNetDiscriminator) else 0
    size = shape["height"], shape["width"]
    text = f"[batch, {shape['channels']}, height, width], in [0, 1]"
    image = Input("image", {0: "batch"}, text)
    return Network(Scores(D), (image,), multiple, shape["channels"], size)


def _sampling(model: Model, method: Method, truncation: float | None) -> Network:
    assert isinstance(method, Samples)
    model.sample(1, truncation=truncation)  # refuses what cannot be; computes statistics
    if isinstance(method, BigGAN):
        method.standing.batches = 0  # those of this truncation stay
    elif truncation is not None:
        raise CapabilityError("truncation is an input of the exported network: leave it out")
    z = method.latent(1)
    shape = ", ".join(map(str, z.shape[1:]))
    inputs = [Input("latent", {0: "batch"}, f"[batch, {shape}], as `method.latent` draws it")]
    if method.classes:
        inputs.append(Input("label", {0: "batch"}, f"[batch], int64, 0 to {method.classes - 1}"))
    if isinstance(method, Styled):
        inputs.append(Input("truncation", {}, "[], 1: none"))
    module = _Sampling(method, truncation)
    return Network(module, tuple(inputs), 0, model.runtime.channels, model.training_size)


class Scores(nn.Module):
    """Images in [0, 1] to a discriminator's logits, [N, 1] or [N, 1, H, W]."""

    def __init__(self, D: nn.Module) -> None:
        super().__init__()
        self.D = D

    def forward(self, *inputs: Tensor) -> Tensor:
        """Score images [N, C, H, W]."""
        scores = self.D(inputs[0])
        return scores[:, None] if scores.ndim == 1 else scores


def _rounded(side: int, multiple: int) -> int:
    return -(-max(side, LEAST) // multiple) * multiple


class _Translation(nn.Module):
    """Images to images."""

    def __init__(self, method: Method, to: str) -> None:
        super().__init__()
        self.method, self.to_domain = method, to

    def forward(self, *inputs: Tensor) -> Tensor:
        assert isinstance(self.method, Translates)
        x = 2 * inputs[0] - 1
        if isinstance(self.method, Pix2Pix):  # which takes a batch image by image
            return _to_unit(self.method.G(x))
        return _to_unit(self.method.translate(x, self.to_domain))


class _Sampling(nn.Module):
    """Latents, with labels and truncation, to images."""

    def __init__(self, method: Method, truncation: float | None) -> None:
        super().__init__()
        self.method, self.truncation = method, truncation

    def forward(self, *inputs: Tensor) -> Tensor:
        method, latent = self.method, inputs[0]
        assert isinstance(method, Samples)
        y = inputs[1] if method.classes else None
        if isinstance(method, Styled):
            # Truncation is linear in psi; at 0, the truncated layers have the mean.
            mean = method.styles(latent, y, 0.0)
            w = mean + inputs[-1] * (method.styles(latent, y) - mean)
            return _to_unit(method.synthesize(w))
        return _to_unit(method.sample(latent.shape[0], z=latent, y=y))

    def example(self, n: int, seed: int, truncation: float) -> tuple[Tensor, ...]:
        """Random inputs for n images; labels in turn."""
        method = self.method
        assert isinstance(method, Samples)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            inputs = [method.latent(n)]
        if method.classes:
            inputs.append(torch.arange(n) % method.classes)
        if isinstance(method, Styled):
            inputs.append(torch.tensor(truncation))
        return tuple(inputs)


def _to_unit(image: Tensor) -> Tensor:
    return ((image.float() + 1) / 2).clamp(0, 1)


class _InstanceNorm(nn.Module):
    """Instance norm as one operation.

    `nets.norm.InstanceNorm2d` may go image by image, and a batch norm that is used in
    training mode (pix2pix) is an instance norm, since it gets single images.
    """

    def __init__(self, norm: InstanceNorm2d | nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


def _exchange(module: nn.Module) -> bool:
    """Exchange layers for others that can be exported. Whether dropout was lost."""
    lost = False
    for name, child in module.named_children():
        if isinstance(child, InstanceNorm2d) or (
            isinstance(child, nn.BatchNorm2d) and child.training
        ):
            setattr(module, name, _InstanceNorm(child))
        elif isinstance(child, Dropout):
            lost |= child.training and child.p > 0
            setattr(module, name, nn.Identity())
        else:
            lost |= _exchange(child)
    return lost
