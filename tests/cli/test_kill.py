"""kill -9 at any moment, saving included.

At most the progress after the last checkpoint is lost, and the continued run ends
bitwise as an undisturbed one.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from processes import LIMIT
from safetensors.torch import load_file
from toys import toy_images

from ganvas.engine import checkpoint

KILLS = 12

# A server of attempts: it imports everything once and forks a child per line, so that
# all kills take seconds and every victim is a process of its own.
SERVER = """
import os, sys
import torch, torch._dynamo, matplotlib.figure, matplotlib.backends.backend_svg
torch.set_num_threads(1)
from ganvas.core.errors import UserError
from ganvas.training import loop, probe, trainer
probe.IMAGES = 64  # as in conftest.py
for line in sys.stdin:
    verb, out, data = line.split()
    child = os.fork()
    if child == 0:
        os.setsid()
        loop.SAVE_SECONDS = 0.02  # save nearly always: most deaths fall into a save
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        try:
            if verb == "train":
                trainer.train("dcgan", data, out=out, size=16, batch=8, images=400, device="cpu",
                              set=["G.width=4", "D.width=4"])
            else:
                trainer.resume(out, device="cpu")
        except UserError as e:
            os._exit(0 if "is complete" in str(e) else 3)
        except BaseException:
            os._exit(4)
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


def test_many_deaths(tmp_path: Path) -> None:
    data = toy_images(tmp_path / "data")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    to, answers = server.stdin, server.stdout
    assert to is not None
    assert answers is not None

    def attempt(out: Path, kill_after: float | None) -> tuple[int, float]:
        """(exit status, seconds) of a process that trains into a folder."""
        verb = "resume" if (out / "run.json").is_file() else "train"
        print(verb, out, data, file=to, flush=True)
        child = int(answers.readline())
        began = time.monotonic()  # after the start of the process that forks
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return int(answers.readline()), time.monotonic() - began

    def assert_ended_alike(victim: Path) -> None:
        a, b = (
            load_file(checkpoint.all_of(r / "checkpoints")[-1] / "shared.safetensors")
            for r in (undisturbed, victim)
        )
        assert a.keys() == b.keys()
        assert not [k for k in a if not torch.equal(a[k], b[k])]
        assert (undisturbed / "log.jsonl").read_bytes() == (victim / "log.jsonl").read_bytes()
        images = [
            json.loads(line)["images"]
            for line in (victim / "measures.jsonl").read_text().splitlines()
        ]
        assert images == sorted(set(images)), "the quality curve counts a moment twice"
        left = [p.name for p in victim.rglob("*") if p.name.endswith(".tmp")]
        assert not left, f"half-written files were left behind: {left}"

    undisturbed = tmp_path / "undisturbed"
    status, whole = attempt(undisturbed, None)
    assert status == 0
    rng, killed, survived, furthest = random.Random(0), 0, 0, 0
    while killed < KILLS:
        victim = tmp_path / f"victim{survived}"
        status, _ = attempt(victim, rng.uniform(0.0, 0.3 * whole))
        assert status in (-signal.SIGKILL, 0), (
            f"an attempt ended with {status}: the run could not go on"
        )
        killed += status == -signal.SIGKILL
        kept = checkpoint.all_of(victim / "checkpoints")
        if kept:  # a renamed file is complete
            values, _, _ = checkpoint.load(kept[-1])
            assert values["clock"]["images"] >= furthest, "a checkpoint was lost"
            furthest = values["clock"]["images"]
        if status == 0:  # it reached its end in spite of all; the next one begins
            assert_ended_alike(victim)
            survived, furthest = survived + 1, 0
    victim = tmp_path / f"victim{survived}"
    status, _ = attempt(victim, None)
    assert status == 0
    assert_ended_alike(victim)
    to.close()
    server.wait(timeout=LIMIT)
    answers.close()
