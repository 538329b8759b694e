"""The claims that train: their scores in closed form, and every experiment once at a size that takes a second."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from ganvas.claims import Claim
from ganvas.claims.experiments import (
    ada_helps_on_few_images,
    class_asked_is_class_drawn,
    class_asked_is_class_drawn_mnist,
    modes_25_gaussians,
    progressive_is_faster,
    r3gan_beats_dcgan,
    r3gan_covers_modes,
    stacked_mnist_modes,
    style_mixing_by_scale,
    stylegan2_no_droplets,
    stylegan_w_is_straighter,
    vae_is_blurrier,
    wgan_loss_means_quality,
    wgan_without_batch_norm,
)
from ganvas.claims.kit import data, small_stylegan
from ganvas.claims.kit.quality import PART, Quality, rank_correlation
from ganvas.core import Run
from ganvas.core.errors import UserError
from ganvas.data import images
from ganvas.engine.engine import Engine
from ganvas.metrics.features import Extractor, LeNet, extractor


def test_rank_correlation_is_scipys() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    for y in (x**3, -x, rng.normal(size=40), x + rng.normal(size=40), rng.integers(4, size=40)):
        expected = spearmanr(x, y)[0]
        assert rank_correlation(x.tolist(), y.tolist()) == pytest.approx(expected, abs=1e-12)


def test_what_never_changes_correlates_with_nothing() -> None:
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == 0.0


class Repeats:
    """A model whose samples are the feed's own images, or those at a quarter of the pixels, or none of them."""

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


def test_smoothing_passes_over_a_single_reading() -> None:
    assert progressive_is_faster.smoothed([9, 8, 1, 7, 6, 5]) == [8, 8, 7, 6, 6, 6]


def test_settled() -> None:
    assert progressive_is_faster.settled([1, 2, 3, 4], [9, 3, 2, 1], 3) == 2
    assert (
        progressive_is_faster.settled([1, 2, 3, 4], [1, 9, 2, 1], 3) == 3
    )  # touching it by luck does not count
    assert progressive_is_faster.settled([1, 2, 3, 4], [1, 1, 1, 4], 3) is None


def test_spread_is_within_classes() -> None:
    x, y = torch.tensor([0.0, 2.0, 10.0, 12.0]).view(4, 1, 1, 1), torch.tensor([0, 0, 1, 1])
    assert class_asked_is_class_drawn.spread(x, y) == pytest.approx(2**0.5)
    assert class_asked_is_class_drawn.spread(x[[0, 0, 2, 2]], y) == 0, "one picture of each class"


def test_detail_is_the_energy_of_fine_waves() -> None:
    at = torch.arange(16.0)
    slow, fast = (
        torch.cos(2 * torch.pi * cycles * at / 16).expand(1, 1, 16, 16) for cycles in (1, 6)
    )
    assert vae_is_blurrier.detail(slow) == pytest.approx(0, abs=1e-6)
    assert vae_is_blurrier.detail(slow + 2 * fast) == pytest.approx(
        4 * vae_is_blurrier.detail(fast)
    )
    assert vae_is_blurrier.spectrum(fast)[6] == max(vae_is_blurrier.spectrum(fast))


def curve(speed: float, floor: float = 0.0) -> dict[str, list[float]]:
    seconds = [float(t) for t in range(1, 101)]
    return {
        "seconds": seconds,
        "images": seconds,
        "frechet": [floor + math.exp(-speed * t / 25) for t in seconds],
    }


def test_race() -> None:
    assert progressive_is_faster.race(curve(1), curve(2))["speedup"] == pytest.approx(2, abs=0.05)
    assert progressive_is_faster.race(curve(1), curve(1))["speedup"] == 1
    assert progressive_is_faster.race(curve(1), curve(0.5))["speedup"] == 0  # never got there
    assert (
        progressive_is_faster.race(curve(1), curve(5, floor=0.1))["speedup"] == 0
    )  # faster at first, and stuck


def small_wgan(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wgan_loss_means_quality, "READINGS", 5)
    patch.setattr(wgan_loss_means_quality, "WARM_UP", 1)
    patch.setattr(wgan_loss_means_quality, "Quality", partial(Quality, count=PART))
    patch.setattr(
        wgan_loss_means_quality,
        "WASSERSTEIN",
        replace(wgan_loss_means_quality.WASSERSTEIN, batch=4, images=5 * 5 * 4),
    )
    patch.setattr(
        wgan_loss_means_quality,
        "JENSEN_SHANNON",
        replace(wgan_loss_means_quality.JENSEN_SHANNON, batch=4, images=5 * 4),
    )


def small_modes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        modes_25_gaussians,
        "METHODS",
        {k: replace(run, images=run.batch) for k, run in modes_25_gaussians.METHODS.items()},
    )


def small_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        class_asked_is_class_drawn,
        "_run",
        _shorter(class_asked_is_class_drawn._run, batch=4, images=4),
    )
    patch.setattr(class_asked_is_class_drawn, "EACH", 2)


def small_r3gan(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        r3gan_covers_modes,
        "METHODS",
        {k: replace(run, images=run.batch) for k, run in r3gan_covers_modes.METHODS.items()},
    )


def small_blurrier(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(vae_is_blurrier, "COUNT", 8)
    patch.setattr(
        vae_is_blurrier,
        "RUNS",
        {k: replace(run, batch=4, images=4) for k, run in vae_is_blurrier.RUNS.items()},
    )


def small_bare(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wgan_without_batch_norm, "READINGS", 1)
    patch.setattr(wgan_without_batch_norm, "Quality", partial(Quality, count=PART))
    patch.setattr(
        wgan_without_batch_norm,
        "RUNS",
        {k: replace(run, batch=4, images=4) for k, run in wgan_without_batch_norm.RUNS.items()},
    )


def small_progressive(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(progressive_is_faster, "SLICES", 3)
    patch.setattr(progressive_is_faster, "PHASE", 8)
    patch.setattr(progressive_is_faster, "COUNT", PART)
    patch.setattr(
        progressive_is_faster, "_run", _shorter(progressive_is_faster._run, batch=4, images=12)
    )


def small_style(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(small_stylegan, "COUNT", PART)
    for module in (stylegan_w_is_straighter, style_mixing_by_scale):
        patch.setattr(module, "STYLEGAN", replace(small_stylegan.STYLEGAN, batch=4, images=20))
    patch.setattr(stylegan_w_is_straighter, "PATHS", 200)
    patch.setattr(style_mixing_by_scale, "PAIRS", 8)
    patch.setattr(
        stylegan2_no_droplets,
        "STYLEGAN2",
        replace(stylegan2_no_droplets.STYLEGAN2, batch=4, images=20),
    )
    patch.setattr(stylegan2_no_droplets, "PICTURES", 8)


def small_ada(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ada_helps_on_few_images, "READINGS", 3)
    patch.setattr(ada_helps_on_few_images, "COUNT", PART)
    patch.setattr(
        ada_helps_on_few_images,
        "VARIANTS",
        {
            k: replace(run, batch=4, images=12)
            for k, run in ada_helps_on_few_images.VARIANTS.items()
        },
    )


def small_beats(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(r3gan_beats_dcgan, "SECONDS", 0.0)  # one step
    patch.setattr(r3gan_beats_dcgan, "COUNT", 8)
    patch.setattr(r3gan_beats_dcgan, "PART", 8)
    feeds = dict.fromkeys(r3gan_beats_dcgan.SETS, images("digits", size=16, labels=False))
    patch.setattr(r3gan_beats_dcgan, "ready", lambda: (feeds, extractor("random-conv-v1")))
    patch.setattr(
        r3gan_beats_dcgan,
        "METHODS",
        {k: replace(run, batch=4) for k, run in r3gan_beats_dcgan.METHODS.items()},
    )


def judge_of_digits() -> Extractor:
    """One that was not trained: its figures mean nothing."""
    torch.manual_seed(0)
    return Extractor("lenet", LeNet(), LeNet.dim, "", side=lambda longer: 32, channels=1)


def small_stacked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stacked_mnist_modes, "TRIPLETS", 16)
    patch.setattr(stacked_mnist_modes, "SAMPLES", 12)
    patch.setattr(stacked_mnist_modes, "PART", 8)
    patch.setattr(
        stacked_mnist_modes, "ready", lambda: (images("digits", size=16), judge_of_digits())
    )
    patch.setattr(
        stacked_mnist_modes,
        "METHODS",
        {k: replace(run, batch=4, images=4) for k, run in stacked_mnist_modes.METHODS.items()},
    )


def small_mnist(patch: pytest.MonkeyPatch) -> None:
    digits = images("digits", size=32)
    patch.setattr(
        class_asked_is_class_drawn_mnist, "ready", lambda: (digits, digits, judge_of_digits())
    )
    patch.setattr(
        class_asked_is_class_drawn_mnist,
        "RUN",
        replace(class_asked_is_class_drawn_mnist.RUN, batch=4, images=4),
    )
    patch.setattr(class_asked_is_class_drawn_mnist, "EACH", 2)
    patch.setattr(class_asked_is_class_drawn_mnist, "REAL", 100)


def test_the_end_of_a_run_against_its_best() -> None:
    flat = [0.0] * 6
    found = ada_helps_on_few_images.end(
        {
            "frechet": [9, 3, 3, 3, 6, 6],
            "trained": [5.0] * 6,
            "held_out": [1.0] * 6,
            "generated": flat,
        }
    )
    assert found == {"overfitting": pytest.approx(0.8), "frechet": 5, "worse": pytest.approx(5 / 3)}


def test_few_and_others_share_no_digit() -> None:
    few, others = (
        {p.tobytes() for p in feed.raw()["x"]} for feed in ada_helps_on_few_images.split()
    )
    assert len(few) == ada_helps_on_few_images.FEW
    assert not few & others


def test_a_claims_data_lie_where_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(data.DATA_VARIABLE, raising=False)
    assert data.place("mnist") == "mnist"  # downloaded
    with pytest.raises(UserError, match=r"flowers.*GANVAS_DATA"):
        data.place("flowers")
    monkeypatch.setenv(data.DATA_VARIABLE, str(tmp_path))
    assert data.place("mnist") == "mnist"
    (tmp_path / "mnist").mkdir()
    assert data.place("mnist") == str(tmp_path / "mnist")


def test_energies_of_a_change() -> None:
    """What is the same in 4x4 pixels is low, what cancels there is high."""
    flat = torch.randn(2, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    checks = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1
    low, high = style_mixing_by_scale.energies(flat + 3 * checks)
    assert low == pytest.approx(float(flat.square().mean()), rel=1e-4)
    assert high == pytest.approx(9, rel=1e-4)


def test_excess_is_of_a_place_not_of_a_size() -> None:
    x = torch.randn(2, 64, 16, 16)
    plain = stylegan2_no_droplets.excess(x)
    assert (plain < 1.6).all()
    torch.testing.assert_close(
        stylegan2_no_droplets.excess(x * 100 + 7), plain, atol=1e-3, rtol=1e-3
    )
    x[:, :, 3, 5] = 100.0
    assert (stylegan2_no_droplets.excess(x) > 10).all()


@pytest.mark.parametrize(
    "run",
    [
        *modes_25_gaussians.METHODS.values(),
        *r3gan_covers_modes.METHODS.values(),
        *wgan_without_batch_norm.RUNS.values(),
    ],
)
def test_generators_do_not_start_at_a_point(run: Run) -> None:
    """One that does may stay there, and scores as a single mode with good samples only."""
    model: Any = Engine(run, run.data()).model()
    assert model.sample(256).std(0).mean() > 0.05


def _shorter(make: Callable[..., Run], **changes: Any) -> Callable[..., Run]:
    return lambda *args, **options: replace(make(*args, **options), **changes)


@pytest.mark.parametrize(
    ("claim", "small"),
    [
        (modes_25_gaussians.CLAIM, small_modes),
        (wgan_loss_means_quality.CLAIM, small_wgan),
        (class_asked_is_class_drawn.CLAIM, small_asked),
        (wgan_without_batch_norm.CLAIM, small_bare),
        (vae_is_blurrier.CLAIM, small_blurrier),
        (r3gan_covers_modes.CLAIM, small_r3gan),
        (progressive_is_faster.CLAIM, small_progressive),
        (ada_helps_on_few_images.CLAIM, small_ada),
        (r3gan_beats_dcgan.CLAIM, small_beats),
        (stacked_mnist_modes.CLAIM, small_stacked),
        (class_asked_is_class_drawn_mnist.CLAIM, small_mnist),
        (stylegan_w_is_straighter.CLAIM, small_style),
        (style_mixing_by_scale.CLAIM, small_style),
        (stylegan2_no_droplets.CLAIM, small_style),
    ],
    ids=lambda x: x.name if isinstance(x, Claim) else "",
)
def test_experiment(
    claim: Claim, small: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every figure that a check looks at is there, the same seed gives the same figures, and the plot is drawn."""
    small(monkeypatch)
    one, two = claim.experiment(7), claim.experiment(7)
    assert claim.checks
    assert {check.figure for check in claim.checks} <= one.figures.keys()
    if claim is not progressive_is_faster.CLAIM:  # which measures time
        assert one == two
    claim.plot(
        Figure(), [{"seed": 7, "figures": one.figures, "series": one.series, "seconds": 1.0}]
    )
