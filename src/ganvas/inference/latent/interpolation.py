"""Latent walks: paths from sample to sample."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ganvas.core import Curve, Samples, Styled
from ganvas.core.errors import UserError
from ganvas.inference.latent.naming import generate, styles


def walk(
    method: Samples,
    z: Tensor,
    y: Tensor | None = None,
    *,
    frames: int = 30,
    loop: bool = True,
    curve: Curve | None = None,
    truncation: float | None = None,
    batch: int = 64,
) -> Iterator[Tensor]:
    """Generate images along a path through z, in batches [., C, H, W].

    With styles the path lies in W, since straight lines are smooth there
    (arXiv:1812.04948, section 4.1).

    z: [k, ...], at least 2 latents
    y: one label [k] for all, or none
    frames: from each latent to the next
    loop: return to the first latent
    curve: None: linear in W, and in z the method's own (`core.Samples`). A straight
        line between normal latents passes closer to the origin than any sample lies
    """
    if len(z) < 2 or frames < 1:
        raise UserError(
            f"a walk needs at least 2 samples and 1 frame between them; got {len(z)} and {frames}"
        )
    styled = isinstance(method, Styled)
    points = styles(method, z, y, truncation) if styled else z
    curve = curve or ("linear" if styled else method.curve)
    for part in path(points, frames, loop, curve).split(batch):
        if styled:
            yield method.synthesize(part)
        else:
            yield generate(method, part, None if y is None else y[:1].expand(len(part)), truncation)


def path(points: Tensor, frames: int, loop: bool, curve: Curve) -> Tensor:
    """A path through points [k, ...].

    Returns [k * frames, ...] for a loop, [(k - 1) * frames + 1, ...] for a path that
    ends at its last point.
    """
    if curve not in ("linear", "spherical"):
        raise UserError(f"a walk is linear or spherical; got {curve!r}")
    between = torch.lerp if curve == "linear" else slerp
    ends = points.roll(-1, 0) if loop else points[1:]
    t = (torch.arange(frames, device=points.device, dtype=points.dtype) / frames).view(
        -1, *[1] * (points.dim() - 1)
    )
    legs = [
        between(a.expand(frames, *a.shape), b.expand(frames, *b.shape), t)
        for a, b in zip(points, ends)
    ]
    return torch.cat(legs if loop else [*legs, points[-1:]])


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation between a and b [n, ...]. Shoemake, 1985.

    Animating rotation with quaternion curves. At fraction t of the angle, and with
    lengths between theirs; linear if a and b have the same direction.
    """
    flat = [v.flatten(1) for v in (a, b)]
    cosine = torch.cosine_similarity(*flat, dim=1).clamp(-1, 1).view(-1, *[1] * (a.dim() - 1))
    angle = cosine.acos()
    straight = angle.sin() < 1e-4
    angle = angle.masked_fill(straight, 1.0)
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return torch.where(straight, torch.lerp(a, b, t), arc)
