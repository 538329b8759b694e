"""Path lengths of generators with known paths."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch

from ganvas.core.errors import UserError
from ganvas.metrics.ppl import lerp, path_length, slerp


def squared(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a - b).square().flatten(1).sum(1)


class Linear:
    """Images A w [n, 1, 2, 3] with w = 2 z."""

    def __init__(self, dim: int = 6, unit: bool = False) -> None:
        g = torch.Generator().manual_seed(1)
        self.A = torch.randn(6, dim, generator=g, dtype=torch.float64)
        self.dim, self.unit = dim, unit

    def latent(self, n: int) -> torch.Tensor:
        z = torch.randn(n, self.dim, dtype=torch.float64)
        return z / z.norm(dim=1, keepdim=True) if self.unit else z

    def styles(self, z: torch.Tensor) -> torch.Tensor:
        return 2 * z

    def synthesize(self, w: torch.Tensor) -> torch.Tensor:
        return (w @ self.A.T).view(-1, 1, 2, 3)

    def sample(
        self, n: int, z: torch.Tensor | None = None, y: torch.Tensor | None = None
    ) -> torch.Tensor:
        assert z is not None
        assert len(z) == n
        return self.synthesize(self.styles(z))


def test_a_line_in_w_has_the_same_length_everywhere() -> None:
    """|A (w2 - w1)|^2 per path: the figure is their mean without the outer hundredths."""
    model, n = Linear(), 400
    got = path_length(model, squared, n, space="w", batch=n, seed=5)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        a, b = model.latent(n), model.latent(n)
    lengths = squared(model.sample(n, z=a), model.sample(n, z=b)).sort().values
    kept = lengths[3 : n - 3]  # quantiles .01 and .99 of 400 fall on the 4th and the 397th
    assert got.kept == len(kept)
    assert got.value == pytest.approx(float(kept.mean()), rel=1e-6)
    assert got.high - got.low == pytest.approx(
        2 * 1.96 * float(kept.std()) / math.sqrt(len(kept)), rel=1e-6
    )
    assert path_length(
        model, squared, n, space="w", batch=n, seed=5, ends=True
    ).value == pytest.approx(got.value, rel=1e-6)
    # On average 2 |2 A|^2 (two independent normal ends); the outer hundredths take a little of it.
    many = path_length(model, squared, 20_000, space="w", batch=5000)
    assert many.value == pytest.approx(8 * float(model.A.square().sum()), rel=0.05)


def test_an_arc_in_z_has_the_length_of_its_angle() -> None:
    """Images 2 z with z on the unit sphere: (2 sin(eps w / 2) 2 / eps)^2, about 4 w^2."""
    model, n = Linear(unit=True), 300
    model.A = torch.eye(6, dtype=torch.float64)
    got = path_length(model, squared, n, batch=n, seed=2)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        angle = (model.latent(n) * model.latent(n)).sum(1).acos().sort().values
    kept = (4 * angle**2)[2 : n - 2]
    assert (got.kept, got.paths) == (len(kept), n)
    assert got.value == pytest.approx(float(kept.mean()), rel=1e-5)
    assert got.low < got.value < got.high


@pytest.mark.parametrize("space", ["z", "w"])
def test_a_path_stays_within_a_class_and_paths_take_all_classes(space: Literal["z", "w"]) -> None:
    ends: list[torch.Tensor] = []

    class Classes(Linear):
        classes = 7

        def styles(self, z: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
            assert y is not None
            ends.append(y)
            return 2 * z + 1000 * y[:, None]

        def sample(
            self, n: int, z: torch.Tensor | None = None, y: torch.Tensor | None = None
        ) -> torch.Tensor:
            assert z is not None
            return self.synthesize(self.styles(z, y))

    found = path_length(Classes(), squared, 20, space=space, batch=5)
    without = path_length(Linear(), squared, 20, space=space, batch=5)
    assert found.value == pytest.approx(without.value, rel=1e-3), "classes far apart add nothing"
    assert set(torch.cat(ends).tolist()) == set(range(7)), (
        "in batches of fewer images than classes, too"
    )


def test_paths_of_uniform_noise_are_lines() -> None:
    class Uniform(Linear):
        curve = "linear"

        def latent(self, n: int) -> torch.Tensor:
            return torch.rand(n, self.dim, dtype=torch.float64) * 2 - 1

        def sample(
            self, n: int, z: torch.Tensor | None = None, y: torch.Tensor | None = None
        ) -> torch.Tensor:
            assert z is not None
            assert z.abs().max() <= 1 + 1e-3
            return super().sample(n, z)

    path_length(Uniform(), squared, 500)


def test_slerp_and_lerp() -> None:
    a, b = torch.tensor([[2.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    half = torch.full((2,), 0.5)
    torch.testing.assert_close(slerp(a, b, half), torch.tensor([[2**0.5, 2**0.5], [1.0, 1.0]]))
    torch.testing.assert_close(slerp(a, b, torch.zeros(2)), a)
    torch.testing.assert_close(slerp(a, b, torch.ones(2)), b)
    torch.testing.assert_close(lerp(a, b, half), torch.tensor([[1.0, 1.0], [1.0, 1.0]]))
    maps = torch.randn(3, 4, 1, 1)
    assert (
        slerp(maps, maps.flip(0), torch.rand(3)).shape
        == lerp(maps, maps, torch.rand(3)).shape
        == maps.shape
    )


def test_the_seed_decides_and_batches_do_not_disturb_others_draws() -> None:
    model = Linear()
    state = torch.random.get_rng_state()
    first = path_length(model, squared, 50, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert first == path_length(model, squared, 50, seed=1)
    assert first != path_length(model, squared, 50, seed=2)


def test_large_images_are_averaged_down() -> None:
    seen = []

    class Large(Linear):
        def synthesize(self, w: torch.Tensor) -> torch.Tensor:
            return w[:, :1, None, None].expand(-1, 3, 512, 1024)

    def look(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(a.shape))
        return squared(a, b)

    path_length(Large(), look, 2)
    assert seen == [(2, 3, 256, 512)]


def test_mistakes() -> None:
    class NoMapping:
        latent, sample = Linear.latent, Linear.sample

    with pytest.raises(UserError, match="NoMapping has no styles and no synthesize"):
        path_length(NoMapping(), squared, 10, space="w")
    with pytest.raises(UserError, match="run in z or in w"):
        path_length(Linear(), squared, 10, space="x")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="at least 2 paths"):
        path_length(Linear(), squared, 1)
    with pytest.raises(UserError, match="NaN"):
        path_length(Linear(), lambda a, b: squared(a, b) * math.nan, 10)
