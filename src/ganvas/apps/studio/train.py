"""Train: start, watch, stop and continue trainings; two runs side by side."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ganvas.apps.studio import parts
from ganvas.apps.studio.chart import chart
from ganvas.apps.studio.parts import polite
from ganvas.core.errors import UserError
from ganvas.engine.run_dir import number
from ganvas.media import encode
from ganvas.recipes import all_recipes
from ganvas.training import auto
from ganvas.training.jobs import Jobs, Progress, progress, runs_in

SECONDS = 2.0  # between two looks at the runs
POINTS = 200  # of a curve on the page
NONE = "none"
WATCH = {"concurrency_limit": 2, "concurrency_id": "watch", "api_visibility": "private"}


def tab(page: gr.Blocks, place: gr.Tab, jobs: Jobs) -> gr.Dropdown:
    """Lay out the tab in its `place` on the page. Returns the field with the recipe."""
    with gr.Accordion("A new run", open=True):
        with gr.Row():
            data = gr.Textbox(label="Data", placeholder="photos/, letters, digits", min_width=200)
            recipe = gr.Dropdown(
                [(f"{auto.NAME} (by the data and the minutes)", auto.NAME), *all_recipes()],
                value=auto.NAME,
                label="Recipe",
                min_width=200,
            )
            size = gr.Number(0, label="Size (0: default)", precision=0, minimum=0, min_width=130)
            minutes = gr.Number(5, label="Minutes", minimum=0.05, min_width=100)
            name = gr.Textbox("first", label="Name of the run", max_length=64, min_width=140)
        start = gr.Button("Start", variant="primary")
    with gr.Row():
        run = gr.Dropdown([], label="Run", min_width=200)
        other = gr.Dropdown([NONE], value=NONE, label="Beside it", min_width=200)
        stop = gr.Button("Stop and save", min_width=130)
        resume = gr.Button("Continue", min_width=110)
    state = gr.HTML(elem_id="state")
    curves = gr.HTML(elem_id="curves")
    when = gr.Slider(
        0, 1, value=1, step=0.01, label="Sample grid: 0 the first, 1 the latest", visible=False
    )
    grids = gr.HTML(elem_id="grids")
    timer = gr.Timer(SECONDS)

    shown = [state, curves, when, grids, stop, resume, timer]
    look = partial(_look, jobs)

    def listed(current: str | None, beside: str | None, when: float) -> list[Any]:
        names = runs_in(jobs.folder)
        current = current if current in names else next(iter(names), None)
        beside = beside if beside in names else NONE
        return [
            gr.update(choices=names, value=current),
            gr.update(choices=[NONE, *names], value=beside),
            *look(current, beside, when),
        ]

    @polite
    def started(
        data: str, recipe: str, size: float | None, minutes: float | None, name: str
    ) -> list[Any]:
        if not data.strip():
            raise UserError("name the data first: a folder, `letters`, `digits`, …")
        jobs.start(
            name.strip(),
            recipe,
            data.strip(),
            size=int(size) if size else None,
            minutes=float(minutes) if minutes else None,
        )
        names = [name.strip(), *(n for n in runs_in(jobs.folder) if n != name.strip())]
        return [gr.update(choices=names, value=name.strip()), gr.update(active=True)]

    @polite
    def stopped(run: str | None) -> None:
        jobs.stop(str(run))

    @polite
    def resumed(run: str | None, minutes: float | None) -> Any:
        jobs.resume(str(run), minutes=float(minutes) if minutes else None)
        return gr.update(active=True)

    quiet: dict[str, Any] = {**WATCH, "show_progress": "hidden"}
    # Opening the tab lists the runs again, whatever became of the page's first request.
    gr.on([page.load, place.select], listed, [run, other, when], [run, other, *shown], **quiet)
    start.click(started, [data, recipe, size, minutes, name], [run, timer], **quiet)
    stop.click(stopped, [run], None, **quiet)
    resume.click(resumed, [run, minutes], [timer], **quiet)
    gr.on(
        [run.change, other.change, when.input, timer.tick],
        look,
        [run, other, when],
        shown,
        trigger_mode="always_last",
        **quiet,
    )
    return recipe


@polite
def _look(jobs: Jobs, run: str | None, other: str | None, when: float) -> list[Any]:
    """Everything that the page shows of a run, and of another beside it."""
    names = [n for n in (run, other if other != run else None) if n not in (None, NONE)]
    found = {n: p for n in names if (p := _progress(jobs.place(str(n)))) is not None}
    states = "".join(_state(jobs, str(n), found.get(n)) for n in names)
    nothing = parts.note("No run yet: name the data above and press Start.")
    alike = len({tuple(p.comparable.items()) for p in found.values()}) < 2
    quality = found if alike else dict(list(found.items())[:1])
    curves = chart(_losses(found), "Losses", "images")
    curves += chart(_quality(quality), "Fréchet distance, lower is better", "images")
    if not alike:
        only = f"Only the distances of {names[0]}: the other run has other data or another size."
        curves += parts.note(only)
    first = next(iter(found.values()), None)
    running = bool(names) and jobs.is_running(str(names[0]))
    grids = "".join(_grid(str(n), p, when) for n, p in found.items())
    return [
        f'<div class="two">{states}</div>' if names else nothing,
        f'<div class="two">{curves}</div>',
        gr.update(visible=any(len(p.samples) > 1 for p in found.values())),
        f'<div class="two">{grids}</div>',
        gr.update(interactive=running),
        gr.update(interactive=first is not None and not first.running and not running),
        gr.update(active=running or any(p.running for p in found.values())),
    ]


def _progress(out: Path) -> Progress | None:
    try:
        return progress(out)
    except UserError:  # a training that has not written its description yet
        return None


def _state(jobs: Jobs, name: str, found: Progress | None) -> str:
    failed = jobs.failure(name)
    if failed:
        return f"<div>{parts.note(f'{name}: {failed}', 'bad')}</div>"
    if found is None:
        return f"<div>{parts.note(f'{name}: reading the data …')}</div>"
    left = found.total - found.images
    text = f"{name} ({found.recipe}): {found.images:,} of {found.total:,} images"
    if not found.running:
        text += ", complete" if left <= 0 else ", stopped; it can be continued"
    elif found.rate:
        minutes = left / found.rate / 60
        text += f", {found.rate:.0f} images/s, {minutes:.0f} minutes to the recipe's end"
    return (
        f"<div>{parts.progress(found.images, found.total, f'Progress of {name}')}"
        f"{parts.note(text)}</div>"
    )


def _losses(found: dict[Any, Progress]) -> dict[str, list[tuple[float, float]]]:
    """The losses of all players, thinned out."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for name, run in found.items():
        step = max(1, len(run.losses) // POINTS)
        for line in run.losses[::step]:
            for key, value in line.items():
                if key.endswith("/loss"):
                    curve = key.removesuffix("/loss")
                    curve = f"{name}: {curve}" if len(found) > 1 else curve
                    point = (number(line, "images"), float(value))
                    curves.setdefault(curve, []).append(point)
    return curves


def _quality(found: dict[Any, Progress]) -> dict[str, list[tuple[float, float]]]:
    return {
        str(name): [
            (number(line, "images"), number(line, "frechet"))
            for line in run.quality
            if "frechet" in line
        ]
        for name, run in found.items()
    }


def _grid(name: str, found: Progress, when: float) -> str:
    """One of a run's sample grids: the file as it is, with its mark.

    when: 0: the first; 1: the latest
    """
    if not found.samples:
        return ""
    images, path = list(found.samples.items())[round(when * (len(found.samples) - 1))]
    source = encode.data_uri(path.read_bytes())
    caption = f"{name} after {images:,} images"
    return f'<div class="wide">{parts.picture(source, caption, name=path.name, small=True)}</div>'
