"""Every record says what wrote it: the command, the commit and the machine."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import origin
import pytest

ROOT = Path(__file__).parents[2]
RECORDS = sorted(
    str(p.relative_to(ROOT)) for at in ("bench", "docs") for p in (ROOT / at).glob("results/*.json")
)
FIELDS = ("command", "commit", "machine")
# Records from before the scripts wrote these fields. Their pages say so; values that are
# not known are not invented. A record that is written again leaves this list.
MISSING = {
    "bench/results/checkpoints.json": {"command"},
    "bench/results/equal_time.json": {"command"},
    "bench/results/large.json": {"command"},
    "bench/results/loader.json": {"command", "commit"},
    "bench/results/monitor.json": {"command"},
    "bench/results/precision.json": {"command"},
    "bench/results/preemption.json": {"command"},
    "bench/results/roundtrip.json": {"command"},
    "bench/results/science.json": {"command"},
    "bench/results/two_nodes.json": {"command"},
    "bench/results/versions.json": {"command"},
    "docs/results/fashion_mnist.json": {"command"},
    "docs/results/rose2tulip.json": {"command"},
    "docs/results/rose_and_tulip.json": {"command"},
}
# Commits that no repository has: their branches were rewritten before they were merged.
LOST = {
    "bench/results/gallery.json": {"7e463e901387076199cbe7551727e1e58d4c521e"},
    "bench/results/large.json": {"3cc84a7da862a174ae8428d6ff2893c589f963ef"},
}
# Of source files that were changed since the commit.
DIRTY = {"bench/results/busy_cores.json", "bench/results/gallery.json"}


def holds(record: Any, field: str) -> bool:
    """Whether a record has a field, or each of its entries has."""
    if not isinstance(record, dict):
        return False
    if record.get(field) or (field == "commit" and "commits" in record):
        return True
    entries = [v for k, v in record.items() if isinstance(v, dict) and k != "commits"]
    return bool(entries) and all(holds(entry, field) for entry in entries)


def commits(value: Any, name: str = "") -> Iterator[str]:
    """The commits of ganvas in a record; those of references are of other repositories."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key != "reference":
                yield from commits(part, "commit" if name == "commits" else key)
    elif isinstance(value, list):
        for part in value:
            yield from commits(part)
    elif name == "commit" and isinstance(value, str):
        yield value


@pytest.mark.parametrize("path", RECORDS)
def test_a_record_says_what_wrote_it(path: str) -> None:
    record = json.loads((ROOT / path).read_text())
    missing = {field for field in FIELDS if not holds(record, field)}
    assert missing == MISSING.get(path, set())


def test_the_exceptions_are_records() -> None:
    assert {*MISSING, *LOST, *DIRTY} <= set(RECORDS)


@pytest.mark.parametrize("path", RECORDS)
def test_commits_are_whole_or_named_as_exceptions(path: str) -> None:
    found = set(commits(json.loads((ROOT / path).read_text())))
    assert all(re.fullmatch(r"[0-9a-f]{7,40}(-dirty|\+)?", one) for one in found)
    assert any(one.endswith(("-dirty", "+")) for one in found) == (path in DIRTY)


def test_commits_exist() -> None:
    git = ["git", "-C", str(ROOT)]
    shallow = subprocess.run(
        [*git, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True, check=False
    )
    if shallow.stdout.strip() != "false":
        pytest.skip("no repository with its history")
    for path in RECORDS:
        found = {
            re.sub(r"-dirty|\+", "", c) for c in commits(json.loads((ROOT / path).read_text()))
        }
        asked = "".join(f"{commit}^{{commit}}\n" for commit in sorted(found))
        done = subprocess.run(
            [*git, "cat-file", "--batch-check"],
            input=asked, capture_output=True, text=True, check=True,
        )  # fmt: skip
        lost = {line.partition("^")[0] for line in done.stdout.splitlines() if "missing" in line}
        assert lost == LOST.get(path, set()), path


def test_an_origin_has_no_paths_of_a_machine() -> None:
    words = ["/home/me/ganvas/bench/loader.py", "/home/me/photos", "--size", "64"]
    assert origin.command(words) == "python bench/loader.py photos --size 64"
    assert set(origin.origin()) == set(FIELDS)
