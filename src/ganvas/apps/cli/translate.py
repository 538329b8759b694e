"""The command that translates and enlarges images, stacks and videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ganvas.apps.cli.common import (
    SEEDS,
    USE,
    Backend,
    Checkpoint,
    Device,
    Model,
    UsePrecision,
    _say,
    app,
)
from ganvas.apps.cli.provenance import signs
from ganvas.core.errors import UserError


@app.command(rich_help_panel=USE)
@signs
def translate(
    run: Model,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT…", help="Images or folders of images.")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the results; file names are kept.")
    ] = Path("translated"),
    to: Annotated[str | None, typer.Option(help="Target domain: b (default) or a.")] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            help="Tile size in pixels (default: no tiles, or what fits in memory). "
            "The result is the same."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=SEEDS, help="Random seed, for networks with dropout or noise.")
    ] = 0,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Change only the white region: a mask file, or a folder with the same names."
        ),
    ] = None,
    find_mask: Annotated[
        bool, typer.Option("--find-mask", help="Find mosaic blocks and change only them.")
    ] = False,
    at_training_size: Annotated[
        bool,
        typer.Option(
            "--at-training-size", help="Resize images to the training size, and the results back."
        ),
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(help="Output format: png (default; tif for measurements), jpg, webp or tif."),
    ] = None,
    quality: Annotated[
        int | None, typer.Option(help="Quality of jpg and webp, 1 to 100 (default 95).")
    ] = None,
    checkpoint: Checkpoint = "last",
    device: Device = None,
    precision: UsePrecision = "fp32",
    backend: Backend = "torch",
) -> None:
    """Translate images to the other domain, or enlarge them by super-resolution.

    Each image keeps its own size. Alpha, 16 bits and color profiles are kept if the
    format supports them. The same command continues after a stop; under torchrun the
    processes share the images.

    Example: `ganvas translate runs/roses garden/*.jpg --out tulips/`
    """
    from ganvas.core.guards import plural
    from ganvas.inference.masks import Masks
    from ganvas.inference.translate_files import translate_files

    if mask and find_mask:
        raise UserError("got both --mask and --find-mask; give one of them")
    how: dict[str, Any] = {
        "to": to,
        "checkpoint": checkpoint,
        "device": device or "cpu",
        "precision": precision,
    }
    how |= {
        "backend": backend,
        "tile": tile,
        "seed": seed,
        "masks": Masks(mask) if mask or find_mask else None,
    }
    how |= {"at_training_size": at_training_size, "format": format, "quality": quality}
    report = translate_files(run, inputs, out, **how)
    for reason in report.skipped:
        _say(f"skipped {reason}", err=True)
    for note in report.notes:
        _say(f"note: {note}", err=True)
    there = f", {report.kept} there already" if report.kept else ""
    skipped = f", {len(report.skipped)} skipped" if report.skipped else ""
    _say(f"{plural(report.made, 'image')} in {out}{there}{skipped}")
    if report.skipped:
        count = "1 image was" if len(report.skipped) == 1 else f"{len(report.skipped)} images were"
        raise UserError(f"{count} not translated, for the reasons above")
