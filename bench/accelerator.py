"""Measure how fast every kind of method trains on an accelerator.

    python bench/accelerator.py [--device cuda] [--seconds 540] [--only TEXT] [--most N]
        [--out FILE] [--toy]

Runs `ganvas bench` of DCGAN at 64 px with batches of 128, CycleGAN at 256 px with
batches of 1 and 8, pix2pix at 256 px, WGAN-GP at 32 px and ProGAN at 128 px, each in
fp32, TF32, bf16, bf16 compiled and bf16 with CUDA graphs. Records seconds per thousand
images, peak memory and the fraction of the card's measured rate.

Every measurement runs in its own process and is written to
bench/results/accelerator.json at once. A later call skips it, so that an interrupted
call can be continued. A measurement that fails is recorded with its message. `--toy`
uses sizes that a processor finishes in a minute, as a test of the script.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "accelerator.json"
LONGEST = 300  # seconds of one measurement
CASES = {
    "dcgan 64 px batch 128": ["dcgan", "--size", "64", "--batch", "128"],
    "cyclegan 256 px batch 1": ["cyclegan", "--size", "256", "--batch", "1"],
    "cyclegan 256 px batch 8": ["cyclegan", "--size", "256", "--batch", "8"],
    "pix2pix 256 px batch 1": ["pix2pix", "--size", "256", "--batch", "1"],
    "wgan_gp 32 px batch 64": ["wgan_gp", "--size", "32", "--batch", "64"],
    "progan 128 px batch 16": ["progan", "--size", "128", "--batch", "16", "--set", "start=128"],
}
WAYS = {
    "fp32": [],
    "tf32": ["--precision", "tf32"],
    "bf16": ["--precision", "bf16"],
    "bf16, compiled": ["--precision", "bf16", "--compile", "default"],
    "bf16, CUDA graphs": ["--precision", "bf16", "--compile", "reduce-overhead"],
}
TOY = {
    "dcgan": ["--size", "16", "--set", "G.width=4", "--set", "D.width=4"],
    "cyclegan": ["--size", "16", "--set", "G.width=4", "--set", "G.blocks=1",
                 "--set", "D.width=4", "--set", "D.layers=1"],
    "pix2pix": ["--size", "16", "--set", "G.width=4", "--set", "G.depth=3",
                "--set", "D.width=4", "--set", "D.layers=1"],
    "wgan_gp": ["--size", "16", "--set", "G.width=8", "--set", "D.width=8"],
    "progan": ["--size", "16", "--set", "G.widths=[8,8,8]", "--set", "D.widths=[8,8,8]",
               "--set", "start=16"],
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Every kind of method on this accelerator.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--seconds",
        type=float,
        default=540,
        help="stop before a measurement that would begin later",
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="measurements whose name has this in it"
    )
    parser.add_argument(
        "--most", type=int, default=1000, metavar="N", help="no more than so many measurements"
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--toy", action="store_true")
    args = parser.parse_args()
    until = time.monotonic() + args.seconds
    args.out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = json.loads(args.out.read_text()) if args.out.is_file() else {}
    left = made = 0
    for case, arguments in CASES.items():
        ways = {k: v for k, v in WAYS.items() if not args.toy or "--compile" not in v}
        for way, more in ways.items():
            name = f"{case}, {way}" + (" (toy)" if args.toy else "")
            if name in found or args.only not in name:
                continue
            if time.monotonic() > until or made == args.most:
                left += 1
                continue
            found[name] = measured(
                args, [*arguments, *(TOY[arguments[0]] if args.toy else []), *more]
            )
            made += 1
            args.out.write_text(json.dumps(found, indent=1) + "\n")
            print(name, summary(found[name]), flush=True)
    if left:
        print(f"{left} measurements are left: the same command continues")


def measured(args: argparse.Namespace, arguments: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "ganvas", "bench", *arguments]
    command += ["--device", args.device, "--steps", str(args.steps), "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return {"failed": f"took more than {LONGEST} s"}
    if done.returncode:
        return {"failed": done.stderr.strip()[-600:]}
    return json.loads(done.stdout)


def summary(found: dict[str, Any]) -> str:
    if "failed" in found:
        return f"failed: {found['failed'].splitlines()[-1]}"
    return (
        f"{found['seconds_per_thousand_images']['memory']:.3g} s per thousand images, "
        f"{found['peak_mib']:.0f} MiB, "
        f"{found['products']['share']:.0%} of the rate"
    )


if __name__ == "__main__":
    main()
