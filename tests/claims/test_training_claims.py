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

from ganvas.claims import Claim
from ganvas.claims.experiments import (
    ada_helps_on_few_images,
    class_asked_is_class_drawn,
    coupled_pairs_agree,
    cycle_prevents_collapse,
    discogan_covers_modes,
    discogan_recovers_pairs,
    domain_changes_content_stays,
    dualgan_noise_and_cycle,
    mapping_up_to_symmetry,
    pix2pix_on_facades,
    progressive_is_faster,
    shared_latent_translates,
    style_mixing_by_scale,
    stylegan2_no_droplets,
    stylegan_w_is_straighter,
    super_resolution_trades,
)
from ganvas.claims.kit import data, small_stylegan, unpaired_digits
from ganvas.claims.kit.quality import PART
from ganvas.core import Run, config
from ganvas.core.errors import UserError
from ganvas.data import toy
from ganvas.data.degradations import reduced
from ganvas.data.feed import Feed, Info
from ganvas.metrics.features import extractor
from ganvas.metrics.lpips import LPIPS


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


def small_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        class_asked_is_class_drawn,
        "_run",
        _shorter(class_asked_is_class_drawn._run, batch=4, images=4),
    )
    patch.setattr(class_asked_is_class_drawn, "EACH", 2)


def small_progressive(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(progressive_is_faster, "SLICES", 3)
    patch.setattr(progressive_is_faster, "PHASE", 8)
    patch.setattr(progressive_is_faster, "COUNT", PART)
    patch.setattr(
        progressive_is_faster, "_run", _shorter(progressive_is_faster._run, batch=4, images=12)
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


def _shorter(make: Callable[..., Run], **changes: Any) -> Callable[..., Run]:
    return lambda *args, **options: replace(make(*args, **options), **changes)


@pytest.mark.parametrize(
    ("claim", "small"),
    [
        (class_asked_is_class_drawn.CLAIM, small_asked),
        (progressive_is_faster.CLAIM, small_progressive),
        (ada_helps_on_few_images.CLAIM, small_ada),
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
