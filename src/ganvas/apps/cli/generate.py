"""Commands that generate, translate and edit images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ganvas.apps.cli.common import (
    INSPECT,
    USE,
    AllClasses,
    Backend,
    Checkpoint,
    Device,
    Label,
    Model,
    Samples,
    Seed,
    Truncation,
    UsePrecision,
    app,
    say,
    usage_of,
)
from ganvas.apps.cli.provenance import signs
from ganvas.core.errors import UserError
from ganvas.core.sizes import parse_size, sides_of


@app.command(rich_help_panel=USE)
@signs
def sample(
    run: Model,
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Image file for a grid (grid.png), or folder for single images."
        ),
    ],
    n: Annotated[
        int, typer.Option("-n", min=1, help="Number of images (with --all-classes: latents).")
    ] = 64,
    seed: Seed = 0,
    label: Label = None,
    all_classes: AllClasses = False,
    truncation: Truncation = None,
    size: Annotated[
        str | None,
        typer.Option(help="Image size in pixels, 64 or HEIGHTxWIDTH, of methods of any size."),
    ] = None,
    checkpoint: Checkpoint = "last",
    device: Device = "cpu",
    precision: UsePrecision = "fp32",
    backend: Backend = "torch",
) -> None:
    """Generate images: one grid, or a folder of single files (TIFF for measurements).

    Example: `ganvas sample runs/p -n 64 --seed 0 --out grid.png`
    """
    from ganvas.core import Gradual
    from ganvas.core.environment import memory
    from ganvas.core.guards import plural
    from ganvas.core.progress import Progress
    from ganvas.inference.load import load
    from ganvas.inference.measurements import save_sample
    from ganvas.media import encode, grid

    model = load(run, checkpoint=checkpoint, device=device, precision=precision, backend=backend)
    facts = {**model.facts, "seed": seed, "truncation": truncation}
    how: dict[str, Any] = {
        "seed": seed,
        "label": label,
        "truncation": truncation,
        "all_classes": all_classes,
        "size": (sides := sides_of(parse_size(size))),
    }
    count = n * (model.method.classes if all_classes else 1)
    slow = count > 64 or isinstance(model.method, Gradual)
    if out.suffix:
        height, width = sides or model.training_size
        values = count * model.runtime.channels * height * width
        if 4 * values > memory(model.method.device) // 4:
            raise UserError(
                f"a grid of {count:,} images does not fit in memory; write single files: "
                "--out FOLDER"
            )
        with Progress(count, what="sampling", quiet=not slow) as bar:
            images = model.sample(n, **how, output="torch", on_progress=bar.update)
        columns = (
            model.method.classes if all_classes else model.columns(n) if label is None else None
        )
        sheet = grid.grid(model.runtime.apart(images), columns, pad=0 if all_classes else 2)
        encode.save(sheet, out, **facts)
        say(f"{plural(len(images), 'image')} in {out}")
        return
    if out.is_dir() and any(out.iterdir()):
        raise UserError(
            f"{out} already has files in it; nothing was written. Choose an empty or a new folder"
        )
    out.mkdir(parents=True, exist_ok=True)
    digits, i = len(str(count - 1)), 0
    with Progress(count, what="sampling", quiet=not slow) as bar:
        for part in model.batches(n, **how, on_progress=bar.update):
            for image in part:
                name = f"{i:0{digits}d}"
                if model.runtime.values is None:
                    encode.save(grid.to_pil(image), out / f"{name}.png", **facts, index=i)
                else:
                    save_sample(image, out / f"{name}.tif", model.runtime, **facts, index=i)
                i += 1
    say(f"{i} images in {out}")


@app.command("import", rich_help_panel=USE)
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Weights of another project: .pth, .pt, .ckpt, .safetensors, or a folder of "
            "diffusers with an autoencoder.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="New model folder.")],
    part: Annotated[
        str | None, typer.Option(help="Which network, if the file holds several.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="A setting that the file does not show. Repeatable."
        ),
    ] = None,
) -> None:
    """Import a generator of another project, recognized by its layers.

    Example: `ganvas import netG.pth --out models/g`
    """
    from ganvas.inference.importers.as_method import import_model
    from ganvas.inference.importers.options import parse

    header = import_model(file, out, part, parse(option or []))
    say(f"{header.get('imported')} in {out}", f"Use it:     {usage_of(out, header)}")


@app.command(rich_help_panel=USE)
def blend(
    a: Annotated[str, typer.Argument(metavar="A", help="Run or model.")],
    b: Annotated[
        str, typer.Argument(metavar="B", help="Another one with the same network, or the same run.")
    ],
    weight: Annotated[float, typer.Argument(min=0, max=1, help="Share of B, 0 to 1.")],
    out: Annotated[Path, typer.Option("--out", help="New model folder.")],
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            help="Which checkpoint: last, best, or a number of images. Given twice: A's and B's."
        ),
    ] = None,
) -> None:
    """Blend the weights of two models: (1 - WEIGHT) A + WEIGHT B.

    Example: `ganvas blend runs/psnr runs/esrgan 0.8 --out models/between`
    """
    from ganvas.inference.blend import blend

    header = blend(a, b, weight, out, checkpoint or "last")
    say(
        f"{weight:g} of {b} and {1 - weight:g} of {a} in {out}",
        f"Use it:     {usage_of(out, header)}",
    )


@app.command(rich_help_panel=USE)
@signs
def walk(
    run: Model,
    out: Annotated[
        Path,
        typer.Option("--out", help="Video (walk.gif, walk.mp4) or strip of images (walk.png)."),
    ],
    through: Annotated[
        str,
        typer.Option(
            help="Number of key images, or which: 3,7 (seeds), 0-4, 0:12 (image 12 of seed 0)."
        ),
    ] = "6",
    frames: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="Frames from one key image to the next (default: one second; strip: 8).",
        ),
    ] = None,
    fps: Annotated[int, typer.Option(min=1, max=240, help="Frames per second.")] = 30,
    loop: Annotated[bool, typer.Option(help="Return to the first image at the end.")] = True,
    curve: Annotated[
        str | None,
        typer.Option(
            metavar="CURVE",
            help="Interpolation: linear or spherical (default: spherical in z, linear in w).",
        ),
    ] = None,
    seed: Seed = 0,
    label: Label = None,
    all_classes: AllClasses = False,
    truncation: Truncation = None,
    checkpoint: Checkpoint = "last",
    device: Device = "cpu",
) -> None:
    """Render a latent walk: interpolate between generated images.

    Example: `ganvas walk runs/p --out walk.gif`
    """
    from ganvas.inference import render
    from ganvas.inference.load import load

    model = load(run, checkpoint=checkpoint, device=device)
    how: dict[str, Any] = {"frames": frames, "fps": fps, "loop": loop, "curve": curve}
    made = render.walk(
        model,
        out,
        through=through,
        seed=seed,
        label=label,
        all_classes=all_classes,
        truncation=truncation,
        **how,
    )
    say(f"{made} frames in {out}")


@app.command(rich_help_panel=USE)
@signs
def mix(
    run: Model,
    out: Annotated[Path, typer.Option("--out", help="Image file of the table: sheet.png.")],
    rows: Annotated[
        str,
        typer.Option(
            help="Images that keep the other styles: 3,7 (seeds), 0-4, 0:12 (image 12 of seed 0)."
        ),
    ] = "0-3",
    columns: Annotated[str, typer.Option(help="Images that give the mixed styles.")] = "4-8",
    layers: Annotated[
        str,
        typer.Option(help="Mixed styles: coarse, middle, fine, or a range of layers such as 2-5."),
    ] = "coarse",
    label: Label = None,
    truncation: Truncation = None,
    checkpoint: Checkpoint = "last",
    device: Device = "cpu",
) -> None:
    """Mix the styles of images in a table; for methods with styles.

    Example: `ganvas mix runs/s --rows 0-3 --columns 4-8 --layers coarse --out mix.png`
    """
    from ganvas.inference import render
    from ganvas.inference.load import load

    model = load(run, checkpoint=checkpoint, device=device)
    made = render.mix(
        model, out, rows=rows, columns=columns, layers=layers, label=label, truncation=truncation
    )
    say(f"{made} mixed images in {out}")


@app.command(rich_help_panel=USE)
@signs
def project(
    run: Model,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Image files.")],
    out: Annotated[
        Path,
        typer.Option("--out", help="Folder for an image and a latent (safetensors) per input."),
    ],
    space: Annotated[
        str | None,
        typer.Option(
            help="Latent space: encode, z, w or w+ (default: the encoder, else w, else z)."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=0, help="Number of optimization steps.")] = 500,
    lpips: Annotated[
        str | None, typer.Option(help="Also use LPIPS: alex, vgg, squeeze or squeeze-caffe.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of the LPIPS weights.")] = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = "last",
    device: Device = "cpu",
) -> None:
    """Project images into latent space: find the latents of the nearest images.

    Example: `ganvas project runs/p me.png --out found/`
    """
    from ganvas.inference import render
    from ganvas.inference.load import load

    model = load(run, checkpoint=checkpoint, device=device)
    how: dict[str, Any] = {
        "space": space,
        "steps": steps,
        "net": lpips,
        "weights": weights,
        "seed": seed,
    }
    for row in render.project(model, images, out, **how):
        say("  ".join(f"{k} {v}" for k, v in row.items()))


@app.command(rich_help_panel=INSPECT)
@signs
def attention(
    run: Model,
    out: Annotated[Path, typer.Option("--out", help="Image file of the page.")],
    n: Samples = 6,
    seed: Seed = 0,
    point: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DOWN,ACROSS", help="Query point, each coordinate from 0 to 1. Repeatable."
        ),
    ] = None,
    checkpoint: Checkpoint = "last",
    device: Device = "cpu",
) -> None:
    """Show attention maps: samples, and one map for each query point.

    Example: `ganvas attention runs/sagan --point 0.5,0.5 --out page.png`
    """
    from ganvas.inference import attention_page

    points = attention_page.parsed(point) if point else attention_page.POINTS
    made = attention_page.page(
        run, out, n=n, seed=seed, points=points, checkpoint=checkpoint, device=device
    )
    say(f"attention maps: {made}")
