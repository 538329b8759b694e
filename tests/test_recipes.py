"""Recipes that follow a published configuration, number by number."""

from __future__ import annotations

from typing import Any

import pytest

from ganvas import recipes
from ganvas.core import Shape, config
from ganvas.recipes import catalog

PUBLISHED = {
    # tkarras/progressive_growing_of_gans, 2504c3f, config.py: preset-v1-1gpu, -celebahq.
    "progan": {
        "method.D.group": 16,
        "method.fade": 800_000,
        "method.hold": 800_000,
        "method.batches": {256: 14, 512: 6, 1024: 3},
        "batch": 16,
        "images": 19_000_000,
        "data.flip": True,
    },
    # The same with -cifar10 and -cond.
    "progan_labels": {
        "method.D.group": 16,
        "method.labels": True,
        "images": 19_000_000,
        "data.flip": False,
    },
    # brain-research/self-attention-gan, ad9612e, flags of model.py and train_imagenet.py.
    "sagan_official": {
        "method.G.attention": [32],
        "method.D.attention": [32],
        "optim.G.lr": 1e-4,
        "optim.D.lr": 4e-4,
        "optim.G.betas": (0.0, 0.999),
        "optim.D.betas": (0.0, 0.999),
        "lr": None,
        "batch": 4 * 64,  # towers
        "images": 2_000_000 * 256,
    },
}


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_recipe_equals_the_published_configuration(recipe: str) -> None:
    run = recipes.find(recipe)(50_000)
    for path, wanted in PUBLISHED[recipe].items():
        found = run
        for name in path.split("."):
            keywords = getattr(found, "keywords", None)
            found = (found if isinstance(found, dict) else keywords or vars(found))[name]
        assert found == wanted, path


@pytest.mark.parametrize("recipe", ["progan", "stylegan"])
def test_growth_of_older_runs_keeps_its_defaults(recipe: str) -> None:
    """Run files of earlier versions omit `fade` and `hold`; the defaults are theirs."""
    run: Any = config.load(config.dump(recipes.find(recipe)(1)))
    keywords = {k: v for k, v in run.method.keywords.items() if k not in ("fade", "hold")}
    growth = run.method.func(Shape(3, 8, 8), **keywords).growth
    assert (growth.fade, growth.hold) == (600_000, 600_000)


def test_the_history_has_every_recipe_once_from_the_oldest_paper_on() -> None:
    papers = catalog.history()
    years = [paper.year for paper in papers]
    assert years == sorted(years)
    assert min(years) >= 2013
    assert all(paper.idea and paper.use and paper.source for paper in papers)
    trained = [recipe for paper in papers for recipe in paper.commands]
    assert sorted(trained) == sorted(recipes.all_recipes())
