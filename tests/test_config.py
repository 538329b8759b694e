"""Runs as text, and --set."""

from __future__ import annotations

from functools import partial

import pytest

from ganvas import config, recipes
from ganvas.core import Clock
from ganvas.errors import UserError
from ganvas.schedules import HalfLife, LinearDecay, StepDecay


def test_set_reaches_every_kind_of_node() -> None:
    run = recipes.find("cyclegan")(100)
    for assignment in ("batch=4", "G.width=32", "optim.D.lr=1e-4", "lr.start=5", "cycle_weight=3", "data.size=[64,96]"):
        run = config.override(run, assignment)
    assert isinstance(run.method, partial)
    assert isinstance(run.data, partial)
    assert isinstance(run.lr, LinearDecay)
    assert (run.batch, run.method.keywords["G"].keywords["width"], run.lr.start) == (4, 32, 5)
    assert run.optim["D"].keywords["lr"] == 1e-4
    assert run.optim["G"].keywords["lr"] == 2e-4, "one player's number is not the other's"
    assert run.method.keywords["cycle_weight"] == 3.0
    assert run.data.keywords["size"] == (64, 96)


def test_set_checks_types_and_names() -> None:
    run = recipes.find("dcgan")(100)
    for assignment, message in [
        ("batch=many", "expected int"),
        ("G.depth=3", "no 'depth' here"),
        ("optim.E.lr=1", "no 'E' here"),
        ("optim.G=1", "optim.G.lr"),
        ("batch.size=3", "no settings of its own"),
        ("momentom=1", "Did you mean 'momentum'?"),
    ]:
        with pytest.raises(UserError, match=message):
            config.override(run, assignment)


def test_none_and_schedules_survive_the_file() -> None:
    run = recipes.find("dcgan_digits")(100)
    assert isinstance(config.load(config.dump(run)).ema, HalfLife)
    assert config.override(run, "ema=null").ema is None


@pytest.mark.parametrize(
    "name", ["os:system", "ganvas.data:os.system", "ganvas.cli:app", "no.such.module:thing", "ganvas.data:x"]
)
def test_a_run_folder_cannot_name_code_of_its_own_choice(name: str) -> None:
    with pytest.raises(UserError, match=r"this run (uses|names)"):
        config.load({"$partial": name})


def test_steps_of_a_rate() -> None:
    halved = StepDecay(every=100, factor=0.5)
    assert [halved(Clock(images=n)) for n in (0, 99, 100, 250)] == [1, 1, 0.5, 0.25]
