"""Projection: the latent whose image is closest to a given image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ganvas.core import Encodes, Samples, Styled
from ganvas.core.errors import UserError

Space = Literal["encode", "z", "w", "w+"]
Distance = Callable[[Tensor, Tensor], Tensor]  # images [n, C, H, W] twice -> [n]

CANDIDATES = 256  # random latents per image, of which the best start the descent
STARTS = 4  # descents per image in z; the closest result counts


@dataclass(frozen=True)
class Projection:
    """The result of `project`.

    latent: [n, ...] in `space` ("z" for encoders)
    y: labels [n] of the reconstructions, if the method takes labels
    images: reconstructions [n, C, H, W] in [-1, 1]
    psnr: [n] in dB, over all channels, no border cropped
    distance: [n], if a distance was given
    """

    latent: Tensor
    space: str
    y: Tensor | None
    images: Tensor
    psnr: Tensor
    distance: Tensor | None


def project(
    method: Samples,
    x: Tensor,
    *,
    space: Space | None = None,
    steps: int = 500,
    distance: Distance | None = None,
    seed: int = 0,
) -> Projection:
    """Project images to latents.

    x: [n, C, H, W] in [-1, 1], of the method's size
    space: "encode" uses the method's encoder (default, if there is one). "w" optimizes
        w from its mean, with noise that decays: Karras et al., 2019, arXiv:1912.04958,
        appendix D (default for methods with styles). "w+" optimizes one w per layer:
        closer, but farther from the model's own samples (Abdal et al., 2019,
        arXiv:1904.03189). "z" optimizes z from the closest of 256 samples
    steps: of Adam
    distance: a loss beside that of pixels, such as LPIPS

    Differs from appendix D: the noise maps of the generator are constant; the loss is
        that of
    pixels, plus `distance` if given (the paper: LPIPS alone); 500 steps, not 1,000. In
    z the
    latent is not regularized: a close match may be an improbable latent.

    Raises `UserError` for a space that the method does not have.
    """
    available = {
        "encode": isinstance(method, Encodes),
        "w": isinstance(method, Styled),
        "w+": isinstance(method, Styled),
        "z": True,
    }
    chosen: str = space or next(name for name, there in available.items() if there)
    if not available.get(chosen):
        spaces = ", ".join(name for name, there in available.items() if there)
        raise UserError(f"this model has no space {chosen!r}; it has {spaces}")

    def loss(images: Tensor, target: Tensor) -> Tensor:
        error = pixels(images, target)
        return error if distance is None else error + distance(images[:, :3], target[:, :3])

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        y = None
        if chosen == "encode":
            assert isinstance(method, Encodes)
            with torch.no_grad():
                latent = method.encode(x)
                y, images = _closest_class(method, latent, x)
        elif chosen == "z":
            z, y = _closest_samples(method, x)
            targets = x.repeat_interleave(STARTS, 0)
            z, losses = _descend(z, lambda z: method.sample(len(z), z=z, y=y), targets, loss, steps)
            best = (
                losses.view(-1, STARTS).argmin(1) + torch.arange(len(x), device=x.device) * STARTS
            )
            latent, y = z[best], None if y is None else y[best]
            images = _no_grad(lambda z: method.sample(len(z), z=z, y=y), latent)
        else:
            assert isinstance(method, Styled)
            latent, images = _project_w(method, x, chosen, loss, steps)
    images = images.clamp(-1, 1)
    with torch.no_grad():
        error = ((images - x) / 2).square().mean((1, 2, 3))
        apart = None if distance is None else distance(images[:, :3], x[:, :3])
    found_in = "z" if chosen == "encode" else chosen
    return Projection(latent, found_in, y, images, -10 * error.log10(), apart)


def pixels(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of images [n, C, H, W] over pixels and scales: [n].

    The scales are halved down to 4 pixels a side.
    """
    scales = [(a - b).square().mean((1, 2, 3))]
    while min(a.shape[-2:]) >= 8:
        a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
        scales.append((a - b).square().mean((1, 2, 3)))
    return torch.stack(scales).mean(0)


def _candidates(method: Samples) -> tuple[Tensor, Tensor | None]:
    """Random latents, and their labels: all classes in turn."""
    z = method.latent(CANDIDATES)
    return z, torch.arange(CANDIDATES, device=z.device) % method.classes if method.classes else None


@torch.no_grad()
def _closest_samples(method: Samples, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """The closest `STARTS` of `CANDIDATES` samples: z [n * STARTS, ...], labels."""
    z, y = _candidates(method)
    parts = range(0, CANDIDATES, 64)
    samples = torch.cat(
        [method.sample(64, z=z[i : i + 64], y=None if y is None else y[i : i + 64]) for i in parts]
    )
    near = (
        torch.stack([pixels(samples, one.expand_as(samples)) for one in x])
        .topk(STARTS, largest=False)
        .indices.flatten()
    )
    return z[near], None if y is None else y[near]


def _closest_class(method: Samples, z: Tensor, x: Tensor) -> tuple[Tensor | None, Tensor]:
    """The labels with which z comes closest to x, and the images."""
    if not method.classes:
        return None, method.sample(len(x), z=z)
    labels = [torch.full((len(x),), c, device=x.device) for c in range(method.classes)]
    candidates = torch.stack([method.sample(len(x), z=z, y=y) for y in labels])
    y = torch.stack([pixels(images, x) for images in candidates]).argmin(0)
    return y, candidates[y, torch.arange(len(x), device=x.device)]


def _project_w(
    method: Styled, x: Tensor, space: str, loss: Distance, steps: int
) -> tuple[Tensor, Tensor]:
    mean = method.mean_style()
    count = 1 if space == "w" else method.layers

    def render(w: Tensor) -> Tensor:
        return method.synthesize(w.expand(-1, method.layers, -1))

    assert isinstance(method, Samples)
    with torch.no_grad():
        spread = (
            float((method.styles(*_candidates(method))[:, 0] - mean).square().sum(1).mean()) ** 0.5
        )
    w, _ = _descend(mean.expand(len(x), count, -1), render, x, loss, steps, noise=0.05 * spread)
    return w.expand(-1, method.layers, -1).contiguous(), _no_grad(render, w)


def _descend(
    start: Tensor,
    render: Callable[[Tensor], Tensor],
    x: Tensor,
    loss: Distance,
    steps: int,
    noise: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Minimize the loss with Adam from `start`; rows are independent.

    Learning rate 0.1 with a linear rise over the first twentieth and a cosine fall over
    the
    last quarter, and noise that decays over three quarters: appendix D.

    Returns the latents of the smallest loss, and that loss [n].
    """
    latent = start.detach().clone().requires_grad_()
    adam = torch.optim.Adam([latent], lr=0.1)
    best, least = latent.detach().clone(), torch.full((len(x),), math.inf, device=x.device)
    for step in range(steps + 1):
        at = step / max(steps, 1)
        strength = noise * max(0.0, 1 - at / 0.75) ** 2
        values = loss(
            render(latent + strength * torch.randn_like(latent) if strength else latent), x
        )
        with torch.no_grad():
            better = (
                (values < least) if not strength else torch.zeros_like(values, dtype=torch.bool)
            )
            best[better], least[better] = latent[better], values[better]
        if step < steps:
            adam.param_groups[0]["lr"] = (
                0.1 * min(1.0, at / 0.05 + 1 / (steps * 0.05)) * _cosine((1 - at) / 0.25)
            )
            (latent.grad,) = torch.autograd.grad(values.sum(), latent)
            adam.step()
    return best, least


def _cosine(left: float) -> float:
    return 0.5 - 0.5 * math.cos(math.pi * min(1.0, left))


@torch.no_grad()
def _no_grad(render: Callable[[Tensor], Tensor], latent: Tensor) -> Tensor:
    return render(latent)
