"""Commands that measure and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ganvas.apps.cli.common import (
    SEEDS,
    TRUNCATIONS,
    Against,
    Checkpoint,
    Device,
    Features,
    Json,
    Label,
    Model,
    RunFolder,
    Seed,
    Truncation,
    Weights,
    _figure,
    _print_json,
    _print_record,
    _print_table,
    _say,
    app,
)
from ganvas.core.errors import UserError


@app.command()
def sweep(
    run: Model,
    against: Against,
    out: Annotated[Path, typer.Option("--out", help="The plot: sweep.png; the record beside it: sweep.json.")],
    truncations: Annotated[str, typer.Option(help="Which, separated by commas.")] = "0.2,0.4,0.6,0.8,1",
    n: Annotated[int, typer.Option("-n", min=10, help="How many generated images at each.")] = 1024,
    features: Features = "random-conv-v1",
    weights: Weights = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = "last",
    device: Device = None,
) -> None:
    """What truncation gives and takes: precision against recall.

    Example: `ganvas sweep runs/s --against photos/ --out sweep.png`
    """
    from ganvas.evaluation import truncation_sweep

    try:
        values = [float(t) for t in truncations.split(",")]
        if not all(0 < t <= TRUNCATIONS for t in values):
            raise ValueError
    except ValueError:
        raise UserError(
            f"--truncations takes numbers above 0 separated by commas, as 0.5,0.7,1; got {truncations!r}"
        ) from None
    how: dict[str, Any] = {"features": features, "weights": weights, "seed": seed, "checkpoint": checkpoint}
    record = truncation_sweep.sweep(run, against, out, truncations=values, n=n, device=device or "cpu", **how)
    for point in record["sweep"]:
        found = point["values"]
        _say(f"truncation {point['truncation']:<5g} precision {found['precision']:.3f}  recall {found['recall']:.3f}")
    _say(f"plot: {out}, record: {out.with_suffix('.json')}")


@app.command()
def neighbours(
    run: Model,
    against: Against,
    out: Annotated[Path, typer.Option("--out", help="The page: page.png.")],
    n: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many samples.")] = 8,
    features: Features = "random-conv-v1",
    weights: Weights = None,
    seed: Seed = 0,
    label: Label = None,
    truncation: Truncation = None,
    checkpoint: Checkpoint = "last",
    device: Device = None,
) -> None:
    """Samples beside the real images nearest to them: does it copy?

    Example: `ganvas neighbours runs/p --against photos/ --out page.png`
    """
    from ganvas.evaluation import nearest_page

    how: dict[str, Any] = {"features": features, "weights": weights, "seed": seed, "label": label}
    how |= {"truncation": truncation, "checkpoint": checkpoint, "device": device or "cpu"}
    nearest_page.neighbours(run, against, out, n=n, **how)
    _say(f"{n} samples beside their nearest real images in {out}")


@app.command()
def measure(
    run: Model,
    against: Against,
    n: Annotated[int, typer.Option("-n", min=2, help="How many generated images.")] = 2048,
    features: Annotated[
        str,
        typer.Option(
            help="random-conv-v1, inception-2015 (FID), squeezenet, mobilenet-v2, lenet-mnist, transformers:DIR."
        ),
    ] = "random-conv-v1",
    weights: Annotated[
        Path | None, typer.Option("--features-file", "--weights", help="The extractor's weights, or their folder.")
    ] = None,
    resizer: Annotated[
        str | None,
        typer.Option(help="bilinear-antialias, clean, legacy-pytorch, legacy-tensorflow (default: its own)."),
    ] = None,
    part: Annotated[str, typer.Option(help="Which part of DATA: train or test.")] = "train",
    seed: Annotated[int, typer.Option(min=0, max=SEEDS, help="Which images are generated.")] = 0,
    checkpoint: Annotated[str, typer.Option(help="last, best, both or a number of images.")] = "last",
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Also the Frechet distance at infinitely many images.")
    ] = False,
    also: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="duplicates, memorisation, accuracy, path-length, stacked-mnist or recognizability."),
    ] = None,
    device: Device = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the record here, too.")] = None,
    as_json: Json = False,
) -> None:
    """How good it is: distances, precision and recall, copies of training images.

    Example: `ganvas measure runs/p --against photos/ --json`
    """
    from ganvas.evaluation.evaluate import measure as run_measure

    if part not in ("train", "test"):
        raise UserError(f"--part is train or test; got {part!r}")
    record = run_measure(
        run,
        against,
        n=n,
        features=features,
        weights=weights,
        resizer=resizer,
        part=part,
        seed=seed,
        checkpoint=checkpoint,
        extrapolate=extrapolate,
        also=also or (),
        device=device,
        out=out,
    )
    _print_json(record) if as_json else _print_record(record)


@app.command()
def compare(
    records: Annotated[
        list[Path], typer.Argument(metavar="RECORD…", help="Records of ganvas measure, or run folders.")
    ],
    as_json: Json = False,
) -> None:
    """Measurements side by side; refuses unlike protocols, saying which fields differ.

    Example: `ganvas compare runs/p runs/q`
    """
    from ganvas.evaluation.compare import ProtocolMismatch
    from ganvas.evaluation.compare import compare as compared

    try:
        tables = compared(records)
    except ProtocolMismatch as e:
        _say(f"error: {e}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        _print_json(tables)
        return
    for found in tables:
        to, columns = found["protocol"].get("to"), found["columns"]
        names = dict.fromkeys(k for column in columns for k in column["values"])
        _print_table(
            ["", *(column["name"] for column in columns)],
            [[name, *(_figure(column, name) for column in columns)] for name in names],
            title=f"to {to}" if to else None,
        )


@app.command()
def report(run: RunFolder) -> None:
    """Write a run's report.html again.

    Example: `ganvas report runs/p`
    """
    from ganvas.claims.page import write_report
    from ganvas.engine.run_dir import read_record

    read_record(run)
    _say(f"report: {write_report(run)}")


@app.command()
def spectra(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="The plot: png, svg or pdf.")],
) -> None:
    """Plot the largest singular values of a run's layers: what moves first when a GAN collapses.

    Example: `ganvas spectra runs/biggan --out plot.png`
    """
    from ganvas.evaluation.spectra import plot

    _say(f"singular values: {plot(run, out)}")


@app.command()
def pixels(
    a: Annotated[Path, typer.Argument(metavar="A", help="A picture, or a folder of them.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="What they should be: matched by name.")],
    protocol: Annotated[str, typer.Option(help="rgb, rgb-crop4, or y-crop4: luma, 4 pixels shaved.")] = "y-crop4",
    lpips: Annotated[str | None, typer.Option(help="LPIPS too: alex, vgg, squeeze or squeeze-caffe.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of LPIPS's weights.")] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Compare only what is white in it: a file, or a folder of the same names.")
    ] = None,
    as_json: Json = False,
) -> None:
    """How near pictures are to the true ones: PSNR, SSIM, MS-SSIM, LPIPS.

    Example: `ganvas pixels restored/ originals/ --protocol y-crop4`
    """
    from ganvas.evaluation import paired

    record = paired.compare(a, b, protocol=protocol, lpips=lpips, weights=weights, mask=mask)
    _print_json(record) if as_json else _say(*paired.lines(record))
