"""Held-out pairs: measured at every snapshot; the best checkpoint by a chosen measure."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganvas.core.errors import UserError
from ganvas.data import label_maps
from ganvas.data.held_out import held_out
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.engine.restore import best_checkpoint
from ganvas.engine.run_dir import read_record, run_of
from ganvas.evaluation.paired import compare
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.training import snapshot
from ganvas.training.probe import Probe
from ganvas.training.trainer import resume, train

NET = ["G.width=4", "G.blocks=1"]
TOLD: dict[str, Any] = {"size": 16, "batch": 4, "device": "cpu", "images": 60, "seed": 1}


def photos(folder: Path, count: int, height: int = 40, width: int = 50) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(count)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "measures.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANVAS_WEIGHTS", raising=False)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SNAPSHOT_INTERVAL", 12)

    def distance(self: Probe, engine: Engine, model: Model) -> dict[str, float]:
        return {"frechet": float(engine.clock.images)}

    monkeypatch.setattr(Probe, "measure", distance)


@pytest.mark.usefixtures("often")
def test_whole_images_are_measured_as_translate_and_pixels_do(tmp_path: Path) -> None:
    """Not crops; cut to multiples of the scale; outputs rounded as in files."""
    data, test = photos(tmp_path / "photos", 3), photos(tmp_path / "test", 2, 39, 47)
    whole = (test / "1.png").read_bytes()
    (test / "2.png").write_bytes(whole[: len(whole) // 2])  # its header can be read
    run = tmp_path / "run"
    train("srresnet", data, out=run, test=test, best="psnr", set=NET, **TOLD)
    record = json.loads((run / "run.json").read_text())
    assert record["held_out"] == {
        "source": "test",
        "part": "all",
        "pairs": 2,
        "of": 3,
        "protocol": "y-crop4",
        "lpips": None,
    }
    assert str(tmp_path) not in (run / "run.json").read_text(), "paths are in local.json"
    measured = lines(run)
    assert [line["images"] for line in measured] == [12, 24, 36, 48, 60]
    model = load(run)
    opener = run_of(run, read_record(run)).data
    held = held_out(opener, opener().info, str(test))
    assert held is not None
    for side, folder in (("a", "made"), ("b", "whole")):
        (tmp_path / folder).mkdir()
        for i, (x, y) in enumerate(held.pairs()):
            assert y.shape[2:] == (36, 44)
            image = model.translate(x, output="torch") if side == "a" else y
            pixels = ((image[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5).round()
            file = tmp_path / folder / f"{i}.png"
            Image.fromarray(pixels.numpy().astype(np.uint8)).save(file)
    saved = compare(tmp_path / "made", tmp_path / "whole", protocol="y-crop4")
    assert measured[-1]["psnr"] == pytest.approx(saved["psnr"]["mean"], abs=1e-9)
    assert measured[-1]["ssim"] == pytest.approx(saved["ssim"]["mean"], abs=1e-9)
    assert "Held-out pairs" in (run / "report.html").read_text()


@pytest.mark.usefixtures("often")
def test_the_best_checkpoint_is_that_of_the_chosen_measure(tmp_path: Path) -> None:
    """PSNR grows and the stubbed distance grows: they choose opposite ends."""
    data = photos(tmp_path / "photos" / "train", 3)
    photos(tmp_path / "photos" / "test", 2)
    chosen = {}
    for best in ("frechet", "psnr"):
        run = tmp_path / best
        set_ = [*NET, "optim.G.lr=1e-3"]
        train("srresnet", tmp_path / "photos", out=run, best=best, set=set_, **TOLD)
        measured = lines(run)
        expected = (max if best == "psnr" else min)(measured, key=lambda line: line[best])
        assert best_checkpoint(run) == f"{expected['images']:09d}"
        assert best_checkpoint(run) in {p.name for p in checkpoint.all_of(run / "checkpoints")}
        chosen[best] = expected["images"]
        assert load(run, checkpoint="best").info["images_trained"] == expected["images"]
    assert chosen["frechet"] == 12, "the stub is smallest at first"
    assert chosen["psnr"] > 12
    part = json.loads((tmp_path / "psnr" / "run.json").read_text())["held_out"]["part"]
    assert part == "test", "the data's own test part is measured unasked"
    with pytest.raises(UserError, match="needs held-out pairs"):
        train("srresnet", data, out=tmp_path / "no", best="psnr", set=NET, **TOLD)
    assert not (tmp_path / "no").exists()


@pytest.mark.usefixtures("often")
def test_a_resumed_run_measures_the_same(tmp_path: Path) -> None:
    low, high = tmp_path / "low", tmp_path / "high"
    photos(low, 3, 30, 30)
    high.mkdir()
    for file in low.iterdir():
        Image.open(file).resize((120, 120)).save(high / file.name)
    data = f"{low},{high}"
    for name, images in (("whole", 36), ("cut", 12)):
        told = {**TOLD, "images": images}
        train("srresnet", data, out=tmp_path / name, test=data, set=NET, **told)
    resume(tmp_path / "cut", images=36, device="cpu")
    # The shorter run's ticks are not those of the longer one's; at its end all agree.
    assert lines(tmp_path / "cut")[-1] == lines(tmp_path / "whole")[-1]


def test_pairs_of_one_size_and_what_cannot_be_measured(tmp_path: Path) -> None:
    """pix2pix measures its test part at the training size; data without pairs have none."""
    for part in ("train", "test"):
        for side in "AB":
            photos(tmp_path / "pairs" / part / side, 2)
    small = ["G.width=2", "D.width=2", "G.depth=5", "data.load=34"]
    told = {**TOLD, "size": 32, "batch": 1, "images": 2}
    train("pix2pix", tmp_path / "pairs", out=tmp_path / "p", set=small, **told)
    record = json.loads((tmp_path / "p" / "run.json").read_text())["held_out"]
    assert (record["part"], record["pairs"], record["protocol"]) == ("test", 2, "rgb")
    assert {"psnr", "ssim"} < lines(tmp_path / "p")[-1].keys()
    # Label maps of the test part have colors that those of training lack.
    for part, value in (("train", 40), ("test", 90)):
        for file in (tmp_path / "pairs" / part / "A").iterdir():
            pixels = np.full((40, 50, 3), [value, 0, 200], np.uint8)
            pixels[:, 25:] = [0, 200, 0]
            Image.fromarray(pixels).save(file)
    maps = label_maps(tmp_path / "pairs", size=32)
    held = held_out(partial(label_maps, source=str(tmp_path / "pairs"), size=32), maps.info)
    assert held is not None
    reds = [float(x[0, 0, 0, 0]) for x, _ in held.pairs()]
    assert reds == pytest.approx([40 / 127.5 - 1] * 2), "the nearest color of training"
    alone = photos(tmp_path / "alone", 2)
    small = ["G.width=4", "D.width=4"]
    train("dcgan", alone, out=tmp_path / "d", test=alone, set=small, **{**told, "batch": 2})
    assert "psnr" not in lines(tmp_path / "d")[-1]
    with pytest.raises(UserError, match="needs held-out pairs"):
        train("dcgan", alone, out=tmp_path / "x", test=alone, best="psnr", set=small, **told)
    with pytest.raises(UserError, match="best takes 'frechet', 'psnr', 'ssim', 'lpips' or None"):
        train("srresnet", alone, out=tmp_path / "x", best="fid", set=NET, **told)  # type: ignore[arg-type]
    tiny = photos(tmp_path / "tiny", 2, 12, 12)
    with pytest.raises(UserError, match="sides of at least 19 pixels"):
        train("srresnet", alone, out=tmp_path / "x", test=tiny, set=NET, **TOLD)
    with pytest.raises(UserError, match="lpips-alex needs"):
        train("srresnet", alone, out=tmp_path / "x", test=alone, best="lpips", set=NET, **TOLD)
