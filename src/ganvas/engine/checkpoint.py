"""Write and read checkpoints: JSON and safetensors, atomically, never unpickled.

`checkpoints/000012800/` holds `state.json`, `shared.safetensors`, and a
`rank0.safetensors` … for each rank's own tensors. It is written under another name,
flushed to the disk and renamed, so that a process killed at any moment leaves either
the whole checkpoint or none. `state.json` holds the size and the BLAKE2b sum of every
other file and a sum of its own contents, which reading compares.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, cast

import pydantic
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ganvas.core import distributed
from ganvas.core.errors import CheckpointError, OutputError, printable
from ganvas.core.files import save_tensors, write
from ganvas.core.json_files import read_json
from ganvas.engine.records import EngineState, LogState

Count = Annotated[int, pydantic.Field(ge=0, lt=1 << 63)]
Number = bool | int | float | None


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


class _Clock(_Strict):
    step: Count
    images: Count


class _Log(_Strict):
    sums: dict[str, float] = {}
    counts: dict[str, Count] = {}
    snapshot: bool = False


class State(_Strict):
    """Contents of state.json. Checkpoints of earlier versions have no sums."""

    clock: _Clock
    stage: Count
    optim: dict[str, list[dict[str, Number | str | list[float]]]]
    ranks: Annotated[int, pydantic.Field(ge=1)]
    log: _Log = _Log()
    files: dict[str, Count]
    sums: dict[str, str] | None = None
    own_sum: str | None = None


def save(
    folder: Path,
    values: EngineState,
    shared: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
) -> Path:
    """Write a checkpoint into a folder, named by its number of images.

    Every rank must call this; rank 0 writes what all share.

    values, shared, own: of `Engine.state`

    Returns the checkpoint. Raises `OutputError` if the disk is full or read-only; older
    checkpoints stay as they are.
    """
    write_part(folder, values, copies(shared), copies(own))
    distributed.barrier()
    if distributed.rank() == 0:
        commit(folder, values)
    distributed.barrier()
    return folder / _name(values)


def write_part(
    folder: Path,
    values: EngineState,
    shared: dict[str, Tensor],
    own: dict[str, Tensor],
) -> None:
    """Write what this rank adds to a checkpoint, under the name of an incomplete one.

    Arguments and errors are those of `save`; the tensors are `copies`, and their dicts
    are changed. It exchanges nothing with other ranks.
    """
    _make_contiguous(shared)
    _make_contiguous(own)
    with _explained(folder, values) as temporary:
        temporary.mkdir(parents=True, exist_ok=True)
        _tensors(temporary / f"rank{distributed.rank()}.safetensors", own)
        if distributed.rank() == 0:
            _tensors(temporary / "shared.safetensors", shared)


def commit(folder: Path, values: EngineState) -> None:
    """Complete a checkpoint, of which every rank has written its part.

    Arguments and errors are those of `save`. One process must call it.
    """
    with _explained(folder, values) as temporary:
        ranks = [f"rank{rank}.safetensors" for rank in range(distributed.world())]
        files = [temporary / name for name in (*ranks, "shared.safetensors")]
        for other in {*temporary.iterdir()} - {*files}:  # of a killed run with more ranks
            other.unlink()
        sizes = {f.name: f.stat().st_size for f in files}
        sums = {f.name: _sum_of(f) for f in files}
        state = {**values, "files": sizes, "sums": sums}
        write(
            temporary / "state.json",
            json.dumps({**state, "own_sum": _own_sum(state)}, indent=1),
            sync=True,
        )
        final = folder / _name(values)
        shutil.rmtree(final, ignore_errors=True)
        os.rename(temporary, final)
        _flush(folder)


def _name(values: EngineState) -> str:
    return f"{values['clock']['images']:09d}"


@contextmanager
def _explained(folder: Path, values: EngineState) -> Iterator[Path]:
    """Yield the place of an incomplete checkpoint, which an error removes."""
    final = folder / _name(values)
    temporary = folder / f".{final.name}.tmp"
    try:
        yield temporary
    except (OSError, SafetensorError) as e:
        shutil.rmtree(temporary, ignore_errors=True)
        raise OutputError(
            f"the checkpoint could not be written to {final}: {e}. Free some space or make the "
            f"folder writable, then continue with: ganvas resume {shlex.quote(str(folder.parent))}"
        ) from None


def copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in main memory, which share nothing, in the tensors' own order.

    Another order takes twice the time, for which training waits; the write makes it.
    """
    return {k: v.detach().to("cpu", copy=True) for k, v in tensors.items()}


def _make_contiguous(tensors: dict[str, Tensor]) -> None:
    """Bring tensors into the order of files, one by one: memory for one is enough."""
    for name, tensor in tensors.items():
        tensors[name] = tensor.contiguous()


def _tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_tensors(tensors, path)
    _flush(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sum_of(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


def _own_sum(state: Mapping[str, object]) -> str:
    """The sum of the other contents of state.json."""
    return hashlib.blake2b(json.dumps(state, sort_keys=True).encode(), digest_size=32).hexdigest()


def all_of(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first.

    Their names are numbers of images, with leading zeros up to nine digits.
    """
    paths = [
        p for p in folder.glob("[0-9]*") if p.name.isascii() and p.name.isdigit() and p.is_dir()
    ]
    return sorted(paths, key=lambda p: int(p.name))


def sweep(run: Path) -> None:
    """Remove incomplete files that killed processes left in a run folder."""
    for path in list(run.rglob(".*.tmp")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def log_state(path: Path) -> LogState:
    """The log's unfinished line of a checkpoint.

    Raises `CheckpointError` if its state cannot be read.
    """
    return cast(LogState, _read_state(path).get("log", {}))


def _read_state(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = read_json(
        path / "state.json", "checkpoint's state", error=CheckpointError
    )
    try:
        State.model_validate(values)
    except pydantic.ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(
            f"{path / 'state.json'} is damaged: {printable(where)}: {first['msg'].lower()}"
        ) from None
    return values


def load(
    path: Path, rank: int = 0
) -> tuple[EngineState, dict[str, Tensor], dict[str, Tensor] | None]:
    """Read a checkpoint.

    Every rank compares the sums of all files, so that all come to the same result.

    Returns (values, shared tensors, the rank's own tensors or None if the checkpoint
    has no such rank). Raises `CheckpointError`, which names the file, if one is
    damaged.
    """
    values = _read_state(path)
    sums, own_sum = values.get("sums"), values.pop("own_sum", None)
    if own_sum is not None and own_sum != _own_sum(values):
        raise CheckpointError(
            f"{path / 'state.json'} is damaged: its contents are not those that were written "
            "(their sum differs)"
        )
    own = path / f"rank{rank}.safetensors"
    try:
        for name, size in values["files"].items():
            file = path / Path(name).name
            have = file.stat().st_size
            if have != size:
                raise CheckpointError(
                    f"{file} is damaged: it has {have:,} bytes where {size:,} were written"
                )
            if sums is not None and sums.get(name) != _sum_of(file):
                raise CheckpointError(
                    f"{file} is damaged: its contents are not those that were written "
                    "(their sum differs)"
                )
        return (
            cast(EngineState, values),
            load_file(path / "shared.safetensors"),
            load_file(own) if own.is_file() else None,
        )
    except (OSError, SafetensorError) as e:
        raise CheckpointError(f"the checkpoint {path} cannot be read: {printable(e)}") from None
