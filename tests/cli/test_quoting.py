"""Commands that messages suggest quote the paths in them for a shell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "ganvas"
PATHS = {"out", "path", "folder", "run", "run_dir", "file", "where"}
COMMAND = re.compile(r"ganvas [a-z]+\b[^.:;()]*$")


def bare_paths(file: Path) -> Iterator[str]:
    """Descriptions of paths that follow a suggested command without shlex.quote."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.JoinedStr):
            continue
        text = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                text += str(part.value)
                continue
            bare = isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name)
            name = part.value.id if bare else ""  # type: ignore[union-attr]
            if name in PATHS and COMMAND.search(text):
                yield f"{file}:{node.lineno}: {name} after {text[-60:]!r}"
            text += "VALUE"


def test_paths_in_suggested_commands_are_quoted() -> None:
    assert not [found for file in SOURCE.rglob("*.py") for found in bare_paths(file)]
