"""Arguments of another type than annotated are named, before anything begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import ganvas
from ganvas.core.arguments import checked
from ganvas.core.errors import UserError
from ganvas.core.sizes import parse_size


@checked
def called(a: int, *rest: str, b: Literal["x"] | None = None, c: Path | str = "") -> list[object]:
    return [a, *rest, b, c]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": "4"}, "a takes int; got '4'"),
        ({"a": True}, "a takes int; got True"),
        ({"a": 1, "b": "y"}, "b takes 'x' or None; got 'y'"),
        ({"a": 1, "c": 2}, "c takes Path or str; got 2"),
    ],
)
def test_wrong_types_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as e:
        called(**given)
    assert str(e.value) == message
    with pytest.raises(TypeError):
        called()  # pyright: ignore[reportCallIssue]


def test_numbers_of_numpy_become_those_of_python() -> None:
    a, *rest = called(np.int64(3), "r", c=Path("p"))  # pyright: ignore[reportArgumentType]
    assert (type(a), rest) == (int, ["r", None, Path("p")])


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 16.0},
        {"size": "64y"},
        {"size": 0},
        {"images": "200"},
        {"batch": "32"},
        {"batch": 0},
        {"seed": "x"},
        {"minutes": "1"},
        {"keep": 0},
        {"on_snapshot": "a"},
        {"best": "beauty"},
        {"start_from": 3},
        {"device": "gpu"},
        {"precision": "fp16"},
        {"on_collapse": "ignore"},
    ],
    ids=str,
)
def test_a_training_refuses_them_early(wrong: dict[str, Any], tmp_path: Path) -> None:
    (name,) = wrong
    with pytest.raises(UserError, match=name):
        ganvas.train("dcgan", tmp_path / "none", out=tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "call",
    [
        lambda: ganvas.load("x", checkpoint=1.5),  # pyright: ignore[reportArgumentType]
        lambda: ganvas.measure("x", "y", part="all"),  # pyright: ignore[reportArgumentType]
        lambda: ganvas.resume(3),  # pyright: ignore[reportArgumentType]
    ],
)
def test_other_functions_refuse_them(call: Callable[[], object]) -> None:
    with pytest.raises(UserError, match=r"takes .*; got"):
        call()


def test_one_form_of_sizes() -> None:
    assert [parse_size(s) for s in (None, 64, "64", "48X64", [48, 64])] == [
        None,
        64,
        64,
        (48, 64),
        (48, 64),
    ]
    for wrong in ("", "x", "1x2x3", "-4", "64.0", 0, (1, 2, 3), (8, 0), 1 << 20):
        with pytest.raises(UserError, match="size takes pixels"):
            parse_size(wrong)
