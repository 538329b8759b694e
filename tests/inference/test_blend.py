"""Models between two models."""

from pathlib import Path

import pytest
import torch
from toys import SMALL, toy_images

import ganvas
from ganvas.core.errors import UserError
from ganvas.inference.blend import blend
from ganvas.inference.load import contents


def test_weights_lie_between(tmp_path: Path):
    """The ends are the models themselves; the middle is their mean, and loads."""
    photos = toy_images(tmp_path / "photos", 6, side=30)
    runs = [tmp_path / "a", tmp_path / "b"]
    for seed, run in enumerate(runs):
        settings = [s for s in SMALL["compact"] if not s.startswith(("data.", "batch"))]
        ganvas.train(
            "compact", photos, out=run, size=16, batch=2, images=4, seed=seed, set=settings
        )
    a, b = (contents(run)[1] for run in runs)
    for weight in (0.0, 0.5, 1.0):
        blend(runs[0], runs[1], weight, tmp_path / f"{weight}")
        made = contents(tmp_path / f"{weight}")[1]
        for name, value in made.items():
            expected = (1 - weight) * a[name] + weight * b[name]
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-7)
    model = ganvas.load(tmp_path / "0.5")
    assert model.info["blend"] == {"models": ["a", "b"], "weight": 0.5}
    assert model.translate(photos / "000.png").size == (120, 120)
    with pytest.raises(UserError, match="not an empty folder"):
        blend(runs[0], runs[1], 0.5, tmp_path / "0.5")
    with pytest.raises(UserError, match="expected 0 to 1"):
        blend(runs[0], runs[1], 1.5, tmp_path / "new")


def test_other_networks_are_refused(tmp_path: Path):
    digits = [tmp_path / "4", tmp_path / "8"]
    for width, run in zip((4, 8), digits, strict=True):
        sets = [f"G.width={width}", "D.width=4"]
        ganvas.train("dcgan", "digits", out=run, size=16, batch=8, images=8, set=sets)
    with pytest.raises(UserError, match=r"have different networks: .* the first is G"):
        blend(digits[0], digits[1], 0.5, tmp_path / "new")
    assert not (tmp_path / "new").exists()
