"""Translate a short animation or video, frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ganvas.core.errors import printable
from ganvas.inference.model import Model
from ganvas.media import animation, video
from ganvas.media.animation import Animation


class TranslatedAnimation(NamedTuple):
    """An animation and its translation."""

    before: Animation
    after: Animation


def translate_animation(
    model: Model,
    file: Path,
    target: Path,
    *,
    to: str | None = None,
    at_training_size: bool = False,
) -> TranslatedAnimation:
    """Translate each frame by itself and write the result.

    file: an animated GIF, WebP or PNG, or a video
    target: .gif or .mp4
    to, at_training_size: as of `Model.translate`

    Raises `UserError` as `Model.translate`, `animation.read` and `video.save` do.
    """
    before = animation.read(file)
    frames = [
        model.translate(frame, to=to, at_training_size=at_training_size) for frame in before.frames
    ]
    after = Animation(frames, before.fps)
    facts = {**model.facts, "source": printable(file.name)}
    video.save(frames, target, max(round(before.fps), 1), composite=True, **facts)
    return TranslatedAnimation(before, after)
