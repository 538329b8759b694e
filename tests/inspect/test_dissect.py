"""A planted unit is found, removed and inserted at a place; records of others are not."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from toys import SMALL, toy_data, toy_images, toy_run

from ganvas import load as load_model
from ganvas.core import Method, Shape
from ganvas.core.errors import CapabilityError, DataError, UserError
from ganvas.evaluation import artifacts, causal
from ganvas.evaluation.dissection import dissect
from ganvas.evaluation.real_features import RealFeatures
from ganvas.evaluation.units_page import concepts_of, units_page
from ganvas.inference import editing, model_file
from ganvas.inference.model import Model
from ganvas.inference.units import Change, changed, layers, layers_named, recorded, region
from ganvas.media import encode, grid, provenance
from ganvas.metrics.concepts import rules
from ganvas.metrics.features import extractor
from ganvas.training.trainer import train

SHAPE = Shape(1, 16, 16)
INFO = {
    "shape": {"channels": 1, "height": 16, "width": 16, "classes": 0},
    "recipe": "planted",
    "images_trained": 0,
}
INK, COPY, FLAW = 3, 6, 5  # units: ink itself, a copy of it without use, and a defect


class Maps(nn.Module):
    """z [N, 4] -> 8 maps of 16x16: a square of ink somewhere, its copy, a flaw, noise."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, z: Tensor) -> Tensor:
        n, z = len(z), self.scale * z
        noise = torch.sin(torch.arange(8 * 256.0) * (1 + z.sum(1, keepdim=True)))
        f = noise.view(n, 8, 16, 16)
        at = (1 + 10 * z[:, :2].sigmoid()).long()
        down, across = torch.arange(16)[:, None], torch.arange(16)[None]
        inside = ((down - at[:, 0, None, None]) // 4 == 0) & (
            (across - at[:, 1, None, None]) // 4 == 0
        )
        f[:, INK] = inside * (1 + 0.1 * f[:, 0])
        f[:, COPY] = f[:, INK]
        f[:, FLAW] = (z[:, 2] > 1).float()[:, None, None].expand(-1, 16, 16)
        return f


class Paint(nn.Module):
    """Maps -> images: white where the unit of ink is active, and gray rows of the flaw."""

    def forward(self, f: Tensor) -> Tensor:
        rows = (torch.arange(16) % 3 == 1).float()[:, None]
        return (2 * f[:, INK] - 1 + 0.4 * f[:, FLAW] * rows)[:, None].clamp(-1, 1)


class Planted(Method):
    """A generator in which the role of each unit is known."""

    def __init__(self, shape: Shape = SHAPE) -> None:
        super().__init__()
        self.G = nn.ModuleDict({"maps": Maps(), "paint": Paint()})

    def latent(self, n: int) -> Tensor:
        return torch.randn(n, 4)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        return self.G["paint"](self.G["maps"](self.latent(n) if z is None else z))


@pytest.fixture
def planted() -> Model:
    return Model(Planted(), dict(INFO))


CONCEPTS = rules(["ink", "hole", "ink@left"])


def test_a_planted_unit_is_found(planted: Model) -> None:
    assert [tuple(layer) for layer in layers(planted)] == [("G.maps", 8, 16, 16)]
    found = dissect(planted, CONCEPTS, n=64)
    (of,) = found.layers
    assert float(found.shares[0]) > 0.05
    assert of.ranked(0)[:2] == [INK, COPY]
    assert float(of.found.iou[INK, 0]) > 0.9
    assert float(of.chance.iou[INK, 0]) < 0.3
    assert of.beyond_chance()[:, 0].nonzero().flatten().tolist() == [INK, COPY]
    assert not of.found.matched()[:, 1].any()  # no image has a hole
    assert float(of.present[INK, 0]) == pytest.approx(1, abs=0.1)
    assert of.counts()[2] == 2
    torch.testing.assert_close(dissect(planted, CONCEPTS, n=64).layers[0].found, of.found)


def test_causal_effects_of_a_planted_unit(planted: Model) -> None:
    concepts = rules(["ink"])
    (of,) = dissect(planted, concepts, n=64).layers
    (effect,) = causal.effects(planted, of, concepts, n=64)
    assert effect.units == [INK]
    assert effect.counts == [0, 1, 2]
    before, *after = effect.left
    assert before > 0.05
    assert after == [0, 0]
    assert effect.specific == pytest.approx(effect.random[1] / before)
    assert effect.added == causal.Insertion(0, 1, 0)
    others = [[1, 2], [0, 7]]
    left = causal.removal(planted, of.layer, others, [0, 2], concepts)
    torch.testing.assert_close(left[:, 1], left[:, 0])
    inserted = causal.insertion(planted, of, 0, [INK], concepts)
    assert (inserted.before, inserted.inserted, inserted.removed) == (0, 1, 0)
    assert inserted.effect == 1
    assert causal.Insertion(before=0.5, inserted=0.75, removed=0.25).effect == 0.5
    assert causal.insertion(planted, of, 0, [COPY], concepts).effect == 0


def test_the_fewest_units_with_most_of_the_effect() -> None:
    """A removal of many units that breaks everything else does not count."""
    assert causal.specific([1, 0.05, 0.0, 0.5], [1, 1, 0.9, 0.1]) == (0.95, 1)
    assert causal.specific([1, 0.5, 0.0], [1, 1, 0.9]) == (0.9, 2)
    assert causal.specific([1, 1.2, 1.1], [1, 1, 1]) == (pytest.approx(-0.1), 2)
    assert causal.specific([0, 0], [0, 0]) == (0, 1)


def test_optimization_tells_a_cause_from_a_copy(
    planted: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both units have the same IoU; only one of them does anything."""
    concepts = rules(["ink", "hole"])
    (of,) = dissect(planted, concepts, n=64).layers
    assert float(of.found.iou[INK, 0]) == float(of.found.iou[COPY, 0])
    weights = causal.optimized(planted, of, 0, concepts, steps=5, rate=0.25)
    assert float(weights[INK]) > 0.9
    assert float(weights[COPY]) < 0.1
    monkeypatch.setattr(causal, "STEPS", 1)
    (effect,) = causal.effects(planted, of, concepts, n=32, optimize=True)
    assert (effect.name, effect.ranking, effect.units) == ("ink", "optimized", [INK])
    with pytest.raises(causal.NoGradient, match="'hole' has no gradient"):
        causal.optimized(planted, of, 1, concepts, steps=1)


def test_units_of_artifacts_are_found_and_removed(planted: Model, tmp_path: Path) -> None:
    with changed(planted, {"G.maps": Change(torch.eye(8)[FLAW])}):
        for i, image in enumerate(planted.sample(128, seed=9, output="torch")):
            encode.save(grid.to_pil(image), tmp_path / "real" / f"{i:03d}.png")
    real = RealFeatures(
        planted, tmp_path, str(tmp_path / "real"), "train", extractor("random-conv-v1")
    )
    found = artifacts.find(planted, layers(planted), real.features("x"), n=96)
    assert FLAW in found.units
    assert found.layer == "G.maps"
    assert found.after < found.before / 2
    assert found.after < found.random


def test_changes_are_exact(planted: Model) -> None:
    with recorded(planted, ["G.maps"]) as before:
        planted.sample(4, output="torch")
    place = torch.zeros(4, 16, 16)
    place[2, 5, 6] = 0.5
    weight, value = torch.zeros(8), torch.full((8,), 3.0)
    weight[1] = 1
    how = {"G.maps": Change(weight, value, place)}
    with changed(planted, how), recorded(planted, ["G.maps"]) as after:
        planted.sample(4, output="torch")
    wanted = before["G.maps"].clone()
    wanted[2, 1, 5, 6] = 0.5 * wanted[2, 1, 5, 6] + 1.5
    torch.testing.assert_close(after["G.maps"], wanted)
    with recorded(planted, ["G.maps"]) as again:
        planted.sample(4, output="torch")
    assert torch.equal(again["G.maps"], before["G.maps"])


def test_places() -> None:
    assert region(None, 4, 8) is None
    point = region((0.5, 0.99), 4, 8)
    assert point is not None
    assert point.nonzero().tolist() == [[2, 7]]
    box = region((1, 0.5, 0.6, 0), 4, 8)  # corners in any order
    assert box is not None
    assert torch.equal(box, (torch.arange(4)[:, None] > 1) & (torch.arange(8) < 5))
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[1, 1:3] = mask[7, 7] = True  # each place that is touched
    touched = region(mask, 4, 2)
    assert touched is not None
    assert touched.nonzero().tolist() == [[0, 0], [3, 1]]
    for no_mask in (mask[None], torch.zeros(8, 8)):
        with pytest.raises(UserError, match="a mask of places is"):
            region(no_mask, 4, 4)
    for wrong in ((0.5,), (0.1, 0.2, 0.3), (0, 1.5), (float("nan"), 0)):
        with pytest.raises(UserError, match="a place is a point DOWN,ACROSS"):
            region(wrong, 4, 8)
    assert editing.place("0.5,0.25") == (0.5, 0.25)
    with pytest.raises(UserError, match="got 'left'"):
        editing.place("left")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted model in a folder, with the page of its units."""
    tmp_path = tmp_path_factory.mktemp("planted")
    run = toy_run("dcgan", toy_images(tmp_path / "photos", 4, side=16))
    model_file.save(
        tmp_path / "m", Planted(), replace(run, method=partial(Planted)), SHAPE, dict(INFO)
    )
    record = units_page(tmp_path / "m", tmp_path / "units.html", concepts=["ink"], n=64)
    assert json.loads((tmp_path / "units.json").read_text()) == record
    return tmp_path


def test_page_record_and_edits(saved: Path, planted: Model) -> None:
    text = (saved / "units.html").read_text()
    for said in (f"Unit {INK}: ink", "G.maps", provenance.STATEMENT, "random units", "with it in"):
        assert said in text
    assert str(saved) not in text
    assert "http:" not in text.replace("http://www.w3.org", "")
    units = editing.read(saved / "units.json")
    (edit,) = units.edits
    assert (edit.concept, edit.layer, edit.units) == ("ink", "G.maps", [INK])
    before = planted.sample(6, output="torch")
    with editing.edited(planted, saved / "units.json", add=["ink"], at=(0, 0, 0.25, 0.25)):
        after = planted.sample(6, output="torch")
    assert bool((after[..., :5, :5] > 0.7).all())
    assert torch.equal(after[..., 5:, :], before[..., 5:, :])
    assert torch.equal(after[..., :, 5:], before[..., :, 5:])
    with editing.edited(planted, units, remove=["ink"]):
        assert float(planted.sample(6, output="torch").max()) < 0
    assert torch.equal(planted.sample(6, output="torch"), before)


def test_painted_strokes(saved: Path, planted: Model) -> None:
    """Each concept at its place; of two at one place, the last one."""
    units = editing.read(saved / "units.json")
    before = planted.sample(2, seed=3, output="torch")[1]
    here, there = torch.zeros(2, 16, 16, dtype=torch.bool)
    here[:8, :8] = there[4:12, 4:12] = True
    add, remove = editing.Stroke("ink", True, here), editing.Stroke("ink", False, there)
    for strokes, ink in (([add, remove], here & ~there), ([remove, add], here)):
        (after,) = editing.painted(planted, units, (3, 1), strokes)
        assert bool((after[0][ink] > 0.7).all())
        assert bool((after[0][there & ~ink] < 0).all())
        assert torch.equal(after[0][~here & ~there], before[0][~here & ~there])
    assert torch.equal(editing.painted(planted, units, (3, 1), [])[0], before)


def test_units_of_a_model_are_found_in_its_folder_or_beside(saved: Path, tmp_path: Path) -> None:
    model = load_model(saved / "m")
    units = editing.units_of(model, saved / "m")
    assert [edit.concept for edit in units.edits] == ["ink"]
    run = tmp_path / "a run"
    run.mkdir()
    command = f"ganvas dissect '{run}' --out '{run}/units.html'"
    with pytest.raises(UserError, match="not known yet: ") as told:
        editing.units_of(model, run)
    assert command in str(told.value)
    record = json.loads((saved / "units.json").read_text())
    (run / "units.json").write_text(json.dumps(record | {"weights": "others"}))
    with pytest.raises(UserError, match="of other weights of it: ganvas dissect"):
        editing.units_of(model, run)
    (tmp_path / "units.json").write_text(json.dumps(record | {"edits": []}))
    with pytest.raises(UserError, match="found no units that stand for a concept"):
        editing.units_of(model, run)
    with pytest.raises(CapabilityError, match="no layer of feature maps"):
        editing.units_of(Model(Flat(), dict(INFO)), run)


def test_sheets_of_edits_are_marked(saved: Path, planted: Model) -> None:
    out = saved / "sheet.png"
    editing.page(planted, saved / "units.json", out, remove=["ink"], at=(0.5, 0.5), n=3)
    with Image.open(out) as image:
        assert image.size == (3 * 18 - 2, 2 * 18 - 2)
    mark = provenance.read(out)
    assert mark["generated"]
    assert mark["facts"]["removed"] == "ink"
    assert mark["facts"]["at"] == "0.5,0.5"


def test_mistakes_of_edits(saved: Path, planted: Model) -> None:
    record = saved / "units.json"
    for options, said in (
        ({}, "nothing to add or to remove"),
        ({"add": ["ink"], "remove": ["ink"]}, "added and removed"),
        ({"add": ["inc"]}, "no units for 'inc'. Did you mean 'ink'"),
        ({"remove": ["artifacts"]}, "no units for 'artifacts'"),
        ({"add": ["ink"], "count": 0}, "count is 0"),
        ({"add": ["ink"], "at": (2, 2)}, "a place is a point"),
    ):
        how: dict[str, Any] = options
        with (
            pytest.raises(UserError, match=said),
            editing.edited(planted, record, **how),
        ):
            pass
    units = editing.read(record)
    artifact = editing.ConceptUnits(concept="artifacts", layer="G.maps", units=[FLAW])
    flawed = units.model_copy(update={"edits": [artifact]})
    with pytest.raises(UserError, match="can only be removed"):
        editing.changes(planted, flawed, add=["artifacts"])
    assert editing.changes(planted, flawed, remove=["artifacts"])["G.maps"].weight[FLAW] == 1
    with pytest.raises(UserError, match="the record is of other weights"):
        editing.changes(
            planted, flawed.model_copy(update={"weights": "0" * 16}), remove=["artifacts"]
        )
    for other in (
        {"sizes": {"G.maps": (8, 4, 4)}},
        {"sizes": {}},
        {"edits": [artifact.model_copy(update={"units": [8]})]},
        {"edits": [artifact.model_copy(update={"layer": "G.\x1b[31m"})]},
    ):
        wrong = flawed.model_copy(update=other)
        with pytest.raises(UserError, match="record is of another model") as told:
            editing.changes(planted, wrong, remove=["artifacts"])
        assert "\x1b" not in str(told.value)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "ganvas-units-9"},
        {"edits": [{"concept": "ink", "layer": "G.maps", "units": [-1]}]},
        {"edits": [{"concept": "ink", "layer": "G.maps", "units": []}]},
        {"edits": [{"concept": "ink", "layer": "G.maps", "units": [3], "values": ["x"]}]},
        {"edits": "__import__"},
        {"sizes": {"G.maps": [8, 16]}},
        {"sizes": None},
    ],
)
def test_hostile_records(change: dict[str, object], saved: Path, tmp_path: Path) -> None:
    file = tmp_path / "units.json"
    file.write_text(json.dumps(json.loads((saved / "units.json").read_text()) | change))
    with pytest.raises(DataError, match="dissect"):
        editing.read(file)


def test_records_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no record"):
        editing.read(tmp_path / "none.json")
    (tmp_path / "a.json").write_text('{"edits": ' + "[" * 100_000)
    with pytest.raises(DataError, match=r"nested too deeply|is broken"):
        editing.read(tmp_path / "a.json")


class Flat(Planted):
    """An image of a linear map."""

    def __init__(self, shape: Shape = SHAPE) -> None:
        super().__init__()
        self.G = nn.ModuleDict({"line": nn.Linear(4, 256)})

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        return self.G["line"](self.latent(n) if z is None else z).view(-1, 1, 16, 16)


def test_mistakes_of_dissections(planted: Model, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 16 samples"):
        dissect(planted, CONCEPTS, n=4)
    with pytest.raises(UserError, match=r"no layer 'G.map'. Did you mean 'G.maps'"):
        dissect(planted, CONCEPTS, n=16, only=["G.map"])
    with pytest.raises(CapabilityError, match="no layer of feature maps"):
        layers(Model(Flat(), dict(INFO)))
    with pytest.raises(UserError, match=r"written as \.html"):
        units_page(tmp_path, tmp_path / "page.png")
    assert layers_named(planted, ["G.maps"])[0].units == 8
    assert concepts_of() is None
    for how, said in (
        ({"classifier": "squeezenet"}, "need a classifier and at least one"),
        ({"classes": ["daisy"]}, "need a classifier and at least one"),
        ({"segmenter": "runs/s"}, "need a segmenter and the colors"),
        ({"names": ["ink", "ink"]}, "different names"),
    ):
        asked: dict[str, Any] = how
        with pytest.raises(UserError, match=said):
            concepts_of(**asked)


def test_a_trained_translator_is_a_segmenter(tmp_path: Path) -> None:
    """A toy pix2pix paints label maps; wrong labels are told."""
    data = toy_data("pix2pix", tmp_path / "pairs")
    train(
        "pix2pix",
        str(data),
        out=tmp_path / "run",
        images=1,
        set=SMALL["pix2pix"],
        device="cpu",
    )
    found = concepts_of(segmenter=tmp_path / "run", labels=["sky=00a0ff", "earth=#604020"])
    assert found is not None
    maps = found.maps(torch.rand(2, 3, 16, 16) * 2 - 1)
    assert bool((maps.sum(1) == 1).all())  # one label for each pixel
    for labels, said in ((["sky"], "NAME=RRGGBB"), (["sky=00a0ff"], "at least two")):
        with pytest.raises(UserError, match=said):
            concepts_of(segmenter=tmp_path / "run", labels=labels)
