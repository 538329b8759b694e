"""Play: samples of a model, and what to do with one of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr
import torch
from torch import Tensor

from ganvas.apps.studio import concepts, parts
from ganvas.apps.studio.parts import ONE, polite
from ganvas.apps.studio.view import View
from ganvas.core import Styled, Truncates
from ganvas.core.errors import UserError
from ganvas.engine.run_dir import read_local
from ganvas.evaluation.nearest_page import nearest_page
from ganvas.inference import explore
from ganvas.inference.latent.directions import Directions
from ganvas.inference.library import Entry, open_model
from ganvas.inference.model import Model
from ganvas.media import grid

SHEET = 512  # pixels of a sheet's side, about
FILM = 1 << 18  # pixels of all frames together, about
SLIDERS = 6
REACH = 3.0  # of a slider, in spreads of the model's own latents
ALL = "all, in turn"
EMPTY = (
    '<div class="empty"><h2>No model to play with yet</h2><p>Train one in a few minutes: '
    "<code>make demo</code>, or <code>ganvas train dcgan_letters letters --out runs/letters</code>"
    ". Then load this page again, or start the studio with the folder that holds it: "
    "<code>ganvas studio runs</code>.</p></div>"
)
KINDS = [("principal components of w", "components"), ("closed-form factorization", "factors")]


def tab(page: gr.Blocks, find: Callable[[], list[Entry]]) -> None:
    """Lay out the tab of a page. find: lists the models of the moment."""
    view = gr.State(View(Path()))
    empty = gr.HTML(EMPTY, visible=False)
    with gr.Row(visible=False) as body:
        with gr.Column(scale=3, min_width=320):
            with gr.Row():
                path = gr.Dropdown([], label="Model", min_width=240, scale=3)
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=110, scale=1)
                fresh = gr.Button("New images", variant="primary", min_width=130, scale=1)
            with gr.Row(visible=False) as options:
                label = gr.Dropdown([ALL], value=ALL, label="Class", visible=False, min_width=200)
                truncation = gr.Slider(
                    0.05,
                    1,
                    value=1,
                    step=0.05,
                    label="Truncation",
                    info="Lower: better quality, less variety.",
                    visible=False,
                    min_width=240,
                )
            images = gr.HTML(js_on_load=parts.asset("choose.js"), elem_id="images")
        with gr.Column(scale=2, min_width=320):
            chosen = gr.HTML(elem_id="chosen")
            with gr.Tabs():
                with gr.Tab("Directions"):
                    sliders, kind = _directions()
                with gr.Tab("Concepts"):
                    painting = concepts.part(view)
                with gr.Tab("Path"):
                    between = gr.HTML(elem_id="path")
                with gr.Tab("Styles", visible=False) as styles:
                    mixed = gr.HTML(elem_id="mixed")
                with gr.Tab("Walk"):
                    gr.HTML(parts.note("A walk through the first six images of this seed."))
                    go = gr.Button("Walk", size="sm")
                    walk = gr.HTML(elem_id="walk")
                with gr.Tab("Nearest"):
                    data = gr.Textbox(
                        label="Real images to compare with",
                        info="Folder, zip or name of a data set. Large ones take minutes once.",
                    )
                    closest = gr.Button("Find the nearest real images", size="sm")
                    near = gr.HTML(elem_id="nearest")

    chain: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", **ONE}
    latest: dict[str, Any] = {**chain, "trigger_mode": "always_last"}
    asked = [view, seed, label, truncation]
    moved = [view, kind, *sliders]

    def follow(event: Any) -> None:
        """After an image was chosen: show it, its concepts, path and styles."""
        event = event.then(_chosen, [view], [chosen, *sliders], **chain)
        event = event.then(concepts.shown, [view], list(painting), **chain)
        event.then(_path, [view], [between], **chain).then(_mixed, [view], [mixed], **chain)

    def listed() -> list[Any]:
        return parts.listed([entry for entry in find() if entry.generates])

    @polite
    def opened(path: str | None) -> tuple[Any, ...]:
        return _model(parts.model_path(find(), path))

    fitted = [view, options, label, truncation, kind, styles, data, walk, near]
    page.load(listed, None, [empty, body, path], **chain)
    fit = path.change(opened, [path], fitted, **chain)  # not without a model
    follow(fit.success(_sheet, asked, [view, images], **chain))
    follow(fresh.click(_next_sheet, asked, [seed, view, images], **latest))
    follow(
        gr.on(
            [seed.input, label.input, truncation.change],
            _sheet,
            asked,
            [view, images],
            **latest,
        )
    )
    follow(images.click(_choose, [view], [view], **latest))
    for slider in sliders:
        slider.change(_moved, moved, [chosen], **latest)
    kind.input(_moved, moved, [chosen], **latest)
    busy: dict[str, Any] = {"api_visibility": "private", "show_progress": "full", **ONE}
    go.click(_walk, [view], [walk], **busy)
    closest.click(_nearest, [view, data], [near], **busy)


def _directions() -> tuple[list[gr.Slider], gr.Dropdown]:
    kind = gr.Dropdown(KINDS, value="factors", label="Found without labels, by")
    sliders = []
    for i in range(0, SLIDERS, 2):
        with gr.Row():
            sliders += [
                gr.Slider(
                    -REACH,
                    REACH,
                    value=0,
                    step=0.1,
                    label=f"Direction {k}",
                    min_width=150,
                    buttons=[],
                )
                for k in (i + 1, i + 2)
            ]
    reset = gr.Button("All to zero", size="sm")
    reset.click(
        lambda: [0.0] * SLIDERS, None, sliders, show_progress="hidden", api_visibility="private"
    )
    return sliders, kind


def _model(path: Path) -> tuple[Any, ...]:
    """Fit the controls to a model."""
    model = open_model(path)
    names = list(model.classes)
    styled = isinstance(model.method, Styled)
    truncates = isinstance(model.method, Truncates)
    return (
        View(path),
        gr.update(visible=bool(names) or truncates),
        gr.update(choices=[ALL, *names], value=ALL, visible=bool(names)),
        gr.update(value=1, visible=truncates),
        gr.update(
            choices=KINDS if styled else KINDS[1:], value="components" if styled else "factors"
        ),
        gr.update(visible=styled),
        _training_data(model, path),
        "",
        "",
    )


def _training_data(model: Model, path: Path) -> str:
    """Where the training data lie, if the run knows."""
    try:
        paths = read_local(path).paths.values() if path.is_dir() else ()
    except UserError:
        paths = ()
    source = (model.runtime.description.get("data") or {}).get("source")
    return next(iter(paths), str(source or ""))


@polite
def _sheet(
    view: View, seed: float | None, label: str | None, truncation: float | None
) -> tuple[View, str]:
    """Samples of a seed."""
    model, started = view.model(), time.perf_counter()
    count, columns = _layout(model)
    truncates = isinstance(model.method, Truncates) and truncation is not None and truncation < 1
    view = replace(
        view,
        seed=int(seed or 0),
        label=None if label in (None, ALL) else label,
        truncation=truncation if truncates else None,
        count=count,
    )
    labels = None if view.label is None else [model.class_number(view.label)] * count
    made = model.sample(
        count, seed=view.seed, labels=labels, truncation=view.truncation, output="torch"
    )
    seconds = time.perf_counter() - started
    title = f"{count} images of seed {view.seed} in {seconds:.2f} s. Choose one to work with it"
    html = parts.sheet(
        parts.data_uri(grid.grid(made, columns, pad=0), view.facts()),
        [view.caption(i) for i in range(count)],
        columns,
        title=title,
        current=min(view.current, count - 1),
        name=f"seed-{view.seed}.png",
    )
    return view, html


def _next_sheet(
    view: View, seed: float | None, label: str | None, truncation: float | None
) -> tuple[int, View, str]:
    """Samples of the next seed, in one answer with its number."""
    following = int(seed or 0) + 1
    return (following, *_sheet(view, following, label, truncation))


def _layout(model: Model) -> tuple[int, int]:
    """(images, columns) of a sheet."""
    height, width = model.training_size
    across = max(2, min(8, SHEET // max(height, width)))
    columns = model.columns(across**2) or across
    if columns > 13:  # of 26 classes, say: two rows a latent
        columns = next(c for c in range(13, 0, -1) if columns % c == 0)
    return columns * max(1, across**2 // columns), columns


@polite
def _choose(view: View, event: gr.EventData) -> View:
    """An image was clicked."""
    index = int(event._data["index"])
    if not 0 <= index < view.count:
        return view
    return replace(view, previous=view.current, current=index)


@polite
def _chosen(view: View) -> list[Any]:
    """The chosen image, and the sliders at zero."""
    return [_figure(view, view.image()), *[0.0] * SLIDERS]


def _figure(view: View, image: Tensor, **facts: object) -> str:
    title = view.caption(view.current)
    source = view.source(image, **facts)
    return parts.picture(source, title[0].upper() + title[1:], name="image.png", small=True)


# By model, not by path: a training that goes on replaces the file.
_found: WeakKeyDictionary[Model, dict[Any, Directions]] = WeakKeyDictionary()


@polite
def _moved(view: View, kind: Any, *amounts: float) -> str:
    """The chosen image, moved along directions."""
    (name, label), model = view.chosen(view.current), view.model()
    if not any(amounts):
        return _figure(view, view.image())
    of_model = _found.setdefault(model, {})
    if (kind, label) not in of_model:
        of_model[kind, label] = explore.find_directions(model, kind, count=SLIDERS, label=label)
    found = of_model[kind, label]
    image = explore.moved(
        model, [name], found, amounts[: len(found)], label=label, truncation=view.truncation
    )
    return _figure(view, image, directions=kind, amounts=list(amounts))


def _frames(model: Model, images: int) -> int:
    """The frames from each of `images` images to the next that are quickly made."""
    height, width = model.training_size
    return max(4, min(24, FILM // (height * width * images)))


def _film(view: View, frames: Tensor, title: str, name: str) -> str:
    row = parts.data_uri(grid.grid(frames, len(frames), pad=0), view.facts(frames=len(frames)))
    ratio = frames.shape[-1] / frames.shape[-2]
    return parts.film(row, len(frames), ratio, title=title, name=name)


@polite
def _path(view: View) -> str:
    """The path from the image chosen before to the present one."""
    if view.previous >= view.count or view.previous == view.current:
        return parts.note("Choose another image: the path leads from this one to it.")
    (start, _), (end, label) = view.chosen(view.previous), view.chosen(view.current)
    model = view.model()
    frames = model.walk(
        [start, end],
        frames=_frames(model, 1),
        loop=False,
        label=label,
        truncation=view.truncation,
        output="torch",
    )
    title = f"From image {view.previous} to image {view.current} of the sheet"
    return _film(view, frames, title, "path.png")


@polite
def _mixed(view: View) -> str:
    """The chosen image with some styles of the one chosen before."""
    model = view.model()
    if not isinstance(model.method, Styled):
        return parts.note("This model has no styles. StyleGAN, StyleGAN2 and StyleGAN3 have.")
    if view.previous >= view.count or view.previous == view.current:
        return parts.note("Choose another image: styles of this one go into it.")
    (other, _), (name, label) = view.chosen(view.previous), view.chosen(view.current)
    figures = []
    for third, what in enumerate(("first (coarse)", "middle", "last (fine)")):
        layers = explore.third_of_styles(model, third)
        options: Any = {"label": label, "truncation": view.truncation, "output": "torch"}
        mixed = model.mix([name], [other], layers, **options)
        source = parts.data_uri(grid.to_pil(mixed[3]), view.facts(layers=layers))
        title = f"The {what} styles, layers {layers}, from image {view.previous} of the sheet"
        figures.append(parts.picture(source, title, name="mixed.png", small=True))
    return f'<div class="three">{"".join(figures)}</div>'


@polite
def _walk(view: View) -> str:
    """A walk through the first images of a seed."""
    model = view.model()
    label = view.chosen(view.current)[1]
    frames = model.walk(
        6,
        seed=view.seed,
        frames=_frames(model, 6),
        label=label,
        truncation=view.truncation,
        output="torch",
    )
    return _film(view, frames, f"A walk through six images of seed {view.seed}", "walk.png")


@polite
def _nearest(view: View, data: str) -> str:
    """The chosen image beside its nearest real images."""
    if not data.strip():
        raise UserError("name the real images: a folder, a zip or the name of a data set")
    with torch.no_grad():
        page = nearest_page(view.model(), view.path, data.strip(), view.image())
    facts = view.facts(kind="nearest real images", number=view.current, composite=True)
    source = parts.data_uri(page, facts)
    title = "Left: the generated image. Then the real images nearest to it"
    return parts.picture(source, title, name="nearest.png")
