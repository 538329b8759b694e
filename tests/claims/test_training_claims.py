"""The claims that train: their scores in closed form, and every experiment once at a size that takes a second."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from ganvas.claims import Claim, _quality, _style, stylegan2_no_droplets, stylegan_w_is_straighter
from ganvas.claims import class_asked_is_class_drawn as asked
from ganvas.claims import cycle_prevents_collapse as cycle
from ganvas.claims import discogan_covers_modes as disco_modes
from ganvas.claims import discogan_recovers_pairs as disco_pairs
from ganvas.claims import dualgan_noise_and_cycle as dualgan
from ganvas.claims import modes_25_gaussians as modes
from ganvas.claims import progressive_is_faster as progressive
from ganvas.claims import r3gan_covers_modes as r3gan
from ganvas.claims import style_mixing_by_scale as mixing
from ganvas.claims import vae_is_blurrier as blurrier
from ganvas.claims import wgan_loss_means_quality as wgan
from ganvas.claims import wgan_without_batch_norm as bare
from ganvas.core import Run
from ganvas.data import images


def test_rank_correlation_is_scipys() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    for y in (x**3, -x, rng.normal(size=40), x + rng.normal(size=40), rng.integers(4, size=40)):
        expected = spearmanr(x, y)[0]
        assert _quality.rank_correlation(x.tolist(), y.tolist()) == pytest.approx(expected, abs=1e-12)


def test_what_never_changes_correlates_with_nothing() -> None:
    assert _quality.rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == 0.0


class Repeats:
    """A model whose samples are the feed's own images, or those at a quarter of the pixels, or none of them."""

    def __init__(self, pixels: torch.Tensor) -> None:
        self.pixels = pixels

    def sample(self, n: int) -> torch.Tensor:
        torch.rand(1)
        return self.pixels[:n]


def test_quality() -> None:
    feed = images("digits", size=16)
    quality = _quality.Quality(feed, _quality.PART)
    real = feed.fixed(_quality.PART).x
    before = torch.get_rng_state()
    assert quality(Repeats(real)) < 1e-6
    assert quality(Repeats(torch.zeros_like(real))) > 1
    small = torch.nn.functional.avg_pool2d(real, 2)
    enlarged = torch.nn.functional.interpolate(small, scale_factor=2.0)
    assert quality(Repeats(small)) == quality(Repeats(enlarged)) > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_translation_scores() -> None:
    truth = torch.rand(10, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert cycle.translation_scores(truth + 0.001, truth) == pytest.approx((1, 1, 1))
    assert cycle.translation_scores(truth[3:4].expand_as(truth), truth) == pytest.approx((0.1, 0.1, 0))
    assert cycle.translation_scores(truth.roll(1, 0), truth) == pytest.approx((0, 1, 1))  # diverse, and all wrong
    pairs = truth[[0, 0, 2, 2, 4, 4, 6, 6, 8, 8]]
    assert cycle.translation_scores(pairs, truth)[:2] == pytest.approx((0.5, 0.5))


def test_digits_and_negatives_share_no_digit() -> None:
    digits = cycle.digits_and_negatives()
    raw = digits.feed.raw()
    as_bytes = {
        "a": raw["a"],
        "b": 255 - raw["b"],
        "test": ((digits.a + 1) * 127.5).round().byte().movedim(1, -1).numpy(),
    }
    a, b, test = ({p.tobytes() for p in pixels} for pixels in as_bytes.values())
    assert not a & b
    assert not (a | b) & test
    assert torch.allclose(digits.a, -digits.b, atol=1e-6)
    assert len(digits.a) + len(raw["a"]) + len(raw["b"]) == 1797


def test_smoothing_passes_over_a_single_reading() -> None:
    assert progressive.smoothed([9, 8, 1, 7, 6, 5]) == [8, 8, 7, 6, 6, 6]


def test_settled() -> None:
    assert progressive.settled([1, 2, 3, 4], [9, 3, 2, 1], 3) == 2
    assert progressive.settled([1, 2, 3, 4], [1, 9, 2, 1], 3) == 3  # touching it by luck does not count
    assert progressive.settled([1, 2, 3, 4], [1, 1, 1, 4], 3) is None


def test_spread_is_within_classes() -> None:
    x, y = torch.tensor([0.0, 2.0, 10.0, 12.0]).view(4, 1, 1, 1), torch.tensor([0, 0, 1, 1])
    assert asked.spread(x, y) == pytest.approx(2**0.5)
    assert asked.spread(x[[0, 0, 2, 2]], y) == 0, "one picture of each class"


def test_detail_is_the_energy_of_fine_waves() -> None:
    at = torch.arange(16.0)
    slow, fast = (torch.cos(2 * torch.pi * cycles * at / 16).expand(1, 1, 16, 16) for cycles in (1, 6))
    assert blurrier.detail(slow) == pytest.approx(0, abs=1e-6)
    assert blurrier.detail(slow + 2 * fast) == pytest.approx(4 * blurrier.detail(fast))
    assert blurrier.spectrum(fast)[6] == max(blurrier.spectrum(fast))


def curve(speed: float, floor: float = 0.0) -> dict[str, list[float]]:
    seconds = [float(t) for t in range(1, 101)]
    return {"seconds": seconds, "images": seconds, "frechet": [floor + math.exp(-speed * t / 25) for t in seconds]}


def test_race() -> None:
    assert progressive.race(curve(1), curve(2))["speedup"] == pytest.approx(2, abs=0.05)
    assert progressive.race(curve(1), curve(1))["speedup"] == 1
    assert progressive.race(curve(1), curve(0.5))["speedup"] == 0  # never got there
    assert progressive.race(curve(1), curve(5, floor=0.1))["speedup"] == 0  # faster at first, and stuck


def small_wgan(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wgan, "READINGS", 5)
    patch.setattr(wgan, "WARM_UP", 1)
    patch.setattr(wgan, "Quality", partial(_quality.Quality, count=_quality.PART))
    patch.setattr(wgan, "WASSERSTEIN", replace(wgan.WASSERSTEIN, batch=4, images=5 * 5 * 4))
    patch.setattr(wgan, "JENSEN_SHANNON", replace(wgan.JENSEN_SHANNON, batch=4, images=5 * 4))


def small_modes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(modes, "METHODS", {k: replace(run, images=run.batch) for k, run in modes.METHODS.items()})


def small_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(asked, "_run", _shorter(asked._run, batch=4, images=4))
    patch.setattr(asked, "EACH", 2)


def small_r3gan(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(r3gan, "METHODS", {k: replace(run, images=run.batch) for k, run in r3gan.METHODS.items()})


def small_blurrier(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(blurrier, "COUNT", 8)
    patch.setattr(blurrier, "RUNS", {k: replace(run, batch=4, images=4) for k, run in blurrier.RUNS.items()})


def small_bare(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bare, "READINGS", 1)
    patch.setattr(bare, "Quality", partial(_quality.Quality, count=_quality.PART))
    patch.setattr(bare, "RUNS", {k: replace(run, batch=4, images=4) for k, run in bare.RUNS.items()})


def small_progressive(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(progressive, "SLICES", 3)
    patch.setattr(progressive, "PHASE", 8)
    patch.setattr(progressive, "COUNT", _quality.PART)
    patch.setattr(progressive, "_run", _shorter(progressive._run, batch=4, images=12))


def small_cycle(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cycle, "_run", _shorter(cycle._run, batch=2, images=4))


def small_disco_modes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(disco_modes, "_run", _shorter(disco_modes._run, batch=4, images=8))
    patch.setattr(disco_modes, "SAMPLES", 400)


def small_disco_pairs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(disco_pairs, "EVERY", 3)
    patch.setattr(disco_pairs, "_run", _shorter(disco_pairs._run, batch=4, images=24))


def small_dualgan(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dualgan, "RUNS", {k: replace(run, batch=2, images=2) for k, run in dualgan.RUNS.items()})


def test_shape_is_without_contrast() -> None:
    x = torch.rand(3, 1, 4, 4)
    torch.testing.assert_close(disco_pairs.shape(0.1 * x - 0.5), disco_pairs.shape(x))
    assert not torch.allclose(disco_pairs.shape(-x), disco_pairs.shape(x))


def test_found_after() -> None:
    assert disco_pairs.found_after([0.1, 0.85, 0.7]) == 2 * disco_pairs.EVERY
    assert disco_pairs.found_after([0.1, 0.2]) == 3 * disco_pairs.EVERY, "never: one reading more than there were"


def test_coverage_of_modes() -> None:
    clusters = torch.arange(100) // 20
    both = disco_modes.B[torch.arange(100) // 10]  # each cluster in two modes of its own
    assert disco_modes.coverage(both, clusters) == pytest.approx({"modes": 10, "overlap": 0, "good": 1})
    one = disco_modes.coverage(disco_modes.B[:1].expand(100, 2) + 1.0, clusters)
    assert one == pytest.approx({"modes": 1, "overlap": 0.8, "good": 0})


def test_noise_and_cycle() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(10, 1, 4, 4, generator=generator)
    exact = dualgan.noise_and_cycle(x, (-x).expand(3, *x.shape), x, -x)
    assert exact == pytest.approx({"noise": 0, "noise_share": 0, "cycle_share": 0, "matched": 1, "returned": 1})
    noisy = dualgan.noise_and_cycle(x, torch.stack([-x, 2 / 255 - x]), x.roll(1, 0), -x)
    assert noisy["noise"] == pytest.approx(1)
    assert noisy["cycle_share"] == pytest.approx(1)
    assert noisy["returned"] == 0


def small_style(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_style, "COUNT", _quality.PART)
    for module in (stylegan_w_is_straighter, mixing):
        patch.setattr(module, "STYLEGAN", replace(_style.STYLEGAN, batch=4, images=20))
    patch.setattr(stylegan_w_is_straighter, "PATHS", 200)
    patch.setattr(mixing, "PAIRS", 8)
    patch.setattr(stylegan2_no_droplets, "STYLEGAN2", replace(stylegan2_no_droplets.STYLEGAN2, batch=4, images=20))
    patch.setattr(stylegan2_no_droplets, "PICTURES", 8)


def test_energies_of_a_change() -> None:
    """What is the same in 4x4 pixels is low, what cancels there is high."""
    flat = torch.randn(2, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    checks = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1
    low, high = mixing.energies(flat + 3 * checks)
    assert low == pytest.approx(float(flat.square().mean()), rel=1e-4)
    assert high == pytest.approx(9, rel=1e-4)


def test_excess_is_of_a_place_not_of_a_size() -> None:
    x = torch.randn(2, 64, 16, 16)
    plain = stylegan2_no_droplets.excess(x)
    assert (plain < 1.6).all()
    torch.testing.assert_close(stylegan2_no_droplets.excess(x * 100 + 7), plain, atol=1e-3, rtol=1e-3)
    x[:, :, 3, 5] = 100.0
    assert (stylegan2_no_droplets.excess(x) > 10).all()


def _shorter(make: Callable[..., Run], **changes: Any) -> Callable[..., Run]:
    return lambda *args, **options: replace(make(*args, **options), **changes)


@pytest.mark.parametrize(
    ("claim", "small"),
    [
        (modes.CLAIM, small_modes),
        (wgan.CLAIM, small_wgan),
        (asked.CLAIM, small_asked),
        (bare.CLAIM, small_bare),
        (blurrier.CLAIM, small_blurrier),
        (r3gan.CLAIM, small_r3gan),
        (progressive.CLAIM, small_progressive),
        (cycle.CLAIM, small_cycle),
        (disco_modes.CLAIM, small_disco_modes),
        (disco_pairs.CLAIM, small_disco_pairs),
        (dualgan.CLAIM, small_dualgan),
        (stylegan_w_is_straighter.CLAIM, small_style),
        (mixing.CLAIM, small_style),
        (stylegan2_no_droplets.CLAIM, small_style),
    ],
    ids=lambda x: x.name if isinstance(x, Claim) else "",
)
def test_experiment(claim: Claim, small: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure that a check looks at is there, the same seed gives the same figures, and the plot is drawn."""
    small(monkeypatch)
    one, two = claim.experiment(7), claim.experiment(7)
    assert claim.checks
    assert {check.figure for check in claim.checks} <= one.figures.keys()
    if claim is not progressive.CLAIM:  # which measures time
        assert one == two
    claim.plot(Figure(), [{"seed": 7, "figures": one.figures, "series": one.series, "seconds": 1.0}])
