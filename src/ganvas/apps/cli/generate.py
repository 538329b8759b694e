"""Commands that generate, translate and edit images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ganvas.apps.cli.common import (
    SEEDS,
    AllClasses,
    Backend,
    Checkpoint,
    Device,
    Label,
    Model,
    Seed,
    Truncation,
    UsePrecision,
    _say,
    _use,
    app,
)
from ganvas.core.errors import UserError


@app.command()
def sample(
    run: Model,
    out: Annotated[Path, typer.Option("--out", help="A picture (grid.png), or a folder for single images.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many images (with --all-classes: latents).")] = 64,
    seed: Seed = 0,
    label: Label = None,
    all_classes: AllClasses = False,
    truncation: Truncation = None,
    checkpoint: Checkpoint = "last",
    device: Device = None,
    precision: UsePrecision = "fp32",
    backend: Backend = "torch",
) -> None:
    """New images: one grid, or a folder of single files.

    Example: `ganvas sample runs/p -n 64 --seed 0 --out grid.png`
    """
    from ganvas.core.environment import memory
    from ganvas.inference.load import load
    from ganvas.media import encode, grid

    model = load(run, checkpoint=checkpoint, device=device or "cpu", precision=precision, backend=backend)
    facts = {**model.facts, "seed": seed, "truncation": truncation}
    labels = None if label is None else [model.class_number(label)] * n
    how: dict[str, Any] = {"seed": seed, "labels": labels, "truncation": truncation, "all_classes": all_classes}
    if out.suffix:
        shape, count = model.info["shape"], n * (model.method.classes if all_classes else 1)
        if 4 * count * shape["channels"] * shape["height"] * shape["width"] > memory(model.method.device) // 4:
            raise UserError(f"a grid of {count:,} images does not fit in memory; write single files: --out FOLDER")
        made = model.sample(n, **how, output="torch")
        columns = model.method.classes if all_classes else model.columns(n) if label is None else None
        encode.save(grid.grid(made, columns, pad=0 if all_classes else 2), out, **facts)
        _say(f"{len(made)} images in {out}")
        return
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out} already has files in it; nothing was written. Choose an empty or a new folder")
    out.mkdir(parents=True, exist_ok=True)
    digits, i = len(str(n * (model.method.classes if all_classes else 1) - 1)), 0
    for part in model.batches(n, **how):
        for image in part:
            encode.save(grid.to_pil(image), out / f"{i:0{digits}d}.png", **facts, index=i)
            i += 1
    _say(f"{i} images in {out}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Another project's weights: .pth, .pt, .safetensors.")],
    out: Annotated[Path, typer.Option("--out", help="The model's folder: new.")],
    part: Annotated[str | None, typer.Option(help="Which network, where the file holds several.")] = None,
) -> None:
    """Another project's generator, recognised by its layers, as a model to use.

    Example: `ganvas import netG.pth --out models/g`
    """
    from ganvas.inference.importers.as_method import import_model

    header = import_model(file, out, part)
    _say(f"{header['imported']} in {out}", f"Use it:     {_use(out, header)}")


@app.command()
def walk(
    run: Model,
    out: Annotated[Path, typer.Option("--out", help="A film (walk.gif, walk.mp4), or a strip (walk.png).")],
    through: Annotated[
        str, typer.Option(help="How many pictures, or which: 3,7 (seeds), 0-4, 0:12 (picture 12 of seed 0).")
    ] = "6",
    frames: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="From each picture to the next (a film: one second; a strip: 8)."),
    ] = None,
    fps: Annotated[int, typer.Option(min=1, max=240, help="Frames a second.")] = 30,
    loop: Annotated[bool, typer.Option(help="Back to the first picture at the end.")] = True,
    curve: Annotated[
        str | None, typer.Option(metavar="CURVE", help="linear or spherical (default: spherical in z, linear in w).")
    ] = None,
    seed: Seed = 0,
    label: Label = None,
    all_classes: AllClasses = False,
    truncation: Truncation = None,
    checkpoint: Checkpoint = "last",
    device: Device = None,
) -> None:
    """A way from picture to picture through the latent space.

    Example: `ganvas walk runs/p --out walk.gif`
    """
    from ganvas.inference import render
    from ganvas.inference.load import load

    model = load(run, checkpoint=checkpoint, device=device or "cpu")
    how: dict[str, Any] = {"frames": frames, "fps": fps, "loop": loop, "curve": curve}
    made = render.walk(
        model, out, through=through, seed=seed, label=label, all_classes=all_classes, truncation=truncation, **how
    )
    _say(f"{made} frames in {out}")


@app.command()
def mix(
    run: Model,
    out: Annotated[Path, typer.Option("--out", help="The sheet: sheet.png.")],
    rows: Annotated[str, typer.Option(help="Pictures: 3,7 (seeds), 0-4, 0:12 (picture 12 of seed 0).")] = "0-3",
    columns: Annotated[str, typer.Option(help="Pictures whose styles come in.")] = "4-8",
    layers: Annotated[str, typer.Option(help="Which styles: coarse, middle, fine, or a range as 2-5.")] = "coarse",
    label: Label = None,
    truncation: Truncation = None,
    checkpoint: Checkpoint = "last",
    device: Device = None,
) -> None:
    """Styles of some pictures in others, as a sheet; for methods with styles.

    Example: `ganvas mix runs/s --rows 0-3 --columns 4-8 --layers coarse --out sheet.png`
    """
    from ganvas.inference import render
    from ganvas.inference.load import load

    model = load(run, checkpoint=checkpoint, device=device or "cpu")
    made = render.mix(model, out, rows=rows, columns=columns, layers=layers, label=label, truncation=truncation)
    _say(f"{made} mixed images in {out}")


@app.command()
def project(
    run: Model,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Pictures.")],
    out: Annotated[Path, typer.Option("--out", help="Folder: a picture and a latent (safetensors) each.")],
    space: Annotated[
        str | None, typer.Option(help="encode, z, w or w+ (default: the encoder, else w, else z).")
    ] = None,
    steps: Annotated[int, typer.Option(min=0, help="Of the descent.")] = 500,
    lpips: Annotated[str | None, typer.Option(help="LPIPS too: alex, vgg, squeeze or squeeze-caffe.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of LPIPS's weights.")] = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = "last",
    device: Device = None,
) -> None:
    """Images back into latent space: the latents whose pictures are nearest.

    Example: `ganvas project runs/p me.png --out found/`
    """
    from ganvas.inference import render
    from ganvas.inference.load import load

    model = load(run, checkpoint=checkpoint, device=device or "cpu")
    how: dict[str, Any] = {"space": space, "steps": steps, "net": lpips, "weights": weights, "seed": seed}
    for row in render.project(model, images, out, **how):
        _say("  ".join(f"{k} {v}" for k, v in row.items()))


@app.command()
def translate(
    run: Model,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT…", help="Images, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results; keeps the inputs' names.")] = Path(
        "translated"
    ),
    to: Annotated[str | None, typer.Option(help="Target domain: b (default) or a.")] = None,
    tile: Annotated[
        int | None,
        typer.Option(help="Pixels: make parts of this side (default: whole, or what fits memory). Changes no result."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=SEEDS, help="Another one, another result, of networks that draw (dropout).")
    ] = 0,
    mask: Annotated[
        Path | None, typer.Option(help="Change only what is white in it: a file, or a folder of the same names.")
    ] = None,
    find_mask: Annotated[bool, typer.Option("--find-mask", help="Change only the blocks of a mosaic.")] = False,
    at_training_size: Annotated[
        bool,
        typer.Option("--at-training-size", help="Scale images to the size the model was trained at, and results back."),
    ] = False,
    format: Annotated[str, typer.Option(help="png, jpg, webp or tif.")] = "png",
    quality: Annotated[int | None, typer.Option(help="1 to 100, of jpg and webp (default 95).")] = None,
    checkpoint: Checkpoint = "last",
    device: Device = None,
    precision: UsePrecision = "fp32",
    backend: Backend = "torch",
) -> None:
    """Carry images to the other domain, or enlarge them by a super-resolution model; each at its own size. Alpha, 16 bits
    and color profiles are kept where the format holds them.

    Example: `ganvas translate runs/roses garden/*.jpg --out tulips/`. The same command goes on where it was stopped, and
    under torchrun its processes share the images.
    """
    from ganvas.inference.masks import Masks
    from ganvas.inference.translate_files import translate_files

    if mask and find_mask:
        raise UserError("give --mask, or let it be found by --find-mask, not both")
    how: dict[str, Any] = {"to": to, "checkpoint": checkpoint, "device": device or "cpu", "precision": precision}
    how |= {"backend": backend, "tile": tile, "seed": seed, "masks": Masks(mask) if mask or find_mask else None}
    how |= {"at_training_size": at_training_size, "format": format, "quality": quality}
    report = translate_files(run, inputs, out, **how)
    for reason in report.skipped:
        _say(f"skipped {reason}", err=True)
    for note in report.notes:
        _say(f"note: {note}", err=True)
    there = f", {report.kept} there already" if report.kept else ""
    skipped = f", {len(report.skipped)} skipped" if report.skipped else ""
    _say(f"{report.made} {'image' if report.made == 1 else 'images'} in {out}{there}{skipped}")
    if report.skipped:
        raise typer.Exit(1)


@app.command()
def attention(
    run: Model,
    out: Annotated[Path, typer.Option("--out", help="The page: a picture.")],
    n: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many samples.")] = 6,
    seed: Seed = 0,
    point: Annotated[
        list[str] | None,
        typer.Option(metavar="DOWN,ACROSS", help="A query point, each from 0 to 1; several may be given."),
    ] = None,
    checkpoint: Checkpoint = "last",
    device: Device = None,
) -> None:
    """Where a generator with attention looked: samples, and a map for each query point.

    Example: `ganvas attention runs/sagan --point 0.5,0.5 --out page.png`
    """
    from ganvas.inference import attention_page

    points = attention_page.parsed(point) if point else attention_page.POINTS
    made = attention_page.page(run, out, n=n, seed=seed, points=points, checkpoint=checkpoint, device=device or "cpu")
    _say(f"attention maps: {made}")
