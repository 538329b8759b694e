"""Measure the invisible mark: how often it is found, falsely found, and what it harms.

    python bench/invisible_mark.py --images FOLDER [FOLDER ...] --weights FOLDER

FOLDER: photographs and other real images; the central 256 x 256 pixels of each that is
large enough are marked, since that is the least that the mark is for. Pairs that lie
side by side (facades) give their left half.

Found: the share of marked images whose score exceeds the threshold after each of
`CHANGES`. Falsely found: the scores of the unmarked images with many other keys, each as
likely as that of ganvas; a Gumbel distribution, which the maxima of many correlations
approach, is fitted and gives the probability of exceeding the threshold. Harm: LPIPS
over SqueezeNet's weights of --weights, and PSNR. Writes bench/results/invisible_mark.json.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from scipy import stats

from ganvas.core.environment import commit, machine
from ganvas.media import invisible_mark
from ganvas.media.decode import EXTENSIONS
from ganvas.metrics.lpips import lpips
from ganvas.metrics.psnr_ssim import psnr

RESULTS = Path(__file__).parent / "results" / "invisible_mark.json"
SIDE = invisible_mark.SIDE
KEYS = 200  # per image, for false positives
MOST = 120  # images of a folder


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def webp(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=75)
    return Image.open(buffer).convert("RGB")


def scaled(image: Image.Image, factor: float) -> Image.Image:
    size = (round(image.width * factor), round(image.height * factor))
    return image.resize(size, Image.Resampling.BICUBIC)


def cropped(image: Image.Image, share: float, draw: np.random.Generator) -> Image.Image:
    width, height = round(image.width * share), round(image.height * share)
    left = int(draw.integers(0, image.width - width + 1))
    top = int(draw.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


Change = Callable[[Image.Image, np.random.Generator], Image.Image]
# Those that the mark is to survive, and others.
DEMANDED: dict[str, Change] = {
    "resave as PNG": lambda image, draw: image,
    "JPEG 75": lambda image, draw: jpeg(image, 75),
    "half of each side": lambda image, draw: scaled(image, 0.5),
    "three quarters of each side": lambda image, draw: cropped(image, 0.75, draw),
}
FURTHER: dict[str, Change] = {
    "JPEG 50": lambda image, draw: jpeg(image, 50),
    "JPEG 30": lambda image, draw: jpeg(image, 30),
    "WebP 75": lambda image, draw: webp(image),
    "half, then JPEG 75": lambda image, draw: jpeg(scaled(image, 0.5), 75),
    "three quarters, half, JPEG 75": lambda image, draw: jpeg(
        scaled(cropped(image, 0.75, draw), 0.5), 75
    ),
    "crop to half of each side": lambda image, draw: cropped(image, 0.5, draw),
    "gray": lambda image, draw: image.convert("L").convert("RGB"),
    "blur of 1 px": lambda image, draw: image.filter(ImageFilter.GaussianBlur(1)),
    "scale of 0.75": lambda image, draw: scaled(image, 0.75),
    "scale of 2": lambda image, draw: scaled(image, 2),
    "rotation by 2 degrees": lambda image, draw: image.rotate(2, Image.Resampling.BICUBIC),
    "mirrored": lambda image, draw: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def opened(folder: Path) -> list[np.ndarray]:
    """The central squares of a folder's images, uint8 [SIDE, SIDE, 3]."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in EXTENSIONS or len(found) == MOST:
            continue
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        if image.width == 2 * image.height:
            image = image.crop((0, 0, image.height, image.height))
        if min(image.size) >= SIDE:
            left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
            found.append(np.asarray(image.crop((left, top, left + SIDE, top + SIDE))))
    return found


def embedded(image: np.ndarray) -> np.ndarray:
    strips = range(0, SIDE, invisible_mark.PERIOD)
    return np.concatenate(
        [invisible_mark.embed(image[i : i + invisible_mark.PERIOD]) for i in strips]
    )


def tensor(image: np.ndarray) -> torch.Tensor:
    """uint8 [H, W, 3] -> [1, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 127.5 - 1


def decibels_of(image: np.ndarray, marked: np.ndarray) -> float:
    """The peak signal-to-noise ratio of a marked image, both uint8 [H, W, 3]."""
    return psnr((tensor(image) + 1) / 2, (tensor(marked) + 1) / 2, protocol="rgb").item()


def score(image: Image.Image) -> float:
    return invisible_mark.score(np.asarray(image.convert("L")))


def false_positives(images: list[np.ndarray]) -> dict[str, float]:
    """Scores of unmarked images with other keys, and the fitted distribution."""
    scores, key = [], 1
    for image in images:
        spectra = invisible_mark.spectra(np.asarray(Image.fromarray(image).convert("L")))
        for _ in range(KEYS):
            scores.append(max(float(invisible_mark.correlations(s, key).max()) for s in spectra))
            key = key % 1000 + 1
    place, scale = stats.gumbel_r.fit(scores)
    # The upper tail alone: the rate beyond the 99th percentile, which is exponential.
    start = float(np.quantile(scores, 0.99))
    beyond = float(np.mean([s - start for s in scores if s > start]))
    shifts = invisible_mark.PERIOD**2 * len(invisible_mark.SCALES)
    return {
        "scores": len(scores),
        "highest": max(scores),
        "gumbel": float(stats.gumbel_r.sf(invisible_mark.THRESHOLD, place, scale)),
        "tail": 0.01 * float(np.exp(-(invisible_mark.THRESHOLD - start) / beyond)),
        "gaussian_bound": float(stats.norm.sf(invisible_mark.THRESHOLD)) * shifts,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    options = parser.parse_args()
    distance = lpips("squeeze-caffe", options.weights)
    draw, sets, everything = np.random.default_rng(0), {}, []

    for folder in options.images:
        images = opened(folder)
        everything += images
        scores: dict[str, list[float]] = {name: [] for name in DEMANDED | FURTHER}
        harm, decibels = [], []
        for image in images:
            marked = embedded(image)
            with torch.inference_mode():
                harm.append(distance(tensor(image), tensor(marked)).item())
            decibels.append(decibels_of(image, marked))
            for name, change in (DEMANDED | FURTHER).items():
                scores[name].append(score(change(Image.fromarray(marked), draw)))
        sets[folder.name] = {
            "images": len(images),
            "found": {
                name: float(np.mean(np.array(values) >= invisible_mark.THRESHOLD))
                for name, values in scores.items()
            },
            "lowest_score": {name: min(values) for name, values in scores.items()},
            "unmarked_highest": max(score(Image.fromarray(image)) for image in images),
            "lpips": {"mean": float(np.mean(harm)), "highest": max(harm)},
            "psnr": float(np.mean(decibels)),
        }
        print(folder.name, json.dumps(sets[folder.name]), flush=True)
    total = sum(one["images"] for one in sets.values())
    record = {
        "command": "python bench/invisible_mark.py",
        "commit": commit(),
        "machine": machine(),
        "side": SIDE,
        "threshold": invisible_mark.THRESHOLD,
        "images": total,
        "found": {
            name: sum(one["found"][name] * one["images"] for one in sets.values()) / total
            for name in DEMANDED | FURTHER
        },
        "false_positives": false_positives(everything),
        "lpips": {
            "backbone": distance.name,
            "mean": sum(one["lpips"]["mean"] * one["images"] for one in sets.values()) / total,
            "highest": max(one["lpips"]["highest"] for one in sets.values()),
        },
        "psnr": sum(one["psnr"] * one["images"] for one in sets.values()) / total,
        "sets": sets,
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({k: v for k, v in record.items() if k != "sets"}))


if __name__ == "__main__":
    main()
