"""DISTS against torchmetrics over the same layers; NIQE against scipy and closed forms."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torchmetrics.functional.image import dists as theirs

from ganvas.core.errors import UserError
from ganvas.evaluation.paired import _blind, _opened, compare, lines
from ganvas.metrics import niqe
from ganvas.metrics.dists import DISTS, dists
from ganvas.metrics.lpips import vgg16
from ganvas.metrics.psnr_ssim import luma


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Noise with a spectrum that falls like that of photographs, [1, 3, H, W]."""
    rng = np.random.default_rng(seed)
    down, across = np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij")
    falling = 1 / np.maximum(np.hypot(down, across), 1 / height)
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(3, height, width))) * falling)
    noise = noise[..., :width] / np.abs(noise).max()
    return torch.from_numpy(np.round((noise + 1) * 127.5) / 127.5 - 1)[None].float()


def test_dists_is_torchmetrics_over_the_same_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the authors' weights of structure and texture, which it has."""
    features = vgg16()
    monkeypatch.setattr(theirs, "_TORCHVISION_AVAILABLE", True)
    usual = torch.nn.Sequential(*features, torch.nn.MaxPool2d(2))
    fake = SimpleNamespace(features=usual)
    monkeypatch.setattr(theirs, "vgg16", lambda weights: fake, raising=False)
    monkeypatch.setattr(theirs, "VGG16_Weights", SimpleNamespace(DEFAULT=None), raising=False)
    oracle = theirs.DISTSNetwork()
    mine = DISTS(features, oracle.alpha.data, oracle.beta.data)
    a, b = picture(48, 40), picture(48, 40, seed=1)
    b = 0.7 * a + 0.3 * b
    with torch.no_grad():
        expected = oracle((a + 1) / 2, (b + 1) / 2)
    assert float(expected) > 0.001
    assert float(mine(a, b)) == pytest.approx(float(expected), rel=1e-4)
    assert float(mine(a, a)) == pytest.approx(0, abs=1e-9)
    assert float(mine(b, a)) == pytest.approx(float(mine(a, b)), rel=1e-6)
    gray = mine(a[:, :1], b[:, :1])
    torch.testing.assert_close(
        gray, mine(a[:, :1].expand(-1, 3, -1, -1), b[:, :1].expand(-1, 3, -1, -1))
    )
    for bad, message in ((a[..., :15], "at least 16 pixels"), (a.fill_(torch.nan), "NaN")):
        with pytest.raises(UserError, match=message):
            mine(bad, bad)


def test_dists_names_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANVAS_WEIGHTS", raising=False)
    with pytest.raises(UserError, match=r"dists_weights\.pt and vgg16-397923af\.pth"):
        dists()
    with pytest.raises(UserError, match="not found in"):
        dists(tmp_path)
    (tmp_path / "weights.pt").write_bytes(b"others")
    with pytest.raises(UserError, match="is not the file that dists stands for"):
        dists(tmp_path)


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0, 4.0])
def test_asymmetric_gaussians_are_recovered(shape: float) -> None:
    """Samples by the gamma distribution: |x / scale|^shape ~ Gamma(1 / shape)."""
    rng = np.random.default_rng(0)
    left, right, n = 0.5, 1.5, 400_000
    sizes = rng.gamma(1 / shape, size=n) ** (1 / shape)
    below = rng.random(n) < left / (left + right)
    values = np.where(below, -left, right) * sizes
    found = niqe._asymmetric_gaussian(values)
    assert found == pytest.approx((shape, left, right), rel=0.02)


def test_niqe_is_its_definition() -> None:
    """Local means by scipy's correlation, blocks by slicing; distance by a solve."""
    image = picture(200, 300)
    blocks, _ = niqe.statistics(image[0])
    assert blocks.shape == (2 * 3, 36)
    x = (255 * luma((image.double() + 1) / 2)).round()[0, 0].numpy()[:192, :288]
    at = np.arange(7) - 3
    window = np.exp(-(at[:, None] ** 2 + at**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    mean = ndimage.correlate(x, window, mode="nearest")
    deviation = np.sqrt(np.abs(ndimage.correlate(x * x, window, mode="nearest") - mean**2))
    normal = (x - mean) / (deviation + 1)
    block = normal[96:192, 96:192]  # column by column: the fourth
    assert blocks[3, 0] == pytest.approx(niqe._asymmetric_gaussian(block)[0])
    down = np.concatenate([block[-1:], block[:-1]]) * block
    shape, left, right = niqe._asymmetric_gaussian(down)
    assert blocks[3, 6:10][[0, 2, 3]] == pytest.approx([shape, left, right])

    rng = np.random.default_rng(1)
    mean36, root = rng.normal(size=36), rng.normal(size=(36, 36))
    covariance = root @ root.T
    measure = niqe.NIQE(mean36, covariance, "x")
    difference = mean36 - blocks.mean(0)
    pooled = (covariance + np.cov(blocks.T)) / 2
    expected = np.sqrt(difference @ np.linalg.solve(pooled, difference))
    assert float(measure(image)) == pytest.approx(expected, rel=1e-6)


def test_niqe_is_the_published_value_of_a_photograph() -> None:
    """BasicSR states 5.7296 for its baboon.png; bench/results has the record of ours."""
    folder = Path(os.environ.get("GANVAS_WEIGHTS", "none"))
    if not all((folder / name).is_file() for name in (niqe.FILE, "baboon.png")):
        pytest.skip(f"the folder of GANVAS_WEIGHTS has no {niqe.FILE} and baboon.png of BasicSR")
    image, _ = _opened(folder / "baboon.png")
    assert float(niqe.niqe(folder)(2 * image - 1)) == pytest.approx(5.7296, abs=5e-5)


def test_niqe_by_pristine_images_and_on_the_command_line(tmp_path: Path) -> None:
    """Blur and noise are farther from pristine images than another of their kind."""
    for folder, first in (("pristine", 0), ("a", 10)):
        (tmp_path / folder).mkdir()
        for seed in range(first, first + 4 if folder == "pristine" else first + 1):
            pixels = ((picture(384, 480, seed)[0].permute(1, 2, 0) + 1) * 127.5).round()
            Image.fromarray(pixels.numpy().astype(np.uint8)).save(tmp_path / folder / f"{seed}.png")
    clean = picture(384, 480, 10)
    noisy = clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(clean, 5, 1, 2, count_include_pad=False)
    measure = _blind(tmp_path / "pristine")
    assert measure.name == "niqe of pristine"
    clean_, noisy_, blurred_ = measure(torch.cat([clean, noisy, blurred])).tolist()
    assert clean_ < min(noisy_, blurred_) / 2
    file = tmp_path / niqe.FILE
    np.savez(file, mu_pris_param=measure.mean[None], cov_pris_param=measure.covariance)
    record = compare(tmp_path / "a", tmp_path / "a", niqe=file)
    assert record["niqe"]["mean"] == pytest.approx(clean_, rel=5e-3), "luma rounds float32"
    assert any(line.startswith("niqe ") for line in lines(record))
    assert niqe.niqe(tmp_path).covariance == pytest.approx(measure.covariance)
    file.write_bytes(b"no archive")
    with pytest.raises(UserError, match="does not hold NIQE's parameters"):
        niqe.niqe(file)
    with pytest.raises(UserError, match="at least 192 pixels"):
        measure(clean[..., :191])
    with pytest.raises(UserError, match="0 sharp blocks"):
        niqe.fitted([], "nothing")
