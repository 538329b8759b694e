"""The variants of pix2pix in the paper's tables, set by `--set`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import toy_data, toy_run

from ganvas import recipes
from ganvas.core import Batch, Shape, config
from ganvas.core.errors import UserError
from ganvas.engine.engine import Engine
from ganvas.methods import Pix2Pix


def engine(tmp_path: Path, *more: str) -> tuple[Engine, Pix2Pix]:
    run = toy_run("pix2pix", toy_data("pix2pix", tmp_path / "data"), *more)
    made = Engine(run, run.data())
    assert isinstance(made.method, Pix2Pix)
    return made, made.method


@pytest.mark.parametrize(
    ("recipe", "more", "parameters"),
    [  # appendix 6.1.2: patches of 70, 16, 286 and 1 pixels
        ("pix2pix", [], 2_768_705),
        ("pix2pix", ["D.layers=1"], 6_208 + 131_072 + 256 + 2_049),
        ("pix2pix", ["D.layers=5"], 2_768_705 - 8_193 + 2 * (512 * 512 * 16 + 2 * 512) + 8_193),
        ("pix2pix_pixel", [], 9_024),
    ],
)
def test_the_papers_patches(recipe: str, more: list[str], parameters: int) -> None:
    run = recipes.find(recipe)(400)
    for assignment in more:
        run = config.override(run, assignment)
    with torch.device("meta"):
        method: Any = run.method(Shape(3, 256, 256))
    assert sum(p.numel() for p in method.D.parameters()) == parameters
    assert sum(p.numel() for p in method.G.parameters()) == 54_413_955


def test_the_loss_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    _, method = engine(tmp_path, "adversarial_weight=0.5", "l1_weight=7")
    batch = Batch(**{k: torch.rand(2, 3, 16, 16) for k in ("x", "y", "fake")})
    terms = method.g_loss(batch)
    torch.testing.assert_close(terms.loss, 0.5 * terms.log["adversarial"] + 7 * terms.log["l1"])
    torch.testing.assert_close(terms.log["l1"], (batch.fake - batch.y).abs().mean())


def test_without_the_adversarial_loss_there_is_no_discriminator(tmp_path: Path) -> None:
    game, method = engine(tmp_path, "adversarial_weight=0")
    before = [w.clone() for w in method.D.parameters()]
    assert game.step().keys() == {"G/loss", "G/l1"}
    assert all(torch.equal(a, b) for a, b in zip(before, method.D.parameters(), strict=True))


@pytest.mark.parametrize(
    ("loss", "undecided", "right", "wrong"),
    [("bce", math.log(2), math.log1p(math.exp(-1)), None), ("lsgan", 0.5, 0, 1)],
)
def test_the_loss_of_the_discriminator(
    tmp_path: Path, monkeypatch, loss: str, undecided: float, right: float, wrong: float | None
) -> None:
    """A D that is always 0, and one that is right.

    The right one gives 1 for real images, and 0 (least squares) or -1 (cross entropy)
    for generated ones."""
    _, method = engine(tmp_path, f"loss={loss}")
    batch = Batch(
        x=torch.zeros(1, 3, 16, 16), y=torch.ones(1, 3, 16, 16), fake=-torch.ones(1, 3, 16, 16)
    )
    low = 0.0 if loss == "lsgan" else -1.0

    def says(real: float, fake: float) -> Any:
        monkeypatch.setattr(
            method.D,
            "forward",
            lambda pair: torch.where(pair[:, 3:].mean((1, 2, 3)) > 0, real, fake).view(-1, 1, 1, 1),
        )
        return method.d_loss(batch)

    assert float(says(0.0, 0.0).loss) == pytest.approx(undecided)
    good = says(1.0, low)
    assert float(good.loss) == pytest.approx(right)
    assert float(good.log["accuracy"]) == 1
    if wrong is not None:
        assert float(says(low, 1.0).loss) == pytest.approx(wrong)


def test_another_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="loss"):
        engine(tmp_path, "loss=wgan")


def test_dropout_is_where_the_paper_has_it(tmp_path: Path) -> None:
    """Appendix 6.1.1: CD512-CD512-CD512-C512-...: dropout at 2, 4 and 8 of 256 px."""
    with torch.device("meta"):
        for recipe in ("pix2pix", "pix2pix_pixel"):
            method: Any = recipes.find(recipe)(400).method(Shape(3, 256, 256))
            sides: list[int] = []
            for m in method.G.modules():
                if type(m).__name__ == "Dropout":
                    m.register_forward_hook(
                        lambda _m, _inputs, made, sides=sides: sides.append(made.shape[-1])
                    )
            method.G(torch.zeros(1, 3, 256, 256))
            assert sides == [2, 4, 8]
    old, _ = engine(tmp_path, "G.dropout=true")  # as runs of before have it
    old.step()


def test_an_unconditional_discriminator_sees_the_output_alone(tmp_path: Path) -> None:
    """Table 1's rows GAN and L1+GAN."""
    game, method = engine(tmp_path, "conditional=false")
    assert next(method.D.parameters()).shape[1] == 3
    game.step()
    batch = Batch(**{k: torch.rand(2, 3, 16, 16) for k in ("x", "y", "fake")})
    other = Batch(x=torch.rand(2, 3, 16, 16), y=batch.y, fake=batch.fake)
    with torch.no_grad():
        assert float(method.g_loss(batch).loss) == float(method.g_loss(other).loss)
        assert float(method.d_loss(batch).loss) == float(method.d_loss(other).loss)
    assert config.dump(config.load(config.dump(game.run))) == config.dump(game.run)
    _, usual = engine(tmp_path / "usual")
    with torch.no_grad():
        assert float(usual.g_loss(batch).loss) != float(usual.g_loss(other).loss)
