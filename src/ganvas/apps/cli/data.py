"""Commands for data sets."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from ganvas.apps.cli.common import Json, _print_json, _say, data_app


@data_app.command("check")
def data_check(
    data: Annotated[str, typer.Argument(metavar="DATA", help="What you would give to `ganvas train`.")],
    as_json: Json = False,
) -> None:
    """What is there, what is broken, what it can be used for.

    Example: `ganvas data check photos/`
    """
    from ganvas.core.errors import UserError
    from ganvas.data import check as check_module

    found = check_module(data)
    described = (line for line in found.lines() if not line.startswith("problem "))
    _print_json(found.as_dict()) if as_json else _say(*described)
    if found.problem:
        raise UserError(found.problem)


@data_app.command("letters")
def data_letters(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the images: new.")],
    size: Annotated[int, typer.Option(metavar="N", help="Height and width of an image in pixels.")] = 32,
    pairs: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Pairs A/ and B/ of two weights (thin,black or 300,700), or of roman,italic."),
    ] = None,
) -> None:
    """Render the capital letters of 37 open typeface families, from the packages of the extra `demo`.

    Example: `ganvas data letters letters/ --size 64 --pairs thin,black`
    """
    from ganvas.data.prepare import letters

    count = letters.make(out, size, pairs)
    _say(f"{count:,} images in {out}")


@data_app.command("mosaic")
def data_mosaic(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A folder or a zip of photographs.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the pairs: new, or of the same call before.")],
    classifier: Annotated[
        str,
        typer.Option("--classifier", metavar="M", help="squeezenet, mobilenet-v2, or a folder: transformers, ONNX."),
    ],
    wanted: Annotated[str, typer.Option("--class", metavar="NAME", help="What is hidden: a class's name or number.")],
    weights: Annotated[Path | None, typer.Option(help="The classifier's weights, or their folder.")] = None,
    block: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="Side of a block in pixels (16); of several, each picture has one."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(metavar="N", help="Squares of N pixels around what is hidden, to train on.")
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            help="Hidden is where the class's map has this share of its maximum: the region around it, or with --redact all."
        ),
    ] = 0.5,
    least: Annotated[float, typer.Option(help="Skip and name pictures where the class is less probable.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of the pictures that is kept out of training.")] = 0.1,
    redact: Annotated[
        bool,
        typer.Option("--redact", help="Hide every region that reaches the threshold; write whole pictures, no pairs."),
    ] = False,
) -> None:
    """Hide what a classifier sees behind a mosaic: pairs to train `restore` on, or a redaction.

    Example: `ganvas data mosaic photos/ --classifier squeezenet --class daisy --out pairs/ --size 256`
    """
    from ganvas.data.prepare import mosaic_pairs

    how: dict[str, Any] = {"weights": weights, "blocks": block or (16,), "size": size, "threshold": threshold}
    how |= {"least": least, "test": test, "redact": redact}
    report = mosaic_pairs.make(photos, out, network=classifier, wanted=wanted, said=_counted, **how)
    for reason in report.skipped:
        _say(f"skipped {reason}", err=True)
    there = f", {report.kept} there already" if report.kept else ""
    _say(f"{report.made} {'pictures' if redact else 'pairs'} in {out}{there}, {len(report.skipped)} skipped")
    if redact:
        _say(
            "Look at every one: the classifier misses objects, above all in pictures that were skipped; a second object that "
            "speaks less than --threshold for the class stays visible; and small blocks hide little."
        )
    elif size and size % 64 == 0:
        train = shlex.join(["ganvas", "train", "restore", str(out), "--size", str(size), "--out", "runs/restore"])
        _say(f"Train on them: {train}")


def _counted(done: int, total: int) -> None:
    if done and done % 100 == 0 and done < total:
        _say(f"{done:,} of {total:,}", err=True)
