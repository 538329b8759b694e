"""The command that serves the studio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganvas.apps.cli.common import USE, app, say


@app.command(rich_help_panel=USE)
def studio(
    runs: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUNS",
            help="Folder of runs and models (default: runs/ and the models in zoo/).",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Beyond this machine it needs a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 7860,
    password: Annotated[
        str | None,
        typer.Option(
            envvar="GANVAS_STUDIO_PASSWORD",
            help="Password that visitors give, with any user name. Better set the variable.",
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Open a page to play with models, translate, verify images and train.

    The page is served on this machine and requests nothing from any other.

    Example: `ganvas studio runs/`
    """
    from ganvas.apps.studio.server import serve
    from ganvas.core.errors import UserError

    if runs is not None and not runs.is_dir():
        raise UserError(f"there is no folder {runs}: give the folder of your runs")

    def ready(address: str) -> None:
        say(f"studio: {address}  (Ctrl-C ends it)")
        if open_:
            import webbrowser

            webbrowser.open(address)

    serve(runs, host=host, port=port, password=password, ready=ready)
