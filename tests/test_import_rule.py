"""The import rule of docs/architecture.md: each package may import only those before it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ganvas"
PACKAGES = (
    "core",
    "media",
    "objectives",
    "metrics",
    "nets",
    "data",
    "engine",
    "methods",
    "recipes",
    "inference",
    "evaluation",
    "training",
    "claims",
    "apps",
)
FILES = sorted(SOURCE.rglob("*.py"))


def imported(tree: ast.Module) -> set[str]:
    """The packages of ganvas that a file imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "ganvas":
            names |= {f"ganvas.{a.name}" for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {n.split(".")[1] for n in names if n.startswith("ganvas.")} - {"__version__"}


def test_the_house_has_these_rooms_and_no_others() -> None:
    found = {p.name for p in SOURCE.iterdir() if p.name != "__pycache__"}
    assert found == {*PACKAGES, "__init__.py", "__main__.py"}


@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(SOURCE)) for f in FILES])
def test_imports_point_down(file: Path) -> None:
    package = file.relative_to(SOURCE).parts[0]
    if package not in PACKAGES:
        return
    allowed = set(PACKAGES[: PACKAGES.index(package) + 1])
    assert imported(ast.parse(file.read_text())) <= allowed


@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(SOURCE)) for f in FILES])
def test_private_names_stay_in_their_file(file: Path) -> None:
    nodes = ast.walk(ast.parse(file.read_text()))
    froms = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module]
    ours = [n for n in froms if n.module and n.module.split(".")[0] == "ganvas"]
    names = [alias.name for n in ours for alias in n.names]
    assert [n for n in names if n.startswith("_") and not n.startswith("__")] == []


@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(SOURCE)) for f in FILES])
def test_files_are_short_enough_to_read(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 400


@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(SOURCE)) for f in FILES])
def test_a_method_yields_every_update_that_it_builds(file: Path) -> None:
    """An `Update` or `Forward` that is built without `yield` would never be performed."""
    tree = ast.parse(file.read_text())
    yielded = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Yield)}
    for node in ast.walk(tree):
        name = node.func if isinstance(node, ast.Call) else None
        if isinstance(name, ast.Name) and name.id in ("Update", "Forward"):
            assert id(node) in yielded, f"line {name.lineno}: {name.id} without a yield"


def test_no_import_cycle() -> None:
    """Imports at the top of files form no cycle."""
    graph: dict[str, set[str]] = {}
    modules = {}
    for file in FILES:
        parts = file.relative_to(SOURCE.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    for name, file in modules.items():
        tree, out = ast.parse(file.read_text()), set()
        for node in tree.body:
            if isinstance(node, ast.Import):
                out |= {a.name for a in node.names if a.name in modules}
            elif isinstance(node, ast.ImportFrom) and node.module in modules:
                inner = {f"{node.module}.{a.name}" for a in node.names}
                out |= (inner & modules.keys()) or {node.module}
        graph[name] = out - {name}
    state: dict[str, int] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if state.get(name) == 2:
            return
        assert state.get(name) != 1, f"import cycle: {' -> '.join([*path, name])}"
        state[name] = 1
        for other in sorted(graph[name]):
            visit(other, (*path, name))
        state[name] = 2

    for name in graph:
        visit(name, ())
