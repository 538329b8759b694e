"""The attacks on the command line: damage is repeatable, and wrong ends are recognized."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import attack
import pytest
from attack import Attempt, Ended

PAGE = Path(__file__).parents[2] / "docs" / "src" / "reliability.md.in"


@pytest.mark.parametrize(
    ("ended", "right"),
    [
        (Ended(0, "", "", False), True),
        (Ended(1, "", "error: x.png is no image", False), True),
        (Ended(1, "", "", False), False),  # silence
        (Ended(70, "", "error: KeyError. This is a defect", False), False),
        (Ended(-9, "", "killed", False), False),
        (Ended(0, "", "", True), False),
        (Ended(1, "", "Traceback (most recent call last):\nKeyError", False), False),
    ],
)
def test_right_ends(ended: Ended, right: bool) -> None:
    assert ended.right is right


def test_damage_is_repeatable_and_changes_something() -> None:
    data = bytes(range(256)) * 4
    seeds = range(100)
    made = [attack.damaged(data, random.Random(seed)) for seed in seeds]
    assert made == [attack.damaged(data, random.Random(seed)) for seed in seeds]
    assert sum(one != data for one in made) > 90
    record = {"a": [1, {"b": 2.0}], "c": "text"}
    texts = [attack.damaged_json(record, random.Random(seed)) for seed in seeds]
    assert len(set(texts)) > 20
    assert record == {"a": [1, {"b": 2.0}], "c": "text"}


def test_checksums_are_mended() -> None:
    png = attack.encoded(attack.picture(0), "PNG")
    assert attack.with_checksums(png) == png


def test_an_attempt_is_a_process_of_its_own(tmp_path: Path) -> None:
    ended = Attempt(["compare", "none.json", "none.json"], tmp_path).end()
    assert ended.status == 1
    assert "none.json" in ended.err
    assert ended.right


def test_the_page_shows_every_attack_of_the_record() -> None:
    record = json.loads(attack.RESULTS.read_text())
    shown = set(re.findall(r"reliability\.json attacks\.(\w+)\.tried", PAGE.read_text()))
    assert set(record["attacks"]) == set(attack.ATTACKS) == shown
