"""A run on one page: report.html, a single file that opens anywhere, with no server and no network.

It shows what the run's folder holds and leaves out what is missing. A training that is finished must not fail by its
report: lines and pictures that cannot be read are skipped."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import shlex
from pathlib import Path
from typing import Any, TypeGuard

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from ganvas import __version__, provenance, spectra
from ganvas.errors import UserError
from ganvas.metrics.measure import measurements

ROWS = {
    "pairs": "In rows: the input, what was made of it, and what it should be.",
    "domains": "In rows: the input and what was made of it, for each direction; then samples, of methods that make any.",
}
THUMBNAILS = 12  # grids over time; more are thinned out evenly
THUMBNAIL_SIDE = 280  # pixels
LARGEST_SIDE = 1600  # pixels of the newest grid
POINTS = 400  # per curve; longer ones are averaged
_EXPLAINED = {
    "fid": ("FID", "lower is better, 0 is best"),
    "fid_bias": ("of which bias, roughly", "shrinks with more images"),
    "fid_infinity": ("FID at infinitely many images", "extrapolated"),
    "frechet": ("Fréchet distance", "lower is better, 0 is best"),
    "frechet_bias": ("of which bias, roughly", "shrinks with more images"),
    "frechet_infinity": ("Fréchet distance at infinitely many images", "extrapolated"),
    "kernel": ("Kernel distance", "lower is better, 0 is best"),
    "precision": ("Precision", "share of samples that could be real"),
    "recall": ("Recall", "share of real images that could be samples"),
    "density": ("Density", "as precision, less moved by outliers; about 1 is best"),
    "coverage": ("Coverage", "share of real images with a sample nearby"),
    "inception_score": ("Inception score", "higher is better; looks at no real image"),
    "diversity": ("Diversity", "spread of the samples / spread of the real images; 1 is best"),
}


def write_report(run_dir: str | Path, *, running: bool = False) -> Path:
    """Read a run's folder and write its report.html; returns the page's path.

    `running`: training goes on, and the page reloads itself.

    Raises `UserError` where the folder holds no run, or the page cannot be written."""
    run_dir = Path(run_dir)
    run = _object(run_dir / "run.json")
    if not run:
        raise UserError(
            f"{run_dir} is not a run's folder (it has no readable run.json): name a folder that ganvas train made"
        )
    log, timing, measured = (_lines(run_dir / f"{name}.jsonl") for name in ("log", "timing", "measures"))
    grids = _grids(run_dir / "samples")
    template = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("report.html.j2")
    measure = _object(run_dir / "measure.json")
    judges = [m["judge"] for m in measurements(measure).values() if isinstance(m.get("judge"), dict)]
    judge = _object(run_dir / "judge.json") or (judges[0] if judges else None)
    page = template.render(
        title=str(run.get("recipe") or run.get("method") or run_dir.name),
        paper=_paper(run.get("paper")),
        statement=provenance.STATEMENT,
        facts=_facts(run, _trained(run_dir, log, timing, measured), timing, measured),
        running=running,
        latest=grids[-1] if grids else None,
        rows=ROWS.get(str(run.get("task")), ""),
        latest_picture=_picture(grids[-1][1], LARGEST_SIDE) if grids else None,
        thumbnails=[(images, _picture(path, THUMBNAIL_SIDE)) for images, path in _thinned(grids, THUMBNAILS)],
        quality=_quality(measured),
        curves=_curves(log),
        neighbours=_picture(run_dir / "neighbours.png", LARGEST_SIDE),
        measures=_measures(measure),
        judge=_judged(judge) if isinstance(judge, dict) else None,
        command=_command(run),
        settings=_flat(run),
        version=__version__,
    )
    return provenance.write(run_dir / "report.html", page.encode())


def neighbour_sheet(samples: Tensor, real_images: Tensor, indices: Tensor) -> Image.Image:
    """Samples [n, C, H, W] each beside its nearest real images, `real_images[indices]`, indices [n, k]; all in [-1,
    1]."""
    factor = max(math.ceil(64 / min(samples.shape[-2:])), 1)  # so that the captions fit

    def enlarged(x: Tensor) -> Tensor:
        return x.repeat_interleave(factor, -1).repeat_interleave(factor, -2)

    columns = [enlarged(samples), *(enlarged(real_images[i]) for i in indices.T)]
    return provenance.side_by_side(*columns, captions=["sample", *["real"] * (len(columns) - 1)], across=2, pad=3)


# ---------------------------------------------------------------- reading


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a .jsonl file that say at how many images they were written, in that order."""
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
        if isinstance(value, dict) and _finite(value.get("images")):
            found.append(value)
    return sorted(found, key=lambda value: value["images"])


def _trained(run_dir: Path, *lines: list[dict[str, Any]]) -> float | None:
    """The images of the newest checkpoint; of the curves, if there is none."""
    names = [p.name for p in (run_dir / "checkpoints").glob("[0-9]*") if p.name.isascii() and p.name.isdigit()]
    saved = max(map(int, names), default=None)
    return saved if saved is not None else max((part[-1]["images"] for part in lines if part), default=None)


def _finite(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _grids(folder: Path) -> list[tuple[int, Path]]:
    """(images, path) of the sample grids that can be opened, oldest first; the one of a run that was stopped among them."""
    numbers = [(p.stem.removeprefix("stopped-"), p) for p in folder.glob("*.png")]
    found = sorted((int(n), p) for n, p in numbers if n.isascii() and n.isdigit())
    return [(images, path) for images, path in found if _opened(path) is not None]


def _opened(path: Path) -> Image.Image | None:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _thinned(items: list[Any], count: int) -> list[Any]:
    """At most `count`, evenly, the first and the last among them."""
    if len(items) <= count:
        return items
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


# ---------------------------------------------------------------- what the page says


def _paper(text: Any) -> dict[str, str] | None:
    """A paper's line, and its address where it names one on arXiv."""
    if not isinstance(text, str) or not text.strip():
        return None
    arxiv = re.search(r"arXiv:\s*(\d{4}\.\d{4,5})", text)
    return {"text": text.strip(), "address": f"https://arxiv.org/abs/{arxiv[1]}" if arxiv else ""}


def _command(run: dict[str, Any]) -> str:
    command = run.get("command")
    return shlex.join(map(str, command)) if isinstance(command, list) else str(command or "")


def _facts(
    run: dict[str, Any], trained: float | None, timing: list[dict[str, Any]], measured: list[dict[str, Any]]
) -> list[tuple[str, str, str]]:
    """(what, figure, small print)."""
    facts: list[tuple[str, str, str]] = []
    if trained is not None:
        target = run.get("images")
        of = f"of {target:,} images" if _finite(target) and trained < target else "images"
        facts.append(("Trained", f"{trained:,}", of))
    seconds = timing[-1].get("seconds") if timing else None
    if _finite(seconds):
        facts.append(("Time", _duration(seconds), _of(run.get("machine"), "processor", "cpu")))
        rate = timing[-1].get("images_per_second")
        rate = rate if _finite(rate) else timing[-1]["images"] / seconds if seconds else 0
        facts.append(("Speed", f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}", "images / s"))
    best = min((m for m in measured if _finite(m.get("frechet"))), key=lambda m: m["frechet"], default=None)
    if best is not None:
        facts.append(("Best Fréchet", _number(best["frechet"]), f"at {_short(best['images'])} images"))
    data = run.get("data")
    if isinstance(data, dict):
        count, classes = data.get("count"), data.get("classes")
        classes = len(classes) if isinstance(classes, list | dict) else classes
        small = [Path(str(data.get("source") or data.get("name") or "")).name]
        small += [f"{classes} classes"] if _finite(classes) and classes else []
        facts.append(("Data", f"{count:,}" if _finite(count) else "", ", ".join(filter(None, small))))
    shape = run.get("shape")
    if isinstance(shape, dict) and _finite(shape.get("height")) and _finite(shape.get("width")):
        colour = {"1": "gray", "3": "colour", "4": "colour with alpha"}.get(str(shape.get("channels")), "")
        facts.append(("Pictures", f"{shape['width']}×{shape['height']}", colour))
    parameters = run.get("parameters")
    if isinstance(parameters, dict) and parameters and all(map(_finite, parameters.values())):
        facts.append(("Parameters", _short(sum(parameters.values())), ", ".join(parameters)))
    return facts


def _of(value: Any, *names: str) -> str:
    return str(next((value[n] for n in names if value.get(n)), "")) if isinstance(value, dict) else ""


def _measures(record: dict[str, Any]) -> list[dict[str, Any]]:
    """One table a measurement of the record."""
    tables = []
    for name, part in measurements(record).items():
        values, intervals, rows = part["values"], part.get("intervals"), []
        for key, (label, meaning) in _EXPLAINED.items():
            if _finite(values.get(key)):
                ends = intervals.get(key) if isinstance(intervals, dict) else None
                interval = ""
                if isinstance(ends, list) and len(ends) == 2 and all(map(_finite, ends)):
                    interval = f"{_number(ends[0])} to {_number(ends[1])}"
                rows.append((label, _number(values[key]), interval, meaning))
        protocol = {k: v for k, v in part.items() if k not in ("values", "intervals", "notes", "judge", "machine")}
        notes = part.get("notes")
        notes = [str(note) for note in notes] if isinstance(notes, list) else []
        tables.append({"name": name, "rows": rows, "notes": notes, "protocol": _flat(protocol)})
    return tables


def _judged(record: dict[str, Any]) -> dict[str, Any] | None:
    if not all(_finite(record.get(k)) for k in ("fake_confident", "real_confident", "ratio")):
        return None
    shares = record.get("class_shares")
    shares = {str(k): v for k, v in shares.items() if _finite(v)} if isinstance(shares, dict) else {}
    if shares and _finite(record.get("unrecognised_share")):
        shares["none"] = record["unrecognised_share"]
    rest = {k: v for k, v in record.items() if k != "class_shares"}
    return {
        **{k: record[k] for k in ("fake_confident", "real_confident", "ratio")},
        "shares": shares,
        "rest": _flat(rest),
    }


def _flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Every number of a tree of dicts and lists, with the path to it."""
    if isinstance(value, dict) and value:
        return [row for k, v in value.items() for row in _flat(v, f"{path}.{k}" if path else str(k))]
    if isinstance(value, list) and any(isinstance(v, dict | list) for v in value):
        return [row for i, v in enumerate(value) for row in _flat(v, f"{path}[{i}]")]
    text = ", ".join(map(str, value)) if isinstance(value, list) else "–" if value is None else str(value)
    return [(path, text)]


def _number(x: float) -> str:
    if x and (abs(x) < 1e-3 or abs(x) >= 1e6):
        return f"{x:.2e}"
    return f"{x:.4g}" if abs(x) < 1000 else f"{x:,.0f}"


def _short(x: float) -> str:
    """12800 -> 12.8k"""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(x) >= size * 0.9995:
            return f"{x / size:.3g}{unit}"
    return f"{x:.3g}"


def _duration(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours:,} h {m:02d} min" if hours else f"{m} min {s:02d} s" if m else f"{s} s"


# ---------------------------------------------------------------- pictures


def _picture(path: Path, largest: int) -> dict[str, Any] | None:
    """A picture to embed, reduced where a side is longer than `largest` pixels."""
    image = _opened(path)
    if image is None:
        return None
    width, height = image.size
    if max(width, height) > largest:
        scale = largest / max(width, height)
        reduced = image.resize((max(round(width * scale), 1), max(round(height * scale), 1)), Image.Resampling.LANCZOS)
        data = provenance.png_bytes(reduced)
    else:
        data = path.read_bytes()  # as it is, with all that it says of itself
    return {"data": "data:image/png;base64," + base64.b64encode(data).decode(), "width": width, "height": height}


# ---------------------------------------------------------------- curves

_TEXT, _RULE = "#010101", "#020202"  # stand-ins for the page's own colours, light or dark
_COLOURS = ("#3b82c4", "#d9722e", "#2f9e6e", "#a05fc0", "#c2a01f", "#c8527f")  # legible on both


def _curves(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A panel a term (`loss`, `gp`), with a line a player (`D/loss`, `G/loss`)."""
    terms: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for line in log:
        for key, value in line.items():
            player, slash, term = key.partition("/")
            if slash and _finite(value) and not term.startswith("sigma"):
                terms.setdefault(term, {}).setdefault(player, []).append((line["images"], value))
    order = sorted(terms, key=lambda term: (term != "loss", -len(terms[term])))
    players = sorted({player for lines in terms.values() for player in lines})
    colours = {player: _COLOURS[i % len(_COLOURS)] for i, player in enumerate(players)}
    panels = [
        {"term": term, "svg": _panel(terms[term], colours), "legend": [(p, colours[p]) for p in terms[term]]}
        for term in order
    ]
    return panels + [_spectrum(player, sigmas["sigma0"]) for player, sigmas in spectra.curves(log).items()]


def _spectrum(player: str, layers: dict[str, Any]) -> dict[str, Any]:
    """The largest singular value of each of a player's normalised layers."""
    figure, axes = _axes()
    spectra.draw(axes, layers)
    axes.set_yscale("log")
    axes.set_xlabel("real images drawn", color=_TEXT, fontsize=8.5)
    ends = [(name, axes.lines[i].get_color()) for i, name in ((0, "first"), (-1, "last layer"))]
    return {"term": f"sigma0 of {player}", "svg": _svg(figure, axes), "legend": [(n, _hex(c)) for n, c in ends]}


def _hex(colour: Any) -> str:
    from matplotlib.colors import to_hex

    return to_hex(colour)


def _panel(lines: dict[str, list[tuple[float, float]]], colours: dict[str, str]) -> Markup:
    figure, axes = _axes()
    shown = []
    for player, points in lines.items():
        x, y = _averaged(np.array(points, dtype=float))
        smooth = _smooth(y)
        if len(y) > 20:
            axes.plot(x, y, color=colours[player], alpha=0.3, linewidth=0.7)
        axes.plot(x, smooth, color=colours[player], linewidth=1.6, marker="o" if len(y) == 1 else None)
        shown += [np.percentile(y, [1, 99]), smooth[len(smooth) // 20 :]]
    # One early spike must not press the rest of the curve flat.
    values = np.concatenate(shown)
    margin = 0.06 * (float(np.ptp(values)) or abs(float(values[0])) or 1.0)
    axes.set_ylim(values.min() - margin, values.max() + margin)
    return _svg(figure, axes)


def _quality(measured: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The Frechet distance over the run, the best point marked."""
    points = [(m["images"], m["frechet"]) for m in measured if _finite(m.get("frechet"))]
    if not points:
        return None
    extractors = {str(m["extractor"]) for m in measured if m.get("extractor")}
    figure, axes = _axes(width=5.0, height=2.1)
    x, y = np.array(points, dtype=float).T
    best = int(y.argmin())
    axes.plot(x, y, color=_COLOURS[0], linewidth=1.6, marker="o", markersize=3)
    axes.plot(x[best], y[best], color=_COLOURS[1], marker="o", markersize=9, fillstyle="none", markeredgewidth=1.6)
    settled = y[len(y) // 4 :] if len(y) >= 8 else y
    top = max(settled.max() * 1.6, y[best] * 2)
    axes.set_ylim(0, min(top, y.max() * 1.08) or 1)
    axes.set_xlim(left=0)
    clipped = int((y > axes.get_ylim()[1]).sum())
    return {
        "svg": _svg(figure, axes),
        "extractor": ", ".join(sorted(extractors)) or "an unnamed extractor",
        "best": _number(y[best]),
        "best_at": f"{int(x[best]):,}",
        "last": _number(y[-1]),
        "clipped": clipped,
        "highest": _number(y.max()),
    }


def _averaged(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, 2] as (x, y), at most POINTS of them, each the mean of its neighbours."""
    parts = np.array_split(points, min(len(points), POINTS))
    means = np.array([part.mean(0) for part in parts])
    return means[:, 0], means[:, 1]


def _smooth(y: np.ndarray) -> np.ndarray:
    """A running mean over about a thirtieth of the curve, narrower at its ends."""
    reach = len(y) // 60
    return np.array([y[max(i - reach, 0) : i + reach + 1].mean() for i in range(len(y))])


def _axes(width: float = 3.1, height: float = 1.95) -> tuple[Any, Any]:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure  # the object alone: no window system, nothing global
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_RULE)
    axes.grid(axis="y", color=_RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_TEXT, labelsize=8.5, length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short(x)))
    axes.set_xlabel("real images drawn", color=_TEXT, fontsize=8.5)
    return figure, axes


def _svg(figure: Any, axes: Any) -> Markup:
    """Inline SVG whose text and rules take the page's colours."""
    import matplotlib

    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "ganvas", "axes.formatter.use_mathtext": False}
    ):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_TEXT, "currentColor").replace(_RULE, "var(--rule)")
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1; font-family: inherit", text)
    text = re.sub(
        r'<svg ([^>]*?)width="[^"]*pt"', r"<svg \1", re.sub(r'height="[\d.]+pt" ', "", text, count=1), count=1
    )
    return Markup(re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL))
