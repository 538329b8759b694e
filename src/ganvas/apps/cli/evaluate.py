"""Commands for evaluation and inspection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from ganvas.apps.cli.common import (
    EVALUATE,
    INSPECT,
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
    Samples,
    Seed,
    Truncation,
    Weights,
    app,
    figure_text,
    print_json,
    print_record,
    print_table,
    say,
)
from ganvas.apps.cli.provenance import signs
from ganvas.core.errors import UserError


@app.command(rich_help_panel=EVALUATE)
def sweep(
    run: Model,
    against: Against,
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Plot file (sweep.png); the record is written beside it (sweep.json)."
        ),
    ],
    truncations: Annotated[
        str, typer.Option(help="Truncation values, separated by commas.")
    ] = "0.2,0.4,0.6,0.8,1",
    n: Annotated[
        int, typer.Option("-n", min=10, help="Number of generated images per value.")
    ] = 1024,
    features: Features = "random-conv-v1",
    weights: Weights = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = "last",
    device: Device = "cpu",
) -> None:
    """Plot precision against recall over truncation values.

    Example: `ganvas sweep runs/s --against photos/ --out sweep.png`
    """
    from ganvas.evaluation import truncation_sweep

    try:
        values = [float(t) for t in truncations.split(",")]
        if not all(0 < t <= TRUNCATIONS for t in values):
            raise ValueError
    except ValueError:
        raise UserError(
            f"--truncations takes numbers above 0, separated by commas, such as 0.5,0.7,1; "
            f"got {truncations!r}"
        ) from None
    how: dict[str, Any] = {
        "features": features,
        "weights": weights,
        "seed": seed,
        "checkpoint": checkpoint,
    }
    record = truncation_sweep.sweep(
        run, against, out, truncations=values, n=n, device=device, **how
    )
    for point in record["sweep"]:
        found = point["values"]
        say(
            f"truncation {point['truncation']:<5g} precision {found['precision']:.3f}  "
            f"recall {found['recall']:.3f}"
        )
    say(f"plot: {out}, record: {out.with_suffix('.json')}")


@app.command(rich_help_panel=INSPECT)
@signs
def neighbours(
    run: Model,
    against: Against,
    out: Annotated[Path, typer.Option("--out", help="Image file of the page: page.png.")],
    n: Samples = 8,
    features: Features = "random-conv-v1",
    weights: Weights = None,
    seed: Seed = 0,
    label: Label = None,
    truncation: Truncation = None,
    checkpoint: Checkpoint = "last",
    device: Device = "cpu",
) -> None:
    """Show samples beside their nearest real images, to see whether the model copies.

    Example: `ganvas neighbours runs/p --against photos/ --out page.png`
    """
    from ganvas.evaluation import nearest_page

    how: dict[str, Any] = {"features": features, "weights": weights, "seed": seed, "label": label}
    how |= {"truncation": truncation, "checkpoint": checkpoint, "device": device}
    nearest_page.neighbours(run, against, out, n=n, **how)
    say(f"{n} samples beside their nearest real images in {out}")


@app.command(rich_help_panel=EVALUATE)
@signs
def measure(
    run: Model,
    against: Against,
    n: Annotated[int, typer.Option("-n", min=2, help="Number of generated images.")] = 2048,
    features: Annotated[
        str,
        typer.Option(
            help="Feature extractor: random-conv-v1, inception-2015 (FID), squeezenet, "
            "mobilenet-v2, lenet-mnist, transformers:DIR."
        ),
    ] = "random-conv-v1",
    weights: Annotated[
        Path | None,
        typer.Option(
            "--features-file", "--weights", help="The extractor's weights, or their folder."
        ),
    ] = None,
    resizer: Annotated[
        str | None,
        typer.Option(
            help="Resizer: bilinear-antialias, clean, legacy-pytorch, legacy-tensorflow (default: "
            "that of the extractor)."
        ),
    ] = None,
    part: Annotated[str, typer.Option(help="Part of DATA: train or test.")] = "train",
    seed: Annotated[
        int, typer.Option(min=0, max=SEEDS, help="Random seed of the generated images.")
    ] = 0,
    checkpoint: Annotated[
        str, typer.Option(help="Which checkpoint: last, best, both, or a number of images.")
    ] = "last",
    extrapolate: Annotated[
        bool,
        typer.Option(
            "--extrapolate", help="Also extrapolate the Fréchet distance to infinitely many images."
        ),
    ] = False,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Further diagnostics: duplicates, memorisation, accuracy, path-length, "
            "stacked-mnist, recognizability, bits-per-dimension or equivariance. Repeatable.",
        ),
    ] = None,
    device: Device = "cpu",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Also write the record to this file."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Evaluate a model: Fréchet and kernel distance, precision, recall, diagnostics.

    The distances are FID (`fid`) and KID (`kernel`) over inception-2015 only.

    Example: `ganvas measure runs/p --against photos/ --json`
    """
    from ganvas.data.pictures import Part
    from ganvas.evaluation.evaluate import measure as run_measure

    record = run_measure(
        run,
        against,
        n=n,
        features=features,
        weights=weights,
        resizer=resizer,
        part=cast(Part, part),  # checked there
        seed=seed,
        checkpoint=checkpoint,
        extrapolate=extrapolate,
        also=also or (),
        device=device,
        out=out,
    )
    print_json(record) if as_json else print_record(record)


@app.command(rich_help_panel=EVALUATE)
def compare(
    records: Annotated[
        list[Path],
        typer.Argument(metavar="RECORD…", help="Records of `ganvas measure`, or run folders."),
    ],
    as_json: Json = False,
) -> None:
    """Compare measurement records. Records with different protocols are rejected.

    Example: `ganvas compare runs/p runs/q`
    """
    from ganvas.evaluation.compare import compare as compared

    tables = compared(records)
    if as_json:
        print_json(tables)
        return
    for found in tables:
        to, columns = found["protocol"].get("to"), found["columns"]
        names = dict.fromkeys(k for column in columns for k in column["values"])
        print_table(
            ["", *(column["name"] for column in columns)],
            [[name, *(figure_text(column, name) for column in columns)] for name in names],
            title=f"to {to}" if to else None,
        )


@app.command(rich_help_panel=INSPECT)
def report(run: RunFolder) -> None:
    """Write report.html of a run again.

    Example: `ganvas report runs/p`
    """
    from ganvas.engine.run_dir import read_record
    from ganvas.evaluation.report import write_report

    read_record(run)
    say(f"report: {write_report(run)}")


@app.command(rich_help_panel=INSPECT)
def monitor(run: RunFolder, as_json: Json = False) -> None:
    """Say what went wrong in a training: when, and what most often helps.

    It reads the log, of any age, and writes the findings and their plots to the report.

    Example: `ganvas monitor runs/p`
    """
    from ganvas.training import watch

    found = watch.review(run)
    print_json(found.findings) if as_json else say(*found.lines)


@app.command(rich_help_panel=INSPECT)
def spectra(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="Plot file: png, svg or pdf.")],
) -> None:
    """Plot the largest singular values of each layer; they rise before a collapse.

    Example: `ganvas spectra runs/biggan --out plot.png`
    """
    from ganvas.evaluation.spectra import plot

    say(f"singular values: {plot(run, out)}")


@app.command(rich_help_panel=EVALUATE)
def pixels(
    a: Annotated[Path, typer.Argument(metavar="A", help="Image, or folder of images.")],
    b: Annotated[
        Path,
        typer.Argument(metavar="B", help="Reference image or folder; files are matched by name."),
    ],
    protocol: Annotated[
        str,
        typer.Option(
            help="rgb, rgb-crop4, y-crop4 (luma, without 4 pixels at borders; or 2, 3, 8), or "
            "all and all-crop4 (any channels)."
        ),
    ] = "y-crop4",
    lpips: Annotated[
        str | None, typer.Option(help="Also compute LPIPS: alex, vgg, squeeze or squeeze-caffe.")
    ] = None,
    dists: Annotated[bool, typer.Option("--dists", help="Also compute DISTS.")] = False,
    niqe: Annotated[
        Path | None,
        typer.Option(
            help="Also compute NIQE of A, by niqe_pris_params.npz or a folder of sharp photographs."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of the weights of LPIPS and DISTS.")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Compare only the white region: a mask file, or a folder with the same names."
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="The files are measurements, and these values become black and white (`type`: "
            "the range of 8 or 16 bits).",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare images with reference images: PSNR, SSIM, MS-SSIM, LPIPS, DISTS, NIQE.

    Example: `ganvas pixels restored/ originals/ --protocol y-crop4`
    """
    from ganvas.evaluation import paired

    how: dict[str, Any] = {"protocol": protocol, "lpips": lpips, "dists": dists, "niqe": niqe}
    span = None if window is None else paired.window_of(window)
    record = paired.compare(a, b, **how, weights=weights, mask=mask, window=span)
    print_json(record) if as_json else say(*paired.lines(record))
