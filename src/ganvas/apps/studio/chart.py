"""Line charts as SVG, in the colors of the page.

Gradio's own plots keep the set of curves of their first value; here it changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from ganvas.apps.studio.parts import escape

WIDTH, HEIGHT = 560, 240  # of the drawing; it is scaled to its place
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 8, 24
Curve = Sequence[tuple[float, float]]


def chart(curves: Mapping[str, Curve], title: str, across: str) -> str:
    """Curves over one axis, with a legend. All values are finite.

    across: the quantity on the horizontal axis
    """
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return ""
    x = _Axis([p[0] for p in points], LEFT, WIDTH - RIGHT, 5)
    y = _Axis([p[1] for p in points], HEIGHT - BOTTOM, TOP, 4)
    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(v):.1f}" y2="{y.at(v):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y.at(v) + 4:.1f}" text-anchor="end">{v:g}</text>'
        for v in y.ticks
    )
    grid += "".join(
        f'<text x="{x.at(v):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{v:,.0f}</text>'
        for v in x.ticks[:-1]
    )
    lines = "".join(
        f'<polyline class="curve-{i % 4}" points="{_path(curve, x, y)}"/>'
        for i, curve in enumerate(curves.values())
    )
    legend = "".join(
        f'<li class="curve-{i % 4}">{escape(name)}: {curve[-1][1]:.3g}</li>'
        for i, (name, curve) in enumerate(curves.items())
        if curve
    )
    said = f"{title}, by {across}; the list below has the latest values"
    return (
        f'<figure class="chart"><h3>{escape(title)}</h3>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(said)}">'
        f"{grid}{lines}</svg><ul>{legend}<li>by {escape(across)}</li></ul></figure>"
    )


class _Axis:
    """Values on a line of the drawing, with round ticks."""

    def __init__(self, values: Sequence[float], start: float, stop: float, ticks: int) -> None:
        low, high = min(values), max(values)
        if low == high:
            low, high = low - 0.5, high + 0.5
        found = MaxNLocator(ticks).tick_values(low, high)
        self.low, self.high = float(found[0]), float(found[-1])
        self.ticks = [float(v) for v in np.round(found, 12)]
        self.start, self.stop = start, stop

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)


def _path(curve: Curve, x: _Axis, y: _Axis) -> str:
    return " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in curve)
