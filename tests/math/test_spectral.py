"""Spectral normalization, singular values, truncation and the orthogonality penalty."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from ganvas.core import rng
from ganvas.nets.attention import SelfAttention
from ganvas.nets.spectral import (
    orthogonality,
    singular_values,
    spectral,
    spectral_,
    subspace_sigmas,
)
from ganvas.nets.standing_stats import Standing

LAYERS = [
    lambda: nn.Linear(7, 5),
    lambda: nn.Conv2d(3, 6, 3),
    lambda: nn.ConvTranspose2d(6, 3, 4, 2, 1),
    lambda: nn.Embedding(9, 4),
]


def largest(weight: torch.Tensor, dim: int = 0) -> float:
    return float(torch.linalg.svdvals(weight.detach().movedim(dim, 0).flatten(1).double())[0])


def touch(module: nn.Module) -> None:
    """An update that changes almost nothing."""
    with torch.no_grad():
        module.parametrizations.weight.original.mul_(1 + 1e-4)  # pyright: ignore


@pytest.mark.parametrize("make", LAYERS)
def test_the_largest_singular_value_becomes_one(make) -> None:
    torch.manual_seed(0)
    made = make()
    dim, layer = int(isinstance(made, nn.ConvTranspose2d)), cast(Any, spectral(made))
    for _ in range(400):
        touch(layer)
        _ = layer.weight
    assert largest(layer.weight, dim) == pytest.approx(1, abs=1e-4)
    u = layer.parametrizations.weight[0].u
    assert u.norm() == pytest.approx(1, abs=1e-5)
    assert len(u) == layer.parametrizations.weight.original.shape[dim]


def test_u_moves_once_for_each_update() -> None:
    """Independent of the number of forward passes between them; not in evaluation mode."""
    torch.manual_seed(0)
    net: Any = spectral_(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)))
    u = net[0].parametrizations.weight[0].u
    weights, us = [], []
    for _ in range(3):
        weights.append(net[0].weight.clone())
        us.append(u.clone())
    assert all(torch.equal(a, weights[0]) for a in weights)
    assert all(torch.equal(a, us[0]) for a in us)
    saved = copy.deepcopy(net.state_dict())
    touch(net[0])
    _ = net[0].weight
    assert not torch.equal(u, us[0])
    moved = u.clone()
    net.load_state_dict(saved)  # a resumed run knows that the weight has not changed since
    _ = net[0].weight
    assert torch.equal(u, us[0])
    net.eval()
    touch(net[0])
    _ = net[0].weight
    assert torch.equal(u, us[0])
    assert not torch.equal(u, moved)


def test_the_gradient_is_the_papers() -> None:
    """Equation 12, by finite differences; and the second derivative.

    (dL/dW_SN - <dL/dW_SN, W_SN> u v^T) / sigma"""
    torch.manual_seed(0)
    with torch.random.fork_rng():
        layer: Any = spectral(nn.Linear(4, 3, bias=False).double())
        for _ in range(300):
            touch(layer)
            _ = layer.weight
    layer.eval()
    x = torch.randn(5, 4, dtype=torch.float64)
    W = layer.parametrizations.weight.original.detach().clone().requires_grad_()

    def f(w: torch.Tensor) -> torch.Tensor:
        return (x @ layer.parametrizations.weight[0](w).T).sin().sum()

    (grad,) = torch.autograd.grad(f(W), W, create_graph=True)
    u, s, vt = torch.linalg.svd(W.detach())
    outer = x.T.new_zeros(3, 4)
    outer = (x @ (W.detach() / s[0]).T).cos().T @ x
    expected = (outer - (outer * W.detach() / s[0]).sum() * torch.outer(u[:, 0], vt[0])) / s[0]
    torch.testing.assert_close(grad.detach(), expected, atol=1e-5, rtol=1e-4)
    assert torch.autograd.grad(grad.square().sum(), W)[0].isfinite().all()


def test_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    layer: Any = spectral(nn.Conv2d(3, 4, 3))
    wide = layer.weight.clone()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.weight, wide)
        assert layer(torch.randn(1, 3, 5, 5)).dtype == torch.bfloat16


def test_singular_values() -> None:
    torch.manual_seed(0)
    net: Any = nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 20), spectral(nn.Conv2d(6, 8, 3)))
    found = singular_values(net)
    assert set(found) == {f"sigma{i}/{layer}" for i in range(3) for layer in ("0", "2")}
    weight = net[2].parametrizations.weight.original
    exact = torch.linalg.svdvals(weight.detach().flatten(1))
    for i in range(3):
        assert float(found[f"sigma{i}/2"]) == pytest.approx(float(exact[i]), rel=0.02)
    state = torch.get_rng_state()
    assert torch.equal(
        subspace_sigmas(torch.diag(torch.tensor([3.0, 2.0]))), torch.tensor([3.0, 2.0])
    )
    assert torch.equal(torch.get_rng_state(), state)


def test_orthogonality_penalises_overlap_only() -> None:
    net: Any = nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 2))
    with torch.no_grad():
        for layer in net:
            nn.init.orthogonal_(layer.weight)
            layer.weight *= 5  # lengths are free
    assert float(orthogonality(net).detach()) == pytest.approx(0, abs=1e-6)
    nn.init.normal_(net[0].weight)
    (grad,) = torch.autograd.grad(orthogonality(net, skip=("1",)), net[0].weight)
    W = net[0].weight.detach()
    torch.testing.assert_close(grad, 2 * (W @ W.T * (1 - torch.eye(3))) @ W)


def test_truncation_is_the_cut_normal_and_continuous() -> None:
    torch.manual_seed(0)
    z = torch.randn(200_000)
    for t in (0.04, 0.5, 2.0):
        cut = rng.truncated(z, t)
        assert cut.abs().max() <= t
        again = z[z.abs() <= t]  # the result of rejection sampling
        for q in (0.1, 0.25, 0.5, 0.9):
            assert float(cut.quantile(q)) == pytest.approx(float(again.quantile(q)), abs=0.02 * t)
    torch.testing.assert_close(rng.truncated(z, 8.0), z, atol=1e-5, rtol=1e-5)
    extreme = rng.truncated(torch.tensor([-9.0, 0.0, 9.0]), 1.0)
    torch.testing.assert_close(extreme, torch.tensor([-1.0, 0.0, 1.0]))


def test_attention_is_a_weighted_mean_of_places() -> None:
    torch.manual_seed(0)
    layer, x = SelfAttention(8), torch.randn(2, 8, 4, 6)
    assert torch.equal(layer(x), x), "gamma starts from 0"
    maps = layer.maps(x)
    assert maps.shape == (2, 24, 6)
    torch.testing.assert_close(maps.sum(2), torch.ones(2, 24))
    with torch.no_grad():
        layer.gamma.fill_(1)
        layer.theta.weight.zero_()  # no query prefers any key: every place takes the mean
    values = torch.nn.functional.max_pool2d(layer.g(x), 2).mean((2, 3), keepdim=True)
    torch.testing.assert_close(layer(x), x + conv2d(values, layer.o.weight))


def test_standing_statistics_are_plain_averages() -> None:
    net: Any = nn.Sequential(nn.BatchNorm2d(2, affine=False)).eval()
    net.register_parameter("any", nn.Parameter(torch.zeros(1)))
    seen: list[torch.Tensor] = []

    def make(net: nn.Module) -> None:
        seen.append(torch.randn(8, 2, 3, 3) * 2 + 5)
        net(seen[-1])

    stand, state = Standing(4), torch.get_rng_state()
    stand(net, make, 0.5)
    assert torch.equal(torch.get_rng_state(), state)
    assert not net[0].training
    torch.testing.assert_close(
        net[0].running_mean, torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
    )
    first = net[0].running_mean.clone()
    stand(net, make, 1.0)
    stand(net, make, 0.5)  # reused, not computed again
    assert len(seen) == 8
    assert torch.equal(net[0].running_mean, first)
