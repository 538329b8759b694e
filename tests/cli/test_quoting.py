"""Commands that messages suggest quote the paths in them for a shell."""

from __future__ import annotations

import ast
import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "ganvas"
PATHS = {"out", "path", "folder", "run", "run_dir", "file", "where"}
COMMAND = re.compile(r"ganvas [a-z]+\b[^.:;()]*$")


def bare_paths(code: str) -> list[str]:
    """Paths that follow a command in the f-strings of a file as they are."""
    found = []
    for node in ast.walk(ast.parse(code)):
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
                found.append(f"line {node.lineno}: {text[-60:]!r} is followed by {name}")
            text += "VALUE"
    return found


def test_paths_in_suggested_commands_are_quoted() -> None:
    """By `shlex.quote`, in every file that suggests a command."""
    texts = {file: file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py")}
    suggesting = {file: text for file, text in texts.items() if "ganvas " in text}
    assert suggesting
    found = {file: bare_paths(text) for file, text in suggesting.items()}
    assert {file: paths for file, paths in found.items() if paths} == {}


def test_a_bare_path_is_found() -> None:
    assert len(bare_paths("f'Start one: ganvas train {name} --out {out}'")) == 1
    assert bare_paths("f'Start one: ganvas train {name} --out {quote(out)}'") == []
