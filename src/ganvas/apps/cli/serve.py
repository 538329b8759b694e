"""`ganvas serve`: models over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from ganvas.apps.cli.common import USE, Backend, Checkpoint, Device, UsePrecision, app, say
from ganvas.apps.cli.provenance import signs
from ganvas.apps.service.limits import Limits
from ganvas.core.errors import UserError

LIMITS = Limits()


@app.command(rich_help_panel=USE)
@signs
def serve(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL…", help="Runs or models, each as PATH or NAME=PATH."),
    ],
    host: Annotated[
        str,
        typer.Option(
            help="Address; one that other computers can reach needs a token in GANVAS_TOKEN."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8000,
    max_pixels: Annotated[
        int, typer.Option(min=64, help="Pixels of an upload and of an answer, at most.")
    ] = LIMITS.pixels,
    max_bytes: Annotated[
        int, typer.Option(min=1024, help="Bytes of an upload, at most.")
    ] = LIMITS.size,
    max_images: Annotated[
        int, typer.Option(min=1, help="Images of one request for samples, at most.")
    ] = LIMITS.images,
    max_queue: Annotated[
        int, typer.Option(min=1, help="Images that wait, at most; then the answer is 429.")
    ] = LIMITS.queue,
    timeout: Annotated[
        float, typer.Option(min=1, max=86400, help="Seconds of an upload and of an answer.")
    ] = LIMITS.seconds,
    checkpoint: Checkpoint = "last",
    device: Device = "cpu",
    precision: UsePrecision = "fp32",
    backend: Backend = "torch",
) -> None:
    """Serve models over HTTP: samples, translations, health, metrics, OpenAPI.

    Needs the packages of the extra `serve`. See docs/serving.md.

    Example: `ganvas serve runs/p --port 8000`
    """
    from ganvas.core.guards import plural

    try:
        from ganvas.apps.service.server import serve as run
    except ModuleNotFoundError as e:
        if (e.name or "").startswith("ganvas"):
            raise
        raise UserError(
            f"ganvas serve needs the package {e.name}: pip install 'ganvas[serve]'"
        ) from None
    run(
        models,
        host=host,
        port=port,
        limits=Limits(
            pixels=max_pixels,
            size=max_bytes,
            images=max_images,
            queue=max_queue,
            seconds=timeout,
        ),
        checkpoint=checkpoint,
        device=device,
        precision=precision,
        backend=backend,
        ready=lambda address, count: say(f"serving {plural(count, 'model')} at {address}"),
    )
