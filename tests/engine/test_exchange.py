"""What ranks say to each other arrives, through memory that they share and through sockets; and nobody waits for the dead."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from processes import LIMIT

# Every rank r has the numbers base * (r + 1), so that means and gradients are known to each.
EXCHANGE = """
import torch

from ganvas import ranks, shared_memory

torch.set_num_threads(1)
shared_memory.ROOM = 512  # so that one tensor is said in parts, and one part holds several tensors
ranks.LARGE = 50
ranks.start("cpu")
world, rank, shared = ranks.world(), ranks.rank(), ranks._shared
print("shared" if shared else "sockets", world, flush=True)
for way in (shared, None):
    ranks._shared = way
    for round in range(20):  # again and again, so that what is said late or twice would show
        draw = torch.Generator().manual_seed(round)
        bases = [torch.randn(s, generator=draw, dtype=d) for s, d in (
            ((3, 5, 4, 6), torch.float32), ((), torch.float32), ((7,), torch.float64), ((300,), torch.float32),
            ((2, 70), torch.float64), ((0,), torch.float32), ((1, 8, 1, 1), torch.float32))]
        tensors = [b * (rank + 1) for b in bases]
        tensors[0] = tensors[0].contiguous(memory_format=torch.channels_last)
        kept = [t.data_ptr() for t in tensors]
        ranks.average_(tensors)
        assert kept == [t.data_ptr() for t in tensors] and tensors[0].is_contiguous(memory_format=torch.channels_last)
        for t, b in zip(tensors, bases, strict=True):
            torch.testing.assert_close(t, b * (world + 1) / 2)
        x = (bases[4] * (rank + 1)).t()
        torch.testing.assert_close(ranks.gather(x), torch.stack([bases[4].t() * (r + 1) for r in range(world)]))
        votes = torch.arange(3.0).eq(rank).float()
        ranks.most_(votes)
        assert votes.tolist() == [1.0 if i < world else 0.0 for i in range(3)]
        x = (bases[3] * (rank + 1)).requires_grad_()
        mean = ranks.mean(x)
        torch.testing.assert_close(mean.detach(), bases[3] * (world + 1) / 2)
        [slope] = torch.autograd.grad((mean.square() * (rank + 1)).sum(), x, create_graph=True)
        torch.testing.assert_close(slope.detach(), mean.detach() * (world + 1))  # everyone's objective reads the mean
        [bend] = torch.autograd.grad(slope.sum(), x)
        torch.testing.assert_close(bend, torch.full_like(bend, world + 1))
ranks._shared = shared
ranks.stop()
"""

# Rank 1 ends in the middle of the third exchange, as told; rank 0 must not wait for it.
DYING = """
import os, signal, sys

import torch

from ganvas import ranks, shared_memory
from ganvas.errors import UserError

ranks.start("cpu")
assert ranks._shared is not None
for round in range(9):
    if ranks.rank() == 1 and round == 2:
        if sys.argv[1] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        ranks.stop(wait=False)
        sys.exit(3)
    try:
        ranks.gather(torch.ones(2))
    except UserError as e:
        print(round, e, flush=True)
        os._exit(4)
"""


def ended(folder: Path, script: str, world: int, *args: str) -> list[tuple[int, str, str]]:
    """(exit code, stdout, stderr) of `world` processes, started as torchrun would but on their own."""
    (folder / "worker.py").write_text(script)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    with ExitStack() as stack:
        started = []
        for rank in range(world):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, str(folder / "worker.py"), *args],
                    env={**os.environ, **told, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            started.append(process)
        said = [process.communicate(timeout=LIMIT) for process in started]
        return [(process.returncode, out, err) for process, (out, err) in zip(started, said, strict=True)]


memory = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="ranks share memory on Linux and x86 only"
)


@pytest.mark.parametrize("world", [2, 3])
def test_everyone_hears_everyone(tmp_path: Path, world: int) -> None:
    for code, out, err in ended(tmp_path, EXCHANGE, world):
        assert code == 0, err[-3000:]
        if sys.platform == "linux" and platform.machine() == "x86_64":
            assert out.split() == ["shared", str(world)]


@memory
@pytest.mark.parametrize("how", ["killed", "left"])
def test_nobody_waits_for_a_process_that_has_ended(tmp_path: Path, how: str) -> None:
    (code, out, err), _ = ended(tmp_path, DYING, 2, how)
    assert code == 4, err[-3000:]
    assert out.startswith("2 one of the 2 processes that train together has ended")
