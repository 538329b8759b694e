"""The page's own HTML: sheets, films, comparisons, tables. All text is escaped."""

from __future__ import annotations

import base64
import html
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from importlib import resources
from pathlib import Path
from typing import ParamSpec, TypeVar

import gradio as gr
from PIL import Image

from ganvas.core.errors import DataError, UserError
from ganvas.inference.library import Entry
from ganvas.media import encode, video
from ganvas.media.provenance import Label

P = ParamSpec("P")
R = TypeVar("R")
LARGEST = 1 << 24  # characters of a painted image
FAST = {"compress_level": 1}  # of images that a page shows
ONE = {"concurrency_limit": 1, "concurrency_id": "model"}  # torch's random state is global


def asset(name: str) -> str:
    """The text of a file in `assets`."""
    return (
        resources.files("ganvas.apps.studio").joinpath("assets", name).read_text(encoding="utf-8")
    )


def new_folder() -> Path:
    """A new folder for a file to save; the server removes it at its end."""
    return Path(tempfile.mkdtemp(dir=os.environ.get("GRADIO_TEMP_DIR")))


def escape(text: object) -> str:
    """Text from outside, for HTML and its attributes."""
    return html.escape(str(text))


def listed(found: Sequence[Entry]) -> list[object]:
    """Updates for a tab: its text without models, its body, its list of models."""
    choices = [(entry.title, str(entry.path)) for entry in found]
    shown = gr.update(choices=choices, value=choices[0][1] if choices else None)
    return [gr.update(visible=not found), gr.update(visible=bool(found)), shown]


def model_path(found: Sequence[Entry], path: str | None) -> Path:
    """The path of a model that a visitor chose. Raises `UserError` if it is gone.

    A page may send any path: only those of the list are opened.
    """
    entry = next((entry for entry in found if str(entry.path) == path), None)
    if entry is None:
        raise UserError("this model is not there any more: load the page again")
    return entry.path


def polite(function: Callable[P, R]) -> Callable[P, R]:
    """Show a `UserError` of an event as a message on the page."""

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except UserError as e:
            raise gr.Error(escape(e), print_exception=False, title="Not possible") from None

    return called


def data_uri(image: Image.Image, generated: Mapping[str, object] | None) -> str:
    """An image as an address in the page.

    generated: facts for the mark of a generated image; None: the image is real
    """
    if generated is None:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", **FAST)
        data = buffer.getvalue()
    else:
        data = encode.encode(image, ".png", settings=FAST, **generated)  # type: ignore[arg-type]
    return encode.data_uri(data)


def loop_uri(
    frames: Sequence[Image.Image], fps: float, generated: Mapping[str, object] | None
) -> str:
    """A clip as the address of a looping GIF in the page.

    generated: as of `data_uri`
    """
    label = None if generated is None else Label(generated, composite=True)
    data = base64.b64encode(video.gif(frames, fps, label)).decode()
    return f"data:image/gif;base64,{data}"


def picture(source: str, caption: str, *, name: str = "", small: bool = False) -> str:
    """A figure with its caption, and a button that saves the image.

    source: of `data_uri`
    name: of the file to save; without one there is no button
    small: whether the image is to be enlarged by repeating pixels
    """
    return (
        f'<figure class="picture"><img src="{source}" alt="{escape(caption)}"'
        f' class="{"pixels" if small else ""}">'
        f"<figcaption>{escape(caption)}{_save(name) if name else ''}</figcaption></figure>"
    )


def _save(name: str, text: str = "Save") -> str:
    """A button that saves the image of its figure. name: of the file."""
    return f'<button type="button" class="save" data-save="{escape(name)}">{text}</button>'


def sheet(
    source: str,
    labels: Sequence[str],
    columns: int,
    *,
    title: str,
    current: int = 0,
    name: str = "grid.png",
) -> str:
    """A sheet of images in one, each with a button over it.

    source: of `data_uri`
    labels: of the images, for screen readers
    title: of the sheet
    current: the image that is marked
    """
    rows = -(-len(labels) // columns)
    buttons = "".join(
        f'<button type="button" data-index="{i}" aria-label="{escape(label)}" '
        f'aria-pressed="{"true" if i == current else "false"}" '
        f'tabindex="{0 if i == current else -1}" title="{escape(label)}"></button>'
        for i, label in enumerate(labels)
    )
    return (
        f'<figure class="sheet" style="--columns:{columns};--rows:{rows}">'
        f'<div class="under"><img src="{source}" alt="" class="pixels">'
        f'<div class="cells" role="group" data-columns="{columns}" aria-label="{escape(title)}">'
        f"{buttons}</div></div>"
        f"<figcaption>{escape(title)}{_save(name)}</figcaption></figure>"
    )


def film(source: str, frames: int, ratio: float, *, title: str, name: str = "frames.png") -> str:
    """Frames with a slider and a button that plays them.

    source: of `data_uri`: the frames in one row
    ratio: width / height of a frame
    """
    return (
        f'<figure class="film" data-frames="{frames}" style="--frames:{frames};--ratio:{ratio:g}">'
        f'<div class="window"><img src="{source}" alt="{escape(title)}" class="pixels"></div>'
        '<div class="row"><button type="button" class="play" aria-label="Play" '
        f'aria-pressed="false">▶</button><input type="range" min="0" max="{frames - 1}" '
        f'value="0" aria-label="Position: {escape(title)}"></div>'
        f"<figcaption>{escape(title)}{_save(name, 'Save frames')}</figcaption></figure>"
    )


def comparison(before: str, after: str, width: int, *, title: str) -> str:
    """Two images of one shape, one over the other, and a slider between them.

    before, after: of `data_uri`
    width: of the images in pixels; small ones are enlarged
    """
    shown = f"max({width}px, min({width * 8}px, 24rem))"
    pixels = "pixels" if width < 160 else ""
    return (
        f'<figure class="comparison" style="width:{shown}"><div class="both">'
        f'<img src="{before}" alt="before" class="{pixels}">'
        f'<img src="{after}" alt="after" class="after {pixels}"></div>'
        '<div class="ends"><span>before</span>'
        '<input type="range" min="0" max="100" value="50" aria-label="Before and after">'
        "<span>after</span></div>"
        f'<figcaption role="status">{escape(title)}</figcaption></figure>'
    )


def painter(palette: Sequence[int], width: int, height: int) -> str:
    """A canvas to paint a label map on, for `paint.js`.

    palette: 0xRRGGBB of each label
    """
    colors = "".join(
        f'<label><input type="radio" name="label" value="#{color:06x}"'
        f'{" checked" if i == 0 else ""}><i style="background:#{color:06x}"></i>'
        f"label {i} (#{color:06x})</label>"
        for i, color in enumerate(palette)
    )
    return (
        f'<div class="painter"><canvas width="{width}" height="{height}" tabindex="0" '
        'role="img" aria-label="Label map. Arrow keys move the brush, space paints"></canvas>'
        '<p class="note" data-where role="status">Paint with the pointer, or with arrow keys '
        "and space.</p>"
        f'<fieldset><legend>Label</legend><div class="labels">{colors}</div></fieldset>'
        f'<label>Brush <input type="range" name="radius" min="1" max="{max(2, width // 8)}" '
        f'value="{max(1, width // 24)}"></label>'
        '<button type="button" class="save" data-fill>Fill all with this label</button></div>'
    )


def brush(
    source: str,
    size: tuple[int, int],
    concepts: Sequence[tuple[str, str | None, str]],
    *,
    title: str,
) -> str:
    """An image with a canvas over it to paint concepts on, for `paint.js`.

    source: of `data_uri`
    size: (width, height) of the image
    concepts: name, color of the brush that adds it (None: it cannot be added), and of
        the one that removes it; each #rrggbb
    title: of the image
    """
    width, height = size

    def cell(action: str, color: str | None, name: str) -> str:
        if color is None:
            return "<td></td>"
        first = " checked" if (action, name) == ("remove", concepts[0][0]) else ""
        return (
            f'<td><label><input type="radio" name="concept" value="{color}"{first} aria-label="'
            f'{action} {escape(name)}"><i style="background:{color}"></i></label></td>'
        )

    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{cell("add", adds, name)}'
        f"{cell('remove', removes, name)}</tr>"
        for name, adds, removes in concepts
    )
    return (
        f'<div class="painter brush"><div class="over" style="--ratio:{width / height:g}">'
        f'<img src="{source}" alt="" class="pixels"><canvas width="{width}" height="{height}" '
        f'data-ready="true" tabindex="0" role="img" aria-label="{escape(title)}. Arrow keys move '
        'the brush, space paints"></canvas><i class="cursor" hidden></i></div>'
        '<p class="note" data-where role="status">Paint with the pointer, or with arrow keys '
        "and space.</p><fieldset><legend>Brush</legend>"
        '<table><thead><tr><th scope="col">concept</th><th scope="col">add</th><th scope="col">'
        f"remove</th></tr></thead><tbody>{rows}</tbody></table>"
        '<label><input type="radio" name="concept" value="">erase what is painted</label>'
        '</fieldset><label>Size <input type="range" name="radius" min="0" '
        f'max="{max(2, width // 6)}" value="{max(1, width // 12)}"></label><div class="row">'
        '<button type="button" class="save" data-fill>Everywhere</button>'
        '<button type="button" class="save" data-clear>Clear</button></div></div>'
    )


def painted_png(address: str) -> bytes:
    """The PNG of a canvas. Raises `DataError` for anything else."""
    start = "data:image/png;base64,"
    try:
        if not address.startswith(start) or len(address) > LARGEST:
            raise ValueError
        return base64.b64decode(address.removeprefix(start), validate=True)
    except ValueError:
        raise DataError("what was painted did not arrive: paint once more") from None


def progress(done: int, total: int, title: str) -> str:
    """A bar of what is done."""
    share = 100 * min(1.0, done / max(total, 1))
    return (
        f'<div class="track" role="progressbar" aria-label="{escape(title)}" aria-valuemin="0" '
        f'aria-valuemax="{total}" aria-valuenow="{done}">'
        f'<div class="bar" style="width:{share:.1f}%"></div></div>'
    )


def table(rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> str:
    """A table; the first column has the names of the rows."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f'<div class="scroll"><table class="facts">{head}<tbody>{body}</tbody></table></div>'


def note(text: str, kind: str = "") -> str:
    """A line of text that screen readers announce. kind: "", "good", "bad"."""
    return f'<p class="note {kind}" role="status">{escape(text)}</p>'
