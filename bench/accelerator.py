"""Check and measure training on an accelerator, in one call of less than eight minutes.

    python bench/accelerator.py [--device cuda] [--seconds 450] [--only TEXT]
        [--peer METHOD=PATH ...] [--steps 16] [--out FILE] [--toy]
    python bench/accelerator.py --table     the section in docs/src/performance.md.in;
                                            run `python tools/docs.py` afterwards

First correctness, at toy size: losses against the golden ones of the processor in fp32
(TF32 off) and bf16; a bitwise resume with deterministic kernels; images that lie on the
device; two processes on one device; compiled steps and CUDA graphs against eager ones.
Then the speed of each kind of method: seconds per step, fraction of the card's measured
matrix rate, peak memory; beside the reference's own step if `--peer` names a checkout
of it (dcgan, cyclegan, pix2pix, biggan, srgan, stylegan2: see bench/peers.py).

Every case is written to bench/results/accelerator.json at once, with command, machine
and commit. The same command continues after the last one. The call ends after
`--seconds`: a case that this interrupts is left to the next call. A case that fails, or
takes longer than LONGEST, is recorded with its message. On the processor the record
must have a name of its own (`--out`). `--toy` uses sizes for a processor, as a test.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import accelerator_cases
import torch

from ganvas.core.environment import commit, machine, usable_device

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "accelerator.json"
PAGE = ROOT / "docs" / "src" / "performance.md.in"
SECONDS = 450.0  # of a call
LONGEST = 180.0  # seconds of a case
LEAST = 10.0  # seconds that must be left to begin a case
PARTS = 4  # of the golden losses in each precision
RESUMED = ("dcgan", "cyclegan", "pix2pix", "stylegan2_ada_cifar", "biggan")
# Compiled steps: recipe and mode; the second is CUDA graphs.
COMPILED = (
    ("dcgan", "default"),
    ("dcgan", "reduce-overhead"),
    ("cyclegan", "reduce-overhead"),
    ("stylegan2_ada_cifar", "reduce-overhead"),
)
# Speed: name, recipe, settings of `ganvas bench`. StyleGAN2 has the size of the ADA paper.
MAIN = {
    "dcgan 64 px batch 128": ("dcgan", {"size": 64, "batch": 128}),
    "cyclegan 256 px batch 1": ("cyclegan", {"size": 256, "batch": 1}),
    "pix2pix 256 px batch 1": ("pix2pix", {"size": 256, "batch": 1}),
    "stylegan2 256 px batch 32": ("stylegan2", {"size": 256, "batch": 32}),
    "biggan_cifar 32 px batch 50": ("biggan_cifar", {"size": 32, "batch": 50}),
}
OTHERS = {
    "cyclegan 256 px batch 8": ("cyclegan", {"size": 256, "batch": 8}),
    "biggan 128 px batch 32": ("biggan", {"size": 128, "batch": 32}),
    "wgan_gp 32 px batch 64": ("wgan_gp", {"size": 32, "batch": 64}),
    "progan 128 px batch 16": ("progan", {"size": 128, "batch": 16, "set": ["start=128"]}),
    "stylegan3 256 px batch 16": ("stylegan3", {"size": 256, "batch": 16}),
    "r3gan_256 256 px batch 16": ("r3gan_256", {"size": 256, "batch": 16}),
    "cut 256 px batch 1": ("cut", {"size": 256, "batch": 1}),
    "srgan_basicsr 128 px batch 16": ("srgan_basicsr", {"size": 128, "batch": 16}),
}
EAGER = {"fp32": {"precision": "fp32"}, "bf16": {"precision": "bf16"}}
FASTER = {
    "bf16, compiled": {"precision": "bf16", "compile": "default"},
    "bf16, CUDA graphs": {"precision": "bf16", "compile": "reduce-overhead"},
    "tf32": {"precision": "tf32"},
}
WAYS = [*EAGER, *FASTER]
# Steps of bench/peers.py: method, its options.
REFERENCES = {
    "dcgan 64 px batch 128": ("dcgan", ["--size", "64", "--batch", "128"]),
    "cyclegan 256 px batch 1": ("cyclegan", ["--size", "256"]),
    "pix2pix 256 px batch 1": ("pix2pix", ["--size", "256"]),
    "stylegan2 32 px batch 64": ("stylegan2", ["--size", "32", "--batch", "64"]),
    "biggan 32 px batch 50": ("biggan", ["--size", "32", "--batch", "50"]),
    "srgan 128 px batch 16": ("srgan", ["--size", "128", "--batch", "16"]),
}
NO_PEER = "not measured: no checkout of the reference was given"
TOY = {
    "dcgan 16 px": ("dcgan", {"size": 16, "batch": 8, "set": ["G.width=4", "D.width=4"]}),
    "pix2pix 16 px": (
        "pix2pix",
        {"size": 16, "set": ["G.width=4", "G.depth=3", "D.width=4", "D.layers=1"]},
    ),
}


class Case(NamedTuple):
    """A function of accelerator_cases and its arguments."""

    name: str
    function: str
    arguments: dict[str, Any]


def cases(args: argparse.Namespace) -> Iterator[Case]:
    """All cases in their order."""
    device = args.device
    recipes = ["dcgan", "gan", "pix2pix_pixel"] if args.toy else accelerator_cases.all_recipes()
    parts = 1 if args.toy else PARTS
    for precision in accelerator_cases.TOLERANCE:
        for part in range(parts):
            given = {"device": device, "precision": precision, "recipes": recipes[part::parts]}
            yield Case(f"golden {precision}, {part + 1} of {parts}", "golden", given)
    for recipe in RESUMED[:1] if args.toy else RESUMED:
        yield Case(f"resume {recipe}", "resume", {"device": device, "recipe": recipe})
    for recipe in ("dcgan_digits", "pix2pix", "cyclegan"):
        yield Case(f"data {recipe}", "data", {"device": device, "recipe": recipe})
    yield Case("two processes dcgan", "two_processes", {"device": device, "recipe": "dcgan"})
    for recipe, mode in COMPILED[:2] if args.toy else COMPILED:
        given = {"device": device, "recipe": recipe, "mode": mode}
        yield Case(f"compile {mode} {recipe}", "compiled", given)
    rows = TOY if args.toy else MAIN
    yield from speeds(args, rows, EAGER)
    for name, (method, settings) in REFERENCES.items():
        for precision in EAGER:
            yield Case(
                f"reference {name}, {precision}",
                "reference",
                {
                    "device": device,
                    "method": method,
                    "peer": args.peers.get(method),
                    "settings": [*settings, "--precision", precision],
                },
            )
    if not args.toy:
        yield from speeds(args, rows, FASTER)
        yield from speeds(args, OTHERS, EAGER)


def speeds(
    args: argparse.Namespace, rows: Mapping[str, Any], ways: Mapping[str, Mapping[str, str]]
) -> Iterator[Case]:
    for way, more in ways.items():
        for name, (recipe, settings) in rows.items():
            given = {**settings, **more, "steps": args.steps}
            arguments = {"device": args.device, "recipe": recipe, "settings": given}
            yield Case(f"speed {name}, {way}", "speed", arguments)


class Answers(Protocol):
    """Where cases run; None: the case took longer than its limit."""

    def __call__(self, case: Case, limit: float) -> dict[str, Any] | None: ...

    def close(self) -> None: ...


class Worker:
    """A process that runs cases one after the other, and that is replaced if it hangs.

    A case cannot leave the others without a device, and they share the start of torch."""

    def __init__(self) -> None:
        self._process: Any = None

    def __call__(self, case: Case, limit: float) -> dict[str, Any] | None:
        if self._process is None:
            context = multiprocessing.get_context(accelerator_cases.START)
            self._pipe, other = context.Pipe()
            self._process = context.Process(target=accelerator_cases.serve, args=(other,))
            self._process.start()
            other.close()
        self._pipe.send((case.function, case.arguments))
        if not self._pipe.poll(limit):
            self.close()
            return None
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            status = self._process.exitcode
            self._process = None
            return {"failed": f"the process ended with {status}; its output is above"}

    def close(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):  # with the processes that a case has started
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.join()
        self._process = None


def recorded(
    args: argparse.Namespace, found: dict[str, Any], run: Answers, clock: Callable[[], float]
) -> int:
    """Run the cases that `found` lacks, and write it after each. Returns how many are left."""
    until, left = clock() + args.seconds, 0
    host = {"machine": machine(), "device": device_name(args.device)}
    host |= {"torch": torch.__version__, "cuda": torch.version.cuda, "commit": commit()}
    words = [f"{w.partition('=')[0]}=PATH" if w in args.peer else w for w in args.words]
    host |= {"command": shlex.join(["python", "bench/accelerator.py", *words])}
    for case in cases(args):
        known = found.get(case.name, {})
        given = case.function != "reference" or case.arguments["peer"]
        if args.only not in case.name or (known and not (given and "not measured" in known)):
            continue
        start = clock()
        limit = min(LONGEST, until - start)
        if limit < LEAST:
            left += 1
            continue
        result = run(case, limit) if given else {"not measured": NO_PEER}
        if result is None and limit < LONGEST:
            left += 1  # the end of the call has interrupted it
            continue
        result = result or {"failed": f"took more than {LONGEST:.0f} s"}
        found[case.name] = {**result, "case_seconds": round(clock() - start, 1), **host}
        args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{case.name}: {summary(found[case.name])}", flush=True)
    return left


def device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def summary(entry: Mapping[str, Any]) -> str:
    """A case in one line."""
    if "failed" in entry:
        return f"failed: {entry['failed'].splitlines()[-1]}"
    if "not measured" in entry:
        return entry["not measured"]
    if "passed" in entry:
        shown = {k: entry[k] for k in ("largest", "losses", "over", "unequal") if entry.get(k)}
        return " ".join(
            ["passed" if entry["passed"] else "NOT PASSED", *([str(shown)] * bool(shown))]
        )
    if "times_as_fast" in entry:
        return f"{entry['times_as_fast']:.2f} times as fast as the reference"
    mib = math.nan if entry["peak_mib"] is None else entry["peak_mib"]
    return (
        f"{entry['seconds_per_step']['memory']:.3g} s per step, "
        f"{entry['products']['share']:.0%} of the rate, {mib:.0f} MiB"
    )


# ---------------------------------------------------------------- the section of the page

HEADING = "## Accelerators"
ABOUT = """\
`python bench/accelerator.py` checks and measures training on an accelerator in one call
of less than eight minutes. The same command continues after an interrupted call, and
`--peer METHOD=PATH` adds the steps of a reference's checkout. The script is tested at
toy size on a processor.
"""
NOTHING = """\
Not measured: no accelerator was at hand. Not run on one are the golden losses in fp32
and bf16, a bitwise resume, two processes on one device, images that lie on the device,
TF32, compiled steps and CUDA graphs (`--compile reduce-overhead`). A test runs a step of
every method on torch's meta device, which has shapes and no values: everything that a
step computes lies on its device.
"""
KINDS = {
    "golden": "first losses equal the processor's",
    "resume": "bitwise resume with deterministic kernels",
    "data": "images on the device equal those of the host",
    "two processes": "two processes equal one",
    "compile default": "compiled steps equal eager ones",
    "compile reduce-overhead": "CUDA graphs equal eager steps",
}


def section(found: Mapping[str, Any]) -> str:
    """The section with a reference to the record for every figure."""
    lines = [HEADING, "", *ABOUT.splitlines(), ""]
    if not found:
        return "\n".join([*lines, *NOTHING.splitlines()]) + "\n"
    devices = sorted({entry["device"] for entry in found.values()})
    lines += [
        f"Measured on `{'`, `'.join(devices)}` ([record](../bench/results/accelerator.json)).",
        "",
    ]
    lines += ["| | passed | not passed |", "|---|---|---|"]
    for start, title in KINDS.items():
        own = {k: e for k, e in found.items() if k.startswith(start)}
        names = {
            passed: ", ".join(f"`{k}`" for k, e in own.items() if e.get("passed", False) is passed)
            for passed in (True, False)
        }
        cells = [names[True], names[False]] if own else ["not measured", ""]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += [
        "",
        "Seconds per step, share of the measured matrix rate, and peak memory in MiB:",
        "",
    ]
    lines += ["| | " + " | ".join(WAYS) + " | speedup over the reference, fp32 | bf16 |"]
    lines += ["|---" * (len(WAYS) + 3) + "|"]
    for name in [*MAIN, *OTHERS, *(n for n in REFERENCES if n not in MAIN)]:
        cells = [speed_cell(found, f"speed {name}, {way}") for way in WAYS]
        cells += [ratio_cell(found, f"reference {name}, {way}") for way in EAGER]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def speed_cell(found: Mapping[str, Any], name: str) -> str:
    entry = found.get(name)
    if entry is None:
        return "not measured"
    if "failed" in entry:
        return "failed"
    forms = {".3g": "seconds_per_step.memory", ".0%": "products.share", ",.0f": "peak_mib"}
    return ", ".join(figure(form, name, value) for form, value in forms.items())


def ratio_cell(found: Mapping[str, Any], name: str) -> str:
    entry = found.get(name, {})
    if "failed" in entry:
        return "failed"
    return figure(".2f", name, "times_as_fast") if "times_as_fast" in entry else "not measured"


def figure(form: str, name: str, value: str) -> str:
    return f"{{{{{form} bench/results/accelerator.json {name}.{value}}}}}"


def table(page: Path = PAGE, record: Path = RESULTS) -> str:
    """The template with the section of the record, which is its last one."""
    text = page.read_text(encoding="utf-8")
    found = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    return text[: text.index(HEADING)] + section(found)


def main(argv: Sequence[str] | None = None, run: Answers | None = None) -> None:
    parser = argparse.ArgumentParser(description="Training on this accelerator.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of this call, in all")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their names")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="METHOD=PATH", help="a reference's checkout"
    )
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--table", action="store_true", help="write the documentation's section")
    args = parser.parse_args(argv)
    if args.table:
        PAGE.write_text(table(), encoding="utf-8")
        return
    args.peers = dict(peer.partition("=")[::2] for peer in args.peer)
    methods = {method for method, _ in REFERENCES.values()}
    if wrong := sorted(args.peers.keys() - methods):
        parser.error(
            f"--peer {', '.join(wrong)}: expected METHOD=PATH with one of {sorted(methods)}"
        )
    if args.out is None and (args.toy or usable_device(args.device) == "cpu"):
        parser.error("the record of a processor or of toys needs a name of its own: give --out")
    args.out, args.words = args.out or RESULTS, sys.argv[1:] if argv is None else argv
    args.out.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {}
    run = run or Worker()
    try:
        left = recorded(args, found, run, time.monotonic)
    finally:
        run.close()
    if left:
        print(f"{left} cases are left: the same command continues")


if __name__ == "__main__":
    main()
