"""Pages of a generator's units: what they match, what they do, and pictures of both.

Bau et al., 2018, GAN Dissection, arXiv:1811.10597. A page has no external resources;
the record beside it is what `inference.editing` reads.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ganvas import __version__
from ganvas.core.errors import UserError
from ganvas.core.files import require_writable, write
from ganvas.evaluation import artifacts, causal
from ganvas.evaluation.causal import Effect
from ganvas.evaluation.dissection import Dissection, LayerUnits, dissect
from ganvas.evaluation.real_features import RealFeatures, extractor_named
from ganvas.evaluation.records import Record
from ganvas.evaluation.report import template
from ganvas.evaluation.report_plots import Panel, removal_curve
from ganvas.inference.editing import ARTIFACTS, FORMAT, ConceptUnits, Units, edited
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.inference.units import recorded
from ganvas.media import encode, grid, provenance
from ganvas.metrics.classifiers import classifier as opened_classifier
from ganvas.metrics.concepts import Concepts, class_maps, joined, labels_of, rules

GRAY = ("ink", "hole", "edge", "ink@top", "ink@bottom", "ink@left", "ink@right", "ink@center")
COLOR = ("edge", "bright", "dark", "red", "green", "blue", "yellow", "cyan", "magenta")
SHOWN = 64  # samples among which those that activate a unit most are shown
UNITS = 8  # of a layer that are shown, at most
PANELS = 6  # samples of a unit or of an edit
SIDE = 80  # smallest side of a panel in pixels
MIDDLE = (0.375, 0.375, 0.625, 0.625)  # where a concept is added on the page
LEAST_SPECIFIC = 0.2  # of a concept, by which its units must exceed random ones
DIM = 0.7  # share of gray where a unit is not active


class LayerFigures(TypedDict):
    """A layer in the record; tables are [units][concepts].

    matched, by_chance, beyond_chance: units that match any concept
    """

    layer: str
    units: int
    height: int
    width: int
    matched: int
    by_chance: int
    beyond_chance: int
    iou: list[list[float]]
    chance_iou: list[list[float]]
    information: list[list[float]]
    threshold: list[list[float]]


def units_page(
    run: str | Path,
    out: str | Path,
    *,
    concepts: Concepts | Sequence[str] = (),
    n: int = 500,
    seed: int = 0,
    only: Sequence[str] = (),
    optimize: bool = False,
    against: str | None = None,
    checkpoint: str = "last",
    device: str = "cpu",
) -> Record:
    """Dissect a generator; write a page (.html) and a record (.json) beside it.

    concepts: concepts, or names of rules (`metrics.concepts.rules`); none: rules that
        suit the model's colors
    n: samples that units are compared on
    only: names of layers; all by default
    optimize: rank units by their causal effect (`causal.optimized`), which takes longer
    against: real images; units of artifacts are looked for

    Returns the record. Raises `UserError` for a model without layers of feature maps,
    for unknown rules and layers, and if `out` does not end in .html.
    """
    out = Path(out)
    if out.suffix.lower() != ".html":
        raise UserError(f"a page of units is written as .html; got {out.name!r}")
    require_writable(out)
    model = load(run, checkpoint=checkpoint, device=device)
    if not isinstance(concepts, Concepts):
        concepts = rules(concepts or (GRAY if model.runtime.channels == 1 else COLOR))
    found = dissect(model, concepts, n=n, seed=seed, only=only)
    effects = [
        effect
        for layer in found.layers
        for effect in causal.effects(model, layer, concepts, seed=seed, optimize=optimize)
    ]
    layers = [of.layer for of in found.layers]
    flaws = None
    if against is not None:
        real = RealFeatures(
            model, Path(run), against, "train", extractor_named("random-conv-v1", None, None)
        )
        flaws = artifacts.find(model, layers, real.features("x"), n=n, seed=seed)
    units = Units(
        format=FORMAT,
        sizes={layer.name: (layer.units, layer.height, layer.width) for layer in layers},
        edits=_edits(effects, flaws),
        weights=model.facts["weights"],
    )
    record: Record = {
        **units.model_dump(mode="json"),
        **model.facts,
        "n": n,
        "seed": seed,
        "concepts": dict(zip(found.names, _rounded(found.shares), strict=True)),
        "layers": [_figures(of) for of in found.layers],
        "effects": [asdict(effect) for effect in effects],
        "artifacts": None if flaws is None else asdict(flaws),
        "source": "arXiv:1811.10597",
        "ganvas": __version__,
    }
    page = template("units.html.j2").render(
        title=str(model.facts["recipe"] or type(model.method).__name__),
        statement=provenance.STATEMENT,
        n=n,
        concepts=record["concepts"],
        layers=[_shown(model, found, of) for of in found.layers],
        edits=[_edit(model, units, edit, effects, run, out) for edit in units.edits],
        flaws=flaws,
        version=__version__,
    )
    write(out, page)
    write(out.with_suffix(".json"), json.dumps(record, indent=1))
    return record


def concepts_of(
    names: Sequence[str] = (),
    *,
    classifier: str | None = None,
    classes: Sequence[str] = (),
    weights: str | Path | None = None,
    segmenter: str | Path | None = None,
    labels: Sequence[str] = (),
) -> Concepts | None:
    """The concepts of several sources, or None without any.

    names: of rules
    classifier, weights: as of `metrics.classifiers.classifier`
    classes: of the classifier, by name or number
    segmenter: a trained model that translates images to label maps
    labels: of the segmenter, each NAME=RRGGBB

    Raises `UserError` for a classifier without classes, a segmenter without labels, and
    the other way round.
    """
    parts = [rules(names)] if names else []
    if (classifier is None) != (not classes):
        raise UserError("class maps need a classifier and at least one of its classes")
    if (segmenter is None) != (not labels):
        raise UserError("label maps need a segmenter and the colors of its labels, as sky=87CEEB")
    if classifier is not None:
        parts.append(class_maps(opened_classifier(classifier, weights), classes))
    if segmenter is not None:
        model, palette = load(segmenter), dict(map(_label, labels))
        if len(palette) < 2 or len(palette) != len(labels):
            raise UserError(f"labels need at least two different names; got {', '.join(labels)}")
        parts.append(
            labels_of(
                lambda x: model.translate(x, output="torch"),
                list(palette.values()),
                list(palette),
            )
        )
    return joined(*parts) if parts else None


def _label(text: str) -> tuple[str, int]:
    """`"sky=87CEEB"` -> ("sky", 0x87CEEB)."""
    name, _, color = text.rpartition("=")
    if not name or not re.fullmatch("#?[0-9a-fA-F]{6}", color):
        raise UserError(f"a label is NAME=RRGGBB, as sky=87CEEB; got {text!r}")
    return name, int(color.removeprefix("#"), 16)


def _edits(effects: Sequence[Effect], flaws: artifacts.Artifacts | None) -> list[ConceptUnits]:
    """For each concept the layer of the most specific removal; units of artifacts.

    Concepts of which random units take as much have no edit.
    """
    best: dict[str, Effect] = {}
    for effect in effects:
        if effect.specific >= LEAST_SPECIFIC:
            best[effect.name] = max(effect, best.get(effect.name, effect), key=lambda e: e.specific)
    edits = [
        ConceptUnits(
            concept=e.name,
            layer=e.layer,
            units=e.units,
            values=e.values,
        )
        for e in best.values()
    ]
    if flaws is not None and flaws.after < flaws.before:
        edits.append(ConceptUnits(concept=ARTIFACTS, layer=flaws.layer, units=flaws.units))
    return edits


def _rounded(x: Tensor) -> list[float]:
    return [round(v, 5) for v in x.tolist()]


def _figures(of: LayerUnits) -> LayerFigures:
    matched, by_chance, beyond = of.counts()
    tables = (of.found.iou, of.chance.iou, of.found.information, of.found.threshold)
    iou, chance, information, threshold = ([_rounded(row) for row in t] for t in tables)
    return {
        "layer": of.layer.name,
        "units": of.layer.units,
        "height": of.layer.height,
        "width": of.layer.width,
        "matched": matched,
        "by_chance": by_chance,
        "beyond_chance": beyond,
        "iou": iou,
        "chance_iou": chance,
        "information": information,
        "threshold": threshold,
    }


# -------------------------------------------------------------- pictures


class _Unit(TypedDict):
    number: int
    concept: str
    iou: float
    chance: float
    image: str


class _Layer(TypedDict):
    name: str
    size: str
    units: int
    counts: tuple[int, int, int]
    best: list[tuple[int, float, float]]
    shown: list[_Unit]


def _shown(model: Model, found: Dissection, of: LayerUnits) -> _Layer:
    """A layer on the page: its best unit for each concept, and pictures of units."""
    iou, chance = of.found.iou, of.chance.iou
    best = [(int(u), float(iou[u, c]), float(chance[u, c])) for c, u in enumerate(iou.argmax(0))]
    excess = torch.where(of.found.matched(), iou - chance, 0.0)
    order = excess.amax(1).argsort(descending=True, stable=True)[:UNITS].tolist()
    chosen = [(u, int(excess[u].argmax())) for u in order if excess[u].amax() > 0]
    return {
        "name": of.layer.name,
        "size": f"{of.layer.height}x{of.layer.width}",
        "units": of.layer.units,
        "counts": of.counts(),
        "best": best,
        "shown": [
            {
                "number": u,
                "concept": found.names[c],
                "iou": float(iou[u, c]),
                "chance": float(chance[u, c]),
                "image": sheet,
            }
            for (u, c), sheet in zip(chosen, _pictures(model, of, chosen, found.seed), strict=True)
        ],
    }


@torch.no_grad()
def _pictures(
    model: Model, of: LayerUnits, chosen: Sequence[tuple[int, int]], seed: int
) -> list[str]:
    """For each unit and its concept, the samples that activate it most.

    Pixels where the unit is below its threshold are blended with gray.
    """
    if not chosen:
        return []
    images, maps = [], []
    with recorded(model, [of.layer.name]) as features:
        for part in model.batches(SHOWN, seed=seed):
            images.append(part.cpu())
            maps.append(features[of.layer.name][:, [u for u, _ in chosen]].cpu())
    x, f = torch.cat(images), torch.cat(maps)
    size = (x.shape[2], x.shape[3])
    large = interpolate(f, size, mode="bilinear", align_corners=False)
    sheets = []
    for i, (u, c) in enumerate(chosen):
        most = large[:, i].flatten(1).amax(1).argsort(descending=True, stable=True)[:PANELS]
        active = large[most, i, None] > of.found.threshold[u, c]
        sheets.append(_picture(torch.where(active, x[most], (1 - DIM) * x[most]), PANELS))
    return sheets


def _picture(x: Tensor, columns: int) -> str:
    """A grid as a data URI, enlarged to panels of at least `SIDE` pixels."""
    factor = -(-SIDE // min(x.shape[2:]))
    sheet = grid.grid(x, columns=columns)
    large = sheet.resize((sheet.width * factor, sheet.height * factor), Image.Resampling.NEAREST)
    return encode.data_uri(encode.png_bytes(large))


class _Edit(TypedDict):
    concept: str
    layer: str
    units: list[int]
    rows: str
    image: str
    curve: Panel | None
    added: tuple[float, float, float] | None
    command: str


@torch.no_grad()
def _edit(
    model: Model,
    units: Units,
    edit: ConceptUnits,
    effects: Sequence[Effect],
    run: str | Path,
    out: Path,
) -> _Edit:
    """An edit on the page: samples, without the concept, and with it in the middle."""
    name = edit.concept
    effect = next((e for e in effects if (e.name, e.layer) == (name, edit.layer)), None)
    rows = [model.sample(PANELS, output="torch")]
    with edited(model, units, remove=[name]):
        rows.append(model.sample(PANELS, output="torch"))
    if edit.values:
        with edited(model, units, add=[name], at=MIDDLE):
            rows.append(model.sample(PANELS, output="torch"))
    names = (Path(run).name, out.with_suffix(".json").name)  # no paths, as in reports
    words = ["ganvas", "edit", names[0], "--units", names[1], "--remove", name]
    words += ["--out", "edited.png"]
    added = None
    if effect is not None:
        added = (effect.added.before, effect.added.inserted, effect.random_added.inserted)
    return {
        "concept": name,
        "layer": edit.layer,
        "units": edit.units,
        "rows": "samples, without the concept" + ", with it in the middle" * bool(edit.values),
        "image": _picture(torch.cat(rows), PANELS),
        "curve": None
        if effect is None
        else removal_curve(effect.counts, effect.left, effect.random),
        "added": added,
        "command": shlex.join(words),
    }
