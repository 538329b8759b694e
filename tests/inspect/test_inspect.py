"""Walks, style mixing, projections and sweeps, on a method with known results."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from toys import SMALL, toy_data, toy_images, toy_run

from ganvas import recipes
from ganvas.core import Method, Run, Samples, Shape
from ganvas.core.config import override
from ganvas.core.errors import CapabilityError, UserError
from ganvas.evaluation import nearest_page, truncation_sweep
from ganvas.inference import model_file, render
from ganvas.inference.latent import interpolation, projection, style_mixing
from ganvas.inference.latent.naming import latents, sample_names
from ganvas.inference.latent.projection import project
from ganvas.inference.model import Model
from ganvas.media import provenance, video

SHAPE = Shape(3, 16, 16)
INFO = {
    "shape": {"channels": 3, "height": 16, "width": 16, "classes": 0},
    "recipe": "toy",
    "images_trained": 0,
}


class Plain(Method):
    """An image is tanh of a linear map of z."""

    def __init__(self, shape: Shape = SHAPE) -> None:
        super().__init__()
        self.G = nn.Linear(4, shape.channels * shape.height * shape.width)
        self.side = shape.size

    def latent(self, n: int) -> Tensor:
        return torch.randn(n, 4)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        return self.G(self.latent(n) if z is None else z).tanh().view(n, -1, *self.side)


class WithStyles(Plain):
    """w is 2 z + 1 in each of ten layers; an image depends on the mean over the layers."""

    layers = 10

    def styles(self, z: Tensor, y: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        return (1 + 2 * truncation * z)[:, None].expand(-1, self.layers, -1)

    def synthesize(self, w: Tensor) -> Tensor:
        return super().sample(len(w), z=w.mean(1))

    def mean_style(self) -> Tensor:
        return torch.ones(4)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        return self.synthesize(self.styles(self.latent(n) if z is None else z))

    def truncated(self, z: Tensor, truncation: float, y: Tensor | None = None) -> Tensor:
        return self.synthesize(self.styles(z, y, truncation))


class WithEncoder(Plain):
    def encode(self, x: Tensor) -> Tensor:
        return (x.atanh().flatten(1) - self.G.bias) @ torch.linalg.pinv(self.G.weight).T


def model(kind: type[Plain] = WithStyles) -> Model:
    return Model(kind(), dict(INFO))


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_images_by_name() -> None:
    assert sample_names("3, 7") == [(3, 0), (7, 0)]
    assert sample_names("1-2,0:12,4:3-4") == [(1, 0), (2, 0), (0, 12), (4, 3), (4, 4)]
    for wrong in ("", "a", "3-1", "1:", "-3"):
        with pytest.raises(UserError, match=r"named as|names no sample"):
            sample_names(wrong)


def test_a_name_is_the_image_of_sample() -> None:
    m = model()
    grid = m.sample(9, seed=4, output="torch")
    z = latents(m.method, [(4, 7), (4, 2)])  # type: ignore[arg-type]
    torch.testing.assert_close(m.method.sample(2, z=z), grid[[7, 2]])  # type: ignore[operator]


def test_an_arc_keeps_its_speed_and_its_length() -> None:
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    found = interpolation.path(torch.cat([a, b]), 3, loop=False, curve="spherical")
    angle = torch.tensor([0.0, 30.0, 60.0, 90.0]).deg2rad()
    torch.testing.assert_close(found, 2 * torch.stack([angle.cos(), angle.sin()], 1))
    same = interpolation.path(torch.cat([a, 3 * a]), 2, loop=False, curve="spherical")
    torch.testing.assert_close(same, a * torch.tensor([[1.0], [2.0], [3.0]]))  # no angle


def test_a_walk_passes_its_images_and_closes() -> None:
    m = model(Plain)
    way = m.walk([(0, 0), (0, 5), (8, 0)], frames=4, output="torch")
    assert len(way) == 12
    torch.testing.assert_close(way[[0, 4]], m.sample(6, seed=0, output="torch")[[0, 5]])
    torch.testing.assert_close(way[8:9], m.sample(1, seed=8, output="torch"))
    assert len(m.walk(3, frames=4, loop=False, output="torch")) == 9
    with pytest.raises(UserError, match="at least 2 samples"):
        m.walk(1)


@pytest.mark.parametrize("recipe", sorted(SMALL))
def test_default_walks_pass_likely_latents_only(recipe: str, tmp_path: Path) -> None:
    """On arcs between normal latents; on lines between uniform ones, whose cube arcs leave."""
    run = toy_run(recipe, toy_data(recipe, tmp_path))
    feed = run.data()
    method = run.method(feed.info.shape)
    if not isinstance(method, Samples):
        pytest.skip("makes images from images")
    z = method.latent(2048)
    bounded = bool(z.abs().max() < 2.5)  # the largest of so many normal numbers is above 3
    assert method.curve == ("linear" if bounded else "spherical")
    if bounded:
        path = interpolation.path(z, 8, loop=True, curve=method.curve)
        assert path.abs().max() <= z.abs().max()


@pytest.mark.parametrize("recipe", ["stylegan", "stylegan2"])
def test_walks_and_mixes_truncate_the_layers_that_samples_do(recipe: str) -> None:
    """At 64 px: 10 layers, of which StyleGAN truncates 8."""
    run = recipes.find(recipe)(1)
    for assignment in (
        "G.widths=[4,4,4,4,4]",
        "G.latent=8",
        "G.style=8",
        "G.mapping=2",
        "D.widths=[4,4,4,4,4]",
    ):
        run = override(run, assignment)
    torch.manual_seed(0)
    method = run.method(Shape(3, 64, 64))
    method.G.w_avg += 1  # type: ignore[union-attr, operator]
    m = Model(method, {**INFO, "shape": {"channels": 3, "height": 64, "width": 64, "classes": 0}})
    assert m.method.layers == 10
    wanted = m.sample(3, seed=0, truncation=0.5, output="torch")
    assert not torch.allclose(wanted, m.sample(3, seed=0, output="torch"), atol=1e-2)
    way = m.walk(3, frames=2, truncation=0.5, output="torch")
    torch.testing.assert_close(way[::2], wanted)
    sheet = m.mix([(0, 0)], [(0, 1), (0, 2)], truncation=0.5, output="torch")
    torch.testing.assert_close(sheet[[3, 1, 2]], wanted)


def test_mixed_layers_are_the_columns() -> None:
    rows, columns = torch.zeros(2, 10, 1), torch.ones(3, 10, 1)
    mixed = style_mixing.mix_styles(rows, columns, style_mixing.layers("middle", 10))
    assert mixed.shape == (6, 10, 1)
    assert mixed[4, :, 0].tolist() == [0] * 4 + [1] * 4 + [0] * 2
    assert style_mixing.layers("fine", 10) == slice(8, 10)
    assert style_mixing.layers("2", 10) == slice(2, 3)
    for wrong in ("fine", "2-8", "8"):
        with pytest.raises(UserError, match="layers 0 to 7"):
            style_mixing.layers(wrong, 8)


def test_truncation_moves_towards_the_mean_and_is_refused_where_there_is_none() -> None:
    m = model()
    torch.testing.assert_close(
        m.sample(3, truncation=1.0, output="torch"), m.sample(3, output="torch")
    )
    narrow, wide = (m.sample(64, truncation=t, output="torch").std(0).mean() for t in (0.2, 1.0))
    assert narrow < wide / 2
    for ask in (lambda m: m.sample(1, truncation=0.5), lambda m: m.mix([(0, 0)], [(1, 0)])):
        with pytest.raises(CapabilityError, match=r"Plain has no .* Methods that can: "):
            ask(model(Plain))
    with pytest.raises(UserError, match="above 0"):
        m.sample(1, truncation=0.0)


@pytest.mark.parametrize(
    ("kind", "space", "steps"),
    [(Plain, None, 200), (WithStyles, None, 200), (WithStyles, "w+", 200), (WithEncoder, None, 0)],
)
def test_a_projection_finds_an_image_of_the_model(
    kind: type[Plain], space: Any, steps: int
) -> None:
    m = model(kind)
    x = m.sample(2, seed=3, output="torch")
    found = project(m.method, x, space=space, steps=steps)  # type: ignore[arg-type]
    assert found.space == {Plain: "z", WithStyles: space or "w", WithEncoder: "z"}[kind]
    assert found.psnr.min() > 30  # dB
    method: Any = m.method
    styled = kind is WithStyles
    again = method.synthesize(found.latent) if styled else method.sample(2, z=found.latent)
    torch.testing.assert_close(again.clamp(-1, 1), found.images)
    with pytest.raises(UserError, match=r"it has .*z"):
        project(m.method, x, space="v")  # type: ignore[arg-type]


def test_exploration_noise_is_of_the_whole_spread_of_w(monkeypatch: pytest.MonkeyPatch) -> None:
    """.05 sqrt(E|w - mean|^2), summed over w's dimensions (StyleGAN2-ADA's projector): here
    w is N(1, 2^2) in 4 of them."""
    noises = []
    descend = projection._descend

    def watched(*args: Any, noise: float = 0.0) -> tuple[Tensor, Tensor]:
        noises.append(noise)
        return descend(*args, noise=noise)

    monkeypatch.setattr(projection, "_descend", watched)
    m = model()
    project(m.method, m.sample(1, output="torch"), steps=1)  # type: ignore[arg-type]
    assert noises == [pytest.approx(0.05 * 2 * 4**0.5, rel=0.1)]


def test_a_projection_reports_its_distance(tmp_path: Path) -> None:
    """Of images that the model cannot make, too; and files say the same."""
    toy_images(tmp_path / "in", 2)
    m = model()
    files = sorted((tmp_path / "in").iterdir())
    rows = render.project(m, files, tmp_path / "out", steps=40)
    assert [r["picture"] for r in rows] == ["000.png", "001.png"]
    w = load_file(tmp_path / "out" / "000.safetensors")["latent"]
    error = (m.method.synthesize(w).clamp(-1, 1) - m.fitted(files[0])).div(2).square().mean()  # type: ignore[operator]
    assert rows[0]["psnr"] == pytest.approx(-10 * float(error.log10()), abs=0.01)
    assert provenance.read(tmp_path / "out" / "000.png")["facts"]["psnr"] == rows[0]["psnr"]
    assert json.loads((tmp_path / "out" / "projections.json").read_text()) == rows


def test_a_sweep_is_a_plot_and_a_record(tmp_path: Path) -> None:
    photos = toy_images(tmp_path / "photos", 24, side=16)
    run: Run = toy_run("dcgan", photos)
    model_file.save(
        tmp_path / "m", WithStyles(), replace(run, method=partial(WithStyles)), SHAPE, dict(INFO)
    )
    record = truncation_sweep.sweep(
        tmp_path / "m", str(photos), tmp_path / "s.png", truncations=(0.5, 1.0), n=16
    )
    assert [p["truncation"] for p in record["sweep"]] == [0.5, 1.0]
    assert {"precision", "recall"} <= record["sweep"][0]["values"].keys()
    assert record["protocol"]["fake"]["count"] == 16
    assert json.loads((tmp_path / "s.json").read_text())["protocol"] == record["protocol"]
    assert size(tmp_path / "s.png")[0] > 500
    nearest_page.neighbours(tmp_path / "m", str(photos), tmp_path / "n.png", n=3)
    assert provenance.read(tmp_path / "n.png")["generated"]


def test_videos_are_marked_as_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m = model(Plain)
    assert render.walk(m, tmp_path / "walk.gif", through="2", frames=3) == 6
    said = provenance.read(tmp_path / "walk.gif")
    assert said["generated"]
    assert said["facts"]["through"] == "2"
    with Image.open(tmp_path / "walk.gif") as film:
        assert film.n_frames == 6  # type: ignore[attr-defined]
        assert film.size == (128, 128)
        assert film.info["comment"] == provenance.STATEMENT.encode()
    render.walk(m, tmp_path / "strip.png", through="2", frames=5)
    assert size(tmp_path / "strip.png") == (5 * 18 - 2, 2 * 18 - 2)
    render.mix(model(), tmp_path / "mix.png", rows="0-1", columns="3:1,5,6", layers="1-3")
    assert size(tmp_path / "mix.png") == (4 * 18 - 2, 3 * 18 - 2)
    assert provenance.read(tmp_path / "mix.png")["generated"]
    with pytest.raises(UserError, match="videos cannot be written"):
        video.save(m.sample(2), tmp_path / "walk.avi")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"ganvas\[video\]"):
        render.walk(m, tmp_path / "walk.mp4")


def test_mp4(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    frames = [Image.new("RGB", (131, 129), colour) for colour in ("red", "green")]
    video.save(frames, tmp_path / "walk.mp4", fps=5, seed=3)
    assert provenance.read(tmp_path / "walk.mp4")["facts"] == {"seed": 3}
    with av.open(tmp_path / "walk.mp4") as film:
        assert film.metadata["comment"] == provenance.STATEMENT
        shown = [f.to_ndarray(format="rgb24") for f in film.decode(video=0)]
    assert len(shown) == 2
    assert shown[0].shape == (130, 132, 3)
    assert shown[0].mean((0, 1))[0] > 200
