"""The part of a run's report that shows what the monitor found and did."""

from __future__ import annotations

import json
from pathlib import Path

from ganvas.evaluation.report_plots import Line, evidence, finite


def findings(path: Path, log: list[Line], measured: list[Line]) -> list[Line]:
    """What the monitor found, each with a plot of the value that shows it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    shown = []
    for finding in found if isinstance(found, list) else []:
        if not isinstance(finding, dict) or not isinstance(finding.get("text"), str):
            continue
        name = str(finding.get("figure"))
        values = measured if any(name in line for line in measured) else log
        marks = [finding[k] for k in ("began", "images") if finite(finding.get(k))]
        texts = {k: str(finding.get(k) or "") for k in ("text", "setting", "source")}
        good = finding.get("good")
        shown.append(
            {
                **texts,
                "name": name,
                "good": f"{good:,}" if finite(good) else "",
                "svg": evidence(values, name, marks),
            }
        )
    return shown


def rewinds(record: object) -> list[dict[str, str]]:
    """The returns to earlier checkpoints, for a table."""
    return [
        {
            **{k: str(r.get(k)) for k in ("kind", "setting", "source")},
            **{k: f"{r[k]:,}" for k in ("images", "to")},
        }
        for r in (record if isinstance(record, list) else [])
        if isinstance(r, dict) and finite(r.get("images")) and finite(r.get("to"))
    ]
