"""Commands for data sets."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from ganvas.apps.cli.common import Json, Seed, Set, data_app, print_json, say
from ganvas.core.sizes import parse_size, sides_of


@data_app.command("check")
def data_check(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Data set, as for `ganvas train`.")],
    as_json: Json = False,
) -> None:
    """Check a data set: count, sizes, broken files, and the tasks that it suits.

    Example: `ganvas data check photos/`
    """
    from ganvas.core.errors import UserError
    from ganvas.data import check as check_module

    found = check_module(data)
    described = (line for line in found.lines() if not line.startswith("problem "))
    print_json(found.as_dict()) if as_json else say(*described)
    if found.problem:
        raise UserError(found.problem)


@data_app.command("pack")
def data_pack(
    photos: Annotated[
        str, typer.Argument(metavar="PHOTOS", help="Data set, as for `ganvas train`.")
    ],
    out: Annotated[Path, typer.Option("--out", help="New folder for the shards.")],
    size: Annotated[
        str | None,
        typer.Option(
            help="Scale and crop to 64 or HEIGHTxWIDTH, and store as PNG (default: files as they "
            "are)."
        ),
    ] = None,
    shard_size: Annotated[
        float, typer.Option(metavar="MB", help="Size of a shard in megabytes, about.")
    ] = 64,
) -> None:
    """Pack images into shards, from which training reads data that outgrow a disk.

    Example: `ganvas data pack photos/ --out shards/`
    """
    from ganvas.data.prepare.pack import pack

    done = pack(photos, out, size=sides_of(parse_size(size)), shard_mb=shard_size, said=_counted)
    for reason in done.skipped:
        say(f"skipped {reason}", err=True)
    what = "pairs" if done.pairs else "images"
    say(
        f"{done.images:,} {what} in {done.shards:,} shards of {done.bytes / 1e6:,.1f} MB in all in "
        f"{out}, {len(done.skipped):,} skipped"
    )


@data_app.command("degrade")
def data_degrade(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Data set of photographs.")],
    out: Annotated[Path, typer.Option("--out", help="Sheet of images.")],
    size: Annotated[int, typer.Option(min=32, help="Side of the crops in pixels.")] = 128,
    scale: Annotated[int, typer.Option(min=1, help="Reduction.")] = 4,
    set: Set = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with data.degrade, as for `ganvas train`.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Show random degradations of photographs: those of `realesrgan`, or your own.

    Example: `ganvas data degrade photos/ --out sheet.png --config chain.toml`
    """
    from ganvas.core.errors import UserError
    from ganvas.evaluation import degraded_sheet
    from ganvas.training import config_file

    given = () if config is None else config_file.read(config).assignments
    own = [a for a in given if a.startswith("data.degrade")]
    if config is not None and not own:
        raise UserError(f"--config {config} has no data.degrade: give its steps")
    sets = [*own, *(set or ())]
    degraded_sheet.degradation_sheet(data, out, size=size, scale=scale, set=sets, seed=seed)
    say(f"Clean crops, and below each of them three degraded ones: {out}")


@data_app.command("letters")
def data_letters(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the images.")],
    size: Annotated[
        int, typer.Option(metavar="N", help="Height and width of each image in pixels.")
    ] = 32,
    pairs: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Write pairs A/ and B/ of two weights (thin,black or 300,700) or of roman,italic.",
        ),
    ] = None,
    domains: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Write two unpaired domains A/ and B/: serif, slab, sans, mono, script.",
        ),
    ] = None,
) -> None:
    """Render the capital letters of 37 open typeface families (needs the extra `demo`).

    Example: `ganvas data letters letters/ --size 64 --pairs thin,black`
    """
    from ganvas.data.prepare import letters

    count = letters.make(out, size, pairs, domains)
    say(f"{count:,} images in {out}")


@data_app.command("emoji")
def data_emoji(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the images.")],
    size: Annotated[
        int, typer.Option(metavar="N", help="Height and width of each image in pixels.")
    ] = 64,
    font: Annotated[
        Path | None,
        typer.Option(help="NotoColorEmoji.ttf (default: that of fonts-noto-color-emoji)."),
    ] = None,
) -> None:
    """Render emoji in color, in class folders (needs Debian's fonts-noto-color-emoji).

    Example: `ganvas data emoji emoji/ --size 64`
    """
    from ganvas.data.prepare import emoji

    count = emoji.make(out, size, font or emoji.FONT)
    say(f"{count:,} images in {out}")


@data_app.command("instances")
def data_instances(
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS", help="Folder or zip of label maps: a color a label.")
    ],
    instances: Annotated[
        Path,
        typer.Argument(
            metavar="INSTANCES",
            help="Folder or zip of maps of the same names: a value an instance.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="New folder for the label maps.")],
) -> None:
    """Merge label maps with instance maps: shades of a label's color are its instances.

    Example: `ganvas data instances labels/ instances/ --out maps/A`
    """
    from ganvas.data.prepare import instance_shades

    count, palette = instance_shades.make(labels, instances, out)
    settings = ["data.palette=" + ",".join(palette), "data.instances=true", "edges=true"]
    train = ["ganvas", "train", "spade", str(out.parent)]
    options = [word for s in settings for word in ("--set", s)]
    say(f"{count:,} label maps in {out}. With the images in {out.parent / 'B'}, train on them:")
    say(shlex.join([*train, *options, "--out", "runs/spade"]))


@data_app.command("mosaic")
def data_mosaic(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="Folder or zip of photographs.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Folder for the pairs: new, or that of the same command before."
        ),
    ],
    classifier: Annotated[
        str,
        typer.Option(
            "--classifier",
            metavar="M",
            help="squeezenet, mobilenet-v2, or the folder of a transformers or ONNX model.",
        ),
    ],
    wanted: Annotated[
        str, typer.Option("--class", metavar="NAME", help="Class to hide, by name or number.")
    ],
    weights: Annotated[
        Path | None, typer.Option(help="Weights file of the classifier, or its folder.")
    ] = None,
    block: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            help="Block size in pixels (default 16). Repeatable: each image gets one of them.",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Write square crops of N pixels around the hidden region, for training.",
        ),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            help="Hide where the class map reaches this share of its maximum: the region around "
            "the maximum, or all regions with --redact."
        ),
    ] = 0.5,
    least: Annotated[
        float, typer.Option(help="Skip and report images in which the class is less probable.")
    ] = 0.1,
    test: Annotated[
        float, typer.Option(help="Share of the images that is kept for testing.")
    ] = 0.1,
    redact: Annotated[
        bool,
        typer.Option(
            "--redact",
            help="Hide every region above the threshold; write whole images instead of pairs.",
        ),
    ] = False,
) -> None:
    """Hide an object class behind a mosaic: pairs for `restore`, or redacted images.

    Example: `ganvas data mosaic photos/ --classifier squeezenet --class daisy --out p/`
    """
    from ganvas.data.prepare import mosaic_pairs

    how: dict[str, Any] = {
        "weights": weights,
        "blocks": block or (16,),
        "size": size,
        "threshold": threshold,
    }
    how |= {"least": least, "test": test, "redact": redact}
    report = mosaic_pairs.make(photos, out, network=classifier, wanted=wanted, said=_counted, **how)
    for reason in report.skipped:
        say(f"skipped {reason}", err=True)
    there = f", {report.kept} there already" if report.kept else ""
    say(
        f"{report.made} {'images' if redact else 'pairs'} in {out}{there}, "
        f"{len(report.skipped)} skipped"
    )
    if redact:
        say(
            "Check every image: the classifier misses objects, especially in skipped images; a "
            "second object whose class map stays below --threshold remains visible; and small "
            "blocks hide little."
        )
    elif size and size % 64 == 0:
        train = shlex.join(
            ["ganvas", "train", "restore", str(out), "--size", str(size), "--out", "runs/restore"]
        )
        say(f"Train on them: {train}")


def _counted(done: int, total: int) -> None:
    if done and done % 100 == 0 and done < total:
        say(f"{done:,} of {total:,}", err=True)
