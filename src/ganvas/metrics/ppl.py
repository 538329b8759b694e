"""Perceptual path length: change of images along a short step in the latent space.

Karras et al., 2019 (StyleGAN), arXiv:1812.04948, section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.core.errors import UserError

EPS = 1e-4  # of a path's length, the paper's step
LARGEST = (
    256  # pixels: larger images are averaged down before they are compared, as in the authors' code
)
OUTLIERS = 0.01  # of the distances, dropped at either end, as in the authors' code


@runtime_checkable
class FromLatents(Protocol):
    """A model whose images are a function of latents z."""

    def latent(self, n: int) -> Tensor:
        """Noise for n images, [n, ...]."""
        ...

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Generate images [n, C, H, W] in [-1, 1] from z [n, ...] and labels y [n]."""
        ...


@runtime_checkable
class FromStyles(Protocol):
    """A model whose images are a function of styles w."""

    def latent(self, n: int) -> Tensor:
        """Noise for n images, [n, ...]."""
        ...

    def styles(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map z [n, ...] and labels y [n] to w [n, ...]."""
        ...

    def synthesize(self, w: Tensor) -> Tensor:
        """Generate images [n, C, H, W] in [-1, 1]."""
        ...


class PathLength(NamedTuple):
    """`value`: the mean over `kept` of `paths` paths.

    low, high: its 95% interval, from their spread.
    """

    value: float
    low: float
    high: float
    kept: int
    paths: int


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation from a to b, both [n, ...], by t [n] in [0, 1].

    `(sin((1-t) w) a + sin(t w) b) / sin w` with w the angle between them. For normal
    noise, whose length hardly varies (White, 2016, arXiv:1609.04468). The authors' code
    brings all noise to length 1 first, which is the same for networks that do so
    themselves.
    """
    x, y = a.flatten(1), b.flatten(1)
    cosine = (F.normalize(x, dim=1) * F.normalize(y, dim=1)).sum(1).clamp(-1, 1)
    w, t = cosine.acos()[:, None], t[:, None]
    straight = w.sin().abs() < 1e-6  # no arc, or every arc
    s = torch.where(straight, 1.0, w.sin())
    arc = ((1 - t) * w).sin() / s * x + (t * w).sin() / s * y
    return torch.where(straight, x + t * (y - x), arc).view_as(a)


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Linear interpolation from a to b, both [n, ...], by t [n]."""
    return a + t.view(-1, *[1] * (a.ndim - 1)) * (b - a)


@torch.no_grad()
def path_length(
    model: object,
    distance: Callable[[Tensor, Tensor], Tensor],
    n: int = 10_000,
    *,
    space: Literal["z", "w"] = "z",
    ends: bool = False,
    eps: float = EPS,
    batch: int = 50,
    seed: int = 0,
) -> PathLength:
    """Perceptual path length of a model, with its 95% interval.

    `E[d(G(p(t)), G(p(t + eps))) / eps^2]` over random paths p, with t uniform in [0,
    1), or 0 if `ends` is set.

    `model` is `FromLatents` for paths in z, which are arcs (`slerp`), or lines if its
    `curve` is "linear" (`ganvas.core.Samples`), and `FromStyles` for paths in w, which
    are lines (`lerp`). If it has `classes`, each path stays within one class, and the
    paths take all classes in turn.
    distance: two batches of images [N, C, H, W] in [-1, 1] -> [N]. It must be like
    a squared length (as LPIPS is) for the division by eps^2 to be right, and must not
    round: images eps apart are equal in 8 bits, so an extractor of
    `ganvas.metrics.features`, which rounds, sees no path at all. The paper's is LPIPS
    over VGG16, `ganvas.metrics.lpips.lpips("vgg")`, at n = 100,000.

    Distances in the lowest and the highest hundredth are dropped, as the authors' code
    does. Figures compare if the model's size, distance, space, `ends`, n and eps are
    the same.
    """
    if n < 2 or batch < 1 or not eps > 0:
        raise UserError(
            f"a path length needs at least 2 paths, in batches, and a step above 0; got {n}, "
            f"{batch} and {eps}"
        )
    if space not in ("z", "w"):
        raise UserError(f"paths run in z or in w; got {space!r}")
    if space == "w" and isinstance(model, FromStyles):
        latent, place, render = model.latent, model.styles, lambda w, **_: model.synthesize(w)
    elif space == "z" and isinstance(model, FromLatents):
        latent, place = model.latent, lambda z, **_: z
        render = lambda z, **labels: model.sample(len(z), z=z, **labels)  # noqa: E731
    else:
        needed = ("latent", "sample") if space == "z" else ("latent", "styles", "synthesize")
        missing = [name for name in needed if getattr(model, name, None) is None]
        raise UserError(
            f"{type(model).__name__} has no {' and no '.join(missing)}, so paths in {space} "
            "cannot be taken" + (": choose space='z'" if isinstance(model, FromLatents) else "")
        )
    classes = getattr(model, "classes", 0)
    linear = space == "w" or getattr(model, "curve", "spherical") == "linear"
    between, found = lerp if linear else slerp, []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, n, batch):
            size = min(batch, n - start)
            a, b = latent(size), latent(size)
            t = torch.zeros(size) if ends else torch.rand(size)
            t = t.to(a)
            y = torch.arange(start, start + size, device=a.device) % classes if classes else None
            labels = {} if y is None else {"y": y}
            a, b = place(a, **labels), place(b, **labels)
            both = torch.cat([between(a, b, t), between(a, b, t + eps)])
            images = render(both, **{k: v.repeat(2) for k, v in labels.items()})
            found.append(distance(*_shrunk(images).chunk(2)).flatten().double().cpu() / eps**2)
    d = torch.cat(found)
    if not bool(torch.isfinite(d).all()):
        raise UserError(
            "some of these distances are NaN or infinite, so the path length is not a number"
        )
    low, high = (
        d.quantile(OUTLIERS, interpolation="lower"),
        d.quantile(1 - OUTLIERS, interpolation="higher"),
    )
    kept = d[(d >= low) & (d <= high)]
    half = 1.96 * float(kept.std()) / math.sqrt(len(kept)) if len(kept) > 1 else math.nan
    mean = float(kept.mean())
    return PathLength(mean, mean - half, mean + half, len(kept), n)


def _shrunk(x: Tensor) -> Tensor:
    factor = min(x.shape[-2:]) // LARGEST
    return F.avg_pool2d(x, factor) if factor > 1 else x
