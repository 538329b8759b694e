"""Commands that messages suggest quote the paths in them for a shell."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "ganvas"
PATHS = {"out", "path", "folder", "run", "run_dir", "file", "where"}
COMMAND = re.compile(r"ganvas [a-z]+\b[^.:;()]*$")


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.stem)
def test_paths_in_suggested_commands_are_quoted(file: Path) -> None:
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
            assert not (name in PATHS and COMMAND.search(text)), (
                f"line {node.lineno}: {text[-60:]!r} is followed by {name} without shlex.quote"
            )
            text += "VALUE"
