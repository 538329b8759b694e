"""The cases of bench/accelerator.py: each a function of a device that returns figures.

A case of correctness returns `passed` and what it compared; a case of speed is a
`ganvas bench`, or a record of bench/peers.py.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import torch
import torch.distributed as dist
from torch import Tensor
from torch.overrides import TorchFunctionMode
from toys import distinct_recipes, toy_data, toy_run

from ganvas.core import Run
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.training import benchmark

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "golden_losses.json"
SEED = "seed=11"  # of the golden losses
SMALLEST = 0.1  # losses below it are compared as if they were this large
COUNTS = ("accuracy", "sign")  # terms of the log of which rounding changes a whole count
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}
COMPILED = 1e-3  # of losses of compiled steps: fused operations round otherwise
PROCESSES = 1e-4  # of losses and weights of two processes, whose sums have another order
STEPS = 3  # of compared trainings
START = "spawn"  # how processes begin
WARM = 0.3  # seconds of each measurement of the card's rate


def serve(requests: Connection) -> None:
    """Answer (function, arguments) by its result, or by the message of its failure."""
    os.setsid()  # one group with the processes of its cases, to end together
    benchmark.SECONDS = WARM
    with contextlib.suppress(EOFError):
        while True:
            requests.send(answer(*requests.recv()))


def answer(function: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a case; `failed`: the message if it raised."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    torch._dynamo.reset()
    try:
        return globals()[function](**arguments)
    except Exception as e:  # whatever fails on a device is a result
        return {"failed": f"{type(e).__name__}: {str(e).strip()[-600:]}"}


def all_recipes() -> list[str]:
    """One recipe for each method, choice of networks and of switches."""
    return distinct_recipes()


class DrawsOnProcessor(TorchFunctionMode):
    """Draw random numbers on the processor: every device then sees the same ones."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func not in (torch.randn, torch.rand, torch.randint, torch.randperm):
            return func(*args, **kwargs)
        device = kwargs.pop("device", None)
        return func(*args, **kwargs).to(device)


@contextlib.contextmanager
def deterministic() -> Iterator[list[str]]:
    """Deterministic kernels within the context; yields what has none, when it is over."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    lacking: list[str] = []
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            yield lacking
        about = [str(w.message) for w in seen if "deterministic" in str(w.message)]
        lacking += sorted({text.partition(" does not")[0] for text in about})
    finally:
        torch.use_deterministic_algorithms(False)


def toy(recipe: str, folder: str, *settings: str) -> Run:
    """A recipe at toy size on its own toy data."""
    return toy_run(recipe, toy_data(recipe, Path(folder) / recipe), SEED, *settings)


def floats(log: Mapping[str, Tensor]) -> dict[str, float]:
    return {k: float(v) for k, v in log.items()}


def difference(found: Mapping[str, float], wanted: Mapping[str, float]) -> float:
    """The largest relative difference of two logs; infinite if it is no number."""
    assert found.keys() == wanted.keys(), f"terms {sorted(found)}, wanted {sorted(wanted)}"
    terms = [k for k in wanted if not k.endswith(COUNTS)]
    parts = [abs(found[k] - wanted[k]) / max(abs(wanted[k]), SMALLEST) for k in terms]
    return max((d if d == d else float("inf") for d in parts), default=0.0)


def golden(device: str, precision: str, recipes: Sequence[str]) -> dict[str, Any]:
    """Losses of the first step against the record (fp32), or the processor's (bf16).

    The same weights, images and draws; later steps amplify rounding."""
    known = json.loads(GOLDEN.read_text(encoding="utf-8"))["losses"]
    differences: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, DrawsOnProcessor(), deterministic():
        for recipe in recipes:
            run = toy(recipe, folder, f"precision={precision}")
            wanted = known[recipe][0]
            if precision == "bf16":
                wanted = floats(Engine(run, run.data()).step())
            differences[recipe] = difference(floats(Engine(run, run.data(), device).step()), wanted)
    allowed = TOLERANCE[precision]
    over = {k: v for k, v in differences.items() if not v <= allowed}
    return {
        "passed": not over,
        "allowed": allowed,
        "largest": max(differences.values()),
        "over": over,
        "differences": differences,
    }


def state_of(engine: Engine) -> dict[str, Tensor]:
    _, shared, own = engine.state()
    return {k: v.clone() for k, v in {**shared, **own}.items()}


def resume(device: str, recipe: str) -> dict[str, Any]:
    """A training that is saved, restored and continued equals an uninterrupted one."""
    with tempfile.TemporaryDirectory() as folder, deterministic() as lacking:
        run = toy(recipe, folder)
        whole = Engine(run, run.data(), device)
        for step in range(2 * STEPS):
            if step == STEPS:
                checkpoint.save(Path(folder) / "saved", *whole.state())
            whole.step()
        engine = Engine(run, run.data(), device)
        engine.load_state(*checkpoint.load(checkpoint.all_of(Path(folder) / "saved")[-1]))
        for _ in range(STEPS):
            engine.step()
        states = state_of(whole), state_of(engine)
    unequal = [k for k, v in states[0].items() if not torch.equal(v, states[1][k])]
    return {
        "passed": not unequal,
        "tensors": len(states[0]),
        "unequal": unequal[:10],
        "without deterministic kernel": lacking,
    }


def rank_of_two(rank: int, folder: str, recipe: str, device: str) -> None:
    """One of two processes: its losses and weights, written by rank 0."""
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    run = toy_run(recipe, Path(folder) / recipe, SEED)
    with DrawsOnProcessor():
        engine = Engine(run, run.data(), device)
        logs = [floats(engine.step()) for _ in range(STEPS)]
    if rank == 0:
        torch.save((logs, dict(engine.method.state_dict())), f"{folder}/result.pt")
    dist.barrier()
    dist.destroy_process_group()


def two_processes(device: str, recipe: str) -> dict[str, Any]:
    """Two processes on one device train as one: by gloo, as NCCL wants a GPU for each."""
    with tempfile.TemporaryDirectory() as folder, DrawsOnProcessor():
        run = toy(recipe, folder)
        engine = Engine(run, run.data(), device)
        logs = [floats(engine.step()) for _ in range(STEPS)]
        context: Any = multiprocessing.get_context(START)
        ranks = [
            context.Process(target=rank_of_two, args=(rank, folder, recipe, device))
            for rank in range(2)
        ]
        for process in ranks:
            process.start()
        try:
            until = time.monotonic() + 120
            for process in ranks:
                process.join(max(0.0, until - time.monotonic()))
            statuses = [process.exitcode for process in ranks]
            if any(statuses):
                return {"failed": f"the processes ended with {statuses}; their output is above"}
        finally:
            for process in ranks:
                process.kill()
        found = torch.load(f"{folder}/result.pt", weights_only=True)
    losses = max(difference(a, b) for a, b in zip(found[0], logs, strict=True))
    weights = max(
        float((v.float() - found[1][k].float()).abs().max())
        for k, v in engine.method.state_dict().items()
    )
    return {
        "passed": losses <= PROCESSES and weights <= PROCESSES,
        "allowed": PROCESSES,
        "losses": losses,
        "weights": weights,
        "backend": "gloo",
    }


def data(device: str, recipe: str) -> dict[str, Any]:
    """Batches that are cut out of images on the device equal those of the host."""
    with tempfile.TemporaryDirectory() as folder:
        run = toy(recipe, folder)
        host, own = run.data(), run.data()
        own._lies_on = lambda _: True  # also if the device is the processor
        largest = 0.0
        for cursor in range(0, 5 * run.batch, run.batch):
            batches = [
                feed.draw(cursor, run.batch, seed=run.seed, device=to)
                for feed, to in ((host, None), (own, device))
            ]
            for name in ("x", "y", "a", "b"):
                image, other = (batch.get(name) for batch in batches)
                if image is not None and other is not None:
                    apart = (image.double() - other.cpu().double()).abs().max()
                    largest = max(largest, float(apart))
    return {"passed": largest == 0.0, "largest": largest}


def compiled(device: str, recipe: str, mode: str) -> dict[str, Any]:
    """Steps with compiled networks give the losses of steps without."""
    config: Any = __import__("torch._inductor.config", fromlist=["config"])
    config.fallback_random = True  # otherwise compiled noise is another than torch's
    with tempfile.TemporaryDirectory() as folder:
        run = toy(recipe, folder)
        logs: list[list[dict[str, float]]] = []
        for each in (run, replace(run, compile=mode)):
            engine = Engine(each, each.data(), device)
            logs.append([floats(engine.step()) for _ in range(STEPS)])
    by_step = [difference(b, a) for a, b in zip(*logs, strict=True)]
    # Adam's first update follows the signs of gradients, some of which rounding decides.
    return {"passed": by_step[0] <= COMPILED, "allowed": COMPILED, "differences": by_step}


def speed(device: str, recipe: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`ganvas bench`."""
    return dict(benchmark.bench(recipe, device=device, **settings))


def reference(device: str, method: str, peer: str, settings: Sequence[str]) -> dict[str, Any]:
    """The reference's own step beside ours: a record of bench/peers.py."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "peers.json"
        command = [sys.executable, str(ROOT / "bench" / "peers.py"), method, "--peer", peer]
        command += [*settings, "--device", device, "--threads", "1", "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return {"failed": done.stderr.strip()[-600:]}
        (found,) = json.loads(out.read_text(encoding="utf-8")).values()
    return found


# cuBLAS needs it for deterministic products, before its first one.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
