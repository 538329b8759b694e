"""Translate videos frame by frame, in constant memory; a second call continues."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.core import distributed
from ganvas.core.errors import CapabilityError, DataError, OutputError, UserError, printable
from ganvas.core.files import open_atomic, replacing
from ganvas.core.guards import plural, reason
from ganvas.core.progress import Progress
from ganvas.inference.frame_folder import FrameFolder, write_facts
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.inference.options import TranslateOptions
from ganvas.inference.results import options_of, require_same
from ganvas.media import clip, credentials, encode, video
from ganvas.media.clip import Clip, Frame
from ganvas.media.display import quarter_turns, turned
from ganvas.media.provenance import Label
from ganvas.media.samples import Decoded

PART = 32  # frames of a part of a video: what a kill costs at most
LARGEST_SIGNED = 1 << 28  # bytes: c2pa holds a file in memory


@dataclass
class TranslatedVideo:
    """Counts and messages of `translate_video`.

    frames: written by this call
    kept: frames that existed already
    notes: further messages for the user
    """

    frames: int = 0
    kept: int = 0
    notes: list[str] = field(default_factory=list)


def is_video(path: Path) -> bool:
    """Whether a file's ending is that of a video."""
    return path.suffix.lower() in video.VIDEOS


def translate_video(
    run: str | Path,
    source: str | Path,
    out: str | Path,
    *,
    to: str | None = None,
    checkpoint: str = "last",
    device: str = "cpu",
    precision: str = "fp32",
    backend: str = "torch",
    tile: int | None = None,
    seed: int = 0,
    at_training_size: bool = False,
    every: int = 1,
    start: float = 0.0,
    end: float | None = None,
    rate: float | None = None,
    crf: int = 16,
) -> TranslatedVideo:
    """Translate a video or a folder of frames to a video or to a folder of frames.

    Frames keep their timestamps, the video its rotation and color tags, and the audio
    is copied. An interrupted call can be repeated to continue, from the last keyframe
    of a video and from the last file of a folder. The frames of a folder are upright,
    of 16 bits if the video has more than 8; beside them lie timestamps.txt and
    clip.json, from which the way back has times, color tags and the shape of pixels.

    run: a run, or a model as of `ganvas.load`
    source: a video, or a folder of images in the order of their names
    out: an .mp4 file, or a folder
    to, tile, seed, at_training_size: see `inference.model.Model.translate`
    every: translate only every such frame
    start, end: seconds; the result begins at time 0
    rate: frames per second of a folder without timestamps.txt; None: 25
    crf: x264's constant rate factor, 0 to 51; less is better and larger

    Raises `UserError` for what cannot be read or written.
    """
    if every < 1 or start < 0 or (end is not None and end <= start):
        raise UserError(
            f"got every={every}, from {start} to {end}; expected a number from 1, and a time and a "
            "later one"
        )
    if rate is not None and not 0 < rate <= 1000:
        raise UserError(f"got {rate} frames per second; expected more than 0, up to 1000")
    if distributed.env_rank()[1] > 1:
        raise UserError("a video is translated by one process: leave torchrun out")
    source, out = Path(source), Path(out)
    to_video = is_video(out)
    if to_video and out.suffix.lower() != ".mp4":
        raise UserError(f"videos are written as .mp4; got {printable(out.name)}")
    opened = FrameFolder(source, rate) if source.is_dir() else Clip(source)
    try:
        model = load(
            run, checkpoint=checkpoint, device=device, precision=precision, backend=backend
        )
        if model.runtime.values is not None:
            raise CapabilityError("this model is for measurements, and videos are photographs")
        how: TranslateOptions = {
            "to": to,
            "tile": tile,
            "seed": seed,
            "at_training_size": at_training_size,
        }
        job = _Job(model, opened, how, every, start, end)
        return _to_video(job, source, out, crf) if to_video else _to_folder(job, out)
    finally:
        opened.close()


@dataclass
class _Job:
    """What is to be translated, and how."""

    model: Model
    source: Clip | FrameFolder
    how: TranslateOptions
    every: int
    start: float
    end: float | None

    def chosen(self, done: int = 0, last: int | None = None) -> Iterator[Frame]:
        """The frames to translate, as they are.

        done: number of those that exist already
        last: timestamp of the last of these
        """
        base = self.source.look.time_base
        first = last
        if first is None and self.start > 0:  # frames of the start itself are included
            first = round(self.start / base) - 1
        number = 0 if not done else 1  # counted from the first or last chosen frame
        for frame in self.source.frames(first):
            if self.end is not None and frame.pts >= round(self.end / base):
                return
            if number % self.every == 0:
                yield frame
            number += 1

    def translated(self, frame: Frame) -> np.ndarray:
        """The translation of one frame, RGB of its depth."""
        rows = self.model.bands(Decoded(frame.pixels), **self.how)
        pixels = np.concatenate(list(rows.bands))
        if pixels.shape[2] == 4:
            pixels = pixels[..., :3]
        return np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels

    @property
    def count(self) -> int:
        """An estimate of the number of frames."""
        look = self.source.look
        frames = self.source.count
        if self.end is not None:
            frames = min(frames, round(self.end * float(look.rate)))
        return max(frames - round(self.start * float(look.rate)), 1) // self.every or 1

    def notes(self) -> list[str]:
        """What could not be decoded, in one line."""
        times = self.source.damaged
        if not times:
            return []
        what = plural(len(times), "frame")
        return [f"{what} of {printable(self.source.path)} damaged, the first at {times[0]:.3f} s"]


def _to_video(job: _Job, source: Path, out: Path, crf: int) -> TranslatedVideo:
    report = TranslatedVideo()
    if out.resolve() == source.resolve():
        raise UserError(f"{printable(out)} is the clip itself: choose another --out")
    if out.exists():
        require_same(out, _facts(job))
        report.notes.append(f"{printable(out)} exists already and was kept")
        return report
    stat = source.stat()
    facts = [*map(str, (source.resolve(), stat.st_size, stat.st_mtime_ns, crf, PART))]
    facts += [job.model.facts["weights"], json.dumps(job.how, sort_keys=True)]
    facts += map(str, (job.every, job.start, job.end, job.source.look))
    name = hashlib.blake2b(json.dumps(facts).encode(), digest_size=6).hexdigest()
    folder = out.parent / f".{name}.parts"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        parts = _existing(folder)
        last = None
        for first, part in parts:
            frames, latest = clip.last_of(part)
            report.kept, last = report.kept + frames, first + latest
        frames = job.chosen(report.kept, last)
        with Progress(job.count, quiet=False, what="translating") as bar:
            while (head := next(frames, None)) is not None:
                group = itertools.chain([head], itertools.islice(frames, PART - 1))
                part = folder / f"{len(parts):06d}_{head.pts}.mp4"
                with replacing(part) as file:
                    clip.write_part(file, _counted(group, job, report, bar), job.source.look, crf)
                parts.append((head.pts, part))
        if not parts:
            raise DataError(f"{printable(source)} has no frame there that can be read")
        report.notes += job.notes() + _join(job, parts, out)
    except OSError as e:
        raise OutputError(
            f"{printable(out)} could not be written: {reason(e)}. Free some space, or choose a "
            "folder that you may write to; the same command continues"
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
    return report


def _join(job: _Job, parts: Sequence[tuple[int, Path]], out: Path) -> list[str]:
    """Write the video. Returns notes about what it lacks."""
    sound = job.source if isinstance(job.source, Clip) else None
    cut = job.start > 0 or job.end is not None
    span = (job.start, float("inf") if job.end is None else job.end) if cut else None
    label = Label.of(_facts(job), True)
    lost: list[str] = []

    def write(file: Any) -> None:
        lost[:] = clip.assemble(file, parts, sound, label, span)

    with open_atomic(out) as file:
        credentials.write_signed(write, file, ".mp4", label, out.parent, LARGEST_SIGNED)
    return [f"without the audio ({codec}), which MP4 does not hold" for codec in lost]


def _facts(job: _Job) -> dict[str, Any]:
    """What the mark of a result says of its model, input and options."""
    options = options_of(job.model, job.how)
    source, seed = printable(job.source.path.name), job.how.get("seed")
    return {"source": source, "seed": seed, "options": options, **job.model.facts}


def _existing(folder: Path) -> list[tuple[int, Path]]:
    """(timestamp of the first frame, file) of all parts up to the first gap."""
    found = []
    for number, part in enumerate(sorted(folder.glob("*.mp4"))):
        index, _, pts = part.stem.partition("_")
        if int(index) != number:
            break
        found.append((int(pts), part))
    return found


def _counted(
    frames: Iterator[Frame], job: _Job, report: TranslatedVideo, bar: Progress
) -> Iterator[Frame]:
    for frame in frames:
        yield frame._replace(pixels=job.translated(frame))
        report.frames += 1
        bar.update(report.kept + report.frames)


def _to_folder(job: _Job, out: Path) -> TranslatedVideo:
    report, times = TranslatedVideo(), list[str]()
    base, zero = job.source.look.time_base, None
    try:
        out.mkdir(parents=True, exist_ok=True)
        with Progress(job.count, quiet=False, what="translating") as bar:
            for number, frame in enumerate(job.chosen()):
                zero = frame.pts if zero is None else zero
                times.append(f"{float((frame.pts - zero) * base * 1000):.6f}")
                target = out / f"{number:06d}.png"
                facts = {**_facts(job), "time": times[-1]}
                matrix = job.source.look.matrix  # known from the first frame on
                turns = quarter_turns(matrix)
                facts |= {"turned": str(turns)} if matrix and turns else {}
                if os.path.exists(target):
                    require_same(target, facts, marked=True)
                    report.kept += 1
                    continue
                pixels = job.translated(frame)
                pixels = np.ascontiguousarray(turned(pixels, turns)) if turns else pixels
                height, width, channels = pixels.shape
                rows = encode.Rows([pixels], width, height, channels, 8 * pixels.itemsize)
                encode.save_rows(rows, target, composite=True, **facts)
                report.frames += 1
                bar.update(report.kept + report.frames)
        if not times:
            raise DataError(f"{printable(job.source.path)} has no frame there that can be read")
        write_facts(out, times, job.source.look)
    except OSError as e:
        raise OutputError(f"{printable(out)} could not be written: {reason(e)}") from None
    report.notes += job.notes()
    if isinstance(job.source, Clip) and job.source.sound:
        report.notes.append("without the audio, which a folder of frames does not hold")
    if quarter_turns(job.source.look.matrix) is None:
        report.notes.append("the frames are not turned: the clip's angle is no quarter turn")
    return report


def seconds(text: str) -> float:
    """Seconds of "90", "1:30" or "0:01:30.5". Raises `UserError` for other text."""
    total = 0.0
    try:
        for part in text.split(":"):
            number = float(part)
            if not 0 <= number < 1e9:
                raise ValueError
            total = 60 * total + number
    except ValueError:
        raise UserError(
            f"got the time {text!r}; expected seconds, or minutes and seconds as in 1:30"
        ) from None
    return total
