"""`ganvas data mosaic`: what makes a classifier fire, hidden behind blocks. Pairs to train on, or an automatic redaction.

OUT/train/A       pictures with the mosaic, as PNG under the names of the photographs
OUT/train/B       the same without
OUT/train/masks   white where the mosaic is
OUT/test/…        the same of a share of the photographs, chosen by their names
OUT/mosaic.json   what was asked for; a call that asks for the same goes on where the last one stopped
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from ganvas.core import rng
from ganvas.core.errors import UserError
from ganvas.core.files import write
from ganvas.data.open_source import open_source
from ganvas.data.trees import Folder, Zip
from ganvas.media import mosaic, provenance
from ganvas.media.samples import Broken, as_array, as_image
from ganvas.metrics.classifiers import Classifier, classifier

SETTINGS = "mosaic.json"


@dataclass
class BuildReport:
    """`made`: pictures written now; `kept`: there already; `skipped`: "name: reason" of those that could not be read or in
    which the class was not found."""

    made: int = 0
    kept: int = 0
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Redacted:
    """A picture and its mosaic, uint8 [H, W, C]; `mask` bool [H, W]; `block` in pixels; `probability` of the class."""

    original: np.ndarray
    mosaic: np.ndarray
    mask: np.ndarray
    block: int
    probability: float


def make(
    photos: str | Path,
    out: str | Path,
    *,
    network: str,
    wanted: str,
    weights: str | Path | None = None,
    blocks: Sequence[int] = (16,),
    size: int | None = None,
    threshold: float = 0.5,
    least: float = 0.1,
    test: float = 0.1,
    redact: bool = False,
    said: Callable[[int, int], None] = lambda done, total: None,
) -> BuildReport:
    """Find what makes `network` (a name or folder, see `metrics.classifiers`) see the class `wanted` (name or number) in every
    picture of a folder or zip, and hide it behind a mosaic.

    blocks: sides in pixels, of which each picture gets one by its name
    size: squares of that side around what is hidden, for training; None: whole pictures
    threshold: hidden is where the class's map is at least this share of its maximum: in the one
        region around the maximum, or with `redact` in every region
    least: pictures in which the class is less probable are skipped and named
    test: the share of the pictures, by their names, that is kept out of training
    redact: write nothing but the pictures with the mosaic
    said: is told how many of how many are done

    Raises `UserError` for settings that cannot be, an unknown class, pictures that would have one name,
    and a folder with other files in it."""
    out = Path(out)
    _check(blocks, size, threshold, least, test)
    tree = _tree(photos, out)
    names: dict[str, str] = {}
    for entry in tree.entries:
        name = str(Path(entry.name).with_suffix(".png"))
        if name in names:
            raise UserError(f"{names[name]} and {entry.name} would both become {name}: rename one of them")
        names[name] = entry.name
    if not names:
        raise UserError(f"there are no images in {photos}")
    found = classifier(network, weights)
    number = found.number(wanted)
    label = found.labels[number] if found.labels else str(number)
    settings: dict[str, Any] = {"classifier": found.name, "weights": found.hash, "class": number, "label": label}
    settings |= {"blocks": sorted(set(blocks)), "size": size, "threshold": threshold, "least": least}
    settings |= {"redact": True} if redact else {"test": test}
    _create_out_dir(out, settings)
    report = BuildReport()
    for done, (name, entry) in enumerate(names.items()):
        said(done, len(names))
        files = _files(out, name, test, redact)
        missing = {kind: file for kind, file in files.items() if not file.exists()}
        if not missing:
            report.kept += 1
            continue
        try:
            picture = tree.load(entry)
            made = hide(picture, found, number, settings["blocks"], name, size, threshold, least, everywhere=redact)
        except Broken as e:
            report.skipped.append(f"{entry}: {e}")
            continue
        for kind, file in missing.items():
            pixels = {"A": made.mosaic, "B": made.original, "masks": made.mask.astype(np.uint8)[..., None] * 255}[kind]
            about = f"pixelated in blocks of {made.block} where {found.name} found {label}" if kind == "A" else ""
            write(file, _png(pixels, about))
        report.made += 1
    said(len(names), len(names))
    return report


def hide(
    picture: Image.Image,
    found: Classifier,
    number: int,
    blocks: Sequence[int],
    name: str,
    size: int | None,
    threshold: float,
    least: float,
    everywhere: bool = False,
) -> Redacted:
    """The mosaic of one picture in mode L, RGB or RGBA; see `make`. `everywhere`: hide all regions that reach the threshold,
    not the strongest alone. Raises `Broken` where the class is not in it, and where it
    is too small."""
    if size and min(picture.size) < size:
        raise Broken(f"is {picture.width}x{picture.height}: smaller than {size} pixels")
    probability, heat = found.find(_tensor(picture), number)
    if probability < least:
        raise Broken(f"{found.name} does not find the class in it (probability {probability:.3f}, less than {least:g})")
    if not float(heat.max()) > 0:
        raise Broken(f"{found.name} finds the class in it, and no place that speaks for it")
    if size:  # the shorter side becomes `size`; blocks are those of the reduced picture
        scale = size / min(picture.size)
        width, height = (max(round(side * scale), size) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    pixels = as_array(picture)
    region = (mosaic.regions if everywhere else mosaic.strongest)(heat, pixels.shape[:2], threshold)
    if size:
        top, left = (_start(np.flatnonzero(region.any(1 - axis)), size, region.shape[axis]) for axis in (0, 1))
        part = np.s_[top : top + size, left : left + size]
        pixels, region = pixels[part], region[part]
    block = blocks[rng.fold_in(name, "block") % len(blocks)]
    mask = mosaic.whole_blocks(region, block)
    return Redacted(pixels, mosaic.pixelate(pixels, mask, block), mask, block, probability)


def _start(marked: np.ndarray, size: int, side: int) -> int:
    """Where a stretch of `size` begins that has the marked places in its middle, as far as there is room."""
    return int(np.clip((marked[0] + marked[-1] + 1 - size) // 2, 0, side - size))


def _tensor(picture: Image.Image) -> Tensor:
    """[1, C, H, W] in [-1, 1]."""
    return torch.from_numpy(as_array(picture).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def _files(out: Path, name: str, test: float, redact: bool) -> dict[str, Path]:
    """What is written of a picture. Which part it belongs to follows from its name, so that it never changes sides."""
    if redact:
        return {"A": out / name}
    part = "test" if rng.fold_in(name, "part") % 10_000 < test * 10_000 else "train"
    return {kind: out / part / kind / name for kind in ("masks", "B", "A")}


def _png(pixels: np.ndarray, about: str) -> bytes:
    """Nothing of the photograph's own metadata is taken over: its preview would show what is hidden."""
    info, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    if about:
        info.add_text("Software", provenance.SOFTWARE)
        info.add_text("Description", about)
    as_image(pixels).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _tree(photos: str | Path, out: Path) -> Folder | Zip:
    _, tree = open_source(photos)
    if not isinstance(tree, Folder | Zip):
        raise UserError(f"{photos} is an array of images: mosaics are made of a folder or a zip of pictures")
    if isinstance(tree, Folder) and out.resolve().is_relative_to(Path(os.path.expanduser(photos)).resolve()):
        raise UserError(
            f"{out} lies in {photos}, so that its pictures would be taken for photographs: choose another --out"
        )
    return tree


def _create_out_dir(out: Path, settings: dict[str, Any]) -> None:
    """The folder: new, empty, or of an earlier call that asked for the same."""
    record = out / SETTINGS
    if record.is_file():
        try:
            before = json.loads(record.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        unlike = [k for k in dict.fromkeys([*before, *settings]) if before.get(k) != settings.get(k)]
        if unlike:
            was = ", ".join(f"{k} {before.get(k)} (now {settings.get(k)})" for k in unlike)
            raise UserError(f"{out} was made with {was}: ask for the same to go on there, or choose another --out")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; nothing was written. Choose another --out")
    write(record, json.dumps(settings, indent=1).encode())


def _check(blocks: Sequence[int], size: int | None, threshold: float, least: float, test: float) -> None:
    if not blocks or min(blocks) < 2:
        raise UserError(f"a mosaic has blocks of 2 pixels or more; got {', '.join(map(str, blocks)) or 'none'}")
    if size is not None and size < max(blocks):
        raise UserError(f"pictures of {size} pixels have no room for blocks of {max(blocks)}")
    if not 0 < threshold <= 1:
        raise UserError(f"--threshold is a share of the map's maximum, above 0 and at most 1; got {threshold:g}")
    if not 0 <= least <= 1:
        raise UserError(f"--least is a probability from 0 to 1; got {least:g}")
    if not 0 <= test < 1:
        raise UserError(f"--test is a share from 0 to less than 1; got {test:g}")
