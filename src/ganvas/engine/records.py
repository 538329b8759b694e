"""The JSON that a run folder holds, by file, as types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

from ganvas.core import Shape
from ganvas.data.info import Info


class ShapeRecord(TypedDict):
    """The shape of images, as `core.Shape`."""

    channels: int
    height: int
    width: int
    classes: int
    palette: NotRequired[list[int]]
    ids: NotRequired[bool]


def shape_record(shape: Shape) -> ShapeRecord:
    """A shape in the form of JSON, with a palette if it has one."""
    record: ShapeRecord = {
        "channels": shape.channels,
        "height": shape.height,
        "width": shape.width,
        "classes": shape.classes,
    }
    if shape.palette:
        record["palette"] = list(shape.palette)
    if shape.ids:
        record["ids"] = True
    return record


class ValuesRecord(TypedDict):
    """Type and range of measurements, as `media.values.Values`."""

    low: float
    high: float
    type: str


class DataRecord(TypedDict):
    """The facts about a data set, as of `data.info.Info`. Older runs have fewer."""

    task: str
    source: str
    count: int
    classes: Sequence[str]
    fingerprint: str
    direction: NotRequired[Literal["b2a"]]  # of pairs; absent: a2b
    skipped: NotRequired[Sequence[str]]
    skipped_count: NotRequired[int]
    values: NotRequired[ValuesRecord]


def data_record(info: Info) -> DataRecord:
    """The facts about a data set in the form of JSON."""
    record: DataRecord = {
        "task": info.task,
        "source": info.source,
        "count": info.count,
        "classes": info.classes,
        "fingerprint": info.fingerprint,
        "skipped": info.skipped,
        "skipped_count": info.skipped_count,
    }
    if info.values is not None:
        low, high, kind = info.values
        record["values"] = {"low": low, "high": high, "type": kind}
    return record


class InitialRecord(TypedDict):
    """The weights that a network started from (`training.initial`).

    source: name of the file or folder
    sha256: of the file, or of the checkpoint's file
    tensors: number of those that were loaded
    new, unused: names of the network's tensors that were not, and of the source's
    differs: settings without tensors in which the two differ, as text; absent: none
    """

    network: str
    source: str
    sha256: str
    tensors: int
    new: list[str]
    unused: list[str]
    differs: NotRequired[list[str]]


class DataChange(TypedDict):
    """Other data from an image of the run on (`resume --data`)."""

    images: int
    before: DataRecord


class HeldOutRecord(TypedDict):
    """The pairs that are measured at every snapshot, and how (`training.validation`).

    pairs: that are measured, of the `of` that there are
    protocol: of PSNR and SSIM
    lpips: name of the measure; None: it is not measured
    """

    source: str
    part: str
    pairs: int
    of: int
    protocol: str
    lpips: str | None


class EarlyStopping(TypedDict):
    """When to end a training early.

    measure: name of a value of measures.jsonl
    snapshots: as many without a new best end it
    """

    measure: str
    snapshots: int


class EndedEarly(TypedDict):
    """Where early stopping ended a run.

    images: at which it ended; `planned`: its length until then
    """

    images: int
    planned: int


class Rewind(TypedDict):
    """A return to an earlier checkpoint (`training.rewind`).

    kind: of the finding that led to it
    images: at which the finding showed; `to`: of the checkpoint
    setting: the one that was changed, as for `--set`; `source`: the paper of the advice
    """

    kind: str
    images: int
    to: int
    setting: str
    source: str


class ShortStage(TypedDict):
    """The last stage of a run, if it needs more snapshots than `tick` gives it.

    start: images at which it begins, which is a snapshot, too
    every: images between its snapshots
    """

    start: int
    every: int


class RunRecord(TypedDict):
    """run.json. Older runs lack some of the fields that are not required.

    fitted: the length that its stages and schedules were fitted to; older runs have
        those of their recipe
    save, tick: images between checkpoints and between snapshots
    short_stage: none: the run has no such stage, or is older
    keep: the checkpoints that stay, as `engine.retention.Retention.parse` reads it
    parameters: weights of each network
    run: the `Run`, as of `core.config.dump`
    images_trained: of the weights that `restore.weights_of` read
    initial: the weights that the run started from; none: random ones
    data_notes: lines about what reading the data found, as of `data.info.Info`
    data_changes: where the data changed, oldest first
    held_out: none: the run has no such pairs
    log: name of the tracker that gets the log, too; `tensorboard` in older runs
    on_collapse: "warn", "stop" or "rewind"
    rewinds: oldest first
    """

    ganvas: str
    recipe: str
    paper: str
    task: str
    command: NotRequired[str]
    images: int
    fitted: NotRequired[int]
    batch: NotRequired[int]
    seed: int
    device: NotRequired[str]
    save: int
    tick: int
    short_stage: NotRequired[ShortStage]
    keep: NotRequired[str]
    tensorboard: NotRequired[bool]
    log: NotRequired[str | None]
    on_collapse: NotRequired[str]
    early_stopping: NotRequired[EarlyStopping | None]
    ended_early: NotRequired[EndedEarly]
    rewinds: NotRequired[list[Rewind]]
    parameters: NotRequired[dict[str, int]]
    shape: ShapeRecord
    data: DataRecord
    run: dict[str, object]
    ranks: NotRequired[int]
    versions: dict[str, str]
    machine: NotRequired[Mapping[str, object]]
    commit: str | None
    started: NotRequired[str]
    images_trained: NotRequired[int]
    initial: NotRequired[list[InitialRecord]]
    data_notes: NotRequired[list[str]]
    data_changes: NotRequired[list[DataChange]]
    held_out: NotRequired[HeldOutRecord]


class LogState(TypedDict, total=False):
    """The unfinished line of log.jsonl: sums and counts of scalars by name.

    snapshot: whether a snapshot follows the checkpoint, which a run that was stopped
        before takes when it goes on
    """

    sums: dict[str, float]
    counts: dict[str, int]
    snapshot: bool


class ClockState(TypedDict):
    """A `core.Clock`."""

    step: int
    images: int


class EngineState(TypedDict):
    """The plain values of an engine's state.

    stage: index of the stage
    optim: settings of each player's optimizer, group by group
    ranks: the processes that trained
    log: in checkpoints
    """

    clock: ClockState
    stage: int
    optim: dict[str, list[dict[str, object]]]
    ranks: int
    log: NotRequired[LogState]
