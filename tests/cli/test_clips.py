"""Clips: read, and translated frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganvas import load
from ganvas.core.errors import DataError
from ganvas.inference.translate_clip import translate_clip
from ganvas.media import provenance, video

COLORS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]


@pytest.fixture
def frames() -> list[Image.Image]:
    return [Image.new("RGB", (160, 128), color) for color in COLORS]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.mp4"])
def test_frames_and_rate_are_read(name: str, frames: list[Image.Image], tmp_path: Path) -> None:
    file = tmp_path / name
    if name.endswith(".mp4"):
        video.save(frames, file, 10)
    else:
        options: dict[str, Any] = {"lossless": True} if name.endswith(".webp") else {}
        frames[0].save(file, save_all=True, append_images=frames[1:], duration=100, **options)
    assert video.is_clip(file)
    clip = video.read(file)
    assert round(clip.fps) == 10
    found = [np.asarray(frame.convert("RGB"))[64, 80].astype(int) for frame in clip.frames]
    assert abs(np.array(found) - COLORS).max() <= 12  # H.264 and palettes round


def test_what_is_no_clip(
    frames: list[Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames[0].save(tmp_path / "one.gif")
    (tmp_path / "text.gif").write_text("no image")
    assert not video.is_clip(tmp_path / "one.gif")
    assert not video.is_clip(tmp_path / "text.gif")
    (tmp_path / "text.mp4").write_text("no video")
    video.save(frames, tmp_path / "a.mp4", 10)
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n")
    for name in ("text.gif", "text.mp4", "list.mp4", "none.mp4"):
        with pytest.raises(DataError, match="cannot be read"):
            video.read(tmp_path / name)
    long = tmp_path / "long.gif"
    frames[0].save(long, save_all=True, append_images=frames[1:])
    monkeypatch.setattr(video, "MOST_FRAMES", 3)
    with pytest.raises(DataError, match="more than 3 frames"):
        video.read(long)


def test_each_frame_is_translated(toy: Any, frames: list[Image.Image], tmp_path: Path) -> None:
    model = load(toy("domains").run)
    file, target = tmp_path / "in.gif", tmp_path / "out.gif"
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=100)
    made = translate_clip(model, file, target, to="a")
    for before, after in zip(made.before.frames, made.after.frames, strict=True):
        assert np.array_equal(np.asarray(after), np.asarray(model.translate(before, to="a")))
    assert len(video.read(target).frames) == 4
    mark = provenance.read(target)
    assert (mark["generated"], mark["facts"]["source"]) == (True, "in.gif")
