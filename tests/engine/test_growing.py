"""When ProGAN's networks grow."""

from __future__ import annotations

from functools import partial

import pytest

from ganvas.core import Clock, Shape
from ganvas.errors import UserError
from ganvas.methods import ProGAN
from ganvas.nets import progressive


def progan(start: int | None = None) -> ProGAN:
    widths = [4, 4, 4, 4]
    return ProGAN(
        Shape(1, 32, 32),
        G=partial(progressive.ProgressiveGenerator, latent=4, widths=widths),
        D=partial(progressive.ProgressiveDiscriminator, widths=widths),
        fade=100,
        hold=200,
        start=start,
    )


def seen(method: ProGAN, images: int) -> tuple[int | None, float]:
    stage = method.stage(Clock(images=images))
    return stage.resolution, stage.alpha


def test_grows_from_the_smallest() -> None:
    method = progan()
    assert [seen(method, n) for n in (0, 199)] == [(4, 1.0), (4, 1.0)]
    assert [seen(method, n) for n in (200, 250, 300, 499)] == [(8, 0.0), (8, 0.5), (8, 1.0), (8, 1.0)]
    assert [seen(method, n) for n in (500, 800, 900, 10**6)] == [(16, 0.0), (32, 0.0), (32, 1.0), (32, 1.0)]


def test_grows_from_where_it_is_told() -> None:
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
    assert {progan(start=32).stage(Clock(images=n)).index for n in (0, 250, 10**6)} == {3}  # no optimizer starts afresh


def test_no_such_resolution() -> None:
    with pytest.raises(UserError, match="4, 8, 16, 32"):
        progan(start=12)
