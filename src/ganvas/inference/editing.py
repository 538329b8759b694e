"""Add and remove concepts in generated images by units, at a place or everywhere.

Bau et al., 2018, GAN Dissection, arXiv:1811.10597, section 3.2. Which units stand for
a concept is in the record that `ganvas dissect` writes (`evaluation.units_page`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import pydantic
import torch
from torch import Tensor

from ganvas.core.errors import DataError, UserError, did_you_mean, printable
from ganvas.core.json_files import read_json
from ganvas.inference import explore
from ganvas.inference.latent.naming import SampleName
from ganvas.inference.model import Model
from ganvas.inference.options import Label
from ganvas.inference.units import PLACE, Change, changed, layers, place_text, region
from ganvas.media import encode, grid

FORMAT = "ganvas-units-1"
RECORD = "units.json"  # in the folder of a dissected model
ARTIFACTS = "artifacts"  # the units whose removal lowers the distance to real images


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, allow_inf_nan=False)


class ConceptUnits(_Part):
    """The units of a layer that stand for a concept, the strongest first.

    values: activation of each unit where the concept is present; empty: the units can
        only be removed
    """

    concept: str
    layer: str
    units: list[Annotated[int, pydantic.Field(ge=0, lt=2**20)]] = pydantic.Field(min_length=1)
    values: list[float] = []


class Units(_Part):
    """The edits in a record of `ganvas dissect`.

    sizes: layer -> (units, height, width)
    weights: hash of the weights of the model that was dissected
    """

    format: str
    sizes: dict[str, tuple[int, int, int]]
    edits: list[ConceptUnits]
    weights: str | None = None

    def of(self, concept: str) -> ConceptUnits:
        """The units of a concept. Raises `UserError` for one without units."""
        found = {edit.concept: edit for edit in self.edits}
        if concept not in found:
            known = did_you_mean(concept, found) if found else "It names no concept's units."
            raise UserError(f"this record has no units for {concept!r}. {known}")
        return found[concept]


def read(path: str | Path) -> Units:
    """Read a record of `ganvas dissect`. Raises `DataError` for anything else."""
    record = read_json(path, "record of ganvas dissect")
    try:
        units = Units.model_validate(record)
    except pydantic.ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{printable(path)} is not a record of ganvas dissect ({where}: {first['msg']}): give "
            "the .json that it wrote beside its page"
        ) from None
    if units.format != FORMAT:
        raise DataError(
            f"{printable(path)} has the format {printable(units.format)!r}; this version reads "
            f"{FORMAT}: dissect the model again"
        )
    return units


def units_of(model: Model, path: Path) -> Units:
    """The units of a model, from a `units.json` in or beside its folder.

    path: of the run, the model's folder or its file

    Raises `UserError` that says how to make the record if there is none of these
    weights, or if it has no concept with units; `CapabilityError` for a model without
    layers of feature maps; `DataError` for a damaged record.
    """
    folder = path if path.is_dir() else path.parent
    others = False
    for file in (folder / RECORD, folder.parent / RECORD):
        if not file.is_file():
            continue
        units = read(file)
        if units.weights == model.facts["weights"]:
            if not units.edits:
                raise UserError(
                    f"the dissection {printable(file)} found no units that stand for a concept"
                )
            return units
        others |= file.parent == folder
    layers(model)  # refuses models without maps
    out = shlex.quote(str((folder / RECORD).with_suffix(".html")))
    known = "are of other weights of it" if others else "are not known yet"
    raise UserError(
        f"the units of this model {known}: ganvas dissect {shlex.quote(str(path))} "
        f"--out {printable(out)} finds them"
    )


def changes(
    model: Model,
    units: Units,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    at: Sequence[float] | Tensor | None = None,
    count: int | None = None,
) -> dict[str, Change]:
    """The changes of layers that add and remove concepts.

    add, remove: names of concepts; "artifacts" can be removed, if they were looked for
    at: a point (down, across) or two corners, each from 0 to 1, or a mask of the image
        [H, W] (`region`); None: everywhere
    count: of each concept's units, at most; None: all of the record

    Raises `UserError` for unknown concepts, none or the same ones in both, a wrong
    place, and for the record of another model.
    """
    if not add and not remove:
        raise UserError("nothing to add or to remove: name at least one concept")
    if both := sorted(set(add) & set(remove)):
        raise UserError(f"{both[0]!r} is to be added and removed: choose one")
    if count is not None and count < 1:
        raise UserError(f"count is {count}; it must be at least 1")
    known = {layer.name: layer for layer in layers(model)}
    if units.weights != model.facts["weights"]:
        raise UserError(
            "the record is of other weights, whose units need not mean the same in these: dissect "
            "this model (ganvas dissect), or load the checkpoint that was dissected"
        )
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for adds, name in [*((False, r) for r in remove), *((True, a) for a in add)]:
        edit = units.of(name)
        layer = known.get(edit.layer)
        sizes = units.sizes.get(edit.layer)
        if layer is None or sizes != tuple(layer[1:]) or max(edit.units) >= layer.units:
            raise UserError(
                f"the record is of another model: layer {printable(edit.layer)} with "
                f"{sizes} (units, height, width) is not in this one. Dissect this model"
            )
        if adds and len(edit.values) != len(edit.units):
            raise UserError(f"{name} can only be removed: the record has no values to insert")
        weight, value = found.setdefault(
            layer.name, (torch.zeros(layer.units), torch.zeros(layer.units))
        )
        chosen = edit.units[:count]
        weight[chosen] = 1.0
        value[chosen] = torch.tensor(edit.values[:count]) if adds else 0.0
    return {
        name: Change(weight, value, region(at, known[name].height, known[name].width))
        for name, (weight, value) in found.items()
    }


@contextmanager
def edited(
    model: Model,
    units: Units | str | Path,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    at: Sequence[float] | Tensor | None = None,
    count: int | None = None,
) -> Iterator[None]:
    """Add or remove concepts in all samples that the model generates in the context.

    units: a record of `ganvas dissect`, or its path; other options: see `changes`

        with edited(model, "units.json", remove=["ink"], at=(0.5, 0.25)):
            images = model.sample(8)
    """
    units = units if isinstance(units, Units) else read(units)
    with changed(model, changes(model, units, add=add, remove=remove, at=at, count=count)):
        yield


class Stroke(NamedTuple):
    """A concept that is painted into an image.

    adds: whether the concept is added; else it is removed
    mask: bool [H, W] of the image's size, where
    """

    concept: str
    adds: bool
    mask: Tensor


def painted(
    model: Model,
    units: Units,
    name: SampleName,
    strokes: Sequence[Stroke],
    *,
    label: Label | None = None,
    truncation: float | None = None,
) -> Tensor:
    """A sample [1, C, H, W] in [-1, 1] after strokes, of which the last one counts.

    name, label, truncation: of the sample, as of `explore.images`

    Raises `UserError` as `changes` does.
    """
    found = [
        changes(model, units, add=[concept] * adds, remove=[concept] * (not adds), at=mask)
        for concept, adds, mask in strokes
    ]
    with ExitStack() as stack:
        for how in found:
            stack.enter_context(changed(model, how))
        return explore.images(model, [name], label=label, truncation=truncation)


@torch.no_grad()
def page(
    model: Model,
    units: str | Path,
    out: str | Path,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    at: Sequence[float] | None = None,
    count: int | None = None,
    n: int = 8,
    seed: int = 0,
    label: str | None = None,
    truncation: float | None = None,
) -> Path:
    """Write a sheet of `n` samples, and below each the same sample after the edit.

    Options: see `changes` and `Model.sample`.
    """
    how = changes(model, read(units), add=add, remove=remove, at=at, count=count)
    labels = None if label is None else [model.class_number(label)] * n

    def samples() -> Tensor:
        return model.sample(n, seed=seed, labels=labels, truncation=truncation, output="torch")

    before = samples()
    with changed(model, how):
        after = samples()
    sheet = grid.grid(torch.cat([before, after]), columns=n)
    return encode.save(
        sheet,
        out,
        **model.facts,
        seed=seed,
        kind="edited by units",
        added=",".join(add) or None,
        removed=",".join(remove) or None,
        at=None if at is None else place_text(at),
    )


def place(text: str | None) -> tuple[float, ...] | None:
    """Parse a place: `"0.5,0.25"`, or two corners `"0.2,0.2,0.5,0.5"`.

    Raises `UserError` for anything but two or four numbers.
    """
    if text is None:
        return None
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        raise UserError(f"{PLACE}; got {text!r}") from None
    return found
