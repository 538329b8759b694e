"""Training benchmark: seconds per step, and the share of the machine's peak rate."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ganvas import recipes
from ganvas.core import Batch, Clock, Method, Run, distributed
from ganvas.core.environment import auto_precision, commit, machine, usable_device
from ganvas.core.errors import UserError
from ganvas.core.sizes import sides
from ganvas.data import Prefetch
from ganvas.data.degradations import KINDS, reduced
from ganvas.data.feed import Feed
from ganvas.data.info import Info, Task
from ganvas.engine.build import set_precision
from ganvas.engine.engine import Engine
from ganvas.engine.run_dir import in_whole_batches
from ganvas.methods.base import AdversarialAutoencoder
from ganvas.training.with_data import with_data

# Sides of square matrices, whose product measures the machine's rate: on an
# accelerator it must take much longer than to start it.
SIDE, SIDE_ON_ACCELERATOR = 2048, 8192
SECONDS = 1.0  # least duration of a measurement of that rate
IMAGES, KERNEL = (16, 256, 32, 32), (256, 256, 3, 3)  # of a convolution, the other measure
MORE = 16  # times as many images on an accelerator
WARM_STEPS = 2  # before steps are timed: one-time setup
PARTS = 100  # of a run, whose kinds of steps are told apart
COUNT = 256  # random images if no data are given


class Products(TypedDict):
    """Matrix products and convolutions of the mean step in memory.

    operations: floating-point operations
    rate, machine_rate: operations per second, and the peak in the same precision
        (`matmul_flops`)
    share: the first over the second
    """

    operations: float
    rate: float
    machine_rate: float
    share: float


class Benchmark(TypedDict):
    """The result of `bench`.

    size: [height, width] in pixels
    seconds_per_step, images_per_second, seconds_per_thousand_images: means, with the
        `loader` and on one batch in `memory`; a penalty of every 16th step counts as
        often as it is computed
    peak_mib: growth of the process in MiB (on an accelerator, what torch allocated);
        None: the system does not tell
    timed: first and last timed step of the run; a method whose steps change (WGAN's
        long phases) has other figures later
    """

    recipe: str
    size: list[int]
    batch: int
    precision: str
    compile: str | None
    data: str
    seconds_per_step: dict[str, float]
    images_per_second: dict[str, float]
    seconds_per_thousand_images: dict[str, float]
    products: Products
    peak_mib: float | None
    steps: int
    timed: list[int]
    device: str
    threads: int
    torch: str
    machine: Mapping[str, object]
    commit: str | None


def images_within(run: Run, feed: Feed, device: str, minutes: float) -> int:
    """How many images a run trains on within `minutes`, from steps that are timed here.

    The steps take a twentieth of the time, which is deducted, as is another for
    snapshots and checkpoints.
    """
    engine = Engine(run, Prefetch(feed), device)

    def timed() -> float:
        seconds = torch.tensor([_timed(engine.step, device)])
        distributed.all_reduce_max_(seconds)  # at every step: all ranks take as many
        return float(seconds)

    each = seconds_per_image(engine, 60 * minutes / 20, timed)
    engine.feed.close()
    images = max(run.batch, int(0.9 * 60 * minutes / each))
    return in_whole_batches(replace(run, images=images)).images


def seconds_per_image(engine: Engine, seconds: float, timed: Callable[[], float]) -> float:
    """The mean over a whole run: every kind of step counts by its share of the images.

    A method whose networks grow becomes slower later.

    seconds: of all steps that are timed, about
    timed: performs a step; returns how long it took
    """
    mean = 0.0
    for clock, share in steps_of(engine.run, engine.method):
        engine.clock = clock
        for _ in range(WARM_STEPS):
            engine.step()
        spent, first = 0.0, engine.clock.images
        while spent < seconds * share:
            spent += timed()
        mean += share * spent / (engine.clock.images - first)
    return mean


def steps_of(run: Run, method: Method) -> list[tuple[Clock, float]]:
    """(a time, share of the images) of every kind of step: of each stage, and game.

    method: of the run, at any stage
    """
    kinds: dict[tuple[object, ...], list[Clock]] = {}
    for part in range(PARTS):
        clock = run.clock(run.images * (2 * part + 1) // (2 * PARTS))
        stage = method.stage(clock)
        waits = isinstance(method, AdversarialAutoencoder) and clock.images < method.start
        kinds.setdefault((stage.index, stage.resolution, waits), []).append(clock)
    return [(clocks[0], len(clocks) / PARTS) for clocks in kinds.values()]


def bench(
    recipe: str,
    data: str | Path | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    batch: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    compile: str | None = None,
    steps: int = 10,
    set: Sequence[str] = (),
) -> Benchmark:
    """Time `steps` training steps with the data loader, and as many on one fixed batch.

    The two kinds of steps take turns, so that both see the same machine.

    data: as in `train`. None: random images of the recipe's size.
    steps: number of timed steps of each kind, at least 1.
    The others are as in `train`.

    Raises `UserError` for any setting that does not fit.
    """
    if steps < 1:
        raise UserError(f"steps must be at least 1; got {steps}")
    torch.manual_seed(0)
    device = usable_device(device)
    run = with_data(recipes.find(recipe)(COUNT), "" if data is None else data, size, set)
    precision = auto_precision(device) if precision == "auto" else precision
    given = {"batch": batch, "precision": precision, "compile": compile}
    run = replace(run, **{k: v for k, v in given.items() if v is not None})
    feed = random_feed(run) if data is None else run.data()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)  # of an earlier measurement in this process
    before = _peak_mib(device)
    engine = Engine(run, Prefetch(feed), device)
    with_loader, with_batch = engine.feed, FixedBatchLoader(engine)
    engine.step()  # one-time setup, compilation included
    seconds: dict[str, float] = {"loader": 0.0, "memory": 0.0}
    images = dict.fromkeys(seconds, 0)
    clocks: list[Clock] = []  # of the steps in memory
    for _ in range(steps):
        engine.feed = with_loader
        engine.step()  # the loader prefetches again
        for name, engine.feed in (("loader", with_loader), ("memory", with_batch)):
            clock = engine.clock
            seconds[name] += _timed(engine.step, device)
            images[name] += engine.clock.images - clock.images
        clocks.append(clock)
    with_loader.close()
    peak = _peak_mib(device)
    operations = sum(_operations(engine, clock) for clock in clocks)
    rate = matmul_flops(run.precision, device)
    return {
        "recipe": recipe,
        "size": [feed.info.height, feed.info.width],
        "batch": run.batch,
        "precision": run.precision,
        "compile": run.compile,
        "data": feed.info.source,
        "seconds_per_step": {name: t / steps for name, t in seconds.items()},
        "images_per_second": {name: images[name] / t for name, t in seconds.items()},
        "seconds_per_thousand_images": {
            name: 1000 * t / images[name] for name, t in seconds.items()
        },
        "products": {
            "operations": operations / steps,
            "rate": operations / seconds["memory"],
            "machine_rate": rate,
            "share": operations / seconds["memory"] / rate,
        },
        "peak_mib": None if peak is None or before is None else peak - before,
        "steps": steps,
        "timed": [clocks[0].step - 1, clocks[-1].step],
        "device": device if not device.startswith("cuda") else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": machine(),
        "commit": commit(),
    }


def lines(found: Benchmark) -> Iterator[str]:
    """A benchmark's result as lines of text."""
    size = "x".join(map(str, found["size"]))
    how = found["precision"] + (f", compile {found['compile']}" if found["compile"] else "")
    yield f"{found['recipe']}, {size} px, batch {found['batch']}, {how}, on {found['device']}"
    for name, title in (("loader", "with the loader"), ("memory", "on one batch in memory")):
        yield (
            f"{title:<24} {found['seconds_per_step'][name]:.4g} s a step, "
            f"{found['images_per_second'][name]:.4g} images/s, "
            f"{found['seconds_per_thousand_images'][name]:.4g} s a thousand images"
        )
    products = found["products"]
    yield (
        f"{'products':<24} {products['rate'] / 1e9:.4g} Gflop/s, {products['share']:.0%} of the "
        f"{products['machine_rate'] / 1e9:.4g} measured as this machine's peak"
    )
    if found["peak_mib"] is not None:
        yield f"{'memory':<24} {found['peak_mib']:.0f} MiB at peak"


def matmul_flops(precision: str, device: str) -> float:
    """Measured peak rate of this machine, in floating-point operations per second.

    The better of a product of two square matrices and a 3x3 convolution of images of
    32x32 with 256 channels: on a processor the two come from different libraries.
    """
    set_precision(precision, torch.device(device))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    large = device.startswith("cuda")
    side, images = (SIDE_ON_ACCELERATOR, IMAGES[0] * MORE) if large else (SIDE, IMAGES[0])
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    x, w = (
        torch.randn(*s, device=device).to(dtype, memory_format=torch.channels_last)
        for s in ((images, *IMAGES[1:]), KERNEL)
    )
    works: list[tuple[int, Callable[[], Tensor]]] = [
        (2 * side**3, lambda: a @ b),
        (2 * x.numel() * w[:, 0].numel(), lambda: conv2d(x, w, padding=1)),
    ]
    rates = []
    for operations, work in works:
        best, until = float("inf"), time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            best = min(best, _timed(work, device))
        rates.append(operations / best)
    return max(rates)


def random_feed(run: Run) -> Feed:
    """Random images in memory, of the kind and size that `run` expects."""
    assert isinstance(run.data, partial)
    keywords = run.data.keywords
    opener = run.data.func.__name__
    if opener == "languages":  # not images; this data set is generated anyway
        return run.data(source="uniform")
    task = cast(Task, opener if opener in ("images", "domains") else "pairs")
    size, load = keywords.get("size", 64), keywords.get("load")
    height, width = sides(size)
    stored = (height, width) if load is None else (load, load) if isinstance(load, int) else load
    channels = keywords.get("channels") or 3
    streams = {"images": ("x",), "pairs": ("ab",), "domains": ("a", "b")}.get(opener, ("x",))
    count = max(COUNT // (1 + height * width // 256**2), 2 * run.batch)  # fewer of large images
    rng = np.random.default_rng(0)
    pixels = {
        s: rng.integers(
            0, 256, (count, *stored, channels * (2 if s == "ab" else 1)), dtype=np.uint8
        )
        for s in streams
    }
    labels = rng.integers(0, 10, count) if task == "images" else None
    palette: tuple[int, ...] = ()
    if opener == "label_maps":
        palette = (0x000000, 0xFFFFFF)
    info = Info(
        task, "random", "memory", "train", channels, height, width, count, "random",
        tuple(map(str, range(10))) if labels is not None else (), palette=palette,
    )  # fmt: skip
    feed = Feed(info, pixels, labels, flip=bool(keywords.get("flip")))
    if opener == "super_resolution":
        feed.scale = keywords.get("scale", 4)
        feed.derive = partial(reduced, scale=feed.scale)
        if degrade := keywords.get("degrade"):
            feed.degrade = partial(degrade, scale=feed.scale)
    elif opener == "derived":
        feed.derive = KINDS[keywords["kind"]]
    elif opener == "stacks":
        feed.derive = KINDS["edges"]
    return feed


class FixedBatchLoader:
    """A data loader that returns the same batch at every call."""

    def __init__(self, engine: Engine) -> None:
        self.feed, self.info, self.batches = engine.feed, engine.feed.info, {}

    def draw(self, cursor: int, n: int, **options: object) -> Batch:
        """The batch of the first call with these options, at every cursor."""
        key = (n, *sorted(options.items()))
        if key not in self.batches:
            self.batches[key] = self.feed.draw(cursor, n, **options)
        return self.batches[key]


def _peak_mib(device: str) -> float | None:
    """Peak memory of this process in MiB; None if the system does not tell."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )


def _operations(engine: Engine, clock: Clock) -> int:
    """Operations of the step at `clock`, counted without compiled code."""
    engine.clock = clock
    with torch.compiler.set_stance("force_eager"), _Counter() as counter:
        engine.step()
    return counter.total


class _Counter(TorchDispatchMode):
    """Operation counter by torch's own formulas.

    torch's `FlopCounterMode` also follows modules, and fails inside penalties.
    """

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def _timed(call: Callable[[], Any], device: str) -> float:
    start = time.perf_counter()
    call()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start
