"""Measure whether generated pairs help a segmenter that has few real ones.

    OMP_NUM_THREADS=1 python bench/nuclei.py [--shared ../shared] [--labelled 8]
        [--images 6000] [--steps 800] [--seeds 3]

The images are nuclei in fluorescence microscopy: those of nuclei/ that are gray with a
dark background, reduced to 128x128. `--labelled` of them have masks that may be used; a
hundred others are the test set. pix2pix (the networks and rates of `restore`, at half
width) learns from those pairs to generate an image from a mask, in crops of 64x64. New
masks are composed of single nuclei of the labeled masks, rotated, mirrored and placed
at random, as many as some labeled mask has; pix2pix generates an image for each. The
same small U-Net is then trained for `--steps` steps of 16 crops, rotated and mirrored,
on the real pairs, on the generated ones, and on both in equal parts.

Records the intersection over union of the nuclei, over all test pixels. All random
choices, such as the labeled images, follow from the seed. Writes
bench/results/nuclei.json. With --out, an interrupted call continues with the seeds that
it had not finished.
"""

from __future__ import annotations

import argparse
import json
import shlex
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from ganvas.core.environment import commit, machine
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.metrics.fcn_score import confusion, segmentation
from ganvas.nets.image_to_image import UNetGenerator
from ganvas.training.trainer import train

RESULTS = Path(__file__).parent / "results" / "nuclei.json"
SIDE, CROP, BATCH, TEST = 128, 64, 16, 100
SETTINGS = ["G.width=32", "D.width=32", "D.layers=2"]


def fluorescence(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The gray images on a dark background, and their instances.

    Returns uint8 [N, SIDE, SIDE] and int [N, SIDE, SIDE]."""
    pictures, instances = [], []
    for file in sorted((folder / "images").iterdir()):
        with Image.open(file) as opened:
            rgb = np.asarray(opened.convert("RGB"))
        if np.abs(np.diff(rgb.astype(int), axis=-1)).mean() > 1 or np.median(rgb) > 100:
            continue
        with Image.open(folder / "masks" / file.name) as opened:
            instances.append(
                np.asarray(opened.resize((SIDE, SIDE), Image.Resampling.NEAREST)).astype(int)
            )
        pictures.append(
            np.asarray(Image.fromarray(rgb).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
        )
    return np.stack(pictures), np.stack(instances)


def drawn(instances: np.ndarray) -> np.ndarray:
    """The input of pix2pix for instances [SIDE, SIDE].

    Nuclei are gray and their borders white, so that neighbors stay separate."""
    border = np.zeros(instances.shape, bool)
    for axis in (0, 1):
        border |= (instances != np.roll(instances, 1, axis)) | (
            instances != np.roll(instances, -1, axis)
        )
    return np.where(instances == 0, 0, np.where(border, 255, 128)).astype(np.uint8)


def new_masks(instances: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """New instances [count, SIDE, SIDE], composed of nuclei cut out of the given ones."""
    made = np.zeros((count, SIDE, SIDE), int)
    for canvas in made:
        source = instances[
            rng.integers(len(instances))
        ]  # images differ in scale: one image's nuclei stay together
        labels = np.unique(source)[1:]
        for number in range(1, len(labels) + 1):
            rows, columns = np.nonzero(source == rng.choice(labels))
            nucleus = np.zeros((np.ptp(rows) + 1, np.ptp(columns) + 1), bool)
            nucleus[rows - rows.min(), columns - columns.min()] = True
            nucleus = np.rot90(nucleus, int(rng.integers(4)))[:: rng.choice([-1, 1])]
            h, w = nucleus.shape
            for _ in range(20):  # tries to find room
                y, x = (
                    int(rng.integers(-h // 2, SIDE - h // 2)),
                    int(rng.integers(-w // 2, SIDE - w // 2)),
                )
                top, left, bottom, right = max(y, 0), max(x, 0), min(y + h, SIDE), min(x + w, SIDE)
                part = nucleus[top - y : bottom - y, left - x : right - x]
                place = canvas[top:bottom, left:right]
                if not place[part].any():
                    place[part] = number
                    break
    return made


def generator(
    pictures: np.ndarray, instances: np.ndarray, out: Path, seed: int, images: int
) -> Model:
    for side, arrays in (("A", [drawn(i) for i in instances]), ("B", list(pictures))):
        (out / "pairs" / side).mkdir(parents=True)
        for k, a in enumerate(arrays):
            Image.fromarray(a).save(out / "pairs" / side / f"{k:03d}.png")
    settings = [*SETTINGS, f"data.load={SIDE}", f"lr.start={images // 2}", f"lr.end={images}"]
    how: dict[str, Any] = {"size": CROP, "images": images, "seed": seed, "set": settings}
    train("restore", out / "pairs", out=out / "run", **how)
    return load(out / "run")


def as_pictures(model: Model, instances: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(np.stack([drawn(i) for i in instances]))[:, None].float() / 127.5 - 1
    return model.translate(x, output="numpy")[..., 0]


Source = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def crops(pictures: np.ndarray, instances: np.ndarray) -> Source:
    def source(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = [], []
        for i in rng.integers(len(pictures), size=n):
            top, left = rng.integers(0, SIDE - CROP + 1, 2).tolist()
            turns, mirror = int(rng.integers(4)), int(rng.choice([-1, 1]))
            part = np.s_[top : top + CROP, left : left + CROP]
            x.append(np.rot90(pictures[i][part], turns)[::mirror])
            y.append(np.rot90(instances[i][part] > 0, turns)[::mirror])
        return np.stack(x), np.stack(y)

    return source


def mixed(one: Source, other: Source) -> Source:
    def source(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        (a, b), (c, d) = one(rng, n // 2), other(rng, n - n // 2)
        return np.concatenate([a, c]), np.concatenate([b, d])

    return source


def segmenter(source: Source, steps: int, seed: int) -> Callable[[Tensor], Tensor]:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = UNetGenerator(channels_in=1, channels_out=1, width=16, depth=4, norm="instance").train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x, y = source(rng, BATCH)
        found = net(normal(torch.from_numpy(x)))
        loss = binary_cross_entropy(found / 2 + 0.5, torch.from_numpy(y)[:, None].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    @torch.no_grad()
    def segment(pictures: Tensor) -> Tensor:
        return torch.cat([net(normal(part)) for part in pictures.split(BATCH)])[:, 0] > 0

    return segment


def normal(pictures: Tensor) -> Tensor:
    """Normalize brightness and contrast, which differ from slide to slide.

    uint8 [N, H, W] -> [N, 1, H, W]"""
    x = pictures[:, None].float()
    return (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--labelled", type=int, default=8)
    parser.add_argument("--images", type=int, default=6_000)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--generated", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--out", type=Path, help="folder for runs and images (default: a temporary one)"
    )
    parser.add_argument("--record", type=Path, default=RESULTS)
    args = parser.parse_args()
    pictures, instances = fluorescence(args.shared / "data" / "nuclei")
    out, parts = args.out or Path(tempfile.mkdtemp()), []
    out.mkdir(parents=True, exist_ok=True)
    for seed in range(args.first, args.first + args.seeds):
        kept = out / f"seed{seed}.json"
        if kept.exists():
            parts.append(json.loads(kept.read_text()))
            continue
        start = time.process_time()
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(pictures))
        test, labelled = order[:TEST], order[TEST : TEST + args.labelled]
        real = pictures[labelled], instances[labelled]
        model = generator(*real, out / str(seed), seed, args.images)
        masks = new_masks(real[1], args.generated, rng)
        made = as_pictures(model, masks), masks
        sheet = [
            np.concatenate([drawn(m), p], 1) for m, p in zip(masks[:8], made[0][:8], strict=True)
        ]
        sheet += [
            np.concatenate([drawn(m), p], 1) for m, p in zip(real[1][:8], real[0][:8], strict=True)
        ]
        Image.fromarray(
            np.concatenate([np.concatenate(sheet[k : k + 4], 1) for k in range(0, 16, 4)])
        ).save(out / f"{seed}.png")
        sources = {"real": crops(*real), "generated": crops(*made)}
        sources["both"] = mixed(sources["real"], sources["generated"])
        found: dict[str, Any] = {"seed": seed}
        for name, source in sources.items():
            segmented = segmenter(source, args.steps, seed)(torch.from_numpy(pictures[test]))
            truth = torch.from_numpy(instances[test] > 0)
            found[name] = segmentation(confusion(truth.long(), segmented.long(), 2)).class_iou[1]
        found["gain"] = found["both"] - found["real"]
        found["cpu_minutes"] = round((time.process_time() - start) / 60, 2)
        parts.append(found)
        kept.write_text(json.dumps(found))
        print(json.dumps(found), flush=True)
    settings = [
        f"--{k}={getattr(args, k)}" for k in ("labelled", "images", "steps", "generated", "seeds")
    ]
    result = {
        "command": shlex.join(["python", "bench/nuclei.py", *settings]),
        "machine": machine(),
        "commit": commit(),
        "settings": {k: getattr(args, k) for k in ("labelled", "images", "steps", "generated")},
        "pictures": {"fluorescence": len(pictures), "test": TEST, "side": SIDE},
        "protocol": "intersection over union of nuclei and ground, all test pixels together",
        "seeds": parts,
    }
    args.record.parent.mkdir(exist_ok=True)
    args.record.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
