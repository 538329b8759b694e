"""Convert tensors to PIL images, and lay images out in grids."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganvas.core.errors import UserError
from ganvas.media.samples import as_image

NEUTRAL = 128  # gray between images, distinct from black and from white ones


def to_uint8(x: Tensor, bits: int = 8) -> np.ndarray:
    """Images [..., C, H, W] in [-1, 1] -> uint8 [..., H, W, C], clipped and rounded.

    bits: 8; 16 for uint16

    Raises `UserError` for NaN or infinite pixels.
    """
    x = x.detach().float()
    require_finite(x)
    if bits == 16:
        return (
            ((x + 1) * 32767.5)
            .round()
            .clamp(0, 65535)
            .movedim(-3, -1)
            .cpu()
            .numpy()
            .astype(np.uint16)
        )
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(-3, -1).cpu().numpy()


def require_finite(x: Tensor) -> None:
    """Raise `UserError` for images with NaN or infinite pixels."""
    if not bool(torch.isfinite(x).all()):
        raise UserError(
            "these images have NaN or infinite pixels: the model that made them is broken; use an "
            "earlier one"
        )


def shown(x: Tensor) -> Tensor:
    """Images [..., C, H, W] as they can be shown, gray, RGB or RGBA.

    Of other numbers of channels these lie beside each other.
    """
    return x if x.shape[-3] in (1, 3, 4) else beside(x)


def beside(x: Tensor) -> Tensor:
    """The channels of images [..., C, H, W] beside each other: [..., 1, H, C * W]."""
    return x.movedim(-3, -2).flatten(-2).unsqueeze(-3)


def to_pil(x: Tensor) -> Image.Image:
    """Convert an image [C, H, W] in [-1, 1] to a PIL image; see `shown`."""
    if x.ndim != 3 or not x.shape[0]:
        raise UserError(f"an image is [channels, height, width]; got {list(x.shape)}")
    return as_image(to_uint8(shown(x)))


def grid(x: Tensor, columns: int | None = None, pad: int = 2) -> Image.Image:
    """Lay out images [N, C, H, W] in [-1, 1] row by row.

    columns: None: the grid is nearly square
    pad: pixels between images, gray, or transparent for images with alpha
    """
    return contact_sheet([to_pil(image) for image in x], columns, pad)


def contact_sheet(
    images: Sequence[Image.Image],
    columns: int | None = None,
    pad: int | tuple[int, int] = 2,
    shade: int = NEUTRAL,
) -> Image.Image:
    """Lay out PIL images of one size row by row, as `grid` does.

    pad: pixels between images, or (between columns, between rows)
    shade: gray level between images
    """
    if not images:
        raise UserError("a grid needs at least one image; got none")
    w, h = images[0].size
    columns = min(columns or max(round(math.sqrt(len(images) * h / w)), 1), len(images))
    rows = math.ceil(len(images) / columns)
    across, down = (pad, pad) if isinstance(pad, int) else pad
    mode = images[0].mode
    color = {"L": shade, "RGB": (shade,) * 3, "RGBA": (shade,) * 3 + (0,)}[mode]
    sheet = Image.new(mode, (columns * (w + across) - across, rows * (h + down) - down), color)
    for i, image in enumerate(images):
        sheet.paste(image, ((i % columns) * (w + across), (i // columns) * (h + down)))
    return sheet


def side_by_side(
    *columns: Tensor, captions: Sequence[str] = (), across: int | None = None, pad: int = 2
) -> Image.Image:
    """Lay out corresponding images next to each other: input | output | ...

    columns: images [N, C, H, W] in [-1, 1] each; channels and sizes may differ (smaller
        images are enlarged by repeating pixels)
    captions: one for each column, above it
    across: groups in a row; None: nearly square
    pad: pixels between the images of a group
    """
    columns = tuple(map(shown, columns))
    lengths = [len(c) for c in columns]
    if not lengths or len(set(lengths)) != 1 or not lengths[0]:
        raise UserError(
            f"side by side needs as many images in every column, and at least one; got {lengths}"
        )
    if captions and len(captions) != len(columns):
        raise UserError(f"{len(columns)} columns need as many captions; got {len(captions)}")
    size = max(c.shape[-1] for c in columns), max(c.shape[-2] for c in columns)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[max(c.shape[1] for c in columns)]
    images = [
        [to_pil(x).convert(mode).resize(size, Image.Resampling.NEAREST) for x in c] for c in columns
    ]
    groups = [
        contact_sheet(group, len(columns), pad, shade=255) for group in zip(*images, strict=True)
    ]
    sheet = contact_sheet(groups, across, (6 * pad, pad), shade=255)
    if not captions:
        return sheet
    group, height = groups[0].width, 18
    titled = Image.new(
        "RGBA" if mode == "RGBA" else "RGB", (sheet.width, sheet.height + height), "white"
    )
    titled.paste(sheet.convert(titled.mode), (0, height))
    draw, font = ImageDraw.Draw(titled), ImageFont.load_default(size=12)
    for left in range(0, sheet.width, group + 6 * pad):
        for i, caption in enumerate(captions):
            draw.text(
                (left + i * (size[0] + pad) + size[0] / 2, height / 2),
                caption,
                fill="#444",
                font=font,
                anchor="mm",
            )
    return titled
