"""The command line. Importing this package registers every command on `app`."""

from ganvas.apps.cli import claim, data, evaluate, generate, studio, train
from ganvas.apps.cli.common import app

__all__ = ["app", "claim", "data", "evaluate", "generate", "studio", "train"]
