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

from ganvas import config
from ganvas.claims import Claim, _data, _quality, _style, _unpaired, stylegan2_no_droplets, stylegan_w_is_straighter
from ganvas.claims import ada_helps_on_few_images as ada
from ganvas.claims import class_asked_is_class_drawn as asked
from ganvas.claims import class_asked_is_class_drawn_mnist as mnist
from ganvas.claims import coupled_pairs_agree as coupled
from ganvas.claims import cycle_prevents_collapse as cycle
from ganvas.claims import discogan_covers_modes as disco_modes
from ganvas.claims import discogan_recovers_pairs as disco_pairs
from ganvas.claims import domain_changes_content_stays as stays
from ganvas.claims import dualgan_noise_and_cycle as dualgan
from ganvas.claims import mapping_up_to_symmetry as mapping
from ganvas.claims import modes_25_gaussians as modes
from ganvas.claims import pix2pix_on_facades as facades
from ganvas.claims import progressive_is_faster as progressive
from ganvas.claims import r3gan_beats_dcgan as beats
from ganvas.claims import r3gan_covers_modes as r3gan
from ganvas.claims import shared_latent_translates as shared_latent
from ganvas.claims import stacked_mnist_modes as stacked
from ganvas.claims import style_mixing_by_scale as mixing
from ganvas.claims import super_resolution_trades as trades
from ganvas.claims import vae_is_blurrier as blurrier
from ganvas.claims import wgan_loss_means_quality as wgan
from ganvas.claims import wgan_without_batch_norm as bare
from ganvas.core import Run
from ganvas.data import images, toy
from ganvas.data.derived import reduced
from ganvas.data.feed import Feed, Info
from ganvas.engine.engine import Engine
from ganvas.errors import UserError
from ganvas.metrics.features import Extractor, LeNet, extractor
from ganvas.metrics.lpips import LPIPS


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
    assert _unpaired.translation_scores(truth + 0.001, truth) == pytest.approx((1, 1, 1))
    assert _unpaired.translation_scores(truth[3:4].expand_as(truth), truth) == pytest.approx((0.1, 0.1, 0))
    assert _unpaired.translation_scores(truth.roll(1, 0), truth) == pytest.approx((0, 1, 1))  # diverse, and all wrong
    pairs = truth[[0, 0, 2, 2, 4, 4, 6, 6, 8, 8]]
    assert _unpaired.translation_scores(pairs, truth)[:2] == pytest.approx((0.5, 0.5))


def test_digits_and_negatives_share_no_digit() -> None:
    digits = _unpaired.digits_and_negatives()
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


def test_symmetries_of_languages() -> None:
    """No other order, every turn of the circle, every order."""
    found = {kind: mapping.automorphisms(toy.bigrams(kind, 5)) for kind in toy.LANGUAGES}
    assert [len(found[kind]) for kind in ("distinct", "ring", "uniform")] == [1, 5, 120]
    assert {tuple(p) for p in found["ring"]} == {tuple((np.arange(5) + k) % 5) for k in range(5)}


def test_scores_of_a_mapping() -> None:
    truth = toy.cipher(5, seed=3)
    none, ring, every = (mapping.automorphisms(toy.bigrams(kind, 5)) for kind in ("distinct", "ring", "uniform"))
    turned = truth[(np.arange(5) + 2) % 5]
    assert mapping.scores(truth, truth, none) == (1, 1, 1)
    assert mapping.scores(turned, truth, none) == (0, 0, 1)
    assert mapping.scores(turned, truth, ring) == (0, 1, 1)
    assert mapping.scores(truth[[0, 0, 0, 3, 4]], truth, every) == pytest.approx((0.6, 0.6, 0.6))


def test_domain_and_digit_are_told_apart() -> None:
    said = np.eye(21)[[3, 13, 14, 20]]  # a 3 of a, a 3 of b, a 4 of b, nothing
    assert stays.kept(said, 1, torch.tensor([3, 3, 3, 3])) == (0.5, 0.5)


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


def small_stays(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stays, "TRAINING", 150)
    patch.setattr(stays, "RUN", config.override(replace(stays.RUN, batch=2, images=4), "game=2"))


def small_mapping(patch: pytest.MonkeyPatch) -> None:
    for name, value in {"STARTS": 1, "PRETRAIN": 64, "PLAYED": 64}.items():
        patch.setattr(mapping, name, value)


def small_style(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_style, "COUNT", _quality.PART)
    for module in (stylegan_w_is_straighter, mixing):
        patch.setattr(module, "STYLEGAN", replace(_style.STYLEGAN, batch=4, images=20))
    patch.setattr(stylegan_w_is_straighter, "PATHS", 200)
    patch.setattr(mixing, "PAIRS", 8)
    patch.setattr(stylegan2_no_droplets, "STYLEGAN2", replace(stylegan2_no_droplets.STYLEGAN2, batch=4, images=20))
    patch.setattr(stylegan2_no_droplets, "PICTURES", 8)


def noise_feed(count: int, channels: int, stored: int, side: int) -> Feed:
    """Pairs of images that lie one behind the other, or of images and their reductions where there are 3 channels."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, stored, stored, channels), dtype=np.uint8)
    info = Info("pairs", "noise", "an array", "train", 3, side, side, count, "")
    return Feed(info, {"ab" if channels == 6 else "x": pixels})


def toy_lpips() -> LPIPS:
    return LPIPS(torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3)), (0,), [torch.ones(2)], "toy").requires_grad_(False)


def small_facades(patch: pytest.MonkeyPatch) -> None:
    feeds = noise_feed(4, 6, 72, 64), noise_feed(6, 6, 64, 64)
    needed = facades.Needed(*feeds, extractor("random-conv-v1"), toy_lpips())
    patch.setattr(facades, "ready", lambda: needed)
    patch.setattr(facades, "PART", 4)
    for name, run in facades.VARIANTS.items():
        narrow = config.override(config.override(run, "G.width=2"), "D.width=2")
        patch.setitem(facades.VARIANTS, name, replace(narrow, batch=1, images=1))


def small_trades(patch: pytest.MonkeyPatch) -> None:
    feed = noise_feed(4, 3, 20, 16)
    feed.scale, feed.derive = trades.SCALE, partial(reduced, scale=trades.SCALE)
    test = {trades.PICTURE: (torch.rand(1, 3, 5, 6) * 2 - 1, torch.rand(1, 3, 20, 24) * 2 - 1)}
    needed = trades.Needed(feed, test, toy_lpips(), vgg="")
    patch.setattr(trades, "ready", lambda: needed)
    patch.setattr(trades, "TOP", 0)
    patch.setattr(trades, "LEFT", 0)
    patch.setattr(trades, "PRETRAIN", 4)
    patch.setattr(trades, "RUN", replace(config.override(trades.RUN, "pretrain=4"), batch=2, images=6))


def small_coupled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(coupled, "_run", _shorter(coupled._run, batch=2, images=4))
    patch.setattr(coupled, "PAIRS", 16)


def small_shared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shared_latent, "_run", _shorter(shared_latent._run, batch=2, images=2))


def test_outlines_agree_with_themselves_and_no_digit_is_on_both_sides() -> None:
    feed = coupled.digits_and_outlines()
    x = feed.fixed(50)
    assert coupled.agreement(x.a, coupled.outlines(x.a)) == 1
    assert coupled.agreement(x.a, x.b) < 0.75
    assert (coupled.outlines(torch.zeros(1, 1, 28, 28)) == -1).all()
    raw = feed.raw()
    own = ((coupled.outlines(torch.from_numpy(raw["a"]).movedim(-1, 1).float() / 127.5 - 1) + 1) * 127.5).round().byte()
    assert not {p.numpy().tobytes() for p in own} & {p.tobytes() for p in raw["b"].transpose(0, 3, 1, 2)}


def small_ada(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ada, "READINGS", 3)
    patch.setattr(ada, "COUNT", _quality.PART)
    patch.setattr(ada, "VARIANTS", {k: replace(run, batch=4, images=12) for k, run in ada.VARIANTS.items()})


def small_beats(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(beats, "SECONDS", 0.0)  # one step
    patch.setattr(beats, "COUNT", 8)
    patch.setattr(beats, "PART", 8)
    feeds = dict.fromkeys(beats.SETS, images("digits", size=16, labels=False))
    patch.setattr(beats, "ready", lambda: (feeds, extractor("random-conv-v1")))
    patch.setattr(beats, "METHODS", {k: replace(run, batch=4) for k, run in beats.METHODS.items()})


def judge_of_digits() -> Extractor:
    """One that was not trained: its figures mean nothing."""
    torch.manual_seed(0)
    return Extractor("lenet", LeNet(), LeNet.dim, "", side=lambda longer: 32, channels=1)


def small_stacked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stacked, "TRIPLETS", 16)
    patch.setattr(stacked, "SAMPLES", 12)
    patch.setattr(stacked, "PART", 8)
    patch.setattr(stacked, "ready", lambda: (images("digits", size=16), judge_of_digits()))
    patch.setattr(stacked, "METHODS", {k: replace(run, batch=4, images=4) for k, run in stacked.METHODS.items()})


def small_mnist(patch: pytest.MonkeyPatch) -> None:
    digits = images("digits", size=32)
    patch.setattr(mnist, "ready", lambda: (digits, digits, judge_of_digits()))
    patch.setattr(mnist, "RUN", replace(mnist.RUN, batch=4, images=4))
    patch.setattr(mnist, "EACH", 2)
    patch.setattr(mnist, "REAL", 100)


def test_the_end_of_a_run_against_its_best() -> None:
    flat = [0.0] * 6
    found = ada.end({"frechet": [9, 3, 3, 3, 6, 6], "trained": [5.0] * 6, "held_out": [1.0] * 6, "generated": flat})
    assert found == {"overfitting": pytest.approx(0.8), "frechet": 5, "worse": pytest.approx(5 / 3)}


def test_few_and_others_share_no_digit() -> None:
    few, others = ({p.tobytes() for p in feed.raw()["x"]} for feed in ada.split())
    assert len(few) == ada.FEW
    assert not few & others


def test_a_claims_data_lie_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(_data.DATA_VARIABLE, raising=False)
    assert _data.place("mnist") == "mnist"  # downloaded
    with pytest.raises(UserError, match=r"flowers.*GANVAS_DATA"):
        _data.place("flowers")
    monkeypatch.setenv(_data.DATA_VARIABLE, str(tmp_path))
    assert _data.place("mnist") == "mnist"
    (tmp_path / "mnist").mkdir()
    assert _data.place("mnist") == str(tmp_path / "mnist")


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


@pytest.mark.parametrize("run", [*modes.METHODS.values(), *r3gan.METHODS.values(), *bare.RUNS.values()])
def test_generators_do_not_start_at_a_point(run: Run) -> None:
    """One that does may stay there, and scores as a single mode with good samples only."""
    model: Any = Engine(run, run.data()).model()
    assert model.sample(256).std(0).mean() > 0.05


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
        (ada.CLAIM, small_ada),
        (beats.CLAIM, small_beats),
        (stacked.CLAIM, small_stacked),
        (mnist.CLAIM, small_mnist),
        (cycle.CLAIM, small_cycle),
        (facades.CLAIM, small_facades),
        (trades.CLAIM, small_trades),
        (coupled.CLAIM, small_coupled),
        (shared_latent.CLAIM, small_shared),
        (disco_modes.CLAIM, small_disco_modes),
        (disco_pairs.CLAIM, small_disco_pairs),
        (dualgan.CLAIM, small_dualgan),
        (stays.CLAIM, small_stays),
        (mapping.CLAIM, small_mapping),
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
