"""Commands and their options.

Nothing heavy is imported until a command runs, so that `ganvas --help` is quick.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from ganvas.errors import UserError, printable

app = typer.Typer(
    name="ganvas",
    help="Train adversarial generative models on your own images, measure them, use them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(wanted: bool) -> None:
    if wanted:
        from ganvas import __version__

        _say(f"ganvas {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


data_app = typer.Typer(help="Inspect and prepare data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

SEEDS = 2**63 - 1  # the largest that torch takes
SIDE = 65_536  # pixels, at most
BATCH = 1_000_000  # images, at most
TRUNCATIONS = 100.0  # at most: far beyond those that change nothing

Json = Annotated[bool, typer.Option("--json", help="Print figures as JSON on standard output.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps … (default: the best there is).")]
Precision = Annotated[
    str | None,
    typer.Option(help="fp32, tf32 (CUDA: 10 bits), bf16 (7 bits; weights stay fp32), or auto: bf16 if in hardware."),
]
UsePrecision = Annotated[str, typer.Option("--precision", help="fp32, or bf16: faster, within a gray level or two.")]
Backend = Annotated[str, typer.Option(help="torch, or openvino: faster on processors.")]
Compile = Annotated[
    str | None, typer.Option(metavar="MODE", help="torch.compile the networks: default, reduce-overhead, …")
]
Model = Annotated[Path, typer.Argument(metavar="RUN", help="A run's or a model's folder.")]
Checkpoint = Annotated[str, typer.Option(help="last, best or a number of images.")]
Seed = Annotated[int, typer.Option(min=0, max=SEEDS, help="The same seed gives the same images.")]
Label = Annotated[str | None, typer.Option(help="One class only, by its name, for models trained with labels.")]
Truncation = Annotated[
    float | None,
    typer.Option(max=TRUNCATIONS, help="Variety given up for likelihood: 0.7, say; for methods that know it."),
]
AllClasses = Annotated[
    bool, typer.Option("--all-classes", help="Generate each latent in every class: in a grid, one class a column.")
]
Against = Annotated[str, typer.Option("--against", metavar="DATA", help="Real images to compare with.")]
Features = Annotated[str, typer.Option(help="What pictures are compared by: see ganvas measure.")]
Weights = Annotated[Path | None, typer.Option("--weights", help="The extractor's weights, or their folder.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change any number: --set D.width=32.")
]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Methods and recipes: paper, task, the data each needs.

    Example: `ganvas list`
    """
    from ganvas.listing import rows

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
    from ganvas import training

    model = training.train(
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
    from ganvas import training

    _done(run, training.resume(run, images=images, device=device, set=set or (), data=data))


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
    from ganvas import bundle, provenance

    model = bundle.load(run, checkpoint=checkpoint, device=device or "cpu", precision=precision, backend=backend)
    facts = {**model.facts, "seed": seed, "truncation": truncation}
    labels = None if label is None else [model.class_number(label)] * n
    how: dict[str, Any] = {"seed": seed, "labels": labels, "truncation": truncation, "all_classes": all_classes}
    if out.suffix:
        shape, count = model.info["shape"], n * (model.method.classes if all_classes else 1)
        if 4 * count * shape["channels"] * shape["height"] * shape["width"] > bundle.memory(model.method.device) // 4:
            raise UserError(f"a grid of {count:,} images does not fit in memory; write single files: --out FOLDER")
        made = model.sample(n, **how, output="torch")
        columns = model.method.classes if all_classes else model.columns(n) if label is None else None
        provenance.save(provenance.grid(made, columns, pad=0 if all_classes else 2), out, **facts)
        _say(f"{len(made)} images in {out}")
        return
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out} already has files in it; nothing was written. Choose an empty or a new folder")
    out.mkdir(parents=True, exist_ok=True)
    digits, i = len(str(n * (model.method.classes if all_classes else 1) - 1)), 0
    for part in model.batches(n, **how):
        for image in part:
            provenance.save(provenance.to_pil(image), out / f"{i:0{digits}d}.png", **facts, index=i)
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
    from ganvas.imported import import_model

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
    from ganvas import bundle, using

    model = bundle.load(run, checkpoint=checkpoint, device=device or "cpu")
    how: dict[str, Any] = {"frames": frames, "fps": fps, "loop": loop, "curve": curve}
    made = using.walk(
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
    from ganvas import bundle, using

    model = bundle.load(run, checkpoint=checkpoint, device=device or "cpu")
    made = using.mix(model, out, rows=rows, columns=columns, layers=layers, label=label, truncation=truncation)
    _say(f"{made} mixed images in {out}")


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
    from ganvas import using

    try:
        values = [float(t) for t in truncations.split(",")]
        if not all(0 < t <= TRUNCATIONS for t in values):
            raise ValueError
    except ValueError:
        raise UserError(
            f"--truncations takes numbers above 0 separated by commas, as 0.5,0.7,1; got {truncations!r}"
        ) from None
    how: dict[str, Any] = {"features": features, "weights": weights, "seed": seed, "checkpoint": checkpoint}
    record = using.sweep(run, against, out, truncations=values, n=n, device=device or "cpu", **how)
    for point in record["sweep"]:
        found = point["values"]
        _say(f"truncation {point['truncation']:<5g} precision {found['precision']:.3f}  recall {found['recall']:.3f}")
    _say(f"plot: {out}, record: {out.with_suffix('.json')}")


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
    from ganvas import bundle, using

    model = bundle.load(run, checkpoint=checkpoint, device=device or "cpu")
    how: dict[str, Any] = {"space": space, "steps": steps, "net": lpips, "weights": weights, "seed": seed}
    for row in using.project(model, images, out, **how):
        _say("  ".join(f"{k} {v}" for k, v in row.items()))


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
    from ganvas import using

    how: dict[str, Any] = {"features": features, "weights": weights, "seed": seed, "label": label}
    how |= {"truncation": truncation, "checkpoint": checkpoint, "device": device or "cpu"}
    using.neighbours(run, against, out, n=n, **how)
    _say(f"{n} samples beside their nearest real images in {out}")


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
    from ganvas.masks import Masks
    from ganvas.translating import translate_files

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
        typer.Option(metavar="NAME", help="duplicates, memorisation, accuracy, path-length or stacked-mnist."),
    ] = None,
    device: Device = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the record here, too.")] = None,
    as_json: Json = False,
) -> None:
    """How good it is: distances, precision and recall, copies of training images.

    Example: `ganvas measure runs/p --against photos/ --json`
    """
    from ganvas.measuring import measure as run_measure

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
    from ganvas.comparing import Unlike
    from ganvas.comparing import compare as compared

    try:
        tables = compared(records)
    except Unlike as e:
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
    from ganvas import benching

    found = benching.bench(
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
    _print_json(found) if as_json else _say(*benching.lines(found))


@app.command()
def report(run: RunFolder) -> None:
    """Write a run's report.html again.

    Example: `ganvas report runs/p`
    """
    from ganvas.report import write_report
    from ganvas.runs import read_record

    read_record(run)
    _say(f"report: {write_report(run)}")


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
    from ganvas import attending

    points = attending.parsed(point) if point else attending.POINTS
    made = attending.page(run, out, n=n, seed=seed, points=points, checkpoint=checkpoint, device=device or "cpu")
    _say(f"attention maps: {made}")


@app.command()
def spectra(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="The plot: png, svg or pdf.")],
) -> None:
    """Plot the largest singular values of a run's layers: what moves first when a GAN collapses.

    Example: `ganvas spectra runs/biggan --out plot.png`
    """
    from ganvas import spectra as drawn

    _say(f"singular values: {drawn.plot(run, out)}")


@data_app.command("check")
def data_check(
    data: Annotated[str, typer.Argument(metavar="DATA", help="What you would give to `ganvas train`.")],
    as_json: Json = False,
) -> None:
    """What is there, what is broken, what it can be used for.

    Example: `ganvas data check photos/`
    """
    from ganvas.data import check
    from ganvas.errors import UserError

    found = check(data)
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
    from ganvas import mosaics

    how: dict[str, Any] = {"weights": weights, "blocks": block or (16,), "size": size, "threshold": threshold}
    how |= {"least": least, "test": test, "redact": redact}
    report = mosaics.make(photos, out, network=classifier, wanted=wanted, said=_counted, **how)
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
    from ganvas import pixelwise

    record = pixelwise.compare(a, b, protocol=protocol, lpips=lpips, weights=weights, mask=mask)
    _print_json(record) if as_json else _say(*pixelwise.lines(record))


claim_app = typer.Typer(
    help="Papers' claims as experiments: see them, run them, write their page.", no_args_is_help=True
)
app.add_typer(claim_app, name="claim")


@claim_app.command("list")
def claim_list(as_json: Json = False) -> None:
    """Claims: paper, what it says, and whether the recorded experiment bears it out.

    Example: `ganvas claim list`
    """
    from ganvas.claiming import rows

    found = rows()
    if as_json:
        _print_json(found)
        return
    columns = ["claim", "result", "paper", "sentence"]
    _print_table(columns, [[row[column] for column in columns] for row in found])


@claim_app.command("run")
def claim_run(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME…", help="See `ganvas claim list`.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All claims.")] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many (default: each claim's own).")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the records (docs/claims, or claims).")] = None,
    as_json: Json = False,
) -> None:
    """Run claims and record what they found. One that does not hold is a result; one that cannot run is an error.

    Example: `ganvas claim run inverse-cdf --seeds 3`
    """
    from ganvas import claiming

    records = claiming.run(claiming.chosen(names or (), everything), seeds=seeds, where=out)
    if as_json:
        _print_json(records)
    raise typer.Exit(int(any(r["failures"] for r in records)))


@claim_app.command("report")
def claim_report(
    where: Annotated[Path | None, typer.Option("--from", metavar="DIR", help="Folder of the records.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page (default: README.md there).")
    ] = None,
) -> None:
    """Write the page of all recorded claims, with a plot for each.

    Example: `ganvas claim report`
    """
    from ganvas.claiming import write_report

    _say(f"claims: {write_report(where, out)}")


def _size(text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(p.isdecimal() and 0 < int(p[:9]) <= SIDE for p in parts):
        raise UserError(f"--size takes pixels, at most {SIDE:,} a side, as 64 or as HEIGHTxWIDTH (48x64); got {text!r}")
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


def _done(out: Path, model: Any) -> None:
    from ganvas import ranks

    if ranks.rank() == 0:
        use = _use(out, {**model.info, "scale": model.method.scale})
        _say(f"done. Look at it: {out / 'report.html'}", f"Use it:     {use}")


def _use(model: Path, info: dict[str, Any]) -> str:
    """The command that generates images with a run or a model, given what it is."""
    if info["task"] == "images":
        return shlex.join(["ganvas", "sample", str(model), "-n", "64", "--out", "grid.png"])
    inputs = {"edges": "drawings/", "restore": "mosaics/"}.get(info.get("recipe", ""), "photos/")
    if info.get("scale", 1) > 1:
        inputs = "small/"
    return shlex.join(["ganvas", "translate", str(model), inputs, "--out", "made/"])


def _say(*lines: str, err: bool = False) -> None:
    """Print each argument on one line. Names from outside cannot break it or steer the terminal."""
    for line in lines:
        typer.echo(printable(line), err=err)


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", title=title)
    for name in header:
        table.add_column(printable(name), overflow="fold")
    for row in rows:
        table.add_row(*("\n".join(map(printable, cell.split("\n"))) for cell in row))
    Console(markup=False, emoji=False, highlight=False).print(table)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, default=str))


def _print_record(record: dict[str, Any]) -> None:
    from ganvas.metrics.measure import measurements

    for title, found in measurements(record).items():
        if title:
            _say(f"{title}:")
        for name in found["values"]:
            _say(f"{name:<26} {_figure(found, name)}")
        for further, measured in found.get("also", {}).items():
            for name in measured["values"]:
                _say(f"{f'{further}: {name}':<26} {_figure(measured, name)}")
        protocol, judge = found["protocol"], found.get("judge")
        if judge:
            _say(f"{'recognised by the judge':<26} {judge['fake_confident']:.4g} (real: {judge['real_confident']:.4g})")
        height, width = protocol["image"][1:]
        _say(
            f"over {protocol['extractor']}, {protocol['resizer']}, {protocol['fake']['count']:,} generated against "
            f"{protocol['real']['count']:,} real images ({protocol['real']['part']}), all of {width}x{height} pixels"
        )
        for note in found["notes"]:
            _say(f"note: {note}")


def _figure(measurement: dict[str, Any], name: str) -> str:
    """A value with its interval, for people."""
    value, interval = measurement["values"].get(name), (measurement.get("intervals") or {}).get(name)
    if value is None:
        return "–"
    return f"{value:.4g}" + (f" ({interval[0]:.4g} to {interval[1]:.4g})" if interval else "")
