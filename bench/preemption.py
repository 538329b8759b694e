"""Kill, stop and move a training, and compare its end with an undisturbed one's.

    OMP_NUM_THREADS=1 python bench/preemption.py [--kills 20] [--images 4800]

A small DCGAN trains on the digits with two ranks, always by one command: `torchrun
--max-restarts 3 --nnodes 1:4 … ganvas train … --resume auto`. Ranks are killed
(SIGKILL) at random moments, in training, saving and starting. When torchrun has used
up its restarts the command is repeated, as a launcher does; once, folder and data are
moved to other places before. Then torchrun is terminated (SIGTERM) at random moments,
and the command repeated until the run is complete. Each run must end bit by bit as one
that was left alone: weights, averages, optimizers, log, quality curve. Last, runs of two
ranks go on with one, and the difference of the weights is measured as steps pass.
Writes bench/results/preemption.json. CPU only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from origin import origin
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from ganvas.engine import checkpoint
from ganvas.training import continuation

RESULTS = Path(__file__).parent / "results" / "preemption.json"
BATCH = 12  # one to four ranks
STEPS_AFTER = (1, 10, 100)  # of the comparison of two ranks with one
TERMINATIONS = 3
POLL = 0.02  # seconds


@dataclass
class Training:
    """A run of a small DCGAN.

    messages: what its processes print
    """

    data: Path
    out: Path
    images: int
    messages: Path

    def words(self) -> list[str]:
        """The arguments of python that start or continue it."""
        train = ["-m", "ganvas", "train", "dcgan", str(self.data), "--out", str(self.out)]
        train += ["--images", str(self.images), "--size", "16", "--batch", str(BATCH)]
        train += ["--set", "G.width=8", "--set", "D.width=8", "--device", "cpu"]
        return [*train, "--resume", "auto"]

    def lines(self) -> int:
        """Lines of its log so far."""
        log = self.out / "log.jsonl"
        return log.read_bytes().count(b"\n") if log.is_file() else 0


class Job(Training):
    """A training with processes of one torchrun."""

    def command(self, ranks: int) -> list[str]:
        train = self.words()
        if ranks == 1:
            return [sys.executable, *train]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        elastic = ["--max-restarts", "3", "--nnodes", "1:4", "--nproc-per-node", str(ranks)]
        elastic += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}"]
        elastic += ["--rdzv-id", str(port), "--rdzv-conf", "last_call_timeout=1"]
        return [sys.executable, "-m", "torch.distributed.run", *elastic, *train]

    def start(self, ranks: int = 2) -> subprocess.Popen[bytes]:
        with self.messages.open("ab") as file:
            return subprocess.Popen(self.command(ranks), stdout=file, stderr=file)

    def run(self, ranks: int = 2) -> None:
        """Train to the end, undisturbed."""
        assert self.start(ranks).wait() == 0, self.messages.read_text()[-2000:]


def digits(folder: Path) -> Path:
    """Write 512 handwritten digits of scikit-learn into a new folder."""
    folder.mkdir()
    pixels = np.asarray(load_digits(return_X_y=True)[0], np.uint8)[:512]
    for i, image in enumerate(15 * pixels.reshape(-1, 8, 8)):
        Image.fromarray(image).save(folder / f"{i:03}.png")
    return folder


def children(parent: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


def strike(job: Job, torchrun: subprocess.Popen[bytes], rng: random.Random, seen: set[int]) -> str:
    """Kill a rank at a random moment; "": torchrun ended before.

    seen: ranks of earlier rounds, to which this one's are added
    """
    while torchrun.poll() is None:
        ranks = [p for p in children(torchrun.pid) if p not in seen]
        if len(ranks) == 2:
            break
        time.sleep(POLL)
    else:
        return ""
    seen.update(ranks)
    moment = rng.choice(["starting", "training", "training"])
    if moment == "starting":
        end = time.monotonic() + rng.uniform(0, 6)
        while torchrun.poll() is None and time.monotonic() < end:
            time.sleep(POLL)
    else:
        first, more = job.lines(), rng.randint(1, 20)
        while torchrun.poll() is None and not first + more <= job.lines() and job.lines() >= first:
            time.sleep(POLL)
        time.sleep(rng.uniform(0, 0.1))
    try:
        os.kill(rng.choice(ranks), signal.SIGKILL)
    except ProcessLookupError:
        return ""
    return moment


def differences(a: Path, b: Path) -> list[str]:
    """What differs between two complete runs."""
    one, two = (checkpoint.all_of(run / "checkpoints")[-1] for run in (a, b))
    found = [] if one.name == two.name else ["images"]
    for name in ("shared", "rank0", "rank1"):
        tensors = [load_file(c / f"{name}.safetensors") for c in (one, two)]
        if tensors[0].keys() != tensors[1].keys():
            found.append(f"names in {name}")
        found += [k for k, v in tensors[0].items() if not torch.equal(v, tensors[1][k])]
    files = ("log.jsonl", "measures.jsonl")
    return found + [f for f in files if (a / f).read_bytes() != (b / f).read_bytes()]


def killed(job: Job, kills: int, moved: Path, straight: Path, rng: random.Random) -> dict[str, Any]:
    """Train while ranks are killed, until so many were and a run is complete."""
    moments: dict[str, int] = {}
    commands = runs = moves = 0
    wrong: list[str] = []
    while sum(moments.values()) < kills:
        runs += 1
        while not (job.out / "run.json").is_file() or not continuation.status(job.out).complete:
            if commands and not moves and job.out.exists():  # as to another machine
                moves += 1
                shutil.copytree(job.data, moved / "photos")
                shutil.copytree(job.out, moved / "run", ignore=shutil.ignore_patterns("local.json"))
                job.data, job.out = moved / "photos", moved / "run"
            torchrun, seen = job.start(), set[int]()
            commands += 1
            while torchrun.poll() is None:
                if sum(moments.values()) >= kills:
                    torchrun.wait()
                elif moment := strike(job, torchrun, rng, seen):
                    moments[moment] = moments.get(moment, 0) + 1
                    print(f"{job.lines()} lines: killed, {moment}", file=sys.stderr)
        wrong += differences(straight, job.out)
        job.out = job.out.with_name(f"{job.out.name}-next")
    return {
        "kills": sum(moments.values()),
        "moments": moments,
        "commands": commands,
        "runs": runs,
        "moves": moves,
        "differences": wrong,
    }


def terminated(job: Job, straight: Path, rng: random.Random) -> dict[str, Any]:
    """Train while torchrun is terminated and the command repeated."""
    seconds, complete = [], False
    while not complete:
        torchrun, before = job.start(), job.lines()
        if len(seconds) < TERMINATIONS:
            more = rng.randint(5, 20)
            while torchrun.poll() is None and job.lines() < before + more:
                time.sleep(POLL)
            if torchrun.poll() is None:
                saved, began = continuation.status(job.out).images, time.monotonic()
                torchrun.terminate()
                torchrun.wait()
                seconds.append(round(time.monotonic() - began, 2))
                assert continuation.status(job.out).images > saved, "nothing was saved"
        torchrun.wait()
        complete = continuation.status(job.out).complete
    return {
        "terminations": len(seconds),
        "seconds": seconds,
        "differences": differences(straight, job.out),
    }


def changed(folder: Path, job: Job) -> list[dict[str, float]]:
    """Half a run by two ranks, then some steps by one and by two."""
    job.images = job.images // (2 * BATCH) * BATCH
    job.run()
    found = []
    for steps in STEPS_AFTER:
        states = []
        for ranks in (1, 2):
            out = folder / f"{steps}-{ranks}"
            shutil.copytree(job.out, out)
            Job(job.data, out, job.images + steps * BATCH, job.messages).run(ranks)
            newest = checkpoint.all_of(out / "checkpoints")[-1]
            states.append(load_file(newest / "shared.safetensors"))
        weights = [
            (v.double(), states[1][k].double())
            for k, v in states[0].items()
            if k.startswith("method/") and v.is_floating_point()
        ]
        squares = sum(float((a - b).square().sum()) for a, b in weights)
        found.append(
            {
                "steps": steps,
                "largest": max(float((a - b).abs().max()) for a, b in weights),
                "relative": (squares / sum(float(b.square().sum()) for _, b in weights)) ** 0.5,
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--images", type=int, default=4800)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = digits(folder / "digits")

        def job(of: str) -> Job:
            return Job(data, folder / of, options.images, folder / f"{of}.txt")

        straight = job("straight")
        straight.run()
        (folder / "moved").mkdir()
        record = {
            "kills": killed(job("killed"), options.kills, folder / "moved", straight.out, rng),
            "terminations": terminated(job("terminated"), straight.out, rng),
            "ranks": changed(folder, job("changed")),
            "images": options.images,
            "batch": BATCH,
            **origin(),
            "date": time.strftime("%Y-%m-%d"),
        }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
