"""Build the shipped data set `letters` from the font packages.

    pip install -e '.[demo]' && python tools/letters.py

Writes src/ganvas/data/sets/letters.npz and its LICENSES.txt. The licenses of the fonts
do not extend to documents made with them; names, copyright lines and license texts of
the fonts' own name tables and packages are kept beside the set all the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont

from ganvas.data.prepare import letters

SETS = Path(letters.__file__).parents[1] / "sets"
SIZE = 32
COPYRIGHT, LICENSE = 0, 13  # of a font's name table


def main() -> None:
    faces = {face: face.render(SIZE) for face in letters.faces()}
    faces = {face: images for face, images in faces.items() if letters.legible(images)}
    every = [face for face in faces for _ in letters.LETTERS]
    np.savez_compressed(
        SETS / "letters.npz",
        images=np.concatenate(list(faces.values())),
        labels=np.tile(np.arange(len(letters.LETTERS), dtype=np.uint8), len(faces)),
        family=np.array([face.family for face in every]),
        weight=np.array([face.weight for face in every], np.uint16),
        italic=np.array([face.italic for face in every]),
        split=np.array([face.part for face in every]),
    )
    (SETS / "LICENSES.txt").write_text(licenses(list(faces)), encoding="utf-8")
    print(
        f"{len(every)} letters of {len(faces)} faces, "
        f"{(SETS / 'letters.npz').stat().st_size:,} bytes"
    )


def licenses(faces: list[letters.Face]) -> str:
    """Families with copyright and license lines, then each license's text once."""
    lines = [
        "The images in letters.npz were rendered from the typefaces listed here. Their licences",
        "cover the font software, which is not contained, and not documents made with it.",
        "",
    ]
    texts: dict[str, str] = {}
    for family in sorted({face.family for face in faces}):
        path = next(face.path for face in faces if face.family == family)
        names = TTFont(path)["name"]
        text = (path.parents[1] / "LICENSE").read_text(encoding="utf-8")
        without = "The font names no licence; its package holds the one below."
        lines += [
            family,
            f"    {names.getDebugName(COPYRIGHT)}",
            f"    {names.getDebugName(LICENSE) or without}",
            "",
        ]
        start = next(m for m in ("SIL OPEN FONT LICENSE Version", "Apache License") if m in text)
        texts.setdefault(start, text[text.index(start) :].strip())
    rule = "-" * 88
    return "\n".join([*lines, *(f"{rule}\n{text}\n" for text in texts.values())])


if __name__ == "__main__":
    main()
