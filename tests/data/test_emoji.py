"""Rendering emoji from an installed font."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvas import data
from ganvas.core.errors import UserError
from ganvas.data.prepare import emoji


def test_a_code_point_has_one_class() -> None:
    points = [point for found in emoji.code_points().values() for point in found]
    assert len(points) == len(set(points))
    assert {0x1F600, 0x1F43C, 0x1F34E} <= set(points)
    people_and_hands = {*range(0x1F466, 0x1F479), *range(0x1F446, 0x1F451), 0x270A, 0x1F647}
    assert not people_and_hands & set(points)


def test_class_folders_with_a_test_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rendered(font, points):
        return ((p, Image.new("RGB", (emoji.SIDE, emoji.SIDE), (p % 251, 9, 9))) for p in points)

    monkeypatch.setattr(emoji, "_opened", lambda font: None)
    monkeypatch.setattr(emoji, "_rendered", rendered)
    monkeypatch.setattr(
        emoji, "code_points", lambda: {"faces": [*range(0x1F600, 0x1F610)], "food": [0x1F34E]}
    )
    assert emoji.make(tmp_path / "set", 16) == 17
    assert (tmp_path / "set/train/food/1f34e-red-apple.png").is_file()
    feed = data.images(tmp_path / "set", size=16)
    assert (feed.info.count, feed.info.classes) == (15, ("faces", "food"))
    assert data.images(tmp_path / "set", size=16, part="test").info.count == 2
    with pytest.raises(UserError, match="already exists"):
        emoji.make(tmp_path / "set")


def test_the_font_of_the_package_has_them_in_color(tmp_path: Path) -> None:
    if not emoji.FONT.is_file():
        pytest.skip("fonts-noto-color-emoji is not installed")
    assert emoji.make(tmp_path / "set", 64) > 900
    (path,) = (tmp_path / "set").rglob("1f34e-red-apple.png")
    with Image.open(path) as apple:
        red, green, blue = np.asarray(apple)[40, 32].tolist()
    assert red > 2 * max(green, blue)


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="8 to 136"):
        emoji.make(tmp_path / "set", 7)
    with pytest.raises(UserError, match=r"no font .*install Debian's package"):
        emoji.make(tmp_path / "set", font=tmp_path / "x.ttf")
    (tmp_path / "x.ttf").write_bytes(b"not a font")
    with pytest.raises(UserError, match=r"cannot be used .*install Debian's package"):
        emoji.make(tmp_path / "set", font=tmp_path / "x.ttf")
    fontpkg = pytest.importorskip("fontpkg", reason="the extra `demo` is not installed")
    plain = fontpkg.families()["arvo"].files[0].path
    with pytest.raises(UserError, match="none of the emoji"):
        emoji.make(tmp_path / "set", font=plain)
    assert not (tmp_path / "set").exists()
