"""Many processes as one: who we are, and means over all of us. With one process everything here costs nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ganvas import shared_memory

_alone: ContextVar[bool] = ContextVar("alone", default=False)
_shared: shared_memory.Group | None = None  # the ranks, where all share one machine's memory


@contextmanager
def alone() -> Iterator[None]:
    """Within: as in a process of its own, for work that one rank does while the others wait."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def world() -> int:
    """How many processes train together."""
    if _alone.get():
        return 1
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is."""
    return dist.get_rank() if world() > 1 else 0


def share() -> tuple[int, int]:
    """(which, of how many processes) torchrun says that this one is: for work that needs no word from the others."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def start(device: str | None = None) -> None:
    """Join the group that torchrun announced in the environment; nothing to do in a process of its own."""
    global _shared
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        cuda = device != "cpu" and torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")  # votes to stop lie in main memory
        _shared = None if cuda else shared_memory.group()


def stop(wait: bool = True) -> None:
    """Leave the group. `wait` for the others first, unless something went wrong here.

    Then a moment for gloo's threads: they let go of the last tensors, for which they need Python's lock, and where Python is
    already ending they take the process down ("terminate called without an active exception")."""
    global _shared
    if dist.is_available() and dist.is_initialized():
        if wait:
            dist.barrier()
        if _shared is not None:
            _shared.leave()
            _shared = None
        dist.destroy_process_group()
        time.sleep(0.3)


LARGE = 1 << 16  # numbers; a tensor of so many is sent from where it lies, smaller ones together


def average_(tensors: list[Tensor]) -> None:
    """Replace each tensor by its mean over the ranks. Ranks must pass the same shapes in the same memory formats."""
    if world() == 1 or not tensors:
        return
    tensors = [t.detach() for t in tensors]
    if _shared is not None:
        _shared.average_(tensors)
        return
    large = [t for t in tensors if t.numel() >= LARGE and t.dtype in (torch.float32, torch.float64)]
    chosen = set(map(id, large))
    small = [t for t in tensors if id(t) not in chosen]
    under_way = [dist.all_reduce(t, async_op=True) for t in large]
    if small:
        flat = torch.cat([t.flatten().float() if t.dtype != torch.float64 else t.flatten() for t in small])
        dist.all_reduce(flat)
        flat /= world()
        for t, part in zip(small, flat.split([t.numel() for t in small]), strict=True):
            t.copy_(part.view(t.shape))
    for handle in under_way:
        if handle is not None:
            handle.wait()
    if large:
        torch._foreach_div_(large, world())


def gather(x: Tensor) -> Tensor:
    """Every rank's x, one behind the other on a new first axis. Not part of the autograd graph."""
    if world() == 1:
        return x.detach()[None]
    if _shared is not None:
        return _shared.gather(x.detach())
    every = [torch.empty_like(x) for _ in range(world())]
    dist.all_gather(every, x.detach().contiguous())
    return torch.stack(every)


def most_(votes: Tensor) -> None:
    """Replace each entry by its largest value over the ranks."""
    votes.copy_(gather(votes).amax(0))


def barrier() -> None:
    if world() > 1:
        dist.barrier()


def broadcast(value: Any) -> Any:
    """Rank 0's value, on every rank."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


class _Sum(torch.autograd.Function):
    """Sum over the ranks, differentiable any number of times: the gradient of a sum that everyone reads is the sum of
    everyone's gradients."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        if _shared is not None:
            return _shared.gather(x).sum(0)
        out = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return _Sum.apply(grad)


def mean(x: Tensor) -> Tensor:
    """The mean over the ranks, part of the autograd graph."""
    return _Sum.apply(x) / world() if world() > 1 else x
