"""The first losses of every recipe equal the recorded ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from golden.golden_losses import RECORD, host, losses

KNOWN = json.loads(RECORD.read_text(encoding="utf-8"))
# Steps: what happens at every second one happens twice. Later ones are compared by the
# script, since games amplify rounding.
FEW = 3


@pytest.mark.parametrize("recipe", sorted(KNOWN["losses"]))
def test_losses_are_those_on_record(recipe: str, tmp_path: Path) -> None:
    now, then = losses(recipe, tmp_path / "data", FEW), KNOWN["losses"][recipe][:FEW]
    if host() == KNOWN["host"]:
        assert now == then
    for a, b in zip(now, then, strict=True):
        assert a == pytest.approx(b, rel=2e-3, abs=2e-4)
