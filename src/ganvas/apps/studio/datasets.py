"""Data: what a data set holds, and what it can be used for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import gradio as gr
import numpy as np
from PIL import Image

from ganvas.apps.studio import parts
from ganvas.apps.studio.parts import polite
from ganvas.core.errors import UserError
from ganvas.core.guards import plural
from ganvas.data.check import NAMED, Report, check
from ganvas.data.layouts import find_images, find_sides
from ganvas.media.grid import contact_sheet
from ganvas.media.samples import Broken

SHEET, TILE = 48, 96  # images of a sheet, and pixels of a side


def tab() -> None:
    """Lay out the tab."""
    with gr.Row():
        source = gr.Textbox(
            label="Data",
            info="Folder, zip, npz or idx file, `letters`, `digits`, or two folders with a comma.",
            placeholder="photos/",
            scale=4,
        )
        go = gr.Button("Check", variant="primary", min_width=120, scale=1)
    result = gr.HTML(elem_id="report")
    gr.on([go.click, source.submit], _shown, [source], [result], api_visibility="private")


@polite
def _shown(source: str) -> str:
    """Check a data set and describe it."""
    source = (source or "").strip()
    if not source:
        raise UserError("name the data: a folder, a zip, or the name of a data set")
    report = check(source)
    problem = parts.note(report.problem, "bad") if report.problem else ""
    return f"{problem}{_facts(report)}{_sheet(source, report)}{_classes(report)}{_next(report)}"


def _facts(report: Report) -> str:
    rows: list[tuple[object, object]] = [("layout", report.layout or "none found")]
    rows.append(("images", f"{report.count:,}"))
    if len(report.parts) > 1:
        rows.append(("parts", _counts(report.parts)))
    if report.sides:
        rows.append(("domains", _counts(report.sides)))
    if report.pairs:
        rows.append(("pairs", f"{report.pairs:,}"))
    for name, span in (("width", report.width), ("height", report.height)):
        if span:
            low, middle, high = span
            text = f"{low} to {high} pixels, median {middle:g}" if low < high else f"{low} pixels"
            rows.append((name, text))
    if report.modes:
        rows.append(("modes", _counts(report.modes)))
        rows.append(("trained as", plural(report.channels, "channel")))
    if report.brightest is not None:
        rows.append(("largest value", f"{report.brightest:,}"))
    groups = [", ".join(names[:5]) for names in report.duplicates]
    for name, found in (
        ("cannot be read", report.broken),
        ("without a partner", report.unmatched),
        ("with the same pixels", groups),
    ):
        if found:
            more = f"\nand {len(found) - NAMED} more" if len(found) > NAMED else ""
            rows.append((name, f"{len(found)}: " + "\n".join(found[:NAMED]) + more))
    rows += [("note", note) for note in report.notes]
    return parts.table(rows)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {n:,}" for name, n in counts.items())


def _classes(report: Report) -> str:
    """Bars of the classes' sizes."""
    if not report.classes:
        return ""
    most = max(report.classes.values()) or 1
    bars = "".join(
        f'<tr><th scope="row">{parts.escape(name)}</th><td><div class="bar" '
        f'style="width:{100 * n / most:.1f}%"></div></td><td>{n:,}</td></tr>'
        for name, n in islice(report.classes.items(), 100)
    )
    title = f"{len(report.classes)} classes"
    return f'<h3>{title}</h3><table class="facts bars"><tbody>{bars}</tbody></table>'


def _next(report: Report) -> str:
    items = "".join(f"<li><code>{parts.escape(command)}</code></li>" for command in report.fits)
    return f'<div class="paper"><h3>What it can be used for</h3><ul>{items}</ul></div>' * bool(
        items
    )


def _sheet(source: str, report: Report) -> str:
    """Some of the images, from the first to the last."""
    if report.problem:
        return ""
    tiles = list(_tiles(source))
    sheet = parts.data_uri(contact_sheet(tiles, min(len(tiles), 12)), None)
    title = f"{len(tiles)} of {report.count:,} images"
    return f'<div class="wide">{parts.picture(sheet, title)}</div>'


def _tiles(source: str) -> Iterator[Image.Image]:
    found = find_sides(source, "train", alone=True) or find_images(source, "train")
    each = max(1, SHEET // len(found.sets))
    for images in found.sets.values():
        for i in np.linspace(0, len(images) - 1, min(each, len(images))).round().astype(int):
            try:
                image = images.load(int(i)).convert("RGBA")
            except Broken:
                continue
            image.thumbnail((TILE, TILE))
            tile = Image.new("RGBA", (TILE, TILE), (0, 0, 0, 0))
            tile.paste(image, ((TILE - image.width) // 2, (TILE - image.height) // 2))
            yield tile
