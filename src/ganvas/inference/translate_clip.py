"""Translate a clip, frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ganvas.core.errors import printable
from ganvas.inference.model import Model
from ganvas.media import video
from ganvas.media.video import Clip


class TranslatedClip(NamedTuple):
    """A clip and its translation."""

    before: Clip
    after: Clip


def translate_clip(
    model: Model,
    file: Path,
    target: Path,
    *,
    to: str | None = None,
    at_training_size: bool = False,
) -> TranslatedClip:
    """Translate each frame of a clip by itself and write the result.

    file: an animated GIF, WebP or PNG, or a video
    target: .gif or .mp4
    to, at_training_size: as of `Model.translate`

    Raises `UserError` as `Model.translate`, `video.read` and `video.save` do.
    """
    before = video.read(file)
    frames = [
        model.translate(frame, to=to, at_training_size=at_training_size) for frame in before.frames
    ]
    after = Clip(frames, before.fps)
    facts = {**model.facts, "source": printable(file.name)}
    video.save(frames, target, max(round(before.fps), 1), composite=True, **facts)
    return TranslatedClip(before, after)
