"""The same command starts a run or continues it: `ganvas train --resume auto`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ganvas.core import Run, config, distributed
from ganvas.core.errors import CheckpointError, ConfigError, printable
from ganvas.core.registry import shorten
from ganvas.data.info import Info
from ganvas.engine import checkpoint
from ganvas.engine.lock import is_locked, run_lock
from ganvas.engine.records import RunRecord
from ganvas.engine.run_dir import in_whole_batches, read_record, run_of, split_paths
from ganvas.training.interrupts import resume_command
from ganvas.training.rewind import after_rewinds
from ganvas.training.snapshot import owes_snapshot
from ganvas.training.start import has_begun, remove_run_dir

INCOMPLETE = 75  # exit status of `ganvas status`: EX_TEMPFAIL of sysexits.h, try again
MODES = ("never", "auto")
FIELDS = {f.name for f in dataclasses.fields(Run)}


def begun(out: Path) -> bool:
    """Whether a folder holds a run to continue, for every rank as rank 0 sees it.

    A run that was killed before the weights that it started from were saved is removed:
    it starts again.
    """
    exists = (out / "run.json").exists()
    if exists and distributed.rank() == 0:
        saved = checkpoint.all_of(out / "checkpoints")
        if read_record(out).get("initial") and not saved and not has_begun(out):
            with run_lock(out):
                remove_run_dir(out, new=False)
            exists = False
    return bool(distributed.largest(exists and distributed.rank() == 0)[0])


@dataclass(frozen=True)
class Status:
    """How far a run has come: its last checkpoint, and whether a process writes it.

    owes_snapshot: the snapshot after the last checkpoint is still to be taken
    """

    images: int
    total: int
    running: bool
    owes_snapshot: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing is left to train and to measure."""
        return self.images >= self.total and not self.owes_snapshot


def status(out: Path) -> Status:
    """The state of a run from its folder. Raises `UserError` if there is none."""
    record = read_record(out)
    saved = checkpoint.all_of(out / "checkpoints")
    if not saved:
        return Status(0, record["images"], is_locked(out))
    images = int(saved[-1].name)
    owes = False
    with suppress(CheckpointError):  # an older one replaces a damaged one on resume
        owes = owes_snapshot(out, checkpoint.log_state(saved[-1]), images)
    return Status(images, record["images"], is_locked(out), owes)


def planned_images(record: RunRecord) -> int:
    """The length of a run before early stopping ended it, if it did."""
    early = record.get("ended_early")
    return early["planned"] if _ended_early(record) and early else record["images"]


def continued(run: Run, record: RunRecord) -> Run:
    """The run that a command describes, with what has changed since it was started.

    Returns to earlier checkpoints have changed settings, and early stopping the length,
    unless the command gives a new one.
    """
    run = after_rewinds(run, record.get("rewinds", []))
    planned = replace(run, images=planned_images(record))
    if _ended_early(record) and in_whole_batches(run).images == in_whole_batches(planned).images:
        run = replace(run, images=record["images"])
    return run


def _ended_early(record: RunRecord) -> bool:
    """Whether early stopping ended the run, and nobody has lengthened it since."""
    early = record.get("ended_early")
    return early is not None and early["images"] == record["images"]


def require_same(
    out: Path,
    record: RunRecord,
    recipe: str,
    run: Run,
    info: Info,
    sources: Sequence[str | Path],
) -> None:
    """Raise `ConfigError` for other settings or data than those of the run in a folder.

    Where to stop and the place of the data are no differences.

    record: run.json of the folder
    recipe, run, info, sources: what the command describes: the recipe, the run, its
        data, and the files that its weights start from
    """
    other = [
        f"{name}: {before} in the run, {now} now"
        for name, before, now in _differences(out, record, recipe, run, info, sources)
    ]
    if other:
        raise ConfigError(
            f"{printable(out)} was started with other settings: {'; '.join(other)}. Repeat its "
            f"own, choose another folder, or continue it as it is: {resume_command(out)}"
        )


def _differences(
    out: Path,
    record: RunRecord,
    recipe: str,
    run: Run,
    info: Info,
    sources: Sequence[str | Path],
) -> Iterator[tuple[str, str, str]]:
    """(name, value in the folder, value of the command) of the settings that differ."""
    if record["recipe"] != recipe:
        yield "recipe", shorten(record["recipe"]), shorten(recipe)
        return  # what follows from the recipe says nothing more
    before, now = _settings(run_of(out, record)), _settings(run)
    other = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    other = [name for name in other if name not in ("images", "data.source")]
    for name in other:
        yield printable(name), _shown(before, name), _shown(now, name)
    fingerprint = record["data"]["fingerprint"]
    # Settings of the data, such as their size, change the fingerprint, too.
    if info.fingerprint != fingerprint and not any(name.startswith("data.") for name in other):
        known = f"{printable(record['data']['source'])} ({record['data']['count']:,} images, "
        found = f"{printable(info.source)} ({info.count:,} images, "
        yield "data", f"{known}{printable(fingerprint)})", f"{found}{info.fingerprint})"
    if not any(str(s).rpartition("=")[2].startswith("hub:") for s in sources):
        start = sorted({r["source"] for r in record.get("initial", [])})
        given = sorted({_source(str(s)) for s in sources})
        if start != given:
            yield (
                "start_from (--from)",
                shorten(", ".join(start) or "none"),
                shorten(", ".join(given) or "none"),
            )


def _settings(run: Run) -> dict[str, object]:
    """The settings of a run by their names for `--set`, without folders of paths."""
    settings: dict[str, object] = {}
    for names, value in _leaves(split_paths(config.dump(run))[0]):
        of_method = names[:1] == ("method",) and not FIELDS.issuperset(names[1:2])
        settings[".".join(names[1:] if of_method else names)] = value
    return settings


def _leaves(tree: object, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    if not isinstance(tree, dict):
        yield names, tree
        return
    for name, value in tree.items():
        # A class stands under the name of what it builds.
        yield from _leaves(value, names if name in ("$partial", "$new") else (*names, name))


def _shown(settings: dict[str, object], name: str) -> str:
    return shorten(settings[name]) if name in settings else "the default"


def _source(text: str) -> str:
    """The name in run.json of a source of weights, [NETWORK=]PATH or zoo:NAME."""
    path = re.sub(r"^[A-Za-z_]\w*=", "", text)
    return Path(path.removeprefix("zoo:")).name
