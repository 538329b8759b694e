"""The commands for colorization and drawings, with images of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import SMALL, toy_images

from ganvas.core.errors import UserError
from ganvas.data import derived
from ganvas.data.degradations import KINDS
from ganvas.evaluation.evaluate import measure
from ganvas.media.color import to_lab
from ganvas.training.trainer import train


@pytest.mark.parametrize("recipe", ["colour", "edges"])
def test_from_photographs_alone(recipe: str, tmp_path: Path) -> None:
    photos, out = toy_images(tmp_path / "photos", 8), tmp_path / "run"
    settings = [s for s in SMALL[recipe] if not s.startswith(("data.", "batch"))]
    model = train(recipe, photos, out=out, size=16, batch=2, images=4, set=settings)
    assert measure(out, str(photos), n=8)["to b"]["values"]["frechet"] >= 0
    gray = np.random.default_rng(0).integers(60, 200, (21, 30), np.uint8)
    made = model.translate(Image.fromarray(gray))
    assert (made.mode, made.size) == ("RGB", (30, 21))
    if recipe == "colour":
        light = (
            to_lab(torch.from_numpy(x).movedim(-1, 0)[None].float() / 127.5 - 1)[0, 0]
            for x in (np.array(made), gray[..., None].repeat(3, -1))
        )
        assert (next(light) - next(light)).abs().mean() < 1, (
            "of 100: the light is what it was, up to 8 bits"
        )


@pytest.mark.parametrize("kind", ["gray", "luma", "edges"])
def test_the_input_is_computed_from_the_target(kind: str, tmp_path: Path) -> None:
    photos = toy_images(tmp_path / "photos", 6)
    feed = derived(photos, kind=kind, size=16, load=18)  # pyright: ignore[reportArgumentType]
    batch = feed.draw(3, 4, seed=1)
    torch.testing.assert_close(batch.x, KINDS[kind](batch.y))
    assert torch.equal(batch.a, batch.x)
    whole = next(feed.batches(6))
    assert len(whole) == 6
    torch.testing.assert_close(whole.x, KINDS[kind](whole.y))
    with pytest.raises(UserError, match="gray or luma or edges"):
        derived(photos, kind="sepia")  # pyright: ignore[reportArgumentType]
