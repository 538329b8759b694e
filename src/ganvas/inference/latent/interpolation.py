"""Latent walks: paths from sample to sample."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ganvas.core import Curve, Samples, Styled
from ganvas.core.errors import UserError
from ganvas.inference.latent.naming import generate, styles
from ganvas.metrics.ppl import lerp, slerp


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
    between = lerp if curve == "linear" else slerp
    ends = points.roll(-1, 0) if loop else points[1:]
    t = torch.arange(frames, device=points.device, dtype=points.dtype) / frames
    legs = [
        between(a.expand(frames, *a.shape), b.expand(frames, *b.shape), t)
        for a, b in zip(points, ends)
    ]
    return torch.cat(legs if loop else [*legs, points[-1:]])
