"""Concepts: paint into the chosen image what its units add or remove there."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from typing import NamedTuple

import gradio as gr
import numpy as np
import torch
from PIL import Image

from ganvas.apps.studio import parts
from ganvas.apps.studio.parts import ONE, polite
from ganvas.apps.studio.view import View
from ganvas.core.errors import DataError, UserError
from ganvas.inference import editing
from ganvas.inference.editing import ConceptUnits, Stroke

PAINT = "Paint on the image: the edited one appears here."
LIGHT, DARK = 0.6, 0.3  # lightness of the colors that add and that remove


class Part(NamedTuple):
    """The components that `shown` fills, in its order."""

    missing: gr.HTML
    body: gr.Row
    brush: gr.HTML
    result: gr.HTML


def part(view: gr.State) -> Part:
    """Lay out a brush and its result."""
    missing = gr.HTML(elem_id="units")
    with gr.Row(visible=False) as body:
        with gr.Column(min_width=150):
            brush = gr.HTML(js_on_load=parts.asset("paint.js"), elem_id="brush")
        with gr.Column(min_width=150):
            result = gr.HTML(elem_id="edited")
    brush.input(
        _painted,
        [view],
        [result],
        show_progress="hidden",
        api_visibility="private",
        trigger_mode="always_last",
        **ONE,
    )
    return Part(missing, body, brush, result)


@polite
def shown(view: View) -> list[object]:
    """The chosen image with a brush, or how to find its units; no result yet."""
    try:
        edits = editing.units_of(view.model(), view.path).edits
    except UserError as e:
        text = str(e)
        return [parts.note(text[0].upper() + text[1:]), gr.update(visible=False), "", ""]
    image = view.image()
    brush = parts.brush(
        view.source(image),
        (image.shape[3], image.shape[2]),
        [(edit.concept, *_colors(edits, i)) for i, edit in enumerate(edits)],
        title=view.caption(view.current),
    )
    return ["", gr.update(visible=True), brush, parts.note(PAINT)]


def _colors(edits: Sequence[ConceptUnits], i: int) -> tuple[str | None, str]:
    """Colors of the brushes that add concept i, if it can be added, and remove it."""
    light, dark = (
        "#" + bytes(round(255 * c) for c in colorsys.hls_to_rgb(i / len(edits), v, 0.85)).hex()
        for v in (LIGHT, DARK)
    )
    return light if edits[i].values else None, dark


@polite
def _painted(view: View, event: gr.EventData) -> str:
    """The image after all strokes."""
    model = view.model()
    units = editing.units_of(model, view.path)
    strokes = _strokes(units.edits, str(event._data["image"]), model.training_size)
    if not strokes:
        return parts.note(PAINT)
    name, label = view.chosen(view.current)
    with torch.no_grad():
        image = editing.painted(
            model, units, name, strokes, label=label, truncation=view.truncation
        )
    words = [f"{'added' if s.adds else 'removed'} {s.concept}" for s in strokes]
    source = view.source(image, kind="edited by units", edits=words)
    return parts.picture(source, f"Edited: {', '.join(words)}", name="edited.png", small=True)


def _strokes(edits: Sequence[ConceptUnits], address: str, size: tuple[int, int]) -> list[Stroke]:
    """The strokes of a painted canvas of a size (height, width), by their colors."""
    with Image.open(io.BytesIO(parts.painted_png(address)), formats=["PNG"]) as image:
        if image.size != size[::-1]:
            raise DataError("the painted places are of another image: paint once more")
        pixels = np.asarray(image.convert("RGBA"))
    found = []
    for i, edit in enumerate(edits):
        for adds, color in zip((True, False), _colors(edits, i), strict=True):
            rgba = (*bytes.fromhex(color[1:]), 255) if color else None
            mask = torch.from_numpy((pixels == rgba).all(-1)) if rgba else None
            if mask is not None and mask.any():
                found.append(Stroke(edit.concept, adds, mask))
    return found
