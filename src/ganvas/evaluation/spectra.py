"""Plots of a run's singular values, as in figure 3 of arXiv:1809.11096.

The largest ones of each normalized layer over training, which show a collapse in
advance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganvas.core.errors import UserError
from ganvas.core.files import write
from ganvas.engine.run_dir import Line, number, read_lines, read_record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[list[float], list[float]]


def curves(log: Sequence[Line]) -> dict[str, dict[str, dict[str, Curve]]]:
    """Curves: player -> `sigma0`, `sigma1`, ... -> layer -> (images, values).

    Layers are in the network's order.
    """
    found: dict[str, dict[str, dict[str, Curve]]] = {}
    for line in log:
        for key in line:
            if m := re.fullmatch(r"([^/]+)/(sigma\d+)/(.+)", key):
                images, values = (
                    found.setdefault(m[1], {}).setdefault(m[2], {}).setdefault(m[3], ([], []))
                )
                images.append(number(line, "images"))
                values.append(number(line, key))
    return found


def plot(run: str | Path, out: str | Path) -> Path:
    """Plot each player's singular values.

    Left: the largest singular value of every layer. Right: the largest over the second
    largest, which rises if one direction dominates.

    Raises `UserError` if the run logged none.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    record = read_record(Path(run))
    players = curves(read_lines(Path(run) / "log.jsonl"))
    if not players:
        raise UserError(
            f"{run} logged no singular values: methods with spectral normalization do (sngan, "
            "sagan, biggan), every "
            "sigma_every steps"
        )
    figure = Figure(figsize=(12, 4.2 * len(players)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(players), 2, squeeze=False)
    for (left, right), (player, sigmas) in zip(axes, players.items(), strict=True):
        draw(left, sigmas["sigma0"])
        second = sigmas.get("sigma1", {})
        draw(
            right,
            {
                k: (x, _ratio(y, second[k][1]))
                for k, (x, y) in sigmas["sigma0"].items()
                if k in second
            },
        )
        left.set(title=f"{player}: largest singular value of each layer", yscale="log")
        right.set(title=f"{player}: largest over second largest", yscale="log")
        names = list(sigmas["sigma0"])
        few = names if len(names) <= 12 else [*names[:6], *names[-6:]]
        handles = dict(zip(names, left.lines, strict=True))
        left.legend([handles[n] for n in few], few, fontsize=6, ncols=2)
    figure.suptitle(f"{record.get('recipe', '')}: singular values before normalization")
    import io

    buffer = io.BytesIO()
    suffix = Path(out).suffix.lstrip(".") or "png"
    try:
        figure.savefig(buffer, format=suffix, dpi=110)
    except ValueError as e:
        raise UserError(f"{out}: plots are written as png, svg or pdf ({e})") from None
    return write(Path(out), buffer.getvalue())


def draw(axes: Axes, layers: dict[str, Curve]) -> None:
    """One line per layer, from dark (first) to light (last)."""
    from matplotlib import colormaps

    for i, (x, y) in enumerate(layers.values()):
        axes.plot(x, y, color=colormaps["viridis"](i / max(len(layers) - 1, 1)), linewidth=1.1)
    axes.set_xlabel("real images drawn")


def _ratio(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [x / max(y, 1e-12) for x, y in zip(a, b, strict=True)]
