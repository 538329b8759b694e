"""Commands for claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganvas.apps.cli.common import Json, _print_json, _print_table, _say, claim_app


@claim_app.command("list")
def claim_list(as_json: Json = False) -> None:
    """Claims: paper, what it says, and whether the recorded experiment bears it out.

    Example: `ganvas claim list`
    """
    from ganvas.claims.runner import rows

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
    from ganvas.claims import runner

    records = runner.run(runner.chosen(names or (), everything), seeds=seeds, where=out)
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
    from ganvas.claims.page import write_report

    _say(f"claims: {write_report(where, out)}")
