"""The floors of docs/architecture.md, held over the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ganvas"
BASE = {"core", "draw", "ranks", "errors", "imresize", "colour", "jsonfile", "metadevice"}
MAY_SEE = {  # folder or file -> what it may import of ours
    "core": set(),
    "draw": set(),
    "ranks": {"errors"},
    "errors": set(),
    "jsonfile": {"errors"},
    "metadevice": {"errors"},
    "imresize": {"errors"},
    "colour": set(),
    "schedules": {"core"},
    "objectives": BASE | {"objectives"},
    "nets": BASE | {"nets"},
    "data": BASE | {"data"},
    "engine": BASE | {"engine"},
    "metrics": BASE | {"metrics"},
    "methods": BASE | {"nets", "objectives"},
    "recipes": BASE | {"schedules", "data", "methods", "nets", "recipes"},
    "config": BASE,
    "claims": BASE
    | {"objectives", "nets", "data", "engine", "methods", "recipes", "metrics", "schedules", "config", "claims"},
    "inspect": BASE | {"inspect"},
    "provenance": BASE,
    "large": BASE,
    "report": BASE | {"metrics", "provenance", "spectra"},
    "importing": BASE | {"nets", "importing"},
}


def imports(tree: ast.Module) -> set[str]:
    """What a file imports of ours: first names below `ganvas`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{a.name}" for a in node.names} if node.module == "ganvas" else {node.module}
    return {n.split(".")[1] for n in names if n.startswith("ganvas.")} - {"__version__"}


files = sorted(p for p in SOURCE.rglob("*.py"))


@pytest.mark.parametrize("file", files, ids=[str(f.relative_to(SOURCE)) for f in files])
def test_floors(file: Path) -> None:
    place = file.relative_to(SOURCE).parts[0].removesuffix(".py")
    tree = ast.parse(file.read_text())
    if place in MAY_SEE:
        seen = imports(tree)
        if place == "methods" and file.name == "__init__.py":
            seen -= {"methods"}
        assert seen <= MAY_SEE[place], f"{place} sees {sorted(seen - MAY_SEE[place])}"
    yielded = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Yield)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Update", "Make"):
            assert id(node) in yielded, f"line {node.lineno}: {node.func.id} without a yield is never performed"
