"""Translate: an image or a clip before and after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ganvas.apps.studio import parts
from ganvas.apps.studio.parts import ONE, polite
from ganvas.core import Translates
from ganvas.core.errors import DataError, UserError
from ganvas.inference import explore
from ganvas.inference.library import Entry, open_model
from ganvas.inference.masks import Masks
from ganvas.inference.model import Model
from ganvas.inference.translate_animation import translate_animation
from ganvas.inference.translate_files import translate_file
from ganvas.media import animation, decode, video
from ganvas.media.samples import Broken

SHOWN = 1024  # pixels of the longer side on the page; the file has them all
DOMAINS = {"b": "to the second domain (b)", "a": "to the first domain (a)"}
NONE, GIVEN, FOUND = "the whole image", "the white part of a mask", "the blocks of a mosaic"
EMPTY = (
    '<div class="empty"><h2>No model that translates yet</h2><p>Train one: '
    "<code>ganvas train colour photos/ --size 128 --out runs/colour</code> for pairs that ganvas "
    "makes itself, or <code>ganvas train cyclegan one/,other/ --out runs/cyclegan</code> for two "
    "folders without pairs. Or import one: <code>ganvas import RealESRGAN_x4plus.pth --out "
    "runs/x4</code>.</p></div>"
)


def tab(page: gr.Blocks, find: Callable[[], list[Entry]]) -> None:
    """Lay out the tab of a page. find: lists the models of the moment."""
    empty = gr.HTML(EMPTY, visible=False)
    with gr.Row(visible=False) as body:
        with gr.Column(scale=1, min_width=300):
            path = gr.Dropdown([], label="Model")
            to = gr.Radio([], label="Direction", visible=False)
            size = gr.Checkbox(
                label="At the training size",
                info="Scale the image to the size that the model knows, and the result back.",
            )
            paint = gr.HTML(visible=False, js_on_load=parts.asset("paint.js"), elem_id="paint")
            file = gr.File(
                label="Image or clip", file_types=[*decode.EXTENSIONS, *video.VIDEOS], height=140
            )
            with gr.Accordion("Change only a part", open=False):
                part = gr.Radio([NONE, GIVEN, FOUND], value=NONE, label="Change")
                mask = gr.File(
                    label="Mask of the image's size", file_types=[*decode.EXTENSIONS], height=110
                )
            go = gr.Button("Translate", variant="primary")
        with gr.Column(scale=2, min_width=320):
            result = gr.HTML(
                parts.note("Drop an image or a clip, or choose one, and press Translate."),
                elem_id="result",
            )
            download = gr.DownloadButton("Save the result", visible=False, size="sm")

    chain: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", **ONE}

    def listed() -> list[Any]:
        return parts.listed([entry for entry in find() if entry.translates])

    def model_of(path: str | None) -> Model:
        return open_model(parts.model_path(find(), path))

    @polite
    def opened(path: str | None) -> list[Any]:
        model = model_of(path)
        assert isinstance(model.method, Translates)
        ways = [(DOMAINS.get(way, way), way) for way in model.method.directions]
        return [
            gr.update(choices=ways, value=ways[0][1], visible=len(ways) > 1),
            gr.update(value=False, visible=model.method.upscale == 1),
            _painter(model),
        ]

    @polite
    def translated(
        path: str | None,
        to: str | None,
        size: bool,
        file: str | None,
        part: str,
        mask: str | None,
    ) -> list[Any]:
        if file is None:
            raise UserError(
                "there is no image yet: drop one on the field Image or clip, or choose one"
            )
        if part == GIVEN and mask is None:
            raise UserError("there is no mask yet: give an image of the same size, white where to")
        if animation.is_animation(Path(file)):
            if part != NONE:
                raise UserError("a mask is for one image: choose the whole image for a clip")
            return _translated_animation(model_of(path), Path(file), to, size)
        masks = None if part == NONE else Masks(Path(mask) if part == GIVEN and mask else None)
        return _translated(model_of(path), Path(file), to, size, masks)

    page.load(listed, None, [empty, body, path], **chain)
    path.change(opened, [path], [to, size, paint], **chain)

    @polite
    def painted(path: str | None, event: gr.EventData) -> list[Any]:
        file = parts.new_folder() / "painted.png"
        file.write_bytes(parts.painted_png(str(event._data["image"])))
        return _translated(model_of(path), file, None, False, None)

    paint.input(painted, [path], [result, download], **{**chain, "trigger_mode": "always_last"})
    go.click(
        translated,
        [path, to, size, file, part, mask],
        [result, download],
        api_visibility="private",
        **ONE,
    )


def _painter(model: Model) -> Any:
    """A canvas for models of label maps."""
    palette = model.runtime.description["shape"].get("palette", ())
    if not palette:
        return gr.update(visible=False)
    height, width = model.training_size
    return gr.update(value=parts.painter(palette, width, height), visible=True)


def _translated(
    model: Model, file: Path, to: str | None, at_training_size: bool, masks: Masks | None
) -> list[Any]:
    """The result as a comparison, and the file to save."""
    target = parts.new_folder() / f"{file.stem}.png"
    rows = translate_file(
        model,
        file,
        Path(file.name),
        target,
        {"to": to, "at_training_size": at_training_size},
        masks,
    )
    before, after = _read(file), _read(target)
    facts = [f"{before.width}x{before.height} pixels"]
    if after.size != before.size:
        facts.append(f"enlarged to {after.width}x{after.height}")
    error = explore.cycle_error(model, str(file), to) if masks is None else None
    if error is not None:
        facts.append(f"there and back at the training size: {error:.1f} of 255 gray levels off")
    facts += [f"without {lost}" for lost in rows.lost]
    shown = [_shown(image, after.size) for image in (before, after)]
    html = parts.comparison(
        parts.data_uri(shown[0], None),
        parts.data_uri(shown[1], {**model.facts, "source": file.name, "composite": True}),
        shown[1].width,
        title="; ".join(facts),
    )
    return [html, gr.update(value=str(target), visible=True)]


def _translated_animation(
    model: Model, file: Path, to: str | None, at_training_size: bool
) -> list[Any]:
    """The result as a comparison of two loops, and the clip to save."""
    target = parts.new_folder() / f"{file.stem}{video.suffix()}"
    made = translate_animation(model, file, target, to=to, at_training_size=at_training_size)
    facts = {**model.facts, "source": file.name}
    size = made.after.frames[0].size
    before, after = (
        parts.loop_uri([_shown(frame, size) for frame in one.frames], one.fps, given)
        for one, given in ((made.before, None), (made.after, facts))
    )
    title = f"{len(made.after.frames)} frames of {size[0]}x{size[1]} pixels"
    html = parts.comparison(before, after, min(size[0], SHOWN), title=title)
    return [html, gr.update(value=str(target), visible=True)]


def _read(file: Path) -> Image.Image:
    try:
        return decode.read(str(file), decode.max_pixels())
    except Broken as e:
        raise DataError(f"{file.name} cannot be read: {e}") from None


def _shown(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """An image scaled to `size`, or smaller, for the page."""
    ratio = min(1.0, SHOWN / max(size))
    fitted = (max(round(size[0] * ratio), 1), max(round(size[1] * ratio), 1))
    return image if image.size == fitted else image.resize(fitted, Image.Resampling.LANCZOS)
