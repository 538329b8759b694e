"""The command line. Importing this package registers every command on `app`."""

from ganvas.apps.cli import claim, data, evaluate, export, generate, provenance, serve, train
from ganvas.apps.cli.common import app

__all__ = [
    "app",
    "claim",
    "data",
    "evaluate",
    "export",
    "generate",
    "provenance",
    "serve",
    "train",
]
