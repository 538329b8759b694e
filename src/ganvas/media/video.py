"""Write generated frames as GIF and MP4 with their provenance."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from ganvas.core.errors import UserError, did_you_mean
from ganvas.core.files import write
from ganvas.core.guards import reason
from ganvas.media import credentials, provenance
from ganvas.media.provenance import Label

VIDEOS = (  # read with the package `av`
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg"),
    *(".wmv", ".flv", ".ogv"),
)
LEAST = 128  # pixels of the shorter side; smaller frames are enlarged by repeating pixels
# XMP specification, part 3, section 1.2.7.1.
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


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
