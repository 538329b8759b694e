"""The command line. Importing this package registers every command on `app`."""

from ganvas.apps.cli import (
    claim,
    data,
    dissect,
    evaluate,
    export,
    generate,
    provenance,
    serve,
    studio,
    train,
    translate,
)
from ganvas.apps.cli.common import app

__all__ = [
    "app",
    "claim",
    "data",
    "dissect",
    "evaluate",
    "export",
    "generate",
    "provenance",
    "serve",
    "studio",
    "train",
    "translate",
]
