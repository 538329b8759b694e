"""Many files through a translating model: every image at its own size, broken ones named, nothing overwritten."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ganvas import bundle, provenance, ranks
from ganvas.data.decode import EXTENSIONS
from ganvas.errors import UserError
from ganvas.masks import Masked, Masks
from ganvas.progress import Progress

ABANDONED = 3600.0  # seconds: a file that nobody has written to for so long was left half written


def translate_files(
    run: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    to: str | None = None,
    checkpoint: str = "last",
    device: str = "cpu",
    precision: str = "fp32",
    backend: str = "torch",
    tile: int | None = None,
    seed: int = 0,
    masks: Masks | None = None,
) -> tuple[int, list[str]]:
    """Translate images and folders of images into `out`, as PNG under their own names. Returns (how many, "file: reason" of
    those that could not be).

    Files already in `out` are kept and skipped, and every file is whole as soon as it is there: an interrupted call goes on
    where it was. Under torchrun every process takes its share of the images. `tile`, `seed`: see
    `bundle.Model.translate`. `masks`: only what they mark is put back into the pictures, which stay as they are elsewhere."""
    files = list(_files(inputs))
    if not files:
        raise UserError(f"there are no images in {', '.join(map(str, inputs))}")
    names: dict[str, Path] = {}
    for file, name in files:
        if name in names:
            raise UserError(f"{names[name]} and {file} would both become {out / name}: translate them separately")
        names[name] = file
    rank, world = ranks.share()
    if device == "cuda" and world > 1:
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    model = bundle.load(run, checkpoint=checkpoint, device=device, precision=precision, backend=backend)
    out.mkdir(parents=True, exist_ok=True)
    for left in list(out.rglob(".*.tmp")):
        if time.time() - left.stat().st_mtime > ABANDONED:
            left.unlink(missing_ok=True)
    made, there, skipped = 0, 0, []
    share, how = files[rank::world], {"to": to, "tile": tile, "seed": seed}
    with Progress(len(share), quiet=rank > 0 or len(share) < 2, what="translating") as bar:
        for i, (file, name) in enumerate(share):
            bar.update(i)
            if (out / name).exists():
                there += 1
                continue
            try:
                _translate(model, file, out / name, how, masks.of(file, name) if masks else None)
                made += 1
            except UserError as e:
                if isinstance(e, bundle.WrongUse) or len(files) == 1:
                    raise
                skipped.append(str(e) if str(file) in str(e) else f"{file}: {e}")
        bar.update(len(share))
    if there:
        skipped.append(f"{there} that {'is' if there == 1 else 'are'} in {out} already")
    return made, skipped


def _translate(model: bundle.Model, file: Path, target: Path, how: dict[str, Any], masked: Masked | None) -> None:
    facts: dict[str, Any] = {"source": file.name, "seed": how["seed"], **model.facts}
    if masked:
        made = masked.put_back(model.translate(file, **how))
        provenance.save(made, target, **facts, made=f"{masked.share:.1%} of the picture, by a mask")
        return
    if how["tile"] is None and model.whole(file):
        provenance.save(model.translate(file, **how), target, **facts)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    made = model.bands(file, **how, folder=target.parent)
    provenance.save_rows(made.rows, target, (made.width, made.height), **facts)


def _files(inputs: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """(file, its name under the output folder)."""
    for path in inputs:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.suffix.lower() in EXTENSIONS and file.is_file():
                    yield file, str(file.relative_to(path).with_suffix(".png"))
        elif path.exists():
            yield path, f"{path.stem}.png"
        else:
            raise UserError(f"there is no file {path}")
