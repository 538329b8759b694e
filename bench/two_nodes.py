"""Train over two nodes, kill processes of either, and compare the end with an undisturbed run's.

    sudo env OMP_NUM_THREADS=1 python bench/two_nodes.py [--images 2400]

Each node is a network namespace of this machine (`ip netns`, of Debian's iproute2; for
root), with a loopback interface of its own and one cable (a veth pair) to the other, so
that the processes meet over the network as on two machines. They share the file system.
On each runs `torchrun --nnodes 2 --max-restarts 3 --rdzv-backend c10d … ganvas train …
--resume auto`, with one process. In the middle of training these are killed (SIGKILL),
one after the other: the process on the second node, that on the first one, and the whole
second node with its torchrun, whose command is then given again. The run must end bit by
bit as one that was left alone: weights, averages, optimizers, log, quality curve.
Writes bench/results/two_nodes.json. CPU only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from origin import origin
from preemption import BATCH, Training, children, differences, digits

RESULTS = Path(__file__).parent / "results" / "two_nodes.json"
NODES = ("ganvas-node-0", "ganvas-node-1")
ADDRESSES = ("10.213.7.1", "10.213.7.2")
CABLE = "cable"  # name of the interface in either namespace
PORT = 29500
RESTARTS = 3
POLL = 0.05  # seconds
LIMIT = 900.0  # seconds until a run that shows no progress is given up


@contextmanager
def network() -> Iterator[None]:
    """Two namespaces with one cable between them, which are removed at the end."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    try:
        for node in NODES:
            ip("netns", "add", node)
        ends = [word for node in NODES for word in ("name", CABLE, "netns", node)]
        ip("link", "add", *ends[:4], "type", "veth", "peer", *ends[4:])
        for node, address in zip(NODES, ADDRESSES, strict=True):
            ip("-n", node, "address", "add", f"{address}/30", "dev", CABLE)
            ip("-n", node, "link", "set", CABLE, "up")
            ip("-n", node, "link", "set", "lo", "up")
        yield
    finally:
        for node in NODES:
            subprocess.run(["ip", "netns", "delete", node], check=False)


@dataclass
class Job(Training):
    """A training and the torchrun of each node."""

    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, node: int) -> list[str]:
        elastic = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", str(RESTARTS)]
        elastic += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{ADDRESSES[0]}:{PORT}"]
        elastic += ["--rdzv-id", "two", "--local-addr", ADDRESSES[node]]
        # Both have this machine's name, by which torchrun finds out who is the meeting point.
        elastic += ["--rdzv-conf", f"is_host={node == 0}"]
        torchrun = [sys.executable, "-m", "torch.distributed.run", *elastic]
        return ["ip", "netns", "exec", NODES[node], *torchrun, *self.words()]

    def agent(self, node: int) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "GLOO_SOCKET_IFNAME": CABLE,
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        }
        with self.messages.open("ab") as file:
            return subprocess.Popen(self.command(node), stdout=file, stderr=file, env=environment)

    def start(self) -> None:
        self.agents = [self.agent(0), self.agent(1)]

    def finish(self) -> None:
        """Wait for both, and raise if one fails."""
        for agent in self.agents:
            assert agent.wait(LIMIT) == 0, self.messages.read_text()[-3000:]

    def wait_for(self, lines: int) -> float:
        """Seconds until the log has so many lines."""
        began = time.monotonic()
        while self.lines() < lines:
            running = all(agent.poll() is None for agent in self.agents)
            in_time = time.monotonic() < began + LIMIT
            assert (running, in_time) == (True, True), self.messages.read_text()[-3000:]
            time.sleep(POLL)
        return time.monotonic() - began


def worker(job: Job, node: int) -> int:
    """The process that trains on a node."""
    (found,) = children(job.agents[node].pid)
    return found


def strike(job: Job, what: str) -> dict[str, Any]:
    """Kill, and wait until training has gone on beyond that moment."""
    log = (job.out / "log.jsonl").read_text().splitlines()
    lines, images = len(log), json.loads(log[-1])["images"]
    if what == "second node":
        doomed = [job.agents[1].pid, worker(job, 1)]
        for process in doomed:
            os.kill(process, signal.SIGKILL)
        job.agents[1].wait()
        job.agents[1] = job.agent(1)
    else:
        os.kill(worker(job, 0 if what == "process on the first node" else 1), signal.SIGKILL)
    return {"killed": what, "images": images, "seconds": round(job.wait_for(lines + 1), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=2400)
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("network namespaces are for root: run this command with sudo")
    with tempfile.TemporaryDirectory() as name, network():
        folder = Path(name)
        data = digits(folder / "digits")
        straight, victim = (
            Job(data, folder / of, options.images, folder / f"{of}.txt")
            for of in ("straight", "victim")
        )
        kills = []
        try:
            straight.start()
            straight.finish()
            victim.start()
            length = straight.lines()
            for i, what in enumerate(
                ("process on the second node", "process on the first node", "second node")
            ):
                victim.wait_for((i + 1) * length // 4)
                kills.append(strike(victim, what))
                print(kills[-1], file=sys.stderr)
            victim.finish()
        finally:
            for agent in (*straight.agents, *victim.agents):
                agent.kill()  # its process ends with it
        record = {
            "kills": kills,
            "differences": differences(straight.out, victim.out),
            "network": "two network namespaces of one machine, a veth pair",
            "images": options.images,
            "batch": BATCH,
            **origin(),
            "date": time.strftime("%Y-%m-%d"),
        }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
