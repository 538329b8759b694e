"""Measure an upscaler after an hour of one core, and the front between PSNR and LPIPS.

    OMP_NUM_THREADS=1 python bench/superres.py [--shared ../shared] [--minutes 60]
        [--game 20] [--seed 0] [--runs runs/superres]

Trains `compact` (48 channels, 12 layers) by absolute errors of pixels on the 91 images
that are usual for super-resolution, in crops of 96x96 that are mirrored and turned, for
`--minutes` of processor time; then `srgan_compact` from these weights for `--game`
minutes, with the content loss on VGG19's relu3_1 (weights of the normalized encoders).
Models between the two are blends of their weights (`ganvas blend`). Each enlarges Set5 4
times. Records PSNR and SSIM on luminance without 4 pixels of border, and LPIPS
(squeeze-caffe, not the official backbone), beside bicubic enlargement. Writes
bench/results/superres.json. Minutes become a number of images by timing the first ones,
so that the same command on another machine trains on another number, which is recorded:
processor time, whatever else the machine does. A call that was interrupted goes on in
the same `--runs`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gallery import TICKS, Training, rate
from PIL import Image

from ganvas.core.environment import commit, machine
from ganvas.engine.run_dir import read_record
from ganvas.evaluation.paired import compare
from ganvas.inference.blend import blend
from ganvas.inference.translate_files import translate_files
from ganvas.media.invisible_mark import MARK_VARIABLE
from ganvas.media.resize import bicubic
from ganvas.training.trainer import train

RESULTS = Path(__file__).parent / "results" / "superres.json"
SCALE = 4
WEIGHTS = (0.2, 0.4, 0.6, 0.8)  # of the game's network in a blend
NETWORK = ["G.width=48", "G.layers=12", "batch=16", "data.turn=true"]
PIXELS = ["optim.G.lr=1e-3"]  # few updates: five times the recipe's rate
SIZES = {"pixels": 96, "game": 128}  # of the crops
GAME = ["pretrain=0", "D.width=24", "layer=relu3_1"]


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
    out.mkdir(parents=True, exist_ok=True)
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
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--game", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/superres"))
    args = parser.parse_args()
    data, small = args.shared / "data", args.shared / "data" / "set5_lr_x4"
    vgg = data / "weights" / "vgg19_normalised" / "vgg19_3" / "vgg_normalised_conv3_1.pth"
    os.environ[MARK_VARIABLE] = "0"  # the invisible mark would lower the figures a little
    runs, parts = args.runs, {}
    runs.mkdir(parents=True, exist_ok=True)
    how: dict[str, Any] = {"seed": args.seed, "precision": "auto", "resume": "auto"}

    def enlarged(name: str, model: Path, **facts: Any) -> None:
        translate_files(model, [small], runs / "images" / name)
        parts[name] = {**facts, **figures(runs / "images" / name, data)}
        print(name, json.dumps(parts[name]), flush=True)

    def trained(name: str, recipe: str, minutes: float, *settings: str, **more: Any) -> None:
        row = Training(recipe, minutes, "t91", SIZES[name], (*NETWORK, *settings))
        known = runs / f"{name}.json"  # the number of images, for a call that goes on
        if not known.is_file():
            images = int(rate(row, str(data / "t91")) * 60 * minutes / TICKS)
            known.write_text(json.dumps({"images": images}))
        images = json.loads(known.read_text())["images"]
        train(
            recipe,
            data / "t91",
            out=runs / name,
            size=row.size,
            images=images,
            set=list(row.settings),
            **how,
            **more,
        )
        precision = read_record(runs / name)["run"]["precision"]
        enlarged(name, runs / name, images=images, minutes=minutes, precision=precision)

    parts["bicubic"] = figures(enlarged_bicubically(small, runs / "images" / "bicubic"), data)
    trained("pixels", "compact", args.minutes, *PIXELS)
    start = {"start_from": runs / "pixels"}
    trained("game", "srgan_compact", args.game, *GAME, f"vgg={vgg.resolve()}", **start)
    for weight in WEIGHTS:
        model = runs / f"blend-{weight}"
        if not model.is_dir():
            blend(runs / "pixels", runs / "game", weight, model)
        enlarged(f"blend {weight:.0%}", model)
    gain = parts["pixels"]["psnr"]["mean"] - parts["bicubic"]["psnr"]["mean"]
    result = {
        "command": shlex.join(["python", "bench/superres.py", *sys.argv[1:]]),
        "machine": machine(),
        "commit": commit(),
        "settings": {"both": NETWORK, "pixels": PIXELS, "game": GAME, "seed": args.seed},
        "protocol": {
            "psnr, ssim": "y-crop4",
            "lpips": "squeeze-caffe, whole images",
            "data": "Set5, x4 by MATLAB's bicubic",
        },
        "gain": round(gain, 3),
        "results": parts,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["results"], indent=2))


if __name__ == "__main__":
    main()
