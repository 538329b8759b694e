"""Commands that train."""

from __future__ import annotations

import shlex
import sys
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from ganvas.apps.cli.common import (
    BATCH,
    SEEDS,
    Compile,
    Device,
    Json,
    Precision,
    RunFolder,
    Set,
    _done,
    _print_json,
    _print_table,
    _say,
    _size,
    app,
)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Methods and recipes: paper, task, the data each needs.

    Example: `ganvas list`
    """
    from ganvas.claims.runner import rows

    found = rows()
    if as_json:
        _print_json(found)
        return
    methods = groupby(found, lambda row: (row["paper"], row["data"]))
    _print_table(
        ["recipes", "data", "paper"],
        [["\n".join(row["recipe"] for row in group), data, paper] for (paper, data), group in methods],
    )


@app.command()
def train(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A method or recipe; see `ganvas list`.")],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="letters, digits, a folder, zip, npz or idx, or a set's name.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The run's folder: new.")],
    size: Annotated[str | None, typer.Option(help="Pixels: 64, or HEIGHTxWIDTH.")] = None,
    batch: Annotated[int | None, typer.Option(max=BATCH, help="Images per draw, all processes together.")] = None,
    images: Annotated[int | None, typer.Option(help="Stop after so many real images drawn.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=SEEDS, help="Every random number follows from it.")] = None,
    device: Device = None,
    precision: Precision = None,
    compile: Compile = None,
    augment: Annotated[
        str | None, typer.Option(help="For small data sets: ada, or some of color,translation,cutout; none.")
    ] = None,
    set: Set = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's files too.")] = False,
) -> None:
    """Train METHOD on DATA. Ctrl-C saves and stops; `ganvas resume` goes on exactly.

    Example: `ganvas train dcgan photos/ --out runs/p --size 64 --images 200000`
    """
    from ganvas.training import trainer

    model = trainer.train(
        method,
        data,
        out=out,
        size=_size(size),
        batch=batch,
        images=images,
        seed=seed,
        device=device,
        precision=precision,
        compile=compile,
        augment=augment,
        set=set or (),
        tensorboard=tensorboard,
        command=shlex.join(["ganvas", *sys.argv[1:]]),
    )
    _done(out, model)


@app.command()
def resume(
    run: RunFolder,
    images: Annotated[int | None, typer.Option(help="Go on to so many images in all.")] = None,
    device: Device = None,
    set: Set = None,
    data: Annotated[str | None, typer.Option(help="Where its data lie now, if they were moved.")] = None,
) -> None:
    """Continue a run exactly where its last checkpoint left it.

    Example: `ganvas resume runs/p --images 400000`
    """
    from ganvas.training import trainer

    _done(run, trainer.resume(run, images=images, device=device, set=set or (), data=data))


@app.command()
def bench(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A method or recipe; see `ganvas list`.")],
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="As for train (default: random images).")] = None,
    size: Annotated[str | None, typer.Option(help="Pixels: 64, or HEIGHTxWIDTH.")] = None,
    batch: Annotated[int | None, typer.Option(max=BATCH, help="Images per draw.")] = None,
    device: Device = None,
    precision: Precision = None,
    compile: Compile = None,
    steps: Annotated[int, typer.Option(min=1, help="How many steps are timed.")] = 10,
    set: Set = None,
    as_json: Json = False,
) -> None:
    """How fast METHOD trains here: seconds a step, memory, share of the machine's rate.

    Example: `ganvas bench dcgan --size 64 --batch 64 --precision bf16`
    """
    from ganvas.training import benchmark

    found = benchmark.bench(
        method,
        data,
        size=_size(size),
        batch=batch,
        device=device,
        precision=precision,
        compile=compile,
        steps=steps,
        set=set or (),
    )
    _print_json(found) if as_json else _say(*benchmark.lines(found))
