"""The scripts of the gallery and the demo: tables fit the recipes, measures are right."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gallery
import gallery_data
import gallery_figures
import gallery_page
import numpy as np
import pytest
import torch
from gallery import Data, Training
from PIL import Image
from toys import SMALL, toy_images

import docs
from ganvas.core import Shape
from ganvas.data.label_maps import parse_palette
from ganvas.engine.build import rehearse
from ganvas.training import snapshot
from ganvas.training.trainer import train

BENCH = Path(__file__).parents[2] / "bench"


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


auto, bf16, letters = script("auto"), script("bf16"), script("letters")

# data -> (channels, classes) of its images
SHAPES = {"letters": (1, 26), "letters_pairs": (1, 0), "letters_domains": (1, 2)}
SHAPES |= {"fashion": (1, 10), "emoji": (3, 7), "nuclei": (1, 0)}


@pytest.mark.parametrize("name", gallery.TABLE)
def test_every_row_of_the_gallery_can_be_built(name: str) -> None:
    row = gallery.TABLE[name]
    settings = gallery.settings_of(row, 80_000)
    assert not any("{" in s for s in settings)
    run = gallery.run_of(row, "data", 80_000)
    channels, classes = SHAPES.get(row.data, (3, 0))
    named = [s for s in settings if s.startswith("data.palette=")]
    palette = parse_palette(named[0].partition("=")[2].split(",")) if named else ()
    shape = Shape(channels, row.size, row.size, classes, palette)
    rehearse(run, shape, torch.device("cpu"))
    if "lr.end={images}" in row.settings:
        assert run.lr.end == 80_000  # type: ignore[union-attr]


def test_choices_follow_from_the_distances() -> None:
    far = {"dcgan": 4.0, "sngan": 2.0, "biggan": 3.0, "stylegan2": 1.0, "r3gan": 5.0}
    runs = {}
    for data in ("letters", "fashion", "flowers"):
        for name, distance in far.items():
            if data == "flowers" and name == "sngan":
                distance = 0.8
            for seed in (0, 1) if data != "flowers" else (0,):
                runs[f"{data}-3-{name}-{seed}"] = {"frechet": {"model": distance + seed}}
    record = {"runs": runs}
    for one in runs.values():
        one["images"] = 1800
    assert auto.known_rate(record, "letters-3-sngan-7") == pytest.approx(10 * gallery.TICKS)
    assert auto.known_rate(record, "letters-15-sngan-7") is None
    [(labels, minutes, name, scores)] = auto.choices(record)
    assert (labels, minutes, name) == (True, 3, "stylegan2")
    assert scores["sngan"] == pytest.approx(2.5 / 1.5)
    assert auto.regret(record) == {"flowers 3 min": pytest.approx(0.25)}
    assert not any("-60-" in name for name in auto.rows(record))
    for one in runs.values():
        one["frechet"]["real"] = 0.5
    record |= {"machine": {"processor": "P", "torch": "T"}, "regret": auto.regret(record)}
    page = auto.page(record)
    assert "runs.letters-3-sngan-1.frechet.model}}" in page
    assert "{{.0% bench/results/auto.json regret.flowers 3 min}}" in page
    runs |= {k.replace("-3-", "-15-"): v for k, v in runs.items()}
    hours = [name for name in auto.rows(record) if "-60-" in name]
    assert hours[:2] == ["letters-60-stylegan2-0", "letters-60-sngan-0"]


def test_numbers_of_images_are_parts_of_the_whole() -> None:
    settings = ("a={images}", "b={images/8}", "c={images*0.7}", "d=3")
    row = Training("gan", 1, "letters", 32, settings)
    assert gallery.settings_of(row, 1000) == ["a=1000", "b=125", "c=700", "d=3"]


def test_a_complete_training_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dcgan.json").write_text('{"cpu_seconds": 9.0, "complete": true}')
    monkeypatch.setattr(gallery.subprocess, "Popen", None)  # nothing may be started
    gallery.carried_out("dcgan", tmp_path, {})


def test_a_row_without_its_data_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        gallery_data, "MAKERS", {"photos": lambda out: (tmp_path / "no.jpg").stat()}
    )
    gallery.carried_out("srresnet", tmp_path, {})
    gallery.carried_out("pix2pix_nuclei", tmp_path, {})
    said = capsys.readouterr().out
    assert "no.jpg" in said
    assert "apt-get install lomiri-wallpapers-16.04" in said
    assert "give --data nuclei=PATH" in said
    assert not list(tmp_path.glob("*.json"))


def test_data_on_disk_are_named(tmp_path: Path) -> None:
    facades = gallery.DATA["facades"]
    given = gallery.given_paths([f"facades={tmp_path / 'mine'}"])
    (tmp_path / "mine").mkdir()
    assert gallery.prepared(facades, tmp_path / "runs", given) == str(tmp_path / "mine")
    assert gallery.prepared(facades, tmp_path / "runs", {}) == str(tmp_path / "mine")
    assert gallery.prepared(facades, tmp_path / "others", {}) == "facades"
    with pytest.raises(SystemExit, match="facades, nuclei, flowers; got letters"):
        gallery.given_paths(["letters=x"])


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for i, name in enumerate((*gallery_data.TRAIN, *gallery_data.TEST)):
        noise = np.random.default_rng(i).integers(0, 256, (36, 54, 3), np.uint8)
        (tmp_path / "photographs").mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / "photographs" / f"{name}.jpg")
    return tmp_path / "photographs"


def test_mosaics_hide_one_square_of_a_tile(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery_data, "TILE_LONG", 240)
    gallery_data.mosaics(tmp_path / "set", photographs)
    assert not (tmp_path / "set" / "tiles").exists()
    files = sorted((tmp_path / "set" / "test" / "A").iterdir())
    assert files
    for file in files:
        a, b, mask = (
            np.asarray(Image.open(tmp_path / "set" / "test" / side / file.name)).astype(int)
            for side in ("A", "B", "masks")
        )
        assert (mask > 0).sum() == gallery_data.HIDDEN**2
        assert (a[mask == 0] == b[mask == 0]).all()
        assert (a[mask > 0] != b[mask > 0]).mean() > 0.5


def test_no_photograph_is_in_both_parts(photographs: Path, tmp_path: Path) -> None:
    assert not set(gallery_data.TRAIN) & set(gallery_data.TEST)
    gallery_data.photos(tmp_path / "set", photographs)
    found = {p: {f.stem for f in (tmp_path / "set" / p).iterdir()} for p in ("train", "test")}
    assert found == {"train": set(gallery_data.TRAIN), "test": set(gallery_data.TEST)}


# ---------------------------------------------------------------- the page


class Undecided(torch.nn.Module):
    """A classifier that takes everything for an A."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.eye(27)[torch.zeros(len(x), dtype=torch.long)]


def trained(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row `toy` of this kind, trained a little, in folder/runs."""
    recipe = {"noise": "dcgan", "pairs": "pix2pix", "domains": "cyclegan", "coupled": "cogan"}
    recipe = (recipe | {"one_image": "singan"})[kind]
    source, small = folder / "source", [*SMALL[recipe]]
    for part in ("train", "test"):
        inner = [""] if kind in ("noise", "one_image") else ["A", "B"]
        for i, side in enumerate(inner):
            toy_images(source / part / side, 12, channels=1, seed=i)
    size = next(int(s.split("=")[1]) for s in small if s.startswith("data.size"))
    monkeypatch.setitem(gallery.DATA, "toys", Data("toys", True, "Blobs.", str(source)))
    monkeypatch.setitem(
        gallery.TABLE, "toy", Training(recipe, 1, "toys", size, tuple(small), fault="It is a toy.")
    )
    settings = gallery.settings_of(gallery.TABLE["toy"], 48)
    monkeypatch.setattr(snapshot, "write_report", lambda run, **_: None)
    train(recipe, source, out=folder / "runs" / "toy", size=size, images=48, set=settings)
    state = {"images": 480, "settings": settings, "cpu_seconds": 90.0, "complete": True}
    (folder / "runs" / "toy.json").write_text(json.dumps(state))


@pytest.mark.parametrize(
    ("kind", "figures"),
    [
        ("noise", {"frechet", "precision", "recall"}),
        ("pairs", {"psnr"}),
        ("domains", {"frechet_a", "frechet_b"}),
        ("coupled", {"frechet_a", "frechet_b", "same_letter"}),
        ("one_image", {"patches", "diversity"}),
    ],
)
def test_the_page_shows_a_run_beside_real_images_and_the_untrained_network(
    kind: str, figures: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(kind, tmp_path, monkeypatch)
    monkeypatch.setattr(gallery_figures, "judge", lambda: SimpleNamespace(net=Undecided()))
    monkeypatch.setattr(gallery_figures, "COUPLED", 24)
    gallery_page.write_page(["toy", "dcgan"], tmp_path / "runs", tmp_path, None)
    record = json.loads((tmp_path / gallery_page.RECORD).read_text())
    (row,) = record["rows"].values()
    assert row["figures"].keys() == figures
    for name, found in row["figures"].items():
        assert {"model", "untrained"} <= found.keys(), name
        assert "real" in found or name in ("same_letter", "diversity")
    assert row["images"] >= 48
    with Image.open(tmp_path / gallery_page.PICTURES / "toy.png") as shown:
        assert "Software" in shown.info, "it is labeled as generated"
    template = (tmp_path / gallery_page.TEMPLATE).read_text(encoding="utf-8")
    assert docs.problems(template, False, tmp_path) == []
    page = docs.render(template, tmp_path)
    assert "of 480 (cut)" in page
    assert "Weak points: It is a toy." in page
    assert str(tmp_path) not in page.replace(str(tmp_path / "source"), "")


def test_the_classifier_of_letters_is_that_of_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    found = gallery_figures.letters()
    monkeypatch.setattr(found, "classifier", lambda letters: "net")
    monkeypatch.setattr(found, "repeat_distance", lambda letters: 1.0)
    monkeypatch.setattr(found, "recognised", lambda net, x, y: "shares")
    gallery_figures.judge.cache_clear()
    evaluator = gallery_figures.judge()
    gallery_figures.judge.cache_clear()
    assert (evaluator.net, evaluator.real) == ("net", "shares")


@pytest.mark.parametrize("side", [32, 36, 64])
def test_letters_of_any_size_reach_the_classifier(
    monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    sizes = []

    def judge() -> Any:
        assert torch.is_grad_enabled(), "it is trained when it is first asked for"
        return SimpleNamespace(net=lambda x: sizes.append(tuple(x.shape)) or torch.eye(27)[:3])

    monkeypatch.setattr(gallery_figures, "judge", judge)
    found = gallery_figures.recognised_as(torch.zeros(3, 1, side, side))
    assert found.tolist() == [0, 1, 2]
    assert sizes == [(3, 1, 32, 32)]


def test_rows_that_are_recorded_to_their_end_are_not_trained_again(tmp_path: Path) -> None:
    rows = {"done": {"images": 100, "planned": 96}, "cut": {"images": 64, "planned": 96}}
    (tmp_path / "record.json").write_text(json.dumps({"rows": rows}))
    assert gallery.recorded(tmp_path / "record.json") == {"done"}
    assert gallery.recorded(tmp_path / "none.json") == set()


def test_a_run_is_judged_again_only_if_it_was_trained_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained("noise", tmp_path, monkeypatch)
    calls = []

    def judged(name: str, *_: Any) -> dict[str, Any]:
        calls.append(name)
        about = {"command": "", "planned": 48, "cpu_minutes": 1, "extractor": "x"}
        about |= {"machine": {"processor": "P"}, "precision": "fp32"}
        return {**about, "images": 48, "figures": {}}

    monkeypatch.setattr(gallery_page, "judged", judged)
    for _ in range(2):
        gallery_page.write_page(["toy"], tmp_path / "runs", tmp_path, None)
    assert calls == ["toy"]


def test_images_of_unclear_license_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained("pairs", tmp_path, monkeypatch)
    hidden = Data("toys", False, "Of unknown license.", gallery.DATA["toys"].source)
    monkeypatch.setitem(gallery.DATA, "toys", hidden)
    monkeypatch.setattr(gallery_figures.Judged, "figures", lambda self: {})
    gallery_page.write_page(["toy"], tmp_path / "runs", tmp_path, None)
    assert not (tmp_path / gallery_page.PICTURES).exists()
    assert "![" not in (tmp_path / gallery_page.TEMPLATE).read_text(encoding="utf-8")


def test_an_image_is_reduced_until_it_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    def noise(count: int) -> Image.Image:
        pixels = np.random.default_rng(0).integers(0, 256, (count * 100, 100), np.uint8)
        return Image.fromarray(pixels)

    monkeypatch.setattr(gallery_page, "LARGEST", 45_000)
    assert gallery_page.small_enough(noise).height == 400


# ---------------------------------------------------------------- bench/bf16.py, bench/letters.py


def test_bf16_has_a_run_for_every_recipe_on_images() -> None:
    runs = {name: bf16.gallery_run(name) for name in gallery.recipes.all_recipes()}
    assert [name for name, run in runs.items() if run is None] == ["dual_learning"]


def test_letters_near_the_training_set_are_repeats() -> None:
    """Copies are counted; letters of unseen families hardly ever are."""
    training_letters, unseen = letters.Letters("train"), letters.Letters("test")
    distance = letters.repeat_distance(training_letters)
    copies = letters.nearest(
        training_letters.images[:260], training_letters.labels[:260], training_letters
    )
    assert (copies < distance).all()
    others = letters.nearest(unseen.images, unseen.labels, training_letters)
    assert float((others < distance).double().mean()) < letters.REPEATS


def test_the_classifier_sees_letters_and_nothing() -> None:
    torch.manual_seed(0)
    some = letters.Letters("val")
    x, y = some.images[:64], some.labels[:64]
    moved, none = letters.augmented(x), letters.nothing(x, y)
    assert moved.shape == x.shape
    assert moved.abs().max() <= 1
    assert none.shape[1:] == x.shape[1:]
    assert len(none) > 64
