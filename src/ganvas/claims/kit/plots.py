"""Stock plots of claims: each returns the function that draws a record's seeds.

They draw from the record alone, on a matplotlib Figure of 10 by 4 inches. A plot of
images belongs to a claim's first seed, one of figures to all seeds.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ganvas.claims.claim import Seeds, Series
from ganvas.media.encode import data_uri

Plot = Callable[[Figure, Seeds], None]


def bars(*groups: Mapping[str, str], labels: Sequence[str], log: bool = False) -> Plot:
    """A panel of bars for each group: {figure: name of its bar}.

    A bar is the mean over the seeds, a dot a seed; a cross is the untrained twin.
    labels: of the panels' vertical axes
    log: logarithmic axes
    """

    def draw(figure: Figure, seeds: Seeds) -> None:
        panels = np.atleast_1d(figure.subplots(1, len(groups)))
        for axes, group, label in zip(panels, groups, labels, strict=True):
            for i, name in enumerate(group):
                values = [s["figures"][name] for s in seeds if s["figures"][name] is not None]
                if values:
                    axes.bar(i, fmean(values), color=f"C{i}", alpha=0.6)
                axes.plot([i] * len(values), values, "k.", markersize=4)
                twins = [s["nulls"].get("untrained", {}).get(name) for s in seeds]
                axes.plot([i] * len(twins), [np.nan if t is None else t for t in twins], "rx")
            axes.set_xticks(range(len(group)), list(group.values()), fontsize="small")
            axes.set_ylabel(label)
            if log:
                axes.set_yscale("log")
            else:
                axes.margins(y=0.1)

    return draw


def curves(
    *panels: Mapping[tuple[str, str], str],
    labels: Sequence[str],
    x: str = "images",
    log: bool = False,
) -> Plot:
    """Panels of curves over the run: {(arm, reading): name of the curve}.

    Series of the record: {arm: {reading: list}}, each arm with the reading `x`. A thin
    line is a seed; all seeds of a curve have its color.
    """

    def draw(figure: Figure, seeds: Seeds) -> None:
        for axes, panel, label in zip(
            np.atleast_1d(figure.subplots(1, len(panels))), panels, labels, strict=True
        ):
            for i, ((arm, reading), name) in enumerate(panel.items()):
                for s in seeds:
                    found = s["series"][arm]
                    said = name if s is seeds[0] else None
                    axes.plot(found[x], found[reading], color=f"C{i}", linewidth=1, label=said)
            axes.set(xlabel=x, ylabel=label, yscale="log" if log else "linear")
            axes.legend(fontsize="small")

    return draw


def scatter(arms: Mapping[str, str], x: str, y: str, labels: tuple[str, str]) -> Plot:
    """One reading against another, a color for each arm. Series as of `curves`."""

    def draw(figure: Figure, seeds: Seeds) -> None:
        axes = figure.subplots()
        for i, (arm, name) in enumerate(arms.items()):
            for s in seeds:
                found = s["series"][arm]
                said = name if s is seeds[0] else None
                axes.plot(found[x], found[y], ".", color=f"C{i}", label=said)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.legend(fontsize="small")

    return draw


def pictures(
    rows: Mapping[str, Callable[[Series], str]],
    figures: Mapping[str, str] | None = None,
) -> Plot:
    """Rows of small images, for the first seed: {name: the row of the series}.

    A row is what `pixels` returns.
    figures: of a row, the name of a figure that stands behind its name
    """

    def draw(figure: Figure, seeds: Seeds) -> None:
        for axes, (name, row) in zip(
            np.atleast_1d(figure.subplots(len(rows), 1)), rows.items(), strict=True
        ):
            axes.imshow(_strip(row(seeds[0]["series"])), cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            said = ""
            if figures and name in figures:
                values = [s["figures"][figures[name]] for s in seeds]
                said = ": " + ", ".join(f"{v:.3g}" for v in values)
            axes.set_title(name + said, loc="left", fontsize="small")

    return draw


def matrix(series: str, labels: tuple[str, str], names: Sequence[str] = ()) -> Plot:
    """Counts [rows, columns], summed over the seeds. `series`: "arm.name" or "name"."""

    def draw(figure: Figure, seeds: Seeds) -> None:
        axes = figure.subplots()
        total = np.sum([_inside(s["series"], series) for s in seeds], axis=0)
        axes.imshow(total, cmap="Blues", aspect="auto")
        half = total.max() / 2
        for (row, column), count in np.ndenumerate(total):
            if count:
                color = "white" if count > half else "black"
                axes.text(
                    column, row, f"{count:g}", ha="center", va="center", fontsize=8, color=color
                )
        axes.set(ylabel=labels[0], xlabel=labels[1])
        if names:
            axes.set_xticks(range(total.shape[1]), list(names)[: total.shape[1]])
            axes.set_yticks(range(total.shape[0]), list(names)[: total.shape[0]])

    return draw


def _inside(series: Mapping[str, Any], path: str) -> Any:
    for key in path.split("."):
        series = series[key]
    return series


def pixels(x: Tensor, count: int = 12, side: int | None = None) -> str:
    """The first images of [N, C, H, W] in [-1, 1] side by side, for `pictures`.

    A PNG as the address of a page, since numbers in JSON take ten times the space.
    side: their size in the record; None: as they are
    """
    x = x[:count].float().clamp(-1, 1)
    if side is not None and side < x.shape[-1]:
        x = adaptive_avg_pool2d(x, side)
    levels = torch.cat(list(((x + 1) * 127.5).round().byte().cpu()), 2)  # [C, H, N W]
    strip = levels[0] if len(levels) == 1 else levels.movedim(0, -1)
    buffer = io.BytesIO()  # without a mark: rows of real images are among them
    Image.fromarray(strip.numpy()).save(buffer, "PNG")
    return data_uri(buffer.getvalue())


def _strip(row: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(row.partition(",")[2]))) as image:
        return np.asarray(image)
