"""A sheet of crops of photographs and their random degradations."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ganvas import recipes
from ganvas.core import config, rng
from ganvas.core.errors import UserError
from ganvas.core.files import require_outside
from ganvas.data import super_resolution
from ganvas.media import encode, grid

CROPS, VERSIONS = 6, 3


def degradation_sheet(
    source: str | Path,
    out: str | Path,
    *,
    size: int = 128,
    scale: int = 4,
    set: config.Assignments = (),
    seed: int = 0,
) -> Path:
    """Write a sheet: a row of clean crops, and below it rows of degraded ones.

    source: photographs, as for training
    out: the sheet, an image file
    size: side of the crops in pixels, a multiple of `scale`
    set: assignments, as for training ("data.degrade.second.jpeg=[60,95]",
        "data.degrade=[...]"), also without "data.degrade."

    Returns `out`. Raises `UserError` for images or settings that do not fit, and for a
    sheet among the images.
    """
    require_outside(Path(out), str(source))
    run = recipes.find("realesrgan")(1)
    for assignment in config.assignments(set):
        own = assignment.startswith("data.degrade")
        run = config.override(run, assignment if own else f"data.degrade.{assignment}")
    assert isinstance(run.data, partial)
    degrade = run.data.keywords["degrade"]
    if degrade is None:
        raise UserError("data.degrade is null: leave it out, or give steps")
    clean = super_resolution(source, size=size, scale=scale, flip=False).draw(0, CROPS, seed=seed).y
    rows = [clean]
    for version in range(VERSIONS):
        seeds = np.array([rng.fold_in(seed, version, i) for i in range(len(clean))], np.uint64)
        rows.append(F.interpolate(degrade(clean, seeds, scale), scale_factor=scale))
    sheet = grid.grid(torch.cat(rows), columns=len(clean))
    return encode.save(sheet, out, composite=True, kind="degraded crops of photographs", seed=seed)
