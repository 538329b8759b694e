"""Differentiable augmentation: what each change does, and that penalties pass through it."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from ganvas.nets import dcgan
from ganvas.nets.augment import DiffAugment
from ganvas.objectives.penalties import r1


def seen(x: torch.Tensor, *policy: str, **more: float) -> torch.Tensor:
    torch.manual_seed(0)
    return DiffAugment(nn.Identity, policy=policy, **more).train()(x)  # type: ignore[arg-type]


def test_translation_moves_whole_pictures_by_whole_pixels_and_fills_with_zeros() -> None:
    x = torch.zeros(64, 1, 16, 16)
    x[:, :, 8, 8] = 1
    moved = seen(x, "translation")
    assert (moved.sum((1, 2, 3)) == 1).all()  # the point is still there, at most 2 pixels away
    places = moved.flatten(1).argmax(1)
    rows, columns = places // 16, places % 16
    assert set(rows.tolist()) == set(columns.tolist()) == {6, 7, 8, 9, 10}
    ones = seen(torch.ones(64, 1, 16, 16), "translation")
    assert set(ones.unique().tolist()) == {0.0, 1.0}


def test_cutout_removes_a_square_of_half_the_side() -> None:
    left = seen(torch.ones(200, 3, 16, 16), "cutout")
    gone = (left == 0).float().mean((1, 2, 3))
    assert gone.max() == 0.25  # 8 x 8 of 16 x 16 where it lies inside
    assert gone.min() >= 0.0625  # a corner of it where it does not
    assert torch.equal(left[:, 0], left[:, 2])


def test_color_keeps_what_has_no_contrast_flat_and_gray_gray() -> None:
    x = torch.rand(32, 1, 8, 8).expand(-1, 3, -1, -1)
    changed = seen(x, "color")
    assert torch.allclose(changed[:, 0], changed[:, 1], atol=1e-6)
    ratio = changed.std((1, 2, 3)) / x.std((1, 2, 3))
    assert ratio.min() >= 0.5 - 1e-5
    assert ratio.max() <= 1.5 + 1e-5
    assert ((changed.mean((1, 2, 3)) - x.mean((1, 2, 3))).abs() <= 0.5 + 1e-5).all()


def test_rectangles_and_evaluation() -> None:
    x = torch.rand(4, 3, 8, 24)
    assert seen(x, "color", "translation", "cutout").shape == x.shape
    assert torch.equal(DiffAugment(nn.Identity).eval()(x), x)


@pytest.mark.parametrize("change", ["color", "translation", "cutout"])
def test_penalties_pass_through(change: str) -> None:
    """The gradient of R1 with respect to D's weights exists and agrees with finite differences."""
    torch.manual_seed(0)
    D = DiffAugment(partial(dcgan.Discriminator, width=2, norm=False), (change,), size=8, channels=1).double()  # type: ignore[arg-type]
    x, weight = torch.rand(3, 1, 8, 8, dtype=torch.float64), next(D.parameters())

    def penalty() -> torch.Tensor:
        torch.manual_seed(1)
        return r1(D, x)

    (exact,) = torch.autograd.grad(penalty(), weight)
    weight.data[0, 0, 1, 1] += 1e-6
    more = penalty().item()
    weight.data[0, 0, 1, 1] -= 2e-6
    less = penalty().item()
    assert exact[0, 0, 1, 1].item() == pytest.approx((more - less) / 2e-6, rel=1e-4, abs=1e-9)
