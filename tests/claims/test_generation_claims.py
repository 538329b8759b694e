"""Claims of theory and on generation: scores in closed form, and each experiment once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from ganvas.claims.experiments import (
    inverse_cdf,
    kl_is_likelihood,
    mse_is_blurry,
    optimal_discriminator,
    wasserstein_parallel_lines,
)


def test_inverse_cdf_judges_by_the_densitys_own_integral() -> None:
    for x in (-2.9, -1.5, -0.2, 0.4, 1.5, 2.7):
        area, _ = quad(
            lambda t: float(inverse_cdf.density(np.array(t))),
            -3,
            x,
            points=[-2.25, -1.5, -0.75, 0],
            limit=200,
        )
        assert float(inverse_cdf.cdf(np.array(x))) == pytest.approx(area, abs=1e-6)
    assert inverse_cdf.cdf(np.array([-3.0, 3.0])).tolist() == pytest.approx([0, 1])


def test_kl_of_two_gaussians_is_the_closed_form() -> None:
    edges = torch.arange(-12, 12, 0.01, dtype=torch.float64)
    p, q = (
        kl_is_likelihood.gaussian_cdf(torch.tensor([mean, math.log(s)]).double(), edges).diff()
        for mean, s in ((0.0, 1.0), (1.0, 2.0))
    )
    assert float(kl_is_likelihood.kl(p, q)) == pytest.approx(
        math.log(2) + (1 + 1) / 8 - 0.5, abs=1e-5
    )


def test_expectation_maximization_is_at_the_likelihoods_top() -> None:
    rng = np.random.default_rng(3)
    x = np.where(rng.random(4000) < 0.3, rng.normal(-2, 0.5, 4000), rng.normal(1, 1, 4000))
    best = kl_is_likelihood.expectation_maximization(x)

    def likelihood(w: np.ndarray) -> float:
        return float(
            np.log(w[0] * norm.pdf(x, w[1], w[2]) + (1 - w[0]) * norm.pdf(x, w[3], w[4])).sum()
        )

    for i in range(5):
        for step in (-0.01, 0.01):
            assert likelihood(best + step * np.eye(5)[i]) < likelihood(best)


def test_distance_to_the_u_is_the_closed_form() -> None:
    height = torch.linspace(0, 2, 9)
    found = mse_is_blurry.distance_to_u(torch.stack([torch.zeros(9), height], 1))
    right = torch.where(height > 0.25, (height / 2 - 1 / 16).clamp_min(0).sqrt(), height)
    assert torch.allclose(found, right, atol=1e-3)
    assert mse_is_blurry.distance_to_u(mse_is_blurry.on_the_u(2000)).max() < 6e-4


def test_jsd_by_the_integral() -> None:
    p, _ = optimal_discriminator.densities(1.0)
    assert optimal_discriminator.jsd(p, p) == pytest.approx(0, abs=1e-12)
    far = optimal_discriminator.bell(optimal_discriminator.GRID, 9.0, 0.05)
    near = optimal_discriminator.bell(optimal_discriminator.GRID, -7.0, 0.05)
    assert optimal_discriminator.jsd(near, far) == pytest.approx(math.log(2), abs=1e-6)
    assert float(torch.trapezoid(p, optimal_discriminator.GRID)) == pytest.approx(1, abs=1e-9)
    x = optimal_discriminator.real(200_000)[:, 0]  # the sampler and the density are of one law
    assert float(x.square().mean()) == pytest.approx(
        float(torch.trapezoid(p * optimal_discriminator.GRID.square(), optimal_discriminator.GRID)),
        rel=0.02,
    )


def test_networks_side_by_side_are_networks() -> None:
    torch.manual_seed(0)
    networks = wasserstein_parallel_lines.Networks(3)
    x = torch.randn(3 * 5, 2)
    together = networks(x)
    for k in range(3):
        h = x[5 * k : 5 * k + 5]
        for i, (w, b) in enumerate(zip(networks.weights, networks.biases)):
            h = (torch.nn.functional.silu(h) if i else h) @ w[k] + b[k]
        assert torch.allclose(together[5 * k : 5 * k + 5], h[:, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("module", "sizes"),
    [
        (inverse_cdf, {}),
        (kl_is_likelihood, {"STEPS": 20}),
        (mse_is_blurry, {"STEPS": 10}),
        (optimal_discriminator, {"STEPS": 10, "TESTED": 1000}),
        (wasserstein_parallel_lines, {"STEPS": 10, "CLOUD_STEPS": 10}),
    ],
    ids=lambda x: x.__name__.rpartition(".")[2] if hasattr(x, "__name__") else "",
)
def test_experiments_depend_on_their_seed_alone(
    module, sizes: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sizes.items():
        monkeypatch.setattr(module, name, value)
    first, other = module.experiment(5), module.experiment(6)
    torch.manual_seed(99)
    torch.rand(7)
    np.random.seed(1)
    again = module.experiment(5)
    assert first.figures == again.figures
    assert first.figures != other.figures
