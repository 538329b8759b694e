"""Paired measures and MATLAB's resizing: reference outputs and a published figure."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ganvas.core.errors import UserError
from ganvas.media.resize import bicubic
from ganvas.metrics.psnr_ssim import PROTOCOLS, luma, ms_ssim, psnr, ssim

SET5 = ("baby", "bird", "butterfly", "head", "woman")


@pytest.fixture(scope="module")
def golden(shared: Path) -> tuple[dict[str, torch.Tensor], dict]:
    path = shared / "golden" / "metrics" / "images_psnr_ssim_bicubic"
    return load_file(path.with_suffix(".safetensors")), json.loads(
        path.with_suffix(".json").read_text()
    )


def pictures(*stems: str, folder: Path) -> list[torch.Tensor]:
    """uint8 [1, 3, H, W]"""
    return [
        torch.from_numpy(np.array(Image.open(folder / f"{s}.png").convert("RGB"))).permute(2, 0, 1)[
            None
        ]
        for s in stems
    ]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def modcrop(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Crop x [N, C, H, W] at the end to multiples, as super-resolution papers do."""
    height, width = (side - side % multiple for side in x.shape[-2:])
    return x[..., :height, :width]


@pytest.mark.parametrize(
    ("protocol", "key"), [("rgb", "rgb_crop0"), ("rgb-crop4", "rgb_crop4"), ("y-crop4", "y_crop4")]
)
def test_golden_figures(golden, protocol: str, key: str) -> None:
    tensors, meta = golden
    a, b = (tensors[k].permute(2, 0, 1)[None] / 255 for k in ("image1", "image2"))
    assert float(psnr(a, b, protocol)) == pytest.approx(
        meta["results"][key]["psnr"], abs=meta["tolerance"]["psnr"]
    )
    assert float(ssim(a, b, protocol)) == pytest.approx(
        meta["results"][key]["ssim"], abs=meta["tolerance"]["ssim"]
    )
    both = psnr(torch.cat([a, b]), torch.cat([b, b]), protocol)
    assert both[0] == psnr(a, b, protocol)[0]
    assert both[1] == math.inf


def test_golden_luma(golden) -> None:
    a = golden[0]["image1"].permute(2, 0, 1)[None].double() / 255
    torch.testing.assert_close(
        luma(a)[0, 0] * 255, golden[0]["image1_y"].double(), atol=1e-4, rtol=0
    )
    assert (luma(torch.ones(1, 3, 1, 1)) * 255).item() == pytest.approx(235)
    assert (luma(torch.zeros(1, 3, 1, 1)) * 255).item() == pytest.approx(16)


@pytest.mark.parametrize(("key", "scale"), [("down4", 1 / 4), ("down2", 1 / 2), ("up2", 2)])
def test_golden_bicubic(golden, key: str, scale: float) -> None:
    tensors, meta = golden
    got = bicubic(tensors["image1"].permute(2, 0, 1)[None].double() / 255, scale)
    want = tensors[f"bicubic_{key}_float"].permute(2, 0, 1)[None].double()
    assert (got - want).abs().max() <= meta["tolerance"]["bicubic_float"]
    rounded = (got.clamp(0, 1) * 255).round()
    off = (rounded - tensors[f"bicubic_{key}_uint8"].permute(2, 0, 1)[None].double()).abs()
    assert off.max() <= 1
    tie = ((want * 255) % 1 - 0.5).abs() < 1e-3
    assert not bool((off > 0)[~tie].any())  # exact, and ties go either way
    assert torch.equal(bicubic(got, size=want.shape[-2:]), got)  # type: ignore[arg-type]


def test_set5_reductions_are_matlabs_bit_by_bit(shared: Path) -> None:
    """0 of 106,398 values differ, with that MATLAB version's border and rounding.

    Today's border changes only the outer two rows and columns; without the rounding
    between the two axes 11% differ, by at most 2."""
    different = total = rounded_once = 0
    for original, want in zip(
        pictures(*SET5, folder=shared / "data" / "set5"),
        pictures(*SET5, folder=shared / "data" / "set5_lr_x4"),
    ):
        x = modcrop(original, 4)
        got = bicubic(x, 1 / 4, border="replicate")
        different, total = different + int((got != want).sum()), total + want.numel()
        mirrored = bicubic(x, scale=1 / 4)
        assert torch.equal(mirrored[..., 2:-2, 2:-2], want[..., 2:-2, 2:-2])
        once = (bicubic(x.double() / 255, 1 / 4, border="replicate") * 255).round().clamp(0, 255)
        assert (once - want).abs().max() <= 2
        rounded_once += int((once != want).sum())
    assert (different, total) == (0, 106_398)
    assert 0.05 < rounded_once / total < 0.15


def test_bicubic_x4_on_set5_is_28_43_db(shared: Path) -> None:
    """The figure of super-resolution papers, e.g. SRGAN, arXiv:1609.04802, table 2."""
    values = []
    for original, low in zip(
        pictures(*SET5, folder=shared / "data" / "set5"),
        pictures(*SET5, folder=shared / "data" / "set5_lr_x4"),
    ):
        x = modcrop(original, 4) / 255
        enlarged = bicubic(low, 4) / 255
        values.append(float(psnr(enlarged, x, protocol="y-crop4")))
        reduced = bicubic(x, scale=1 / 4).clamp(
            0, 1
        )  # ours instead of MATLAB's, in floats throughout
        assert float(psnr(bicubic(reduced, scale=4), x)) == pytest.approx(values[-1], abs=0.05)
    assert np.mean(values) == pytest.approx(28.43, abs=0.02)


def test_bicubic_keeps_ramps_and_flat_images() -> None:
    ramp = torch.arange(32.0, dtype=torch.float64).expand(1, 1, 8, 32) / 32
    up = bicubic(ramp, 2)
    expected = (torch.arange(64, dtype=torch.float64) + 0.5) / 2 / 32 - 0.5 / 32
    torch.testing.assert_close(
        up[0, 0, 8, 6:-6], expected[6:-6]
    )  # a cubic kernel keeps straight lines
    flat = torch.full((2, 3, 9, 7), 0.3)
    torch.testing.assert_close(bicubic(flat, 1 / 3), torch.full((2, 3, 3, 3), 0.3))
    assert bicubic(flat, size=(5, 20)).shape == (2, 3, 5, 20)
    assert bicubic(torch.zeros(1, 1, 99, 50), 1 / 3).shape[-2:] == (33, 17)
    # Rows and columns are alike.
    x = noise(1, 1, 12, 20)
    torch.testing.assert_close(bicubic(x, 0.5).mT, bicubic(x.mT, 0.5))
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda t: bicubic(t, size=(3, 4)), x)


def test_psnr_closed_form() -> None:
    a, b = torch.full((2, 1, 20, 20), 0.5), torch.full((2, 1, 20, 20), 0.6)
    torch.testing.assert_close(
        psnr(a, b, "rgb"), torch.full((2,), 20.0, dtype=torch.float64), atol=1e-4, rtol=0
    )
    b[:, :, :4] = 0  # the border that is shaved
    assert float(psnr(a, b)[0]) == pytest.approx(20, abs=1e-4)
    assert float(psnr(a, b, "rgb")[0]) < 15
    # On luma, a step of all three channels counts 219/255 of itself.
    a, b = torch.full((1, 3, 20, 20), 0.5), torch.full((1, 3, 20, 20), 0.6)
    assert float(psnr(a, b)) == pytest.approx(20 - 20 * math.log10(219 / 255), abs=1e-4)


def test_ssim_properties() -> None:
    a = noise(1, 3, 40, 40)
    assert float(ssim(a, a)) == pytest.approx(1)
    b = a + 0.1 * torch.randn(a.shape, generator=torch.Generator().manual_seed(1), dtype=a.dtype)
    assert float(ssim(a, b)) == pytest.approx(float(ssim(b, a)))
    assert float(ssim(a, 0.5 * (a + b.clamp(0, 1)))) > float(ssim(a, b))
    # Flat images have no structure: only luminance remains, (2 u v + C1) / (u^2 + v^2 + C1).
    u, v = torch.full((1, 1, 20, 20), 0.4), torch.full((1, 1, 20, 20), 0.8)
    assert float(ssim(u, v)) == pytest.approx((2 * 0.32 + 1e-4) / (0.16 + 0.64 + 1e-4), rel=1e-6)


def test_agrees_with_torchmetrics() -> None:
    """That one also averages SSIM over mirrored borders; the paper's code does not."""
    try:
        from torchmetrics.functional.image import structural_similarity_index_measure as theirs
    except Exception as e:  # a broken neighbor of torchmetrics breaks its import with any error
        pytest.skip(f"torchmetrics does not import: {e}")
    options: dict = {"data_range": 1.0, "reduction": "none"}
    a = torch.nn.functional.interpolate(noise(2, 3, 30, 34), (200, 184), mode="bicubic").clamp(0, 1)
    b = (a + 0.1 * noise(2, 3, 200, 184, seed=1)).clamp(0, 1)
    expected, x, y = torch.ones(2, dtype=torch.float64), a, b
    for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        whole = theirs(x, y, return_full_image=True, **options)[1][..., 5:-5, 5:-5].mean((1, 2, 3))
        structure = theirs(x, y, return_contrast_sensitivity=True, **options)[1]
        torch.testing.assert_close(ssim(x, y, "rgb"), whole, atol=1e-9, rtol=0)
        expected *= (whole if scale == 4 else structure) ** exponent
        x, y = torch.nn.functional.avg_pool2d(x, 2), torch.nn.functional.avg_pool2d(y, 2)
    torch.testing.assert_close(ms_ssim(a, b, "rgb"), expected, atol=1e-9, rtol=0)
    assert float(ms_ssim(a, a)[0]) == pytest.approx(1)


def test_mistakes() -> None:
    a = noise(1, 3, 40, 40)
    with pytest.raises(UserError, match="Did you mean 'y-crop"):
        psnr(a, a, protocol="y-crop")
    with pytest.raises(UserError, match="one shape"):
        psnr(a, a[..., 1:])
    with pytest.raises(UserError, match="one shape"):
        ssim(a, a[:, :1])
    with pytest.raises(UserError, match="NaN"):
        psnr(a, torch.full_like(a, math.nan))
    with pytest.raises(UserError, match="x / 255"):
        psnr(a * 255, a)
    with pytest.raises(UserError, match=r"x \+ 1"):
        psnr(a * 2 - 1, a)
    with pytest.raises(UserError, match="at least 19 pixels"):
        ssim(a[..., :18], a[..., :18])
    with pytest.raises(UserError, match="at least 176 pixels"):
        ms_ssim(a, a, "rgb")
    for mistake in (
        {},
        {"scale": 2, "size": (3, 3)},
        {"scale": 0},
        {"size": (0, 3)},
        {"scale": 2, "border": "wrap"},
    ):
        with pytest.raises(UserError):
            bicubic(a, **mistake)  # type: ignore[arg-type]
    with pytest.raises(UserError):
        bicubic(torch.zeros(1, 1, 3, 3, dtype=torch.int64), 2)


def test_names_of_the_protocols() -> None:
    assert {n: (p.channels, p.shave) for n, p in PROTOCOLS.items()} == {
        "rgb": ("rgb", 0),
        "rgb-crop4": ("rgb", 4),
        **{f"y-crop{n}": ("y", n) for n in (2, 3, 4, 8)},
        "all": ("all", 0),
        **{f"all-crop{n}": ("all", n) for n in (2, 3, 4, 8)},
    }


def test_inside_a_mask() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 3, 30, 40, generator=g), torch.rand(2, 3, 30, 40, generator=g)
    mask = torch.zeros(2, 1, 30, 40, dtype=torch.bool)
    mask[..., 8:20, 5:33] = True
    part = a[..., 8:20, 5:33], b[..., 8:20, 5:33]
    torch.testing.assert_close(psnr(a, b, "rgb", mask), psnr(*part, "rgb"))
    torch.testing.assert_close(ssim(a, b, "rgb", torch.ones_like(mask)), ssim(a, b, "rgb"))
    windows = torch.zeros_like(mask)  # those of the middles of rows 13 and 14 lie in rows 8 to 19
    windows[..., 13:15, 10:28] = True
    torch.testing.assert_close(ssim(a, b, "rgb", windows), ssim(*part, "rgb"))
    with pytest.raises(UserError, match="marks nothing farther than 4 pixels"):
        psnr(a, b, "y-crop4", torch.zeros_like(mask).index_fill(3, torch.tensor([0, 1]), True))
    with pytest.raises(UserError, match="masks for images"):
        psnr(a, b, "rgb", mask[:1])
