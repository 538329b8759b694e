"""Ranks are killed, and the same command again ends bitwise as an undisturbed run.

Here the test starts the ranks again, as torchrun does; `bench/preemption.py` kills ranks
of torchrun itself.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch
from processes import ranks
from safetensors.torch import load_file
from toys import toy_images

from ganvas.engine import checkpoint

KILLS = 3

# Saves nearly always: many deaths fall into a save.
RANK = """
import os, sys
from ganvas.core import distributed
from ganvas.core.errors import UserError
from ganvas.training import loop, trainer

loop.SAVE_SECONDS = 0.02
try:
    trainer.train("dcgan", sys.argv[1], out=sys.argv[2], size=16, batch=8, images=480,
                  device="cpu", set=["G.width=4", "D.width=4"], resume="auto")
    distributed.destroy()
except UserError:
    os._exit(3)
"""


def test_killed_ranks_lose_nothing(tmp_path: Path) -> None:
    data = toy_images(tmp_path / "data")
    script = tmp_path / "rank.py"
    script.write_text(RANK)

    def attempt(
        out: Path, kill: Callable[[list[int]], None] | None = None
    ) -> tuple[list[int], float]:
        """(exit codes, seconds) of two ranks that train into a folder."""
        with ranks(script, 2, data, out) as processes:
            began = time.monotonic()  # after the start of the process that forks
            if kill is not None:
                kill(processes.pids)
            codes = [process.returncode for process in processes.ended()]
            return codes, time.monotonic() - began

    straight, victim = tmp_path / "straight", tmp_path / "victim"
    codes, whole = attempt(straight)
    assert codes == [0, 0]
    rng, killed, codes = random.Random(0), 0, [3, 3]

    def kill_one(pids: list[int]) -> None:
        time.sleep(rng.uniform(0.1, 0.5) * whole)
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(pids), signal.SIGKILL)

    while codes != [0, 0]:
        codes, _ = attempt(victim, kill_one if killed < KILLS else None)
        killed += -signal.SIGKILL in codes
        assert set(codes) <= {-signal.SIGKILL, 3, 0}, codes  # 3: "has ended or does not answer"
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
