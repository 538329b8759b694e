"""Ranks are killed, and the same command again ends bitwise as an undisturbed run.

Here the test starts the ranks again, as torchrun does; `bench/preemption.py` kills ranks
of torchrun itself.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from processes import ENVIRONMENT, LIMIT
from safetensors.torch import load_file
from toys import toy_images

from ganvas.engine import checkpoint

KILLS = 3

# Imports once and forks the ranks of each line of its input, which have a process group.
SERVER = """
import os, sys
import torch
torch.set_num_threads(1)
from ganvas.core import distributed
from ganvas.core.errors import UserError
from ganvas.training import loop, probe, trainer
probe.IMAGES = 64  # as in conftest.py
for line in sys.stdin:
    out, data, port = line.split()
    ranks = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                           "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                           "MASTER_PORT": port}
            loop.SAVE_SECONDS = 0.02  # save nearly always: many deaths fall into a save
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            try:
                trainer.train("dcgan", data, out=out, size=16, batch=8, images=480, device="cpu",
                              set=["G.width=4", "D.width=4"], resume="auto")
                distributed.destroy()
            except UserError:
                os._exit(3)
            except BaseException:
                os._exit(4)
            os._exit(0)
        ranks.append(child)
    print(*ranks, flush=True)
    print(*(os.waitstatus_to_exitcode(os.waitpid(rank, 0)[1]) for rank in ranks), flush=True)
"""


def test_killed_ranks_lose_nothing(tmp_path: Path) -> None:
    data = toy_images(tmp_path / "data")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    to, answers = server.stdin, server.stdout
    assert to is not None
    assert answers is not None

    def attempt(out: Path, kill: Callable[[list[int]], None] | None = None) -> list[int]:
        """The exit codes of two ranks that train into a folder."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        print(out, data, port, file=to, flush=True)
        ranks = [int(word) for word in answers.readline().split()]
        if kill is not None:
            kill(ranks)
        return [int(word) for word in answers.readline().split()]

    straight, victim = tmp_path / "straight", tmp_path / "victim"
    began = time.monotonic()
    assert attempt(straight) == [0, 0]
    whole = time.monotonic() - began
    rng, killed, codes = random.Random(0), 0, [3, 3]

    def kill_one(ranks: list[int]) -> None:
        time.sleep(rng.uniform(0.1, 0.5) * whole)
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(ranks), signal.SIGKILL)

    while codes != [0, 0]:
        codes = attempt(victim, kill_one if killed < KILLS else None)
        killed += -signal.SIGKILL in codes
        assert set(codes) <= {-signal.SIGKILL, 3, 0}, codes  # 3: "has ended or does not answer"
    to.close()
    server.wait(timeout=LIMIT)
    answers.close()
    assert killed, "every attempt ended before its kill"
    a, b = (checkpoint.all_of(run / "checkpoints")[-1] for run in (straight, victim))
    assert a.name == b.name == "000000480"
    for name in ("shared", "rank0", "rank1"):
        one, two = (load_file(c / f"{name}.safetensors") for c in (a, b))
        assert one.keys() == two.keys()
        assert not [k for k in one if not torch.equal(one[k], two[k])]
    for name in ("log.jsonl", "measures.jsonl"):
        assert (straight / name).read_bytes() == (victim / name).read_bytes()
    assert not [p.name for p in victim.rglob("*.tmp")]
