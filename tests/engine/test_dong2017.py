"""The three steps of Dong et al., and a method that both samples and translates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from toys import toy_data, toy_images, toy_run

import ganvas
from ganvas.core import Encodes, Samples, Translates
from ganvas.engine.engine import Engine
from ganvas.evaluation import evaluate
from ganvas.inference.load import load
from ganvas.training import snapshot, trainer
from ganvas.training.snapshot import sample_grid


def test_three_steps(tmp_path: Path) -> None:
    """D, then G twice; then the encoder alone, with G's statistics unchanged, too."""
    run = toy_run("dong2017", toy_data("dong2017", tmp_path / "data"))
    engine: Any = Engine(run, run.data())
    turns: list[str] = []
    plain = engine.apply
    engine.apply = lambda update: (turns.append(update.player), plain(update))[1]
    for _ in range(3):
        engine.step()
    frozen = {k: v.clone() for k, v in engine.method.G.state_dict().items()}
    losses = [float(engine.step()["E/loss"]) for _ in range(40)]
    assert turns == ["D", "G", "G"] * 3 + ["E"] * 40
    assert all(torch.equal(v, frozen[k]) for k, v in engine.method.G.state_dict().items())
    assert sum(losses[-5:]) < sum(losses[:5]), "an encoder that learns nothing"


def test_the_turns_of_a_step_share_their_noise(tmp_path: Path) -> None:
    """As in the authors' code, half of the images are of each domain."""
    run = toy_run("dong2017", toy_data("dong2017", tmp_path / "data"))
    engine: Any = Engine(run, run.data())
    seen, plain = [], engine.method.G.forward
    engine.method.G.forward = lambda z, y: (seen.append((z, y)), plain(z, y))[1]
    engine.step()
    (z, y), *others = seen
    assert len(others) == 2
    assert all(torch.equal(z, other) for other, _ in others)
    assert y.tolist() == [0, 1] * 4
    assert -1 <= float(z.min()) < -0.5 < 0.5 < float(z.max()) <= 1


def test_a_model_that_samples_and_translates(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(snapshot, "write_report", lambda run, **_: None)
    monkeypatch.setattr(evaluate, "write_report", lambda run: None)
    data, out = toy_data("dong2017", tmp_path / "data"), tmp_path / "run"
    settings = ["G.width=4", "D.width=4", "E.width=4", "game=8"]
    ganvas.train(
        "dong2017", str(data), out=out, size=16, batch=4, images=16, set=settings, device="cpu"
    )
    model: Any = load(out)
    assert all(isinstance(model.method, skill) for skill in (Samples, Encodes, Translates))
    assert (model.class_number("a"), model.class_number("b")) == (0, 1)
    wide = toy_images(tmp_path / "wide", 1, side=37) / "000.png"
    assert model.translate(wide, to="a").size == (37, 37)
    projected = model.project(wide, space="encode")
    assert projected.y is not None
    assert torch.equal(model.method.sample(1, z=projected.latent, y=projected.y), projected.images)
    record = ganvas.measure(out, data, n=8)
    assert set(record) == {"to b", "to a"}
    sheet = sample_grid(model, trainer.restore(out)[0].feed, 0)
    assert (
        sheet.height > sheet.width * 5 / 8
    )  # four rows of translations, two of samples, of eight each
