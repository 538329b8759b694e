"""Images and reductions of them as files: crops that lie at the same place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas import data
from ganvas.core.errors import UserError
from ganvas.data.real_degradation import RealDegradation


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def folders(root: Path, scale: int, *sizes: tuple[int, int]) -> str:
    """LOW,HIGH: each image is its reduction with pixels repeated."""
    rng = np.random.default_rng(0)
    for i, (height, width) in enumerate(sizes):
        small = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        save(root / "low" / f"{i}x{scale}.png", small)
        save(root / "high" / f"{i}.png", small.repeat(scale, 0).repeat(scale, 1))
    return f"{root / 'low'},{root / 'high'}"


@pytest.mark.parametrize("scale", [1, 3, 4])
def test_crops_of_both_lie_at_the_same_place(tmp_path: Path, scale: int) -> None:
    """Mirrored or not, with gray reductions beside color ones, in training and test."""
    source = folders(tmp_path, scale, (20, 30), (24, 17), (9, 40))
    feed = data.super_resolution(source, size=12 * scale, scale=scale)
    assert feed.scale == scale
    assert any("2.png" in s for s in feed.info.skipped), "too small for a crop and its margin"
    places = set()
    for batch in [feed.draw(0, 64, seed=0), feed.fixed(3), *feed.batches(4)]:
        assert batch.a.shape[-2:] == (12, 12)
        assert batch.b.shape[-2:] == (12 * scale, 12 * scale)
        assert torch.equal(batch.b[..., ::scale, ::scale], batch.a)
        assert torch.equal(batch.x, batch.a)
        places |= {float(image.sum()) for image in batch.a}
    assert len(places) > 40, "crops lie anywhere, not only at the tiles' corners"
    test = data.super_resolution(source, size=12 * scale, scale=scale, part="test", flip=False)
    batch = next(test.batches(4))
    assert torch.equal(batch.b[..., ::scale, ::scale], batch.a)


def test_data_check_suggests_super_resolution(tmp_path: Path) -> None:
    source = folders(tmp_path, 4, (40, 40), (40, 50))
    report = data.check(source)
    assert report.scale == 4
    assert any("compact" in c and "--set G.scale=4" in c for c in report.fits)


def test_what_does_not_fit_is_named_in_one_line(tmp_path: Path) -> None:
    source = folders(tmp_path, 2, (30, 30), (30, 40))
    for scale, message in ((4, "all are 2 times as large: --set data.scale=2"), (2, "")):
        if message:
            with pytest.raises(UserError, match=message):
                data.super_resolution(source, size=24, scale=scale)
        else:
            data.super_resolution(source, size=24, scale=scale)
    save(tmp_path / "high" / "1.png", np.zeros((61, 80, 3), np.uint8))
    with pytest.raises(UserError, match=r"1x2.png 40x30 and 1.png 80x61") as error:
        data.super_resolution(source, size=24, scale=2)
    assert "\n" not in str(error.value)
    (tmp_path / "high" / "1.png").unlink()
    with pytest.raises(UserError, match="no partner of the same name"):
        data.super_resolution(source, size=24, scale=2)
    (tmp_path / "low" / "1x2.png").unlink()
    with pytest.raises(UserError, match="degrade makes others"):
        data.super_resolution(source, size=24, scale=2, degrade=RealDegradation())
    turned = ",".join(reversed(source.split(",")))
    with pytest.raises(UserError, match="must be exactly 2 times as large"):
        data.super_resolution(turned, size=24, scale=2)
