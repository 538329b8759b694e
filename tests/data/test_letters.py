"""The shipped set `letters`, and rendering from installed font packages."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvas import data
from ganvas.core.errors import UserError
from ganvas.data import sets
from ganvas.data.prepare import letters

FILE = Path(sets.__file__).parent / "letters.npz"


@pytest.fixture
def faces() -> list[letters.Face]:
    pytest.importorskip("fontpkg", reason="the extra `demo` is not installed")
    return letters.faces()


def test_every_face_has_every_letter_and_parts_share_no_family() -> None:
    with np.load(FILE) as archive:
        families = {
            part: set(archive["family"][archive["split"] == part]) for part in letters.PARTS
        }
        assert families == {part: set(names) for part, names in letters.PARTS.items()}
        assert (np.bincount(archive["labels"]) == len(archive["labels"]) / 26).all()


def test_training_opens_the_training_families_only() -> None:
    with np.load(FILE) as archive:
        counts = {part: int((archive["split"] == part).sum()) for part in letters.PARTS}
    train, test = data.images("letters"), data.images("letters", part="test")
    assert (train.info.count, test.info.count) == (counts["train"], counts["test"])
    assert train.info.classes == tuple(string.ascii_uppercase)
    assert (train.info.channels, train.info.height, train.info.width) == (1, 32, 32)
    assert train.info.fingerprint != test.info.fingerprint


def test_licenses_name_every_family() -> None:
    text = (FILE.parent / "LICENSES.txt").read_text(encoding="utf-8")
    assert all(f"\n{name}\n" in text for names in letters.PARTS.values() for name in names)
    assert "SIL OPEN FONT LICENSE Version 1.1" in text
    assert "Apache License\n" in text


def test_rendering_again_gives_the_shipped_pixels(faces: list[letters.Face]) -> None:
    with np.load(FILE) as archive:
        shipped = {k: archive[k] for k in ("images", "family", "weight", "italic", "split")}
    for face in faces[::40]:
        rows = shipped["family"] == face.family
        rows &= (shipped["weight"] == face.weight) & (shipped["italic"] == face.italic)
        images = face.render(32)
        assert rows.any() == letters.legible(images)
        if rows.any():
            # Equal with the Pillow that rendered them; another FreeType may round
            # differently. The
            # next weight of a family differs by 2 gray levels and more.
            difference = np.abs(shipped["images"][rows].astype(int) - images)
            assert difference.mean() < 0.25, face.name
            assert set(shipped["split"][rows]) == {face.part}


def test_class_folders(
    faces: list[letters.Face], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [f for f in faces if f.family in ("arvo", "kalam")]
    monkeypatch.setattr(letters, "faces", lambda: few)
    assert letters.make(tmp_path / "set", size=16) == 26 * len(few)
    assert (tmp_path / "set/test/Q/arvo-700-italic.png").is_file()
    feed = data.images(tmp_path / "set", size=16)
    assert (feed.info.count, feed.info.classes) == (26 * 3, tuple(string.ascii_uppercase))
    with pytest.raises(UserError, match="already exists"):
        letters.make(tmp_path / "set")


@pytest.mark.parametrize("pairs", ["light,bold", "roman,italic"])
def test_pairs(
    faces: list[letters.Face], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairs: str
) -> None:
    few = [
        f for f in faces if f.family in ("fredoka", "kalam", "lora") and f.weight in (300, 400, 700)
    ]
    monkeypatch.setattr(letters, "faces", lambda: few)
    letters.make(tmp_path / "set", size=32, pairs=pairs)
    feed = data.pairs(tmp_path / "set")
    assert feed.info.layout.endswith("matched by name")
    if pairs == "light,bold":  # the same letter on both sides, darker on one
        a, b = (
            np.asarray(Image.open(tmp_path / "set/train" / side / "kalam-H.png")) for side in "AB"
        )
        assert a.mean() > b.mean() + 10
        assert not (tmp_path / "set/val").exists()


def test_every_family_has_one_style() -> None:
    styled = [family for families in letters.STYLES.values() for family in families]
    assert sorted(styled) == sorted(f for families in letters.PARTS.values() for f in families)


def test_domains_hold_the_faces_of_their_styles(
    faces: list[letters.Face], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [f for f in faces if f.family in ("cinzel", "kalam", "jost", "lora") and f.weight == 400]
    monkeypatch.setattr(letters, "faces", lambda: few)
    count = letters.make(tmp_path / "set", size=32, domains="serif,script")
    files = {str(p.relative_to(tmp_path / "set")) for p in (tmp_path / "set").rglob("*.png")}
    assert {f"train/A/cinzel-400-{c}.png" for c in letters.LETTERS} <= files
    assert {f"train/B/kalam-400-{c}.png" for c in letters.LETTERS} <= files
    assert {f"val/A/lora-400-{c}.png" for c in letters.LETTERS} <= files
    assert len(files) == count
    assert not [f for f in files if "jost" in f]
    assert data.domains(tmp_path / "set", size=32).info.counts == {"a": 26, "b": 26}


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        ("serif,sanz", "'sanz' is no style. Did you mean 'sans'"),
        ("serif,serif", "two different styles"),
        ("serif", "two different styles"),
    ],
)
def test_mistakes_in_domains(tmp_path: Path, domains: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        letters.make(tmp_path / "set", domains=domains)
    with pytest.raises(UserError, match="give one of them"):
        letters.make(tmp_path / "set", pairs="thin,black", domains="serif,sans")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("thin,blak", "'blak' is no weight. Did you mean 'black'"),
        ("thin,thin", "two different weights"),
        ("thin", "two different weights"),
        ("roman,bold", "'roman' is no weight"),
    ],
)
def test_mistakes(tmp_path: Path, pairs: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        letters.make(tmp_path / "set", pairs=pairs)


@pytest.mark.parametrize("size", [7, 20_000])
def test_sizes_that_fonts_do_not_have(tmp_path: Path, size: int) -> None:
    with pytest.raises(UserError, match=r"letters have 8 to 2,048"):
        letters.make(tmp_path / "set", size=size)


def test_missing_packages_are_named(
    faces: list[letters.Face], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fontpkg

    installed = fontpkg.families()
    installed.pop("arvo")
    monkeypatch.setattr(fontpkg, "families", lambda: installed)
    with pytest.raises(
        UserError, match=r"missing: fontpkg-arvo\. Install them: pip install 'ganvas\[demo\]'"
    ):
        letters.make(tmp_path / "set")
