"""Differentiable augmentation: each change, and gradients of penalties through it."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from ganvas.core import rng
from ganvas.core.errors import UserError
from ganvas.nets import dcgan
from ganvas.nets.augment import ADA, Augmentation, DiffAugment, named
from ganvas.objectives.penalties import r1


def seen(x: torch.Tensor, *policy: str, **more: float) -> torch.Tensor:
    torch.manual_seed(0)
    return DiffAugment(policy, **more)(x)  # type: ignore[arg-type]


def test_translation_moves_whole_images_by_whole_pixels_and_fills_with_zeros() -> None:
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


def test_color_changes_keep_flat_images_flat_and_gray_images_gray() -> None:
    x = torch.rand(32, 1, 8, 8).expand(-1, 3, -1, -1)
    changed = seen(x, "color")
    assert torch.allclose(changed[:, 0], changed[:, 1], atol=1e-6)
    ratio = changed.std((1, 2, 3)) / x.std((1, 2, 3))
    assert ratio.min() >= 0.5 - 1e-5
    assert ratio.max() <= 1.5 + 1e-5
    assert ((changed.mean((1, 2, 3)) - x.mean((1, 2, 3))).abs() <= 0.5 + 1e-5).all()


@pytest.mark.parametrize(("side", "most"), [(4, 1), (8, 1), (16, 2), (20, 3), (36, 5), (52, 7)])
def test_shifts_are_rounded_as_in_the_authors_code(side: int, most: int) -> None:
    """int(side / 8 + .5)."""
    x = torch.zeros(400, 1, side, side)
    x[:, :, side // 2, side // 2] = 1
    places = seen(x, "translation").flatten(1).argmax(1)
    assert set((places // side - side // 2).tolist()) == set(range(-most, most + 1))


@pytest.mark.parametrize(("side", "width"), [(4, 2), (5, 3), (8, 4), (9, 5), (13, 7)])
def test_cutouts_are_rounded_as_in_the_authors_code(side: int, width: int) -> None:
    """int(side / 2 + .5)."""
    gone = (seen(torch.ones(400, 1, side, side), "cutout") == 0).sum((1, 2, 3))
    assert int(gone.max()) == width * width


AUGMENTATIONS = [DiffAugment(), ADA(0.9)]


@pytest.mark.parametrize("augment", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_all_images_in_the_channels_get_the_same_change(
    augment: Augmentation, channels: int
) -> None:
    """A discriminator's pair is two images, not one of more channels: two gray images with
    alpha are none in color. Alpha gets no color."""
    x = torch.rand(16, channels, 8, 8)
    augment.channels = channels
    torch.manual_seed(0)
    alone = augment(x)
    torch.manual_seed(0)
    pair = augment(torch.cat([x, x], 1))
    augment.channels = None
    torch.testing.assert_close(pair, torch.cat([alone, alone], 1))
    colors = 1 if channels < 3 else 3
    for recolored in (
        DiffAugment(("color",)),
        partial(ADA._color_transformed, augment if isinstance(augment, ADA) else ADA(1.0)),
    ):
        made = recolored(x)
        assert not torch.equal(made[:, :colors], x[:, :colors])
        assert torch.equal(made[:, colors:], x[:, colors:])


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_versions_of_an_image_can_get_the_same_change(augment: Augmentation) -> None:
    """Independent of the division of the batch."""
    x = torch.rand(8, 3, 16, 16)
    torch.manual_seed(0)
    with rng.alike(2):
        first, second = augment(torch.cat([x, x])).chunk(2)
    assert torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(first, augment(x))
    torch.manual_seed(0)
    with rng.rows(rng.Rows(2, 6, 8)), rng.alike(2):
        part, _ = augment(torch.cat([x[2:6], x[2:6]])).chunk(2)
    assert torch.equal(part, first[2:6])


def test_rectangles() -> None:
    x = torch.rand(4, 3, 8, 24)
    assert seen(x, "color", "translation", "cutout").shape == x.shape
    assert ADA(1.0)(x).shape == x.shape


@pytest.mark.parametrize(
    "augment", [DiffAugment(("color",)), DiffAugment(("translation", "cutout")), ADA(0.9)]
)
def test_penalties_pass_through(augment: nn.Module) -> None:
    """The gradient of R1 with respect to D's weights exists and agrees with finite differences."""
    torch.manual_seed(0)
    D = dcgan.Discriminator(width=2, norm=False, size=8, channels=1).double()
    x, weight = torch.rand(3, 1, 8, 8, dtype=torch.float64), next(D.parameters())

    def penalty() -> torch.Tensor:
        torch.manual_seed(1)
        return r1(lambda x: D(augment(x)), x)

    (exact,) = torch.autograd.grad(penalty(), weight)
    weight.data[0, 0, 1, 1] += 1e-6
    more = penalty().item()
    weight.data[0, 0, 1, 1] -= 2e-6
    less = penalty().item()
    assert exact[0, 0, 1, 1].item() == pytest.approx((more - less) / 2e-6, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 8])
def test_ada_of_probability_0_changes_nothing(channels: int) -> None:
    x = torch.rand(5, channels, 7, 10) * 2 - 1
    torch.testing.assert_close(ADA(0.0)(x), x, rtol=0, atol=1e-6)


def only(change: int, x: torch.Tensor, where: str = "_moved") -> torch.Tensor:
    """ADA with its `change`-th choice made for every image, and no other."""
    torch.manual_seed(0)
    ada = ADA(1e-9)
    plain = ada._draws

    def draws(x: torch.Tensor, uniform: int) -> tuple[torch.Tensor, ...]:
        chosen, u, g = plain(x, uniform)
        return torch.zeros_like(chosen).index_fill_(0, torch.tensor(change), 1.0), u, g

    ada._draws = draws  # type: ignore[method-assign, assignment]
    return getattr(ada, where)(x)


def test_ada_blits_pixels_exactly() -> None:
    """Flips, quarter turns and whole shifts take pixels to pixels."""
    x = torch.rand(1, 1, 16, 16).expand(64, -1, -1, -1)
    one = x[0]
    for change, results in (
        (0, [one, one.flip(-1)]),
        (1, [one.rot90(k, (1, 2)) for k in range(4)]),
    ):
        made = only(change, x)
        which = torch.stack([(made - r).abs().amax((1, 2, 3)) < 1e-5 for r in results])
        assert which.any(0).all(), change
        assert which.any(1).all(), f"{change}: each of them comes about"
    shifted = only(2, x)
    inside = shifted[:, :, 2:-2, 2:-2].flatten(1)
    windows = one.unfold(1, 12, 1).unfold(2, 12, 1).reshape(25, -1)
    assert (inside[:, None] - windows).abs().amax(2).amin(1).max() < 1e-5


def test_ada_geometry_by_its_statistics() -> None:
    """A white square is scaled by 2^N(0, .2^2) and shifted by N(0, .125^2) of a side.

    It keeps its area when it is rotated or stretched."""
    x = torch.zeros(2000, 1, 32, 32)
    x[:, :, 12:20, 12:20] = 1
    area = only(3, x).sum((1, 2, 3)) / 64
    assert (area.log2() / 2).std() == pytest.approx(0.2, rel=0.1)  # in one dimension
    place = torch.arange(32.0) - 15.5
    moved = (only(5, x).sum((1, 2)) * place).sum(1) / 64
    assert moved[moved.abs() < 11].std() == pytest.approx(4.0, rel=0.1)
    assert (only(4, x).sum((1, 2, 3)) / 64).mean() == pytest.approx(1, abs=0.03)


def test_ada_colors_by_their_statistics() -> None:
    x = torch.tensor([0.5, 0.1, -0.3]).view(1, 3, 1, 1).expand(4000, 3, 2, 2)
    gray = x.mean(1)[:, 0, 0]

    def changed(k: int) -> torch.Tensor:
        made = only(k, x, "_color_transformed")
        assert torch.allclose(made, made[:, :, :1, :1].expand_as(made), atol=1e-6)
        return made[:, :, 0, 0]

    assert (changed(0) - x[:, :, 0, 0]).std(0).tolist() == pytest.approx([0.2] * 3, rel=0.1)
    assert (changed(1)[:, 0] / 0.5).log2().std() == pytest.approx(0.5, rel=0.1)
    flipped = changed(2)
    assert (flipped.mean(1) - gray).abs().gt(1e-3).float().mean() == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(flipped.mean(1).abs(), gray.abs())
    hue, saturation = changed(3), changed(4)
    torch.testing.assert_close(hue.mean(1), gray)
    torch.testing.assert_close(hue.norm(dim=1), x[:, :, 0, 0].norm(dim=1))
    spread = (saturation - saturation.mean(1, keepdim=True)).norm(dim=1) / (
        x[0, :, 0, 0] - gray[0]
    ).norm()
    assert spread.log2().std() == pytest.approx(1, rel=0.1)
    flat = x[:, :1]
    assert torch.allclose(
        only(2, flat, "_color_transformed").abs(), flat.abs(), atol=1e-6
    )  # gray ones turn negative


def test_p_follows_the_sign_of_the_scores() -> None:
    ada = ADA(every=2, images=1000)
    for sign, p in ((0.9, 0.0), (0.5, 0.1), (0.1, 0.1), (0.2, 0.0), (1.0, 0.0), (1.0, 0.1)):
        found = ada.adapt({"D/sign": torch.tensor(sign)}, 50)
        assert float(found["p"]) == pytest.approx(p), sign
    with pytest.raises(UserError, match="Fix p instead"):
        ada.adapt({"D/loss": torch.tensor(0.0)}, 50)
    fixed = ADA(0.3, target=None)
    assert float(fixed.adapt({}, 50)["p"]) == pytest.approx(0.3)


def test_p_follows_the_mean_of_several_discriminators() -> None:
    ada = ADA(every=1, images=1000)
    found = ada.adapt(
        {"D/a/sign": torch.tensor(0.5), "D/b/sign": torch.tensor(0.9), "D/loss": torch.tensor(0.0)},
        50,
    )
    assert float(found["p"]) == pytest.approx(0.05)


def test_names() -> None:
    assert named("ada").func is ADA  # type: ignore[attr-defined]
    assert named("cutout,color").keywords == {"policy": ("color", "cutout")}  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="Did you mean 'cutout'"):
        named("color,cutuot")
