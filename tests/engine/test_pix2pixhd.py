"""pix2pixHD's stages: the global generator alone, the enhancer alone, then both."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toys import toy_data, toy_run

from ganvas.core import Shape
from ganvas.core.errors import UserError
from ganvas.engine.engine import Engine
from ganvas.methods import SPADE, Pix2PixHD
from ganvas.training.testing import check_resume

STAGES = ("G.head=true", "coarse=4", "fixed=4")  # images; batches are of 2


def staged(tmp_path: Path) -> Engine:
    run = toy_run("pix2pixhd_local", toy_data("pix2pixhd_local", tmp_path / "data"), *STAGES)
    return Engine(run, run.data())


def test_resume_is_bitwise_across_stages(tmp_path: Path) -> None:
    check_resume(staged(tmp_path).run, tmp_path / "cuts")


def test_each_stage_trains_its_part(tmp_path: Path) -> None:
    engine = staged(tmp_path)
    G = engine.method.get_submodule("G")
    parts = {"coarse": ["coarse"], "head": ["head"], "enhancer": ["down", "up"]}

    def moved() -> set[str]:
        before = {k: v.clone() for k, v in G.state_dict().items()}
        engine.step()
        after = G.state_dict()
        return {
            part
            for part, names in parts.items()
            if any(not torch.equal(before[k], after[k]) for k in after if k.split(".")[0] in names)
        }

    found = [moved() for _ in range(6)]
    assert found[:2] == [{"coarse", "head"}] * 2
    assert found[2:4] == [{"enhancer"}] * 2
    assert found[4:] == [{"coarse", "enhancer"}] * 2


def test_a_global_generator_translates_at_the_full_size(tmp_path: Path) -> None:
    """A model saved in the first stage enlarges what it has learned."""
    engine = staged(tmp_path)
    engine.step()
    model = engine.model()
    assert isinstance(model, Pix2PixHD)
    x = engine.feed.fixed(2).x
    y = model.translate(x)
    assert y.shape == x.shape
    assert torch.equal(y[..., ::2, ::2], y[..., 1::2, 1::2])


@pytest.mark.parametrize(
    ("recipe", "more", "error"),
    [
        ("pix2pixhd", "coarse=4", "coarse=4 trains the global generator of a local enhancer"),
        ("pix2pixhd_local", "coarse=4 G.head=false", "with G.head=true, or set coarse=0"),
    ],
)
def test_settings_that_contradict(recipe: str, more: str, error: str, tmp_path: Path) -> None:
    run = toy_run(recipe, toy_data(recipe, tmp_path), *more.split())
    with pytest.raises(UserError, match=error):
        Engine(run, run.data())


def test_edges_need_label_maps(tmp_path: Path) -> None:
    run = toy_run("pix2pixhd", toy_data("pix2pixhd", tmp_path), "edges=true")
    assert Engine(run, run.data()).step().keys() >= {"G/loss", "D/loss"}
    with pytest.raises(UserError, match="edges=true needs label maps"):
        run.method(Shape(3, 16, 16))


def test_spade_with_edges_sees_a_plane_more(tmp_path: Path) -> None:
    run = toy_run("spade", toy_data("spade", tmp_path), "edges=true")
    engine = Engine(run, run.data())
    assert engine.step().keys() >= {"G/loss", "D/loss"}
    x = engine.feed.fixed(1).x
    whole, shaded = x.clone(), x.clone()
    shaded[:, 2, :, 16:] += 3 / 127.5  # of one color, a shade beside another
    model = engine.model()
    assert isinstance(model, SPADE)
    assert not torch.equal(model.translate(whole), model.translate(shaded))
