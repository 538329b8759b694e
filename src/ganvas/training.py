"""Training as a person asks for it: a recipe, data, a folder. Writes the run folder, keeps it resumable at every moment.

run.json            every number that decided the run, versions, the data's fingerprint, the command
log.jsonl           losses by image count (bitwise the same whether or not the run was interrupted)
timing.jsonl        how long it took
measures.jsonl      the quality curve: a Frechet distance at every tick
samples/            grids at every tick, and some before the first; report.html shows it all
checkpoints/        to continue from; model/: to use
"""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas import __version__, bundle, config, provenance, ranks, recipes
from ganvas.core import Batch, Run, Samples, Translates
from ganvas.data import Prefetch
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine, NotFinite
from ganvas.engine.memory import keep_freed_memory
from ganvas.errors import UserError
from ganvas.metrics.features import extractor, feature_statistics
from ganvas.metrics.frechet import frechet_distance
from ganvas.metrics.measure import commit, machine
from ganvas.nets.augment import named
from ganvas.progress import Progress
from ganvas.report import write_report
from ganvas.runs import auto_precision, best_checkpoint, read_lines, read_record, restore, say, usable_device

LOG_STEPS = 10  # steps per line of log.jsonl, and every one of the first ten
SAVE_SECONDS = 300  # a checkpoint at least this often
TICK = 1000  # images, at least, between two sample grids and points of the quality curve
GRID = 64  # images in a sample grid
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
    keep_freed_memory()
    out = Path(out)
    device = usable_device(device)
    make = recipes.find(recipe)
    run = with_data(augmented(make(1), augment), data, size, set)
    feed = run.data()
    run = with_data(augmented(make(feed.info.count), augment), data, size, set)
    precision = auto_precision(device) if precision == "auto" else precision
    given = {"batch": batch, "images": images, "seed": seed, "precision": precision, "compile": compile}
    run = replace(run, **{k: v for k, v in given.items() if v is not None})
    if run.images < 1 or run.batch < 1:
        raise UserError(f"--images and --batch must be at least 1; got {run.images} and {run.batch}")
    engine = Engine(run, Prefetch(feed), device)
    if engine.method.scale != feed.scale:
        raise UserError(
            f"the network enlarges {engine.method.scale} times, and the data is reduced {feed.scale} times: give both, "
            "as in --set G.scale=2 --set data.scale=2"
        )
    _claim(out)
    record = _record(recipe, run, engine, feed.info, command, tensorboard)
    if ranks.rank() == 0:
        checkpoint.write_atomically(out / "run.json", json.dumps(record, indent=1))
    try:
        return _fit(engine, out, record, {})
    except UserError as e:
        if engine.clock.images == 0 and not isinstance(e, Stopped) and ranks.rank() == 0:
            _withdraw(out)  # it never began, and the same command, mended, may have the folder
        raise


def resume(
    out: str | Path, *, images: int | None = None, device: str | None = None, set: Sequence[str] = ()
) -> bundle.Model:
    """Continue the run in `out`, to `images` in all (default: what it was started for), exactly as if it had never stopped.

    `set`: numbers to change from here on, as in `train`; they are written to run.json. Raises `UserError` where there is no
    run, where no checkpoint can be read, or where the data has changed."""
    ranks.start(device)
    keep_freed_memory()
    out = Path(out)
    engine, record, log = restore(out, "last", device, images=images, set=set)
    if engine.clock.images >= engine.run.images:
        if not (out / "report.html").is_file():
            write_report_quietly(out)
        more = engine.clock.images + max(engine.run.images, engine.clock.images) // 2
        raise UserError(
            f"{out} is complete: {engine.clock.images:,} of {engine.run.images:,} images. "
            f"To train on: ganvas resume {out} --images {more}"
        )
    if ranks.rank() == 0:
        checkpoint.sweep(out)
        checkpoint.write_atomically(out / "run.json", json.dumps(record, indent=1))
    return _fit(engine, out, record, log)


# ---------------------------------------------------------------- before the first step


def augmented(run: Run, text: str | None) -> Run:
    """`run` with the augmentation of this name; None: as it is."""
    if text is None:
        return run
    return replace(run, augment=None if text == "none" else named(text))


def with_data(run: Run, data: str | Path, size: int | tuple[int, int] | None, assignments: Sequence[str]) -> Run:
    source = str(data)
    if all(Path(part).exists() for part in source.split(",")):
        source = ",".join(str(Path(part).resolve()) for part in source.split(","))
    opener = run.data
    assert isinstance(opener, partial)
    keywords = {**opener.keywords, "source": source}
    if size is not None:
        if keywords.get("load"):  # keep the recipe's margin for random crops
            side = size if isinstance(size, int) else max(size)
            keywords["load"] = round(side * keywords["load"] / keywords["size"])
        keywords["size"] = size
    run = replace(run, data=partial(opener.func, **keywords))
    for assignment in assignments:
        run = config.override(run, assignment)
    return run


def _claim(out: Path) -> None:
    """The run's folder: new, or empty."""
    if ranks.rank() == 0:
        if (out / "run.json").exists():
            raise UserError(f"{out} already holds a run. Continue it: ganvas resume {out}. Or choose another --out")
        if out.exists() and (not out.is_dir() or any(p for p in out.iterdir() if not p.name.startswith("."))):
            raise UserError(f"{out} exists and is not an empty folder; nothing was written. Choose another --out")
        try:
            (out / "samples").mkdir(parents=True)
            (out / "checkpoints").mkdir()
        except OSError as e:
            raise UserError(f"the run's folder {out} cannot be made: {e}. Choose another --out") from None
    ranks.barrier()


def _withdraw(out: Path) -> None:
    """Take back what a run that never began has put into its folder."""
    for entry in [p for p in out.iterdir() if not p.name.startswith(".")]:
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _record(recipe: str, run: Run, engine: Engine, info: Any, command: str | None, tensorboard: bool) -> dict[str, Any]:
    doc = (type(engine.method).__doc__ or "").strip().splitlines()
    info_fields = {k: getattr(info, k) for k in ("task", "source", "count", "classes", "fingerprint", "skipped")}
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
    log = Log(out, engine, unfinished)
    folder, last_saved = out / "checkpoints", time.monotonic()
    command = f"ganvas resume {shlex.quote(str(out))}"
    with _interrupts() as pressed, Progress(run.images, clock.images, quiet=ranks.rank() > 0) as bar:
        try:
            while engine.clock.images < run.images:
                log.add(engine.step())
                bar.update(engine.clock.images, log.latest)
                tick, save = (engine.clock.images // n > clock.images // n for n in (record["tick"], record["save"]))
                early = _is_early(clock.images, engine.clock.images) and engine.clock.images < record["tick"]
                clock = engine.clock
                done = clock.images >= run.images
                overdue = time.monotonic() - last_saved > SAVE_SECONDS
                stop, save = _agree(bool(pressed), save or tick or overdue or done)
                if early and not done and ranks.rank() == 0:
                    _sheet(engine, out, record)
                if save or stop:
                    log.flush()
                    engine.check_weights()
                    if (tick or done) and ranks.rank() == 0:  # also where it stops: it will not come by here again
                        _tick(engine, out, record)
                    if ranks.rank() == 0:  # before the checkpoint: a run whose last checkpoint stands has its model
                        facts = _facts(engine, record)
                        bundle.save(out / "model", engine.model(), run, engine.feed.info.shape, facts)
                    values, shared, own = engine.state()
                    checkpoint.save(folder, {**values, "log": log.state()}, shared, own)
                    if ranks.rank() == 0:
                        checkpoint.prune(folder, best_checkpoint(out))
                    last_saved = time.monotonic()
                if stop:
                    bar.close()
                    log.flush()
                    write_report_quietly(out)
                    say(
                        f"stopped at {clock.images:,} of {run.images:,} images; everything is saved.\nContinue: {command}"
                    )
                    raise SystemExit(128 + pressed[0])
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
                f"training stopped: {e}\nIn {out}: {good}. To go on from it more carefully: "
                f"{command} --set optim.D.lr=… (a lower rate), or another --seed in a new run"
            ) from None
        finally:
            log.close()
    if ranks.rank() == 0:
        write_report_quietly(out)
    ranks.barrier()
    return bundle.Model(engine.model(), _facts(engine, record), str(engine.device))


def _agree(stop: bool, save: bool) -> tuple[bool, bool]:
    """Every rank stops and saves where one of them does."""
    if ranks.world() == 1:
        return stop, save
    votes = torch.tensor([stop, save], dtype=torch.float32)
    ranks.most_(votes)
    return bool(votes[0]), bool(votes[1])


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Within: the first Ctrl-C (or SIGTERM) is noted in the list; a second one is not held back."""
    pressed: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if pressed:
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

    def __init__(self, out: Path, engine: Engine, unfinished: dict[str, Any]) -> None:
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
                if grid.stem.isdigit() and int(grid.stem) > engine.clock.images:
                    grid.unlink()
            self._before = max((e["seconds"] for e in read_lines(out / "timing.jsonl")), default=0.0)
            self._file = (out / "log.jsonl").open("a", encoding="utf-8")
            self._timing = (out / "timing.jsonl").open("a", encoding="utf-8")
            if read_record(out).get("tensorboard"):
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
        kept = [line for line in read_lines(path) if line["images"] <= images]
        checkpoint.write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept))


# ---------------------------------------------------------------- at every tick


def _is_early(before: int, now: int) -> bool:
    """Whether a run got to 1,000, 2,000, 4,000 … images: sheets before the first tick, which may be hours away."""
    return (before // TICK).bit_length() < (now // TICK).bit_length()


def _sheet(engine: Engine, out: Path, record: dict[str, Any]) -> bundle.Model:
    """A sample grid, of the model that is returned. Rank 0's work; the others wait where they next need it."""
    model = bundle.Model(engine.model(), _facts(engine, record), str(engine.device))
    name = f"{engine.clock.images:09d}"
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
        n = GRID if model.columns is None else GRID // model.columns * model.columns
        return provenance.grid(model.sample(n, seed=seed, output="torch"), columns=model.columns)
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


def write_report_quietly(out: Path) -> None:
    """The report must never cost a finished training."""
    if ranks.rank() == 0:
        try:
            write_report(out)
        except Exception as e:
            say(f"warning: the report could not be written: {e}")
