"""Compare `restore` with the enlarged blocks of a mosaic.

    OMP_NUM_THREADS=1 python bench/mosaics.py [--shared ../shared] [--images 4000]
        [--size 64] [--block 8] [--seeds 3]

`ganvas data mosaic` hides the regions that MobileNetV2 takes for a daisy in 764
photographs of daisies (flowers/daisy, 128x128), in squares of `--size` pixels and
blocks of `--block`. Photographs with a probability of the class below 0.01 are left
out: of images so small and coarse it gives only a third more than 0.1. A fifth of the
rest, chosen by their names, is held out. For each seed `restore` trains on `--images`
images, at half width (U-Net of 32, D of 32 and 2 layers), with a rate that falls over the
second half.

On the held-out images, records PSNR and SSIM (rgb) inside the masks; LPIPS
(squeeze-caffe, not the official backbone) of the whole images, which are equal outside;
and MobileNetV2's probability of a daisy in the whole image. The same is recorded for
the mosaic itself and for its block means enlarged bicubically. Writes
bench/results/mosaics.json. With --out, an interrupted call continues with the seeds
that it had not finished.
"""

from __future__ import annotations

import argparse
import json
import shlex
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ganvas.core.environment import commit, machine
from ganvas.data.prepare import mosaic_pairs
from ganvas.evaluation.paired import compare
from ganvas.inference.masks import Masks
from ganvas.inference.translate_files import translate_files
from ganvas.media import mosaic
from ganvas.metrics.classifiers import classifier
from ganvas.training.trainer import train

RESULTS = Path(__file__).parent / "results" / "mosaics.json"
BATCH = 4
SETTINGS = ["G.net.width=32", "D.width=32", "D.layers=2"]


def figures(made: Path, held_out: Path, weights: Path) -> dict[str, Any]:
    """Figures of `made` against the originals, inside the masks."""
    how: dict[str, Any] = {
        "protocol": "rgb",
        "lpips": "squeeze-caffe",
        "weights": weights,
        "mask": held_out / "masks",
    }
    record = compare(made, held_out / "B", **how)
    found = {
        n: {k: v[k] for k in ("mean", "low", "high")}
        for n, v in record.items()
        if isinstance(v, dict) and "mean" in v
    }
    detector = classifier("mobilenet-v2", weights)
    number, probabilities = detector.number("daisy"), []
    for file in sorted(made.glob("*.png")):
        with Image.open(file) as image:
            x = (
                torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float()
                / 127.5
                - 1
            )
        probabilities.append(detector.find(x, number)[0])
    return found | {"daisy": float(np.mean(probabilities))}


def enlarged(held_out: Path, block: int, out: Path) -> Path:
    masks = Masks(held_out / "masks")
    out.mkdir(parents=True)
    for file in sorted((held_out / "A").glob("*.png")):
        masked = masks.of(file, file.name)
        Image.fromarray(mosaic.smooth(masked.image.color, masked.mask, block)).save(out / file.name)
    return out


def trained(pairs: Path, out: Path, size: int, seed: int, images: int) -> float:
    """Processor minutes of a run."""
    start = time.process_time()
    how: dict[str, Any] = {"size": size, "batch": BATCH, "seed": seed, "images": images}
    train(
        "restore",
        pairs,
        out=out,
        set=[*SETTINGS, f"lr.start={images // 2}", f"lr.end={images}"],
        **how,
    )
    return round((time.process_time() - start) / 60, 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--images", type=int, default=4_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--block", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--out", type=Path, help="folder for runs and images (default: a temporary one)"
    )
    parser.add_argument("--record", type=Path, default=RESULTS)
    args = parser.parse_args()
    data, weights = args.shared / "data" / "flowers" / "daisy", args.shared / "data" / "weights"
    out = args.out or Path(tempfile.mkdtemp())
    pairs, held_out = out / "pairs", out / "pairs" / "test"
    how: dict[str, Any] = {
        "weights": weights,
        "blocks": (args.block,),
        "size": args.size,
        "least": 0.01,
        "test": 0.2,
    }
    report = mosaic_pairs.make(data, pairs, network="mobilenet-v2", wanted="daisy", **how)
    counts = {p: len(list((pairs / p / "A").glob("*.png"))) for p in ("train", "test")}
    print(counts, len(report.skipped), "skipped", flush=True)
    parts: dict[str, Any] = {
        "original": figures(held_out / "B", held_out, weights)["daisy"],
        "mosaic": figures(held_out / "A", held_out, weights),
        "bicubic": figures(enlarged(held_out, args.block, out / "bicubic"), held_out, weights),
        "restored": [],
    }
    print(json.dumps(parts), flush=True)
    for seed in range(args.first, args.first + args.seeds):
        kept = out / f"seed{seed}.json"
        if kept.exists():
            parts["restored"].append(json.loads(kept.read_text()))
            continue
        minutes = trained(pairs, out / f"run{seed}", args.size, seed, args.images)
        made = out / f"restored{seed}"
        translate_files(out / f"run{seed}", [held_out / "A"], made, masks=Masks(held_out / "masks"))
        found = {
            "seed": seed,
            "images": args.images,
            "cpu_minutes": minutes,
            **figures(made, held_out, weights),
        }
        parts["restored"].append(found)
        kept.write_text(json.dumps(found))
        print(json.dumps(found), flush=True)
    settings = [f"--{k}={getattr(args, k)}" for k in ("images", "size", "block", "seeds")]
    result = {
        "command": shlex.join(["python", "bench/mosaics.py", *settings]),
        "machine": machine(),
        "commit": commit(),
        "settings": [*SETTINGS, f"data.size={args.size}", f"batch={BATCH}"],
        "pairs": json.loads((pairs / mosaic_pairs.SETTINGS).read_text())
        | counts
        | {"skipped": len(report.skipped)},
        "protocol": {
            "psnr, ssim": "rgb, inside the masks",
            "lpips": "squeeze-caffe, whole images",
            "daisy": "mobilenet-v2",
        },
        "results": parts,
    }
    args.record.parent.mkdir(exist_ok=True)
    args.record.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
