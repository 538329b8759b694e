"""Valid and invalid images for the tests of data."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def noise_image(seed: int, width: int = 20, height: int = 16, channels: int = 3) -> np.ndarray:
    """Noise, uint8 [H, W] or [H, W, C]: no two images are alike."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def broken_set(folder: Path) -> Path:
    """Eight valid images among every kind of invalid file."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(
            folder / f"good{i}.jpg"
        )
    whole = (folder / "good0.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("this is a text")
    (folder / "empty.png").write_bytes(b"")
    (folder / "bomb.png").write_bytes(bomb(30_000, 30_000))
    (folder / "large.png").write_bytes(
        bomb(10_000, 9_500)
    )  # between Pillow's warning and its error
    (folder / ".hidden.png").write_text("x")
    (folder / "notes.txt").write_text("not an image")
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    return folder


BAD = ["bomb.png", "cut.jpg", "dangling.png", "empty.png", "large.png", "text.png"]
