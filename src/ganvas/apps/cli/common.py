"""Commands and their options.

Nothing heavy is imported until a command runs, so that `ganvas --help` is quick.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ganvas.core.errors import UserError, printable

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
claim_app = typer.Typer(
    help="Papers' claims as experiments: see them, run them, write their page.", no_args_is_help=True
)
app.add_typer(claim_app, name="claim")


def _size(text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(p.isdecimal() and 0 < int(p[:9]) <= SIDE for p in parts):
        raise UserError(f"--size takes pixels, at most {SIDE:,} a side, as 64 or as HEIGHTxWIDTH (48x64); got {text!r}")
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


def _done(out: Path, model: Any) -> None:
    from ganvas.core import distributed

    if distributed.rank() == 0:
        use = _use(out, {**model.info, "scale": model.method.upscale})
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
    from ganvas.metrics.suite import measurements

    for title, found in measurements(record).items():
        if title:
            _say(f"{title}:")
        for name in found["values"]:
            _say(f"{name:<26} {_figure(found, name)}")
        for further, measured in found.get("also", {}).items():
            for name in measured["values"]:
                _say(f"{f'{further}: {name}':<26} {_figure(measured, name)}")
        protocol = found["protocol"]
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
