"""The claims that train: their scores in closed form, and every experiment once at a size that takes a second."""

from __future__ import annotations

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
    class_asked_is_class_drawn,
    class_asked_is_class_drawn_mnist,
    coupled_pairs_agree,
    cycle_prevents_collapse,
    discogan_covers_modes,
    discogan_recovers_pairs,
    domain_changes_content_stays,
    dualgan_noise_and_cycle,
    mapping_up_to_symmetry,
    modes_25_gaussians,
    pix2pix_on_facades,
    r3gan_beats_dcgan,
    r3gan_covers_modes,
    shared_latent_translates,
    stacked_mnist_modes,
    super_resolution_trades,
    vae_is_blurrier,
    wgan_loss_means_quality,
    wgan_without_batch_norm,
)
from ganvas.claims.kit import data, unpaired_digits
from ganvas.claims.kit.quality import PART, Quality, rank_correlation
from ganvas.core import Run, config
from ganvas.core.errors import UserError
from ganvas.data import images, toy
from ganvas.data.degradations import reduced
from ganvas.data.feed import Feed, Info
from ganvas.engine.engine import Engine
from ganvas.metrics.features import Extractor, LeNet, extractor
from ganvas.metrics.lpips import LPIPS


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


def test_translation_scores() -> None:
    truth = torch.rand(10, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert unpaired_digits.translation_scores(truth + 0.001, truth) == pytest.approx((1, 1, 1))
    assert unpaired_digits.translation_scores(truth[3:4].expand_as(truth), truth) == pytest.approx(
        (0.1, 0.1, 0)
    )
    assert unpaired_digits.translation_scores(truth.roll(1, 0), truth) == pytest.approx(
        (0, 1, 1)
    )  # diverse, and all wrong
    pairs = truth[[0, 0, 2, 2, 4, 4, 6, 6, 8, 8]]
    assert unpaired_digits.translation_scores(pairs, truth)[:2] == pytest.approx((0.5, 0.5))


def test_digits_and_negatives_share_no_digit() -> None:
    digits = unpaired_digits.digits_and_negatives()
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
    found = {
        kind: mapping_up_to_symmetry.automorphisms(toy.bigrams(kind, 5)) for kind in toy.LANGUAGES
    }
    assert [len(found[kind]) for kind in ("distinct", "ring", "uniform")] == [1, 5, 120]
    assert {tuple(p) for p in found["ring"]} == {tuple((np.arange(5) + k) % 5) for k in range(5)}


def test_scores_of_a_mapping() -> None:
    truth = toy.cipher(5, seed=3)
    none, ring, every = (
        mapping_up_to_symmetry.automorphisms(toy.bigrams(kind, 5))
        for kind in ("distinct", "ring", "uniform")
    )
    turned = truth[(np.arange(5) + 2) % 5]
    assert mapping_up_to_symmetry.scores(truth, truth, none) == (1, 1, 1)
    assert mapping_up_to_symmetry.scores(turned, truth, none) == (0, 0, 1)
    assert mapping_up_to_symmetry.scores(turned, truth, ring) == (0, 1, 1)
    assert mapping_up_to_symmetry.scores(truth[[0, 0, 0, 3, 4]], truth, every) == pytest.approx(
        (0.6, 0.6, 0.6)
    )


def test_domain_and_digit_are_told_apart() -> None:
    said = np.eye(21)[[3, 13, 14, 20]]  # a 3 of a, a 3 of b, a 4 of b, nothing
    assert domain_changes_content_stays.kept(said, 1, torch.tensor([3, 3, 3, 3])) == (0.5, 0.5)


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


def small_cycle(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        cycle_prevents_collapse, "_run", _shorter(cycle_prevents_collapse._run, batch=2, images=4)
    )


def small_disco_modes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        discogan_covers_modes, "_run", _shorter(discogan_covers_modes._run, batch=4, images=8)
    )
    patch.setattr(discogan_covers_modes, "SAMPLES", 400)


def small_disco_pairs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(discogan_recovers_pairs, "EVERY", 3)
    patch.setattr(
        discogan_recovers_pairs, "_run", _shorter(discogan_recovers_pairs._run, batch=4, images=24)
    )


def small_dualgan(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        dualgan_noise_and_cycle,
        "RUNS",
        {k: replace(run, batch=2, images=2) for k, run in dualgan_noise_and_cycle.RUNS.items()},
    )


def test_shape_is_without_contrast() -> None:
    x = torch.rand(3, 1, 4, 4)
    torch.testing.assert_close(
        discogan_recovers_pairs.shape(0.1 * x - 0.5), discogan_recovers_pairs.shape(x)
    )
    assert not torch.allclose(discogan_recovers_pairs.shape(-x), discogan_recovers_pairs.shape(x))


def test_found_after() -> None:
    assert (
        discogan_recovers_pairs.found_after([0.1, 0.85, 0.7]) == 2 * discogan_recovers_pairs.EVERY
    )
    assert discogan_recovers_pairs.found_after([0.1, 0.2]) == 3 * discogan_recovers_pairs.EVERY, (
        "never: one reading more than there were"
    )


def test_coverage_of_modes() -> None:
    clusters = torch.arange(100) // 20
    both = discogan_covers_modes.B[torch.arange(100) // 10]  # each cluster in two modes of its own
    assert discogan_covers_modes.coverage(both, clusters) == pytest.approx(
        {"modes": 10, "overlap": 0, "good": 1}
    )
    one = discogan_covers_modes.coverage(discogan_covers_modes.B[:1].expand(100, 2) + 1.0, clusters)
    assert one == pytest.approx({"modes": 1, "overlap": 0.8, "good": 0})


def test_noise_and_cycle() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(10, 1, 4, 4, generator=generator)
    exact = dualgan_noise_and_cycle.noise_and_cycle(x, (-x).expand(3, *x.shape), x, -x)
    assert exact == pytest.approx(
        {"noise": 0, "noise_share": 0, "cycle_share": 0, "matched": 1, "returned": 1}
    )
    noisy = dualgan_noise_and_cycle.noise_and_cycle(
        x, torch.stack([-x, 2 / 255 - x]), x.roll(1, 0), -x
    )
    assert noisy["noise"] == pytest.approx(1)
    assert noisy["cycle_share"] == pytest.approx(1)
    assert noisy["returned"] == 0


def small_stays(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(domain_changes_content_stays, "TRAINING", 150)
    patch.setattr(
        domain_changes_content_stays,
        "RUN",
        config.override(replace(domain_changes_content_stays.RUN, batch=2, images=4), "game=2"),
    )


def small_mapping(patch: pytest.MonkeyPatch) -> None:
    for name, value in {"STARTS": 1, "PRETRAIN": 64, "PLAYED": 64}.items():
        patch.setattr(mapping_up_to_symmetry, name, value)


def noise_feed(count: int, channels: int, stored: int, side: int) -> Feed:
    """Pairs of images that lie one behind the other, or of images and their reductions where there are 3 channels."""
    pixels = np.random.default_rng(0).integers(
        0, 256, (count, stored, stored, channels), dtype=np.uint8
    )
    info = Info("pairs", "noise", "an array", "train", 3, side, side, count, "")
    return Feed(info, {"ab" if channels == 6 else "x": pixels})


def toy_lpips() -> LPIPS:
    return LPIPS(
        torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3)), (0,), [torch.ones(2)], "toy"
    ).requires_grad_(False)


def small_facades(patch: pytest.MonkeyPatch) -> None:
    feeds = noise_feed(4, 6, 72, 64), noise_feed(6, 6, 64, 64)
    needed = pix2pix_on_facades.Needed(*feeds, extractor("random-conv-v1"), toy_lpips())
    patch.setattr(pix2pix_on_facades, "ready", lambda: needed)
    patch.setattr(pix2pix_on_facades, "PART", 4)
    for name, run in pix2pix_on_facades.VARIANTS.items():
        narrow = config.override(config.override(run, "G.width=2"), "D.width=2")
        patch.setitem(pix2pix_on_facades.VARIANTS, name, replace(narrow, batch=1, images=1))


def small_trades(patch: pytest.MonkeyPatch) -> None:
    feed = noise_feed(4, 3, 20, 16)
    feed.scale, feed.derive = (
        super_resolution_trades.SCALE,
        partial(reduced, scale=super_resolution_trades.SCALE),
    )
    test = {
        super_resolution_trades.PICTURE: (
            torch.rand(1, 3, 5, 6) * 2 - 1,
            torch.rand(1, 3, 20, 24) * 2 - 1,
        )
    }
    needed = super_resolution_trades.Needed(feed, test, toy_lpips(), vgg="")
    patch.setattr(super_resolution_trades, "ready", lambda: needed)
    patch.setattr(super_resolution_trades, "TOP", 0)
    patch.setattr(super_resolution_trades, "LEFT", 0)
    patch.setattr(super_resolution_trades, "PRETRAIN", 4)
    patch.setattr(
        super_resolution_trades,
        "RUN",
        replace(config.override(super_resolution_trades.RUN, "pretrain=4"), batch=2, images=6),
    )


def small_coupled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        coupled_pairs_agree, "_run", _shorter(coupled_pairs_agree._run, batch=2, images=4)
    )
    patch.setattr(coupled_pairs_agree, "PAIRS", 16)


def small_shared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        shared_latent_translates, "_run", _shorter(shared_latent_translates._run, batch=2, images=2)
    )


def test_outlines_agree_with_themselves_and_no_digit_is_on_both_sides() -> None:
    feed = coupled_pairs_agree.digits_and_outlines()
    x = feed.fixed(50)
    assert coupled_pairs_agree.agreement(x.a, coupled_pairs_agree.outlines(x.a)) == 1
    assert coupled_pairs_agree.agreement(x.a, x.b) < 0.75
    assert (coupled_pairs_agree.outlines(torch.zeros(1, 1, 28, 28)) == -1).all()
    raw = feed.raw()
    own = (
        (
            (
                coupled_pairs_agree.outlines(
                    torch.from_numpy(raw["a"]).movedim(-1, 1).float() / 127.5 - 1
                )
                + 1
            )
            * 127.5
        )
        .round()
        .byte()
    )
    assert not {p.numpy().tobytes() for p in own} & {
        p.tobytes() for p in raw["b"].transpose(0, 3, 1, 2)
    }


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
        (r3gan_beats_dcgan.CLAIM, small_beats),
        (stacked_mnist_modes.CLAIM, small_stacked),
        (class_asked_is_class_drawn_mnist.CLAIM, small_mnist),
        (cycle_prevents_collapse.CLAIM, small_cycle),
        (pix2pix_on_facades.CLAIM, small_facades),
        (super_resolution_trades.CLAIM, small_trades),
        (coupled_pairs_agree.CLAIM, small_coupled),
        (shared_latent_translates.CLAIM, small_shared),
        (discogan_covers_modes.CLAIM, small_disco_modes),
        (discogan_recovers_pairs.CLAIM, small_disco_pairs),
        (dualgan_noise_and_cycle.CLAIM, small_dualgan),
        (domain_changes_content_stays.CLAIM, small_stays),
        (mapping_up_to_symmetry.CLAIM, small_mapping),
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
    assert one == two
    claim.plot(
        Figure(), [{"seed": 7, "figures": one.figures, "series": one.series, "seconds": 1.0}]
    )
