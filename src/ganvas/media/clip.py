"""Read and write video files frame by frame, with their timestamps, tags and audio.

The package av (PyAV) does the work (extra `video`). A clip is written in parts, each a
file that begins with a keyframe: after a kill, only the last part is made again. Frames
are encoded without reordering, so that a packet has the timestamp of its frame.
"""

from __future__ import annotations

import heapq
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ganvas.core.errors import DataError, UserError, printable
from ganvas.core.guards import open_regular, reason
from ganvas.media.provenance import STATEMENT, Label
from ganvas.media.video import library, xmp_box

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

# A playlist under the name of a video could make FFmpeg open other files and addresses.
_SAFE = {
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg",
    "protocol_whitelist": "file",
}
MOST_PIXELS = 1 << 26  # of a frame
UNSPECIFIED = 2  # of H.273: matrix, primaries and transfer that are not known


class Frame(NamedTuple):
    """One frame.

    pts, duration: in units of the clip's time base; duration 0: unknown
    pixels: RGB, uint8 or uint16 [H, W, 3]
    """

    pts: int
    duration: int
    pixels: np.ndarray


@dataclass(frozen=True)
class Look:
    """All that says how the frames of a clip are to be shown.

    time_base: seconds in a unit of time
    rate: frames per second on average
    color: range, matrix, primaries and transfer by the numbers of H.273 and FFmpeg
    aspect: width of a pixel over its height; None: unknown
    matrix: the nine numbers of the display matrix (rotation, mirroring); None: upright
    deep: more than 8 bits
    """

    time_base: Fraction
    rate: Fraction
    color: tuple[int, int, int, int] = (0, UNSPECIFIED, UNSPECIFIED, UNSPECIFIED)
    aspect: Fraction | None = None
    matrix: tuple[int, ...] | None = None
    deep: bool = False


class Clip:
    """An open video file.

    look: see `Look`
    count: frames by the header, or an estimate; 0: unknown
    damaged: times in seconds of packets that could not be decoded, so far
    """

    def __init__(self, path: Path) -> None:
        """Open a file. Raises `DataError` if it is no video."""
        self.path, self.damaged = path, list[float]()
        av = library()
        name = printable(path)
        try:
            open_regular(path).close()
            self._container: Any = av.open(str(path), metadata_errors="replace", options=_SAFE)
        except FileNotFoundError:
            raise UserError(f"there is no file {name}") from None
        except (OSError, av.error.FFmpegError) as e:
            raise DataError(f"{name} is no video that can be read ({reason(e)})") from None
        videos = [
            s
            for s in self._container.streams.video
            if s.codec_context is not None
            and not s.disposition & av.stream.Disposition.attached_pic
        ]
        if not videos:
            self.close()
            raise DataError(f"{name} holds no video")
        stream = self._stream = videos[0]
        if stream.time_base is None or not 0 < stream.width * stream.height <= MOST_PIXELS:
            self.close()
            raise DataError(f"{name} has frames of {stream.width}x{stream.height}")
        self.look = self._look()
        rate, length = self.look.rate, self._container.duration or 0
        self.count = stream.frames or round(float(rate) * length / 1e6)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _look(self) -> Look:
        stream, coder = self._stream, self._stream.codec_context
        bits = coder.format.components[0].bits if coder.format else 8
        bounds, matrix = int(coder.color_range), int(coder.colorspace)
        color = (bounds, matrix, int(coder.color_primaries), int(coder.color_trc))
        return Look(
            time_base=stream.time_base,
            rate=stream.average_rate or stream.guessed_rate or Fraction(25),
            color=color,
            aspect=stream.sample_aspect_ratio,
            deep=bits > 8,
        )

    def frames(self, after: int | None = None) -> Iterator[Frame]:
        """The frames in the order of their timestamps, which rise.

        after: only those with a greater timestamp

        What cannot be decoded is entered in `damaged`. The display matrix, which comes
        with the first frame, is entered in `look`. Raises `DataError` for a frame of
        another size.
        """
        av, form = library(), "rgb48le" if self.look.deep else "rgb24"
        if after is not None:
            self._container.seek(after, stream=self._stream)
        last, size = after, None
        for packet in self._packets():
            try:
                decoded = packet.decode()
            except (av.error.FFmpegError, ValueError):
                self._damage(packet)
                continue
            for frame in decoded:
                if frame.is_corrupt:
                    self._damage(frame)
                pts = frame.pts if frame.pts is not None else frame.dts
                if pts is None or (last is not None and pts <= last):
                    continue
                last = pts
                self._read_matrix(frame)
                size = size or (frame.width, frame.height)
                if size != (frame.width, frame.height):
                    raise DataError(
                        f"{printable(self.path)} changes its size at "
                        f"{float(pts * self.look.time_base):.3f} s, from {size[0]}x{size[1]} to "
                        f"{frame.width}x{frame.height}: translate up to there with --until"
                    )
                pixels = frame.to_ndarray(format=form)
                yield Frame(pts, frame.duration or 0, pixels)

    def _packets(self) -> Iterator[Any]:
        """The packets of the video; a cut file ends early."""
        av = library()
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError:
                self.damaged.append(self.damaged[-1] if self.damaged else 0.0)
                return
            yield packet

    def _damage(self, timed: Any) -> None:
        time = timed.pts if timed.pts is not None else timed.dts
        self.damaged.append(float((time or 0) * self.look.time_base))

    def _read_matrix(self, frame: Any) -> None:
        if self.look.matrix is not None:
            return
        found = frame.side_data.get(library().sidedata.sidedata.Type.DISPLAYMATRIX)
        if found is not None:
            matrix = tuple(np.frombuffer(bytes(found), np.int32).tolist())
            self.look = replace(self.look, matrix=matrix)

    @property
    def sound(self) -> list[AudioStream]:
        """The audio streams."""
        return list(self._container.streams.audio)

    @property
    def metadata(self) -> Mapping[str, str]:
        """Title, date and other facts in the header."""
        return self._container.metadata


def write_part(file: Path, frames: Iterator[Frame], look: Look, quality: int) -> None:
    """Write frames as an MP4 file of H.264 that begins at time 0.

    frames: at least one; all of one size
    quality: x264's constant rate factor, 0 to 51; less is better
    """
    av, deep = library(), look.deep
    first = next(frames)
    height, width = first.pixels.shape[:2]
    scale = {"movie_timescale": str(look.time_base.denominator)}
    with av.open(str(file), "w", format="mp4", options=scale) as out:
        stream: Any = out.add_stream("h264", rate=look.rate)
        # Sides must be even: an odd side repeats its last row or column.
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p10le" if deep else "yuv420p"
        coder = stream.codec_context
        coder.options = {"crf": str(quality), "bf": "0"}
        coder.time_base = stream.time_base = look.time_base
        coder.color_range, coder.colorspace, coder.color_primaries, coder.color_trc = look.color
        if look.aspect:
            coder.sample_aspect_ratio = look.aspect
        stream.set_display_matrix(look.matrix)
        durations: dict[int, int] = {}
        for frame in itertools.chain([first], frames):
            _encode(out, stream, frame, first.pts, look, durations)
        for packet in stream.encode():
            _mux(out, packet, durations)


def _encode(
    out: Any, stream: Any, frame: Frame, start: int, look: Look, durations: dict[int, int]
) -> None:
    av, pixels = library(), frame.pixels
    odd = (0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)
    pixels = np.ascontiguousarray(np.pad(pixels, odd, mode="edge"))
    form = "rgb48le" if pixels.dtype == np.uint16 else "rgb24"
    picture = av.VideoFrame.from_ndarray(pixels, format=form)
    bounds, matrix = look.color[:2]
    picture = picture.reformat(
        format=stream.pix_fmt,
        dst_colorspace=None if matrix == UNSPECIFIED else matrix,
        dst_color_range=bounds or None,
    )
    picture.pts, picture.time_base = frame.pts - start, look.time_base
    durations[frame.pts - start] = frame.duration
    for packet in stream.encode(picture):
        _mux(out, packet, durations)


def _mux(out: Any, packet: Any, durations: dict[int, int]) -> None:
    length = durations.pop(packet.pts, 0)
    if length:
        packet.duration = length
    out.mux(packet)


def assemble(
    file: IO[bytes],
    parts: Sequence[tuple[int, Path]],
    sound: Clip | None,
    label: Label,
    span: tuple[float, float] | None,
) -> list[str]:
    """Join parts and the packets of the audio to one MP4 file, marked as generated.

    parts: (timestamp of the first frame, file)
    sound: where audio and metadata come from
    span: (start, end) in seconds of the source: only its audio, from time 0 on

    Returns names of audio codecs that MP4 does not hold.
    """
    av, lost = library(), list[str]()
    opened = [(start, av.open(str(part))) for start, part in parts]
    try:
        first = opened[0][1].streams.video[0]
        base = first.time_base
        scale = {"movie_timescale": str(base.denominator)}
        with av.open(file, "w", format="mp4", options=scale) as out:
            if sound is not None:
                out.metadata.update({k: v for k, v in sound.metadata.items() if k in _FACTS})
            out.metadata["comment"] = STATEMENT
            video = out.add_stream_from_template(first)
            video.time_base = base
            streams: dict[Any, Any] = {}
            for stream in sound.sound if sound is not None else []:
                if _holds(stream):
                    streams[stream] = out.add_stream_from_template(stream)
                else:
                    lost.append(
                        printable(stream.codec_context.name if stream.codec_context else "?")
                    )
            shift = opened[0][0] if span else 0
            begin = Fraction(shift) * base
            sources = [_joined(opened, video, shift)]
            if streams and sound is not None:
                sources.append(_audio(sound, streams, span, begin))
            for _, _, packet in heapq.merge(*sources, key=lambda item: item[:2]):
                out.mux(packet)
    finally:
        for _, part in opened:
            part.close()
    file.seek(0, io.SEEK_END)
    file.write(xmp_box(label))
    return lost


_FACTS = ("title", "artist", "album", "date", "creation_time", "location", "description")


def _holds(stream: Any) -> bool:
    """Whether MP4 holds the stream's codec."""
    av = library()
    try:
        with av.open(io.BytesIO(), "w", format="mp4") as out:
            out.add_stream_from_template(stream)
            out.start_encoding()
        return True
    except (av.error.FFmpegError, ValueError):
        return False


def _joined(opened: list[tuple[int, Any]], video: Any, shift: int) -> Iterator[Any]:
    """(seconds, 0, packet) of all parts' packets."""
    for start, part in opened:
        stream = part.streams.video[0]
        for packet in part.demux(stream):
            if packet.pts is None:
                continue
            packet.pts += start - shift
            packet.dts = packet.pts
            packet.stream = video
            yield float(packet.pts * packet.time_base), 0, packet


def _audio(
    sound: Clip, streams: Mapping[Any, Any], span: tuple[float, float] | None, begin: Fraction
) -> Iterator[Any]:
    """(seconds, 1, packet) of the audio, as it is."""
    with _reopened(sound) as container:
        of = {s.index: out for s, out in streams.items()}
        chosen = [s for s in container.streams.audio if s.index in of]
        for packet in container.demux(*chosen):
            if packet.dts is None or packet.pts is None:
                continue
            time = packet.pts * packet.time_base
            if span is not None:
                if time < begin or time >= span[1]:
                    continue
                ticks = round(begin / packet.time_base)
                packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
                time -= begin
            packet.stream = of[packet.stream.index]
            yield float(time), 1, packet


@contextmanager
def _reopened(clip: Clip) -> Iterator[Any]:
    """The file of a clip, from its beginning."""
    with library().open(str(clip.path), metadata_errors="replace", options=_SAFE) as container:
        yield container


def last_of(part: Path) -> tuple[int, int]:
    """(frames, timestamp of the last one) of a part."""
    with library().open(str(part)) as container:
        times = [p.pts for p in container.demux(video=0) if p.pts is not None]
        return len(times), max(times)
