"""Train a recipe on a data set and write a run folder that is resumable at every moment.

run.json            every number that decided the run, versions, the data's fingerprint, the command
local.json          the paths of this machine, which run.json does not hold; not needed by others
log.jsonl           losses by image count (bitwise the same whether or not the run was interrupted)
timing.jsonl        how long it took
measures.jsonl      the quality curve: a Frechet distance at every tick
samples/            grids at every tick, and some before the first; report.html shows it all
checkpoints/        to continue from; model/: to use
"""

from __future__ import annotations

import inspect
import json
import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas import __version__, bundle, config, provenance, ranks, recipes
from ganvas.core import Batch, Run, Samples, Shape, Translates
from ganvas.data import Prefetch
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine, NotFinite, check_numbers, rehearse
from ganvas.errors import UserError
from ganvas.metrics.features import extractor, feature_statistics
from ganvas.metrics.frechet import frechet_distance
from ganvas.metrics.measure import commit, machine
from ganvas.nets.augment import named
from ganvas.progress import Progress
from ganvas.report import write_report
from ganvas.runs import (
    absolute,
    auto_precision,
    best_checkpoint,
    portable,
    read_lines,
    read_record,
    restore,
    say,
    usable_device,
    write_record,
    writing,
)

LOG_STEPS = 10  # steps per line of log.jsonl, and every one of the first ten
SAVE_SECONDS = 300  # a checkpoint at least this often
REPORT_SECONDS = 60  # between two reports of a run that goes on, at least
TICK = 1000  # images, at least, between two sample grids and points of the quality curve
GRID = 64  # images in a sample grid
STOPPED = "stopped-"  # before the name of the grid of a run that was stopped
QUALITY_FEATURES = "random-conv-v1"
QUALITY_IMAGES = 1000  # images per figure of the quality curve


class Stopped(UserError):
    """Training ended early. The message says how the run goes on."""


def train(
    recipe: str,
    data: str | Path,
    *,
    out: str | Path,
    size: int | tuple[int, int] | None = None,
    batch: int | None = None,
    images: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    compile: str | None = None,
    augment: str | None = None,
    set: Sequence[str] = (),
    tensorboard: bool = False,
    command: str | None = None,
) -> bundle.Model:
    """Train `recipe` on `data` and write the run to `out`; returns the trained model.

    `data`: "digits", a path, or an official data set's name. `size`: pixels, one side or (height, width). `batch`: images per
    draw, all ranks together. `images`: where to stop, counted in real images drawn. `precision`: "fp32", "tf32"
    (CUDA), "bf16", or "auto" (`runs.auto_precision`). `compile`: a mode of torch.compile for the networks ("default";
    "reduce-overhead": CUDA graphs). `augment`: what the discriminators' images pass: "color,translation,cutout" or some of
    them, "ada", or "none", which leaves the recipe's own out. `set`: further numbers as "path=value" (`"D.width=32"`).
    Raises `UserError` for anything that does not fit, before training."""
    ranks.start(device)
    out = Path(out)
    device = usable_device(device)
    make = recipes.find(recipe)
    precision = auto_precision(device) if precision == "auto" else precision
    given = {"batch": batch, "images": images, "seed": seed, "precision": precision, "compile": compile}

    def described(
        count: int,
        set: Sequence[str] = set,
        size: int | tuple[int, int] | None = size,
        given: Mapping[str, Any] = given,
    ) -> Run:
        run = with_data(augmented(make(count), augment), data, size, set)
        return replace(run, **{k: v for k, v in given.items() if v is not None})

    if ranks.rank() == 0:
        _must_be_free(out)
    _refuse_early(described, set, size, given, torch.device(device))
    feed = described(1).data()
    run = described(feed.info.count)
    engine = Engine(run, Prefetch(feed), device)
    if engine.method.scale != feed.scale:
        raise UserError(
            f"the network enlarges {engine.method.scale} times, and the data is reduced {feed.scale} times: give both, "
            "as in --set G.scale=2 --set data.scale=2"
        )
    record = _record(recipe, run, engine, feed.info, command, tensorboard)
    with _claimed(out, record):
        return _fit(engine, out, record, {})


def resume(
    out: str | Path,
    *,
    images: int | None = None,
    device: str | None = None,
    set: Sequence[str] = (),
    data: str | Path | None = None,
) -> bundle.Model:
    """Continue the run in `out`, to `images` in all (default: what it was started for), exactly as if it had never stopped.

    `set`: numbers to change from here on, as in `train`; they are written to run.json. `data`: where the run's data lie now,
    if they were moved or the run was copied without its local.json. Raises `UserError` where there is no run, where another
    process writes it, where no checkpoint can be read, or where the data has changed."""
    ranks.start(device)
    out = Path(out)
    read_record(out)  # before the lock, which makes a file
    with writing(out):
        if ranks.rank() == 0:
            checkpoint.sweep(out)
        ranks.barrier()
        where = None if data is None else str(data)
        engine, record, log = restore(out, "last", device, images=images, set=set, data=where)
        if engine.clock.images >= engine.run.images:
            if not (out / "report.html").is_file():
                write_report_quietly(out)
            more = engine.clock.images + max(engine.run.images, engine.clock.images) // 2
            raise UserError(
                f"{out} is complete: {engine.clock.images:,} of {engine.run.images:,} images. "
                f"To train on: ganvas resume {shlex.quote(str(out))} --images {more}"
            )
        if ranks.rank() == 0:
            write_record(out, record)
        return _fit(engine, out, record, log)


# ---------------------------------------------------------------- before the first step


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


def _refuse_early(
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
            if method.scale != scale:
                raise UserError(
                    f"the network enlarges {method.scale} times, and the data is reduced {scale} times: give both, "
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
def _claimed(out: Path, record: dict[str, Any]) -> Iterator[None]:
    """Within: the run's folder, with its description, is this process's own. It is withdrawn if the run never begins."""
    if ranks.rank() != 0:
        ranks.barrier()
        yield
        return
    new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"the run's folder {out} cannot be made: {e}. Choose another --out") from None
    with writing(out):
        _must_be_free(out)  # another process may have been first
        try:
            for name in ("samples", "checkpoints"):
                (out / name).mkdir(exist_ok=True)
            write_record(out, record)
        except (OSError, UserError) as e:
            _withdraw(out, new)
            raise UserError(f"the run's folder {out} cannot be made: {e}. Choose another --out") from None
        ranks.barrier()
        try:
            yield
        except Stopped:
            raise
        except UserError:
            if not checkpoint.all_of(out / "checkpoints") and not _began(out):
                _withdraw(out, new)  # it never began, and the same command, mended, may have the folder
            raise


def _began(out: Path) -> bool:
    return any((out / name).is_file() and (out / name).stat().st_size for name in ("log.jsonl",))


def _withdraw(out: Path, new: bool) -> None:
    """Remove what a run that never began has written to its folder, and the folder if it was new."""
    for entry in [*(p for p in out.iterdir() if not p.name.startswith(".")), out / ".lock"]:
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    if new:
        with suppress(OSError):
            out.rmdir()


def _record(recipe: str, run: Run, engine: Engine, info: Any, command: str | None, tensorboard: bool) -> dict[str, Any]:
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
        "tick": max(run.batch, run.images // 20, TICK),  # images between sample grids
        "tensorboard": tensorboard,
        "parameters": {name: sum(w.numel() for w in net.parameters()) for name, net in engine.method.named_children()},
        "shape": {"channels": shape.channels, "height": shape.height, "width": shape.width, "classes": shape.classes},
        "data": info_fields,
        "run": config.dump(run),
        "ranks": ranks.world(),
        "versions": {"ganvas": __version__, "torch": torch.__version__},
        "machine": machine(),
        "commit": commit(),
        "started": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
    }


# ---------------------------------------------------------------- the loop


def _fit(engine: Engine, out: Path, record: dict[str, Any], unfinished: dict[str, Any]) -> bundle.Model:
    """Train from the engine's clock to the end of its run. Ends early, with everything saved, on Ctrl-C."""
    run, clock = engine.run, engine.clock
    folder, last_saved = out / "checkpoints", time.monotonic()
    command = f"ganvas resume {shlex.quote(str(out))}"
    log: Log | None = None
    with _interrupts() as pressed, Progress(run.images, clock.images, quiet=ranks.rank() > 0) as bar:
        try:
            log = Log(out, engine, unfinished, record)
            if not (out / "report.html").exists():
                write_report_quietly(out, running=True)
            last_report = time.monotonic()
            while engine.clock.images < run.images:
                log.add(engine.step())
                bar.update(engine.clock.images, log.latest)
                tick, save = (engine.clock.images // n > clock.images // n for n in (record["tick"], record["save"]))
                early = _is_early(clock.images, engine.clock.images) and engine.clock.images < record["tick"]
                clock = engine.clock
                done = clock.images >= run.images
                overdue = time.monotonic() - last_saved > SAVE_SECONDS
                stop, save = _agree(pressed[0] if pressed else 0, save or tick or overdue or done)
                if early and not done and ranks.rank() == 0:
                    _sheet(engine, out, record)
                if save or stop:
                    log.sync()
                    engine.check_weights()
                    if ranks.rank() == 0:
                        if tick or done:  # also where it stops: it will not come by here again
                            _tick(engine, out, record)
                        elif stop and not early:
                            _sheet(engine, out, record, STOPPED)
                        # Before the checkpoint: a run whose last checkpoint stands has its model.
                        facts = _facts(engine, record)
                        bundle.save(out / "model", engine.model(), portable(run), engine.feed.info.shape, facts)
                    values, shared, own = engine.state()
                    checkpoint.save(folder, {**values, "log": log.state()}, shared, own)
                    if ranks.rank() == 0:
                        checkpoint.prune(folder, best_checkpoint(out))
                    last_saved = time.monotonic()
                if stop:
                    bar.close()
                    write_report_quietly(out)
                    say(
                        f"stopped at {clock.images:,} of {run.images:,} images; everything is saved.",
                        f"Continue: {command}",
                    )
                    ranks.barrier()  # torchrun ends all ranks as soon as one has ended
                    raise SystemExit(128 + stop)
                if save and not done and time.monotonic() - last_report > REPORT_SECONDS:
                    write_report_quietly(out, running=True)
                    last_report = time.monotonic()
        except OSError as e:
            raise Stopped(
                f"training stopped: the run's folder {out} could not be written: {e}. Nothing of the last checkpoint is lost. "
                f"Free some space or make the folder writable, then continue: {command}"
            ) from None
        except NotFinite as e:
            bar.close()
            kept = checkpoint.all_of(folder)
            good = (
                f"the last good checkpoint, at {int(kept[-1].name):,} images, is kept"
                if kept
                else "nothing was saved before"
            )
            write_report_quietly(out)
            raise Stopped(
                f"training stopped: {e}. In {out}: {good}. To go on from it more carefully: "
                f"{command} --set optim.D.lr=… (a lower rate), or another --seed in a new run"
            ) from None
        finally:
            if log is not None:
                log.close()
    write_report_quietly(out)
    ranks.barrier()
    return bundle.Model(engine.model(), _facts(engine, record), str(engine.device))


def _agree(stop: int, save: bool) -> tuple[int, bool]:
    """Every rank stops and saves where one of them does. `stop`: the number of the signal that it received, or 0."""
    if ranks.world() == 1:
        return stop, save
    votes = torch.tensor([stop, save], dtype=torch.float32)
    ranks.most_(votes)
    return int(votes[0]), bool(votes[1])


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Within: the first Ctrl-C (or SIGTERM) is noted in the list; a second one interrupts at once.

    Not under torchrun, which passes on the signal that its processes have received already."""
    pressed: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if pressed:
            if ranks.world() > 1:
                return
            raise KeyboardInterrupt
        pressed.append(number)
        say("finishing this step and saving …")

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever owns it handles signals
        before = {}
    try:
        yield pressed
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


class Log:
    """log.jsonl: means since the last line, at image counts that do not depend on interruptions."""

    def __init__(self, out: Path, engine: Engine, unfinished: dict[str, Any], record: dict[str, Any]) -> None:
        self.engine = engine
        self.latest: dict[str, float] = {}
        self._pending: list[dict[str, Tensor]] = []
        self._sums: dict[str, float] = dict(unfinished.get("sums", {}))
        self._counts: dict[str, int] = dict(unfinished.get("counts", {}))  # a lazy penalty is not there in every step
        self._file = self._timing = self._board = None
        self._started, self._from = time.monotonic(), engine.clock.images
        self._before = 0.0
        if ranks.rank() == 0:
            for name in ("log.jsonl", "timing.jsonl", "measures.jsonl"):
                _cut(out / name, engine.clock.images)
            for grid in (out / "samples").glob("*.png"):
                if grid.name.startswith(STOPPED) or (grid.stem.isdigit() and int(grid.stem) > engine.clock.images):
                    grid.unlink()
            self._before = max((e["seconds"] for e in read_lines(out / "timing.jsonl")), default=0.0)
            self._file = (out / "log.jsonl").open("a", encoding="utf-8")
            self._timing = (out / "timing.jsonl").open("a", encoding="utf-8")
            if record.get("tensorboard"):
                self._board = _tensorboard(out)

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        clock = self.engine.clock
        self._pending.append(dict(scalars))
        if self.engine.device.type == "cpu" or len(self._pending) >= LOG_STEPS:
            self.flush()
        if clock.step % LOG_STEPS == 0 or clock.step <= LOG_STEPS:
            self.flush()
            self._line({k: v / self._counts[k] for k, v in self._sums.items()})
            self._sums, self._counts = {}, {}

    def flush(self) -> None:
        """Read what the device still holds."""
        for scalars in self._pending:
            values = dict(zip(scalars, torch.stack(list(scalars.values())).tolist(), strict=True))
            self.engine.complain_of(values)
            self.latest = values
            for k, v in values.items():
                self._sums[k] = self._sums.get(k, 0.0) + v
                self._counts[k] = self._counts.get(k, 0) + 1
        self._pending.clear()

    def sync(self) -> None:
        """Read what the device still holds, and have the lines on the disk before a checkpoint relies on them."""
        self.flush()
        if self._file is not None:
            os.fsync(self._file.fileno())

    def _line(self, means: dict[str, float]) -> None:
        if self._file is None or self._timing is None:
            return
        clock, seconds = self.engine.clock, time.monotonic() - self._started
        print(json.dumps({"step": clock.step, "images": clock.images, **means}), file=self._file, flush=True)
        rate = (clock.images - self._from) / max(seconds, 1e-9)
        timing = {
            "images": clock.images,
            "seconds": round(self._before + seconds, 3),
            "images_per_second": round(rate, 2),
        }
        print(json.dumps(timing), file=self._timing, flush=True)
        if self._board is not None:
            for k, v in means.items():
                self._board.add_scalar(k, v, clock.images)

    def state(self) -> dict[str, Any]:
        return {"sums": self._sums, "counts": self._counts}

    def close(self) -> None:
        for f in (self._file, self._timing, self._board):
            if f is not None:
                with suppress(
                    OSError
                ):  # on a full disk the last line cannot be written; the checkpoint has its figures
                    f.close()


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except Exception:
        raise UserError("TensorBoard is not installed. Install it: pip install 'ganvas[tensorboard]'") from None
    return SummaryWriter(str(out / "tensorboard"))


def _cut(path: Path, images: int) -> None:
    """Drop what was written after the checkpoint that the run continues from."""
    if path.is_file():
        kept = [line for line in read_lines(path, warn=True) if line["images"] <= images]
        checkpoint.write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept))


# ---------------------------------------------------------------- at every tick


def _is_early(before: int, now: int) -> bool:
    """Whether a run got to 1,000, 2,000, 4,000 … images: sheets before the first tick, which may be hours away."""
    return (before // TICK).bit_length() < (now // TICK).bit_length()


def _sheet(engine: Engine, out: Path, record: dict[str, Any], prefix: str = "") -> bundle.Model:
    """A sample grid, of the model that is returned. Rank 0's work; the others wait where they next need it.

    `prefix`: `STOPPED` for one that an undisturbed run would not have, and that the run which goes on removes."""
    model = bundle.Model(engine.model(), _facts(engine, record), str(engine.device))
    name = f"{prefix}{engine.clock.images:09d}"
    facts = {"recipe": record["recipe"], "images_trained": engine.clock.images, "seed": engine.run.seed}
    provenance.save(sheet(model, engine.feed, engine.run.seed), out / "samples" / f"{name}.png", **facts)
    return model


def _tick(engine: Engine, out: Path, record: dict[str, Any]) -> None:
    """A sample grid and a point of the quality curve."""
    model = _sheet(engine, out, record)
    if engine.feed.info.count < 2:  # a single picture has no distribution
        return
    line = {"images": engine.clock.images, "frechet": _quality(model, engine), "extractor": QUALITY_FEATURES}
    with (out / "measures.jsonl").open("a", encoding="utf-8") as f:
        print(json.dumps(line), file=f)


def sheet(model: bundle.Model, feed: Any, seed: int) -> Any:
    """What the model makes, as one picture: a grid of samples; or rows of input and output, and of what pairs say that it
    should be, and then samples of each domain, where the method makes those, too."""
    if not isinstance(model.method, Translates):
        columns = model.columns(GRID)
        n = GRID if columns is None else GRID // columns * columns
        return provenance.grid(model.sample(n, seed=seed, output="torch"), columns=columns)
    real = feed.fixed(8)
    rows: list[Tensor] = []
    for to in model.method.directions:
        x, target = (real.a, real.b) if to == "b" else (real.b, real.a)
        shown = torch.nn.functional.interpolate(x, scale_factor=model.method.scale, mode="nearest")
        rows += [shown, torch.cat([model.translate(one[None], to=to, output="torch") for one in x])]
        rows += [target] if feed.info.task == "pairs" else []
    if isinstance(model.method, Samples):
        rows += [model.sample(8, seed=seed, labels=[y] * 8, output="torch") for y in range(model.method.classes)]
    return provenance.grid(torch.cat(rows), columns=8)


def _quality(model: bundle.Model, engine: Engine) -> float:
    """The Frechet distance between what the model makes and the data, over a fixed extractor: for watching one run."""
    features, feed = extractor(QUALITY_FEATURES), engine.feed
    n = min(QUALITY_IMAGES, feed.info.count)
    if not isinstance(model.method, Translates):
        fake = model.batches(QUALITY_IMAGES, seed=engine.run.seed + 1)
        real: Batch = feed.fixed(n)
        x = real.x if "x" in real else torch.cat([real.a, real.b])  # one set, or coupled domains
        side = engine.method.now.resolution
        x = x if side is None or side >= max(x.shape[-2:]) else _shrunk(x, side)
        return frechet_distance(*feature_statistics(features, fake), *feature_statistics(features, x.split(64)))
    real, total = feed.fixed(min(64, feed.info.count)), 0.0
    for to in model.method.directions:
        source, target = (real.a, real.b) if to == "b" else (real.b, real.a)
        made = [model.translate(x[None], to=to, output="torch") for x in source]
        total += frechet_distance(
            *feature_statistics(features, [torch.cat(made)]), *feature_statistics(features, [target])
        )
    return total / len(model.method.directions)


def _shrunk(x: Tensor, side: int) -> Tensor:
    return torch.nn.functional.avg_pool2d(x, max(x.shape[-2:]) // side)


def _facts(engine: Engine, record: dict[str, Any]) -> dict[str, Any]:
    kept = ("ganvas", "recipe", "paper", "task", "seed", "shape", "data", "commit", "versions")
    return {**{k: record[k] for k in kept}, "images_trained": engine.clock.images}


def write_report_quietly(out: Path, running: bool = False) -> None:
    """The report must never cost a finished training. `running`: it is there to be looked at while training goes on."""
    if ranks.rank() == 0:
        try:
            write_report(out, running=running)
        except Exception as e:
            say(f"warning: the report could not be written: {e}")
