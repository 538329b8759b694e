"""Images and SVG plots of the report."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, TypeGuard

import numpy as np
from markupsafe import Markup
from PIL import Image

from ganvas.core.guards import open_regular
from ganvas.evaluation import spectra
from ganvas.media import encode

Line: TypeAlias = dict[str, Any]  # of a .jsonl file, or what a template draws
POINTS = 400  # per curve; longer curves are averaged


def finite(value: object) -> TypeGuard[int | float]:
    """Whether a value of a file is a number that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def opened(path: Path) -> Image.Image | None:
    """An image file; None if it cannot be read."""
    try:
        with open_regular(path) as file, Image.open(file) as image:  # a pipe would wait
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def number(x: float) -> str:
    """A number with about three digits."""
    if x and (abs(x) < 1e-3 or abs(x) >= 1e6):
        return f"{x:.2e}"
    return f"{x:.4g}" if abs(x) < 1000 else f"{x:,.0f}"


def short(x: float) -> str:
    """Shorten a number: 12800 -> 12.8k."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(x) >= size * 0.9995:
            return f"{x / size:.3g}{unit}"
    return f"{x:.3g}"


def embedded(path: Path, largest: int) -> Line | None:
    """An image to embed, reduced if a side is longer than `largest` pixels."""
    image = opened(path)
    if image is None:
        return None
    width, height = image.size
    if max(width, height) > largest:
        scale = largest / max(width, height)
        reduced = image.resize(
            (max(round(width * scale), 1), max(round(height * scale), 1)), Image.Resampling.LANCZOS
        )
        data = encode.png_bytes(reduced)
    else:
        data = path.read_bytes()  # unchanged, with its metadata
    return {
        "data": encode.data_uri(data),
        "width": width,
        "height": height,
    }


_TEXT, _RULE = "#010101", "#020202"  # placeholders for the page's colors, light or dark
_COLORS = ("#3b82c4", "#d9722e", "#2f9e6e", "#a05fc0", "#c2a01f", "#c8527f")  # legible on both


def curves(log: list[Line], measured: list[Line]) -> list[Line]:
    """One panel per term (`loss`, `gp`), one line per player (`D/loss`, `G/loss`).

    measured: of measures.jsonl: what the log has is drawn of held-out images, too
    """
    terms: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for line in log:
        for key, value in line.items():
            player, slash, term = key.partition("/")
            if slash and finite(value) and not term.startswith("sigma"):
                terms.setdefault(term, {}).setdefault(player, []).append((line["images"], value))
    for line in measured:
        for key, value in line.items():
            player, _, term = key.removesuffix("_heldout").partition("/")
            if key.endswith("_heldout") and player in terms.get(term, {}) and finite(value):
                lines = terms[term].setdefault(f"{player}, held-out images", [])
                lines.append((line["images"], value))
    order = sorted(terms, key=lambda term: (term != "loss", -len(terms[term])))
    players = sorted({player for lines in terms.values() for player in lines})
    colors = {player: _COLORS[i % len(_COLORS)] for i, player in enumerate(players)}
    panels = [
        {
            "term": term,
            "svg": _panel(terms[term], colors),
            "legend": [(p, colors[p]) for p in terms[term]],
        }
        for term in order
    ]
    return panels + [
        _spectrum(player, sigmas["sigma0"]) for player, sigmas in spectra.curves(log).items()
    ]


def _spectrum(player: str, layers: Line) -> Line:
    """The largest singular value of each normalized layer of a player."""
    figure, axes = _axes()
    spectra.draw(axes, layers)
    axes.set_yscale("log")
    axes.set_xlabel("real images drawn", color=_TEXT, fontsize=8.5)
    ends = [(name, axes.lines[i].get_color()) for i, name in ((0, "first"), (-1, "last layer"))]
    return {
        "term": f"sigma0 of {player}",
        "svg": _svg(figure, axes),
        "legend": [(n, _hex(c)) for n, c in ends],
    }


def _hex(color: Any) -> str:
    from matplotlib.colors import to_hex

    return to_hex(color)


def _panel(lines: dict[str, list[tuple[float, float]]], colors: dict[str, str]) -> Markup:
    figure, axes = _axes()
    shown = []
    for player, points in lines.items():
        x, y = _averaged(np.array(points, dtype=float))
        smooth = _smooth(y)
        if len(y) > 20:
            axes.plot(x, y, color=colors[player], alpha=0.3, linewidth=0.7)
        axes.plot(
            x, smooth, color=colors[player], linewidth=1.6, marker="o" if len(y) == 1 else None
        )
        shown += [np.percentile(y, [1, 99]), smooth[len(smooth) // 20 :]]
    # One early spike must not press the rest of the curve flat.
    values = np.concatenate(shown)
    margin = 0.06 * (float(np.ptp(values)) or abs(float(values[0])) or 1.0)
    axes.set_ylim(values.min() - margin, values.max() + margin)
    return _svg(figure, axes)


def evidence(lines: list[Line], name: str, marks: Sequence[float]) -> Markup | None:
    """A value over the run, with vertical lines; None without values."""
    points = [(line["images"], line[name]) for line in lines if finite(line.get(name))]
    if not points:
        return None
    figure, axes = _axes(width=5.0, height=1.9)
    x, y = _averaged(np.array(points, dtype=float))
    axes.plot(x, y, color=_COLORS[0], linewidth=1.6, marker="o", markersize=3)
    if y.min() > 0 and y.max() > 100 * y.min():
        axes.set_yscale("log")
    for mark in marks:
        axes.axvline(mark, color=_COLORS[1], linewidth=1.0, linestyle="--")
    return _svg(figure, axes)


def quality(measured: list[Line]) -> Line | None:
    """The Fréchet distance over the run; the best point is circled."""
    points = [(m["images"], m["frechet"]) for m in measured if finite(m.get("frechet"))]
    if not points:
        return None
    extractors = {str(m["extractor"]) for m in measured if m.get("extractor")}
    figure, axes = _axes(width=5.0, height=2.1)
    x, y = np.array(points, dtype=float).T
    best = int(y.argmin())
    axes.plot(x, y, color=_COLORS[0], linewidth=1.6, marker="o", markersize=3)
    axes.plot(
        x[best],
        y[best],
        color=_COLORS[1],
        marker="o",
        markersize=9,
        fillstyle="none",
        markeredgewidth=1.6,
    )
    settled = y[len(y) // 4 :] if len(y) >= 8 else y
    top = max(settled.max() * 1.6, y[best] * 2)
    axes.set_ylim(0, min(top, y.max() * 1.08) or 1)
    axes.set_xlim(left=0)
    clipped = int((y > axes.get_ylim()[1]).sum())
    return {
        "svg": _svg(figure, axes),
        "extractor": ", ".join(sorted(extractors)) or "an unnamed extractor",
        "best": number(y[best]),
        "best_at": f"{int(x[best]):,}",
        "last": number(y[-1]),
        "clipped": clipped,
        "highest": number(y.max()),
    }


HELD_OUT = {
    "psnr": ("PSNR, dB", "higher is better", max),
    "ssim": ("SSIM", "higher is better", max),
    "lpips": ("LPIPS", "lower is better", min),
}


def held_out(record: object, best: str, measured: list[Line]) -> Line | None:
    """A panel for each measure of held-out pairs, with its best and last value.

    record: `engine.records.HeldOutRecord`
    best: the measure by which the best checkpoint is kept
    """
    panels = []
    for name, (title, meaning, choose) in HELD_OUT.items():
        points = [(m["images"], m[name]) for m in measured if finite(m.get(name))]
        if points:
            images, value = choose(points, key=lambda point: point[1])
            figure, axes = _axes()
            axes.plot(
                *zip(*points, strict=True),
                color=_COLORS[0],
                linewidth=1.6,
                marker="o",
                markersize=3,
            )
            axes.set_xlim(left=0)
            panels.append(
                {
                    "term": title,
                    "meaning": meaning,
                    "svg": _svg(figure, axes),
                    "best": f"{value:.4g}",
                    "best_at": short(images),
                    "last": f"{points[-1][1]:.4g}",
                }
            )
    if not panels:
        return None
    record = record if isinstance(record, dict) else {}
    names = ("source", "part", "pairs", "protocol", "lpips")
    return {
        "panels": panels,
        "best": HELD_OUT[best][0].partition(",")[0] if best in HELD_OUT else "Fréchet distance",
        **{name: str(record.get(name) or "") for name in names},
    }


class Panel(TypedDict):
    """A plot. legend: (name, color) of its curves."""

    svg: Markup
    legend: list[tuple[str, str]]


def removal_curve(counts: Sequence[int], own: Sequence[float], random: Sequence[float]) -> Panel:
    """The share of pixels with a concept against the number of removed units.

    own, random: shares after its own units, and as many random ones, were removed
    """
    figure, axes = _axes()
    legend = [("its units", _COLORS[0]), ("random units", _COLORS[1])]
    for values, (_, color) in zip((own, random), legend, strict=True):
        axes.plot(counts, values, color=color, linewidth=1.6, marker="o", markersize=3)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("units removed", color=_TEXT, fontsize=8.5)
    return {"svg": _svg(figure, axes), "legend": legend}


def _averaged(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce points [n, 2] to at most POINTS means of neighbors: (x, y)."""
    parts = np.array_split(points, min(len(points), POINTS))
    means = np.array([part.mean(0) for part in parts])
    return means[:, 0], means[:, 1]


def _smooth(y: np.ndarray) -> np.ndarray:
    """A running mean over about 1/30 of the curve, narrower at its ends."""
    reach = len(y) // 60
    return np.array([y[max(i - reach, 0) : i + reach + 1].mean() for i in range(len(y))])


def _axes(width: float = 3.1, height: float = 1.95) -> tuple[Any, Any]:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure  # without pyplot: nothing global
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
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
    axes.set_xlabel("real images drawn", color=_TEXT, fontsize=8.5)
    return figure, axes


def _svg(figure: Any, axes: Any) -> Markup:
    """Inline SVG in the page's own colors."""
    import matplotlib

    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "ganvas", "axes.formatter.use_mathtext": False}
    ):
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_TEXT, "currentColor").replace(_RULE, "var(--rule)")
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1; font-family: inherit", text)
    text = re.sub(
        r'<svg ([^>]*?)width="[^"]*pt"',
        r"<svg \1",
        re.sub(r'height="[\d.]+pt" ', "", text, count=1),
        count=1,
    )
    return Markup(re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL))
