"""The names that bench/tricks.py replaces exist."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def test_every_replaced_name_exists() -> None:
    path = Path(__file__).parents[2] / "bench" / "tricks.py"
    spec = importlib.util.spec_from_file_location("tricks", path)
    assert spec is not None
    assert spec.loader is not None
    tricks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tricks)
    for trick, replaced in tricks.undone().items():
        for owner, name, _ in replaced:
            assert hasattr(owner, name), f"{trick}: {owner} has no {name}"
