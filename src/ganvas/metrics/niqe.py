"""NIQE: how far an image's local statistics are from those of sharp photographs."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import gamma
from torch import Tensor

from ganvas.core.errors import UserError
from ganvas.core.files import sha256_of
from ganvas.media.resize import bicubic
from ganvas.metrics.features.base import WEIGHTS_VARIABLE
from ganvas.metrics.psnr_ssim import luma

FILE = "niqe_pris_params.npz"  # of XPixelGroup/BasicSR
BLOCK = 96  # side of the blocks at the full size, pixels
WINDOW, SIGMA = 7, 7 / 6  # of the Gaussian weights of local means, pixels
LEAST = 2 * BLOCK  # of an image's sides, pixels
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # neighbors: down and right, in pixels
SHARP = 0.75  # least sharpness of the blocks of pristine images, of an image's largest
SHAPES = np.arange(0.2, 10.001, 0.001)  # of generalized Gaussians that are tried
_RATIOS = gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))


class NIQE:
    """Natural image quality evaluator.

    Mittal, Soundararajan and Bovik, 2013, Making a "Completely Blind" Image Quality
    Analyzer, IEEE Signal Processing Letters 20(3), equation 10.

    The distance between two Gaussians over 36 statistics of blocks of 96 pixels: those
    of an image's blocks, and those of sharp blocks of pristine images. It needs no
    reference; smaller is better. An image is its luma (MATLAB's, rounded), cut to
    multiples of 96 pixels.

    mean, covariance: of the pristine blocks' statistics, [36] and [36, 36]
    name: says which
    """

    def __init__(self, mean: np.ndarray, covariance: np.ndarray, name: str) -> None:
        self.mean, self.covariance, self.name = mean, covariance, name

    def __call__(self, images: Tensor) -> Tensor:
        """Images [N, 3 or 1, H, W] in [-1, 1] -> distances [N], float64.

        Raises `UserError` for sides below 192 pixels, of which there are too few
        blocks.
        """
        return torch.tensor([self._distance(image) for image in images], dtype=torch.float64)

    def _distance(self, image: Tensor) -> float:
        blocks = statistics(image)[0]
        blocks = blocks[np.isfinite(blocks).all(1)]
        if len(blocks) < 2:
            raise UserError("NIQE cannot be measured of an image of a single color")
        difference = self.mean - blocks.mean(0)
        inverse = np.linalg.pinv((self.covariance + np.cov(blocks, rowvar=False)) / 2)
        return float(np.sqrt(difference @ inverse @ difference))


def niqe(source: str | Path | None = None) -> NIQE:
    """NIQE by BasicSR's file of its authors' parameters, or by pristine images.

    source: the file `niqe_pris_params.npz`, or its folder; None: the folder that the
        environment variable GANVAS_WEIGHTS names

    Raises `UserError` if there is no such file, or if it holds something else.
    """
    given = source or os.environ.get(WEIGHTS_VARIABLE)
    advice = (
        f"NIQE needs the statistics of pristine images: the file {FILE} of XPixelGroup/BasicSR, or "
        "a folder of sharp photographs without loss"
    )
    if not given:
        raise UserError(f"{advice}; say where it lies")
    path = Path(given) / FILE if Path(given).is_dir() else Path(given)
    if not path.is_file():
        raise UserError(f"{advice}; there is no {path}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mean = np.asarray(arrays["mu_pris_param"], np.float64).reshape(36)
            covariance = np.asarray(arrays["cov_pris_param"], np.float64).reshape(36, 36)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as e:
        text = (str(e) or type(e).__name__).splitlines()[0][:200]
        raise UserError(
            f"{path} does not hold NIQE's parameters ({text}): fetch it again"
        ) from None
    return NIQE(mean, covariance, f"niqe, {sha256_of(path)[:8]}")


def fitted(images: Iterable[Tensor], name: str) -> NIQE:
    """NIQE by pristine images (section II.D): figures compare for the same ones only.

    images: [3 or 1, H, W] in [-1, 1] each; the paper took 125 of natural scenes
    name: of the images

    Raises `UserError` for images with fewer than 37 sharp blocks in all.
    """
    kept = []
    for image in images:
        blocks, sharpness = statistics(image)
        blocks = blocks[(sharpness > SHARP * sharpness.max()) & np.isfinite(blocks).all(1)]
        kept.append(blocks)
    blocks = np.concatenate(kept) if kept else np.zeros((0, 36))
    if len(blocks) < 37:
        raise UserError(
            f"{name} has {len(blocks)} sharp blocks of {BLOCK}x{BLOCK} pixels; expected at least "
            "37, for 36 statistics: give more or larger photographs"
        )
    return NIQE(blocks.mean(0), np.cov(blocks, rowvar=False), f"niqe of {name}")


def statistics(image: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(statistics [blocks, 36], sharpness [blocks]) of an image [3 or 1, H, W].

    Raises `UserError` for sides below 192 pixels.
    """
    x = (image.detach().cpu().double()[None].clamp(-1, 1) + 1) / 2
    x = (255 * (luma(x) if x.shape[1] == 3 else x)).round()
    rows, columns = x.shape[2] // BLOCK, x.shape[3] // BLOCK
    if min(x.shape[2:]) < LEAST:
        raise UserError(
            f"NIQE needs sides of at least {LEAST} pixels; got {x.shape[2]}x{x.shape[3]} "
            "(height x width)"
        )
    x = x[..., : rows * BLOCK, : columns * BLOCK]
    found, sharpness = [], np.zeros(0)
    for side in (BLOCK, BLOCK // 2):
        normal, deviation = _normalized(x)
        blocks = _blocks(normal, side)
        found.append(np.stack([_block_statistics(block) for block in blocks]))
        if side == BLOCK:
            sharpness = _blocks(deviation, side).mean((1, 2))
        x = bicubic(x, 0.5)
    return np.concatenate(found, 1), sharpness


def _normalized(x: Tensor) -> tuple[Tensor, Tensor]:
    """((x - mean) / (deviation + 1), deviation), local ones (equations 1 to 3)."""
    at = torch.arange(WINDOW, dtype=x.dtype) - WINDOW // 2
    line = (-at.square() / (2 * SIGMA**2)).exp()
    line = line / line.sum()

    def blurred(x: Tensor) -> Tensor:
        x = F.pad(x, (WINDOW // 2,) * 4, mode="replicate")
        return F.conv2d(F.conv2d(x, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))

    mean = blurred(x)
    deviation = (blurred(x.square()) - mean.square()).abs().sqrt()
    return (x - mean) / (deviation + 1), deviation


def _blocks(x: Tensor, side: int) -> np.ndarray:
    """[1, 1, H, W] -> [blocks, side, side], column by column."""
    parts = x[0, 0].unfold(0, side, side).unfold(1, side, side).transpose(0, 1)
    return parts.reshape(-1, side, side).numpy()


def _block_statistics(block: np.ndarray) -> np.ndarray:
    """18 parameters: of the pixels, and of products of neighbors (section II.C)."""
    shape, left, right = _asymmetric_gaussian(block)
    found = [shape, (left + right) / 2]
    for shift in SHIFTS:
        shape, left, right = _asymmetric_gaussian(block * np.roll(block, shift, (0, 1)))
        mean = (right - left) * gamma(2 / shape) / gamma(1 / shape)
        found += [shape, mean, left, right]
    return np.array(found)


def _asymmetric_gaussian(values: np.ndarray) -> tuple[float, float, float]:
    """(shape, left scale, right scale) of an asymmetric generalized Gaussian.

    By moments (Lasmar, Stitou and Berthoumieu, 2009). NaN for constant values.
    """
    values = values.ravel()
    with np.errstate(invalid="ignore", divide="ignore"):
        below, above = values[values < 0], values[values > 0]
        left = np.sqrt(np.square(below).mean()) if len(below) else np.nan
        right = np.sqrt(np.square(above).mean()) if len(above) else np.nan
        ratio = left / right
        moments = np.abs(values).mean() ** 2 / np.square(values).mean()
        moments *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    if not np.isfinite(moments):
        return np.nan, np.nan, np.nan
    shape = float(SHAPES[np.argmin(np.square(_RATIOS - moments))])
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, float(left * scale), float(right * scale)
