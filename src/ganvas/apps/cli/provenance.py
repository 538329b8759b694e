"""`ganvas verify`, and --no-sign and --no-mark of the commands that write images."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ganvas.apps.cli.common import INSPECT, Json, app, print_json, say
from ganvas.core.errors import DataError, UserError, printable

NoSign = Annotated[
    bool,
    typer.Option(
        "--no-sign",
        help="Write images without a signature: changes to them cannot be detected later. The "
        "mark in their metadata remains.",
    ),
]


NoMark = Annotated[
    bool,
    typer.Option(
        "--no-mark",
        help="Write the pixels without an invisible mark: nothing says that they were generated "
        "once another program has saved them. The mark in their metadata remains.",
    ),
]


def signs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that writes images the options --no-sign and --no-mark."""

    @functools.wraps(command)
    def called(
        *arguments: Any, no_sign: bool = False, no_mark: bool = False, **options: Any
    ) -> None:
        if no_sign or no_mark:
            from ganvas.core.environment import say
            from ganvas.media import credentials, invisible_mark

            if no_sign:
                os.environ[credentials.SIGN_VARIABLE] = "0"
                say(f"note: --no-sign: {credentials.LOST}")
            if no_mark:
                os.environ[invisible_mark.MARK_VARIABLE] = "0"
                say(f"note: --no-mark: {invisible_mark.LOST}")
        command(*arguments, **options)

    # typer reads the options of a command from its signature.
    signature = inspect.signature(command, eval_str=True)
    further = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("no_sign", NoSign), ("no_mark", NoMark))
    ]
    parameters = [*signature.parameters.values(), *further]
    called.__dict__["__signature__"] = signature.replace(parameters=parameters)
    called.__annotations__ = {p.name: p.annotation for p in parameters}
    return called


@app.command(rich_help_panel=INSPECT)
def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Images or clips.")],
    as_json: Json = False,
) -> None:
    """Verify the origin of images: signature, marks, changes.

    Exit status: 0 if every file is signed with your key and whole; 3 signed with
    another key; 4 only marked as generated; 5 unknown; 6 changed since it was signed.
    Of several files, the highest; 1 if one cannot be read.

    Example: `ganvas verify grid.png`
    """
    from ganvas.media.verify import PIXELS, STATES
    from ganvas.media.verify import verify as verdict_of

    verdicts, unread = {}, 0
    for file in files:
        try:
            verdict = verdicts[str(file)] = verdict_of(file)
        except DataError as e:
            unread += 1
            say(str(e), err=True)
            continue
        if as_json:
            continue
        facts = [f"{name} {value}" for name, value in verdict.facts.items() if value is not None]
        kind = "generated" if verdict.generated else None
        parts = [kind, verdict.software and f"by {verdict.software}", *facts]
        say(f"{printable(file)}: {STATES[verdict.state][1]}")
        if any(parts):
            say(f"  says: {', '.join(part for part in parts if part)}")
        if verdict.signer:
            say(f"  signer: {verdict.signer}")
        say(f"  pixels: {PIXELS[verdict.pixels]}")
        if verdict.note:
            say(f"  note: {verdict.note}")
    if as_json:
        print_json({f: {**v._asdict(), "facts": dict(v.facts)} for f, v in verdicts.items()})
    if unread:
        raise UserError(f"{unread} of {len(files)} files could not be read, see above")
    status = max(STATES[verdict.state][0] for verdict in verdicts.values())
    if status:
        raise typer.Exit(status)
