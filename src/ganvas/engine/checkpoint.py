"""Checkpoints: plain files that appear whole or not at all. JSON and safetensors; nothing is ever unpickled.

`checkpoints/000012800/` holds `state.json`, `shared.safetensors` and `rank0.safetensors` … for what a rank keeps to itself.
It is written under another name, flushed to the disk and renamed, so that a process killed at any moment leaves either the
whole checkpoint or none. The newest two and the best are kept.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ganvas import ranks
from ganvas.errors import UserError


def write_atomically(path: Path, text: str) -> None:
    """`path` holds either what it held or all of `text`, whenever the process ends.

    Raises `UserError` where the disk is full or read-only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path} could not be written: {e}. Free some space or make the folder writable") from None


def save(folder: Path, values: Mapping[str, Any], shared: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Path:
    """Write the checkpoint of `values["clock"]["images"]` into `folder`. Every rank calls it; rank 0 writes what is shared.

    Raises `UserError` where the disk is full or read-only; what was there before is untouched."""
    final = folder / f"{values['clock']['images']:09d}"
    temporary = folder / f".{final.name}.tmp"
    try:
        if ranks.rank() == 0:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        ranks.barrier()
        _tensors(temporary / f"rank{ranks.rank()}.safetensors", own)
        if ranks.rank() == 0:
            _tensors(temporary / "shared.safetensors", shared)
        ranks.barrier()
        if ranks.rank() == 0:
            sizes = {f.name: f.stat().st_size for f in sorted(temporary.iterdir())}
            write_atomically(temporary / "state.json", json.dumps({**values, "files": sizes}, indent=1))
            shutil.rmtree(final, ignore_errors=True)
            os.rename(temporary, final)
            _flush(folder)
        ranks.barrier()
    except (OSError, SafetensorError) as e:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(
            f"the checkpoint could not be written to {final}: {e}. Free some space or make the folder writable, then "
            f"continue with: ganvas resume {shlex.quote(str(folder.parent))}"
        ) from None
    return final


def _tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, path)
    _flush(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def all_of(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    return sorted(p for p in folder.glob("[0-9]*") if p.is_dir()) if folder.is_dir() else []


def prune(folder: Path, best: str | None) -> None:
    """Keep the newest two and the best."""
    found = all_of(folder)
    for old in found[:-2]:
        if old.name != best:
            shutil.rmtree(old, ignore_errors=True)


def sweep(run: Path) -> None:
    """Remove what killed processes left half written anywhere in a run's folder."""
    for left in list(run.rglob(".*.tmp")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def load(path: Path, rank: int = 0) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor] | None]:
    """(values, shared tensors, this rank's tensors or None where the checkpoint has no such rank).

    Raises `UserError` for a checkpoint that was cut short, naming the file and its size."""
    try:
        values = json.loads((path / "state.json").read_text(encoding="utf-8"))
        for name, size in values["files"].items():
            have = (path / name).stat().st_size
            if have != size:
                raise UserError(f"{path / name} has {have:,} bytes where {size:,} were written: it was cut short")
        own = path / f"rank{rank}.safetensors"
        return values, load_file(path / "shared.safetensors"), load_file(own) if own.is_file() else None
    except (OSError, json.JSONDecodeError, KeyError, SafetensorError) as e:
        raise UserError(f"the checkpoint {path} cannot be read: {e}") from None
