"""The algorithms of DiscoGAN and DualGAN, and DualGAN's noise at inference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toys import toy_data, toy_run

from ganvas.core import Batch, Method
from ganvas.engine.engine import Engine
from ganvas.nets.cogan import Generators


def toy(recipe: str, folder: Path, *more: str) -> tuple[Engine, Any]:
    run = toy_run(recipe, toy_data(recipe, folder), *more)
    engine = Engine(run, run.data())
    method: Method = engine.method
    return engine, method


def test_discogans_turns_and_its_weight_of_the_way_back(tmp_path: Path) -> None:
    """Of three iterations D takes the first; r is recomputed between two of G's."""
    _, method = toy("discogan", tmp_path, "curriculum=5", "early=0.1", "late=0.7")
    turns: list[Any] = []
    for step in range(3):
        clock = type("At", (), {"step": step})()
        for update in method.updates(clock, iter(range(100))):
            turns.append(
                (
                    update.player,
                    update.batch,
                    [o.keywords for o in update.objective] if update.player == "G" else None,
                )
            )
    assert [player for player, *_ in turns] == list("DGG" * 3)
    assert [batch for _, batch, _ in turns] == [0, 1, 2] * 3, "images of its own for each iteration"
    assert [{o["to"] for o in said} for _, _, said in turns if said] == [{"a", "b"}] * 6
    assert [said[0]["r"] for _, _, said in turns if said] == [0.1, 0.1, 0.1, 0.7, 0.7, 0.7]


@pytest.mark.parametrize(
    ("model", "moved"), [("gan", ["G_ab", "D_b"]), ("recongan", ["G_ab", "G_ba", "D_b"])]
)
def test_discogans_lesser_models_leave_the_other_direction_alone(
    tmp_path: Path, model: str, moved: list[str]
) -> None:
    engine, method = toy("discogan", tmp_path, f"model={model}")
    before = {k: v.clone() for k, v in method.named_parameters()}
    engine.step()
    names = {k.split(".")[0] for k, v in method.named_parameters() if not torch.equal(v, before[k])}
    assert names == set(moved)
    assert method.directions == ("b",)


def test_discogans_loss_is_the_documented_sum(tmp_path: Path) -> None:
    engine, method = toy("discogan", tmp_path)
    real = engine.feed.draw(0, 8, seed=0)
    terms = method.g_loss(real, to="b", r=0.3)
    fake = method.G_ab(real.a)
    wanted = 0.7 * (0.1 * terms.log["adversarial"] + 0.9 * terms.log["features"])
    pixels = (((method.G_ba(fake) + 1) / 2 - (real.a + 1) / 2) ** 2).mean()  # in [0, 1]
    torch.testing.assert_close(terms.loss, wanted + 0.3 * pixels)


def test_dualgans_critics_are_clipped_after_each_step(tmp_path: Path) -> None:
    engine, method = toy("dualgan", tmp_path, "clip=0.015", "n_critic=2")
    turns: list[str] = []
    plain = engine.apply

    def watched(update: Any) -> Any:
        turns.append(update.player)
        if len(turns) > 1:
            assert all(w.abs().max() <= 0.015 for w in engine.parameters["D"])
        return plain(update)

    engine.apply = watched  # type: ignore[method-assign]
    engine.step()
    engine.step()
    assert "".join(turns) == "DDGDDG"
    assert all(w.abs().max() <= 0.015 for D in (method.D_a, method.D_b) for w in D.parameters())


@pytest.mark.parametrize(("dropout", "varies"), [(2, True), (0, False)])
def test_dualgans_noise_is_dropout_that_stays_on(
    tmp_path: Path, dropout: int, varies: bool
) -> None:
    engine, _ = toy("dualgan_official", tmp_path, f"G.dropout={dropout}")
    engine.step()
    model: Any = engine.model()
    assert not model.training
    x = engine.feed.draw(0, 4, seed=0).a
    with torch.no_grad():
        assert torch.equal(model.translate(x), model.translate(x)) != varies


def test_cogans_updates_share_z_and_its_initialization_is_documented(tmp_path: Path) -> None:
    """The recipe's docstring states the differences from the authors' code."""
    engine, method = toy("cogan", tmp_path)
    latents: list[torch.Tensor] = []
    plain = method.latent
    method.latent = lambda n: latents.append(plain(n)) or latents[-1]
    engine.step()
    assert len(latents) == 1
    kernels = torch.cat([p.detach().flatten() for p in Generators().parameters() if p.ndim == 4])
    assert float(kernels.std()) == pytest.approx(0.02, rel=0.01)
    batch = method.fake(Batch(a=torch.zeros(64, 3, 20, 20)))
    assert min(float(x.detach().min()) for x in batch.values()) < 0, "images in [-1, 1]"
