"""Generated images as PIL images that are marked as generated when they are saved."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
from PIL import Image

from ganvas.core.files import write
from ganvas.media.encode import WRITERS, encode
from ganvas.media.samples import as_image, eight_bit


def generated(
    samples: np.ndarray, profile: bytes | None = None, *, composite: bool = False, **facts: object
) -> Generated:
    """A PIL image whose `save` marks it as generated.

    samples: uint8 or uint16 [H, W, 1 (gray), 2 (gray, alpha), 3 or 4]
    profile: ICC profile
    composite: parts of the image are real (`provenance.Label`)
    facts: further content of the mark
    """
    deep = None
    if samples.dtype == np.uint16 and samples.shape[2] > 1:
        deep, samples = samples, eight_bit(samples)
    image: Any = as_image(samples)
    image.__class__ = Generated  # Pillow has no constructor for a subclass that takes pixels
    image.facts, image.composite, image.deep = facts, composite, deep
    if profile:
        image.info["icc_profile"] = profile
    return image


class Generated(Image.Image):
    """A PIL image that PNG, JPEG, WebP and TIFF files mark as generated.

    So are images that are derived from it by PIL's methods (crop, resize, convert).
    Other formats, and pixels taken out of it (NumPy, torch), carry no mark.

    facts: further content of the mark
    composite: parts of the image are real
    deep: uint16 [H, W, C] of 16-bit color, of which PIL holds and shows 8 bits; saved
        as long as the image has not been changed
    """

    facts: Mapping[str, object] = MappingProxyType({})
    composite: bool = False
    deep: np.ndarray | None = None

    def _new(self, im: Any) -> Image.Image:  # which PIL's methods end in, but for `transform`
        return self._marked(super()._new(im))  # pyright: ignore[reportAttributeAccessIssue]

    def transform(
        self,
        size: tuple[int, int],
        method: Image.Transform | Image.ImageTransformHandler | Image.SupportsGetData,
        data: Sequence[object] | None = None,
        resample: int = Image.Resampling.NEAREST,
        fill: int = 1,
        fillcolor: float | tuple[float, ...] | str | None = None,
    ) -> Image.Image:
        """PIL's `transform`, marked."""
        return self._marked(super().transform(size, method, data, resample, fill, fillcolor))

    def copy(self) -> Image.Image:
        """PIL's `copy`, marked, with the 16-bit color."""
        image: Any = super().copy()
        image.deep = self.deep
        return image

    def _marked(self, image: Any) -> Image.Image:
        image.__class__ = Generated
        image.facts, image.composite = self.facts, self.composite
        return image

    def save(
        self,
        fp: str | bytes | os.PathLike[str] | os.PathLike[bytes] | IO[bytes],
        format: str | None = None,
        **params: object,
    ) -> None:
        """PIL's `save`; PNG, JPEG, WebP and TIFF are marked and signed."""
        place = Path(os.fsdecode(fp)) if isinstance(fp, str | bytes | os.PathLike) else None
        suffix = f".{format.lower()}" if format else place.suffix.lower() if place else ""
        if suffix not in WRITERS or params.get("save_all"):
            super().save(fp, format, **params)
            return
        data = encode(self, suffix, settings=params, composite=self.composite, **self.facts)
        if isinstance(fp, str | bytes | os.PathLike):
            write(Path(os.fsdecode(fp)), data)
        else:
            fp.write(data)
