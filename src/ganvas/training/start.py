"""Create a run folder and its record; refuse what cannot be trained."""

from __future__ import annotations

import inspect
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ganvas import __version__
from ganvas.core import Run, Shape, Translates, config, distributed
from ganvas.core.environment import commit, machine
from ganvas.core.errors import UserError
from ganvas.engine import checkpoint
from ganvas.engine.build import check_numbers, rehearse
from ganvas.engine.engine import Engine
from ganvas.engine.lock import run_lock
from ganvas.engine.run_dir import absolute, write_record
from ganvas.nets.augment import named
from ganvas.training.snapshot import SNAPSHOT_INTERVAL

STOPPED = "stopped-"  # before the name of the grid of a run that was stopped


class Stopped(UserError):
    """Training ended early. The message says how the run goes on."""


def augmented(run: Run, text: str | None) -> Run:
    """`run` with the augmentation of this name; None: as it is."""
    if text is None:
        return run
    return replace(run, augment=None if text == "none" else named(text))


def with_data(run: Run, data: str | Path, size: int | tuple[int, int] | None, assignments: Sequence[str]) -> Run:
    opener = run.data
    assert isinstance(opener, partial)
    keywords = {**opener.keywords, "source": absolute(data)}
    if size is not None:
        if keywords.get("load"):  # keep the recipe's margin for random crops
            side = size if isinstance(size, int) else max(size)
            keywords["load"] = round(side * keywords["load"] / keywords["size"])
        keywords["size"] = size
    run = replace(run, data=partial(opener.func, **keywords))
    for assignment in assignments:
        run = config.override(run, assignment)
    return run


def refuse_early(
    described: Callable[..., Run],
    set: Sequence[str],
    size: int | tuple[int, int] | None,
    given: Mapping[str, Any],
    device: torch.device,
) -> None:
    """Raise `UserError`, which names the setting, for what the recipe and its settings alone decide, before data are opened."""
    try:
        return _rehearse(described(1), device)
    except UserError as e:
        trouble = e
    shown = {"size": size, **given}
    without = {f"--set {a}": {"set": [b for b in set if b is not a]} for a in set}
    without |= {"--size": {"size": None}} if size is not None else {}
    without |= {f"--{k} {v}": {"given": {**given, k: None}} for k, v in given.items() if v is not None}
    for setting, other in without.items():
        try:
            _rehearse(described(1, **other), device)
        except UserError:
            continue
        if setting.split("=")[0] not in str(trouble):
            setting = f"--size {shown['size']}" if setting == "--size" else setting
            raise UserError(f"{setting}: {trouble}") from trouble
        break
    raise trouble


def _rehearse(run: Run, device: torch.device) -> None:
    """`rehearse` for the images that `run` asks for. What the data decide is taken as it suits the method."""
    assert isinstance(run.data, partial)
    settings = {k: p.default for k, p in inspect.signature(run.data.func).parameters.items()} | run.data.keywords
    size, channels = settings.get("size"), settings.get("channels")
    if size is None:  # no images, or the images' own size
        return check_numbers(run)
    height, width = (size, size) if isinstance(size, int) else size
    trouble: UserError | None = None
    for of_images in (channels,) if channels else (3, 1, 4):
        for classes in (10, 2, 0):
            try:
                method = rehearse(run, Shape(of_images, height, width, classes), device)
            except UserError as e:
                trouble = trouble or e
                continue
            scale = settings.get("scale", 1)
            if method.upscale != scale:
                raise UserError(
                    f"the network enlarges {method.upscale} times, and the data is reduced {scale} times: give both, "
                    "as in --set G.scale=2 --set data.scale=2"
                )
            return None
    assert trouble is not None
    raise trouble


def _must_be_free(out: Path) -> None:
    """Raise `UserError` unless a run can be written to `out`: a new folder, an empty one, or one that a start left which was
    killed before it wrote run.json."""
    if (out / "run.json").exists():
        raise UserError(f"{out} already holds a run. Continue it: ganvas resume {out}. Or choose another --out")
    try:
        there = [p for p in out.iterdir() if not p.name.startswith(".")]
        left = {"samples", "checkpoints"}
        free = all(p.name in left and p.is_dir() and not any(p.iterdir()) for p in there)
    except FileNotFoundError:
        return
    except OSError:  # a file, or a folder that cannot be read
        free = False
    if not free:
        raise UserError(f"{out} exists and is not an empty folder; nothing was written. Choose another --out")


@contextmanager
def new_run_dir(out: Path, record: dict[str, Any]) -> Iterator[None]:
    """Within: the run's folder, with its description, is this process's own. It is withdrawn if the run never begins."""
    if distributed.rank() != 0:
        distributed.barrier()
        yield
        return
    new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"the run's folder {out} cannot be made: {e}. Choose another --out") from None
    with run_lock(out):
        _must_be_free(out)  # another process may have been first
        try:
            for name in ("samples", "checkpoints"):
                (out / name).mkdir(exist_ok=True)
            write_record(out, record)
        except (OSError, UserError) as e:
            _remove_run_dir(out, new)
            raise UserError(f"the run's folder {out} cannot be made: {e}. Choose another --out") from None
        distributed.barrier()
        try:
            yield
        except Stopped:
            raise
        except UserError:
            if not checkpoint.all_of(out / "checkpoints") and not _has_begun(out):
                _remove_run_dir(out, new)  # it never began, and the same command, mended, may have the folder
            raise


def _has_begun(out: Path) -> bool:
    return any((out / name).is_file() and (out / name).stat().st_size for name in ("log.jsonl",))


def _remove_run_dir(out: Path, new: bool) -> None:
    """Remove what a run that never began has written to its folder, and the folder if it was new."""
    for entry in [*(p for p in out.iterdir() if not p.name.startswith(".")), out / ".lock"]:
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    if new:
        with suppress(OSError):
            out.rmdir()


def describe_run(
    recipe: str, run: Run, engine: Engine, info: Any, command: str | None, tensorboard: bool
) -> dict[str, Any]:
    doc = (type(engine.method).__doc__ or "").strip().splitlines()
    of_data = ("task", "source", "count", "classes", "fingerprint", "skipped", "skipped_count")
    info_fields = {k: getattr(info, k) for k in of_data}
    shape = info.shape
    return {
        "ganvas": __version__,
        "recipe": recipe,
        "paper": doc[0] if doc else "",
        "task": info.task if isinstance(engine.method, Translates) else "images",
        "command": command or shlex.join(["ganvas", "train", recipe, str(info.source)]),
        "images": run.images,
        "batch": run.batch,
        "seed": run.seed,
        "device": str(engine.device),
        "save": max(run.batch, run.images // 20),  # images between checkpoints
        "tick": max(run.batch, run.images // 20, SNAPSHOT_INTERVAL),  # images between sample grids
        "tensorboard": tensorboard,
        "parameters": {name: sum(w.numel() for w in net.parameters()) for name, net in engine.method.named_children()},
        "shape": {"channels": shape.channels, "height": shape.height, "width": shape.width, "classes": shape.classes},
        "data": info_fields,
        "run": config.dump(run),
        "ranks": distributed.world(),
        "versions": {"ganvas": __version__, "torch": torch.__version__},
        "machine": machine(),
        "commit": commit(),
        "started": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
    }
