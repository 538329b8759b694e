"""L*a*b* against known colors, and colorization, which leaves light as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.core.errors import UserError
from ganvas.data.degradations import edges
from ganvas.media.color import gray, gray_luma, in_gamut, luma, to_lab, to_rgb, within_range
from ganvas.nets.colorization import Colouring
from ganvas.nets.image_to_image import UNetGenerator


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_known_colors() -> None:
    """sRGB's primaries under D65, as color tables have them."""
    colours = {
        (1, 1, 1): (100, 0, 0),
        (1, 0, 0): (53.24, 80.09, 67.20),
        (0, 1, 0): (87.73, -86.18, 83.18),
        (0, 0, 1): (32.30, 79.19, -107.86),
        (0, 0, 0): (0, 0, 0),
        (0.5, 0.5, 0.5): (53.39, 0, 0),
    }
    x = torch.tensor(list(colours)).float().T[None, :, None] * 2 - 1
    torch.testing.assert_close(
        to_lab(x)[0, :, 0].T, torch.tensor(list(colours.values())).float(), atol=0.03, rtol=0
    )


def test_there_and_back_with_gradients() -> None:
    x = (torch.rand(2, 3, 5, 7, generator=seeded()) * 2 - 1).requires_grad_()
    back = to_rgb(to_lab(x))
    torch.testing.assert_close(back, x, atol=1e-4, rtol=0)
    (gradient,) = torch.autograd.grad(back.square().sum(), x, create_graph=True)
    torch.testing.assert_close(gradient, 2 * x, atol=1e-3, rtol=0)
    (again,) = torch.autograd.grad(gradient.sum(), x)
    assert torch.isfinite(again).all()
    flat = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2).clone().requires_grad_()
    assert torch.isfinite(torch.autograd.grad(to_rgb(to_lab(flat)).sum(), flat)[0]).all(), (
        "black and white"
    )


def test_colorization_keeps_the_lightness_and_ignores_the_colors() -> None:
    net = Colouring(net=lambda **c: UNetGenerator(**c, width=4, depth=3, norm="instance"))
    x = torch.rand(2, 3, 16, 24, generator=seeded()) * 1.6 - 0.8
    made = net(x)
    torch.testing.assert_close(to_lab(made)[:, 0], to_lab(x)[:, 0], atol=1e-2, rtol=0)
    torch.testing.assert_close(net(gray(x)), made, atol=1e-3, rtol=0)
    assert (to_lab(made)[:, 1:].abs() > 1).any()
    with pytest.raises(UserError, match="3 channels"):
        Colouring(channels_in=1, channels_out=1)


def test_chroma_is_reduced_to_srgb_and_lightness_stays() -> None:
    g = seeded()
    lab = torch.cat(
        [
            torch.rand(2, 1, 40, 40, generator=g) * 100,
            torch.rand(2, 2, 40, 40, generator=g) * 220 - 110,
        ],
        1,
    )
    lab[:, 0, 0, :2] = torch.tensor([0.0, 100.0])
    clipped, made = to_rgb(lab).clamp(-1, 1), to_rgb(in_gamut(lab))
    assert (to_lab(clipped) - lab)[:, 0].abs().max() > 5, "what clipping does"
    assert made.abs().max() < 1 + 1e-3
    torch.testing.assert_close(to_lab(made.clamp(-1, 1))[:, 0], lab[:, 0], atol=0.05, rtol=0)
    a, b = in_gamut(lab)[:, 1:].unbind(1)
    torch.testing.assert_close(a * lab[:, 2], b * lab[:, 1], atol=1e-2, rtol=1e-5)  # the hue
    edge = in_gamut(lab)
    edge[:, 1:] *= 1.002
    beyond = (to_rgb(lab).abs() > 1.001).any(1)
    assert beyond.any()
    assert ((to_rgb(edge).abs() > 1).any(1) | (edge[:, 1:].abs().amax(1) < 1))[
        beyond
    ].double().mean() > 0.95, "no more than that"


def test_colors_that_srgb_has_stay_and_others_have_gradients() -> None:
    lab = to_lab(torch.rand(2, 3, 9, 9, generator=seeded()) * 2 - 1)
    assert torch.equal(in_gamut(lab), lab)
    far = torch.tensor([60.0, 100.0, -100.0]).view(1, 3, 1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(to_rgb(in_gamut(far)).square().sum(), far)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().min() > 0


def test_colorization_keeps_the_lightness_for_any_output() -> None:
    """Seen after the 8 bits of a saved image."""
    net = Colouring(net=lambda **c: UNetGenerator(**c, width=4, depth=3, norm="instance"))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(30)
    x = torch.rand(2, 3, 16, 24, generator=seeded()) * 2 - 1
    made = net(x)
    assert (to_lab(made)[:, 1:].abs() > 20).any()
    saved = ((made.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    assert (to_lab(saved) - to_lab(x))[:, 0].abs().max() < 0.5


def test_edges_are_dark_lines_on_white() -> None:
    x = torch.full((1, 3, 20, 20), 0.6)
    x[..., 10:] = -0.5
    drawn = edges(x)
    assert drawn.shape == x.shape
    assert drawn[..., :7].min() > 0.95
    assert drawn[..., 14:].min() > 0.95
    assert drawn[..., 9:12].min() < 0


# ---------------------------------------------------------------- luma


def test_luma_is_that_of_gray_files() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    stored = np.asarray(Image.fromarray(pixels).convert("L"))
    found = (luma(x)[0, 0] + 1) * 127.5
    assert (found - torch.from_numpy(stored.copy())).abs().max() < 0.51
    gray_image = gray_luma(x)
    torch.testing.assert_close(luma(gray_image), luma(x))
    assert (gray_image[:, 0] == gray_image[:, 2]).all()


def test_chroma_is_reduced_to_the_range_and_luma_stays() -> None:
    y = torch.rand(2, 1, 9, 9, generator=seeded()) * 2 - 1
    y[0, 0, 0, :2] = torch.tensor([-1.0, 1.0])
    wanted = torch.randn(2, 3, 9, 9, generator=seeded())
    wanted = (y + wanted - luma(wanted)).requires_grad_()
    made = within_range(wanted)
    torch.testing.assert_close(luma(made), y, atol=1e-6, rtol=0)
    assert made.abs().max() <= 1 + 1e-6
    inside = wanted.abs().amax(1, keepdim=True) <= 1
    assert 0.1 < inside.double().mean() < 0.9
    torch.testing.assert_close(
        made[inside.expand_as(made)], wanted[inside.expand_as(made)], atol=1e-6, rtol=0
    )
    assert (made.abs().amax(1, keepdim=True)[~inside] > 0.999).all(), "no more than that"
    (gradient,) = torch.autograd.grad(made.square().sum(), wanted)
    assert torch.isfinite(gradient).all()
    assert (gradient.abs().sum(1, keepdim=True)[~inside] > 0).double().mean() > 0.9
