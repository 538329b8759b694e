"""Equivariance of generators that are known functions of their places."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import toy_run

from ganvas.core import Shape
from ganvas.core.errors import UserError
from ganvas.metrics.equivariance import equivariance

SIDE = 48
STYLES = [torch.rand(2, 3, dtype=torch.float64) for _ in range(2)]


def places(transform: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """x and y [S, S] of the untransformed image, in sides from the center."""
    centers = (torch.arange(side, dtype=torch.float64) + 0.5) / side - 0.5
    y, x = torch.meshgrid(centers, centers, indexing="ij")
    moved = torch.stack([x, y, torch.ones_like(x)], -1) @ transform.double().T
    return moved[..., 0], moved[..., 1]


def waves(w: Tensor, transform: Tensor, follow: bool = True, side: int = SIDE) -> Tensor:
    """Two crossing waves of 5 and 3 periods a side, with phases w."""
    x, y = places(transform if follow else torch.eye(3), side)
    first = torch.sin(2 * math.pi * (5 * x + w[:, 0, None, None]))
    second = torch.sin(2 * math.pi * (3 * y + x + w[:, 1, None, None]))
    return (first + second)[:, None] / 2


def test_a_function_of_its_places_is_equivariant() -> None:
    """Shifts exactly, turns up to the filter's 60 dB; seeds draw other transforms."""
    found = equivariance(waves, STYLES, seed=1)
    assert found.images == 4
    assert found.translation > 120
    assert found.rotation > 60


def test_what_sticks_to_pixels_has_the_error_of_its_shift() -> None:
    """sin(a + d) - sin(a) has the mean square 1 - cos d, for d = 2 pi shift / period."""
    stuck = partial(waves, follow=False)
    shifts: list[float] = []

    def watched(w: Tensor, transform: Tensor) -> Tensor:
        if float(transform[0, 2]) or float(transform[1, 2]):
            x, y = float(transform[0, 2]), float(transform[1, 2])
            d = [2 * math.pi * 5 * x, 2 * math.pi * (3 * y + x)]
            shifts.append(sum(1 - math.cos(one) for one in d) / 4)
        return stuck(w, transform)

    found = equivariance(watched, STYLES, seed=1)
    wanted = 10 * math.log10(4 / (sum(shifts) / len(shifts)))
    assert found.translation == pytest.approx(wanted, abs=0.5)  # the overlap cuts periods
    assert found.rotation < 15


def test_the_transform_of_stylegan3_is_that_of_the_measure() -> None:
    """An untrained generator: nearly exact shifts, and turns if it is radial."""
    torch.manual_seed(0)
    settings = ["G.depth=6", "G.latent=8", "G.style=8", "D.widths=[4,4,4,4]"]
    run = toy_run("stylegan3", Path("unused"), *settings, "G.radial=true")
    method: Any = run.method(Shape(1, 32, 32)).eval()
    w = method.styles(torch.randn(2, 8))
    method.G.synthesis(w, decay=0.0)  # magnitudes of these images
    before = method.synthesize(w).detach()
    found = equivariance(method.moved, [w], seed=3)
    assert torch.equal(method.synthesize(w), before), "the input is as it was"
    peak = 20 * math.log10(2 / float(before.max() - before.min()))  # no training has set it
    assert found.translation - peak > 50
    assert found.rotation - peak > 40


def test_images_must_be_squares_that_the_filter_fits_into() -> None:
    render: Callable[..., Tensor] = partial(waves, side=16)
    with pytest.raises(UserError, match="at least 32 pixels a side; got 16x16"):
        equivariance(render, STYLES)
    with pytest.raises(UserError, match="at least one image"):
        equivariance(waves, [])
