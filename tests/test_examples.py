"""The scripts and settings of examples/ that `make demo-pairs` uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from ganvas.training import start

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_a_word_is_set_in_one_face(tmp_path: Path) -> None:
    for name, shade in {"a-A": 10, "b-A": 20, "b-C": 30}.items():
        Image.fromarray(np.full((4, 4), shade, np.uint8)).save(tmp_path / f"{name}.png")
    script = [sys.executable, EXAMPLES / "word.py", tmp_path]
    subprocess.run([*script, "aca", tmp_path / "word.png"], check=True)
    assert np.asarray(Image.open(tmp_path / "word.png"))[0].tolist() == (
        [20] * 4 + [30] * 4 + [20] * 4
    )
    failed = subprocess.run([*script, "xyz", tmp_path / "no.png"], capture_output=True, text=True)
    assert failed.returncode == 1
    assert "all letters of 'XYZ'" in failed.stderr


def test_the_settings_of_thin_to_black_fit_pix2pix(tmp_path: Path) -> None:
    for side in "AB":
        (tmp_path / side).mkdir()
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / side / "a-A.png")
    text = start.config_text("pix2pix", tmp_path, config=EXAMPLES / "thin_to_black.toml")
    assert "lr.end = 20000" in text
    assert "images = 20000" in text
