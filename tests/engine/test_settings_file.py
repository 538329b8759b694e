"""Settings as TOML: `--config` and `--print-config`; and the callback for snapshots."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from toys import SMALL, toy_data, toy_images

import ganvas
from ganvas.core import config
from ganvas.core.errors import UserError
from ganvas.data.degradation_chain import Chain
from ganvas.data.degradation_steps import JPEG, Resize
from ganvas.training import config_file, start

RECIPES = ["dcgan_digits", "progan", "cyclegan", "srresnet", "stylegan", "biggan"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_settings_are_the_same_after_a_round_trip(recipe: str, tmp_path: Path) -> None:
    data, file = toy_data(recipe, tmp_path / "data"), tmp_path / "settings.toml"
    settings: dict[str, Any] = {"set": SMALL[recipe], "seed": 3, "images": 96}
    file.write_text(start.config_text(recipe, data, "cpu", **settings))
    one = start.plan_run(recipe, data, "cpu", **settings).run
    two = start.plan_run(recipe, data, "cpu", config=file).run
    assert config.dump(two) == config.dump(one)


@pytest.mark.parametrize(
    "sets",
    [
        ["data.degrade=real", "data.degrade.ringing=0.5"],
        [
            'data.degrade=[{"step":"blur","sigma":[0.5,2]},{"step":"swap","first":[{"step":"jpeg"}]}]'
        ],
    ],
)
def test_degradations_survive_the_round_trip(sets: list[str], tmp_path: Path) -> None:
    data, file = toy_images(tmp_path / "data", 2, side=40), tmp_path / "settings.toml"
    file.write_text(start.config_text("compact", data, "cpu", size=16, set=sets))
    one = start.plan_run("compact", data, "cpu", size=16, set=sets).run
    assert config.dump(start.plan_run("compact", data, "cpu", config=file).run) == config.dump(one)
    tables = (
        '[[data.degrade]]\nstep = "resize"\n[[data.degrade]]\nstep = "jpeg"\nquality = [5, 9]\n'
    )
    file.write_text(f"size = 16\n{tables}")
    run: Any = start.plan_run("compact", data, "cpu", config=file).run
    assert run.data.keywords["degrade"] == Chain((Resize(), JPEG(quality=(5, 9))))


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_setting_has_a_line(recipe: str, tmp_path: Path) -> None:
    """Defaults stand behind a #; each is a setting that `--set` takes."""
    data = toy_data(recipe, tmp_path / "data")
    text = start.config_text(recipe, data, "cpu", set=SMALL[recipe])
    further = [line[2:].split(" = ", 1) for line in text.splitlines() if line[:2] == "# "]
    values = {k: tomllib.loads(f"x = {v}")["x"] for k, *rest in further for v in rest}
    run = start.plan_run(recipe, data, "cpu", set=SMALL[recipe]).run
    for assignment in config.assignments(values):
        config.override(run, assignment)
    assert {"data.strict", "optim.G.weight_decay"} <= values.keys()
    assert any(name.startswith("G.") for name in values)


def test_augmentation_and_null_survive_the_round_trip(tmp_path: Path) -> None:
    data, file = toy_images(tmp_path / "data"), tmp_path / "settings.toml"
    settings: dict[str, Any] = {
        "size": (16, 16),
        "augment": "ada",
        "set": [*SMALL["dcgan"], "augment.target=0.7", "lr=null"],
    }
    text = start.config_text("dcgan", data, "cpu", **settings)
    file.write_text(text)
    assert tomllib.loads(text)["augment"] == "ada"
    one = start.plan_run("dcgan", data, "cpu", **settings).run
    assert config.dump(start.plan_run("dcgan", data, "cpu", config=file).run) == config.dump(one)


def test_arguments_take_precedence_over_the_file(tmp_path: Path) -> None:
    data, file = toy_images(tmp_path / "data"), tmp_path / "settings.toml"
    file.write_text('size = 16\nbatch = 4\nprecision = "auto"\n[G]\nwidth = 4\n[D]\nwidth = 4\n')
    run = start.plan_run("dcgan", data, "cpu", config=file, batch=8, set=["G.width=2"]).run
    assert run.batch == 8
    description: Any = config.dump(run)
    assert description["method"]["G"]["width"] == 2
    assert description["method"]["D"]["width"] == 4
    assert description["data"]["size"] == 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size =", "not valid TOML"),
        ("size = 'big'", "size takes pixels.* got 'big'"),
        ("augment = 3", "augment takes text"),
        ("G.width = 2020-01-01", "G.width takes a number"),
        ("G.widht = 4", "Did you mean 'width'"),
        ("batch = true", "batch: got True, expected"),
        ("# " + "x" * (1 << 20), "has more than 1,048,576 bytes"),
    ],
)
def test_mistakes_in_the_file_are_explained(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        start.plan_run("dcgan", toy_images(tmp_path / "data", 2), "cpu", config=file)
    with pytest.raises(UserError, match="cannot be read"):
        config_file.read(tmp_path / "none.toml")
    with pytest.raises(UserError, match="is a device, not a file"):
        config_file.read("/dev/zero")


def test_print_config_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ganvas.apps.cli import app

    monkeypatch.chdir(tmp_path)
    data = toy_images(tmp_path / "data", 2)
    app(["train", "dcgan", str(data), "--size", "16", "--print-config"], standalone_mode=False)
    settings = tomllib.loads(capsys.readouterr().out)
    assert (settings["size"], settings["images"], settings["optim"]["D"]["lr"]) == (16, 50, 2e-4)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_the_callback_gets_every_snapshot(tmp_path: Path) -> None:
    data, out = toy_images(tmp_path / "data"), tmp_path / "run"
    snapshots: list[ganvas.Snapshot] = []

    def stop_at_second(snapshot: ganvas.Snapshot) -> None:
        ganvas.load(snapshot.folder)  # saved before the call
        assert snapshot.grid.is_file()
        snapshots.append(snapshot)
        if len(snapshots) == 2:
            raise KeyError("enough")

    with pytest.raises(KeyError):
        ganvas.train(
            "dcgan",
            data,
            out=out,
            size=16,
            images=2400,
            batch=400,
            device="cpu",
            set=["G.width=4", "D.width=4"],
            on_snapshot=stop_at_second,
        )
    ganvas.resume(out, device="cpu", on_snapshot=snapshots.append)
    lines = [json.loads(x) for x in (out / "measures.jsonl").read_text().splitlines()]
    assert [s.images for s in snapshots] == [x["images"] for x in lines] == [1200, 2000, 2400]
    assert [s.measures["frechet"] for s in snapshots] == [x["frechet"] for x in lines]
