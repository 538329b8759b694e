"""The stages at which ProGAN's networks grow."""

from __future__ import annotations

from functools import partial

import pytest

from ganvas.core import Clock, Shape
from ganvas.core.errors import UserError
from ganvas.methods import ProGAN
from ganvas.nets.progan import ProgressiveDiscriminator, ProgressiveGenerator


def progan(start: int | None = None, fade: int = 100, hold: int = 200) -> ProGAN:
    widths = [4, 4, 4, 4]
    return ProGAN(
        Shape(1, 32, 32),
        G=partial(ProgressiveGenerator, latent=4, widths=widths),
        D=partial(ProgressiveDiscriminator, widths=widths),
        fade=fade,
        hold=hold,
        start=start,
    )


def seen(method: ProGAN, images: int) -> tuple[int | None, float]:
    stage = method.stage(Clock(images=images))
    return stage.resolution, stage.alpha


def test_grows_from_the_smallest() -> None:
    method = progan()
    assert [seen(method, n) for n in (0, 199)] == [(4, 1.0), (4, 1.0)]
    assert [seen(method, n) for n in (200, 250, 300, 499)] == [
        (8, 0.0),
        (8, 0.5),
        (8, 1.0),
        (8, 1.0),
    ]
    assert [seen(method, n) for n in (500, 800, 900, 10**6)] == [
        (16, 0.0),
        (32, 0.0),
        (32, 1.0),
        (32, 1.0),
    ]


def test_growth_starts_at_the_given_resolution() -> None:
    method = progan(start=16)
    assert [seen(method, n) for n in (0, 200, 250, 300, 10**6)] == [
        (16, 1.0),
        (32, 0.0),
        (32, 0.5),
        (32, 1.0),
        (32, 1.0),
    ]


def test_started_at_the_largest_nothing_grows() -> None:
    assert {seen(progan(start=32), n) for n in (0, 200, 250, 10**6)} == {(32, 1.0)}
    assert {progan(start=32).stage(Clock(images=n)).index for n in (0, 250, 10**6)} == {
        6
    }  # no optimizer starts afresh


def test_optimizers_start_afresh_when_a_fade_begins_and_when_it_ends() -> None:
    """As in the authors' code, which compares floor and ceiling of its level of detail."""
    stages = {n: progan().stage(Clock(images=n)).index for n in range(0, 1200, 10)}
    assert [n for n in stages if n and stages[n] != stages[n - 10]] == [
        200,
        300,
        500,
        600,
        800,
        900,
    ]


@pytest.mark.parametrize("images", [0, 1, 1000])
def test_without_phases_the_networks_are_complete_at_once(images: int) -> None:
    """`-nogrowing` of the authors' code."""
    method = progan(fade=0, hold=0)
    assert seen(method, images) == (32, 1.0)
    assert method.stage(Clock(images=images)).index == 6


def test_phases_of_no_images() -> None:
    assert [seen(progan(fade=0), n) for n in (0, 199, 200, 400)] == [
        (4, 1.0),
        (4, 1.0),
        (8, 1.0),
        (16, 1.0),
    ]
    assert [seen(progan(hold=0), n) for n in (0, 50, 100, 300)] == [
        (8, 0.0),
        (8, 0.5),
        (16, 0.0),
        (32, 1.0),
    ]
    with pytest.raises(UserError, match="numbers of images, 0 or more"):
        progan(fade=-1)


def test_no_such_resolution() -> None:
    with pytest.raises(UserError, match="4, 8, 16, 32"):
        progan(start=12)
