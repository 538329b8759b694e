"""Mosaics: place of the blocks, their pixels, and detection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.core.errors import UserError
from ganvas.inference.masks import Masks
from ganvas.media import mosaic


@pytest.fixture
def image() -> np.ndarray:
    """Noise over a slope, 50 x 62, so that no side is a multiple of the blocks."""
    rng = np.random.default_rng(0)
    slope = np.linspace(40, 200, 62)[None, :, None] + np.linspace(0, 40, 50)[:, None, None]
    return (slope + rng.normal(0, 8, (50, 62, 3))).astype(np.uint8)


def test_the_strongest_region_is_one_part_and_holds_the_maximum() -> None:
    heat = torch.zeros(7, 7)
    heat[1:3, 1:3], heat[5, 5] = 0.9, 1.0
    part = mosaic.strongest(heat, (70, 140), 0.5)
    assert part[55, 110], "the maximum"
    assert not part[20, 40], "a part that does not hold it"
    assert (
        mosaic.strongest(heat, (70, 140), 0.5).sum() > mosaic.strongest(heat, (70, 140), 0.8).sum()
    )


def test_all_regions_and_the_strongest() -> None:
    heat = torch.zeros(7, 7)
    heat[1:3, 1:3], heat[5, 5] = 0.9, 1.0
    both = mosaic.regions(heat, (70, 140), 0.5)
    assert both[20, 40]
    assert both[55, 110]
    assert not both[0, 0]
    assert (both & mosaic.strongest(heat, (70, 140), 0.5)).sum() == mosaic.strongest(
        heat, (70, 140), 0.5
    ).sum()


def test_pixels_become_the_means_of_their_blocks_and_others_stay(image: np.ndarray) -> None:
    mask = np.zeros((50, 62), bool)
    mask[13, 20], mask[49, 61] = True, True
    hidden = mosaic.whole_blocks(mask, 8)
    assert hidden[8:16, 16:24].all()
    assert hidden[48:, 56:].all()
    assert hidden.sum() == 64 + 2 * 6, "blocks at the border are smaller"
    made = mosaic.pixelate(image, hidden, 8)
    assert np.array_equal(made[~hidden], image[~hidden])
    for block in (np.s_[8:16, 16:24], np.s_[48:, 56:]):
        assert np.array_equal(
            np.unique(made[block].reshape(-1, 3), axis=0)[0], np.rint(image[block].mean((0, 1)))
        )


@pytest.mark.parametrize("block", [4, 7, 12])
def test_a_mosaic_is_found_again(image: np.ndarray, block: int) -> None:
    mask = np.zeros((50, 62), bool)
    mask[13:40, 20:50] = True
    mask = mosaic.whole_blocks(mask, block)
    image[:, :6] = 0  # an even border is no mosaic
    found, side = mosaic.find(mosaic.pixelate(image, mask, block))
    assert side == block
    assert np.array_equal(found, mask)
    with pytest.raises(UserError, match="say where the mosaic is"):
        mosaic.find(image)


@pytest.mark.parametrize("quality", [5, 10, 20, 50])
def test_blocks_of_compression_are_no_mosaic(quality: int, tmp_path: Path) -> None:
    """Flat blocks of a strongly compressed JPEG are no mosaic; a mosaic in it is found.

    An even sky has such blocks of 8 pixels."""
    y, x = np.mgrid[0:160, 0:240]
    sky = np.stack([90 + y / 3, 140 + x / 9 + y / 5, 200 + x / 8], 2)
    sky += np.random.default_rng(0).normal(0, 1.5, (160, 240, 1))
    file = tmp_path / "sky.jpg"
    Image.fromarray(sky.clip(0, 255).astype(np.uint8)).save(file, quality=quality)
    with pytest.raises(UserError, match="no blocks of one color"):
        Masks(None).of(file, "sky")
    assert quality > 20 or mosaic.find(np.asarray(Image.open(file)))[0].any(), (
        "by their pixels alone they look like one"
    )

    rng, mask = np.random.default_rng(1), np.zeros((160, 240), bool)
    mask[48:112, 64:160] = True
    sky[mask] = rng.uniform(0, 255, (4, 6, 3)).repeat(16, 0).repeat(16, 1).reshape(-1, 3)
    Image.fromarray(sky.clip(0, 255).astype(np.uint8)).save(file, quality=quality, subsampling=0)
    found = Masks(None).of(file, "sky").mask
    assert found[mask].all()
    found[32:128, 48:176] = False  # even blocks beside it are taken for its own
    assert not found.any()


def test_smooth_enlargement_depends_on_the_blocks_only(image: np.ndarray) -> None:
    everywhere = np.ones((50, 62), bool)
    made = mosaic.pixelate(image, everywhere, 8)
    smooth = mosaic.smooth(made, everywhere, 8)
    truth = image.astype(float)
    assert np.abs(smooth - truth).mean() < np.abs(made - truth).mean(), (
        "a slope is nearer to it than steps"
    )
    nowhere = ~everywhere
    assert np.array_equal(mosaic.smooth(made, nowhere, 8), made)
