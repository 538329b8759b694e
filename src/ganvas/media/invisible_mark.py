"""An invisible mark in the pixels of generated images, and its detection.

Spread spectrum (Cox et al., 1997, doi:10.1109/83.650120) with a key that is part of
ganvas: a noise tile of middle frequencies is repeated over the image, as strong as the
image's own detail hides. The detector filters the image, lays its tiles on each other
and correlates their sum with the tile at every shift. Hence crops need no further
synchronization, and of scales only those of `SCALES` are searched. The mark holds no
message. Anybody who reads this file can add or remove it: it helps the honest, as the
metadata do, but stays when another program saves the file.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np

from ganvas.media import decode
from ganvas.media.samples import Broken, luma

MARK_VARIABLE = "GANVAS_MARK"  # "0": do not mark
LOST = (
    "The pixels carry no invisible mark: once another program has saved the image, nothing in it "
    "may say that it was generated"
)
KEY = 0x67616E766173  # of ganvas, for every user: whoever has ganvas can verify
SIDE = 256  # pixels; images with a shorter side are not marked
PERIOD = 128  # pixels of the tile's sides
BAND = (0.05, 0.22)  # cycles per pixel: what JPEG and halving leave
STRENGTH = 0.2  # of the image's detail nearby
WEAKEST, STRONGEST = 0.5, 4.0  # of 255
PAPER = 16  # of 255: nearer to white the mark fades, since specks show on paper
THRESHOLD = 7.5  # of `score`; bench/invisible_mark.py measures what exceeds it
SCALES = (1, 2)  # by which the detector enlarges an image
_COLUMNS = 16 * PERIOD  # that are marked together
_SEARCHED = 2048  # pixels of the central part that is searched
_SHORTEST = SIDE * 3 // 8  # side of a marked image that was cropped and halved


def is_on() -> bool:
    """Whether images are marked (environment variable GANVAS_MARK)."""
    return os.environ.get(MARK_VARIABLE, "1") != "0"


def embed(strip: np.ndarray) -> np.ndarray:
    """Mark a strip of an image.

    strip: uint8 [h <= PERIOD, W, 1 to 4], whose first row is a multiple of PERIOD
    """
    marked = strip.copy()
    colors = strip.shape[2] - (strip.shape[2] % 2 == 0)
    for left in range(0, strip.shape[1], _COLUMNS):
        part = strip[:, left : left + _COLUMNS, :colors]
        gray = luma(part)[..., 0].astype(np.float32)
        strength = np.clip(STRENGTH * _level(_detail(gray), 4.0), WEAKEST, STRONGEST)
        strength *= np.minimum((255 - gray) / PAPER, 1)
        repeated = np.tile(tile(KEY), (1, -(-gray.shape[1] // PERIOD)))
        change = strength * repeated[: gray.shape[0], : gray.shape[1]]
        changed = np.rint(part + change[..., None]).clip(0, 255)
        marked[:, left : left + _COLUMNS, :colors] = changed.astype(np.uint8)
    return marked


def found(path: str | Path) -> bool | None:
    """Whether an image holds the mark; None if it is too small to tell, or no image."""
    try:
        image = decode.read(str(path))
    except Broken:
        return None
    if min(image.size) < _SHORTEST:
        return None
    pixels = np.asarray(image.convert("L"))
    return score(pixels) >= THRESHOLD


def score(gray: np.ndarray, key: int = KEY) -> float:
    """How clearly an image holds the mark: the highest correlation, in deviations.

    gray: uint8 [H, W]
    """
    return max(float(correlations(spectrum, key).max()) for spectrum in spectra(gray))


def spectra(gray: np.ndarray) -> list[np.ndarray]:
    """The whitened spectrum of an image's folded detail, for each of `SCALES`.

    gray: uint8 [H, W]

    Returns complex [PERIOD, PERIOD / 2 + 1] each.
    """
    from PIL import Image
    from scipy import ndimage

    result = []
    for scale in SCALES:
        most = _SEARCHED // scale
        top, left = (max(n - most, 0) // 2 for n in gray.shape)
        image = Image.fromarray(gray[top : top + most, left : left + most])
        if scale > 1:
            size = (image.width * scale, image.height * scale)
            image = image.resize(size, Image.Resampling.BICUBIC)
        detail = _detail(np.asarray(image, np.float32))
        detail = np.clip(detail / (_level(detail, 8.0) + 0.5), -2.5, 2.5)
        height, width = detail.shape
        detail = np.pad(detail, ((0, -height % PERIOD), (0, -width % PERIOD)))
        folded = detail.reshape(-1, PERIOD, detail.shape[1] // PERIOD, PERIOD).sum((0, 2))
        spectrum = np.fft.fft2(folded)
        power = ndimage.gaussian_filter(np.abs(spectrum) ** 2, 2.0, mode="wrap")
        result.append((spectrum / np.sqrt(power + 1e-9))[:, : PERIOD // 2 + 1])
    return result


def correlations(spectrum: np.ndarray, key: int) -> np.ndarray:
    """Correlation with a key's tile at every shift, in standard deviations.

    spectrum: one of `spectra`
    """
    product = spectrum * np.conj(np.fft.rfft2(tile(key)))
    shifts = np.fft.irfft2(product, (PERIOD, PERIOD))
    return shifts / max(float(shifts.std()), 1e-12)


@cache
def tile(key: int) -> np.ndarray:
    """The noise of a key, float32 [PERIOD, PERIOD], of deviation 1 and periodic."""
    noise = np.random.Generator(np.random.PCG64(key)).standard_normal((PERIOD, PERIOD))
    frequency = np.fft.fftfreq(PERIOD)
    radius = np.hypot(frequency[:, None], frequency)
    inside = (radius >= BAND[0]) & (radius <= BAND[1])
    filtered = np.fft.ifft2(np.fft.fft2(noise) * inside).real
    return (filtered / filtered.std()).astype(np.float32)


def _detail(gray: np.ndarray) -> np.ndarray:
    """The middle frequencies of an image, float32 [H, W]."""
    from scipy import ndimage

    return ndimage.gaussian_filter(gray, 1.0) - ndimage.gaussian_filter(gray, 3.0)


def _level(detail: np.ndarray, sigma: float) -> np.ndarray:
    """The local standard deviation of detail."""
    from scipy import ndimage

    return np.sqrt(ndimage.gaussian_filter(detail * detail, sigma))
