"""Compare measurement records. Records with different protocols are rejected."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pydantic

from ganvas.core.errors import UserError, printable, sentence
from ganvas.core.json_files import read_json
from ganvas.evaluation.records import Record, Table
from ganvas.metrics.suite import measurements


class _Measurement(pydantic.BaseModel):
    """The required fields of a measurement in a record."""

    model_config = pydantic.ConfigDict(strict=True, extra="allow")
    protocol: Record
    values: dict[str, float | None]
    intervals: (
        dict[str, Annotated[list[float], pydantic.Field(min_length=2, max_length=2)] | None] | None
    ) = None
    checkpoint: str | int | None = None
    seed: int | None = None
    commit: str | None = None

    @pydantic.field_validator("protocol")
    @classmethod
    def _direction(cls, protocol: Record) -> Record:
        if not isinstance(protocol.get("to", ""), str):
            raise ValueError("the direction 'to' is not text")
        return protocol


class ProtocolMismatch(UserError):
    """The records have different protocols."""


def compare(paths: Sequence[str | Path]) -> list[Table]:
    """The measurements of records, or of runs' measure.json, side by side.

    Returns one table per direction of translation (else one table): `protocol`, which
    all share, and `columns`, each with `name`, `values`, `intervals`, `seed` and
    `commit`.

    Raises `ProtocolMismatch` with the fields that differ, and `UserError` for a file
    without a record.
    """
    tables: dict[str, list[tuple[str, Record]]] = {}
    for path in map(Path, paths):
        contents: dict[str, Record] = measurements(_record(path))
        for name, measurement in contents.items():
            title = printable(path.parent if path.name == "measure.json" else path)
            named = printable(name) or str(measurement.get("checkpoint") or "")
            tables.setdefault(measurement["protocol"].get("to", ""), []).append(
                (f"{title} ({named})" if named else title, measurement)
            )
    if all(len(columns) < 2 for columns in tables.values()):
        raise UserError(
            f"{printable(paths[0])} is the only measurement: give two records, or one of two "
            "checkpoints"
        )
    return [_table(columns) for columns in tables.values()]


def _table(columns: list[tuple[str, Record]]) -> Table:
    (first, reference), *others = columns
    shared = _flat(reference["protocol"])
    for name, measurement in others:
        flat = _flat(measurement["protocol"])
        different = [field for field in {**shared, **flat} if shared.get(field) != flat.get(field)]
        if different:
            differences = ", ".join(
                f"{printable(field)} ({_short(shared, field)} and {_short(flat, field)})"
                for field in different
            )
            raise ProtocolMismatch(
                f"{first} and {name} have different protocols and do not compare: they differ in "
                f"{differences}"
            )
    return {
        "protocol": reference["protocol"],
        "columns": [
            {
                "name": name,
                "values": measurement["values"],
                "intervals": measurement.get("intervals"),
                "seed": measurement.get("seed"),
                "commit": measurement.get("commit"),
            }
            for name, measurement in columns
        ],
    }


def _record(path: Path) -> Record:
    file = path / "measure.json" if path.is_dir() else path
    where = printable(file)
    advice = f"Make a record with: ganvas measure … --out {shlex.quote(where)}"
    try:
        record: Record = read_json(file, "record")
    except UserError as e:
        raise UserError(f"{sentence(e)} {advice}") from None
    contents = measurements(record)
    try:
        for measurement in contents.values():
            _Measurement.model_validate(measurement)
    except pydantic.ValidationError as e:
        error = e.errors()[0]
        at = printable(".".join(map(str, error["loc"])))
        raise UserError(
            f"{where} is not a record: {at}: {printable(error['msg'].lower())}. {advice}"
        ) from None
    if not contents:
        raise UserError(f"{where} is not a record: it holds no measurement. {advice}")
    return record


def _flat(tree: Record, path: str = "") -> Record:
    """Flatten a tree: {"real": {"count": 3}} -> {"real.count": 3}."""
    flat: Record = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{path}{name}.") if isinstance(value, dict) else {path + name: value}
    return flat


def _short(flat: Record, field: str) -> str:
    """A value in a few characters: hashes are abbreviated."""
    text = printable(flat.get(field, "none"))
    return text if len(text) <= 24 else f"{text[:12]}…"
