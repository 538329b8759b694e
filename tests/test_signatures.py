"""Types in place of guesses: no `Any` in a public signature, no `hasattr`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ganvas"
FILES = sorted(SOURCE.rglob("*.py"))
# Packages that look at objects by `hasattr`. Remove one once it needs it no more; add none.
HASATTR_NOT_YET = {"__main__"}
# Special methods that callers know by name; the others, Python calls.
CALLED = ("__init__", "__call__")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_public(name: str) -> bool:
    return not name.startswith("_") or name in CALLED


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Functions of a module and methods of its classes, nested classes included."""
    waiting: list[tuple[str, ast.AST]] = [("", node) for node in tree.body]
    while waiting:
        prefix, node = waiting.pop()
        if isinstance(node, ast.If | ast.Try):  # definitions that depend on the platform
            waiting += [(prefix, child) for child in ast.iter_child_nodes(node)]
        elif isinstance(node, ast.ClassDef) and is_public(node.name):
            waiting += [(f"{prefix}{node.name}.", child) for child in node.body]
        elif isinstance(node, Function) and is_public(node.name):
            yield prefix + node.name, node


def signature(function: Function) -> Iterator[tuple[str, ast.expr | None]]:
    """(parameter or "return", annotation) of a signature, without self and cls."""
    arguments = function.args
    ordered = [*arguments.posonlyargs, *arguments.args]
    static = any(
        isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list
    )
    if ordered and ordered[0].arg in ("self", "cls") and not static:
        ordered = ordered[1:]
    further = [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
    for argument in [*ordered, *arguments.kwonlyargs, *further]:
        yield argument.arg, argument.annotation
    yield "return", function.returns


def has_any(annotation: ast.expr) -> bool:
    """Whether `Any` occurs in an annotation, also within text."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name) and node.id == "Any":
            return True
        if isinstance(node, ast.Attribute) and node.attr == "Any":
            return True
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                if has_any(ast.parse(node.value, mode="eval").body):
                    return True
            except SyntaxError:  # a value of Literal
                continue
    return False


def faults(tree: ast.Module) -> list[str]:
    """Parameters and results of public functions that are `Any` or have no annotation."""
    return [
        f"line {function.lineno}: {name}, {what}"
        for name, function in public_functions(tree)
        for what, annotation in signature(function)
        if annotation is None or has_any(annotation)
    ]


def package(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def test_public_signatures_have_types() -> None:
    found = {file: faults(ast.parse(file.read_text(encoding="utf-8"))) for file in FILES}
    assert {file: what for file, what in found.items() if what} == {}


def test_no_hasattr() -> None:
    """A protocol with `isinstance`, or an attribute that always exists, says more."""
    texts = {file: file.read_text(encoding="utf-8") for file in FILES}
    users = {
        package(file)
        for file, text in texts.items()
        if "hasattr" in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Name) and node.id == "hasattr"
    }
    assert users == HASATTR_NOT_YET, "remove packages that need it no more; add none"


@pytest.mark.parametrize(
    "code",
    [
        "def f(x: Any) -> int: ...",
        "def f(*x: Any) -> int: ...",
        "def f(**x: dict[str, Any]) -> int: ...",
        "def f(*, x: int | typing.Any) -> int: ...",
        "def f(x: 'list[Any]') -> int: ...",
        "def f() -> Callable[..., Any]: ...",
        "def f(x) -> int: ...",
        "def f(): ...",
        "class A:\n    def __init__(self, x: Any) -> None: ...",
        "class A:\n    class B:\n        def f(self) -> Any: ...",
        "class A:\n    @staticmethod\n    def f(x: Any) -> None: ...",
        "if True:\n    def f() -> Any: ...",
    ],
)
def test_a_fault_is_found(code: str) -> None:
    assert len(faults(ast.parse(code))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "def _f(x: Any) -> Any: ...",
        "class _A:\n    def f(self) -> Any: ...",
        "class A:\n    def __getattr__(self, name: str) -> Any: ...",
        "class A:\n    def f(self, x: Literal['not a type']) -> None: ...",
        "def f() -> None:\n    x: Any = 1",
    ],
)
def test_what_is_not_public_is_free(code: str) -> None:
    assert faults(ast.parse(code)) == []
