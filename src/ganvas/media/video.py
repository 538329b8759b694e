"""Read clips, and write generated ones as GIF and MP4 with their provenance."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ganvas.core.errors import DataError, UserError, did_you_mean, printable
from ganvas.core.files import write
from ganvas.core.guards import open_regular, reason
from ganvas.media import credentials, decode, provenance
from ganvas.media.provenance import Label
from ganvas.media.samples import Broken

VIDEOS = (  # read with the package `av`
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg"),
    *(".wmv", ".flv", ".ogv"),
)
# A playlist under the name of a video could make FFmpeg open other files and addresses.
SAFE = {
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg",
    "protocol_whitelist": "none",
}
MOST_FRAMES = 240  # of a clip that is read
MOST_PIXELS = 1 << 27  # of all its frames
LEAST = 128  # pixels of the shorter side; smaller frames are enlarged by repeating pixels
# XMP specification, part 3, section 1.2.7.1.
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


class Clip(NamedTuple):
    """A clip.

    frames: of one size, mode RGB or RGBA
    fps: frames per second
    """

    frames: list[Image.Image]
    fps: float


def is_clip(path: Path) -> bool:
    """Whether a file is a video by its suffix, or an image of several frames."""
    if path.suffix.lower() in VIDEOS:
        return True
    try:
        decode.read_header(str(path))
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) > 1 and image.format != "TIFF"
    except (Broken, OSError, ValueError, SyntaxError, EOFError):
        return False


def read(path: Path) -> Clip:
    """Decode a clip: an animated GIF, WebP or PNG, or a video.

    Raises `DataError` if it cannot be read or has more than 240 frames or 2^27 pixels,
    and `UserError` for a video without the package `av`.
    """
    try:
        open_regular(path).close()
        clip = _video(path) if path.suffix.lower() in VIDEOS else _animation(path)
    except (Broken, OSError, ValueError, SyntaxError, EOFError) as e:
        raise DataError(f"{printable(path.name)} cannot be read as a clip: {reason(e)}") from None
    if not clip.frames:
        raise DataError(f"{printable(path.name)} has no frames")
    return clip


def _animation(path: Path) -> Clip:
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
    return Clip(frames, 1000 * len(frames) / milliseconds)


def _video(path: Path) -> Clip:
    av: Any = library()
    frames: list[Image.Image] = []
    try:
        with open_regular(path) as file, av.open(file, options=SAFE) as container:
            stream = container.streams.video[0]
            for frame in container.decode(stream):
                _check_length(path, len(frames) + 1, frame.width * frame.height)
                frames.append(frame.to_image())
            fps = float(stream.average_rate or 25)
    except (av.FFmpegError, IndexError) as e:
        raise Broken(reason(e)) from None
    return Clip(frames, fps)


def _check_length(path: Path, frames: int, pixels: int) -> None:
    if frames > MOST_FRAMES or frames * pixels > MOST_PIXELS:
        raise DataError(
            f"{printable(path.name)} has more than {MOST_FRAMES} frames, or more than "
            f"{MOST_PIXELS // 10**6} megapixels in all: cut it, or make it smaller"
        )


def suffix() -> str:
    """The better format that can be written here: .mp4, or .gif without `av`."""
    try:
        library()
    except UserError:
        return ".gif"
    return ".mp4"


def save(
    frames: Sequence[Image.Image],
    path: str | Path,
    fps: int = 30,
    *,
    composite: bool = False,
    **facts: object,
) -> Path:
    """Write frames as a looping .gif or as .mp4, marked and signed, atomically.

    MP4 is H.264, and needs the package `av`.

    frames: images of one size
    path: its suffix chooses the format
    fps: frames per second
    composite: parts of the frames are real (`provenance.Label`)
    facts: further content of the mark

    Returns the path. Raises `UserError` for another suffix, and if the file cannot be
    written.
    """
    path = Path(path)
    makers = {".gif": gif, ".mp4": _mp4}
    if path.suffix.lower() not in makers:
        raise UserError(
            f"videos cannot be written as {path.name!r}. "
            f"{did_you_mean(path.suffix.lower(), makers)}"
        )
    if not frames or fps < 1:
        raise UserError(
            f"a video needs a frame and a rate of at least 1 per second; got {len(frames)} at {fps}"
        )
    times = -(-LEAST // min(frames[0].size))
    size = frames[0].width * times, frames[0].height * times
    large = [frame.resize(size, Image.Resampling.NEAREST) for frame in frames]
    label, suffix, signed = Label.of(facts, composite), path.suffix.lower(), io.BytesIO()
    data = makers[suffix](large, fps, label)
    credentials.write_signed(lambda plain: plain.write(data), signed, suffix, label)
    return write(path, signed.getvalue())


def gif(frames: Sequence[Image.Image], fps: float, label: Label | None) -> bytes:
    """A looping GIF, unsigned. label: its mark; None: of real frames, without one."""
    buffer = io.BytesIO()
    hundredths = max(round(100 / fps), 2)  # browsers slow faster GIFs down to 10 frames a second
    settings: dict[str, Any] = {"duration": 10 * hundredths, "loop": 0, "disposal": 1}
    if label is not None:
        settings["comment"] = provenance.STATEMENT.encode()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], **settings)
    data = buffer.getvalue()
    if label is None:
        return data
    # XMP specification, part 3, section 1.1.2: the packet as it is, and a trailer in
    # which a reader of blocks finds its end.
    trailer = bytes([1, *range(255, -1, -1), 0])
    return data[:-1] + b"\x21\xff\x0bXMP DataXMP" + label.packet() + trailer + data[-1:]


def _mp4(frames: list[Image.Image], fps: int, label: Label) -> bytes:
    av: Any = library()
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        container.metadata["comment"] = provenance.STATEMENT
        stream: Any = container.add_stream("h264", rate=fps, options={"crf": "16"})
        width, height = frames[0].size
        # Sides must be even: an odd side repeats its last row or column.
        odd = (0, height % 2), (0, width % 2), (0, 0)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            pixels = np.pad(np.asarray(frame.convert("RGB")), odd, mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue() + xmp_box(label)


def xmp_box(label: Label) -> bytes:
    """The mark as a box at the end of an MP4 file."""
    body = _XMP_BOX + label.packet()
    return struct.pack(">I4s", len(body) + 8, b"uuid") + body


def library() -> ModuleType:
    """The package av. Raises `UserError` if it is absent."""
    try:
        import av  # pyright: ignore[reportMissingImports] (an extra)
        import av.error
    except ImportError as e:
        raise UserError(
            f"MP4 and other videos need the package av ({reason(e)}). Install it: pip install "
            "'ganvas[video]'. Or use a .gif"
        ) from None
    av.logging.set_level(None)  # damage is reported here, once
    return av
