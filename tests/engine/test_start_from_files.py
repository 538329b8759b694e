"""Runs that start from other projects' files: settings, spectral norms, parts."""

import logging
from pathlib import Path

import pytest
import torch
from toys import toy_data, toy_run

from ganvas.core.errors import UserError
from ganvas.engine.engine import Engine
from ganvas.inference import importers
from ganvas.inference.importers.options import Options
from ganvas.nets.super_resolution import CompactNet
from ganvas.training.initial import lines, start_from


def engine_of(recipe: str, folder: Path, *settings: str) -> Engine:
    run = toy_run(recipe, toy_data(recipe, folder), *settings)
    return Engine(run, run.data())


@pytest.fixture(scope="module")
def leftthomas(shared: Path) -> Path:
    return shared / "data" / "weights" / "srgan_x4_leftthomas.pth"


SRGAN = ("G.width=64", "G.blocks=5", "G.activated=true")


def test_an_output_range_without_tensors_is_compared(leftthomas: Path, tmp_path: Path):
    """The tanh of that project's generator is a setting, which the message names."""
    engine = engine_of("srgan", tmp_path, *SRGAN)
    with pytest.raises(UserError, match=r"bounded is True, here False.*--set G\.bounded=true"):
        start_from(engine, [leftthomas])
    records = start_from(engine, [leftthomas], partial=True)
    assert "other settings there: bounded is True, here False" in lines(records)[0]
    fitting = engine_of("srgan", tmp_path, *SRGAN, "G.bounded=true")
    [record] = start_from(fitting, [leftthomas])
    assert "differs" not in record
    images = torch.rand(1, 3, 8, 8)
    known = importers.import_network(leftthomas)
    torch.testing.assert_close(fitting.method.G.eval()(images), known(images))


def test_settings_are_named_in_place_of_tensors(leftthomas: Path, tmp_path: Path):
    engine = engine_of("srgan", tmp_path)
    names = [f"G.{setting}" for setting in ("width=64", "blocks=5", "bounded=true")]
    settings = " ".join(f"--set {name}" for name in [*names, "G.activated=true"])
    with pytest.raises(UserError, match=f"other settings. It fits with {settings}. To take"):
        start_from(engine, [leftthomas])


def test_a_file_with_an_open_reading_takes_options(tmp_path: Path):
    """As in `ganvas import`; a slope that the method has not is refused."""
    file = tmp_path / "relu.pth"
    torch.save(CompactNet(width=4, layers=2, prelu=False).state_dict(), file)
    engine = engine_of("compact", tmp_path / "photos", "G.prelu=false")
    cases: list[tuple[Options, str]] = [
        ({}, r"--option act_type=relu\|leakyrelu"),
        ({"act_type": "leakyrelu"}, r"all 8 tensors do, but body\.1 is LeakyReLU"),
        ({"act_type": "relu", "x": "1"}, "--option x: no file has this option"),
    ]
    for options, message in cases:
        with pytest.raises(UserError, match=message):
            start_from(engine, [file], options=options)
    start_from(engine, [file], options={"act_type": "relu"})


def test_assumed_readings_are_said(shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = shared / "golden" / "basicsr" / "unet_discriminator_sn.pth"
    with caplog.at_level(logging.WARNING):
        start_from(engine_of("realesrgan", tmp_path, "D.width=8"), (), [file])
    assert "assumed: skip_connection=true" in caplog.text
