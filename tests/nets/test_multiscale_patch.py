"""Patches of constant size make a whole image, whatever its size and channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from toys import lively, toy_run

import ganvas
from ganvas.claims.kit.costs import kept_bytes
from ganvas.core import Batch, Shape
from ganvas.core.errors import UserError
from ganvas.engine.engine import Engine
from ganvas.media.grid import beside
from ganvas.methods import MultiscalePatch
from ganvas.methods.multiscale_patch import middle, starts
from ganvas.nets.multiscale_patch import PatchScores
from ganvas.recipes import find


def stack(folder: Path, channels: int, side: int = 32, count: int = 6) -> Path:
    """Arrays of 16 bits: squares on a ramp."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = np.linspace(0, 20_000, side)[:, None, None] + np.zeros((side, side, channels))
        top, left = rng.integers(0, side // 2, 2)
        pixels[top : top + side // 3, left : left + side // 3] += 30_000
        np.save(folder / f"{i}.npy", pixels.astype(np.uint16))
    return folder


def engine(tmp_path: Path, channels: int = 2, *more: str) -> Engine:
    run = toy_run("multiscale_patch", stack(tmp_path / "data", channels), *more)
    return Engine(run, run.data())


@pytest.mark.parametrize(
    ("length", "patch", "margin"), [(32, 32, 6), (64, 32, 6), (128, 32, 6), (24, 8, 1)]
)
def test_middles_cover_a_length(length: int, patch: int, margin: int) -> None:
    counts = np.zeros(length, int)
    for start in starts(length, patch, margin):
        assert start % 2 == 0
        span = middle(slice(start, start + patch), length, margin)
        counts[span] += 1
    assert counts.min() == 1
    assert counts.max() <= 2, "only the last patch overlaps"


def test_a_network_of_one_pixel_makes_the_same_image_by_patches(tmp_path: Path) -> None:
    """If a patch's pixel depends on its own pixel alone, patches change nothing."""
    method: Any = engine(tmp_path).method.eval()
    weights = torch.tensor([0.5, 0.3, -0.2])

    def pointwise(edges: Tensor, low: Tensor | None, level: int) -> Tensor:
        if low is None:
            return torch.nn.functional.avg_pool2d(edges, 2).expand(-1, 2, -1, -1)
        mixed = torch.einsum("nchw,c->nhw", torch.cat([edges, low], 1), weights)
        return torch.stack([mixed, -mixed], 1)

    method.G.forward = pointwise
    low, edges = torch.rand(2, 2, 24, 40), torch.rand(2, 1, 48, 80)
    nearest = torch.nn.functional.interpolate(low, scale_factor=2, mode="bilinear")
    whole, patched = pointwise(edges, nearest, 1), method.enlarged(low, edges, 1)
    inner = torch.zeros(48, 80, dtype=torch.bool)
    inner[1:-1, 1:-1] = True
    torch.testing.assert_close(patched[..., inner], whole[..., inner])


def test_levels_learn_one_after_the_other(tmp_path: Path) -> None:
    game = engine(tmp_path)
    moved: list[set[str]] = []
    for _ in range(6):  # batches of 4, 8 images of each of the levels 0, 1 and 2
        before = {k: v.clone() for k, v in game.method.named_parameters()}
        game.step()
        after = dict(game.method.named_parameters())
        names = {k for k in after if k.startswith("G.") and not torch.equal(before[k], after[k])}
        moved.append({".".join(k.split(".")[1:3]) if "fine" in k else "coarse" for k in names})
    assert moved == [{"coarse"}] * 2 + [{"fine.0"}] * 2 + [{"fine.1"}] * 2


def test_what_a_level_learns_from_is_aligned(tmp_path: Path) -> None:
    """A patch's low image is the reduced patch, enlarged, and lies anywhere."""
    method = engine(tmp_path, 2, "noise=0").method
    assert isinstance(method, MultiscalePatch)
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    y = torch.stack([rows, columns]).expand(64, 2, 32, 32)
    pair = Batch(x=-y, y=y)
    method.current_stage = type(method.current_stage)(2)
    batch = method.cut(pair)
    assert batch.real.shape == batch.low.shape == (64, 2, 8, 8)
    inner = (slice(None), slice(None), slice(2, 6), slice(2, 6))
    torch.testing.assert_close(batch.real[inner], batch.low[inner])
    torch.testing.assert_close(batch.edges, -batch.real.mean(1, keepdim=True))
    corners = batch.real[:, 0, 0, 0].unique().tolist()
    assert corners == list(range(0, 25, 2))
    method.current_stage = type(method.current_stage)(0)
    batch = method.cut(pair)
    assert batch.edges.shape == (64, 1, 16, 16)
    assert batch.real.shape == (64, 2, 8, 8)


def test_a_discriminator_that_is_right_rests(tmp_path: Path) -> None:
    game = engine(tmp_path, 1, "most_accurate=-1")
    assert not any(k.startswith("D/") for k in game.step())
    game = engine(tmp_path / "other", 1, "most_accurate=1")
    assert any(k.startswith("D/") for k in game.step())


def saved(method: MultiscalePatch, batch: Batch) -> int:
    """Bytes that a step of G keeps for its gradients, weights aside."""

    def loss() -> Tensor:
        cut = method.cut(batch)
        return method.g_loss(cut.having(**method.fake(cut))).loss

    return kept_bytes(method, loss)


def test_memory_of_a_step_does_not_grow_with_the_size() -> None:
    bytes_of = {}
    for size in (64, 128):
        run = find("multiscale_patch_small")(1)
        method: Any = run.method(Shape(1, size, size))
        assert isinstance(method, MultiscalePatch)
        method.current_stage = type(method.current_stage)(method.levels)
        bytes_of[size] = saved(
            method, Batch(x=torch.rand(2, 1, size, size), y=torch.rand(2, 1, size, size))
        )
    assert bytes_of[64] == bytes_of[128]


@pytest.mark.parametrize("channels", [3, 4])
def test_a_model_of_many_channels_makes_16_bits_of_any_sketch(
    channels: int, tmp_path: Path
) -> None:
    data = stack(tmp_path / "data", channels, count=3)
    model = ganvas.train(
        "multiscale_patch", data, out=tmp_path / "run", images=24, size=32, batch=4, seed=1,
        set=["G.width=2", "G.blocks=1", "D.width=2", "side=8", "method.images=8"],
    )  # fmt: skip
    lively(model.method.get_submodule("G"))
    drawing = tmp_path / "drawing.png"
    Image.new("RGB", (70, 50), "white").save(drawing)
    image = model.translate(drawing, output="torch")
    assert image.shape == (channels, 50, 70)
    array = model.translate(drawing, output="numpy")
    assert array.shape == ((50, 70, 3) if channels == 3 else (50, 70 * channels, 1))
    assert array.dtype == np.uint16
    seen = image if channels == 3 else beside(image)
    expected = ((seen + 1) * 32767.5).round().movedim(0, -1).numpy()
    assert np.abs(array - expected).max() <= 1
    assert (tmp_path / "run" / "samples" / "000000024.png").is_file()
    loaded = ganvas.load(tmp_path / "run")
    assert loaded.method.multiple == 32


def test_sizes_that_are_no_doublings_are_named(tmp_path: Path) -> None:
    run = toy_run("multiscale_patch", stack(tmp_path / "data", 1, side=40), "data.size=40")
    with pytest.raises(UserError, match=r"patches of 8 pixels are doubled to 16, 32.*40x40"):
        Engine(run, run.data())
    with pytest.raises(UserError, match="side of 8, 16, 32 or 64 pixels; got 12"):
        PatchScores(1, 12)
