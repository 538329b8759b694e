"""Claims of theory and on generation: scores in closed form, and each experiment once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy.integrate import quad
from scipy.stats import norm, spearmanr

from ganvas.claims import Finding
from ganvas.claims.experiments import (
    a_tenth_of_the_labels,
    class_asked_is_class_drawn_mnist,
    codes_find_the_digits,
    dcgan_features_classify,
    filters_let_details_move,
    inverse_cdf,
    kl_is_likelihood,
    label_maps_survive_spade,
    least_squares_cover_the_ring,
    memory_does_not_grow_with_size,
    mse_is_blurry,
    optimal_discriminator,
    packing_finds_modes,
    patches_agree_at_their_seams,
    r3gan_covers_modes,
    reconstruction_helps_on_few_images,
    sparse_attention_keeps_likelihood,
    stacked_mnist_modes,
    superfluous_latents_do_not_overfit,
    vae_is_blurrier,
    wasserstein_parallel_lines,
    wgan_gp_against_clipping,
    wgan_gp_finds_25_gaussians,
    wgan_gp_trains_any_architecture,
    wgan_loss_means_quality,
    wgan_without_batch_norm,
)
from ganvas.claims.kit import classes, packing
from ganvas.claims.kit.quality import PART, Quality, rank_correlation
from ganvas.claims.kit.training import Comparison, Trained, train
from ganvas.claims.runner import judge
from ganvas.core import Run
from ganvas.data import Feed, images
from ganvas.engine.engine import Engine
from ganvas.metrics.features import Extractor, LeNet


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
        (mse_is_blurry, {"STEPS": 10, "TESTED": 100}),
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


# ---------------------------------------------------------------- trained claims


def test_rank_correlation_is_scipys() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    for y in (x**3, -x, rng.normal(size=40), x + rng.normal(size=40), rng.integers(4, size=40)):
        expected = spearmanr(x, y)[0]
        assert rank_correlation(x.tolist(), y.tolist()) == pytest.approx(expected, abs=1e-12)


def test_a_constant_correlates_with_nothing() -> None:
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == 0.0


class Repeats:
    """A model whose samples are given images."""

    def __init__(self, pixels: torch.Tensor) -> None:
        self.pixels = pixels

    def sample(self, n: int) -> torch.Tensor:
        torch.rand(1)
        return self.pixels[:n]


def test_quality() -> None:
    feed = images("digits", size=16)
    quality = Quality(feed, PART)
    real = feed.fixed(PART).x
    before = torch.get_rng_state()
    assert quality(Repeats(real)) < 1e-6
    assert quality(Repeats(torch.zeros_like(real))) > 1
    small = torch.nn.functional.avg_pool2d(real, 2)
    enlarged = torch.nn.functional.interpolate(small, scale_factor=2.0)
    assert quality(Repeats(small)) == quality(Repeats(enlarged)) > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_detail_is_the_energy_of_fine_waves() -> None:
    at = torch.arange(16.0)
    slow, fast = (
        torch.cos(2 * torch.pi * cycles * at / 16).expand(1, 1, 16, 16) for cycles in (1, 6)
    )
    assert vae_is_blurrier.detail(slow) == pytest.approx(0, abs=1e-6)
    assert vae_is_blurrier.detail(slow + 2 * fast) == pytest.approx(
        4 * vae_is_blurrier.detail(fast)
    )


def test_a_packed_discriminator_sees_several_images_as_channels() -> None:
    class Sum(torch.nn.Module):
        def __init__(self, channels: int, size: int) -> None:
            super().__init__()
            self.weights = torch.arange(channels)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum((2, 3)) @ self.weights.float()

    D = packing.Packed(Sum, 2, channels=1, size=1)
    x = torch.arange(6.0).view(6, 1, 1, 1)
    assert D(x).tolist() == [1, 3, 5]  # 0 * first + 1 * second of each pair


def test_the_optimal_critic_is_tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a set and its translation the optimal critic is linear, and W the translation."""
    points = torch.randn(64, 2)
    for function in ("pair", "transport"):
        getattr(wgan_gp_against_clipping, function).cache_clear()
    monkeypatch.setattr(
        wgan_gp_against_clipping, "pair", lambda seed: (points + torch.tensor([3.0, 0.0]), points)
    )
    trained = train(wgan_gp_against_clipping.run(2, None), 0, steps=False)
    trained.model.D = torch.nn.Linear(2, 1)
    with torch.no_grad():
        trained.model.D.weight.copy_(torch.tensor([[5.0, 0.0]]))
    assert wgan_gp_against_clipping.tightness(trained) == pytest.approx(1, abs=1e-5)
    wgan_gp_against_clipping.transport.cache_clear()


def test_the_share_of_the_gain_that_superfluous_latents_keep() -> None:
    def arms(**bounds: float) -> dict[str, dict[str, float]]:
        return {f"latents_{k[1:]}": {"bound": v, "gap": 2.0} for k, v in bounds.items()}

    found = superfluous_latents_do_not_overfit.figures(arms(n3=-140, n20=-100, n200=-102))
    assert (found["gain_kept"], found["further_gap"]) == (0.95, 0)
    none = superfluous_latents_do_not_overfit.figures(arms(n3=-140, n20=-140, n200=-140))
    assert none["gain_kept"] == 0, "models without a gain keep nothing"


def test_patches_keep_the_bytes_of_patches() -> None:
    found = memory_does_not_grow_with_size.experiment(7)
    assert found.figures["growth"] == 1
    assert found.nulls["whole"]["growth"] == pytest.approx(4, rel=0.1)
    memory_does_not_grow_with_size.CLAIM.plot(Figure(), [{"series": found.series}])


def test_an_even_map_survives_modulation_alone() -> None:
    found = label_maps_survive_spade.experiment(7)
    assert found.figures["least"] > 0.01
    assert found.figures["washed_away"] < 1e-9
    assert found.nulls["instance norm"]["least"] < 0.01
    label_maps_survive_spade.CLAIM.plot(Figure(), [{"series": found.series}])


def test_details_move_with_filters_alone() -> None:
    found = filters_let_details_move.experiment(7)
    assert found.figures["least"] > 60
    assert found.nulls["aliased"]["least"] < 45
    filters_let_details_move.CLAIM.plot(Figure(), [{"series": found.series}])


def test_sparse_patterns_grow_by_less_than_the_square() -> None:
    module = sparse_attention_keeps_likelihood
    assert module.exponent(["dense"]) == pytest.approx(2, abs=0.01)
    assert 1.45 < module.exponent(["strided", "local"]) < 1.55
    arms = {"strided": 0.8, "dense": 0.75, "fixed": 0.8, "local": 1.0}
    found = module.figures({k: {"bits": v} for k, v in arms.items()})
    assert (found["gain"], found["kept"]) == (pytest.approx(0.2), pytest.approx(0.8))
    null = module.figures({k: {"bits": 4.0 if k != "local" else 1.0} for k in arms})
    assert (null["gain"], null["kept"]) == (0, 0)


def test_what_codes_mean() -> None:
    category = torch.arange(10).repeat_interleave(20)
    assert codes_find_the_digits.purity(category, (category + 3) % 10) == 1
    assert codes_find_the_digits.purity(category, torch.full((200,), 10)) == 0
    assert codes_find_the_digits.purity(category, category // 2 * 2) == 0.5, "a digit counts once"
    lines = torch.full((21, 1, 16, 16), -1.0)
    shear = torch.linspace(-0.6, 0.6, 21)
    for i, s in enumerate(shear.tolist()):
        for row in range(2, 14):
            lines[i, 0, row, round(8 + s * (row - 7.5))] = 1
    slant, _ = codes_find_the_digits.moments(lines)
    assert np.abs(slant - shear.numpy()).max() < 0.1
    one = torch.zeros(21, dtype=torch.int64)
    codes = torch.stack([torch.zeros(21), -shear], 1)
    assert codes_find_the_digits.tracked(one, codes, slant) > 0.97


def test_seams_are_steps_at_the_borders_of_middles() -> None:
    seams, starts = patches_agree_at_their_seams.seams, patches_agree_at_their_seams.starts
    smooth = torch.linspace(-1, 1, 64).expand(64, 64)
    smooth = (smooth + smooth.T)[None, None]
    assert seams(smooth, 32, 6) == pytest.approx(1, rel=1e-3)
    stepped = smooth.clone()
    for start in starts(64, 32, 6)[1:]:
        stepped[..., start + 6 :] += 0.2
    assert seams(stepped, 32, 6) > 2
    body = patches_agree_at_their_seams.phantoms(1, 256, 3)[0, 0]
    assert body[0, 0] == pytest.approx(-0.8)
    assert 0.2 < (body > -0.5).float().mean() < 0.6


def test_what_a_tenth_of_the_labels_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    def arms(tenth: float, every: float = 0.9) -> dict[str, dict[str, float]]:
        shares = {"tenth": tenth, "all": every, "no_guess": 0.5, "none": 0.04}
        return {k: {"asked_is_drawn": v, "frechet": 2 - v} for k, v in shares.items()}

    monkeypatch.setattr(a_tenth_of_the_labels, "judge", lambda: (None, 1.0))
    found = a_tenth_of_the_labels.figures(arms(0.8))
    assert (found["gain"], found["kept"]) == (pytest.approx(0.3), pytest.approx(0.75))
    assert found["frechet_gain"] == pytest.approx(1.25)
    for null in (0.5, 0.04):
        assert a_tenth_of_the_labels.figures(arms(null, null))["kept"] == 0, "no gain to keep"


@pytest.mark.parametrize(
    "run",
    [
        run
        for module in (packing_finds_modes, r3gan_covers_modes, wgan_gp_finds_25_gaussians)
        for run in module.CLAIM.experiment.arms.values()
        if isinstance(run, Run)
    ]
    + [wgan_without_batch_norm.WGAN_RUN],
)
def test_generators_do_not_start_at_a_point(run: Run) -> None:
    """One that does may stay there, and scores as a single mode with good samples only."""
    model: Any = Engine(run, run.data()).model()
    assert model.sample(256).std(0).mean() > 0.05


def judge_of_digits(*_: Any) -> Extractor:
    """One that is not trained: its figures mean nothing."""
    torch.manual_seed(0)
    return Extractor("lenet", LeNet(), LeNet.dim, "", side=lambda longer: 32, channels=1)


class Undecided:
    """A classifier that sees each class and nothing in turn."""

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        return np.eye(11)[np.arange(len(x)) % 11]


def digits(size: int, channels: int = 1) -> Feed:
    return images("digits", size=size, channels=channels)


def tiny(module: ModuleType, batch: int, feed: Callable[[], Feed] | None = None) -> Finding:
    """The experiment with runs of one step."""
    experiment = module.CLAIM.experiment.shortened(batch)
    assert isinstance(experiment, Comparison)
    changes: dict[str, Any] = {"batch": batch} | ({"data": feed} if feed else {})
    arms = {
        arm: [replace(run, **changes) for run in ([runs] if isinstance(runs, Run) else runs)]
        for arm, runs in experiment.arms.items()
    }
    few = min(experiment.readings, 3)
    return replace(experiment, arms=arms, device="cpu", readings=few)(7)


@pytest.mark.parametrize(
    "module",
    [
        a_tenth_of_the_labels,
        class_asked_is_class_drawn_mnist,
        codes_find_the_digits,
        dcgan_features_classify,
        least_squares_cover_the_ring,
        packing_finds_modes,
        patches_agree_at_their_seams,
        r3gan_covers_modes,
        reconstruction_helps_on_few_images,
        sparse_attention_keeps_likelihood,
        stacked_mnist_modes,
        superfluous_latents_do_not_overfit,
        vae_is_blurrier,
        wgan_gp_against_clipping,
        wgan_gp_finds_25_gaussians,
        wgan_without_batch_norm,
    ],
    ids=lambda m: m.__name__.rpartition(".")[2],
)
def test_an_experiment_of_one_step_shows_nothing(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures are there, no null passes a bound of the statement, and it does not hold."""
    small = {"EACH": 2, "REAL": 300, "COUNT": 8, "TESTED": 50, "LABELS": 60, "PART": 8}
    for name, value in {**small, "STACKED_SAMPLES": 16}.items():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, value)
    if hasattr(module, "extractor"):
        monkeypatch.setattr(module, "extractor", judge_of_digits)
    feed: Callable[[], Feed] | None = None
    batch = 4
    match module.__name__.rpartition(".")[2]:
        case "a_tenth_of_the_labels":
            feed = partial(images, "digits", size=16, labeled=0.1)
            monkeypatch.setattr(module, "LETTERS", partial(digits, 16))
            monkeypatch.setattr(module, "quality", lambda: Quality(digits(16), PART))
            module.judge.cache_clear()
        case "codes_find_the_digits":
            monkeypatch.setattr(module, "EACH", 22)
            monkeypatch.setattr(classes, "judge_of_digits", lambda seed: Undecided())
        case "reconstruction_helps_on_few_images":
            monkeypatch.setattr(module, "FEW", 8)
            monkeypatch.setattr(
                module, "quality", lambda: Quality(images("letters", size=32), PART)
            )
            module.letters.cache_clear()
        case "sparse_attention_keeps_likelihood":
            monkeypatch.setattr(module, "TESTED", 8)
            module.letters.cache_clear()
        case "patches_agree_at_their_seams":
            for name, value in {"COUNT": 4, "TESTED": 1, "LARGE": 512}.items():
                monkeypatch.setattr(module, name, value)
            module.tests.cache_clear()
        case "class_asked_is_class_drawn_mnist" | "vae_is_blurrier":
            feed = partial(digits, 32)
            monkeypatch.setattr(module, "mnist", lambda part="train": digits(32))
        case "superfluous_latents_do_not_overfit":
            feed = partial(digits, 28)
            monkeypatch.setattr(module, "mnist", lambda part="train": digits(28))
        case "dcgan_features_classify":
            monkeypatch.setattr(module, "cifar10", lambda: (digits(32), digits(32)))
        case "stacked_mnist_modes":
            feed = partial(digits, 32, 3)
        case "wgan_without_batch_norm":
            monkeypatch.setattr(module, "quality", lambda: Quality(digits(16), PART))
    found = tiny(module, batch, feed)
    if module is a_tenth_of_the_labels:
        module.judge.cache_clear()  # of digits
    if module in (reconstruction_helps_on_few_images, sparse_attention_keeps_likelihood):
        module.letters.cache_clear()
    if module is patches_agree_at_their_seams:
        module.tests.cache_clear()
    claim = module.CLAIM
    assert {check.figure for check in claim.words.checks} <= found.figures.keys()
    assert found.figures.keys() <= claim.words.figures.keys(), "each figure is described"
    seed = {"figures": found.figures, "series": found.series, "nulls": found.nulls}
    result = judge(claim, [seed])
    assert not result["void"]
    assert not result["holds"]
    figure = Figure()
    seed["series"] = {k: as_record(v) for k, v in found.series.items()}
    claim.plot(figure, [seed])
    figure.draw_without_rendering()


def as_record(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: as_record(v) for k, v in value.items()}
    return value.tolist() if isinstance(value, torch.Tensor) else value


def test_loss_and_quality_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    module = wgan_loss_means_quality
    monkeypatch.setattr(module, "READINGS", 3)
    monkeypatch.setattr(module, "WARM_UP", 1)
    monkeypatch.setattr(module, "quality", lambda: Quality(digits(16), PART))
    wgan = module.wgan
    monkeypatch.setattr(module, "wgan", lambda g: replace(wgan(g), batch=2, images=3 * 5 * 2))
    monkeypatch.setattr(module, "GAN", replace(module.GAN, batch=2, images=3 * 2))
    found = module.experiment(7)
    assert found.figures.keys() == module.CLAIM.words.figures.keys()
    assert {len(c["estimate"]) for c in found.series.values()} == {2}
    module.CLAIM.plot(Figure(), [{"figures": found.figures, "series": found.series}])


def test_random_architectures_are_built_and_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    module = wgan_gp_trains_any_architecture
    small = {"ARCHITECTURES": 2, "STEPS": 1, "DEVICE": "cpu", "SAMPLES": 8, "PART": 4}
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "extractor", judge_of_digits)
    monkeypatch.setattr(module, "mnist", lambda: digits(32))
    run = module.run

    def narrow(loss: str, design: Any) -> Run:
        G, D = (d._replace(width=2) for d in design)
        return replace(run(loss, (G, D)), batch=2, images=2, data=lambda: digits(32))

    monkeypatch.setattr(module, "run", narrow)
    found = module.experiment(7)
    assert found.figures.keys() == module.CLAIM.words.figures.keys()
    assert all(len(found.series[loss]) == 2 for loss in module.METHODS)


def test_activations_of_every_convolution_are_features() -> None:
    trained: Trained = train(
        replace(dcgan_features_classify.RUN, data=lambda: digits(32)), 0, steps=False
    )
    x = torch.zeros(3, 1, 32, 32)
    found = dcgan_features_classify.features(trained.model.D, x)
    assert found.shape == (3, (64 + 128 + 256) * 16)
