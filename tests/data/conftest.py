from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from sample_images import noise_image


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """make("A/1.png", "A/2.png", ...) writes noise images with different seeds.

    Returns their folder."""

    def write(
        *names: str, width: int = 20, height: int = 16, channels: int = 3, root: str = "set"
    ) -> Path:
        for i, name in enumerate(names):
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise_image(i, width, height, channels)).save(path)
        return tmp_path / root

    return write


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
