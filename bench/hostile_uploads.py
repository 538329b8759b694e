"""Send hostile uploads to `ganvas serve` and record its answers and its memory.

    python bench/hostile_uploads.py [--count 10000]

One process serves a CycleGAN with random weights; this one sends the uploads of
hostile_requests.py, many at a time, and in between an honest image that must be
translated to the same pixels as at first. An answer is wrong if its status is not among
those that are right for the upload; a client that gets 429 or 503 tries again. Writes
bench/results/hostile_uploads.json.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_requests import KINDS, PAYLOAD, Limits, Upload, answer, picture, request, uploads
from PIL import Image

from ganvas import recipes
from ganvas.core import Shape
from ganvas.core.environment import commit, machine
from ganvas.inference import model_file

RESULTS = Path(__file__).parent / "results" / "hostile_uploads.json"
TIMEOUT = 10  # seconds for an upload
CONNECTIONS = 32  # at the same time
HONEST_EVERY = 100  # uploads


def pixels(file: bytes) -> bytes:
    with Image.open(io.BytesIO(file)) as image:
        return image.tobytes()


async def attack(port: int, count: int, resident: Callable[[], float]) -> dict[str, Any]:
    """Send the uploads; return what was answered."""
    statuses: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    memory, seconds, wrong, leaks, busy = [], [], [], 0, 0
    honest = request(picture(random.Random(0), "PNG"), 200)
    _, first = await answer(port, honest)
    pending, source = set[asyncio.Task[None]](), uploads(count, Limits())

    async def sent(upload: Upload) -> tuple[int, bytes]:
        nonlocal busy
        while (got := await answer(port, upload))[0] in (429, 503):
            busy += 1
            await asyncio.sleep(1)  # as its Retry-After says
        return got

    async def one(upload: Upload) -> None:
        nonlocal leaks
        status, body = await sent(upload)
        statuses[upload.kind][str(status or "closed")] += 1
        leaks += PAYLOAD in body
        if status not in upload.statuses:
            wrong.append({"kind": upload.kind, "status": status, "body": repr(body[:200])})

    for i, upload in enumerate(source):
        if i % HONEST_EVERY == 0:
            start = time.monotonic()
            status, body = await sent(honest)
            seconds.append(time.monotonic() - start)
            if status != 200 or pixels(body) != pixels(first):
                wrong.append({"kind": "honest", "status": status, "body": repr(body[:200])})
            memory.append(resident())
        pending.add(asyncio.ensure_future(one(upload)))
        if len(pending) == CONNECTIONS:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    await asyncio.gather(*pending)
    memory.append(resident())
    settled = memory[len(memory) // 5]
    return {
        "uploads": count,
        "statuses": {kind: dict(sorted(found.items())) for kind, found in statuses.items()},
        "wrong": wrong,
        "wrong_answers": len(wrong),
        "sent_again": busy,
        "payloads_in_answers": leaks,
        "honest": {"requests": len(seconds), "slowest_seconds": max(seconds)},
        "memory_mib": {
            "first": memory[0],
            "after_a_fifth": settled,
            "last": memory[-1],
            "largest": max(memory),
            "growth": memory[-1] - settled,
            "all": memory,
        },
    }


def make_model(folder: Path) -> None:
    """A model file of CycleGAN at 64 px with random weights."""
    run, shape = recipes.find("cyclegan")(1000), Shape(channels=3, height=64, width=64)
    facts = {"recipe": "cyclegan", "task": "domains", "images_trained": 0}
    model_file.save(folder, run.method(shape), run, shape, facts)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        make_model(Path(folder))
        limits = Limits()
        arguments = [
            "--max-pixels",
            limits.pixels,
            "--max-bytes",
            limits.size,
            "--timeout",
            TIMEOUT,
        ]
        command = [sys.executable, "-m", "ganvas", "serve", f"domains={folder}", "--port", "0"]
        service = subprocess.Popen(
            [*command, *map(str, arguments)], stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert service.stdout is not None
        found = re.search(r"http://\S+:(\d+)", service.stdout.readline())
        assert found

        def resident() -> float:
            pages = int(Path(f"/proc/{service.pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

        start = time.monotonic()
        result = asyncio.run(attack(int(found[1]), count, resident))
        elapsed = time.monotonic() - start
        service.send_signal(signal.SIGTERM)
        status = service.wait()
        log.seek(0)
        lines = log.read().decode(errors="replace").splitlines()
    record = {
        "command": "python bench/hostile_uploads.py",
        "commit": commit(),
        "machine": machine(),
        "limits": {**limits._asdict(), "seconds": TIMEOUT},
        "kinds": len(KINDS),
        **result,
        "seconds": elapsed,
        "exit_status": status,
        "defects": [line for line in lines if line.startswith("error:")],
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
