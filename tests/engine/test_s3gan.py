"""Partial labels: hidden ones are never read, guesses fill in, rotations are learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from toys import toy_data, toy_run

import ganvas
from ganvas.core import Batch
from ganvas.core.errors import UserError
from ganvas.data import Feed
from ganvas.engine.engine import Engine
from ganvas.methods import S3GAN
from ganvas.nets.conditional import Projection
from ganvas.nets.s3gan import Discriminator, Reading


def method(tmp_path: Path, *more: str, recipe: str = "s3gan_small") -> S3GAN:
    run = toy_run(recipe, toy_data(recipe, tmp_path), *more)
    made = Engine(run, run.data()).method
    assert isinstance(made, S3GAN)
    return made


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("s3gan_small", []),
        ("s3gan_cotrained", []),
        ("s3gan_cotrained", ["guess=none"]),
        ("biggan_digits", ["data.labeled=0.5"]),
        ("sngan_projection", ["data.labeled=0.5"]),
    ],
)
def test_hidden_labels_change_nothing(recipe: str, more: list[str], tmp_path: Path) -> None:
    """Two data sets that differ in hidden labels alone train the same weights."""
    run = toy_run(recipe, toy_data(recipe, tmp_path), *more)
    truth = run.data()
    assert truth.known is not None
    raw = truth.raw()
    false = Feed(truth.info, {"x": raw["x"]}, np.where(truth.known, raw["y"], 1 - raw["y"]))
    false.known = truth.known
    one, two = Engine(run, truth), Engine(run, false)
    for _ in range(4):
        assert one.step() == two.step()
    both = zip(one.method.parameters(), two.method.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in both)


def test_an_image_without_a_label_is_scored_without_one() -> None:
    layer, h = Projection(6, 3), torch.randn(4, 6)
    linear = torch.nn.functional.linear(h, layer.weight, layer.bias).squeeze(1)
    y = torch.tensor([2, -1, 0, -1])
    score = layer(h, y)
    torch.testing.assert_close(score[[1, 3]], linear[[1, 3]])
    assert (score[[0, 2]] != linear[[0, 2]]).all()
    certain = torch.nn.functional.one_hot(y.clamp(min=0), 3) * (y >= 0)[:, None]
    torch.testing.assert_close(layer(h, certain.float()), score)


def test_guesses_fill_in_only_what_is_missing(tmp_path: Path) -> None:
    logits = torch.tensor([[9.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    real = Batch(x=torch.zeros(3, 1, 16, 16), y=torch.tensor([1, -1, -1]))
    game = method(tmp_path, recipe="s3gan_cotrained")
    game.guess = "hard"
    assert game.completed(real, logits)[0].tolist() == [1, 1, 0]
    game.guess = "soft"
    expected = torch.stack([torch.tensor([0.0, 1.0]), *logits[1:].softmax(1)])
    torch.testing.assert_close(game.completed(real, logits)[0], expected)
    game.guess = "none"
    assert game.completed(real, logits)[0].tolist() == [1, -1, -1]


def test_the_classes_loss_is_the_mean_over_labeled_images(tmp_path: Path) -> None:
    game = method(tmp_path)
    real = game.weighted(Batch(x=torch.zeros(5, 1, 16, 16), y=torch.tensor([1, -1, 0, -1, -1])))
    logits = torch.randn(5, 2)
    expected = cross_entropy(logits[[0, 2]], real.y[[0, 2]])
    torch.testing.assert_close(game.class_loss(logits, real), expected)
    none = game.weighted(Batch(x=real.x, y=torch.full((5,), -1)))
    assert game.class_loss(logits, none) == 0


def test_turned_images_carry_their_angle(tmp_path: Path) -> None:
    """A network that sees where the bright corner is has a loss of nearly 0."""

    def reader(x: torch.Tensor) -> Reading:
        corners = torch.stack([x[:, 0, 0, 0], x[:, 0, -1, 0], x[:, 0, -1, -1], x[:, 0, 0, -1]], 1)
        return Reading(x.flatten(1), 50 * corners, None)

    x = torch.zeros(8, 1, 16, 16)
    x[:, :, 0, 0] = 1
    game = method(tmp_path)
    _, loss = game.read(reader, x)
    assert loss < 1e-6
    _, upside_down = game.read(reader, x.rot90(1, (2, 3)))
    assert upside_down > 10
    assert game.read(reader, x, weight=0)[1] == 0


def test_the_classifier_learns_first_and_stays(tmp_path: Path) -> None:
    run = toy_run("s3gan_small", toy_data("s3gan_small", tmp_path))
    engine = Engine(run, run.data())
    assert set(engine.step()) == {"C/loss", "C/c_rotation", "C/c_classes"}
    while engine.clock.images < 16:
        engine.step()
    learned = [w.clone() for w in engine.parameters["C"]]
    game: Any = engine.step()
    assert {"D/rotation", "G/g_rotation"} <= set(game)
    assert not any(k.startswith("C/") for k in game)
    assert all(torch.equal(a, b) for a, b in zip(learned, engine.parameters["C"], strict=True))


def test_settings_that_contradict_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="labels=false leaves the classifier C nothing"):
        method(tmp_path / "1", "labels=false")
    with pytest.raises(UserError, match="before it has learned any"):
        method(tmp_path / "2", "pretrain=0")
    with pytest.raises(UserError, match="must be square"):
        Discriminator(width=2, size=(16, 32))
    unconditional = method(tmp_path / "3", "labels=false", recipe="s3gan_cotrained")
    assert unconditional.classes == 0


def test_methods_that_need_every_label_say_so(tmp_path: Path) -> None:
    """Whether labels are hidden by a setting or missing in the data."""
    data = toy_data("cgan_dcgan", tmp_path / "data")
    few = ["G.width=2", "D.width=2"]
    with pytest.raises(UserError, match="50% of the images have a label, and CGAN needs"):
        ganvas.train(
            "cgan_dcgan", data, out=tmp_path / "r", size=16, set=[*few, "data.labeled=0.5"]
        )
    (data / "light" / "000.png").rename(data / "spare.png")
    (data / "unlabeled").mkdir()
    (data / "spare.png").rename(data / "unlabeled" / "0.png")
    with pytest.raises(UserError, match="96% of the images have a label, and CGAN needs"):
        ganvas.train("cgan_dcgan", data, out=tmp_path / "r", size=16, set=few)


def test_shares_nest_and_are_the_same_in_every_class(tmp_path: Path) -> None:
    run = toy_run("s3gan_small", toy_data("s3gan_small", tmp_path))
    known = {}
    for share in (0.1, 0.5, 1.0):
        feed = run.data(labeled=share)
        known[share] = np.ones(25, bool) if feed.known is None else feed.known
        y = feed.raw()["y"]
        if share < 1:
            counts = [int(np.ceil(share * n)) for n in (12, 13)]
            assert np.bincount(y[known[share]]).tolist() == counts
            batch = feed.draw(0, 50, seed=1)
            assert (batch.y >= 0).sum() == 2 * known[share].sum()
            assert f"{known[share].sum()} of 25 images keep their label" in feed.info.notes[-1]
    assert (known[0.1] <= known[0.5]).all()
    with pytest.raises(UserError, match="above 0 to 1"):
        run.data(labeled=0)
