"""Animations and videos: read whole, and translated frame by frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganvas import load
from ganvas.core.errors import DataError
from ganvas.inference.translate_animation import translate_animation
from ganvas.media import animation, clip, provenance, video

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
    assert animation.is_animation(file)
    found = animation.read(file)
    assert round(found.fps) == 10
    colors = [np.asarray(frame.convert("RGB"))[64, 80].astype(int) for frame in found.frames]
    assert abs(np.array(colors) - COLORS).max() <= 12  # H.264 and palettes round


def test_what_is_no_animation(
    frames: list[Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames[0].save(tmp_path / "one.gif")
    (tmp_path / "text.gif").write_text("no image")
    assert not animation.is_animation(tmp_path / "one.gif")
    assert not animation.is_animation(tmp_path / "text.gif")
    (tmp_path / "text.mp4").write_text("no video")
    video.save(frames, tmp_path / "a.mp4", 10)
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n")
    for name in ("text.gif", "text.mp4", "list.mp4", "none.gif"):
        with pytest.raises(DataError, match="be read"):
            animation.read(tmp_path / name)
    long = tmp_path / "long.gif"
    frames[0].save(long, save_all=True, append_images=frames[1:])
    monkeypatch.setattr(animation, "MOST_FRAMES", 3)
    with pytest.raises(DataError, match="more than 3 frames"):
        animation.read(long)


def test_a_video_that_was_filmed_upright_is_read_upright(tmp_path: Path) -> None:
    file = tmp_path / "phone.mp4"
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, :64] = 250  # of the frame's left half
    turned = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # clockwise by 90 degrees
    look = clip.Look(Fraction(1, 90_000), Fraction(10), matrix=turned)
    clip.write_part(file, iter([clip.Frame(0, 9000, pixels)]), look, 16)
    (frame,) = animation.read(file).frames
    assert frame.size == (64, 128)
    assert np.asarray(frame)[:60].mean() > 200  # left became the top
    assert np.asarray(frame)[68:].mean() < 50


def test_each_frame_is_translated(toy: Any, frames: list[Image.Image], tmp_path: Path) -> None:
    model = load(toy("domains").run)
    file, target = tmp_path / "in.gif", tmp_path / "out.gif"
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=100)
    made = translate_animation(model, file, target, to="a")
    for before, after in zip(made.before.frames, made.after.frames, strict=True):
        assert np.array_equal(np.asarray(after), np.asarray(model.translate(before, to="a")))
    assert len(animation.read(target).frames) == 4
    mark = provenance.read(target)
    assert (mark["generated"], mark["facts"]["source"]) == (True, "in.gif")
