"""Create a run folder and its record; refuse what cannot be trained."""

from __future__ import annotations

import inspect
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack, cast

import torch

from ganvas import __version__, recipes
from ganvas.core import Measure, Method, Run, Shape, Translates, config, distributed
from ganvas.core.config import fitted
from ganvas.core.environment import auto_precision, commit, machine, usable_device
from ganvas.core.errors import UserError
from ganvas.core.sizes import sides
from ganvas.data.feed import Feed
from ganvas.data.info import Info
from ganvas.engine import checkpoint
from ganvas.engine.build import check_numbers, rehearse
from ganvas.engine.engine import Engine
from ganvas.engine.lock import run_lock
from ganvas.engine.records import RunRecord, data_record, shape_record
from ganvas.engine.run_dir import absolute, write_record
from ganvas.methods.base import NoiseToImage, citation
from ganvas.training import auto, config_file, snapshot
from ganvas.training.interrupts import Stopped, resume_command
from ganvas.training.with_data import augmented, with_data


class Settings(TypedDict, total=False):
    """Keywords of `plan_run`."""

    size: int | tuple[int, int] | None
    batch: int | None
    images: int | None
    seed: int | None
    precision: str | None
    compile: str | None
    augment: str | None
    freeze: str | None
    test: str | Path | None
    best: Measure | None
    set: Sequence[str]
    config: str | Path | None


class Plan(NamedTuple):
    """The result of `plan_run`: a complete run, its data, the augmentation option.

    at: the same run of a number of images, with other assignments (`--set`)
    """

    run: Run
    feed: Feed
    augment: str | None
    at: Callable[[int, Sequence[str]], Run]


def plan_run(
    recipe: str,
    data: str | Path,
    device: str,
    *,
    size: int | tuple[int, int] | None = None,
    batch: int | None = None,
    images: int | None = None,
    seed: int | None = None,
    precision: str | None = None,
    compile: str | None = None,
    augment: str | None = None,
    freeze: str | None = None,
    test: str | Path | None = None,
    best: Measure | None = None,
    set: Sequence[str] = (),
    config: str | Path | None = None,
) -> Plan:
    """Resolve the settings of `train`: recipe, `config`, `set`, then the rest.

    The stages and schedules of the recipe are fitted to the number of images; then
    `config` and `set` may change them.

    Raises `UserError` for settings or data that do not fit.
    """
    make = recipes.find(recipe)
    configured: tuple[str, ...] = ()
    if config is not None:
        file = config_file.read(config)
        size = file.size if size is None else size
        augment = file.augment if augment is None else augment
        precision = file.precision if precision is None else precision
        configured = file.assignments
    set = (*configured, *set)
    given: dict[str, Any] = {
        "batch": batch,
        "images": images,
        "seed": seed,
        "precision": auto_precision(device) if precision == "auto" else precision,
        "compile": compile,
        "frozen": None if freeze is None else tuple(freeze.split(",")),
        "test": None if test is None else absolute(test),
        "best": best,
    }

    def described(
        count: int,
        set: Sequence[str] = set,
        size: int | tuple[int, int] | None = size,
        given: Mapping[str, object] = given,
    ) -> Run:
        run = make(count)
        length = cast("int | None", given["images"]) or _length_in(set)
        run = augmented(run if length is None else fitted(run, length), augment)
        run = with_data(run, data, size, set)
        return replace(run, **{k: v for k, v in given.items() if v is not None})

    refuse_early(described, set, size, given, torch.device(device))
    feed = described(1).data()

    def at(images: int, set: Sequence[str]) -> Run:
        return described(feed.info.count, (*configured, *set), size, {**given, "images": images})

    return Plan(described(feed.info.count), feed, augment, at)


def _length_in(assignments: Sequence[str]) -> int | None:
    """The number of images that assignments give the run; None: they give none."""
    found = [
        value for path, _, value in (a.partition("=") for a in assignments) if path == "images"
    ]
    return int(found[-1]) if found and re.fullmatch(r"[0-9]{1,18}", found[-1]) else None


def config_text(
    recipe: str, data: str | Path, device: str | None = None, **settings: Unpack[Settings]
) -> str:
    """All settings of a run as TOML, for `--config`; nothing is trained.

    settings: as of `plan_run`.

    Raises `UserError` for "auto" as well, which chooses when it trains.
    """
    if recipe == auto.NAME:
        raise UserError("auto chooses its settings when it trains: name a recipe to see its own")
    plan = plan_run(recipe, data, usable_device(device), **settings)
    return config_file.write(recipe, plan.run, plan.augment)


def refuse_early(
    described: Callable[..., Run],
    set: Sequence[str],
    size: int | tuple[int, int] | None,
    given: Mapping[str, object],
    device: torch.device,
) -> None:
    """Check what the recipe and its settings alone decide, before data are opened.

    Raises `UserError`, which names the setting that causes the error.
    """
    try:
        return _rehearse(described(1), device)
    except UserError as e:
        error = e
    # Leave out one setting after another: the error is due to the one without which it
    # is gone.
    without = {f"--set {a}": {"set": [b for b in set if b is not a]} for a in set}
    without |= {f"size={size}": {"size": None}} if size is not None else {}
    options = {k: f"{k}={v}" for k, v in given.items() if v is not None}
    if "frozen" in options:
        options["frozen"] = "freeze"
    without |= {option: {"given": {**given, k: None}} for k, option in options.items()}
    for setting, other in without.items():
        try:
            _rehearse(described(1, **other), device)
        except UserError:
            continue
        if setting.split("=")[0] not in str(error):
            raise UserError(f"{setting}: {error}") from error
        break
    raise error


def _rehearse(run: Run, device: torch.device) -> None:
    """Build `run` for images of its size, on the meta device.

    Channels and classes, which the data decide, are those that suit the method.
    """
    assert isinstance(run.data, partial)
    parameters = inspect.signature(run.data.func).parameters
    settings = {k: p.default for k, p in parameters.items()} | run.data.keywords
    size, channels = settings.get("size"), settings.get("channels")
    if size is None:  # no images, or the images' own size
        return check_numbers(run)
    height, width = sides(size)
    error: UserError | None = None
    for c in (channels,) if channels else (3, 1, 4):
        for classes in (10, 2, 0):
            try:
                method = rehearse(run, Shape(c, height, width, classes), device)
            except UserError as e:
                error = error or e
                continue
            check_upscale(method.upscale, settings.get("scale", 1))
            check_labels(method, settings.get("labeled", 1.0))
            return None
    assert error is not None
    raise error


def check_labels(method: Method, labeled: float) -> None:
    """Raise `UserError` if a method needs all labels and only some images have one.

    labeled: share of the images with a label
    """
    partial = isinstance(method, NoiseToImage) and method.partial_labels
    if labeled < 1 and method.classes and not partial:
        raise UserError(
            f"{labeled:.0%} of the images have a label, and {type(method).__name__} needs the "
            "label of every image. Take s3gan, or sngan_projection, sagan or biggan, whose "
            "discriminators do without"
        )


def check_upscale(network: int, data: int) -> None:
    """Raise `UserError` unless the network enlarges as much as the data is reduced."""
    if network != data:
        raise UserError(
            f"the network enlarges {network} times, and the data is reduced {data} times: "
            "give both, as in --set G.scale=2 --set data.scale=2"
        )


def must_be_free(out: Path) -> None:
    """Raise `UserError` unless a run can be written to `out`.

    Free are: a new folder, an empty one, and one from a start that was killed before it
    wrote run.json.
    """
    if (out / "run.json").exists():
        raise UserError(
            f"{out} already holds a run. Continue it: {resume_command(out)}. "
            "Or choose another folder (--out)"
        )
    try:
        entries = [p for p in out.iterdir() if not p.name.startswith(".")]
        own = {"samples", "checkpoints"}
        free = all(p.name in own and p.is_dir() and not any(p.iterdir()) for p in entries)
    except FileNotFoundError:
        return
    except OSError:  # a file, or a folder that cannot be read
        free = False
    if not free:
        raise UserError(
            f"{out} exists and is not an empty folder; nothing was written. Choose another folder "
            "(--out)"
        )


@contextmanager
def new_run_dir(out: Path, record: RunRecord) -> Iterator[None]:
    """Create and lock the run folder; remove it if the run never begins."""
    if distributed.rank() != 0:
        distributed.barrier()
        yield
        return
    new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(
            f"the run folder {out} cannot be created: {e}. Choose another (--out)"
        ) from None
    with run_lock(out):
        must_be_free(out)  # another process may have been first
        try:
            for name in ("samples", "checkpoints"):
                (out / name).mkdir(exist_ok=True)
            write_record(out, record)
        except (OSError, UserError) as e:
            remove_run_dir(out, new)
            raise UserError(
                f"the run folder {out} cannot be created: {e}. Choose another (--out)"
            ) from None
        distributed.barrier()
        try:
            yield
        except Stopped:
            raise
        except UserError:
            saved = checkpoint.all_of(out / "checkpoints")
            if not any(int(path.name) for path in saved) and not has_begun(out):
                remove_run_dir(out, new)  # the corrected command can use the folder
            raise


def has_begun(out: Path) -> bool:
    """Whether a run has written a line of its log."""
    log = out / "log.jsonl"
    return log.is_file() and log.stat().st_size > 0


def remove_run_dir(out: Path, new: bool) -> None:
    """Remove the files of a run that never began, and its folder if it was new."""
    for entry in [*(p for p in out.iterdir() if not p.name.startswith(".")), out / ".lock"]:
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    if new:
        with suppress(OSError):
            out.rmdir()


def describe_run(recipe: str, run: Run, engine: Engine, info: Info, command: str) -> RunRecord:
    """The record of a new run, as run.json holds it.

    info: description of the data set.
    command: that repeats the training
    """
    settings = cast(dict[str, object], config.dump(run))
    data = data_record(info)
    opened = settings["data"]
    if isinstance(opened, dict) and opened.get("direction") == "b2a":
        data["direction"] = "b2a"
    return {
        "ganvas": __version__,
        "recipe": recipe,
        "paper": citation(type(engine.method)),
        "task": info.task if isinstance(engine.method, Translates) else "images",
        "command": command,
        "images": run.images,
        "fitted": run.images,
        "batch": run.batch,
        "seed": run.seed,
        "device": str(engine.device),
        "save": max(run.batch, run.images // 20),  # images between checkpoints
        **snapshot.schedule(run, engine.method),
        "parameters": {
            name: sum(w.numel() for w in net.parameters())
            for name, net in engine.method.named_children()
        },
        "shape": shape_record(info.shape),
        "data": data,
        "run": settings,
        "ranks": distributed.world(),
        "versions": {"ganvas": __version__, "torch": torch.__version__},
        "machine": machine(),
        "commit": commit(),
        "started": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
    }
