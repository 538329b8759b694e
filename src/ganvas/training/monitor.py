"""See in a run's log that its training goes wrong, and say how.

`find` is a pure function of log.jsonl and measures.jsonl (`ganvas.training.probe`), so
it can be applied to any old run. A detector (`ganvas.training.detectors`) sees the log
up to a moment and decides by its last values; `find` asks it at every snapshot, so that
a finding never rests on what came later. Measured in docs/monitor.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from ganvas.training.detectors import DETECTORS, FEWEST, Evidence, Log

# The names of the faults, in plain words, and what they mean.
FAULTS: dict[str, tuple[str, str]] = {
    "collapse": ("sudden collapse", "the samples have suddenly become nearly alike"),
    "partial": ("partial collapse", "the samples leave out a growing part of the data"),
    "memorizing": (
        "memorizing discriminator",
        "D knows the training images by heart: it scores images that it has not seen as generated",
    ),
    "vanished": (
        "vanished signal",
        "D tells all images apart with ease, and G learns nothing from it",
    ),
    "divergence": ("divergence", "losses or gradients grow without bound"),
    "weak": ("weak discriminator", "D scores generated images no lower than real ones"),
    "oscillation": (
        "stuck oscillation",
        "the images get better and worse in turn, and no better in all",
    ),
    "checkerboard": (
        "checkerboard",
        "the samples have a regular pattern of the enlarging layers that the data lack",
    ),
    "decay": ("decay", "the images have been getting worse since their best"),
}


@dataclass(frozen=True)
class Finding:
    """A fault of a training.

    kind: a key of `FAULTS`
    images: at which the log first shows it
    good: number of images of the best snapshot before it began; None: there is none
    """

    kind: str
    images: int
    evidence: Evidence
    good: int | None

    @property
    def text(self) -> str:
        """One sentence in plain words."""
        name, meaning = FAULTS[self.kind]
        e = self.evidence
        return (
            f"{name}: {meaning} ({e.name} {e.value:.3g}, was {e.before:.3g}). "
            f"It began at about {e.began:,} images and shows at {self.images:,}"
        )


def find(log: Log) -> list[Finding]:
    """The faults that a log shows, each once, in the order in which they show."""
    found: dict[str, Finding] = {}
    for images in log.moments[FEWEST - 1 :]:
        part = log.until(images)
        for kind, detect in DETECTORS.items():
            if kind not in found and (evidence := detect(part)) is not None:
                found[kind] = Finding(kind, images, evidence, best_snapshot(part, evidence.began))
    return list(found.values())


def best_snapshot(log: Log, images: int) -> int | None:
    """The snapshot with the least distance, of those up to a number of images."""
    part = log.until(images)
    distance = part.measured("frechet")
    return part.moments[int(distance.argmin())] if len(distance) else None
