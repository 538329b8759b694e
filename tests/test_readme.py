"""The README's commands parse, and its table of methods names every recipe once."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from ganvas import recipes
from ganvas.apps.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line.partition(" #")[0].rstrip() for _, block in BLOCKS for line in block.splitlines()]
INLINE = re.findall(r"`(ganvas \w[^`]*? --[^`]*)`", README)
COMMANDS = [c for c in (*LINES, *INLINE) if re.match(r"(torchrun .* -m )?ganvas .* ", c)]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_parses(line: str) -> None:
    words = shlex.split(line.replace("…", ""))
    words = words[words.index("ganvas") + 1 :]
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    with command.make_context("ganvas", words):  # raises for unknown options and missing arguments
        pass


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 25


def test_the_false_alarms_of_the_monitor_are_those_of_its_record() -> None:
    record = json.loads((ROOT / "bench" / "results" / "monitor.json").read_text())
    part = record["parts"]["test"]
    assert f"{part['false_alarms']} of {part['healthy']} healthy runs" in README


def test_trainings_of_the_readme_have_a_length() -> None:
    """Else they have the paper's length, of days."""
    lengths = ("--images", "--minutes", "--print-config", "--config", "…")
    trainings = [c for c in LINES if re.match(r"ganvas train ", c)]
    assert [c for c in trainings if not any(word in c for word in lengths)] == []


def test_the_table_names_every_recipe_once() -> None:
    rows = re.findall(r"^\| (`.*?) \|", README, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(recipes.all_recipes())


def test_the_table_of_extras_has_those_that_the_package_has() -> None:
    root = Path(__file__).parents[1]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    table = (root / "docs/environment.md").read_text().partition("## Extras")[2].partition("##")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert sorted(n for row in rows for n in re.findall(r"`(\w+)`", row)) == sorted(extras)
