"""Other backends give the same images, or are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import toy_data, toy_run

from ganvas.core.errors import UserError
from ganvas.engine.engine import Engine
from ganvas.inference.model import Model
from ganvas.inference.sampler import batch_that_fits


def model(recipe: str, tmp_path: Path, *more: str, **how: Any) -> Model:
    run = toy_run(recipe, toy_data(recipe, tmp_path / "data"), *more)
    engine = Engine(run, run.data())
    for _ in range(2):
        engine.step()
    return Model(engine.model(), {"shape": {"channels": 3, "height": 16, "width": 16}}, **how)


def made(m: Model, count: int = 3) -> torch.Tensor:
    if hasattr(m.method, "translate"):
        x = torch.rand(count, 3, 20, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
        return m.translate(x, output="torch")
    return m.sample(count, seed=3, output="torch")


@pytest.mark.parametrize(
    ("recipe", "precision"),
    [
        ("cyclegan", "fp32"),
        ("dcgan_digits", "fp32"),
        ("wgan_gp", "fp32"),
        ("cyclegan", "bf16"),
        ("dcgan", "bf16"),
    ],
)
def test_openvino_generates_the_same_images(recipe: str, precision: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    torchs, its = (
        model(recipe, tmp_path),
        model(recipe, tmp_path, backend="openvino", precision=precision),
    )
    for count in (3, 2):  # any number from the first call on
        a, b = made(torchs, count), made(its, count)
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, atol=1e-4 if precision == "fp32" else 0.2, rtol=0)
    if recipe == "cyclegan":  # and any sides
        x = torch.rand(1, 3, 36, 16) * 2 - 1
        a, b = (m.translate(x, to="b", output="torch") for m in (torchs, its))
        torch.testing.assert_close(a, b, atol=1e-4 if precision == "fp32" else 0.2, rtol=0)


DROPOUT = ("G.depth=5", "data.size=32", "data.load=32")  # deep enough to have layers with noise


@pytest.mark.parametrize(
    ("recipe", "more", "message"),
    [
        ("pix2pix", DROPOUT, "draws random numbers"),
        ("progan", (), "use the backend torch"),
        ("unit", (), "use the backend torch"),
        ("cogan", (), "several domains"),
    ],
)
def test_networks_that_openvino_would_freeze_are_refused(
    recipe: str, more: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(UserError, match=message):
        made(model(recipe, tmp_path, *more, backend="openvino"))


def test_bf16_is_a_gray_level_away(tmp_path: Path) -> None:
    a, b = made(model("dcgan", tmp_path)), made(model("dcgan", tmp_path, precision="bf16"))
    assert b.dtype == torch.float32
    assert 0 < (a - b).abs().mean() < 2 / 127.5


def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="torch or openvino"):
        model("dcgan", tmp_path, backend="tensorrt")
    with pytest.raises(UserError, match="fp32 or bf16"):
        model("dcgan", tmp_path, precision="int8")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=r"ganvas\[openvino\]"):
        model("dcgan", tmp_path, backend="openvino")


def test_batches_are_sized_to_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    sizes = {"SC_PHYS_PAGES": 1 << 21, "SC_PAGE_SIZE": 4096}  # 8 GiB
    monkeypatch.setattr("os.sysconf", sizes.__getitem__)
    assert [batch_that_fits(side, side, cpu) for side in (32, 128, 256, 1024, 8192)] == [
        64,
        64,
        16,
        1,
        1,
    ]
