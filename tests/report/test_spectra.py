"""Pages about a run of a spectrally normalized network: singular values, and attention."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import SMALL, distinct_recipes, toy_data, toy_run

from ganvas.core.errors import UserError
from ganvas.evaluation import spectra
from ganvas.inference import attention_page, model_file
from ganvas.inference.load import load
from ganvas.nets.attention import SelfAttention, attention_maps
from ganvas.training.trainer import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("biggan")
    data = toy_data("biggan", folder / "data")
    train("biggan", str(data), out=folder / "run", images=48, device="cpu", set=SMALL["biggan"])
    return folder / "run"


def test_singular_values_are_logged_and_drawn(run: Path, tmp_path: Path) -> None:
    from ganvas.engine.run_dir import read_lines

    found = spectra.curves(read_lines(run / "log.jsonl"))
    assert set(found) == {"G", "D"}
    assert set(found["G"]) == {"sigma0", "sigma1", "sigma2"}
    assert next(iter(found["G"]["sigma0"])) == "input", "layers in the network's order"
    with Image.open(spectra.plot(run, tmp_path / "plot.png")) as plot:
        assert plot.width > 1000
    page = (run / "report.html").read_text()
    assert "sigma0 of G" in page
    assert "sigma0/input" not in page, "a panel a player, not one a layer"
    with pytest.raises(UserError, match="png, svg or pdf"):
        spectra.plot(run, tmp_path / "plot.xyz")


def test_attention_page(run: Path, tmp_path: Path) -> None:
    with Image.open(
        attention_page.page(run, tmp_path / "page.png", n=2, points=[(0.5, 0.5), (0.0, 1.0)])
    ) as page:
        assert page.width > page.height
        assert np.asarray(page).std() > 0
    for points in ([], [(0.5, 1.5)]):
        with pytest.raises(UserError, match="from 0 to 1"):
            attention_page.page(run, tmp_path / "page.png", points=points)
    with pytest.raises(UserError, match=r"DOWN,ACROSS"):
        attention_page.parsed(["0.5"])


def test_maps_are_those_of_the_points() -> None:
    layer, x = SelfAttention(8), torch.randn(1, 8, 4, 6)
    net = torch.nn.Sequential(layer)
    with attention_maps(net, [(0.0, 0.0), (1.0, 1.0)]) as recorded:
        net(x)
    maps = {name: torch.cat(parts) for name, parts in recorded.items()}
    assert torch.equal(maps["0"].flatten(2), layer.maps(x)[:, [0, 23]])
    assert maps["0"].shape == (1, 2, 2, 3)


def test_a_model_truncates_the_same_wherever_it_is_loaded(run: Path) -> None:
    """Standing statistics of each truncation, whatever was sampled before."""
    one, two = load(run), load(run)
    kept = one.sample(3, seed=1, output="torch", truncation=0.5)
    two.sample(3, seed=1, output="torch")
    assert torch.equal(kept, two.sample(3, seed=1, output="torch", truncation=0.5))
    assert not torch.equal(kept, two.sample(3, seed=1, output="torch"))
    with pytest.raises(UserError, match="above 0"):
        one.sample(1, truncation=0.0)


@pytest.mark.parametrize("recipe", distinct_recipes())
def test_every_kind_of_recipe_has_a_page_or_a_reason(recipe: str, tmp_path: Path) -> None:
    """For every method that generates from noise, however its `sample` works."""
    run = toy_run(recipe, toy_data(recipe, tmp_path / "data"))
    feed = run.data()
    model_file.save(
        tmp_path / "model", run.method(feed.info.shape), run, feed.info.shape, {"recipe": recipe}
    )
    page = tmp_path / "page.png"
    if any(re.fullmatch(r"G\.attention=\[\d+\]", s) for s in SMALL[recipe]):
        assert attention_page.page(tmp_path / "model", page, n=2).is_file()
        return
    reason = r"has no attention layers: sagan and biggan|translates images"
    with pytest.raises(UserError, match=reason):
        attention_page.page(tmp_path / "model", page, n=2)
    assert not page.exists()
