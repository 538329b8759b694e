"""Claims on translation: their scores in closed form, and small experiments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from ganvas.claims import runner
from ganvas.claims.experiments import (
    coupled_pairs_agree,
    cut_is_lighter_and_nearer,
    cycle_ablation_on_facades,
    cycle_prevents_collapse,
    discogan_covers_modes,
    discogan_recovers_pairs,
    domain_changes_content_stays,
    dualgan_noise_and_cycle,
    identity_loss_keeps_tints,
    mapping_up_to_symmetry,
    pix2pix_matches_colors,
    pix2pix_on_facades,
    shared_latent_translates,
    spade_keeps_labels_on_facades,
    super_resolution_trades,
    ten_percent_of_pairs,
)
from ganvas.claims.kit import costs, domains, facades, letters, super_resolution
from ganvas.claims.kit.quality import Quality
from ganvas.core import Run, config
from ganvas.data import Feed, toy
from ganvas.metrics.fcn_score import confusion, segmentation
from ganvas.metrics.lpips import LPIPS


def test_translation_scores() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(10, 1, 4, 4, generator=generator)
    source = -torch.rand(10, 1, 4, 4, generator=generator)
    found = domains.translation_scores(truth + 0.001, truth, source)
    assert found == pytest.approx({"matched": 1, "distinct": 1, "spread": 1})
    assert domains.translation_scores(source, truth, source)["matched"] == 0, "the identity"
    one = domains.translation_scores(truth[3:4].expand_as(truth), truth, source)
    assert one == pytest.approx({"matched": 0.1, "distinct": 0, "spread": 0})
    other = domains.translation_scores(truth.roll(1, 0), truth, source)
    assert other == pytest.approx({"matched": 0, "distinct": 1, "spread": 1}), "diverse and wrong"
    twos = domains.translation_scores(truth[[0, 0, 2, 2, 4, 4, 6, 6, 8, 8]], truth, source)
    assert twos["matched"] == 0.5
    assert twos["distinct"] == 0


def test_mean_iou() -> None:
    truth = torch.tensor([[[0, 0, 1, 1]]])
    assert segmentation(confusion(truth, truth, 12)).mean_iou == 1
    said = torch.tensor([[[0, 1, 1, 1]]])
    found = segmentation(confusion(truth, said, 12))
    assert found.mean_iou == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_bold_strokes_are_two_pixels_wider() -> None:
    x = np.zeros((1, 9, 9, 1), np.uint8)
    x[0, 2:7, 4] = 200
    wider = domains.dilated(x)[0, ..., 0]
    assert (wider[1:8, 3:6] == 200).all()
    assert (wider > 0).sum() == 7 * 3


def test_domains_share_no_image_and_the_truth_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = np.random.default_rng(0).integers(0, 256, (60, 28, 28, 1), dtype=np.uint8)
    parts = {"train": digits[:40], "test": digits[40:]}
    monkeypatch.setattr(
        domains, "mnist", lambda part="train": (parts[part], np.arange(len(parts[part])), "")
    )
    monkeypatch.setattr(domains, "TRAINING", 20)
    monkeypatch.setattr(domains, "HELD_OUT", 10)
    found = domains.negatives.__wrapped__()
    raw = found.feed.raw()
    a, b = ({p.tobytes() for p in x} for x in (raw["a"], 255 - raw["b"]))
    assert not a & b
    torch.testing.assert_close(found.a, -found.b)
    assert len(found.a) == len(found.y) == 10
    strokes = domains.bold.__wrapped__()
    assert (strokes.b >= strokes.a).all()


def test_coverage_of_modes() -> None:
    clusters = torch.arange(100) // 20
    ten = discogan_covers_modes.B[torch.arange(100) // 10]  # each cluster in two modes of its own
    assert discogan_covers_modes.coverage(ten, clusters) == pytest.approx(
        {"modes": 10, "own_modes": 10, "good": 1}
    )
    mixed = discogan_covers_modes.B[torch.arange(100) % 10]  # each cluster in all ten
    assert discogan_covers_modes.coverage(mixed, clusters)["own_modes"] == 0
    one = discogan_covers_modes.B[:1].expand(100, 2) + 1.0
    assert discogan_covers_modes.coverage(one, clusters) == pytest.approx(
        {"modes": 1, "own_modes": 0, "good": 0}
    )


def test_symmetries_of_languages() -> None:
    """No other order, every rotation of the circle, every order."""
    found = {
        kind: mapping_up_to_symmetry.automorphisms(toy.bigrams(kind, 5)) for kind in toy.LANGUAGES
    }
    assert [len(found[kind]) for kind in ("distinct", "ring", "uniform")] == [1, 5, 120]
    assert {tuple(p) for p in found["ring"]} == {tuple((np.arange(5) + k) % 5) for k in range(5)}


def test_scores_of_a_mapping() -> None:
    truth = toy.cipher(5, seed=3)
    none, ring = (
        mapping_up_to_symmetry.automorphisms(toy.bigrams(kind, 5)) for kind in ("distinct", "ring")
    )
    rotated = truth[(np.arange(5) + 2) % 5]
    scores = mapping_up_to_symmetry.scores
    assert scores(truth, truth, none) == {"true": 1, "exact": 1, "symmetric": 1}
    assert scores(rotated, truth, none) == {"true": 0, "exact": 0, "symmetric": 0}
    assert scores(rotated, truth, ring) == {"true": 0, "exact": 0, "symmetric": 1}


def test_a_warm_start_knows_the_words_of_its_pairs() -> None:
    a, b = ten_percent_of_pairs.sentence_pairs(pair=5)
    truth = toy.cipher(ten_percent_of_pairs.WORDS, 5)
    assert (truth[a] == b).all()
    found = ten_percent_of_pairs.table(a[:1], b[:1]).argmax(1).numpy()
    known = np.unique(a[0])
    assert (found[known] == truth[known]).all()
    assert (found == truth).mean() < 0.5


@pytest.mark.parametrize("module", [mapping_up_to_symmetry, ten_percent_of_pairs])
def test_experiments_on_languages(module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PRETRAIN", 64)
    monkeypatch.setattr(module, "GAME", 64)
    found = module.comparison(7).shortened(128)(7)
    named = {check.figure for check in module.CLAIM.words.checks}
    assert named <= found.figures.keys()
    assert all(named <= null.keys() for null in found.nulls.values())


def test_correspondence_of_angles() -> None:
    inputs = discogan_recovers_pairs.input_angles()
    one = torch.zeros(len(inputs), dtype=torch.long)
    found = discogan_recovers_pairs.correspondence
    outputs = (inputs / 5).round() * 5
    for one_to_one in (outputs, -outputs, outputs.roll(200)):  # in order, mirrored, exchanged
        scores = found(inputs, one_to_one, one)
        assert scores["explained"] > 0.9
        assert scores["coverage"] == scores["paired"] == 1
    two = torch.arange(len(inputs)) % 2
    assert found(inputs, outputs * (1 - 2 * two), two)["explained"] > 0.9, "one is mirrored"
    folded = found(inputs, 2 * outputs.abs() - 75, one)
    assert folded["explained"] < 0.1
    assert folded["paired"] == 0
    few = found(inputs, 10 * inputs.sign(), one)
    assert few["explained"] == pytest.approx(0.5, abs=0.02)
    assert few["coverage"] == pytest.approx(2 / 11)
    assert few["paired"] == 0


def test_angles_of_letters_are_read() -> None:
    angles = torch.tensor([-70.0, -5.0, 0.0, 40.0])
    x = discogan_recovers_pairs.rotated("R", angles, torch.tensor([0, 3, 2, 1]))
    read, distance = discogan_recovers_pairs.read_angles(domains.as_tensor(x))
    assert read.tolist() == angles.tolist()
    assert distance.max() < 0.05, "a gray level or two of rounding"


def test_noise_domain_and_return_are_judged_for_each_input() -> None:
    x = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    there = torch.stack([-x, 4 / 255 - x])
    inside = torch.ones(2, 4, dtype=torch.bool)
    scores = dualgan_noise_and_cycle.scores
    assert scores(x, there, torch.stack([x, x]), inside) == pytest.approx(
        {"noise": 2, "vary": 1, "in_domain": 1, "return": 1, "all_three": 1}
    )
    inside[1, 0] = False  # one of the translations of the first
    back = torch.stack([x, x[[0, 2, 1, 3]]])  # the second and the third are exchanged
    found = scores(x, there, back, inside)
    assert found["in_domain"] == 0.75
    assert found["return"] == 0.5
    assert found["all_three"] == 0.25
    assert scores(x, torch.stack([-x, -x]), back, inside)["vary"] == 0


def test_accuracy_counts_the_pixels_that_have_to_change() -> None:
    source, truth = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    truth[0, 0, 0] = 1.0
    accuracy = shared_latent_translates.accuracy
    assert accuracy(truth + 0.1, truth, source) == 1
    assert accuracy(source, truth, source) == 0
    half = truth.clone()
    half[0, 0, 0, 0] = 0.5
    assert accuracy(half, truth, source) == 0.5


def test_edges_agree_with_themselves() -> None:
    x = torch.full((1, 1, 9, 9), -1.0)
    x[..., 3:6, 3:6] = 1.0
    edges = coupled_pairs_agree.edges(x)
    assert (edges > 0).sum() == 25 - 9
    assert coupled_pairs_agree.agreement(x, edges) == 1
    assert coupled_pairs_agree.agreement(x, -torch.ones_like(x)) == pytest.approx(1 - 16 / 81)


def test_tint_is_what_mean_colors_move() -> None:
    x = torch.rand(2, 3, 4, 4) - 0.5
    shifted = x + torch.tensor([10.0, -20.0, 0.0]).view(3, 1, 1) / 127.5
    assert identity_loss_keeps_tints.change(x, shifted) == pytest.approx(
        {"tint": 10, "rest": 0}, abs=1e-4
    )
    turned = identity_loss_keeps_tints.change(x, x.flip(3))
    assert turned["tint"] == pytest.approx(0, abs=1e-4)
    assert turned["rest"] > 10


def test_fine_energy() -> None:
    at = torch.arange(64.0)
    slow, fast = (
        torch.cos(2 * torch.pi * cycles * at / 64).expand(1, 3, 64, 64) for cycles in (4, 16)
    )
    assert facades.energy(slow) == pytest.approx(0, abs=1e-3)
    assert facades.energy(slow + 2 * fast) == pytest.approx(4 * facades.energy(fast), rel=1e-3)


def test_colors_agree_by_their_distribution() -> None:
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert facades.color_agreement(x, x.flip(0, 3)) == pytest.approx({"L": 1, "a": 1, "b": 1})
    gray = facades.color_agreement(x.mean(1, keepdim=True).expand(-1, 3, -1, -1), x)
    assert gray["a"] < 0.3
    assert gray["b"] < 0.3


def test_classes_of_label_maps() -> None:
    palette = torch.tensor(facades.PALETTE).float() / 127.5 - 1
    maps = palette.T.view(1, 3, 3, 4)
    assert facades.classes(maps + 0.02).flatten().tolist() == list(range(12))


@pytest.fixture
def small_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Noise in place of all data sets, and a judge that knows nothing."""
    noise = np.random.default_rng(0)

    def mnist(part: str = "train", border: int = 2) -> tuple[np.ndarray, np.ndarray, str]:
        count, side = 64 if part == "train" else 12, 28 + 2 * border
        x = noise.integers(0, 256, (count, side, side, 1), dtype=np.uint8)
        return x, np.arange(count) % 10, part

    def write(name: str, height: int, width: int) -> None:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)

    for i in range(3):
        for part in ("train", "test"):
            write(f"facades/{part}/{i}.png", 72, 144)
        for kind in ("rose", "tulip"):
            write(f"flowers/{kind}/{i}.png", 64, 64)
        write(f"t91/{i}.png", 96, 100)
    write("set5/butterfly.png", 128, 160)
    write("set5_lr_x4/butterfly.png", 32, 40)
    monkeypatch.setenv("GANVAS_DATA", str(tmp_path))
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(domains, "mnist", mnist)
    monkeypatch.setattr(coupled_pairs_agree, "mnist", mnist)
    monkeypatch.setattr(coupled_pairs_agree, "PAIRS", 16)
    monkeypatch.setattr(domains, "TRAINING", 16)
    monkeypatch.setattr(domains, "HELD_OUT", 12)
    monkeypatch.setattr(domains, "JUDGE_STEPS", 1)
    monkeypatch.setattr(facades, "STEPS", 1)
    monkeypatch.setattr(identity_loss_keeps_tints, "TEST", 2)
    toy = LPIPS(torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3)), (0,), [torch.ones(2)], "toy")
    monkeypatch.setattr(super_resolution, "perceptual", lambda: toy.requires_grad_(False))
    for function in CACHED:
        function.cache_clear()
    yield
    for function in CACHED:
        function.cache_clear()


CACHED = (
    domains.bold,
    domains.negatives,
    domains.judge,
    coupled_pairs_agree.digits_and_edges,
    cycle_ablation_on_facades.unpaired,
    facades.test_pairs,
    facades.segmenter,
    identity_loss_keeps_tints.flowers,
    spade_keeps_labels_on_facades.scores_of_photos,
    super_resolution.set5,
    super_resolution.tuning,
)


@pytest.mark.parametrize(
    "module",
    [
        coupled_pairs_agree,
        cycle_ablation_on_facades,
        cycle_prevents_collapse,
        discogan_covers_modes,
        discogan_recovers_pairs,
        domain_changes_content_stays,
        dualgan_noise_and_cycle,
        identity_loss_keeps_tints,
        pix2pix_matches_colors,
        pix2pix_on_facades,
        shared_latent_translates,
        spade_keeps_labels_on_facades,
        super_resolution_trades,
    ],
    ids=lambda module: module.__name__.rpartition(".")[2],
)
def test_experiment(module: Any, small_data: None) -> None:
    """One step of each arm gives every figure of a check and a plot."""
    claim = module.CLAIM
    experiment = claim.experiment.shortened(1)
    if module is cycle_ablation_on_facades:  # an accelerator's size
        small = {name: narrow(run) for name, run in experiment.arms.items()}
        experiment = dataclasses.replace(experiment, arms=small, device="cpu")
    found = experiment(7)
    named = {check.figure for check in claim.words.checks}
    for figures in (found.figures, *found.nulls.values()):
        assert named <= figures.keys()
    assert claim.words.arms.keys() == experiment.arms.keys()
    seed = {"figures": found.figures, "nulls": found.nulls, "series": runner._short(found.series)}
    claim.plot(Figure(figsize=(10, 4)), [seed])


def narrow(run: Run) -> Run:
    for setting in ("G.width=2", "G.blocks=1", "D.width=2"):
        run = config.override(run, setting)
    return run


def test_what_a_loss_keeps() -> None:
    """Each layer of a chain keeps its input; weights count four times."""
    method: Any = torch.nn.Sequential(*(torch.nn.Linear(8, 8, bias=False) for _ in range(3)))
    x = torch.rand(16, 8)

    def loss() -> torch.Tensor:
        return method(x).sum()

    weights, maps = 3 * 8 * 8 * 4, 3 * 16 * 8 * 4
    assert costs.kept_bytes(method, loss) == maps
    assert costs.training_bytes(method, loss) == 4 * weights + maps


def test_a_method_that_is_not_nearer_saves_nothing() -> None:
    base = {"frechet": 2.0, "seconds": 1.0, "mib": 8.0}
    light = {"frechet": 1.0, "seconds": 0.5, "mib": 4.0}
    found = cut_is_lighter_and_nearer.figures(
        {"cyclegan": base, "cut": light, "fastcut": {**light, "frechet": 2.0}}
    )
    assert (found["cut_nearer"], found["cut_time"], found["cut_memory"]) == (2.0, 0.5, 0.5)
    assert (found["fastcut_nearer"], found["fastcut_time"], found["fastcut_memory"]) == (1, 1, 1)


def test_experiment_on_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """At toy size; the nulls save nothing, whatever they cost."""
    module = cut_is_lighter_and_nearer
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1), dtype=np.uint8)
    feed = domains.two_domains("noise", noise[:20], noise[20:], "")
    one = dataclasses.replace(feed.info, task="images", counts={})
    serifs = domains.as_tensor(noise)
    styles = letters.Styles(feed, serifs, Quality(Feed(one, {"x": noise[20:]}), 20))
    monkeypatch.setattr(module, "letters", lambda: styles)

    def small(run: Run) -> Run:
        contrast = ("F.width=4", "taps=[0,4,8]", "patches=8")
        for setting in contrast if "F" in run.method.keywords else ():  # type: ignore[attr-defined]
            run = config.override(run, setting)
        run = config.override(narrow(run), "G.blocks=2")
        return dataclasses.replace(run, images=1)

    arms = {
        name: [small(run) for run in runs] if isinstance(runs, list) else small(runs)
        for name, runs in module.ARMS.items()
    }
    monkeypatch.setattr(module, "ARMS", arms)
    module.prices.cache_clear()
    experiment: Any = module.CLAIM.experiment
    found = dataclasses.replace(experiment, arms=arms, device="cpu")(7)
    module.prices.cache_clear()
    named = {check.figure for check in module.CLAIM.words.checks}
    assert named <= found.figures.keys()
    assert found.nulls.keys() == {"untrained", "chance", "cyclegan"}
    same = found.nulls["cyclegan"]
    assert all(
        same[f"{arm}_{what}"] == 1
        for arm in ("cut", "fastcut")
        for what in ("nearer", "time", "memory")
    )
    assert found.figures["fastcut_mib"] < found.figures["cut_mib"] < found.figures["cyclegan_mib"]
    assert module.CLAIM.words.arms.keys() == arms.keys()
    seed = {"figures": found.figures, "nulls": found.nulls, "series": runner._short(found.series)}
    module.CLAIM.plot(Figure(figsize=(10, 4)), [seed])
