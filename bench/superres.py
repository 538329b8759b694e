"""Measure a small SRResNet after a fixed time, and what SRGAN's game makes of it.

    OMP_NUM_THREADS=1 python bench/superres.py [--shared ../shared] [--minutes 20]
        [--game 10] [--size 96] [--seed 0]

Trains `srgan` (G of 48 channels and 6 blocks, D of 32, Adam 3e-4) on the 91 images that
are usual for super-resolution: first its SRResNet stage, by pixels alone, for
`--minutes` of processor time; then the game from there, with the content loss on
VGG19's relu3_1 (weights of the normalized encoders), for `--game` minutes. After each,
Set5 is enlarged 4 times. Records PSNR and SSIM on luminance without 4 pixels of border,
and LPIPS (squeeze-caffe, not the official backbone), beside bicubic enlargement. Writes
bench/results/superres.json. Minutes become a number of images by timing the first ones,
so that the same command on another machine trains on another number, which is recorded.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ganvas.core.environment import commit, machine
from ganvas.evaluation.paired import compare
from ganvas.inference.translate_files import translate_files
from ganvas.media.resize import bicubic
from ganvas.training import trainer
from ganvas.training.trainer import resume

RESULTS = Path(__file__).parent / "results" / "superres.json"
SCALE, BATCH, TIMED = 4, 16, 160
SETTINGS = [
    "G.width=48",
    "G.blocks=6",
    "D.width=32",
    "optim.G.lr=3e-4",
    "optim.D.lr=3e-4",
    "layer=relu3_1",
]


def figures(made: Path, data: Path) -> dict[str, Any]:
    record = compare(
        made, data / "set5", protocol="y-crop4", lpips="squeeze-caffe", weights=data / "weights"
    )
    return {
        name: {k: value[k] for k in ("mean", "low", "high")}
        for name, value in record.items()
        if isinstance(value, dict) and "mean" in value
    }


def enlarged_bicubically(small: Path, out: Path) -> Path:
    out.mkdir(parents=True)
    for file in sorted(small.glob("*.png")):
        with Image.open(file) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]
        Image.fromarray(bicubic(pixels, SCALE)[0].permute(1, 2, 0).numpy()).save(out / file.name)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--game", type=float, default=10)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, help="folder for runs and images (default: a temporary one)"
    )
    args = parser.parse_args()
    data, small = args.shared / "data", args.shared / "data" / "set5_lr_x4"
    vgg = data / "weights" / "vgg19_normalised" / "vgg19_3" / "vgg_normalised_conv3_1.pth"
    out = args.out or Path(tempfile.mkdtemp())
    run, spent, images, parts = out / "run", 0.0, 0, {}

    def train(until: int, *settings: str) -> None:
        nonlocal spent, images
        before = time.process_time()
        if images:
            resume(run, images=until, set=settings)
        else:
            how: dict[str, Any] = {"size": args.size, "batch": BATCH, "seed": args.seed}
            trainer.train(
                "srgan", data / "t91", out=run, images=until, set=[*SETTINGS, *settings], **how
            )
        spent, images = time.process_time() - before, until

    def stage(name: str, minutes: float, *settings: str) -> None:
        """Time the first images of a stage, and train on as many as its minutes allow."""
        start = images
        train(start + TIMED, *settings)
        first = spent
        more = int((60 * minutes - first) / first * TIMED) // BATCH * BATCH
        if more > 0:
            train(start + TIMED + more)
            first += spent
        pictures = out / name
        translate_files(run, [small], pictures)
        parts[name] = {
            "images": images,
            "cpu_minutes": round(first / 60, 2),
            **figures(pictures, data),
        }
        print(name, json.dumps(parts[name]), flush=True)

    parts["bicubic"] = figures(enlarged_bicubically(small, out / "bicubic"), data)
    stage("srresnet", args.minutes, f"pretrain={1 << 40}", f"vgg={vgg.resolve()}")
    stage("srgan", args.game, f"pretrain={images}")
    result = {
        "command": shlex.join(["python", "bench/superres.py", *sys.argv[1:]]),
        "machine": machine(),
        "commit": commit(),
        "settings": [*SETTINGS, f"data.size={args.size}", f"batch={BATCH}", f"seed={args.seed}"],
        "protocol": {
            "psnr, ssim": "y-crop4",
            "lpips": "squeeze-caffe, whole pictures",
            "data": "Set5, x4 by MATLAB's bicubic",
        },
        "results": parts,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["results"], indent=2))


if __name__ == "__main__":
    main()
