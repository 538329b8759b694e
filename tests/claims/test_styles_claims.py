"""Claims on styles, augmentation, normalization and attention: scores in closed form."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from ganvas.claims.experiments import (
    attention_reaches_far,
    augmentation_does_not_leak_below_p,
    augmentation_on_a_tenth_of_the_data,
    demodulation_keeps_unit_variance,
    generated_images_project_nearer,
    path_length_regularisation,
    progan_minibatch_stddev,
    progressive_is_faster,
    projection_against_concatenation,
    singular_values_tell,
    spectral_norm_keeps_rank,
    style_mixing_by_scale,
    stylegan2_no_droplets,
    truncation_trades,
    w_is_separable,
)
from ganvas.core import Samples
from ganvas.data import images
from ganvas.nets.attention import SelfAttention
from ganvas.nets.spectral import WEIGHTED


def test_demodulated_maps_have_unit_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demodulation_keeps_unit_variance, "STYLES", 2)
    monkeypatch.setattr(demodulation_keeps_unit_variance, "SIDE", 96)
    found = demodulation_keeps_unit_variance.experiment(100)
    assert found.figures["worst_error"] < 0.05
    assert found.nulls["modulated"]["worst_error"] > 0.5


def test_truncation_scores() -> None:
    found = truncation_trades.scores(
        {"truncation": [2, 1, 0.5], "precision": [0.5, 0.7, 0.9], "recall": [0.9, 0.4, 0.1]}
    )
    assert (found["precision_spearman"], found["recall_spearman"]) == pytest.approx((-1, 1))
    assert (found["precision_gain"], found["recall_loss"]) == pytest.approx((0.4, 0.8))


def test_the_outermost_latents_have_the_mass_of_the_threshold_and_keep_their_signs() -> None:
    model = cast(Samples, SimpleNamespace(sample=lambda n, z: z))
    z = torch.linspace(-3, 3, 60).view(-1, 1)
    torch.testing.assert_close(truncation_trades.outer(model, z, 8.0), z, atol=1e-4, rtol=0)
    few = truncation_trades.outer(model, z, 0.5)
    assert (few.sign() == z.sign()).all()
    inner = math.sqrt(2) * float(torch.erfinv(torch.tensor(1 - math.erf(0.5 / 2**0.5))))
    assert few.abs().min() >= inner


def test_a_linear_classifier_of_latents() -> None:
    draws = np.random.default_rng(0)
    latents = draws.normal(size=(400, 2))
    p = np.zeros((400, 3))
    p[np.arange(400), (latents[:, 0] > 0).astype(int)] = 0.9
    assert w_is_separable.error(latents, p) < 0.05
    assert w_is_separable.error(draws.normal(size=(400, 2)), p) > 0.3
    assert w_is_separable.error(latents, np.eye(3)[[2] * 400]) == 1, "noise separates nothing"
    unsure = p.copy()
    unsure[::2] = [0.3, 0.3, 0.4]  # nothing, and less sure: the half that is left out
    assert w_is_separable.error(latents, unsure) < 0.1


def test_turns_happen_with_their_probability_and_keep_the_image() -> None:
    x = torch.arange(4.0).view(1, 1, 2, 2).expand(4000, -1, -1, -1)
    assert torch.equal(augmentation_does_not_leak_below_p.Turns(0.0)(x), x)
    turned = augmentation_does_not_leak_below_p.Turns(0.8)(x)
    corner = turned[:, 0, 0, 0].long().bincount() / 4000
    expected = torch.tensor([0.4, 0.2, 0.2, 0.2])
    torch.testing.assert_close(corner, expected, atol=0.03, rtol=0)
    assert torch.equal(turned.flatten(1).sort(1).values, x.flatten(1))


def test_positions_of_samples() -> None:
    said = np.array([0, 0, 0, 1, 4])
    found = augmentation_does_not_leak_below_p.positions(said)
    assert found == pytest.approx({"upright": 0.75, "recognized": 0.8})
    noise = np.array([0, 4, 4, 4])
    assert augmentation_does_not_leak_below_p.positions(noise)["upright"] == 0


def test_a_tenth_and_the_others_share_no_letter_and_the_end_is_set_against_the_best() -> None:
    few, others = (
        {p.tobytes() for p in feed.raw()["x"]}
        for feed in augmentation_on_a_tenth_of_the_data.letters()
    )
    assert len(few) > 600
    assert len(few & others) < 0.02 * len(few), "typefaces may share a letter"
    found = augmentation_on_a_tenth_of_the_data.end([9, 3, 3, 3, 6, 6], [0.5] * 3 + [0.8] * 3)
    assert found == pytest.approx({"frechet": 5, "worse": 5 / 3, "overfitting": 0.8})


def test_share_of_the_largest_tenth() -> None:
    assert spectral_norm_keeps_rank.top_share(torch.ones(40)) == pytest.approx(0.1)
    assert spectral_norm_keeps_rank.top_share(torch.eye(5)[0]) == 1
    layer = spectral_norm_keeps_rank.weight_normalized(size=8, channels=1)
    rows = [m.weight.flatten(1).norm(dim=1) for m in layer.modules() if isinstance(m, WEIGHTED)]
    for lengths in rows:
        torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_lengths_count_only_at_the_same_distance() -> None:
    plain = {"length": 4.0, "uneven": 0.5, "frechet": 1.0}
    near = {"length": 2.0, "uneven": 0.25, "frechet": 1.1}
    found = path_length_regularisation.figures({"penalized": near, "plain": plain})
    assert (found["shorter"], found["evener"]) == (2, 2)
    noise = path_length_regularisation.figures(
        {"penalized": near | {"frechet": 9.0}, "plain": plain}
    )
    assert (noise["shorter"], noise["evener"]) == (0, 0)


def test_area_under_the_curve() -> None:
    auc = generated_images_project_nearer.auc
    assert auc([1, 2], [3, 4]) == 1
    assert auc([3, 4], [1, 2]) == 0
    assert auc([1, 3], [2, 3]) == (1 + 1 + 0 + 0.5) / 4


def test_modes_of_stacked_digits() -> None:
    every = np.stack(np.unravel_index(np.arange(1000), (10, 10, 10)), 1)
    found = progan_minibatch_stddev.modes(every)
    assert found == pytest.approx({"modes": 1000, "kl": 0, "recognized": 1}, abs=1e-9)
    one = progan_minibatch_stddev.modes(np.zeros((50, 3), int))
    assert (one["modes"], one["kl"]) == (1, pytest.approx(math.log(1000)))
    nothing = progan_minibatch_stddev.modes(np.full((50, 3), 10))
    assert (nothing["modes"], nothing["kl"]) == (0, pytest.approx(math.log(1000)))


def test_the_control_sees_no_spread_and_is_the_same_network() -> None:
    there = progan_minibatch_stddev.discriminator(size=16, channels=3)
    blind = progan_minibatch_stddev.without_spread(size=16, channels=3)
    blind.load_state_dict(there.state_dict())
    x = torch.randn(4, 3, 16, 16)
    twice = torch.cat([x[:1]] * 4)
    torch.testing.assert_close(blind(x)[:1], blind(twice)[:1])
    assert not torch.allclose(there(x)[:1], there(twice)[:1])


def test_low_frequencies_and_kinds() -> None:
    flat = torch.randn(2, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    checks = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1
    low = style_mixing_by_scale.low_frequency(flat + 3 * checks)
    assert low == pytest.approx(float(flat.square().mean()), rel=1e-4)
    assert style_mixing_by_scale.changed(np.array([0, 1, 10]), np.array([0, 2, 3])) == 0.5


def test_a_common_style_makes_all_scales_alike() -> None:
    torch.manual_seed(0)
    G: Any = style_mixing_by_scale.common(size=32, channels=1).eval()
    w = torch.randn(1, 8, 64)
    noise = G.synthesis.fixed_noise()
    torch.testing.assert_close(G.synthesis(w, noise=noise), G.synthesis(w.flip(1), noise=noise))


def test_excess_is_of_a_place_not_of_a_size() -> None:
    x = torch.randn(2, 64, 16, 16)
    plain = stylegan2_no_droplets.excess(x)
    assert (plain < 1.6).all()
    torch.testing.assert_close(
        stylegan2_no_droplets.excess(x * 100 + 7), plain, atol=1e-3, rtol=1e-3
    )
    x[:, :, 3, 5] = 100.0
    assert (stylegan2_no_droplets.excess(x) > 10).all()


def test_a_ratio_of_droplets_needs_two_networks_that_have_learned() -> None:
    instance = {"excess": 6.0, "frechet": 2.0}
    good = {"excess": 2.0, "frechet": 2.2}
    assert stylegan2_no_droplets.figures({"instance": instance, "demodulated": good})["ratio"] == 3
    noise = {"instance": instance, "demodulated": good | {"frechet": 50.0}}
    assert stylegan2_no_droplets.figures(noise)["ratio"] == 0


def test_either_mark_alone_is_the_same_in_both_kinds_of_canvases() -> None:
    torch.manual_seed(0)
    agree, differ = (attention_reaches_far.canvases(4000, kind) for kind in (True, False))
    half = attention_reaches_far.WIDTH // 2
    for part in (slice(0, half), slice(half, None)):
        one, other = (x[..., part].mean(0) for x in (agree, differ))
        torch.testing.assert_close(one, other, atol=0.1, rtol=0)
    ink = [x[..., :half].sum((1, 2, 3)) - x[..., half:].sum((1, 2, 3)) for x in (agree, differ)]
    assert (ink[0] == 0).all()
    assert (ink[1] != 0).float().mean() > 0.5


@pytest.mark.parametrize("mix", [attention_reaches_far.Residual, SelfAttention])
def test_only_attention_relates_the_two_marks(mix: type[nn.Module]) -> None:
    """Without it a score is a sum of what is seen at either place."""
    torch.manual_seed(0)
    D: Any = attention_reaches_far.Discriminator(mix).eval()
    D.mix.gamma.data.fill_(1.0)
    left, right = (torch.zeros(1, 1, 8, 56) for _ in range(2))
    left[..., :12], right[..., -12:] = torch.randn(8, 12), torch.randn(8, 12)
    none = torch.zeros_like(left)
    beyond = float((D(left + right) - D(left) - D(right) + D(none)).detach().abs())
    assert (beyond > 1e-4) == (mix is SelfAttention)


def test_the_residual_block_has_the_weights_of_attention() -> None:
    for channels in (24, 32, 64):
        ours, theirs = (
            sum(p.numel() for p in m.parameters())
            for m in (attention_reaches_far.Residual(channels), SelfAttention(channels))
        )
        assert ours == pytest.approx(theirs, rel=0.1)


def test_smoothing_passes_over_a_single_reading() -> None:
    assert progressive_is_faster.smoothed([9, 8, 1, 7, 6, 5]) == [8, 8, 7, 6, 6, 6]


def test_settled() -> None:
    settled = progressive_is_faster.settled
    assert settled([1, 2, 3, 4], [9, 3, 2, 1], 3) == 2
    assert settled([1, 2, 3, 4], [1, 9, 2, 1], 3) == 3, "touching it by luck does not count"
    assert settled([1, 2, 3, 4], [1, 1, 1, 4], 3) is None


def curve(speed: float, floor: float = 0.0) -> dict[str, list[float]]:
    seconds = [float(t) for t in range(1, 101)]
    return {"seconds": seconds, "frechet": [floor + math.exp(-speed * t / 25) for t in seconds]}


def test_race() -> None:
    def speedup(full: Any, growing: Any) -> float:
        return progressive_is_faster.race(full, growing)["speedup"]

    assert speedup(curve(1), curve(2)) == pytest.approx(2, abs=0.05)
    assert speedup(curve(1), curve(1)) == 1
    assert speedup(curve(1), curve(0.5)) == 0, "never got there"
    assert speedup(curve(1), curve(5, floor=0.1)) == 0, "faster at first, and stuck"


def test_time_of_a_growing_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progressive_is_faster, "PHASE", 10)
    costs = {4: 1.0, 8: 2.0, 16: 5.0}
    spent = progressive_is_faster.spent
    assert [spent(4, n, costs) for n in (0, 10, 20, 30, 40)] == [0, 10, 30, 50, 100]
    assert spent(16, 7, costs) == 35


def test_a_collapse_is_against_the_best_and_growth_needs_one() -> None:
    assert singular_values_tell.collapse([9, 3, 20, 30, 10]) == pytest.approx(20 / 3)
    few = {"collapse": 3.0, "sigma0/input": 2.0, "sigma0/output": 8.0}
    every = {"collapse": 1.0, "sigma0/input": 2.0, "sigma0/output": 4.0}
    found = singular_values_tell.figures({"few": few, "every": every})
    assert (found["growth"], found["first_layer"]) == (2, 1)
    calm = singular_values_tell.figures({"few": few | {"collapse": 1.1}, "every": every})
    assert calm["growth"] == 0


def test_labels_enter_by_concatenation() -> None:
    torch.manual_seed(0)
    D = projection_against_concatenation.Concatenation(width=8, classes=3, size=8, channels=1)
    x = torch.randn(1, 1, 8, 8).expand(2, -1, -1, -1)
    one, other = D(x, torch.tensor([0, 1])).tolist()
    assert one != other


class Judge:
    """A classifier that sees one class or nothing in turn."""

    accuracy = 1.0

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        return np.eye(11)[np.arange(len(x)) % 11]


def short(module: Any, images: int = 32) -> Any:
    """The module's comparison, on runs of a step or two."""
    return module.CLAIM.experiment.shortened(images)


def small_truncation(patch: pytest.MonkeyPatch) -> Any:
    patch.setattr(truncation_trades, "RUN", replace(truncation_trades.RUN, batch=4, images=8))
    patch.setattr(truncation_trades, "COUNT", 40)
    patch.setattr(truncation_trades, "PART", 20)
    patch.setattr(truncation_trades, "THRESHOLDS", (2.0, 0.5))
    return truncation_trades.experiment


def small_projection(patch: pytest.MonkeyPatch) -> Any:
    its = replace(generated_images_project_nearer.RUN, batch=4, images=4)
    patch.setattr(generated_images_project_nearer, "RUN", its)
    patch.setattr(generated_images_project_nearer, "EACH", 3)
    patch.setattr(generated_images_project_nearer, "STEPS", 2)
    return generated_images_project_nearer.experiment


def small_progressive(patch: pytest.MonkeyPatch) -> Any:
    runs = {k: replace(r, batch=4, images=12) for k, r in progressive_is_faster.RUNS.items()}
    patch.setattr(progressive_is_faster, "RUNS", runs)
    patch.setattr(progressive_is_faster, "READINGS", 3)
    patch.setattr(progressive_is_faster, "TIMED", 1)
    return progressive_is_faster.experiment


def small_stddev(patch: pytest.MonkeyPatch) -> Any:
    patch.setattr(progan_minibatch_stddev, "SAMPLES", 20)
    patch.setattr(progan_minibatch_stddev, "PART", 20)
    return short(progan_minibatch_stddev)


def small_paths(patch: pytest.MonkeyPatch) -> Any:
    patch.setattr(path_length_regularisation, "PATHS", 200)
    patch.setattr(path_length_regularisation, "COUNT", 8)
    return short(path_length_regularisation)


def small_attention(patch: pytest.MonkeyPatch) -> Any:
    patch.setattr(attention_reaches_far, "STEPS", 2)
    patch.setattr(attention_reaches_far, "TESTED", 20)
    patch.setattr(attention_reaches_far, "BATCH", 4)
    return attention_reaches_far.experiment


def small_separable(patch: pytest.MonkeyPatch) -> Any:
    patch.setattr(w_is_separable, "SAMPLES", 40)
    patch.setattr(w_is_separable, "PART", 20)
    return short(w_is_separable)


def small_leak(patch: pytest.MonkeyPatch) -> Any:
    patch.setattr(augmentation_does_not_leak_below_p, "SAMPLES", 30)
    return short(augmentation_does_not_leak_below_p)


def small_tenth(patch: pytest.MonkeyPatch) -> Any:
    patch.setattr(augmentation_on_a_tenth_of_the_data, "COUNT", 16)
    return replace(short(augmentation_on_a_tenth_of_the_data), readings=3)


def small_mixing(patch: pytest.MonkeyPatch) -> Any:
    patch.setattr(style_mixing_by_scale, "PAIRS", 12)
    its = short(style_mixing_by_scale, 8)
    letters = partial(images, "letters", size=32, labels=False)
    arms = {k: replace(r, data=letters, batch=4) for k, r in its.arms.items()}
    return replace(its, arms=arms)


@pytest.mark.parametrize(
    ("module", "small"),
    [
        (attention_reaches_far, small_attention),
        (augmentation_does_not_leak_below_p, small_leak),
        (augmentation_on_a_tenth_of_the_data, small_tenth),
        (generated_images_project_nearer, small_projection),
        (path_length_regularisation, small_paths),
        (progan_minibatch_stddev, small_stddev),
        (progressive_is_faster, small_progressive),
        (spectral_norm_keeps_rank, lambda patch: short(spectral_norm_keeps_rank)),
        (style_mixing_by_scale, small_mixing),
        (truncation_trades, small_truncation),
        (w_is_separable, small_separable),
    ],
    ids=lambda x: x.CLAIM.name if hasattr(x, "CLAIM") else "",
)
def test_experiment(module: Any, small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure that a check names is there, for the nulls too, and the plot is drawn."""
    for name, fake in (("quality", lambda: lambda model: 1.0), ("judge", lambda seed: Judge())):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, fake)
    found = small(monkeypatch)(100)
    checks = module.CLAIM.words.checks
    named = {check.figure for check in checks}
    assert named <= found.figures.keys() <= module.CLAIM.words.figures.keys()
    assert "untrained" in found.nulls
    assert len(found.nulls) > 1
    judged = {check.figure for check in checks if check.role == "claim"}
    assert all(judged <= null.keys() for null in found.nulls.values())
    record = {"figures": found.figures, "series": found.series, "nulls": found.nulls}
    module.CLAIM.plot(Figure(), [record])
