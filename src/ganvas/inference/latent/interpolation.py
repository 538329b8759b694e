"""Walks from picture to picture."""

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
    """Images along a path through z [k, ...], k of at least 2, in parts [., C, H, W]: `frames` from each to the next, and back
    to the first where it is a `loop`. With styles the path lies in W, where straight lines are smooth (arXiv:1812.04948,
    section 4.1). `curve`: None: linear in W, and in z the method's (`core.Samples`); a straight line between normal latents
    passes nearer to the origin than any sample lies. `y`: one label [k] for all, or none."""
    if len(z) < 2 or frames < 1:
        raise UserError(f"a walk needs at least 2 pictures and 1 frame between them; got {len(z)} and {frames}")
    styled = isinstance(method, Styled)
    points = styles(method, z, y, truncation) if styled else z
    curve = curve or ("linear" if styled else method.curve)
    for part in path(points, frames, loop, curve).split(batch):
        if styled:
            yield method.synthesize(part)
        else:
            yield generate(method, part, None if y is None else y[:1].expand(len(part)), truncation)


def path(points: Tensor, frames: int, loop: bool, curve: Curve) -> Tensor:
    """points [k, ...] -> [k frames, ...] of a loop, [(k - 1) frames + 1, ...] of a path that ends at its last point."""
    if curve not in ("linear", "spherical"):
        raise UserError(f"a walk is linear or spherical; got {curve!r}")
    between = torch.lerp if curve == "linear" else slerp
    ends = points.roll(-1, 0) if loop else points[1:]
    t = (torch.arange(frames, device=points.device, dtype=points.dtype) / frames).view(-1, *[1] * (points.dim() - 1))
    legs = [between(a.expand(frames, *a.shape), b.expand(frames, *b.shape), t) for a, b in zip(points, ends)]
    return torch.cat(legs if loop else [*legs, points[-1:]])


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """From a to b, both [n, ...], along the arc between them: at t of its angle, and lengths between theirs. Shoemake, 1985,
    Animating rotation with quaternion curves. Where they point the same way, a straight line."""
    flat = [v.flatten(1) for v in (a, b)]
    cosine = torch.cosine_similarity(*flat, dim=1).clamp(-1, 1).view(-1, *[1] * (a.dim() - 1))
    angle = cosine.acos()
    straight = angle.sin() < 1e-4
    angle = angle.masked_fill(straight, 1.0)
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return torch.where(straight, torch.lerp(a, b, t), arc)
