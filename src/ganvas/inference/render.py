"""Render results of a model to files: latent walks, style mixing, projections."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save

from ganvas.core.errors import CapabilityError, UserError
from ganvas.core.files import write
from ganvas.inference.latent import naming
from ganvas.inference.latent.interpolation import Curve
from ganvas.inference.latent.projection import Space
from ganvas.inference.model import Model
from ganvas.media import encode, grid, video
from ganvas.metrics.lpips import lpips

MIN_CAPTIONED_SIDE = 96  # pixels of the shorter side that a caption needs
VIDEOS = (".mp4", ".gif")
STRIP_FRAMES = 8  # images from each sample to the next on a strip


def walk(
    model: Model,
    out: Path,
    *,
    through: str = "6",
    seed: int = 0,
    frames: int | None = None,
    fps: int = 30,
    loop: bool = True,
    curve: Curve | None = None,
    label: str | None = None,
    truncation: float | None = None,
    all_classes: bool = False,
) -> int:
    """Write a latent walk as a video (.gif, .mp4) or as a strip (.png, ...).

    A strip has one row per leg of the walk.

    through: how many of `seed`'s samples, or which (`latent.naming.sample_names`)
    all_classes: every frame shows all classes of one latent, in two rows

    Returns the number of frames.
    """
    names: Any = naming.count_or_names(through)
    is_video = out.suffix.lower() in VIDEOS
    if not is_video and out.suffix.lower() not in encode.WRITERS:
        raise UserError(
            f"a walk is written as a video ({' or '.join(VIDEOS)}), or as a strip of images "
            f"({', '.join(encode.WRITERS)}); got {out.name!r}"
        )
    frames = frames or (fps if is_video else STRIP_FRAMES)
    options: dict[str, Any] = {
        "seed": seed,
        "frames": frames,
        "loop": loop,
        "curve": curve,
        "truncation": truncation,
    }
    if all_classes:
        classes = model.method.classes
        if label is not None or not classes:
            raise CapabilityError(
                "all_classes needs a model that was trained with labels, and excludes a label"
            )
        walks = [model.walk(names, label=i, **options) for i in range(classes)]
        images = [
            grid.contact_sheet(frame, -(-classes // 2), pad=0) for frame in zip(*walks, strict=True)
        ]
    else:
        images = model.walk(
            names, label=None if label is None else model.class_number(label), **options
        )
    facts = {**model.facts, "through": through, "seed": seed}
    if is_video:
        video.save(images, out, fps, **facts)
    else:
        encode.save(grid.contact_sheet(images, frames), out, **facts)
    return len(images)


def mix(
    model: Model,
    out: Path,
    *,
    rows: str,
    columns: str,
    layers: str = "coarse",
    label: str | None = None,
    truncation: float | None = None,
) -> int:
    """Write a style-mixing sheet. Returns the number of mixed images."""
    left, top = naming.sample_names(rows), naming.sample_names(columns)
    number = None if label is None else model.class_number(label)
    sheet = model.mix(left, top, layers, label=number, truncation=truncation)
    encode.save(
        grid.contact_sheet(sheet, len(top) + 1),
        out,
        **model.facts,
        rows=rows,
        columns=columns,
        layers=layers,
    )
    return len(left) * len(top)


def project(
    model: Model,
    images: Sequence[Path],
    out: Path,
    *,
    space: Space | None = None,
    steps: int = 500,
    net: str | None = None,
    weights: Path | None = None,
    seed: int = 0,
) -> list[dict[str, str | float]]:
    """Project images to latent space and write the results.

    For each image NAME.png (original, reconstruction) and NAME.safetensors (`latent`;
    `y` with labels); for all of them projections.json.

    net: LPIPS's backbone, for a loss beside that of pixels, which is reported too
    weights: the folder of the backbone's weights

    Returns the rows of the JSON file.
    """
    names = [p.stem for p in images]
    if len(set(names)) < len(names):
        raise UserError(
            "two of these images have the same name, and one result would overwrite the other: "
            "project them separately"
        )
    distance = lpips(net or "squeeze", weights) if net or weights else None
    records: list[dict[str, str | float]] = []
    for image, name in zip(images, names, strict=True):
        x = model.fitted(image)
        projection = model.project(x, space=space, steps=steps, distance=distance, seed=seed)
        record: dict[str, Any] = {
            "picture": image.name,
            "space": projection.space,
            "psnr": round(float(projection.psnr), 3),
        }
        if projection.distance is not None and distance is not None:
            record[distance.name] = round(float(projection.distance), 4)
        if projection.y is not None:
            record["label"] = int(projection.y)
        times = -(-MIN_CAPTIONED_SIDE // min(x.shape[-2:]))
        both = (
            v.cpu().repeat_interleave(times, -1).repeat_interleave(times, -2)
            for v in (x, projection.images)
        )
        pair = grid.side_by_side(*both, captions=["original", "projection"])
        facts = {**model.facts, "seed": seed, **record}
        encode.save(pair, out / f"{name}.png", composite=True, **facts)
        tensors = {"latent": projection.latent.cpu().contiguous()} | (
            {} if projection.y is None else {"y": projection.y.cpu()}
        )
        write(out / f"{name}.safetensors", save(tensors, {k: str(v) for k, v in record.items()}))
        records.append(record)
    write(out / "projections.json", json.dumps(records, indent=1))
    return records
