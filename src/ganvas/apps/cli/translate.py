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
    app,
    say,
)
from ganvas.apps.cli.provenance import signs
from ganvas.core.errors import UserError


@app.command(rich_help_panel=USE)
@signs
def translate(
    run: Model,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT…", help="Images, folders of images, or a video.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", help="Folder for the results; file names are kept. Or an .mp4 file."),
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
    every: Annotated[
        int, typer.Option(min=1, metavar="N", help="Of a video: translate every N-th frame.")
    ] = 1,
    start: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Of a video: start, as 90 or 1:30.")
    ] = "0",
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Of a video: end.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Frames per second of a folder of frames (default 25)."),
    ] = None,
    checkpoint: Checkpoint = "last",
    device: Device = "cpu",
    precision: UsePrecision = "fp32",
    backend: Backend = "torch",
) -> None:
    """Translate images to the other domain, or enlarge them by super-resolution.

    Each image keeps its own size. Alpha, 16 bits and color profiles are kept if the
    format supports them. The same command continues after a stop; under torchrun the
    processes share the images.

    A video keeps timestamps, rotation, color tags and audio. It becomes an .mp4 file or
    a folder of frames; a folder of frames becomes an .mp4 file.

    Example: `ganvas translate runs/roses garden/*.jpg --out tulips/`
    """
    from ganvas.core.guards import plural
    from ganvas.inference.masks import Masks
    from ganvas.inference.translate_files import translate_files
    from ganvas.inference.translate_video import is_video, seconds, translate_video

    if mask and find_mask:
        raise UserError("got both --mask and --find-mask; give one of them")
    video = is_video(out) or any(map(is_video, inputs))
    given = [
        option
        for option, is_set in {
            "--every": every > 1,
            "--from": start != "0",
            "--until": until is not None,
            "--fps": fps is not None,
        }.items()
        if is_set
    ]
    if given and not video:
        raise UserError(f"{given[0]} is for videos: give one, or --out clip.mp4")
    how: dict[str, Any] = {
        "to": to,
        "checkpoint": checkpoint,
        "device": device,
        "precision": precision,
    }
    how |= {
        "backend": backend,
        "tile": tile,
        "seed": seed,
        "masks": Masks(mask) if mask or find_mask else None,
    }
    how["at_training_size"] = at_training_size
    if video:
        if len(inputs) > 1 or mask or find_mask or format is not None or quality is not None:
            raise UserError(
                "a video is translated alone, without --mask, --find-mask, --format and --quality"
            )
        how.pop("masks")
        length = {"start": seconds(start), "end": None if until is None else seconds(until)}
        found = translate_video(run, inputs[0], out, **how, **length, every=every, rate=fps)
        for note in found.notes:
            say(f"note: {note}", err=True)
        there = f", {found.kept} there already" if found.kept else ""
        say(f"{plural(found.frames, 'frame')} in {out}{there}")
        return
    how |= {"format": format, "quality": quality}
    report = translate_files(run, inputs, out, **how)
    for reason in report.skipped:
        say(f"skipped {reason}", err=True)
    for note in report.notes:
        say(f"note: {note}", err=True)
    there = f", {report.kept} there already" if report.kept else ""
    skipped = f", {len(report.skipped)} skipped" if report.skipped else ""
    say(f"{plural(report.made, 'image')} in {out}{there}{skipped}")
    if report.skipped:
        count = "1 image was" if len(report.skipped) == 1 else f"{len(report.skipped)} images were"
        raise UserError(f"{count} not translated, for the reasons above")
