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
Trees = dict[Path, ast.Module]


@pytest.fixture(scope="module")
def trees() -> Trees:
    """Every file of the package, parsed once."""
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


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


def test_imports_point_down(trees: Trees) -> None:
    found = {}
    for file, tree in trees.items():
        package = file.relative_to(SOURCE).parts[0]
        if package in PACKAGES:
            found[file] = imported(tree) - set(PACKAGES[: PACKAGES.index(package) + 1])
    assert {file: packages for file, packages in found.items() if packages} == {}


def test_a_method_reads_alone(trees: Trees) -> None:
    """A paper's file imports neither data nor the engine, and of the papers' only `base`."""
    allowed = {"core", "media", "objectives", "metrics", "nets", "methods"}
    papers = {f: t for f, t in trees.items() if f.parent.name == "methods"}
    found = {f.name: more for f, t in papers.items() if (more := imported(t) - allowed)}
    assert found == {}
    others = [
        f"{file.name}: {node.module}"
        for file, tree in papers.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ganvas.methods.")
        if node.module != "ganvas.methods.base" and file.name != "__init__.py"
    ]
    assert others == []


def test_private_names_stay_in_their_file(trees: Trees) -> None:
    found = [
        f"{file}, line {node.lineno}: {alias.name}"
        for file, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ganvas"
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert found == []


def test_files_are_short_enough_to_read() -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert {file: length for file, length in lengths.items() if length > 400} == {}


def test_a_method_yields_every_update_that_it_builds(trees: Trees) -> None:
    """An `Update` or `Forward` that is built without `yield` would never be performed."""
    found, built = [], 0
    for file, tree in trees.items():
        nodes = list(ast.walk(tree))
        yielded = {id(n.value) for n in nodes if isinstance(n, ast.Yield)}
        for node in nodes:
            name = node.func if isinstance(node, ast.Call) else None
            if isinstance(name, ast.Name) and name.id in ("Update", "Forward"):
                built += 1
                if id(node) not in yielded:
                    found.append(f"{file}, line {name.lineno}: {name.id} without a yield")
    assert built > 0
    assert found == []


def test_no_import_cycle(trees: Trees) -> None:
    """Imports at the top of files form no cycle."""
    graph: dict[str, set[str]] = {}
    modules = {}
    for file, tree in trees.items():
        parts = file.relative_to(SOURCE.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = tree
    for name, tree in modules.items():
        out = set()
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
