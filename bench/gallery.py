"""Train the gallery: each method on the letters for half an hour of one core.

    python bench/gallery.py [--only NAME ...] [--runs runs/gallery] [--list]

Runs the table below row by row, each as `ganvas train` in its own process with one
thread, in bf16 if the processor has its instructions. The minutes of a run are
processor minutes, so that other work on the machine does not shorten it: its rate is
measured first and gives the number of images, on which its schedules depend. Every run
resumes exactly: the same command continues an interrupted run and skips a complete one.
The settings are recorded in RUNS/NAME.json. Linux only (/proc). To run it in the
background:

    OMP_NUM_THREADS=1 setsid nohup nice -n 19 python bench/gallery.py > gallery.log 2>&1 &
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganvas import recipes
from ganvas.core.allocator import retain_heap
from ganvas.core.environment import auto_precision
from ganvas.engine.engine import Engine
from ganvas.training.start import with_data

WARM_STEPS, RATED_SECONDS = 4, 15.0  # of the measurement of a run's rate
TICKS = 1.05  # sample grids, quality curve and checkpoints, as a share of the steps' time
STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)  # exit codes after an interruption
CLOCK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Training:
    """One run of the gallery.

    settings: values of `--set`, in which {images} and fractions such as {images/2} are
    replaced by what the minutes allow"""

    recipe: str
    minutes: float
    settings: tuple[str, ...] = ()
    data: str = "letters"
    size: int = 32


def _both(*settings: str) -> tuple[str, ...]:
    return tuple(f"{net}.{setting}" for setting in settings for net in "GD")


WIDE = "widths=[128,128,64,32]"  # at 4, 8, 16 and 32 px: the largest for an hour of one core
DECAY = ("lr.start={images/2}", "lr.end={images}")
TABLE: dict[str, Training] = {
    # R1 by StyleGAN2-ADA's rule, 2e-4 pixels / batch, is 6e-3; black on white has
    # steeper edges than photographs.
    "stylegan2": Training(
        "stylegan2_digits",
        60,
        (*_both(WIDE), "G.latent=128", "G.style=128", "r1_weight=0.05", "ema.images=10000"),
    ),
    # One update of D for each of G's at twice the rate (TTUR, arXiv:1706.08500) instead
    # of five: five times the updates of G.
    "sngan_projection": Training(
        "sngan_projection",
        30,
        (
            *_both("width=64"),
            "n_critic=1",
            "g_batch=1",
            "optim.D.lr=4e-4",
            "lr.start={images/2}",
            "lr.end={images}",
        ),
    ),
    "biggan": Training("biggan_digits", 30, (*_both("width=24"), "ema.images=10000")),
    "r3gan": Training("r3gan_small", 30, (*DECAY, "ema.images=10000")),
    "wgan_gp": Training(
        "wgan_gp_dcgan", 30, (*_both("width=32"), "optim.G.lr=5e-4", "optim.D.lr=5e-4")
    ),
    "dcgan": Training("dcgan_letters", 30, (*DECAY, "ema.images=20000")),
    "sagan": Training("sagan_digits", 30, (*_both("width=24"), "ema.images=10000")),
    "stylegan": Training(
        "stylegan_digits",
        30,
        (
            *_both("widths=[64,64,64,32]"),
            "fade={images/8}",
            "hold={images/8}",
            "r1_weight=0.3",
            "ema.images=10000",
        ),
    ),
    "progan": Training("progan_labels", 30, (*_both(WIDE), "fade={images/8}", "hold={images/8}")),
    "cgan": Training("cgan_dcgan", 30),
    "vaegan": Training(
        "vaegan_small", 30, ("Enc.width=32", "Dec.width=32", "Dis.width=32", "latent=32")
    ),
    "vae": Training("vae_small", 15, ("Enc.width=32", "Dec.width=32", "latent=32")),
    "wgan": Training("wgan", 30, (*_both("width=32"), "optim.G.lr=2e-4", "optim.D.lr=2e-4")),
    "gan": Training("gan", 15),
}


def settings_of(row: Training, images: int) -> list[str]:
    """`row.settings` with the numbers of images filled in."""
    filled = []
    for setting in row.settings:
        for divisor in (1, 2, 8):
            name = "{images}" if divisor == 1 else f"{{images/{divisor}}}"
            setting = setting.replace(name, str(images // divisor))
        filled.append(setting)
    return filled


def rate(row: Training) -> float:
    """Images per processor second of training, on one thread."""
    retain_heap()
    settings = [*settings_of(row, 1_000_000), f"precision={auto_precision('cpu')}"]
    # A growing method is rated at its last stage, the slowest.
    settings += ["start=32"] if row.recipe in ("stylegan_digits", "progan_labels") else []
    run = with_data(recipes.find(row.recipe)(6_604), row.data, row.size, settings)
    engine = Engine(run, run.data())
    for _ in range(WARM_STEPS):
        engine.step()
    start, images = time.process_time(), engine.clock.images
    while time.process_time() - start < RATED_SECONDS:
        engine.step()
    return (engine.clock.images - images) / (time.process_time() - start)


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process, in all its threads; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / CLOCK


def carried_out(name: str, runs: Path) -> None:
    """Start or continue one run until its images or a fifth more than its minutes are used."""
    row, folder, note = TABLE[name], runs / name, runs / f"{name}.json"
    state: dict[str, Any] = (
        json.loads(note.read_text()) if note.is_file() else {"cpu_seconds": 0.0, "complete": False}
    )
    if state["complete"]:
        return
    if "images" not in state:
        command = [sys.executable, __file__, "--rate", name]
        state["rate"] = float(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        )
        state["images"] = round(state["rate"] * row.minutes * 60 / TICKS / 1000) * 1000
        state["settings"] = settings_of(row, state["images"])
        write(note, state)
    ganvas = [sys.executable, "-m", "ganvas"]
    if (folder / "run.json").is_file():
        command = [*ganvas, "resume", str(folder)]
    else:
        command = [
            *ganvas,
            "train",
            row.recipe,
            row.data,
            "--out",
            str(folder),
            "--size",
            str(row.size),
        ]
        command += ["--precision", "auto", "--images", str(state["images"])]
        command += [word for setting in state["settings"] for word in ("--set", setting)]
    state["command"] = (
        " ".join(["ganvas", *command[3:]]) if "command" not in state else state["command"]
    )
    before, limit = state["cpu_seconds"], row.minutes * 60 * 1.2
    began, process = time.monotonic(), subprocess.Popen(command)
    try:
        while process.poll() is None:
            time.sleep(5)
            state["cpu_seconds"] = max(state["cpu_seconds"], before + cpu_seconds(process.pid))
            write(note, state)
            if state["cpu_seconds"] > limit:
                process.send_signal(signal.SIGINT)
                process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)  # it saves and stops
        process.wait()
        raise
    over = state["cpu_seconds"] > limit
    state["complete"] = process.returncode == 0 or (over and process.returncode in STOPPED)
    state["seconds"] = round(state.get("seconds", 0.0) + time.monotonic() - began, 1)
    write(note, state)
    print(
        f"{name}: exit {process.returncode}, {state['cpu_seconds'] / 60:.1f} processor minutes",
        flush=True,
    )


def write(path: Path, state: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(state, indent=1) + "\n")
    temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="The gallery's trainings.")
    parser.add_argument("--only", nargs="+", choices=TABLE, default=list(TABLE), metavar="NAME")
    parser.add_argument("--runs", type=Path, default=Path("runs/gallery"))
    parser.add_argument("--list", action="store_true", help="print the table")
    parser.add_argument("--rate", choices=TABLE, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.list:
        for name, row in TABLE.items():
            print(
                f"{name:<18} {row.recipe:<18} {row.data} {row.size} px {row.minutes:g} min  "
                f"{' '.join(row.settings)}"
            )
    elif args.rate:
        print(rate(TABLE[args.rate]))
    else:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops a run as Ctrl-C does
        args.runs.mkdir(parents=True, exist_ok=True)
        for name in args.only:
            carried_out(name, args.runs)


if __name__ == "__main__":
    main()
