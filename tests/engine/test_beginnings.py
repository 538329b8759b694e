"""An impossible run is rejected before it begins, and its folder is free again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toys import toy_images, toy_run

from ganvas.core import Shape
from ganvas.core.errors import ConfigError, NumericalError, UserError
from ganvas.engine.engine import Engine
from ganvas.inference.runtime import Runtime
from ganvas.inference.translator import Translator
from ganvas.media.color import gray_luma, luma
from ganvas.training import start, trainer

SMALL = ["G.width=4", "D.width=4"]


def train(folder: Path, *more: str) -> None:
    data = folder / "data"
    if not data.exists():
        toy_images(data)
    trainer.train(
        "dcgan",
        str(data),
        out=folder / "run",
        size=16,
        batch=8,
        images=8,
        device="cpu",
        set=[*SMALL, *more],
    )


def test_a_setting_that_follows_from_others_is_not_taken_in_silence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--set G\.channels=7: this follows .* make it 3"):
        train(tmp_path, "G.channels=7")
    assert not (tmp_path / "run").exists()
    train(tmp_path, "G.channels=3")


def test_a_run_that_never_began_frees_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Engine) -> Any:
        raise UserError("the network got images that are too small")

    kept = tmp_path / "run" / ".gitkeep"
    kept.parent.mkdir()
    kept.touch()
    with monkeypatch.context() as within:
        within.setattr(Engine, "step", refused)
        with pytest.raises(UserError, match="too small"):
            train(tmp_path)
    assert list((tmp_path / "run").iterdir()) == [kept]
    train(tmp_path)


def test_a_run_that_diverged_at_once_stays_to_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverged(self: Engine) -> Any:
        raise NumericalError("D's loss is nan")

    monkeypatch.setattr(Engine, "step", diverged)
    with pytest.raises(start.Stopped, match="no checkpoint was saved before"):
        train(tmp_path)
    assert (tmp_path / "run" / "run.json").is_file()
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    ("recipe", "setting"),
    [
        ("wgan_gp", "n_critic=0"),
        ("gan", "steps=0"),
        ("dcgan_digits", "r1_every=0"),
        ("stylegan2", "pl_every=-1"),
        ("discogan", "d_every=0"),
        ("pacgan", "pack=0"),
        ("wgan", "every=0"),
    ],
)
def test_a_number_of_turns_is_at_least_one(recipe: str, setting: str) -> None:
    run = toy_run(recipe, Path("unused"), setting)
    name, _, value = setting.partition("=")
    with pytest.raises(ConfigError, match=rf"{name} is {value}; give at least 1"):
        run.method(Shape(3, 16, 16))


@pytest.mark.parametrize("channels", [1, 4])
def test_deoldify_takes_three_channels(channels: int) -> None:
    run = toy_run("deoldify_small", Path("unused"))
    with pytest.raises(ConfigError, match=f"got images of {channels} channel"):
        run.method(Shape(channels, 16, 16))


def test_deoldify_keeps_the_luma_and_ignores_the_colors_of_its_input() -> None:
    method: Any = toy_run("deoldify_small", Path("unused")).method(Shape(3, 32, 32)).eval()
    with torch.no_grad():
        for p in method.G.parameters():
            p.mul_(1.5)  # colors, of which some are out of range
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    made = method.translate(x)
    torch.testing.assert_close(luma(made), luma(x), atol=1e-5, rtol=0)
    torch.testing.assert_close(made, method.translate(gray_luma(x)), atol=1e-3, rtol=0)
    assert (made - luma(made)).abs().max() > 0.1
    assert made.abs().max() <= 1 + 1e-5


@pytest.mark.parametrize("recipe", ["srgan", "srresnet", "esrgan", "realesrgan"])
def test_restorations_keep_gray_images_gray(recipe: str) -> None:
    """Also at a factor of 1, where networks denoise."""
    method = toy_run(recipe, Path("unused")).method(Shape(3, 128, 128))
    method.upscale = 1
    assert Translator(Runtime(method, {}, "")).keeps_gray
