"""Write a run's report: report.html, one self-contained file without server or network.

It shows what the run folder holds and omits what is missing. Training must not fail
because of its report: unreadable lines and images are skipped.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import time
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image
from torch import Tensor

from ganvas import __version__
from ganvas.core.errors import UserError, printable
from ganvas.core.files import write
from ganvas.evaluation.report_monitor import findings, rewinds
from ganvas.evaluation.report_plots import (
    curves,
    embedded,
    finite,
    held_out,
    number,
    opened,
    quality,
    short,
)
from ganvas.media import grid, provenance
from ganvas.metrics.suite import measurements

ROWS = {
    "pairs": "Rows: input, output, target.",
    "domains": "Rows: input and output for each direction; then samples, if there are any.",
}
THUMBNAILS = 12  # grids over time, evenly spaced
THUMBNAIL_SIDE = 280  # pixels
LARGEST_SIDE = 1600  # pixels of the newest grid
RELOAD = 30  # seconds between two reloads of a run in progress
STALE = 1800  # seconds without a new report after which a page does not reload
_EXPLAINED = {
    "fid": ("FID", "lower is better, 0 is best"),
    "fid_bias": ("of which bias, roughly", "decreases with more images"),
    "fid_infinity": ("FID at infinitely many images", "extrapolated"),
    "frechet": ("Fréchet distance", "lower is better, 0 is best"),
    "frechet_bias": ("of which bias, roughly", "decreases with more images"),
    "frechet_infinity": ("Fréchet distance at infinitely many images", "extrapolated"),
    "kernel": ("Kernel distance", "lower is better, 0 is best"),
    "precision": ("Precision", "fraction of samples that could be real"),
    "recall": ("Recall", "fraction of real images that could be samples"),
    "density": ("Density", "like precision, less sensitive to outliers; about 1 is best"),
    "coverage": ("Coverage", "fraction of real images with a sample nearby"),
    "inception_score": ("Inception score", "higher is better; uses no real images"),
    "classifier_score": ("Classifier score", "as the inception score, over another network"),
    "diversity": ("Diversity", "spread of the samples / spread of the real images; 1 is best"),
}


def write_report(run_dir: str | Path, *, running: bool = False) -> Path:
    """Write report.html of a run folder; return its path.

    running: training continues; the page reloads itself until it is written without

    Raises `UserError` if the folder holds no run, or if the page cannot be written.
    """
    run_dir = Path(run_dir)
    run = _object(run_dir / "run.json")
    if not run:
        raise UserError(
            f"{run_dir} is not a run folder (it has no readable run.json): give a folder that "
            "ganvas train wrote"
        )
    log, timing, measured = (
        _lines(run_dir / f"{name}.jsonl") for name in ("log", "timing", "measures")
    )
    grids = _grids(run_dir / "samples")
    measure = _object(run_dir / "measure.json")
    recognized = [found for m in measurements(measure).values() if (found := _recognizability(m))]
    recognition = _object(run_dir / "judge.json") or (recognized[0] if recognized else None)
    page = template("report.html.j2").render(
        title=str(run.get("recipe") or run.get("method") or run_dir.name),
        paper=_paper(run.get("paper")),
        statement=provenance.STATEMENT,
        facts=_facts(run, _trained(run_dir, log, timing, measured), timing, measured),
        live=_live() if running else None,
        latest=grids[-1] if grids else None,
        rows=ROWS.get(str(run.get("task")), ""),
        data_notes=[n for n in _list(run.get("data_notes")) if isinstance(n, str)],
        latest_image=embedded(grids[-1][1], LARGEST_SIDE) if grids else None,
        thumbnails=[
            (images, embedded(path, THUMBNAIL_SIDE)) for images, path in _thinned(grids, THUMBNAILS)
        ],
        quality=quality(measured),
        held_out=held_out(run.get("held_out"), _of(run.get("run"), "best"), measured),
        curves=curves(log, measured),
        findings=findings(run_dir / "monitor.json", log, measured),
        rewinds=rewinds(run.get("rewinds")),
        neighbours=embedded(run_dir / "neighbours.png", LARGEST_SIDE),
        measures=_measures(measure),
        recognition=_recognition(recognition) if isinstance(recognition, dict) else None,
        command=_command(run),
        settings=_flat(run),
        version=__version__,
    )
    return write(run_dir / "report.html", page)


@cache
def template(name: str) -> jinja2.Template:
    """A page of `templates/`, in which all text is escaped."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def neighbour_sheet(samples: Tensor, real_images: Tensor, indices: Tensor) -> Image.Image:
    """A sheet of samples, each beside its nearest real images.

    samples: [n, C, H, W] in [-1, 1]
    real_images: [m, C, H, W] in [-1, 1]
    indices: [n, k] into `real_images`
    """
    factor = max(math.ceil(64 / min(samples.shape[-2:])), 1)  # so that the captions fit

    def enlarged(x: Tensor) -> Tensor:
        return x.repeat_interleave(factor, -1).repeat_interleave(factor, -2)

    columns = [enlarged(samples), *(enlarged(real_images[i]) for i in indices.T)]
    return grid.side_by_side(
        *columns, captions=["sample", *["real"] * (len(columns) - 1)], across=2, pad=3
    )


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a .jsonl file that have `images`, sorted by it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and finite(value.get("images")):
            found.append(value)
    return sorted(found, key=lambda value: value["images"])


def _trained(run_dir: Path, *lines: list[dict[str, Any]]) -> float | None:
    """The images of the newest checkpoint; without one, of the curves."""
    names = [
        p.name
        for p in (run_dir / "checkpoints").glob("[0-9]*")
        if p.name.isascii() and p.name.isdigit()
    ]
    saved = max(map(int, names), default=None)
    if saved is not None:
        return saved
    return max((part[-1]["images"] for part in lines if part), default=None)


def _grids(folder: Path) -> list[tuple[int, Path]]:
    """(images, path) of the readable grids, oldest first; also of a stopped run."""
    numbers = [(p.stem.removeprefix("stopped-"), p) for p in folder.glob("*.png")]
    found = sorted((int(n), p) for n, p in numbers if n.isascii() and n.isdigit())
    return [(images, path) for images, path in found if opened(path) is not None]


def _thinned(items: list[Any], count: int) -> list[Any]:
    """At most `count` items, evenly spaced, with the first and the last."""
    if len(items) <= count:
        return items
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _paper(text: Any) -> dict[str, str] | None:
    """A paper's line, and its address if it is on arXiv."""
    if not isinstance(text, str) or not text.strip():
        return None
    arxiv = re.search(r"arXiv:\s*(\d{4}\.\d{4,5})", text)
    return {"text": text.strip(), "address": f"https://arxiv.org/abs/{arxiv[1]}" if arxiv else ""}


def _command(run: dict[str, Any]) -> str:
    command = run.get("command")
    return shlex.join(map(str, command)) if isinstance(command, list) else str(command or "")


def _facts(
    run: dict[str, Any],
    trained: float | None,
    timing: list[dict[str, Any]],
    measured: list[dict[str, Any]],
) -> list[tuple[str, str, str]]:
    """(name, value, small print)."""
    facts: list[tuple[str, str, str]] = []
    if trained is not None:
        target = run.get("images")
        of = f"of {target:,} images" if finite(target) and trained < target else "images"
        facts.append(("Trained", f"{trained:,}", of))
    seconds = timing[-1].get("seconds") if timing else None
    if finite(seconds):
        facts.append(("Time", _duration(seconds), _of(run.get("machine"), "processor", "cpu")))
        rate = timing[-1].get("images_per_second")
        rate = rate if finite(rate) else timing[-1]["images"] / seconds if seconds else 0
        facts.append(("Speed", f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}", "images / s"))
    best = min(
        (m for m in measured if finite(m.get("frechet"))), key=lambda m: m["frechet"], default=None
    )
    if best is not None:
        facts.append(
            ("Best Fréchet", number(best["frechet"]), f"at {short(best['images'])} images")
        )
    data = run.get("data")
    if isinstance(data, dict):
        count, classes = data.get("count"), data.get("classes")
        classes = len(classes) if isinstance(classes, list | dict) else classes
        small = [Path(str(data.get("source") or data.get("name") or "")).name]
        small += [f"{classes} classes"] if finite(classes) and classes else []
        facts.append(
            ("Data", f"{count:,}" if finite(count) else "", ", ".join(filter(None, small)))
        )
    facts += _changes_of_data(run.get("data_changes")) + _origin(run.get("initial"))
    shape = run.get("shape")
    if isinstance(shape, dict) and finite(shape.get("height")) and finite(shape.get("width")):
        color = {"1": "gray", "3": "color", "4": "color with alpha"}.get(
            str(shape.get("channels")), ""
        )
        facts.append(("Images", f"{shape['width']}×{shape['height']}", color))
    parameters = run.get("parameters")
    if isinstance(parameters, dict) and parameters and all(map(finite, parameters.values())):
        facts.append(("Parameters", short(sum(parameters.values())), ", ".join(parameters)))
    return facts


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _changes_of_data(changes: Any) -> list[tuple[str, str, str]]:
    """A fact for each time that the data of the run changed."""
    facts = []
    for change in _list(changes):
        before = change.get("before") if isinstance(change, dict) else None
        if isinstance(before, dict) and finite(change.get("images")):
            small = f"images; before, {before.get('count')} of {before.get('source')}"
            facts.append(("Data changed at", f"{change['images']:,}", small))
    return facts


def _origin(initial: Any) -> list[tuple[str, str, str]]:
    """A fact for each network that started from weights."""
    facts = []
    for record in _list(initial):
        if isinstance(record, dict) and isinstance(record.get("new"), list):
            small = f"{record.get('tensors')} tensors; {len(record['new'])} new"
            name = f"Initial weights of {record.get('network')}"
            facts.append((name, f"{record.get('source')}", small))
    return facts


def _of(value: Any, *names: str) -> str:
    if not isinstance(value, dict):
        return ""
    return str(next((value[n] for n in names if value.get(n)), ""))


def _measures(record: dict[str, Any]) -> list[dict[str, Any]]:
    """One table per measurement of the record."""
    tables = []
    for name, part in measurements(record).items():
        values, intervals, rows = part["values"], part.get("intervals"), []
        for key, (label, meaning) in _EXPLAINED.items():
            if finite(values.get(key)):
                ends = intervals.get(key) if isinstance(intervals, dict) else None
                interval = ""
                if isinstance(ends, list) and len(ends) == 2 and all(map(finite, ends)):
                    interval = f"{number(ends[0])} to {number(ends[1])}"
                rows.append((label, number(values[key]), interval, meaning))
        protocol = {
            k: v
            for k, v in part.items()
            if k not in ("values", "intervals", "notes", "judge", "machine")
        }
        notes = [str(note) for note in _list(part.get("notes"))]
        tables.append({"name": name, "rows": rows, "notes": notes, "protocol": _flat(protocol)})
    return tables


def _recognizability(measurement: dict[str, Any]) -> dict[str, Any] | None:
    """The recognizability record; older records have it as `judge`."""
    old = measurement.get("judge")
    if isinstance(old, dict):
        return old
    also = measurement.get("also")
    found = also.get("recognizability") if isinstance(also, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("values"), dict):
        return None
    protocol = found.get("protocol")
    return {
        **found["values"],
        **(protocol if isinstance(protocol, dict) else {}),
        "class_shares": found.get("class_shares"),
    }


def _recognition(record: dict[str, Any]) -> dict[str, Any] | None:
    if not all(finite(record.get(k)) for k in ("fake_confident", "real_confident", "ratio")):
        return None
    shares = record.get("class_shares")
    shares = shares if isinstance(shares, dict) else {}
    shares = {str(k): v for k, v in shares.items() if finite(v)}
    nothing = record.get("unrecognized_share", record.get("unrecognised_share"))
    if shares and finite(nothing):
        shares["none"] = nothing
    rest = {k: v for k, v in record.items() if k != "class_shares"}
    return {
        **{k: record[k] for k in ("fake_confident", "real_confident", "ratio")},
        "shares": shares,
        "rest": _flat(rest),
    }


def _flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """The leaves of a tree of dicts and lists, with their paths."""
    if isinstance(value, dict) and value:
        return [
            row for k, v in value.items() for row in _flat(v, f"{path}.{k}" if path else str(k))
        ]
    if isinstance(value, list) and any(isinstance(v, dict | list) for v in value):
        return [row for i, v in enumerate(value) for row in _flat(v, f"{path}[{i}]")]
    if isinstance(value, list):
        return [(path, ", ".join(map(str, value)))]
    return [(path, "–" if value is None else str(value))]


def _duration(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours:,} h {m:02d} min" if hours else f"{m} min {s:02d} s" if m else f"{s} s"


def _live() -> dict[str, int | str]:
    """When the page of a run in progress was written, and when it reloads."""
    now = int(time.time())
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    return {"written": now, "time": shown, "reload": RELOAD, "stale": STALE}
