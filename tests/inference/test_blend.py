"""Models between two models."""

from pathlib import Path

import pytest
import torch
from toys import SMALL, toy_images

import ganvas
from ganvas.core.errors import UserError
from ganvas.engine.restore import weights_of
from ganvas.inference.blend import blend
from ganvas.inference.importers.as_method import import_model
from ganvas.inference.load import contents
from ganvas.nets.super_resolution import CompactNet


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


def test_a_file_and_stages_of_the_run_that_started_from_it(shared: Path, tmp_path: Path):
    """A run from weights keeps them as its first checkpoint: both ways give one model."""
    file = shared / "golden" / "basicsr" / "srvgg_compact_x4.pth"
    photos = toy_images(tmp_path / "photos", 6, side=30)
    run, imported = tmp_path / "run", tmp_path / "imported"
    sets = ("G.width=16", "G.layers=6", "optim.G.lr=0.01")
    ganvas.train("compact", photos, out=run, size=16, batch=2, images=2, start_from=file, set=sets)
    import_model(file, imported)
    blend(imported, run, 0.25, tmp_path / "a")
    blend(run, imported, 0.75, tmp_path / "b")
    blend(run, run, 0.25, tmp_path / "stages", ["0", "last"])
    header, tensors = contents(tmp_path / "stages")
    assert header["blend"] == {"models": ["run, checkpoint 0", "run"], "weight": 0.25}
    for other in ("a", "b"):
        for name, value in contents(tmp_path / other)[1].items():
            torch.testing.assert_close(value, tensors[name], rtol=0, atol=1e-6)
    start, end = weights_of(run, "0")[0].state_dict(), contents(run)[1]
    moved = [k for k in end if not torch.equal(start[k], end[k])]
    assert moved
    for name in moved:
        assert not torch.equal(tensors[name], end[name])
    assert blend(run, run, 1, tmp_path / "first", "0").get("images_trained") == 0
    with pytest.raises(UserError, match="is a model, which has no checkpoints"):
        blend(imported, run, 0.5, tmp_path / "new", ["0", "last"])


def test_networks_that_compute_otherwise_are_refused(tmp_path: Path):
    """Rectifiers have no tensors."""
    net, models = CompactNet(width=4, layers=1, prelu=False), []
    torch.save(net.state_dict(), tmp_path / "net.pth")
    for activation in ("relu", "leakyrelu"):
        models.append(tmp_path / activation)
        import_model(tmp_path / "net.pth", models[-1], options={"act_type": activation})
    with pytest.raises(UserError, match=r"G\.body\.1 is ReLU.* and LeakyReLU"):
        blend(models[0], models[1], 0.5, tmp_path / "new")
