"""Write a word with images of letters: one file for each letter, which ends in -A.png.

python examples/word.py letters/test/A GANVAS word.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image


def word(folder: Path, text: str) -> Image.Image:
    """The letters of a text side by side, in the first face of a folder that has them all.

    Raises `SystemExit` if no face has.
    """
    faces = sorted({file.stem.rpartition("-")[0] for file in folder.glob("*-*.png")})
    for face in faces:
        files = [folder / f"{face}-{letter}.png" for letter in text]
        if all(file.is_file() for file in files):
            return Image.fromarray(np.hstack([np.asarray(Image.open(file)) for file in files]))
    raise SystemExit(f"no face in {folder} has all letters of {text!r}")


def main() -> None:
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    folder, text, out = sys.argv[1:]
    word(Path(folder), text.upper()).save(out)


if __name__ == "__main__":
    main()
