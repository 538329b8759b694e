"""Add a trained run to the zoo: a small model folder in zoo/.

    python tools/add_to_zoo.py RUN NAME [--checkpoint best]

Weights are stored in half precision. A model of more than 3 MB is refused, as is a
thirteenth: a clone carries all of them.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

import ganvas
from ganvas.core.errors import UserError
from ganvas.inference import model_file, zoo

MAX_BYTES = 3 * 10**6
MAX_MODELS = 12


def add(run: Path, name: str, checkpoint: str) -> Path:
    """Write the model of a run to the zoo. Returns its folder.

    Raises `UserError` if the zoo is full, or the model is too large for it.
    """
    if name not in zoo.names() and len(zoo.names()) >= MAX_MODELS:
        raise UserError(f"the zoo already has {MAX_MODELS} models: remove one first")
    model = ganvas.load(run / "model" if checkpoint == "last" else run, checkpoint=checkpoint)
    tensors = model.method.state_dict()
    halves = [v.half() for v in tensors.values() if v.dtype == torch.float32]
    if not all(torch.isfinite(v).all() for v in halves):
        raise UserError("some weights are too large for half precision")
    folder = zoo.FOLDER / name
    model_file.write(folder, tensors, model.info, small=True)
    size = (folder / "model.safetensors").stat().st_size
    if size > MAX_BYTES:
        shutil.rmtree(folder)
        raise UserError(f"the model has {size:,} bytes; the zoo takes at most {MAX_BYTES:,}")
    return folder


def main() -> None:
    """Parse the command line and add the run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--checkpoint", default="last")
    args = parser.parse_args()
    try:
        print(add(args.run, args.name, args.checkpoint))
    except UserError as e:
        raise SystemExit(f"error: {e}") from None


if __name__ == "__main__":
    main()
