"""Pages of attention maps of a generator (arXiv:1805.08318, figures 1 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganvas.core import Samples
from ganvas.core.errors import CapabilityError, UserError
from ganvas.inference.load import load
from ganvas.media import encode, grid
from ganvas.nets.attention import attention_maps

POINTS = ((0.5, 0.5), (0.25, 0.25), (0.25, 0.75), (0.75, 0.5))  # (down, across)
COLORS = torch.tensor(
    [[230, 60, 50], [50, 170, 70], [60, 110, 240], [230, 170, 30], [180, 80, 200], [40, 180, 190]]
)
SIDE = 96  # smallest side of a panel in pixels


def page(
    run: str | Path,
    out: str | Path,
    *,
    n: int = 6,
    seed: int = 0,
    points: Sequence[tuple[float, float]] = POINTS,
    checkpoint: str = "last",
    device: str = "cpu",
) -> Path:
    """Write `n` samples with the attention maps of query points, one sample per row.

    Each row shows the sample with its points, then one panel per point: the attention
        weights
    of that point, in its color. Several attention layers stand below each other.

    points: (down, across) as fractions of the height and width

    Raises `UserError` for a model without attention and for points outside the
    image.
    """
    if not points or not all(0 <= a <= 1 and 0 <= b <= 1 for a, b in points):
        raise UserError(
            f"points are (down, across), each from 0 to 1, at least one; got {list(points)}"
        )
    model = load(run, checkpoint=checkpoint, device=device)
    method = model.method
    name = type(method).__name__
    if not isinstance(method, Samples):
        raise CapabilityError(
            f"{name} translates images: attention pages are for generators from noise"
        )
    with attention_maps(method, points) as recorded:
        images = model.sample(n, seed=seed, output="torch")
    if not recorded:
        raise CapabilityError(
            f"the generator of {run} ({name}) has no attention layers: sagan and biggan have them, "
            "at the sizes that --set G.attention=[16] names"
        )
    maps = [torch.cat(parts) for parts in recorded.values()]
    rows = [row for i in range(n) for layer in maps for row in _row(images[i], layer[i], points)]
    sheet = grid.grid(torch.stack(rows), columns=len(points) + 1)
    return encode.save(sheet, out, **model.facts, seed=seed)


def _row(image: Tensor, maps: Tensor, points: Sequence[tuple[float, float]]) -> list[Tensor]:
    """The image with its points, and a panel per point: [3, H, W] each, in [-1, 1]."""
    factor = -(-SIDE // min(image.shape[1:]))
    large = image.float().cpu()[:3].expand(3, -1, -1) if len(image) < 3 else image.float().cpu()[:3]
    large = large.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    height, width = large.shape[1:]
    marked, panels = large.clone(), []
    mark = max(min(height, width) // 24, 1)
    for i, (down, across) in enumerate(points):
        color = (COLORS[i % len(COLORS)] / 127.5 - 1)[:, None, None]
        at = [max(int(p * side) - mark, 0) for p, side in ((down, height), (across, width))]
        window = (slice(None), slice(at[0], at[0] + 2 * mark), slice(at[1], at[1] + 2 * mark))
        marked[window] = color
        weight = interpolate(maps[i].float().cpu()[None, None], (height, width), mode="bilinear")[0]
        panel = torch.lerp(large * 0.35 - 0.65, color.expand_as(large), weight / weight.max())
        panel[window] = 1
        panels.append(panel)
    return [marked, *panels]


def parsed(texts: Sequence[str]) -> list[tuple[float, float]]:
    """Parse points: `0.5,0.25` -> (0.5, 0.25)."""
    found = []
    for text in texts:
        try:
            down, across = map(float, text.split(","))
        except ValueError:
            raise UserError(
                f"a point is DOWN,ACROSS, each from 0 to 1, as in 0.5,0.25; got {text!r}"
            ) from None
        found.append((down, across))
    return found
