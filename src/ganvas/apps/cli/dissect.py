"""Commands for the units of generators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganvas.apps.cli.common import (
    INSPECT,
    USE,
    Checkpoint,
    Device,
    Json,
    Label,
    Model,
    Samples,
    Seed,
    Truncation,
    app,
    print_json,
    print_table,
    say,
)
from ganvas.apps.cli.provenance import signs


@app.command(rich_help_panel=INSPECT)
@signs
def dissect(
    run: Model,
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Page (units.html); the record is written beside it (units.json)."
        ),
    ],
    concept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="Rule on pixels: ink, background, hole, edge, bright, dark, white, black, red, "
            "green, blue, yellow, cyan or magenta; at a place, as ink@top (bottom, left, right, "
            "center). Repeatable (default: those that suit the model).",
        ),
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option(
            help="Classifier whose maps of --class are concepts: squeezenet, mobilenet-v2, or a "
            "folder of transformers or with an ONNX file."
        ),
    ] = None,
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="CLASS", help="Class of the classifier. Repeatable."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Weights of the classifier, or their folder.")
    ] = None,
    segmenter: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Trained model that translates images to label maps."),
    ] = None,
    segment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=RRGGBB", help="Label of the segmenter, as sky=87CEEB. Repeatable."
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="Only this layer. Repeatable (default: all)."),
    ] = None,
    optimize: Annotated[
        bool,
        typer.Option("--optimize", help="Rank units by their causal effect; takes longer."),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Real images: also find units of artifacts."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=16, max=1_000_000, help="Number of samples.")] = 500,
    seed: Seed = 0,
    checkpoint: Checkpoint = "last",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Match the units of a generator with concepts; write a page with their images.

    Example: `ganvas dissect runs/p --concept ink --concept hole --out units.html`
    """
    from ganvas.evaluation.units_page import concepts_of, units_page

    concepts = concepts_of(
        concept or (),
        classifier=classifier,
        classes=class_ or (),
        weights=weights,
        segmenter=segmenter,
        labels=segment or (),
    )
    record = units_page(
        run,
        out,
        concepts=concepts or (),
        n=n,
        seed=seed,
        only=layer or (),
        optimize=optimize,
        against=against,
        checkpoint=checkpoint,
        device=device,
    )
    if as_json:
        print_json(record)
        return
    columns = ("layer", "units", "matched", "by_chance", "beyond_chance")
    print_table(
        [name.replace("_", " ") for name in columns],
        [[str(found[name]) for name in columns] for found in record["layers"]],
    )
    for edit in record["edits"]:
        units = ", ".join(map(str, edit["units"]))
        say(f"{edit['concept']}: units {units} of {edit['layer']}")
    say(f"page: {out}, record: {out.with_suffix('.json')}")


@app.command(rich_help_panel=USE)
@signs
def edit(
    run: Model,
    units: Annotated[
        Path, typer.Option("--units", metavar="RECORD", help="Record of `ganvas dissect`.")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Image file: samples above, edited samples below.")
    ],
    add: Annotated[
        list[str] | None, typer.Option(metavar="CONCEPT", help="Add a concept. Repeatable.")
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONCEPT", help="Remove a concept, or artifacts if they were found. Repeatable."
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Point DOWN,ACROSS or corners DOWN,ACROSS,DOWN,ACROSS, each from 0 to 1 (default: "
            "everywhere).",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Number of units of each concept (default: all of the record)."),
    ] = None,
    n: Samples = 8,
    seed: Seed = 0,
    label: Label = None,
    truncation: Truncation = None,
    checkpoint: Checkpoint = "last",
    device: Device = "cpu",
) -> None:
    """Add or remove a concept in samples, at a place or everywhere, by its units.

    Example: `ganvas edit runs/p --units units.json --remove ink --out page.png`
    """
    from ganvas.core.guards import plural
    from ganvas.inference import editing
    from ganvas.inference.load import load

    at_place = editing.place(at)
    model = load(run, checkpoint=checkpoint, device=device)
    editing.page(
        model,
        units,
        out,
        add=add or (),
        remove=remove or (),
        at=at_place,
        count=count,
        n=n,
        seed=seed,
        label=label,
        truncation=truncation,
    )
    say(f"{plural(n, 'sample')} before and after the edit in {out}")
