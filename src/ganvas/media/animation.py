"""Read short animations and videos whole (`media.clip` reads long ones)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ganvas.core.errors import DataError, printable
from ganvas.core.guards import open_regular, reason
from ganvas.media import decode
from ganvas.media.clip import Clip
from ganvas.media.display import quarter_turns, turned
from ganvas.media.samples import Broken, as_image, eight_bit
from ganvas.media.video import VIDEOS

MOST_FRAMES = 240
MOST_PIXELS = 1 << 27  # of all frames


class Animation(NamedTuple):
    """Frames and their rate.

    frames: of one size, mode RGB or RGBA
    fps: frames per second
    """

    frames: list[Image.Image]
    fps: float


def is_animation(path: Path) -> bool:
    """Whether a file is a video by its suffix, or an image of several frames."""
    if path.suffix.lower() in VIDEOS:
        return True
    try:
        decode.read_header(str(path))
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) > 1 and image.format != "TIFF"
    except (Broken, OSError, ValueError, SyntaxError, EOFError):
        return False


def read(path: Path) -> Animation:
    """Decode an animated GIF, WebP or PNG, or a video, upright.

    Raises `DataError` if it cannot be read or has more than 240 frames or 2^27 pixels,
    and `UserError` for a video without the package `av`.
    """
    if path.suffix.lower() in VIDEOS:
        return _of_video(path)
    try:
        open_regular(path).close()
        return _of_image(path)
    except (Broken, OSError, ValueError, SyntaxError, EOFError) as e:
        raise DataError(f"{printable(path.name)} cannot be read: {reason(e)}") from None


def _of_image(path: Path) -> Animation:
    decode.read_header(str(path))
    frames, milliseconds = [], 0.0
    with Image.open(path) as image:
        count = getattr(image, "n_frames", 1)
        _check_length(path, count, image.width * image.height)
        for i in range(count):
            image.seek(i)
            milliseconds += float(image.info.get("duration") or 100)
            frames.append(decode.read(image.copy()))
    mode = "RGBA" if any(frame.mode == "RGBA" for frame in frames) else "RGB"
    frames = [frame.convert(mode) for frame in frames]
    return Animation(frames, 1000 * len(frames) / milliseconds)


def _of_video(path: Path) -> Animation:
    with closing(Clip(path)) as clip:
        frames = list(_upright(path, clip))
        if not frames:
            raise DataError(f"{printable(path)} has no frames that can be read")
        return Animation(frames, float(clip.look.rate))


def _upright(path: Path, clip: Clip) -> Iterator[Image.Image]:
    for i, frame in enumerate(clip.frames()):
        _check_length(path, i + 1, frame.pixels.shape[0] * frame.pixels.shape[1])
        pixels = eight_bit(frame.pixels)
        turns = quarter_turns(clip.look.matrix)
        yield as_image(pixels if turns is None else turned(pixels, turns))


def _check_length(path: Path, frames: int, pixels: int) -> None:
    if frames > MOST_FRAMES or frames * pixels > MOST_PIXELS:
        raise DataError(
            f"{printable(path.name)} has more than {MOST_FRAMES} frames, or more than "
            f"{MOST_PIXELS // 10**6} megapixels in all: cut it, or make it smaller"
        )
