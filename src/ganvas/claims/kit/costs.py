"""Time and memory of training, for claims that one method is lighter than another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch
from torch import Tensor

from ganvas.core import Method, Run
from ganvas.engine.engine import Engine

WARM, STEPS = 2, 8  # steps before the clock counts, and timed steps
COPIES = 4  # of a weight in training: itself, its gradient and Adam's two moments


def seconds_per_image(runs: Mapping[str, Run], device: str = "cpu") -> dict[str, float]:
    """Processor time of a step over its images, in each run; medians of `STEPS`.

    On other devices than the CPU wall-clock time. The runs take turns, so that a
    machine that becomes busy slows all of them.
    """
    engines = {name: Engine(run, run.data(), device) for name, run in runs.items()}
    clock = time.process_time if device == "cpu" else time.perf_counter
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(WARM + STEPS):
        for name, engine in engines.items():
            _wait(device)
            began = clock()
            engine.step()
            _wait(device)
            if i >= WARM:
                spent[name].append(clock() - began)
    return {name: median(spent[name]) / run.batch for name, run in runs.items()}


def training_bytes(method: Method, loss: Callable[[], Tensor]) -> int:
    """Bytes of a method's weights in training, and of `kept_bytes`."""
    weights = sum(w.numel() * w.element_size() for w in method.parameters())
    return kept_bytes(method, loss) + COPIES * weights


def kept_bytes(method: Method, loss: Callable[[], Tensor]) -> int:
    """Bytes of all tensors that a loss keeps for its gradients, weights aside.

    method: whose weights these are
    loss: computes a loss whose graph is held at once

    Counted by torch's hooks, not by the process's memory: the same on every machine.
    Tensors that share their storage count once.
    """
    own = {w.untyped_storage().data_ptr() for w in method.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        assert loss().requires_grad
    return sum(kept.values())


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
