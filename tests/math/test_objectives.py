"""Losses and penalties against closed forms, the pool against its description."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ganvas.core import rng
from ganvas.nets.image_pool import ImagePool
from ganvas.objectives.adversarial import bce, lsgan, relativistic
from ganvas.objectives.feature_matching import mean_features
from ganvas.objectives.penalties import gradient_penalty, r1, score_and_penalty
from ganvas.objectives.variational import bernoulli_nll, gaussian_nll, kl_to_normal, reparameterised


@pytest.mark.parametrize("real", [True, False])
def test_bce_is_the_sigmoids_cross_entropy(real: bool) -> None:
    logits = torch.linspace(-5, 5, 11, dtype=torch.float64)
    want = -(logits.sigmoid() if real else 1 - logits.sigmoid()).log().mean()
    assert bce(logits, real).item() == pytest.approx(want.item(), rel=1e-6)
    far = torch.tensor([-1e4 if real else 1e4])
    assert bce(far, real).item() == pytest.approx(1e4), "no overflow where the sigmoid is 0"
    assert bce(logits.bfloat16(), real).dtype == torch.float32


def test_feature_matching_compares_means_over_the_batch() -> None:
    wanted = [torch.tensor([[0.0, 4.0], [2.0, 0.0]]), torch.zeros(2, 1)]
    assert mean_features([w.flip(0) for w in wanted], wanted).item() == 0, (
        "which image is which does not matter"
    )
    moved = [wanted[0] + torch.tensor([1.0, 3.0]), wanted[1] + 2]
    assert mean_features(moved, wanted).item() == pytest.approx((1 + 9) / 2 + 4)


def test_optimal_discriminators_value_is_the_jensen_shannon_divergence() -> None:
    """Theorem 1 of arXiv:1406.2661: with D* = p / (p + q), V = 2 JS(p, q) - log 4."""
    p = torch.tensor([0.5, 0.3, 0.2, 0.0])
    q = torch.tensor([0.1, 0.3, 0.3, 0.3])
    logits = (p / q).log().clamp(-50, 50)  # of D*
    n = 10  # each outcome as often as its probability says
    d_real = logits.repeat_interleave((p * n).round().long())
    d_fake = logits.repeat_interleave((q * n).round().long())
    m = (p + q) / 2
    js = (torch.special.xlogy(p, p / m).sum() + torch.special.xlogy(q, q / m).sum()) / 2
    loss = bce(d_real, True) + bce(d_fake, False)
    assert -loss.item() == pytest.approx(2 * js.item() - math.log(4), rel=1e-5)


def test_lsgan() -> None:
    assert lsgan(torch.tensor([0.0, 3.0]), 1.0).item() == 2.5


def test_relativistic_loss_compares_pairs() -> None:
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([1.0, 0.0])
    assert relativistic(a, b).item() == pytest.approx(
        (math.log1p(math.exp(-2)) + math.log(2)) / 2, rel=1e-6
    )
    assert relativistic(a + 1e4, b + 1e4).item() == pytest.approx(relativistic(a, b).item()), (
        "only differences count"
    )


def test_the_variational_bound() -> None:
    """Against torch's own distributions."""
    q, x = torch.randn(5, 2, 3), torch.rand(5, 1, 2, 2) * 2 - 1
    mean, log_var = q.unbind(1)
    own = torch.distributions.Normal(mean, (log_var / 2).exp())
    kl = torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    assert kl_to_normal(q).item() == pytest.approx(kl.item(), rel=1e-5)
    out = torch.randn_like(x)
    white = (out.tanh() + 1) / 2
    nll = -((x + 1) / 2 * white.log() + (1 - x) / 2 * (1 - white).log()).sum((1, 2, 3)).mean()
    assert bernoulli_nll(2 * out, x).item() == pytest.approx(nll.item(), rel=1e-5), (
        "VAE's logits are twice what tanh gets"
    )
    normal = torch.distributions.Normal(out, 0.5)
    differences = normal.log_prob(out) - normal.log_prob(x)  # without the constant
    assert gaussian_nll(out, x, 0.5).item() == pytest.approx(
        differences.sum((1, 2, 3)).mean().item(), rel=1e-5
    )
    z = reparameterised(torch.tensor([[[2.0], [math.log(9.0)]]]).expand(20_000, -1, -1))
    assert z.mean().item() == pytest.approx(2, abs=0.1)
    assert z.std().item() == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("target", [1.0, 750.0])
def test_gradient_penalty_of_a_linear_critic(target: float) -> None:
    w = torch.randn(3 * 4 * 5)
    real, fake = torch.randn(2, 6, 3, 4, 5)
    got = gradient_penalty(lambda x: x.flatten(1) @ w, real, fake, target)
    assert got.item() == pytest.approx((w.norm().item() - target) ** 2, rel=1e-5)
    assert r1(lambda x: x.flatten(1) @ w, real).item() == pytest.approx(
        w.square().sum().item(), rel=1e-5
    )
    torch.testing.assert_close(
        score_and_penalty(lambda x: x.flatten(1) @ w, real)[0], real.flatten(1) @ w
    )


def test_gradient_penalty_looks_between_real_and_fake() -> None:
    """Points lie on each sample's own segment, uniformly."""
    real, fake = (
        torch.zeros(2000, 1, 1, 2),
        torch.ones(2000, 1, 1, 2) * torch.arange(1, 2001).view(-1, 1, 1, 1),
    )
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.sum((1, 2, 3))

    torch.manual_seed(0)
    gradient_penalty(critic, real, fake)
    share = seen[0][:, 0, 0] / fake[:, 0, 0]
    torch.testing.assert_close(share[:, 0], share[:, 1])  # one number for each image
    torch.testing.assert_close(
        share[:, 0].sort().values, torch.linspace(0, 1, 2000), atol=0.05, rtol=0
    )


class Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(8, 12, dtype=torch.float64) / 3)
        self.b = nn.Parameter(torch.randn(8, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.a.T).tanh() @ self.b


@pytest.mark.parametrize("penalty", ["wgan-gp", "r1"])
def test_penalties_gradient_against_finite_differences(penalty: str) -> None:
    torch.manual_seed(0)
    D = Critic()
    real, fake = torch.randn(2, 4, 3, 2, 2, dtype=torch.float64)

    def value() -> Tensor:
        torch.manual_seed(1)
        return gradient_penalty(D, real, fake) if penalty == "wgan-gp" else r1(D, real)

    value().backward()
    for p in D.parameters():
        assert p.grad is not None
        for i in range(0, p.numel(), 7):
            p.data.view(-1)[i] += 1e-5
            up = value()
            p.data.view(-1)[i] -= 2e-5
            down = value()
            p.data.view(-1)[i] += 1e-5
            assert p.grad.view(-1)[i].item() == pytest.approx(
                (up - down).item() / 2e-5, rel=1e-5, abs=1e-8
            )


def test_gradient_penalty_where_the_gradient_is_zero() -> None:
    w = torch.zeros(12, requires_grad=True)
    real = torch.randn(2, 3, 2, 2)
    loss = gradient_penalty(lambda x: x.flatten(1) @ w, real, -real)
    assert loss.item() == 1.0
    loss.backward()
    assert w.grad is not None
    assert w.grad.isfinite().all()


def test_penalties_stay_in_float32_under_autocast() -> None:
    """bfloat16 has 8 bits: the penalty of a linear critic would be wrong in the third digit."""
    D = nn.Linear(48, 1)
    real = torch.randn(4, 48)
    want = (D.weight.norm().item() - 1) ** 2
    with torch.autocast("cpu", torch.bfloat16):
        assert D(real).dtype == torch.bfloat16
        assert gradient_penalty(D, real.bfloat16(), real).item() == pytest.approx(want, rel=1e-5)
        assert r1(D, real).item() == pytest.approx(D.weight.square().sum().item(), rel=1e-5)


def test_gradient_penalty_of_two_halves_equals_that_of_the_batch() -> None:
    torch.manual_seed(0)
    D = Critic()
    real, fake = torch.randn(2, 4, 3, 2, 2, dtype=torch.float64)
    torch.manual_seed(7)
    whole = gradient_penalty(D, real, fake)
    halves = []
    for half in (slice(0, 2), slice(2, 4)):
        torch.manual_seed(7)
        with rng.rows(rng.Rows(half.start, half.stop, 4)):
            halves.append(gradient_penalty(D, real[half], fake[half]))
    torch.testing.assert_close(sum(halves) / 2, whole)


def numbered(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 2, 1, 3)


def test_pool_returns_the_present_until_it_is_full() -> None:
    pool = ImagePool(5)
    for first in (0, 2):
        batch = numbered(first, first + 1)
        assert torch.equal(pool(batch), batch)
    assert pool.images[:4, 0, 0, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [2, 10])
def test_a_saved_pool_fits_another_size(size: int) -> None:
    """`--set pool=` may change when a run is resumed."""
    pool, other = ImagePool(5), ImagePool(size)
    pool(numbered(*range(4)))
    other.load_state_dict(pool.state_dict())
    kept = min(size, 4)
    assert other.images.shape[0] == size
    assert int(other.count) == kept
    assert other.images[:kept, 0, 0, 0].tolist() == list(range(kept))
    for i in range(20):
        other(numbered(i))


def test_pool_then_returns_old_images_half_the_time() -> None:
    torch.manual_seed(0)
    pool = ImagePool(50)
    pool(numbered(*range(50)))
    old, given = 0, set(range(50))
    for i in range(50, 1050):
        out = int(pool(numbered(i))[0, 0, 0, 0])
        if out != i:
            old += 1
            assert out in given, "an image leaves the pool once"
            given.remove(out)
            given.add(i)
    assert 450 < old < 550
    assert set(pool.images[:, 0, 0, 0].int().tolist()) == given


def test_pool_resumes_exactly() -> None:
    torch.manual_seed(0)
    pool = ImagePool(4)
    pool(numbered(*range(3)))
    for stored in ("half full", "full"):
        again = ImagePool(4)
        again.load_state_dict(pool.state_dict())
        state, batch = torch.get_rng_state(), numbered(*range(10, 20))
        want = pool(batch)
        torch.set_rng_state(state)
        assert torch.equal(again(batch), want), stored
        assert torch.equal(again.images, pool.images), stored
    fresh = ImagePool(4)
    fresh.load_state_dict(ImagePool(4).state_dict())  # never used
    assert torch.equal(fresh(numbered(1)), numbered(1))


def test_pool_of_nothing_and_gradients() -> None:
    x = numbered(1, 2).clone().requires_grad_()
    for pool in (ImagePool(0), ImagePool(3)):
        out = pool(x)
        assert torch.equal(out, x)
        assert not out.requires_grad
    assert ImagePool.per_rank


def test_pool_starts_afresh_with_images_of_another_size() -> None:
    pool = ImagePool(2)
    pool(torch.zeros(2, 1, 4, 4))
    x = torch.ones(2, 1, 8, 8)
    assert torch.equal(pool(x), x)
