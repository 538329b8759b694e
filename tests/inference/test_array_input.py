"""Images as arrays: what `output="numpy"` gives can be given back."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from toys import SMALL, toy_data

import ganvas
from ganvas.core.errors import UserError
from ganvas.inference.model import Model

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (19, 22, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("run")
    data = toy_data("cyclegan", folder / "data")
    return ganvas.train(
        "cyclegan", data, out=folder / "run", size=16, images=4, set=SMALL["cyclegan"]
    )


def test_an_array_is_translated_like_the_image_of_its_samples(model: Model) -> None:
    expected = model.translate(Image.fromarray(COLOR), output="numpy")
    assert np.array_equal(model.translate(COLOR, output="numpy"), expected)
    batch = model.translate(np.stack([COLOR, COLOR[::-1]]), output="numpy")
    assert isinstance(batch, list)
    assert len(batch) == 2
    assert np.array_equal(batch[0], expected)
    assert model.translate(COLOR[..., 0], output="numpy").shape[:2] == (19, 22)
    deep = model.translate(COLOR.astype(np.uint16) * 257, output="numpy")
    assert deep.dtype == np.uint16
    assert np.array_equal(np.round(deep / 257), expected)
    alpha = np.dstack([COLOR, COLOR[..., 0]])
    assert np.array_equal(model.translate(alpha, output="numpy")[..., 3], alpha[..., 3])


def test_an_array_is_fitted_like_the_image_of_its_samples(model: Model) -> None:
    expected = model.fitted(Image.fromarray(COLOR))
    assert model.fitted(COLOR).equal(expected)
    assert model.fitted(np.stack([COLOR, COLOR])).shape[0] == 2
    assert model.fitted(COLOR.astype(np.uint16) * 257).equal(expected)


@pytest.mark.parametrize(
    "samples",
    [COLOR / 255, COLOR.transpose(2, 0, 1), np.zeros((4, 5, 6, 7, 3), np.uint8), COLOR[:0]],
)
def test_other_arrays_are_refused(model: Model, samples: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"an array of an image is uint8 or uint16"):
        model.translate(samples)
