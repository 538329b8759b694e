"""Processes of one machine that exchange numbers through memory that they share.

A step talks often and says little: every batch norm wants two small rows from everyone, each way. Over sockets a process that
waits is put to sleep and woken, which costs more than what is said; here it watches a counter. docs/performance.md has the
figures."""

from __future__ import annotations

import mmap
import os
import platform
import select
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from ganvas.errors import UserError

ROOM = 1 << 22  # bytes that one process says at once; what is longer is said in parts
LINE = 64  # bytes for what a process counts, so that no two processes' counters lie in one line of a cache
WATCHING = 0.02  # seconds a process watches a counter before it looks away in between


class Group:
    """All processes of the group of `torch.distributed`, if they share memory. Everyone calls the same methods in the same
    order, as with that group."""

    def __init__(self, memory: mmap.mmap, pidfds: list[int]) -> None:
        self.world, self.rank = dist.get_world_size(), dist.get_rank()
        self._pidfds, self._met, self._ended = pidfds, 0, select.poll()
        for pidfd in pidfds[: self.rank] + pidfds[self.rank + 1 :]:
            self._ended.register(pidfd, select.POLLIN)
        header = LINE * self.world
        words = memoryview(memory)[:header].cast("q")
        self._counters, self._left = words[:: LINE // 8], words[1 :: LINE // 8]
        room = torch.frombuffer(memory, dtype=torch.uint8, offset=header)
        self._said, self._mean = room[:-ROOM].view(2, self.world, ROOM), room[-ROOM:]

    @staticmethod
    def size(world: int) -> int:
        """Bytes of memory: everyone's counters; two rooms for everyone, taken in turn, so that what was said stays
        until all have come to the next meeting; and a room for means. Pages that nobody writes take no memory."""
        return LINE * world + (2 * world + 1) * ROOM

    def meet(self) -> None:
        """Return once everyone has called this as often. What one wrote before, everyone can read after."""
        self._met += 1
        counters, met = self._counters, self._met
        counters[self.rank] = met
        for other in range(self.world):
            looks = 0
            while counters[other] < met:
                looks += 1
                if looks == 100:
                    self._wait(other)

    def _wait(self, other: int) -> None:
        until = time.perf_counter() + WATCHING
        while self._counters[other] < self._met:
            if time.perf_counter() < until:
                os.sched_yield()
            elif any(self._left) or self._ended.poll(1):
                raise UserError(
                    f"one of the {self.world} processes that train together has ended, and the others cannot go on without "
                    f"it. What it said stands above; the run goes on from its last checkpoint with ganvas resume."
                )

    def gather(self, x: Tensor) -> Tensor:
        """Everyone's x, one behind the other on a new first axis."""
        out, most = x.new_empty(self.world, x.numel()), ROOM // x.element_size()
        for mine, everyone in zip(x.reshape(-1).split(most), out.split(most, 1), strict=True):
            said = self._rows(len(mine), x.dtype)
            said[self.rank].copy_(mine)
            self.meet()
            everyone.copy_(said)
        return out.view(self.world, *x.shape)

    def average_(self, tensors: list[Tensor]) -> None:
        """Replace each tensor, dense in memory, by its mean over everyone. Each works out a part of it."""
        for dtype in dict.fromkeys(t.dtype for t in tensors):
            flat = [_in_memory(t) for t in tensors if t.dtype == dtype]
            for part in _parts(flat, ROOM // dtype.itemsize):
                lengths = [len(t) for t in part]
                total = sum(lengths)
                said, mean = self._rows(total, dtype), self._mean.view(dtype)[:total]
                torch._foreach_copy_(list(said[self.rank].split(lengths)), part)
                self.meet()
                mine = slice(total * self.rank // self.world, total * (self.rank + 1) // self.world)
                torch.mean(said[:, mine], 0, out=mean[mine])
                self.meet()
                torch._foreach_copy_(part, list(mean.split(lengths)))

    def _rows(self, count: int, dtype: torch.dtype) -> Tensor:
        """[world, count]: where everyone says what the next meeting is about."""
        return self._said[self._met % 2].view(dtype)[:, :count]

    def leave(self) -> None:
        """Nobody has to wait for this process any more."""
        self._left[self.rank] = 1
        for pidfd in self._pidfds:
            os.close(pidfd)


def _in_memory(tensor: Tensor) -> Tensor:
    """The numbers of a dense tensor in the order in which they lie: a view [numel]."""
    return tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True)).view(-1)


def _parts(flat: list[Tensor], most: int) -> Iterator[list[Tensor]]:
    """Tensors [n], cut where need be, in lists of `most` numbers; the last has what is left."""
    part, free = [], most
    for tensor in flat:
        while len(tensor):
            part.append(tensor[:free])
            tensor, free = tensor[free:], free - len(part[-1])
            if not free:
                yield part
                part, free = [], most
    if part:
        yield part


@dataclass(frozen=True)
class _Offer:
    """Where a process is, and how the memory is reached that it made."""

    machine: str
    pid: int
    memory: int | None  # a file descriptor of that process


def group() -> Group | None:
    """The processes of torch.distributed's group, if all of them are on this machine, and if it shows writes in their order: on
    other processors than x86 counters alone would not do."""
    world, rank = dist.get_world_size(), dist.get_rank()
    machine, opened, pidfds, memory = _machine(), None, [], None
    if machine and rank == 0:
        with suppress(OSError):  # a system that does not let us
            opened = os.memfd_create("ganvas")
            os.ftruncate(opened, Group.size(world))
    offers = [_Offer("", 0, None)] * world
    dist.all_gather_object(offers, _Offer(machine, os.getpid(), opened))
    if machine and offers[0].memory is not None and all(offer.machine == machine for offer in offers):
        with suppress(OSError):  # or hides processes from each other
            if opened is None:
                opened = os.open(f"/proc/{offers[0].pid}/fd/{offers[0].memory}", os.O_RDWR)
            pidfds = [os.pidfd_open(offer.pid) for offer in offers]
            memory = mmap.mmap(opened, Group.size(world))
    all_can = torch.tensor(memory is not None, dtype=torch.int32)
    dist.all_reduce(all_can, dist.ReduceOp.MIN)
    if opened is not None:
        os.close(opened)
    if memory is not None and all_can:
        return Group(memory, pidfds)
    for pidfd in pidfds:
        os.close(pidfd)
    return None


def _machine() -> str:
    """What processes have in common that can share memory and know each other by number; empty where that will not do."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        return ""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
