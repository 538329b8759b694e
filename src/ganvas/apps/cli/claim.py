"""Commands for claims of papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganvas.apps.cli.common import Json, claim_app, print_json, print_table, say


@claim_app.command("list")
def claim_list(as_json: Json = False) -> None:
    """List the claims: paper, statement, and result of the recorded experiment.

    Example: `ganvas claim list`
    """
    from ganvas.claims.runner import rows

    found = rows()
    if as_json:
        print_json(found)
        return
    columns = ["claim", "result", "paper", "sentence"]
    print_table(columns, [[str(row[column]) for column in columns] for row in found])


@claim_app.command("run")
def claim_run(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME…", help="Claims; see `ganvas claim list`.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Run all claims.")] = False,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Number of random seeds (default: that of each claim)."),
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(
            min=0, help="The first seed (default: that of each claim): others check a verdict."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the records (default: docs/claims or claims)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run claims and record the results. A failed experiment exits with status 1.

    A claim that does not hold is a result, not a failure.

    Example: `ganvas claim run inverse-cdf --seeds 3 --first 10 --out fresh`
    """
    from ganvas.claims import runner

    chosen = runner.chosen(names or (), everything)
    records = runner.run(chosen, seeds=seeds, first=first, where=out)
    if as_json:
        print_json(records)
    raise typer.Exit(int(any(r["failures"] for r in records)))


@claim_app.command("report")
def claim_report(
    where: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Folder of the records.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Page file (default: README.md in the folder of the records).",
        ),
    ] = None,
) -> None:
    """Write the page of all recorded claims, with a plot for each.

    Example: `ganvas claim report`
    """
    from ganvas.claims.page import write_report

    say(f"claims: {write_report(where, out)}")
