"""What a model is measured against: the streams, the values and the counts of its own data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toys import SMALL, toy_data

import ganvas
from ganvas.data import images
from ganvas.evaluation.diagnostics import EvaluationContext
from ganvas.evaluation.real_features import RealFeatures
from ganvas.inference.load import load
from ganvas.metrics.features import extractor


def test_directions_of_pairs_are_cached_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data are the same; what is "b" is not. A model folder knows its direction, too."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    pairs, extract, found = toy_data("pix2pix", tmp_path / "pairs"), extractor("random-conv-v1"), {}
    for direction in ("a2b", "b2a"):
        out = tmp_path / direction
        sets = [*SMALL["pix2pix"], f"data.direction={direction}"]
        model = ganvas.train("pix2pix", pairs, out=out, images=2, set=sets)
        for place in (out, out / "model"):
            real = RealFeatures(load(place), place, str(pairs), "train", extract)
            mean = next(real.feed.batches(8, side="b", device="cpu")).b.mean((0, 2, 3))
            found[direction, place.name == "model"] = (real.features("b").moments.mean, mean)
            assert real.protocol.get("direction", "a2b") == direction
        del model
    for folder in (False, True):
        (a, x), (b, y) = found["a2b", folder], found["b2a", folder]
        assert not torch.allclose(x, y, atol=1e-3)
        assert not torch.allclose(a, b, atol=1e-3)
    torch.testing.assert_close(found["b2a", False][0], found["b2a", True][0])


def test_test_images_of_measurements_have_the_training_window(tmp_path: Path) -> None:
    """Values of 16 bits are no photographs: black at 0 and white at 65,535 is another scale."""
    draws = np.random.default_rng(0)
    for part in ("train", "test"):
        folder = tmp_path / "data" / part
        folder.mkdir(parents=True)
        for i in range(4):
            values = draws.integers(0, 1000, (16, 16)).astype(np.uint16)
            Image.fromarray(values).save(folder / f"{i}.png")
    feed = images(str(tmp_path / "data"), size=16, window=(0, 1000))
    extract = extractor("random-conv-v1")
    unused: Any = None  # the model, and features of the training images
    context = EvaluationContext(unused, feed, unused, str(tmp_path / "data"), extract, 4, 0)
    assert context.test.info.values == feed.info.values
    assert float(context.test.fixed(4).x.std()) == pytest.approx(0.577, abs=0.03)


def test_inputs_are_drawn_without_their_features(tmp_path: Path) -> None:
    pairs, out = toy_data("pix2pix", tmp_path / "pairs"), tmp_path / "run"
    model = ganvas.train("pix2pix", pairs, out=out, images=2, set=SMALL["pix2pix"])
    real = RealFeatures(model, out, str(pairs), "train", extractor("random-conv-v1"))
    real.features = None  # type: ignore[assignment, method-assign]
    assert sum(len(part) for part in real.subset("a", 3, 0)) == 3
