"""Input images: decode, convert to the model's channels, convert to tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeGuard, TypeVar, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganvas.core.errors import DataError, UserError, printable
from ganvas.data.label_maps import label_name
from ganvas.inference.options import ImageSource
from ganvas.media import decode
from ganvas.media.decode import max_pixels
from ganvas.media.samples import (
    Broken,
    Decoded,
    as_array,
    as_image,
    eight_bit,
    fit,
    luma,
    opaque,
    to_channels,
)

T = TypeVar("T")
FAR = 48.0  # levels of 255 from the nearest color of a palette, from which a pixel is foreign
MOST_FOREIGN = 0.2  # share of the pixels of a label map


def is_one(images: object) -> TypeGuard[ImageSource]:
    """Whether this is one image; an array [N, H, W, C] is several."""
    return isinstance(images, ImageSource) and getattr(images, "ndim", 0) != 4


def as_list(images: ImageSource | Iterable[ImageSource]) -> list[ImageSource]:
    """A list of one or of several images."""
    if is_one(images):
        return [images]
    return list(cast(Iterable[ImageSource], images))


def decoded(image: ImageSource) -> Decoded:
    """An image with all that its file holds: alpha, 16 bits, ICC profile."""
    if isinstance(image, np.ndarray):
        return of_array(image)
    return _decode(decode.decode, image, max_pixels())


def of_array(samples: np.ndarray) -> Decoded:
    """An image of samples [H, W] or [H, W, 1 (gray), 2 (gray, alpha), 3 or 4].

    Raises `UserError` unless they are uint8 or uint16.
    """
    shaped = samples[..., None] if samples.ndim == 2 else samples
    fits = shaped.ndim == 3 and shaped.shape[2] in (1, 2, 3, 4) and shaped.size > 0
    if samples.dtype not in (np.uint8, np.uint16) or not fits:
        raise UserError(
            "an array of an image is uint8 or uint16, [H, W] or [H, W, 1 to 4]; got "
            f"{samples.dtype} {list(samples.shape)}. Numbers in [-1, 1] are given as a torch "
            "tensor [N, C, H, W]"
        )
    shaped = np.ascontiguousarray(shaped)
    if shaped.shape[2] in (1, 3):
        return Decoded(shaped)
    return Decoded(shaped[..., :-1], shaped[..., -1])


def fitted(images: list[ImageSource], size: tuple[int, int], channels: int) -> Tensor:
    """Crop images to the center and scale them: [N, C, height, width] in [-1, 1]."""
    opened = (to_channels(_read(image), channels) for image in images)
    return torch.cat([as_tensor(as_array(fit(image, size))) for image in opened])


def as_tensor(samples: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 or uint16 [H, W, C] -> [1, C, H, W] in [-1, 1]."""
    x = torch.from_numpy(samples.astype(np.float32)).permute(2, 0, 1)[None].to(device)
    return x.div_(np.iinfo(samples.dtype).max / 2).sub_(1.0)


def network_input(image: Decoded, channels: int) -> np.ndarray:
    """The samples that a network gets of an image, uint8 or uint16 [H, W, C]."""
    if channels == 4:
        color, alpha = image.color, image.alpha
        alpha = np.full_like(color[..., 0], image.white) if alpha is None else alpha
        return np.dstack([np.broadcast_to(color, (*alpha.shape, 3)), alpha])
    color = opaque(image)
    return luma(color) if channels == 1 else np.broadcast_to(color, (*color.shape[:2], channels))


def require_labels(pixels: np.ndarray, palette: Sequence[int], ids: bool = False) -> None:
    """Raise `DataError` unless most pixels [H, W, 3] have a color of the palette.

    palette: 0xRRGGBB each
    ids: the colors stand for numbers, and have no shades

    Else the image is no label map, or its labels are others than the model's.
    """
    levels = pixels.astype(np.float32) * (255 / np.iinfo(pixels.dtype).max)
    least = np.full(pixels.shape[:2], np.inf, np.float32)
    for color in palette:
        rgb = np.array([color >> 16, color >> 8 & 255, color & 255], np.float32)
        np.minimum(least, np.linalg.norm(levels - rgb, axis=2), out=least)
    foreign = float((least > (0.5 if ids else FAR)).mean())
    if foreign > MOST_FOREIGN:
        known = ", ".join(label_name(color, ids) for color in palette)
        kind = "numbers" if ids else "colors"
        raise DataError(
            f"{foreign:.0%} of the pixels of this label map have none of the model's {kind}, which "
            f"are {known}: give a label map in these {kind}"
        )


def _read(image: ImageSource) -> Image.Image:
    """An image in 8 bits."""
    if not isinstance(image, np.ndarray):
        return _decode(decode.read, image, decode.MAX_PIXELS)
    return as_image(eight_bit(of_array(image).samples()))


def _decode(reader: Callable[..., T], image: str | Path | Image.Image, limit: int) -> T:
    """Apply a reader of `media.decode`; name the file in a `UserError`."""
    in_memory = isinstance(image, Image.Image)
    if not in_memory and not Path(image).is_file():
        raise UserError(f"there is no file {printable(image)}")
    name = "the image" if in_memory else printable(image)
    try:
        return reader(image if in_memory else str(image), limit)
    except Broken as e:
        raise UserError(f"{name}: {e}") from None
    except MemoryError:
        raise UserError(f"{name}: decoding it needs more memory than there is") from None
