"""Commands for training: list, train, resume, status, bench."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from ganvas.apps.cli.common import (
    BATCH,
    SEEDS,
    TRAIN,
    Compile,
    Json,
    Precision,
    RunFolder,
    Set,
    TrainDevice,
    app,
    print_json,
    print_table,
    report_done,
    say,
)
from ganvas.apps.cli.provenance import signs
from ganvas.core.sizes import parse_size

Keep = Annotated[
    str | None,
    typer.Option(
        metavar="NEWEST,every=IMAGES,size=BYTES",
        help="Checkpoints that stay beside the best, e.g. 3,every=50000,size=20GB (default: 2).",
    ),
]


@app.command("list", rich_help_panel=TRAIN)
def list_(as_json: Json = False) -> None:
    """List methods and recipes by task, with the paper and the data of each.

    Example: `ganvas list`
    """
    from ganvas.recipes.catalog import rows

    found = rows()
    if as_json:
        print_json(found)
        return
    for task in dict.fromkeys(row["task"] for row in found):
        of_task = [row for row in found if row["task"] == task]
        methods = groupby(of_task, lambda row: (row["paper"], row["data"]))
        print_table(
            ["recipes", "data", "paper"],
            [["\n".join(row["recipe"] for row in g), data, paper] for (paper, data), g in methods],
            title=task,
        )


@app.command(rich_help_panel=TRAIN)
@signs
def train(
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD",
            help="Method or recipe, see `ganvas list`; or auto: one that suits DATA and --minutes.",
        ),
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Folder, zip, npz, idx or parquet file, shards, letters, digits, or the name of a "
            "data set.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="New run folder (required to train).")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Image size in pixels: 64, or HEIGHTxWIDTH.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(max=BATCH, help="Images per batch, over all processes.")
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            help="Length of the training in real images; the recipe's stages and schedules "
            "follow it."
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Length of the training in minutes, about.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=SEEDS, help="Random seed of the run.")
    ] = None,
    device: TrainDevice = None,
    precision: Precision = None,
    compile: Compile = None,
    augment: Annotated[
        str | None,
        typer.Option(
            help="Augmentation for small data sets: ada, some of color,translation,cutout, or none."
        ),
    ] = None,
    from_: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="[NETWORK=]PATH[#PART]",
            help="Start from the weights of a run, a model, or another project's file (or one "
            "part of it).",
        ),
    ] = None,
    from_discriminator: Annotated[
        str | None, typer.Option(metavar="PATH", help="The same, for the discriminator alone.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Take the weights that fit, and list the others.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A setting that the file of --from does not show.",
        ),
    ] = None,
    freeze: Annotated[
        str | None,
        typer.Option(help="Layers that stay as they are: G:mapping, or D:3 for the first three."),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Images to measure and not to train on; of pairs PSNR, SSIM and LPIPS "
            "(default: DATA's test part).",
        ),
    ] = None,
    best: Annotated[
        str | None,
        typer.Option(help="Measure that chooses the best checkpoint: frechet, psnr, ssim, lpips."),
    ] = None,
    set: Set = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML file of settings; other options take precedence."),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config",
            help="Print all settings, as --set names them, as TOML for --config, and exit.",
        ),
    ] = False,
    on_collapse: Annotated[
        str,
        typer.Option(
            metavar="warn|stop|rewind",
            help="If the monitor sees a fault: warn, stop, or go back and change a setting.",
        ),
    ] = "warn",
    early_stopping: Annotated[
        str | None,
        typer.Option(
            metavar="MEASURE[:N]",
            help="End after N snapshots (5) without a new best, e.g. frechet:8 or psnr.",
        ),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="TRACKER", help="Also log to tensorboard, wandb, trackio or mlflow (extras)."
        ),
    ] = None,
    keep: Keep = None,
    resume: Annotated[
        str,
        typer.Option(
            metavar="never|auto",
            help="auto: start a run, or continue the one in --out; for launchers.",
        ),
    ] = "never",
) -> None:
    """Train METHOD on DATA. Ctrl-C saves and stops; `ganvas resume` continues exactly.

    Example: `ganvas train dcgan photos/ --out runs/p --size 64 --images 200000`
    """
    from ganvas.inference.importers.options import parse
    from ganvas.training import start, trainer

    settings: dict[str, Any] = {
        "size": parse_size(size),
        "batch": batch,
        "images": images,
        "seed": seed,
        "device": device,
        "precision": precision,
        "compile": compile,
        "augment": augment,
        "freeze": freeze,
        "test": test,
        "best": best,
        "set": set or (),
        "config": config,
    }
    if print_config:
        typer.echo(start.config_text(method, data, **settings), nl=False)
        return
    if out is None:
        raise typer.BadParameter("training needs a new run folder", param_hint="'--out'")
    model = trainer.train(
        method,
        data,
        out=out,
        minutes=minutes,
        start_from=from_ or (),
        discriminator_from=from_discriminator,
        partial=partial,
        option=parse(option or []),
        on_collapse=on_collapse,
        early_stopping=early_stopping,
        log=log,
        keep=keep,
        resume=resume,
        **settings,
    )
    report_done(out, model)


@app.command(rich_help_panel=TRAIN)
@signs
def resume(
    run: RunFolder,
    images: Annotated[
        int | None,
        typer.Option(help="Continue to this total number of images, with the same schedules."),
    ] = None,
    device: TrainDevice = None,
    set: Set = None,
    data: Annotated[
        str | None, typer.Option(help="Present place of the data set, if it was moved or changed.")
    ] = None,
    keep: Keep = None,
) -> None:
    """Continue a run from its last checkpoint, exactly as if it had not stopped.

    Example: `ganvas resume runs/p --images 400000`
    """
    from ganvas.training import trainer

    model = trainer.resume(run, images=images, device=device, set=set or (), data=data, keep=keep)
    report_done(run, model)


@app.command(rich_help_panel=TRAIN)
def status(run: RunFolder, as_json: Json = False) -> None:
    """Print how far a run has come. The exit status is 0 if it is complete, else 75.

    Example: `ganvas status runs/p`
    """
    from ganvas.engine.run_dir import count_of
    from ganvas.training import continuation

    found = continuation.status(run)
    if as_json:
        print_json({**asdict(found), "complete": found.complete})
    else:
        state = "complete" if found.complete else "incomplete"
        running = ", in training" if found.running else ""
        say(f"{run} is {state}: {count_of(found.images, found.total)} saved{running}")
    if not found.complete:
        raise typer.Exit(continuation.INCOMPLETE)


@app.command(rich_help_panel=TRAIN)
def bench(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="Method or recipe; see `ganvas list`.")
    ],
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help="As for train (default: random images).")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Image size in pixels: 64, or HEIGHTxWIDTH.")
    ] = None,
    batch: Annotated[int | None, typer.Option(max=BATCH, help="Images per batch.")] = None,
    device: TrainDevice = None,
    precision: Precision = None,
    compile: Compile = None,
    steps: Annotated[int, typer.Option(min=1, help="Number of timed steps.")] = 10,
    set: Set = None,
    as_json: Json = False,
) -> None:
    """Measure training speed: seconds per step, memory, share of the peak rate.

    Example: `ganvas bench dcgan --size 64 --batch 64 --precision bf16`
    """
    from ganvas.training import benchmark

    found = benchmark.bench(
        method,
        data,
        size=parse_size(size),
        batch=batch,
        device=device,
        precision=precision,
        compile=compile,
        steps=steps,
        set=set or (),
    )
    print_json(found) if as_json else say(*benchmark.lines(found))
