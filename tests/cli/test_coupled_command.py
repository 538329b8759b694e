"""CoGAN by the commands: two folders without pairs give a model of pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from toys import SMALL, toy_images

from ganvas.apps.cli.common import usage_of
from ganvas.core.errors import UserError
from ganvas.evaluation.evaluate import measure
from ganvas.inference.load import load
from ganvas.training.trainer import train


def test_from_two_folders_to_pairs(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "run"
    a, b = toy_images(data / "A", 8, channels=1), toy_images(data / "B", 5, channels=1, seed=1)
    small = [s for s in SMALL["cogan"] if not s.startswith(("data.", "batch"))]
    model = train("cogan", f"{a},{b}", out=out, size=20, batch=4, images=8, set=small)
    with Image.open(out / "samples" / "000000008.png") as sheet:
        assert sheet.size == (8 * 22 - 2, 8 * 22 - 2), "four pairs in a row"
    assert (out / "measures.jsonl").read_text(encoding="utf-8").count("frechet") == 1
    assert usage_of(out, model.info).startswith("ganvas sample")
    assert "m.sample(" in (out / "model" / "README.md").read_text(encoding="utf-8")

    loaded = load(out)
    pairs = loaded.sample(6, seed=3, output="torch")
    each = [
        loaded.sample(3, seed=3, labels=[loaded.class_number(d)] * 3, output="torch")
        for d in ("a", "b")
    ]
    torch.testing.assert_close(pairs, torch.stack(each, 1).flatten(0, 1))
    assert len(loaded.walk(2, frames=2, label=1)) == 4
    by_folder, by_paths = (
        measure(out, against, n=16) for against in (data, f"{a},{b}")
    )  # as two classes
    assert by_folder["values"] == by_paths["values"]
    assert by_folder["protocol"]["real"]["count"] == 13

    with pytest.raises(UserError, match="Nearest: 28x28"):
        train("cogan", data, out=tmp_path / "other", size=32)
