"""Go back to an earlier checkpoint of a run, and go on with one changed setting."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from ganvas.core import Run, config, distributed
from ganvas.engine import checkpoint
from ganvas.engine.records import Rewind, RunRecord
from ganvas.engine.run_dir import run_of, write_record
from ganvas.training.monitor import FAULTS, Finding
from ganvas.training.remedies import Remedy, remedy

MOST = 3  # returns in one run, after which it needs a person


def target(out: Path, record: RunRecord, finding: Finding, change: Remedy) -> int | None:
    """The checkpoint to go back to, by its number of images.

    The newest that is no later than the best snapshot before the fault began, or else
    the newest before it began.

    None if there is none, if no checkpoint can take the remedy, or after `MOST`
    returns.
    """
    if change.apply is None or len(record.get("rewinds", [])) >= MOST:
        return None
    kept = [int(path.name) for path in checkpoint.all_of(out / "checkpoints")]
    for limit in (finding.good, finding.evidence.began - 1):
        early = [images for images in kept if limit is not None and 0 < images <= limit]
        if early:
            return max(early)
    return None


def rewind(out: Path, record: RunRecord, to: int, finding: Finding, change: Remedy) -> None:
    """Make `to` the newest checkpoint of a run, and change its setting.

    Rank 0 calls this. After it, the folder is that of a run that was stopped there:
    `restore` continues it.
    """
    assert distributed.rank() == 0
    assert change.apply is not None
    # Newest first: a run that is killed in between continues from a checkpoint of its
    # own, shows the same fault again and comes back here.
    for path in reversed(checkpoint.all_of(out / "checkpoints")):
        if int(path.name) > to:
            shutil.rmtree(path)
    done: Rewind = {
        "kind": finding.kind,
        "images": finding.images,
        "to": to,
        "setting": change.setting,
        "source": change.source,
    }
    run = change.apply(run_of(out, record))
    record["run"] = cast(dict[str, object], config.dump(run))
    record["rewinds"] = [*record.get("rewinds", []), done]
    write_record(out, record)


def after_rewinds(run: Run, rewinds: Sequence[Rewind]) -> Run:
    """A run as it was planned, with the settings that its returns have changed."""
    for done in rewinds:
        change = remedy(done["kind"], run) if done["kind"] in FAULTS else None
        if change is not None and change.apply is not None:
            run = change.apply(run)
    return run
