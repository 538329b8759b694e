"""L*a*b* against known colours, and colouring, which leaves light as it is."""

from __future__ import annotations

import pytest
import torch

from ganvas.colour import gray, to_lab, to_rgb
from ganvas.data.derived import edges
from ganvas.errors import UserError
from ganvas.nets.colouring import Colouring
from ganvas.nets.translate import UNetGenerator


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_known_colours() -> None:
    """sRGB's primaries under D65, as colour tables have them."""
    colours = {(1, 1, 1): (100, 0, 0), (1, 0, 0): (53.24, 80.09, 67.20), (0, 1, 0): (87.73, -86.18, 83.18),
               (0, 0, 1): (32.30, 79.19, -107.86), (0, 0, 0): (0, 0, 0), (0.5, 0.5, 0.5): (53.39, 0, 0)}  # fmt: skip
    x = torch.tensor(list(colours)).float().T[None, :, None] * 2 - 1
    torch.testing.assert_close(to_lab(x)[0, :, 0].T, torch.tensor(list(colours.values())).float(), atol=0.03, rtol=0)


def test_there_and_back_with_gradients() -> None:
    x = (torch.rand(2, 3, 5, 7, generator=seeded()) * 2 - 1).requires_grad_()
    back = to_rgb(to_lab(x))
    torch.testing.assert_close(back, x, atol=1e-4, rtol=0)
    (gradient,) = torch.autograd.grad(back.square().sum(), x, create_graph=True)
    torch.testing.assert_close(gradient, 2 * x, atol=1e-3, rtol=0)
    (again,) = torch.autograd.grad(gradient.sum(), x)
    assert torch.isfinite(again).all()
    flat = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2).clone().requires_grad_()
    assert torch.isfinite(torch.autograd.grad(to_rgb(to_lab(flat)).sum(), flat)[0]).all(), "black and white"


def test_colouring_keeps_the_light_and_does_not_see_the_colours() -> None:
    net = Colouring(net=lambda **c: UNetGenerator(**c, width=4, depth=3, norm="instance"))
    x = torch.rand(2, 3, 16, 24, generator=seeded()) * 1.6 - 0.8
    made = net(x)
    torch.testing.assert_close(to_lab(made)[:, 0], to_lab(x)[:, 0], atol=1e-2, rtol=0)
    torch.testing.assert_close(net(gray(x)), made, atol=1e-3, rtol=0)
    assert (to_lab(made)[:, 1:].abs() > 1).any()
    with pytest.raises(UserError, match="3 channels"):
        Colouring(channels_in=1, channels_out=1)


def test_edges_are_dark_lines_on_white() -> None:
    x = torch.full((1, 3, 20, 20), 0.6)
    x[..., 10:] = -0.5
    drawn = edges(x)
    assert drawn.shape == x.shape
    assert drawn[..., :7].min() > 0.95
    assert drawn[..., 14:].min() > 0.95
    assert drawn[..., 9:12].min() < 0
