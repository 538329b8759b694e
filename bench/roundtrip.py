"""Send measurements through `ganvas translate` and count the values that change.

    python bench/roundtrip.py [--shared ../shared]

A network that returns its input stands in for a trained one, so that all that could
change a value is ganvas: reading, the range of values, float32, tiles, writing. The
images are PneumoniaMNIST's (chest X-rays, those of validation and test) and nuclei
(microscopy, and its maps of instances), in 16 bits: the 8 bits of the first two times
257, the maps as they are. Each set is one TIFF stack, which the command translates
whole and in tiles. Writes bench/results/roundtrip.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from origin import origin
from PIL import Image

from ganvas import recipes
from ganvas.apps.cli import app
from ganvas.core import Shape
from ganvas.inference import model_file
from ganvas.media.values import Span, Values
from ganvas.methods import SRResNet
from ganvas.nets.super_resolution import CompactNet

RESULTS = Path(__file__).parent / "results" / "roundtrip.json"
TILE = 64  # pixels
SIXTEEN = 257  # 255 -> 65535


def identity(folder: Path, channels: int, kind: str, window: Span = "type") -> Path:
    """A model of measurements whose network adds 0 to its input."""
    make = partial(SRResNet, G=partial(CompactNet, width=4, layers=1, scale=1))
    shape, run = Shape(channels, TILE, TILE), replace(recipes.find("compact")(1), method=make)
    method = make(shape)
    with torch.no_grad():
        for weight in method.G.body[-1].parameters():
            weight.zero_()
    values = Values.of(kind, window)._asdict()
    facts = {"recipe": "compact", "task": "pairs", "data": {"values": values}}
    model_file.save(folder, method, run, shape, facts)
    return folder


def changed(stack: np.ndarray, folder: Path, *options: object, window: Span = "type") -> int:
    """Values of a stack [N, H, W, C] that `ganvas translate` changes.

    options: of the command
    """
    model = identity(folder / "model", stack.shape[3], stack.dtype.name, window)
    source, out = folder / "stack.tif", folder / "out"
    pages = stack[..., 0] if stack.shape[3] == 1 else stack
    layout = None if stack.shape[3] == 1 else "contig"
    how: dict[str, Any] = {"photometric": "minisblack", "planarconfig": layout}
    tifffile.imwrite(source, pages, **how)
    command = ["translate", model, source, "--out", out, *options]
    app([str(part) for part in command], prog_name="ganvas", standalone_mode=False)
    found = tifffile.imread(out / "stack.tif", key=range(len(stack)))
    if found.dtype != stack.dtype or found.size != stack.size:
        return stack.size
    return int((found.reshape(stack.shape) != stack).sum())


def pneumonia(shared: Path) -> np.ndarray:
    """Chest X-rays, uint16 [N, 28, 28, 1]."""
    with np.load(shared / "data" / "pneumoniamnist.npz") as archive:
        parts = [archive[f"{part}_images"] for part in ("val", "test")]
    return sixteen(np.concatenate(parts)[..., None])


def nuclei(shared: Path, side: str) -> np.ndarray:
    """The images, uint16 [N, 256, 256, 3], or masks, uint16 [N, 256, 256, 1]."""
    files = sorted((shared / "data" / "nuclei" / side).iterdir())
    found = [np.asarray(Image.open(file)) for file in files]
    stack = np.stack([x for x in found if x.shape == found[0].shape])
    return sixteen(stack) if stack.ndim == 4 else stack[..., None].astype(np.uint16)


def sixteen(stack: np.ndarray) -> np.ndarray:
    """8 bits in the range of 16."""
    return stack.astype(np.uint16) * np.uint16(SIXTEEN)


SETS: dict[str, Callable[[Path], np.ndarray]] = {
    "pneumoniamnist": pneumonia,
    "nuclei": lambda shared: nuclei(shared, "images"),
    "nuclei_instances": lambda shared: nuclei(shared, "masks"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    shared = parser.parse_args().shared
    torch.set_num_threads(1)
    sets: dict[str, Any] = {}
    for name, opened in SETS.items():
        stack = opened(shared)
        sets[name] = {
            "images": len(stack),
            "values": stack.size,
            "type": stack.dtype.name,
            "different": len(np.unique(stack)),
        }
        for how, options in (("whole", []), ("tiles", ["--tile", TILE])):
            with tempfile.TemporaryDirectory() as place:
                sets[name][f"changed_{how}"] = changed(stack, Path(place), *options)
        print(json.dumps({name: sets[name]}), flush=True)
    total = {
        "images": sum(one["images"] for one in sets.values()),
        "values": sum(one["values"] for one in sets.values()),
        "changed": sum(one["changed_whole"] + one["changed_tiles"] for one in sets.values()),
    }
    record = {**origin(), "tile": TILE, "sets": sets, "total": total}
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
