"""The command-line application and the options that commands share.

Heavy imports stay inside the commands, so that `ganvas --help` is quick.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ganvas.core.errors import printable

if TYPE_CHECKING:
    from ganvas.evaluation.records import Column, Record
    from ganvas.inference.model import Model as TrainedModel

# Panels of `ganvas --help`, in this order.
TRAIN, USE, INSPECT, EVALUATE, DATA, CLAIMS = PANELS = (
    "Train",
    "Use",
    "Inspect",
    "Evaluate",
    "Data",
    "Claims",
)
# The commands that most people need, first in their panels in this order.
COMMON = (
    "train",
    "resume",
    "status",
    "sample",
    "translate",
    "studio",
    "serve",
    "walk",
    "mix",
    "project",
    "report",
    "monitor",
    "verify",
    "measure",
    "compare",
)


class _Commands(TyperGroup):
    """The commands of `ganvas --help` in the order of their panels."""

    def list_commands(self, ctx: Any) -> list[str]:
        def place(name: str) -> tuple[int, int]:
            panel = PANELS.index(getattr(self.commands[name], "rich_help_panel", TRAIN))
            return panel, COMMON.index(name) if name in COMMON else len(COMMON)

        return sorted(super().list_commands(ctx), key=place)


app = typer.Typer(
    name="ganvas",
    cls=_Commands,
    help="Train generative adversarial networks on your own images; use and evaluate them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(wanted: bool) -> None:
    if wanted:
        from ganvas import __version__

        say(f"ganvas {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


data_app = typer.Typer(help="Check and prepare data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data", rich_help_panel=DATA)
SEEDS = 2**63 - 1  # largest random seed of torch
BATCH = 1_000_000  # images, at most
TRUNCATIONS = 100.0  # largest truncation; values above 1 are rarely of use
Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
TrainDevice = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda, cuda:1, mps … (default: the fastest available)."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps ….")]
Precision = Annotated[
    str | None,
    typer.Option(
        help="fp32, tf32 (CUDA), bf16 (weights stay fp32), or auto: bf16 if the hardware has it."
    ),
]
UsePrecision = Annotated[
    str,
    typer.Option("--precision", help="fp32, or bf16: faster, differs by one or two gray levels."),
]
Backend = Annotated[str, typer.Option(help="torch, or openvino: faster on CPUs.")]
Compile = Annotated[
    str | None,
    typer.Option(
        metavar="MODE", help="Compile the networks with torch.compile: default, reduce-overhead, …"
    ),
]
Model = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder or model folder.")]
Checkpoint = Annotated[
    str, typer.Option(help="Which checkpoint: last, best, or a number of images.")
]
Seed = Annotated[
    int, typer.Option(min=0, max=SEEDS, help="Random seed; the same seed gives the same images.")
]
Samples = Annotated[int, typer.Option("-n", min=1, max=1000, help="Number of samples.")]
Label = Annotated[
    str | None,
    typer.Option(help="Generate only this class (name), if the model was trained with labels."),
]
Truncation = Annotated[
    float | None,
    typer.Option(
        max=TRUNCATIONS,
        help="Truncation psi, e.g. 0.7: better quality, less variety; if the method supports it.",
    ),
]
AllClasses = Annotated[
    bool,
    typer.Option(
        "--all-classes",
        help="Generate every latent in all classes; in a grid, one class per column.",
    ),
]
Against = Annotated[
    str, typer.Option("--against", metavar="DATA", help="Real images for the comparison.")
]
Features = Annotated[str, typer.Option(help="Feature extractor; see `ganvas measure --help`.")]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="Weights file of the feature extractor, or its folder."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change any number of the recipe, e.g. --set D.width=32. Repeatable.",
    ),
]
claim_app = typer.Typer(
    help="Reproduce claims of papers: list them, run the experiments, write the report.",
    no_args_is_help=True,
)
app.add_typer(claim_app, name="claim", rich_help_panel=CLAIMS)


def report_done(out: Path, model: TrainedModel) -> None:
    """Report the end of training and what to do next."""
    from ganvas.core import distributed

    if distributed.rank() == 0:
        use = usage_of(out, {**model.info, "scale": model.method.upscale})
        say(f"done. Report: {out / 'report.html'}", f"Use it:       {use}")


def usage_of(model: Path, info: Mapping[str, object]) -> str:
    """The command that generates images with a run or a model, given its facts."""
    if info["task"] == "images":
        return shlex.join(["ganvas", "sample", str(model), "-n", "64", "--out", "grid.png"])
    inputs = {"edges": "drawings/", "restore": "mosaics/"}.get(str(info.get("recipe")), "photos/")
    if info.get("scale", 1) != 1:
        inputs = "small/"
    return shlex.join(["ganvas", "translate", str(model), inputs, "--out", "translated/"])


def say(*lines: str, err: bool = False) -> None:
    """Print each argument on one line, without control characters."""
    for line in lines:
        typer.echo(printable(line), err=err)


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None
) -> None:
    """Print rows of text in columns."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", title=title, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(printable(name), overflow="fold", no_wrap=i == 0)
    for row in rows:
        table.add_row(*("\n".join(map(printable, cell.split("\n"))) for cell in row))
    console = Console(markup=False, emoji=False, highlight=False)
    if console.is_terminal:
        console.print(table)
        return
    console.width = 10_000  # other programs read lines: a row is one, of any width
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def print_json(value: object) -> None:
    """Print a value as JSON; paths and other objects as text."""
    typer.echo(json.dumps(value, indent=1, default=str))


def print_record(record: Record) -> None:
    """Print the record of a measurement for people."""
    from ganvas.metrics.suite import measurements

    for title, found in measurements(record).items():
        if title:
            say(f"{title}:")
        for name in found["values"]:
            say(f"{name:<26} {figure_text(found, name)}")
        for further, measured in found.get("also", {}).items():
            for name in measured["values"]:
                say(f"{f'{further}: {name}':<26} {figure_text(measured, name)}")
        protocol = found["protocol"]
        height, width = protocol["image"][1:]
        say(
            f"over {protocol['extractor']}, {protocol['resizer']}, "
            f"{protocol['fake']['count']:,} generated against {protocol['real']['count']:,} real "
            f"images ({protocol['real']['part']}), all at {width}x{height} pixels"
        )
        for note in found["notes"]:
            say(f"note: {note}")


def figure_text(measurement: Record | Column, name: str) -> str:
    """A value with its interval, as text."""
    value, interval = (
        measurement["values"].get(name),
        (measurement.get("intervals") or {}).get(name),
    )
    if value is None:
        return "–"
    return f"{value:.4g}" + (f" ({interval[0]:.4g} to {interval[1]:.4g})" if interval else "")
