"""Claims on generators and classifiers seen from inside: each experiment at toy size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from ganvas.claims.claim import Finding
from ganvas.claims.experiments import (
    adversarial_reprogramming,
    artifact_units,
    connected_latents_bridge_modes,
    copies_win_common_measures,
    discrete_sequences_favor_likelihood,
    discriminator_sharpens_reconstructions,
    no_model_leads_every_measure,
    noise_scale_bounds_useful_batches,
    penalties_against_small_changes,
    penalties_decide_convergence,
    units_match_concepts,
)
from ganvas.claims.kit import resnet20, scenes, super_resolution
from ganvas.claims.kit.training import Comparison
from ganvas.claims.runner import judge
from ganvas.core import Batch, Shape, Terms
from ganvas.data import Feed, images
from ganvas.evaluation import causal
from ganvas.evaluation.dissection import LayerUnits
from ganvas.inference.units import Layer
from ganvas.metrics.concepts import rules
from ganvas.metrics.dissection import Matches
from ganvas.metrics.features.base import WEIGHTS_VARIABLE
from ganvas.metrics.lpips import LPIPS


def seed_of(finding: Finding) -> dict[str, object]:
    """A finding as a record holds it."""
    return {
        "seed": 0,
        "figures": dict(finding.figures),
        "series": dict(finding.series),
        "nulls": {k: dict(v) for k, v in finding.nulls.items()},
    }


@pytest.fixture
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(scenes, "SCENES", 128)
    for cached in (scenes.scenes, artifact_units.real):
        cached.cache_clear()
    yield
    for cached in (scenes.scenes, artifact_units.real):
        cached.cache_clear()


@pytest.mark.usefixtures("few_scenes")
def test_scenes_are_letters_of_three_colors() -> None:
    feed = scenes.scenes()
    x = feed.draw(0, 64, seed=0).x
    assert x.shape == (64, 3, 32, 32)
    maps = rules(["red", "green", "blue", "yellow", "cyan", "magenta"]).maps(x)
    shares = maps.float().mean((0, 2, 3))
    assert bool((shares[:3] > 0.02).all())
    assert not maps[:, 3:].any()
    cells = maps[:, :3].unflatten(3, (2, 16)).unflatten(2, (2, 16)).any(5).any(3)
    assert bool((cells.sum(1) == 1).all())  # one color in each of four cells


def test_matches_of_other_images_are_the_null_of_matches() -> None:
    match = Matches(*(torch.tensor([[v], [0.0]]) for v in (0.5, 0.4, 0.3)))
    none = Matches(*(torch.zeros(2, 1) for _ in range(3)))
    of = LayerUnits(Layer("G", 2, 4, 4), match, none, torch.zeros(2, 1))
    assert units_match_concepts.share_matched(of) == 0.5
    assert units_match_concepts.share_matched(units_match_concepts.swapped(of)) == 0


@pytest.mark.usefixtures("few_scenes")
def test_untrained_units_match_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    module = units_match_concepts
    monkeypatch.setattr(module, "RUN", replace(module.RUN, batch=8, images=8))
    monkeypatch.setattr(module, "SAMPLES", 16)
    monkeypatch.setattr(module, "EDITED", 8)
    monkeypatch.setattr(module, "COUNTS", (0, 4))
    monkeypatch.setattr(causal, "PART", 8)
    found = seed_of(module.experiment(100))
    judged = judge(module.CLAIM, [found])
    assert not judged["holds"]
    assert not judged["void"]
    module.CLAIM.plot(Figure(), [found])


@pytest.mark.usefixtures("few_scenes")
def test_units_of_artifacts_are_judged_beside_random_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    module = artifact_units
    monkeypatch.setattr(module, "RUN", replace(module.RUN, batch=8, images=8))
    for name, value in {"REAL": 64, "SAMPLES": 24, "RANDOM": 2}.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module.artifacts, "counts_of", lambda units: [0, 1])
    found = seed_of(module.experiment(100))
    judged = judge(module.CLAIM, [found])
    assert not judged["holds"]  # one seed has no interval
    assert not judged["void"]
    module.CLAIM.plot(Figure(), [found])


def test_radii_of_dirac_gan_are_the_closed_forms() -> None:
    """f'(0) = 1/2: eigenvalues +- i / 2, and (-gamma +- sqrt(gamma^2 - 1)) / 2 with R1."""
    module = penalties_decide_convergence
    game, h, gamma = module.dirac(), module.RATE, module.GAMMA

    def radius(kind: str) -> float:
        return module.spectral_radius(module.step_matrix(game, kind))

    assert radius("gan") == pytest.approx(abs(1 + h * 0.5j))
    assert radius("wgan") == pytest.approx(abs(1 + h * 1j))
    with_r1 = (-gamma + 1j * (1 - gamma**2) ** 0.5) / 2
    for kind in ("r1", "r2"):
        assert radius(kind) == pytest.approx(abs(1 + h * with_r1))


def test_the_gaussian_game_rests_at_its_equilibrium() -> None:
    module = penalties_decide_convergence
    game = module.gaussian(100)
    for kind in (*module.PENALIZED, *module.PLAIN):
        moved = module.field(game, kind, game.equilibrium)
        assert float(moved.abs().max()) < 1e-12


def test_rates_are_measured_above_the_floor() -> None:
    module = penalties_decide_convergence
    found = [0.9**i * (1.5 + (-1) ** i) for i in range(400)]
    steady = [0.9**i for i in range(400)]
    assert module.rate_error(found, steady) < 0.02
    assert module.rate_error([0.8**i for i in range(400)], steady) > 1
    matrix = torch.diag(torch.tensor([0.5, 0.9]).double())
    game = dataclasses.replace(module.dirac(), equilibrium=torch.zeros(2).double())
    assert module.rate(module.linear_distances(game, matrix, 100)[:100]) == pytest.approx(
        math.log(0.9), abs=1e-3
    )


def test_games_of_a_few_steps_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    module = penalties_decide_convergence
    monkeypatch.setattr(module, "STEPS", 12)
    found = seed_of(module.experiment(100))
    judged = judge(module.CLAIM, [found])
    assert not judged["holds"]
    module.CLAIM.plot(Figure(), [found])


def test_the_program_leaves_the_image_as_it_is() -> None:
    program = adversarial_reprogramming.Program(3)
    assert int(3 * program.mask.sum()) == 2484
    torch.nn.init.normal_(program.weight, std=9.0)
    x = torch.rand(2, 1, 14, 14) * 2 - 1
    out = program(x)
    assert torch.equal(out[:, :, 9:23, 9:23], x.expand(-1, 3, -1, -1))
    around = out[:, :, program.mask.bool()]
    assert torch.equal(around[0], around[1])
    assert float(out.detach().abs().max()) <= 1


def test_resnet20_has_its_published_weights(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(shared / "data" / "weights"))
    net = resnet20.resnet20()
    assert sum(p.numel() for p in net.parameters()) == 269_722


def test_fitted_batch_norm_standardizes_what_it_was_fitted_to() -> None:
    x = 3 + 2 * torch.randn(500, 3, 4, 4)
    net = adversarial_reprogramming.fitted(torch.nn.Sequential(torch.nn.BatchNorm2d(3)), x)
    out = adversarial_reprogramming.frozen(net)(x)
    assert out.mean().abs() < 0.02
    assert float(out.std()) == pytest.approx(1, abs=0.02)


def test_a_program_of_a_few_steps_is_no_better_than_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = adversarial_reprogramming
    x, y = torch.rand(64, 1, 14, 14) * 2 - 1, torch.arange(64) % 10
    monkeypatch.setattr(module, "digits", lambda: module.Task(x, y, x, y))
    monkeypatch.setattr(module, "place", lambda name: "letters")
    monkeypatch.setattr(module, "resnet20", module.ResNet20)
    letters = module.images
    monkeypatch.setattr(module, "images", lambda *a, **k: letters("letters", size=32, channels=3))
    for name, value in {"STEPS": 2, "TRIED": 1, "READ": 1, "BATCH": 4, "FITTED": 8}.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "RUN", replace(module.RUN, batch=4, images=4))
    found = seed_of(module.experiment(100))
    judged = judge(module.CLAIM, [found])
    assert not judged["holds"]
    assert not judged["void"]
    module.CLAIM.plot(Figure(), [found])


def test_the_least_change_of_a_linear_score_is_the_closed_form() -> None:
    """D(x) = w x + b falls by size times |w|_1 along the signs of w."""
    module = penalties_against_small_changes
    linear = torch.nn.Linear(64, 1)
    torch.nn.init.uniform_(linear.weight, 0.1, 0.2)
    torch.nn.init.constant_(linear.bias, 1.0)
    net = torch.nn.Sequential(torch.nn.Flatten(), linear)
    x = torch.zeros(3, 1, 8, 8)
    wanted = module.LEVELS / float(linear.weight.detach().abs().sum())
    level = torch.zeros(())
    found = module.least_size(net.requires_grad_(False), x, level, module.downhill)
    assert found.tolist() == pytest.approx([wanted] * 3, abs=module.WIDEST / 2**module.BISECTIONS)
    by_noise = module.least_size(net, x, level, module.noise)
    assert float(by_noise.min()) > 2 * wanted


def test_untrained_discriminators_are_not_robust(monkeypatch: pytest.MonkeyPatch) -> None:
    module = penalties_against_small_changes
    module.opponent.cache_clear()
    for name, value in {"OPPONENT": 64, "TESTED": 16, "BISECTIONS": 3, "MOVES": 2}.items():
        monkeypatch.setattr(module, name, value)
    experiment = module.CLAIM.experiment
    assert isinstance(experiment, Comparison)
    found = seed_of(experiment.shortened(64)(100))
    judged = judge(module.CLAIM, [found])
    assert not judged["holds"]
    module.CLAIM.plot(Figure(), [found])
    module.opponent.cache_clear()


def test_only_who_has_found_both_modes_bridges_them() -> None:
    module = connected_latents_bridge_modes
    data = module.points().draw(0, 20_000, seed=0).x.flatten(1)
    found = module.judged(data)
    assert found["good"] > 0.999
    assert found["rarer"] == pytest.approx(0.5, abs=0.02)
    assert found["gap"] == 0
    bridged = torch.cat([data[:9900], torch.linspace(-0.49, 0.49, 100)[:, None] * torch.eye(2)[:1]])
    assert module.judged(bridged)["gap"] == pytest.approx(0.01)
    for lost in (torch.zeros(100, 2), data[data[:, 0] > 0]):
        assert module.judged(lost)["gap"] == 0


def test_a_split_latent_has_two_parts() -> None:
    torch.manual_seed(0)
    net = connected_latents_bridge_modes.Split(latent=4, width=8, layers=1, norm=False, std=None)
    z = torch.randn(2, 4)
    z[:, 0] = z[:, 0].abs()
    moved = z.clone()
    moved[:, 0] *= 0.1
    assert torch.equal(net(z), net(moved))
    moved[:, 0] *= -1
    assert not torch.equal(net(z), net(moved))


def test_untrained_latents_bridge_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    module = connected_latents_bridge_modes
    monkeypatch.setattr(module, "SAMPLES", 500)
    experiment = module.CLAIM.experiment
    assert isinstance(experiment, Comparison)
    found = seed_of(experiment.shortened(512)(100))
    judged = judge(module.CLAIM, [found])
    assert not judged["holds"]
    assert not judged["void"]
    module.CLAIM.plot(Figure(), [found])


def few_letters() -> Feed:
    """Every eleventh of the letters, labeled."""
    whole = images("letters", size=16)
    raw = whole.raw()
    x, y = raw["x"][::11], raw["y"][::11]
    return Feed(replace(whole.info, count=len(x)), {"x": x}, y)


@pytest.fixture
def few_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    module = copies_win_common_measures
    monkeypatch.setattr(module, "LETTERS", few_letters)
    for name, value in {"TRAINING": 200, "FRESH": 200, "SAMPLES": 60}.items():
        monkeypatch.setattr(module, name, value)


@pytest.mark.usefixtures("few_copies")
def test_copies_are_copied_and_fresh_letters_are_not() -> None:
    module = copies_win_common_measures
    p = module.parts(100)
    assert p.training.info.count == len(p.seen) == 200
    assert len(p.seen) + len(p.fresh) + len(p.unseen) == few_letters().info.count
    sets, judge = module.sets(p, 100), module.Judge(p)
    copies, fresh = judge(sets["copies"]), judge(sets["fresh"])
    assert copies["copied"] == 1
    assert fresh["copied"] < 0.1
    assert copies["novelty"] < -7 < -4 < fresh["novelty"]
    assert judge(torch.cat([sets["copies"][:30], sets["noise_strong"][:30]]))["copied"] == 0.5
    assert set(sets) == {"copies", "fresh", *module.FAULTS}
    for fault in ("noise", "blur"):
        weak, strong = (judge(sets[f"{fault}_{size}"]) for size in module.NOISE)
        assert weak["unseen_frechet"] > strong["unseen_frechet"]


def test_measures_agree_by_kendalls_tau() -> None:
    module = copies_win_common_measures
    scores = [{f"training_{m}": float(i) for m in module.MEASURES} for i in range(3)]
    table = {str(i): {**s, "novelty": i - 3.0} for i, s in enumerate(scores)}
    assert module.agreement(table, list(table)) == pytest.approx(1)
    assert module.novelty_agreement(table, list(table)) == pytest.approx(1)
    silent = {name: {**s, "training_recall": 0.0} for name, s in table.items()}
    assert module.agreement(silent, list(silent)) == pytest.approx(10 / 15)


@pytest.mark.usefixtures("few_copies")
def test_an_untrained_run_is_beaten_by_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    module = copies_win_common_measures
    monkeypatch.setattr(module, "RUN", replace(module.RUN, batch=8, images=8 * module.SNAPSHOTS))
    found = module.experiment(100)
    assert found.figures.keys() == module.CLAIM.words.figures.keys()
    judged = judge(module.CLAIM, [seed_of(found)])
    assert not judged["holds"]
    assert not judged["void"]
    module.CLAIM.plot(Figure(), [seed_of(found)])


class Known(torch.nn.Module):
    """Players whose gradient of one sample is a point of the ring, moved by 1."""

    def __init__(self) -> None:
        super().__init__()
        self.D, self.G = torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(2, 1, bias=False)

    def fake(self, real: Batch) -> dict[str, torch.Tensor]:
        return {"fake": real.x}

    def penalized_d_loss(self, batch: Batch) -> Terms:
        return Terms(self.D(batch.x.flatten(1) + 1).mean())

    def g_loss(self, batch: Batch) -> Terms:
        return Terms(self.G(batch.fake.flatten(1) + 1).mean())


def test_the_noise_scale_of_known_gradients() -> None:
    """tr S = 1 + 2 sigma^2, |G|^2 = 2."""
    module = noise_scale_bounds_useful_batches
    engine: Any = SimpleNamespace(
        method=Known(), run=SimpleNamespace(batch=8), clock=SimpleNamespace(step=0)
    )
    terms = module.noise_terms(engine, 100)
    for player in "DG":
        noise, signal = terms[player]
        assert noise == pytest.approx(1 + 2 * module.SIGMA**2, rel=0.5)  # from 16 batches
        assert signal == pytest.approx(2, rel=0.1)
        assert module.noise_scale([terms, terms], player) == pytest.approx(noise / signal)
    lost = {"D": (1.0, -1.0)}
    assert module.noise_scale([lost], "D") == 10 * module.PARTS * module.PART


def test_the_critical_batch_of_a_known_curve() -> None:
    module = noise_scale_bounds_useful_batches
    steps = [round(1000 * (1 + 20 / batch)) for batch in module.BATCHES]
    assert module.critical_batch(steps) == pytest.approx(20, rel=0.05)
    saved = module.savings(
        {(b, r): n for b, n in zip(module.BATCHES, steps, strict=True) for r in module.RATES}
    )
    assert saved["small_saving"] == pytest.approx(3.5 / (1 + 20 / 128), rel=0.01)
    assert saved["saving_lost"] > 0.2
    assert saved["rate_growth"] == 1
    alike = module.savings({(b, r): 100 for b in module.BATCHES for r in module.RATES})
    assert (alike["small_saving"], alike["saving_lost"], alike["rate_growth"]) == (1, 0, 1)


def test_a_few_steps_save_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    module = noise_scale_bounds_useful_batches
    small = {"STEPS": 2, "READ": 1, "NOISE_EVERY": 1, "JUDGED": 64, "PARTS": 2, "PART": 8}
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    module.real.cache_clear()
    found = module.experiment(100)
    module.real.cache_clear()
    assert found.figures.keys() == module.CLAIM.words.figures.keys()
    assert found.figures["steps_8"] == 2
    judged = judge(module.CLAIM, [seed_of(found)])
    assert not judged["holds"]
    assert not judged["void"]
    module.CLAIM.plot(Figure(), [seed_of(found)])


def test_a_discriminator_joins_late_at_once_or_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps of each arm: the second with the game, if it joins late; and void nulls."""
    module = discriminator_sharpens_reconstructions
    noise = np.random.default_rng(0)
    for i in range(8):
        pixels = noise.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        file = tmp_path / "flowers" / "rose" / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    toy = LPIPS(torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3)), (0,), [torch.ones(2)], "toy")
    toy.requires_grad_(False)
    monkeypatch.setenv("GANVAS_DATA", str(tmp_path))
    monkeypatch.setattr(super_resolution, "perceptual", lambda: toy)
    monkeypatch.setattr("ganvas.methods.base.lpips", lambda backbone: toy)
    for name, value in (("TEST", 4), ("SIDE", 16), ("IMAGES", 4)):
        monkeypatch.setattr(module, name, value)
    for cached in (module.flowers, module.real):
        cached.cache_clear()
    experiment = module.CLAIM.experiment
    assert isinstance(experiment, Comparison)
    full: Any = experiment.arms
    assert {k: arm.method.keywords["start"] for k, arm in full.items()} == {
        "late": 40_000,
        "never": 60_000,
        "early": 0,
    }
    starts = {"late": 2, "never": 4, "early": 0}
    arms = {name: replace(module.run(start), batch=2) for name, start in starts.items()}
    found = replace(experiment, arms=arms)(7)
    assert found.figures.keys() == module.CLAIM.words.figures.keys()
    assert found.figures["late_l1"] != found.figures["never_l1"] != found.figures["early_l1"]
    assert found.nulls["never"]["lpips_lost_early"] == 0
    assert found.nulls["never"]["blur_removed"] == 0
    assert found.nulls["untrained"]["lpips_lost_early"] == 0
    assert found.nulls["chance"]["blur_removed"] < 0
    judged = judge(module.CLAIM, [seed_of(found)])
    assert not judged["void"]
    module.CLAIM.plot(Figure(), [seed_of(found)])
    for cached in (module.flowers, module.real):
        cached.cache_clear()


@pytest.fixture
def letters_for_digits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Shipped letters in place of MNIST, few samples, short bounds, no clock."""
    module = no_model_leads_every_measure
    gray = module.images("letters", size=module.SIDE, labels=False)
    pixels = np.where(gray.raw()["x"] < 128, 0, 255).astype(np.uint8)
    monkeypatch.setattr(module, "digits", lambda part="train": Feed(gray.info, {"x": pixels}))
    for name, value in {"SAMPLES": 24, "PART": 24, "CODES": 3, "COUNTED": 2}.items():
        monkeypatch.setattr(module, name, value)
    cached = (module.held_out, module.real_features, module.data_shares)
    for one in cached:
        one.cache_clear()
    monkeypatch.setattr(module, "seconds_per_image", lambda runs: dict.fromkeys(runs, 1e-3))
    yield
    for one in cached:
        one.cache_clear()


def test_bits_of_coins_are_one() -> None:
    """A decoder that ignores z has the likelihood of its mean, whatever the draws."""
    module = no_model_leads_every_measure
    x = torch.where(torch.rand(3, 1, 16, 16) > 0.5, 1.0, -1.0)
    vae: Any = module.vae().method(Shape(1, 16, 16))
    chain: Any = module.autoregressive(0, 1e-3).method(Shape(1, 16, 16))
    for weight in (*vae.parameters(), *chain.T.logits.parameters()):
        torch.nn.init.zeros_(weight)
    for model in (vae, chain):
        found = module.nats(model, x).detach()
        assert found.tolist() == pytest.approx([256 * math.log(2)] * 3, rel=1e-5)


def test_more_draws_tighten_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    module = no_model_leads_every_measure
    torch.manual_seed(0)
    vae: Any = module.vae().method(Shape(1, 16, 16))
    torch.nn.init.normal_(vae.Dec.net[0].weight, 0.0, 1.0)
    torch.nn.init.normal_(vae.Dec.net[2].weight, 0.0, 0.1)
    x = torch.where(torch.rand(16, 1, 16, 16) > 0.5, 1.0, -1.0)
    bounds = []
    for draws in (1, 100):
        monkeypatch.setattr(module, "CODES", draws)
        with torch.no_grad():
            bounds.append(float(module.nats(vae, x).mean()))
    assert bounds[1] < bounds[0]


@pytest.mark.usefixtures("letters_for_digits")
def test_untrained_models_lead_in_nothing() -> None:
    module = no_model_leads_every_measure
    experiment = module.CLAIM.experiment
    assert isinstance(experiment, Comparison)
    runs = {"gan": module.gan(), "vae": module.vae()}
    runs |= {"autoregressive": module.autoregressive(1, 1e-3)}
    runs |= {"memoryless": module.autoregressive(0, 1e-3)}
    arms = {name: replace(run, data=module.digits, batch=8) for name, run in runs.items()}
    found = replace(experiment, arms=arms).shortened(16)(100)
    assert found.figures.keys() == module.CLAIM.words.figures.keys()
    assert found.figures["operations_ratio"] > 10  # one layer of four
    judged = judge(module.CLAIM, [seed_of(found)])
    assert not judged["holds"]
    assert not judged["void"]
    module.CLAIM.plot(Figure(), [seed_of(found)])


def test_probabilities_of_words_are_those_of_samples() -> None:
    module = discrete_sequences_favor_likelihood
    torch.manual_seed(0)
    net = module.Recurrent()
    torch.nn.init.normal_(net.score.weight, 0.0, 1.0)
    every = torch.tensor(list(product((1.0, -1.0), repeat=module.LENGTH)))[:, None, None]
    with torch.no_grad():
        p = net.log_likelihood(every).exp()
        x = net(torch.randn(20_000, module.LENGTH))
    assert float(p.sum()) == pytest.approx(1, abs=1e-4)
    assert x.shape == (20_000, 1, 1, module.LENGTH)
    assert bool((x.abs() == 1).all())
    mean = (p[:, None] * every.flatten(1)).sum(0)
    assert x.flatten(1).mean(0).tolist() == pytest.approx(mean.tolist(), abs=0.04)
    pairs = (p[:, None] * every.flatten(1)[:, 1:] * every.flatten(1)[:, :-1]).sum(0)
    drawn = (x.flatten(1)[:, 1:] * x.flatten(1)[:, :-1]).mean(0)
    assert drawn.tolist() == pytest.approx(pairs.tolist(), abs=0.04)


def test_gradients_pass_through_hard_samples() -> None:
    module = discrete_sequences_favor_likelihood
    net = module.Recurrent()
    net(torch.randn(4, module.LENGTH)).sum().backward()
    assert all(w.grad is not None and bool(w.grad.abs().sum() > 0) for w in net.parameters())


def test_the_language_is_of_balanced_words() -> None:
    module = discrete_sequences_favor_likelihood
    assert len(module.language()) == math.comb(12, 6) // 7  # Catalan's number
    assert torch.equal(module.words().fixed(132).x.sum(3), torch.zeros(132, 1, 1))
    assert module.valid((1, -1, 1, -1))
    assert not module.valid((1, -1, -1, 1))
    blind = module.Recurrent(memory=False)
    opened, closed = torch.ones(1, 1, 1, 12), -torch.ones(1, 1, 1, 12)
    with torch.no_grad():  # independent brackets: p(open)^12 and p(close)^12 of one network
        logits = blind._run(1, lambda t, logit: opened[0, 0, :, t : t + 1])[0]
        assert torch.equal(logits, blind._run(1, lambda t, logit: closed[0, 0, :, t : t + 1])[0])


def test_sines_are_judged_as_sines() -> None:
    module = discrete_sequences_favor_likelihood
    x = module.waves().fixed(2_000).x
    found = module.judged_waves(x)
    assert found["valid"] == 1
    assert found["variety"] > 0.97
    noise = torch.randn(500, 1, 1, module.TIMES, generator=torch.Generator().manual_seed(0))
    assert module.judged_waves(noise) == {"valid": 0, "variety": 0}
    assert module.judged_waves(x / 2)["valid"] == 0
    assert module.judged_waves(x[:1].expand(100, -1, -1, -1))["variety"] == pytest.approx(1 / 64)


def test_untrained_sequences_are_not_words() -> None:
    module = discrete_sequences_favor_likelihood
    experiment = module.CLAIM.experiment
    assert isinstance(experiment, Comparison)
    found = experiment.shortened(256)(100)
    assert found.figures.keys() == module.CLAIM.words.figures.keys()
    judged = judge(module.CLAIM, [seed_of(found)])
    assert not judged["holds"]
    assert not judged["void"]
    module.CLAIM.plot(Figure(), [seed_of(found)])
