"""What a user should know before a run begins, though nothing is wrong."""

from __future__ import annotations

import inspect

from ganvas.core import Method, Run
from ganvas.core.guards import plural
from ganvas.data.info import Info
from ganvas.engine.records import RunRecord
from ganvas.methods.base import AdversarialAutoencoder

ENDLESS = 1 << 50  # images after which every stage has begun
FEW_STEPS = 1000


def notes(run: Run, method: Method) -> list[str]:
    """Lines about lengths of a recipe that the run does not reach, and what it lacks.

    method: of the run, at any stage

    The lengths of a recipe follow `--images`; those that are set by hand, or that a run
    had before, do not.
    """
    found = []
    if (steps := -(-run.images // run.batch)) < FEW_STEPS:
        found.append(
            f"note: this run has {plural(steps, 'step')} of {plural(run.batch, 'image')}; in fewer "
            f"than about {FEW_STEPS:,} a GAN learns little: give more images or a smaller batch"
        )
    last, final = (method.stage(run.clock(images)) for images in (run.images, ENDLESS))
    if last.index != final.index:
        begins = stage_begins(run, method, final.index, run.images, ENDLESS)
        size = f", with images of {last.resolution} px" if last.resolution else ""
        found.append(
            f"note: the last stage of {type(method).__name__} begins at {begins:,} images; this "
            f"run ends at {run.images:,}, in stage {last.index}{size}: give more images, or "
            "shorter stages (--print-config shows their lengths)"
        )
    if isinstance(method, AdversarialAutoencoder) and method.start >= run.images:
        found.append(
            f"note: the game begins at {method.start:,} images, which this run does not reach: "
            f"--set start={run.images // 2} fits it"
        )
    start = getattr(run.lr, "start", None)
    if isinstance(start, int) and start >= run.images > run.batch:
        found.append(
            f"note: the learning rate falls from {start:,} images on, which this run does not "
            f"reach: --set lr.start={run.images // 2} --set lr.end={run.images} fits it"
        )
    vgg = inspect.signature(run.method).parameters.get("vgg")
    if vgg is not None and vgg.default is None:
        found.append(
            "note: without --set vgg=FILE (VGG19's weights, see docs/environment.md) the loss has "
            "no perceptual part"
        )
    return found


def notes_on_data(info: Info, record: RunRecord) -> list[str]:
    """Lines about what reading the data found: skipped images, unused folders, labels.

    record: receives all of them as `data_notes`. Those that it has already, of a run
        that goes on, are not returned
    """
    before = record.get("data_notes", [])
    record["data_notes"] = list(info.notes)
    return [f"data: {note}" for note in info.notes if note not in before]


def notes_on_going_on(run: Run, images: int) -> list[str]:
    """A line, if the learning rate is 0 in what is left of a run after `images` images.

    A run keeps its schedules when it is made longer, and most end with a rate of 0.
    """
    middle = run.clock((images + run.images) // 2)
    if images >= run.images or run.lr is None or run.lr(middle) > 0:
        return []
    return [
        "note: by its schedule the learning rate is 0 for most of what is left: "
        f"--set lr.start={middle.images} --set lr.end={run.images} lets it fall anew"
    ]


def stage_begins(run: Run, method: Method, index: int, low: int, high: int) -> int:
    """The number of images at which a stage begins, by bisection.

    low, high: images before and at or after it
    """
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if method.stage(run.clock(middle)).index >= index else (middle, high)
        )
    return high
