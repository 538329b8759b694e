"""Process group: rank, world size and collectives. No-ops in a single process.

Only tensors are exchanged, through the backends of `torch.distributed` (gloo, and NCCL
on GPUs). The collectives of Python objects are not used, since they unpickle what the
other processes send. Two parts listen on the network: gloo, on the loopback interface
if all ranks are on one machine (`init`); and the key-value store of torchrun, which
torch binds to all interfaces on torchrun's port (`--master-port`).
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

import torch
import torch.distributed as dist
from torch import Tensor

from ganvas.core.errors import UserError, printable

PATIENCE = 60.0  # seconds in a collective after which a rank reports that it still waits
LARGE = 1 << 16  # numbers; tensors of this size and more are sent singly, smaller ones together
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_alone: ContextVar[bool] = ContextVar("alone", default=False)
_waiting_since: float | None = None  # when this rank entered the collective that it is in


@contextmanager
def single_process() -> Iterator[None]:
    """Act as a single process within the context: one rank works, the others wait."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def world() -> int:
    """The number of processes that train together."""
    if _alone.get():
        return 1
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The index of this process in the group."""
    return dist.get_rank() if world() > 1 else 0


def env_rank() -> tuple[int, int]:
    """(rank, world size) of torchrun's environment, for work without communication."""
    return _number("RANK", 0), _number("WORLD_SIZE", 1)


def _number(name: str, default: int) -> int:
    """A number of torchrun's environment. Raises `UserError` if it is none."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit()):
        raise UserError(
            f"the environment variable {name} is {printable(text)!r}; expected a number, as "
            "torchrun sets it. To work with one process, unset it"
        )
    return int(text)


def init(device: str | None = None) -> None:
    """Join the process group that torchrun describes in the environment.

    device: "cpu": without GPUs; else rank `LOCAL_RANK` takes the GPU of that number

    Raises `UserError` if torchrun has ended, or if the processes cannot reach each
    other.
    """
    _, size = env_rank()
    if size == 1 or dist.is_initialized():
        return
    _end_with_torchrun()
    one_machine = _number("LOCAL_WORLD_SIZE", 0) == size
    if sys.platform == "linux" and one_machine:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(_number("LOCAL_RANK", 0))
    try:
        # gloo beside NCCL, since the flags for stopping are tensors on the CPU
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        if one_machine and _shares_torchruns_store():
            store = _store_of_this_start(size)
            dist.init_process_group(backend, store=store, rank=_number("RANK", 0), world_size=size)
        else:
            dist.init_process_group(backend)
    except (RuntimeError, ValueError) as e:
        raise UserError(
            f"the {size} processes that the environment variable WORLD_SIZE announces cannot "
            f"train together ({_reason(e)}). Start them with torchrun --nproc-per-node {size} -m "
            "ganvas …, or unset WORLD_SIZE to train with one process"
        ) from None
    threading.Thread(target=_watch, name="ganvas ranks", daemon=True).start()


def _end_with_torchrun() -> None:
    """Have this process receive SIGTERM when its parent, torchrun, ends (Linux).

    Raises `UserError` if torchrun has ended before. Without this check, torch would try
    to reach torchrun's store for half an hour.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if _shares_torchruns_store():
        host, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
        try:
            socket.create_connection((host, int(port)), timeout=PATIENCE).close()
        except OSError as e:
            raise UserError(
                f"torchrun, which started this process, has ended or cannot be reached at "
                f"{host}:{port} ({e.strerror or e}). Start it again"
            ) from None


def _shares_torchruns_store() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _store_of_this_start(size: int) -> dist.Store:
    """The part of torchrun's store for this start of the ranks.

    torchrun keeps its store when it starts ranks again, with the addresses of those
    that have ended, which gloo would try to reach. The number of restarts is the same
    on all ranks of one machine only: for several, docs/cluster.md has an environment
    variable by which torchrun makes a new store each time.
    """
    host, port = os.environ["MASTER_ADDR"], _number("MASTER_PORT", 0)
    store = dist.TCPStore(host, port, size, is_master=False)
    return dist.PrefixStore(f"start {_number('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def _watch() -> None:
    """Report a collective that takes longer than `PATIENCE` seconds, once."""
    reported = None
    while dist.is_initialized():
        since = _waiting_since
        if since is not None and since != reported and time.monotonic() - since > PATIENCE:
            reported = since
            with suppress(OSError, ValueError, RuntimeError):
                print(
                    f"rank {dist.get_rank()} has waited for another rank for {PATIENCE:.0f} s. "
                    "It may be measuring, or it may be stopped or unreachable: look at the "
                    "processes, and end them all to stop the run",
                    file=sys.stderr,
                    flush=True,
                )
        time.sleep(min(1.0, PATIENCE / 4))


def destroy(wait: bool = True) -> None:
    """Leave the process group.

    wait: for the other ranks; not after an error on this rank
    """
    if dist.is_available() and dist.is_initialized():
        if wait:
            barrier()
        dist.destroy_process_group()
        # gloo's threads release the last tensors, and need Python's lock for it. If
        # Python is ending by then, they abort ("terminate called without an active
        # exception").
        time.sleep(0.3)


@contextmanager
def _exchange() -> Iterator[None]:
    """Time a collective for `_watch`, and raise `UserError` if another rank has ended.

    gloo reports a rank that has been silent for half an hour as an error, too.
    """
    global _waiting_since
    _waiting_since = time.monotonic()
    try:
        yield
    except RuntimeError as e:
        raise UserError(
            f"one of the {dist.get_world_size()} processes that train together has ended or does "
            "not answer, and the others cannot go on without it. If it has left a message, it "
            "stands above; the run goes on from its last checkpoint with ganvas resume "
            f"({_reason(e)})"
        ) from None
    finally:
        _waiting_since = None


def _reason(e: Exception) -> str:
    """What failed, of a message "[a source file] what failed. General advice"."""
    first = re.sub(r"^\[.*?\] ", "", str(e).strip()).partition("\n")[0]
    return printable(first.partition(". ")[0])


def all_reduce_mean_(tensors: list[Tensor]) -> None:
    """Replace each tensor by its mean over the ranks.

    tensors: of the same shapes and memory formats on every rank
    """
    if world() == 1 or not tensors:
        return
    tensors = [t.detach() for t in tensors]
    large = [t for t in tensors if t.numel() >= LARGE and t.dtype in (torch.float32, torch.float64)]
    chosen = set(map(id, large))
    small = [t for t in tensors if id(t) not in chosen]
    with _exchange():
        pending = [dist.all_reduce(t, async_op=True) for t in large]
        if small:
            flat = torch.cat(
                [t.flatten().float() if t.dtype != torch.float64 else t.flatten() for t in small]
            )
            dist.all_reduce(flat)
            flat /= world()
            for t, part in zip(small, flat.split([t.numel() for t in small]), strict=True):
                t.copy_(part.view(t.shape))
        for handle in pending:
            if handle is not None:
                handle.wait()
    for t in large:
        t /= world()


def gather(x: Tensor) -> Tensor:
    """Every rank's x, stacked on a new first axis, without gradients."""
    if world() == 1:
        return x.detach()[None]
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world())]
    with _exchange():
        dist.all_gather(parts, x.detach().contiguous())
    return torch.stack(parts)


def all_reduce_max_(x: Tensor) -> None:
    """Replace each entry by its largest value over the ranks."""
    if world() > 1:
        with _exchange():
            dist.all_reduce(x, dist.ReduceOp.MAX)


def largest(*numbers: int) -> tuple[int, ...]:
    """The largest value over the ranks of each of some numbers below 2**24."""
    if world() == 1:
        return numbers
    values = torch.tensor(numbers, dtype=torch.float32)
    all_reduce_max_(values)
    return tuple(int(value) for value in values)


def barrier() -> None:
    """Wait until every rank has come here."""
    if world() > 1:
        with _exchange():
            dist.barrier()


class _Sum(torch.autograd.Function):
    """Sum over the ranks, differentiable any number of times.

    Every rank reads the sum, so its gradient is the sum of the ranks' gradients.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        out = x.clone(memory_format=torch.contiguous_format)
        with _exchange():
            dist.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tensor:
        return _Sum.apply(*grads)


def mean(x: Tensor) -> Tensor:
    """The mean over the ranks, with gradients."""
    return _Sum.apply(x) / world() if world() > 1 else x
