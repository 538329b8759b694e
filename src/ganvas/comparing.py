"""Records side by side. Only like compares with like: a figure means nothing beside one that was taken otherwise."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganvas.errors import UserError
from ganvas.metrics.measure import measurements


class Unlike(UserError):
    """The records were taken under unlike protocols."""


def compare(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The measurements of records, or of runs' measure.json, side by side.

    One table a direction of translation (else one in all): `protocol`, what they share, and `columns`, each with `name`,
    `values`, `intervals`, `seed` and `commit`. Raises `Unlike` where protocols differ, naming the fields, and `UserError`
    for a file that holds no record."""
    tables: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for path in map(Path, paths):
        for name, found in measurements(_record(path)).items():
            title = f"{path.parent if path.name == 'measure.json' else path}"
            named = name or str(found.get("checkpoint") or "")
            tables.setdefault(found["protocol"].get("to", ""), []).append(
                (f"{title} ({named})" if named else title, found)
            )
    if all(len(columns) < 2 for columns in tables.values()):
        raise UserError(f"there is nothing to compare {paths[0]} with: give two records, or one of two checkpoints")
    return [_table(columns) for columns in tables.values()]


def _table(columns: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    (first, reference), *others = columns
    shared = _flat(reference["protocol"])
    for name, found in others:
        flat = _flat(found["protocol"])
        unlike = [field for field in {**shared, **flat} if shared.get(field) != flat.get(field)]
        if unlike:
            differences = ", ".join(f"{field} ({_said(shared, field)} and {_said(flat, field)})" for field in unlike)
            raise Unlike(f"{first} and {name} do not compare: they differ in {differences}")
    kept = ("values", "intervals", "seed", "commit")
    return {
        "protocol": reference["protocol"],
        "columns": [{"name": name, **{k: found.get(k) for k in kept}} for name, found in columns],
    }


def _record(path: Path) -> dict[str, Any]:
    file = path / "measure.json" if path.is_dir() else path
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        found = measurements(record)
        if not found or not all(isinstance(m["protocol"], dict) for m in found.values()):
            raise ValueError("it holds no measurement with its protocol")
    except (OSError, ValueError, AttributeError, KeyError) as e:
        reason = "there is no such file" if isinstance(e, FileNotFoundError) else e
        command = f"ganvas measure … --out {shlex.quote(str(file))}"
        raise UserError(f"{file} is no record ({reason}): make one with {command}") from None
    return record


def _flat(tree: dict[str, Any], path: str = "") -> dict[str, Any]:
    """{"real": {"count": 3}} -> {"real.count": 3}"""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{path}{name}.") if isinstance(value, dict) else {path + name: value}
    return flat


def _said(flat: dict[str, Any], field: str) -> str:
    """A value in few letters: a hash is told by its first ones."""
    text = str(flat.get(field, "none"))
    return text if len(text) <= 24 else f"{text[:12]}…"
