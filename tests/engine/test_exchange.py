"""Collectives reach every rank; a rank that ended or does not answer is reported."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from processes import forks, ranks, wait_for

from ganvas.core import distributed
from ganvas.core.errors import UserError

# Every rank r has the numbers base * (r + 1), so that means and gradients are known to each.
EXCHANGE = """
import torch

from ganvas.core import distributed as ranks


def same(a, b):  # torch's own function takes two seconds to import
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert torch.allclose(a, b, rtol=1e-6, atol=1e-6)


torch.set_num_threads(1)
ranks.LARGE = 50  # so that there are tensors of both kinds
ranks.init("cpu")
world, rank = ranks.world(), ranks.rank()
for round in range(5):
    draw = torch.Generator().manual_seed(round)
    bases = [torch.randn(s, generator=draw, dtype=d) for s, d in (
        ((3, 5, 4, 6), torch.float32), ((), torch.float32), ((7,), torch.float64),
        ((300,), torch.float32), ((2, 70), torch.float64), ((0,), torch.float32),
        ((1, 8, 1, 1), torch.float32))]
    tensors = [b * (rank + 1) for b in bases]
    tensors[0] = tensors[0].contiguous(memory_format=torch.channels_last)
    addresses = [t.data_ptr() for t in tensors]
    ranks.all_reduce_mean_(tensors)
    assert addresses == [t.data_ptr() for t in tensors]
    assert tensors[0].is_contiguous(memory_format=torch.channels_last)
    for t, b in zip(tensors, bases, strict=True):
        same(t, b * (world + 1) / 2)
    x = (bases[4] * (rank + 1)).t()
    gathered = torch.stack([bases[4].t() * (r + 1) for r in range(world)])
    same(ranks.gather(x), gathered)
    votes = torch.arange(3.0).eq(rank).float()
    ranks.all_reduce_max_(votes)
    assert votes.tolist() == [1.0 if i < world else 0.0 for i in range(3)]
    x = (bases[3] * (rank + 1)).requires_grad_()
    mean = ranks.mean(x)
    same(mean.detach(), bases[3] * (world + 1) / 2)
    [slope] = torch.autograd.grad((mean.square() * (rank + 1)).sum(), x, create_graph=True)
    # The objective of every rank depends on the mean.
    same(slope.detach(), mean.detach() * (world + 1))
    [bend] = torch.autograd.grad(slope.sum(), x)
    same(bend, torch.full_like(bend, world + 1))
ranks.destroy()
"""

# Rank 1 ends in the middle of the third exchange; rank 0 must not wait for it.
DYING = """
import os, signal, sys

import torch

from ganvas.core import distributed as ranks
from ganvas.core.errors import UserError

ranks.init("cpu")
for round in range(9):
    if ranks.rank() == 1 and round == 2:
        if sys.argv[1] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        ranks.destroy(wait=False)
        sys.exit(3)
    try:
        if sys.argv[1] == "backward":
            x = torch.ones(2, requires_grad=True)
            ranks.mean(x).sum().backward()
        else:
            ranks.gather(torch.ones(2))
    except UserError as e:
        print(round, e, flush=True)
        os._exit(4)
"""

# Rank 1 does not answer until rank 0 has reported it.
SILENT = """
import sys, time
from pathlib import Path

from ganvas.core import distributed as ranks

ranks.PATIENCE = 0.2
ranks.init("cpu")
if ranks.rank() == 1:
    while not Path(sys.argv[1]).exists():
        time.sleep(0.01)
ranks.barrier()
print("met", flush=True)
ranks.destroy()
"""


# Rank 1 vanishes after its command's work; rank 0 has finished its own and waits for it.
LAST = """
import os, signal

from ganvas import __main__
from ganvas.apps import cli
from ganvas.core import distributed as ranks


def work(**_):
    ranks.init("cpu")
    ranks.barrier()
    if ranks.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)


cli.app = work
__main__.main()
"""


def ended(folder: Path, script: str, world: int, *args: str) -> list[tuple[int, str, str]]:
    """(exit code, stdout, stderr) of `world` ranks."""
    (folder / "worker.py").write_text(script)
    with ranks(folder / "worker.py", world, *args) as processes:
        return [(done.returncode, done.stdout, done.stderr) for done in processes.ended()]


@pytest.mark.parametrize("world", [2, 3])
def test_collectives_reach_every_rank(tmp_path: Path, world: int) -> None:
    for code, _, err in ended(tmp_path, EXCHANGE, world):
        assert code == 0, err[-3000:]


@pytest.mark.parametrize("how", ["killed", "left", "backward"])
def test_a_rank_that_has_ended_is_noticed(tmp_path: Path, how: str) -> None:
    (code, out, err), _ = ended(tmp_path, DYING, 2, how)
    assert code == 4, err[-3000:]
    assert out.startswith("2 one of the 2 processes that train together has ended")
    assert out.count("\n") == 1
    assert "[/" not in out  # the place in gloo's source tells a user nothing


def test_a_rank_that_ends_after_its_work_is_a_message_to_the_other(tmp_path: Path) -> None:
    (code, _, err), _ = ended(tmp_path, LAST, 2)
    assert code == 1, err[-3000:]
    assert err.startswith("error: one of the 2 processes that train together has ended")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'; expected a number"),
        ({"WORLD_SIZE": "2", "RANK": "-1"}, "RANK is '-1'; expected a number"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "2 processes .* cannot train together .*MASTER_ADDR"),
    ],
)
def test_an_environment_without_torchrun_is_a_message(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str
) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        distributed.init("cpu")


def test_a_silent_rank_is_reported(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(SILENT)
    with ranks(tmp_path / "worker.py", 2, tmp_path / "go on") as processes:
        wait_for(lambda: processes.stderr(0).endswith("\n"))
        assert processes.stderr(0).startswith("rank 0 has waited for another rank")
        (tmp_path / "go on").touch()
        assert [(p.returncode, p.stdout) for p in processes.ended()] == [(0, "met\n")] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is signalled on Linux only")
def test_ranks_end_when_torchrun_is_killed(tmp_path: Path) -> None:
    """A parent that starts one rank as torchrun would, and is killed."""
    rank = (
        "import time; from ganvas.core import distributed as ranks; "
        "ranks._end_with_torchrun(); print('ready', flush=True); "
        "time.sleep(300); print('outlived')"
    )
    parent = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {rank!r}]); "
        "print('started', flush=True); p.wait()"
    )
    environment = {**os.environ, "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, env=environment
    ) as torchrun:
        assert torchrun.stdout is not None
        assert torchrun.stdout.readline() == "started\n"
        assert torchrun.stdout.readline() == "ready\n"
        torchrun.kill()
        assert (
            torchrun.stdout.read() == ""
        )  # ends only when the child, which holds the pipe's other end, does


def test_a_rank_that_starts_after_torchrun_has_ended_ends_with_a_message(tmp_path: Path) -> None:
    """No torchrun listens on the port of its store: the rank must not wait for it."""
    with socket.socket() as unheard:  # bound, so that nobody else gets the port; not listening
        unheard.bind(("127.0.0.1", 0))
        started_by = {
            "TORCHELASTIC_RUN_ID": "test",
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(unheard.getsockname()[1]),
            "WORLD_SIZE": "2",
            "RANK": "1",
            "LOCAL_RANK": "1",
            "LOCAL_WORLD_SIZE": "2",
        }
        train = ["train", "dcgan", "digits", "--out", tmp_path / "run", "--device", "cpu"]
        with forks(train, environments=[started_by]) as process:
            [done] = process.ended()
    assert done.returncode == 1
    assert "torchrun, which started this process, has ended" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
