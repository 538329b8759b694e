"""An image back into latent space: the latent whose picture is nearest to it."""

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

CANDIDATES = 256  # latents looked at for where to begin
STARTS = 4  # of them, descended from; the nearest end is kept


@dataclass(frozen=True)
class Projection:
    """`latent` [n, ...] in `space` ("z" for encoders), its pictures `images` [n, C, H, W] in [-1, 1], their labels `y` [n]
    where the method takes them, and how near they are to the originals: `psnr` [n] in dB (all channels, no border shaved),
    `distance` [n] where one was given."""

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
    """Images x [n, C, H, W] in [-1, 1], of the method's size -> their latents.

    `space`: "encode" asks the method's encoder (default where it has one). "w" descends in W from its mean, with noise that
    fades: Karras et al., 2019, arXiv:1912.04958, appendix D (default for methods with styles); "w+" gives every layer a
    w of its own: nearer, and less like what the model makes (Abdal et al., 2019, arXiv:1904.03189). "z" descends in z from
    the nearest of 256 samples. `distance`: what is descended besides the pixels (LPIPS).

    Differs from appendix D: the noise maps of the generator stay as they are; the loss is
    that of pixels unless `distance` is given, where the paper has LPIPS alone; 500 steps in
    place of 1,000. In z nothing holds the latent near where samples lie: a close match may
    lie where the model makes no samples.

    Raises `UserError` for a space that the method does not have."""
    has = {
        "encode": isinstance(method, Encodes),
        "w": isinstance(method, Styled),
        "w+": isinstance(method, Styled),
        "z": True,
    }
    chosen: str = space or next(name for name, there in has.items() if there)
    if not has.get(chosen):
        raise UserError(
            f"space {chosen!r} is not there in this model; it has {', '.join(n for n, h in has.items() if h)}"
        )

    def loss(made: Tensor, target: Tensor) -> Tensor:
        apart = pixels(made, target)
        return apart if distance is None else apart + distance(made[:, :3], target[:, :3])

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        y = None
        if chosen == "encode":
            assert isinstance(method, Encodes)
            with torch.no_grad():
                latent = method.encode(x)
                y, made = _of_the_nearest_class(method, latent, x)
        elif chosen == "z":
            z, y = _nearest(method, x)
            wide = x.repeat_interleave(STARTS, 0)
            z, ends = _descend(z, lambda z: method.sample(len(z), z=z, y=y), wide, loss, steps)
            best = ends.view(-1, STARTS).argmin(1) + torch.arange(len(x), device=x.device) * STARTS
            latent, y = z[best], None if y is None else y[best]
            made = _rendered(lambda z: method.sample(len(z), z=z, y=y), latent)
        else:
            assert isinstance(method, Styled)
            latent, made = _styled(method, x, chosen, loss, steps)
    made = made.clamp(-1, 1)
    with torch.no_grad():
        error = ((made - x) / 2).square().mean((1, 2, 3))
        far = None if distance is None else distance(made[:, :3], x[:, :3])
    return Projection(latent, "z" if chosen == "encode" else chosen, y, made, -10 * error.log10(), far)


def pixels(a: Tensor, b: Tensor) -> Tensor:
    """Squared differences of images [n, C, H, W], the mean over their pixels and over scales down to 4 pixels a side, [n]."""
    scales = [(a - b).square().mean((1, 2, 3))]
    while min(a.shape[-2:]) >= 8:
        a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
        scales.append((a - b).square().mean((1, 2, 3)))
    return torch.stack(scales).mean(0)


def _candidates(method: Samples) -> tuple[Tensor, Tensor | None]:
    """Latents to begin from, of all classes in turn, and their labels."""
    z = method.latent(CANDIDATES)
    return z, torch.arange(CANDIDATES, device=z.device) % method.classes if method.classes else None


@torch.no_grad()
def _nearest(method: Samples, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """For every image the `STARTS` nearest of `CANDIDATES` samples, of all classes: z [n * STARTS, ...], labels."""
    z, y = _candidates(method)
    parts = range(0, CANDIDATES, 64)
    made = torch.cat([method.sample(64, z=z[i : i + 64], y=None if y is None else y[i : i + 64]) for i in parts])
    near = torch.stack([pixels(made, one.expand_as(made)) for one in x]).topk(STARTS, largest=False).indices.flatten()
    return z[near], None if y is None else y[near]


def _of_the_nearest_class(method: Samples, z: Tensor, x: Tensor) -> tuple[Tensor | None, Tensor]:
    """The images of z, and their labels, where an encoder says nothing of those: the ones that come nearest to x."""
    if not method.classes:
        return None, method.sample(len(x), z=z)
    every = [torch.full((len(x),), c, device=x.device) for c in range(method.classes)]
    made = torch.stack([method.sample(len(x), z=z, y=y) for y in every])
    y = torch.stack([pixels(images, x) for images in made]).argmin(0)
    return y, made[y, torch.arange(len(x), device=x.device)]


def _styled(method: Styled, x: Tensor, space: str, loss: Distance, steps: int) -> tuple[Tensor, Tensor]:
    mean = method.mean_style()
    count = 1 if space == "w" else method.layers

    def render(w: Tensor) -> Tensor:
        return method.synthesize(w.expand(-1, method.layers, -1))

    assert isinstance(method, Samples)
    with torch.no_grad():
        spread = float((method.styles(*_candidates(method))[:, 0] - mean).square().sum(1).mean()) ** 0.5
    w, _ = _descend(mean.expand(len(x), count, -1), render, x, loss, steps, noise=0.05 * spread)
    return w.expand(-1, method.layers, -1).contiguous(), _rendered(render, w)


def _descend(
    start: Tensor, render: Callable[[Tensor], Tensor], x: Tensor, loss: Distance, steps: int, noise: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Adam from `start`: (the latents where the loss was least, that loss [n]). Rows do not touch one another. The rate .1, its
    rise over the first twentieth and fall over the last quarter, and noise that fades over three quarters: appendix D."""
    latent = start.detach().clone().requires_grad_()
    adam = torch.optim.Adam([latent], lr=0.1)
    best, least = latent.detach().clone(), torch.full((len(x),), math.inf, device=x.device)
    for step in range(steps + 1):
        at = step / max(steps, 1)
        strength = noise * max(0.0, 1 - at / 0.75) ** 2
        far = loss(render(latent + strength * torch.randn_like(latent) if strength else latent), x)
        with torch.no_grad():
            nearer = (far < least) if not strength else torch.zeros_like(far, dtype=torch.bool)
            best[nearer], least[nearer] = latent[nearer], far[nearer]
        if step < steps:
            adam.param_groups[0]["lr"] = 0.1 * min(1.0, at / 0.05 + 1 / (steps * 0.05)) * _fall((1 - at) / 0.25)
            (latent.grad,) = torch.autograd.grad(far.sum(), latent)
            adam.step()
    return best, least


def _fall(left: float) -> float:
    return 0.5 - 0.5 * math.cos(math.pi * min(1.0, left))


@torch.no_grad()
def _rendered(render: Callable[[Tensor], Tensor], latent: Tensor) -> Tensor:
    return render(latent)
