"""What was trained, looked at and used: walks, mixed styles, sweeps, projections, neighbours. A picture or a film each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save

from ganvas.core.errors import UserError, WrongUse
from ganvas.core.files import write
from ganvas.inference.latent import naming
from ganvas.inference.latent.interpolation import Curve
from ganvas.inference.latent.projection import Space
from ganvas.inference.model import Model
from ganvas.media import encode, grid, video
from ganvas.metrics.lpips import lpips

CAPTIONED = 96  # pixels of the shorter side, at least, for a caption to fit above a picture
STRIP = 8  # pictures from each to the next on a strip


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
    """A walk as a film (.gif, .mp4) or as a strip (.png …), a leg a row. `through`: how many of `seed`'s pictures, or which
    (`inspect.latents.pictures`). `all_classes`: every frame shows all classes of the same latent, in two rows. Returns how
    many frames there are."""
    names: Any = naming.first_or_named(through)
    film = out.suffix.lower() in (".gif", ".mp4")
    frames = frames or (fps if film else STRIP)
    how: dict[str, Any] = {"seed": seed, "frames": frames, "loop": loop, "curve": curve, "truncation": truncation}
    if all_classes:
        classes = model.method.classes
        if label is not None or not classes:
            raise WrongUse(
                "a walk through all classes needs a model that was trained with labels, and no label besides"
            )
        walks = [model.walk(names, label=i, **how) for i in range(classes)]
        made = [grid.contact_sheet(frame, -(-classes // 2), pad=0) for frame in zip(*walks, strict=True)]
    else:
        made = model.walk(names, label=None if label is None else model.class_number(label), **how)
    facts = {**model.facts, "through": through, "seed": seed}
    if film:
        video.save(made, out, fps, **facts)
    else:
        encode.save(grid.contact_sheet(made, frames), out, **facts)
    return len(made)


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
    """A sheet of mixed styles. Returns how many mixed pictures there are."""
    left, top = naming.pictures(rows), naming.pictures(columns)
    number = None if label is None else model.class_number(label)
    sheet = model.mix(left, top, layers, label=number, truncation=truncation)
    encode.save(grid.contact_sheet(sheet, len(top) + 1), out, **model.facts, rows=rows, columns=columns, layers=layers)
    return len(left) * len(top)


def project(
    model: Model,
    pictures: Sequence[Path],
    out: Path,
    *,
    space: Space | None = None,
    steps: int = 500,
    net: str | None = None,
    weights: Path | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Each picture back into latent space: NAME.png (original | reconstruction), NAME.safetensors (`latent`; `y` where there
    are labels) and, for all, projections.json. `net`: LPIPS's backbone, descended and reported beside the pixels; `weights`:
    the folder of its weights. Returns the rows of the JSON."""
    names = [p.stem for p in pictures]
    if len(set(names)) < len(names):
        raise UserError(
            "two of these pictures have one name, and would be written over one another: project them apart"
        )
    distance = lpips(net or "squeeze", weights) if net or weights else None
    rows = []
    for picture, name in zip(pictures, names, strict=True):
        x = model.fitted(picture)
        found = model.project(x, space=space, steps=steps, distance=distance, seed=seed)
        row = {"picture": picture.name, "space": found.space, "psnr": round(float(found.psnr), 3)}
        if found.distance is not None and distance is not None:
            row[distance.name] = round(float(found.distance), 4)
        if found.y is not None:
            row["label"] = int(found.y)
        times = -(-CAPTIONED // min(x.shape[-2:]))
        both = (v.cpu().repeat_interleave(times, -1).repeat_interleave(times, -2) for v in (x, found.images))
        pair = grid.side_by_side(*both, captions=["original", "projection"])
        encode.save(pair, out / f"{name}.png", **model.facts, **row)
        kept = {"latent": found.latent.cpu().contiguous()} | ({} if found.y is None else {"y": found.y.cpu()})
        write(out / f"{name}.safetensors", save(kept, {k: str(v) for k, v in row.items()}))
        rows.append(row)
    write(out / "projections.json", json.dumps(rows, indent=1).encode())
    return rows
