"""Recipes of other packages: entry points, their run folders, and the contract checks."""

from __future__ import annotations

import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from processes import forks
from processes import ganvas as run_ganvas
from toys import toy_images

import ganvas
from ganvas import recipes
from ganvas.core import Run, Terms
from ganvas.core.errors import UserError

EXAMPLE = Path(__file__).parents[2] / "examples" / "ganvas-ragan"
SMALL = ["G.width=4", "D.width=4", "data.size=16", "batch=4"]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the example package and its metadata, as pip would write them, on sys.path."""
    site = tmp_path / "site"
    shutil.copytree(EXAMPLE / "ganvas_ragan", site / "ganvas_ragan")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = site / f"ganvas_ragan-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
            for group, entries in project["entry-points"].items()
        )
    )
    monkeypatch.syspath_prepend(site)
    yield site
    for name in [n for n in sys.modules if n.partition(".")[0] == "ganvas_ragan"]:
        del sys.modules[name]


def test_a_recipe_of_another_package_is_listed_and_fulfills_the_contract(installed: Path) -> None:
    assert "ragan" in recipes.all_recipes()
    ganvas.check_method(recipes.find("ragan"), set=SMALL)


def test_its_runs_are_trained_resumed_and_loaded_by_the_command_line(
    installed: Path, tmp_path: Path
) -> None:
    data, run = toy_images(tmp_path / "data"), tmp_path / "run"
    command = tmp_path / "command.py"
    command.write_text(
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "from ganvas.__main__ import main\nmain()"
    )

    def with_it(*arguments: object) -> None:
        with forks(arguments, command) as process:
            [done] = process.ended()
        assert done.returncode == 0, done.stderr

    small = [x for s in SMALL for x in ("--set", s)]
    with_it("train", "ragan", data, "--out", run, "--images", 8, *small)
    with_it("resume", run, "--images", 16)
    with_it("sample", run, "--out", tmp_path / "grid.png")
    assert (tmp_path / "grid.png").is_file()
    # Without the package the run names an unknown class.
    refused = run_ganvas("sample", run, "--out", tmp_path / "no.png", ok=False)
    assert "not part of ganvas" in refused.stderr


def test_a_description_cannot_import_other_modules_of_the_package(installed: Path) -> None:
    from ganvas.core import config

    (installed / "ganvas_ragan" / "trap.py").write_text("raise SystemExit('imported')")
    with pytest.raises(UserError, match="not part of ganvas"):
        config.load({"$partial": "ganvas_ragan.trap:Net"})


def test_a_class_that_descriptions_cannot_name_breaks_the_contract(installed: Path) -> None:
    def local(count: int) -> Run:
        run: Any = recipes.find("ragan")(count)

        class Still(run.method.func):
            def g_loss(self, batch):
                terms = super().g_loss(batch)
                return Terms(terms.loss * 0)

        return replace(run, method=partial(Still, **run.method.keywords))

    with pytest.raises(AssertionError, match="cannot be read"):
        ganvas.check_method(local, set=SMALL)


def test_a_package_that_cannot_be_imported_is_only_a_warning(installed: Path) -> None:
    (installed / "ganvas_ragan" / "recipe.py").write_text("import no_such_module")
    with pytest.warns(UserWarning, match="no_such_module"):
        assert "dcgan" in recipes.all_recipes()
