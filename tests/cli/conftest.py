"""The command line in this process, and toy models of every kind to run it on."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from processes import Command, Ended
from toys import SMALL, toy_data
from typer.main import get_command

from ganvas.__main__ import main
from ganvas.training import snapshot
from ganvas.training.trainer import train

WRONG_PLURAL = re.compile(
    r"(?<![\d.,x])(?<!of )1 (images|files|pairs|classes|tensors|labels|samples|masks|checkpoints)\b"
)
# Kind of model -> recipe.
KINDS = {
    "noise": "dcgan",
    "labels": "sngan_projection",
    "attention": "sagan_digits",
    "styles": "stylegan2_digits",
    "encoder": "vaegan_small",
    "coupled": "cogan",
    "domains": "cyclegan",
    "pairs": "pix2pix",
    "upscaling": "srresnet",
    "sentences": "dual_learning",
}


class Toy(NamedTuple):
    """A finished toy run and the data that it was trained on."""

    recipe: str
    run: Path
    data: Path


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Toy]:
    """A run of one step, by its kind."""
    folder = tmp_path_factory.mktemp("kinds")

    @cache
    def trained(kind: str) -> Toy:
        recipe = KINDS[kind]
        data, run = toy_data(recipe, folder / "data" / kind), folder / "runs" / kind
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(snapshot, "write_report", lambda run, **_: None)
            patch.setenv("GANVAS_CACHE", str(folder / "cache"))
            train(recipe, str(data), out=run, images=1, set=SMALL[recipe], device="cpu")
        return Toy(recipe, run, data)

    return trained


@cache
def built(app: typer.Typer) -> Any:
    """The commands of the application; typer builds them anew at every call."""
    return get_command(app)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run `ganvas ARGUMENTS` in this process."""

    def called(*arguments: Any) -> Ended:
        monkeypatch.setattr(sys, "argv", ["ganvas", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capfd.readouterr()
        return Ended(int(stop.value.code or 0), captured.out, captured.err)

    monkeypatch.setenv("GANVAS_TRACEBACK", "1")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(typer.main, "get_command", built)
    return called


def assert_ended_well(ended: Ended, what: object = "") -> None:
    """The command succeeded, or ended with one line."""
    assert ended.status in (0, 1, 2), f"{what}: {ended.status}\n{ended.err}"
    assert not WRONG_PLURAL.search(ended.out + ended.err), f"{what}: {ended.out}{ended.err}"
    if ended.status:
        errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, f"{what}: {ended.err}"
        assert ended.err.splitlines()[-1] == errors[0], f"{what}: {ended.err}"
        assert "defect of ganvas" not in ended.err, f"{what}: {ended.err}"


@pytest.fixture(scope="session")
def well() -> Callable[..., None]:
    return assert_ended_well
