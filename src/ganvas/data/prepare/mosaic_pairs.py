"""Hide the regions that a classifier responds to behind a mosaic.

The command is `ganvas data mosaic`.

The result is pairs to train on, or an automatic redaction.

OUT/train/A       images with the mosaic, as PNG with the names of the photographs
OUT/train/B       the same images without it
OUT/train/masks   white in the region of the mosaic
OUT/test/…        the same for a fraction of the photographs, chosen by their names
OUT/mosaic.json   the settings; a call with the same settings continues an earlier one
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
from ganvas.core.errors import DataError, UserError, printable
from ganvas.core.files import require_new_folder, write
from ganvas.core.json_files import read_json
from ganvas.data.open_source import open_source
from ganvas.data.trees import Folder, Zip
from ganvas.media import mosaic, provenance
from ganvas.media.samples import Broken, as_array, as_image
from ganvas.metrics.classifiers import Classifier, classifier

SETTINGS = "mosaic.json"


@dataclass
class BuildReport:
    """Numbers of images of a build.

    made: images written by this call
    kept: images of earlier calls
    skipped: "name: reason" of images that are unreadable or do not show the class
    """

    made: int = 0
    kept: int = 0
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Redacted:
    """An image and its mosaic.

    original, mosaic: uint8 [H, W, C]
    mask: region of the mosaic, bool [H, W]
    block: side of the blocks in pixels
    probability: of the class in the original
    """

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
    """Hide the evidence of a class behind a mosaic, in every image of a folder or zip.

    photos: folder or zip file
    out: new folder, or the folder of an earlier call with the same settings
    network: classifier, a name or folder (see `metrics.classifiers`)
    wanted: name or number of the class
    weights: file of the network's weights, or None
    blocks: sides in pixels; the name of an image decides which one it gets
    size: side in pixels of squares around the mosaic, for training; None: whole images
    threshold: the mosaic covers the places at which the class's map reaches this
        fraction of its maximum: in the one region around the maximum, or with `redact`
        in all
    least: images in which the class has a lower probability are skipped and named
    test: fraction of the images, chosen by their names, that is kept for tests
    redact: write only the images with the mosaic
    said: receives (done, total) before each image and at the end

    Raises `UserError` for invalid settings, an unknown class, images whose results
    would have the same name, and a folder with other files in it.
    """
    out = Path(out)
    _check(blocks, size, threshold, least, test)
    tree = _tree(photos, out)
    names: dict[str, str] = {}
    for entry in tree.entries:
        name = str(Path(entry.name).with_suffix(".png"))
        if name in names:
            raise UserError(
                f"{names[name]} and {entry.name} would both become {name}: rename one of them"
            )
        names[name] = entry.name
    if not names:
        raise UserError(f"there are no images in {photos}")
    detector = classifier(network, weights)
    number = detector.number(wanted)
    label = detector.labels[number] if detector.labels else str(number)
    settings: dict[str, Any] = {
        "classifier": detector.name,
        "weights": detector.hash,
        "class": number,
        "label": label,
    }
    settings |= {
        "blocks": sorted(set(blocks)),
        "size": size,
        "threshold": threshold,
        "least": least,
    }
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
            image = tree.load(entry)
            redacted = hide(
                image,
                detector,
                number,
                settings["blocks"],
                name,
                size,
                threshold,
                least,
                everywhere=redact,
            )
        except Broken as e:
            report.skipped.append(f"{entry}: {e}")
            continue
        for kind, file in missing.items():
            pixels = {
                "A": redacted.mosaic,
                "B": redacted.original,
                "masks": redacted.mask.astype(np.uint8)[..., None] * 255,
            }[kind]
            about = (
                f"pixelated in blocks of {redacted.block} where {detector.name} found {label}"
                if kind == "A"
                else ""
            )
            write(file, _png(pixels, about))
        report.made += 1
    said(len(names), len(names))
    return report


def hide(
    image: Image.Image,
    network: Classifier,
    number: int,
    blocks: Sequence[int],
    name: str,
    size: int | None,
    threshold: float,
    least: float,
    everywhere: bool = False,
) -> Redacted:
    """Hide the evidence of a class in one image of mode L, RGB or RGBA; see `make`.

    everywhere: hide all regions that reach the threshold, not only the strongest

    Raises `Broken` for an image that does not show the class or is too small.
    """
    if size and min(image.size) < size:
        raise Broken(f"is {image.width}x{image.height}: smaller than {size} pixels")
    probability, heat = network.find(_tensor(image), number)
    if probability < least:
        raise Broken(
            f"{network.name} does not find the class in it (probability {probability:.3f}, less "
            f"than {least:g})"
        )
    if not float(heat.max()) > 0:
        raise Broken(f"{network.name} finds the class in it, but no place that is evidence for it")
    if size:  # the shorter side becomes `size`; blocks are those of the reduced image
        scale = size / min(image.size)
        width, height = (max(round(side * scale), size) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    pixels = as_array(image)
    region = (mosaic.regions if everywhere else mosaic.strongest)(heat, pixels.shape[:2], threshold)
    if size:
        top, left = (
            _start(np.flatnonzero(region.any(1 - axis)), size, region.shape[axis])
            for axis in (0, 1)
        )
        part = np.s_[top : top + size, left : left + size]
        pixels, region = pixels[part], region[part]
    block = blocks[rng.fold_in(name, "block") % len(blocks)]
    mask = mosaic.whole_blocks(region, block)
    return Redacted(pixels, mosaic.pixelate(pixels, mask, block), mask, block, probability)


def _start(marked: np.ndarray, size: int, side: int) -> int:
    """Start of a part of length `size` around the marked places, if there is room.

    marked: positions, ascending
    side: length of the whole
    """
    return int(np.clip((marked[0] + marked[-1] + 1 - size) // 2, 0, side - size))


def _tensor(image: Image.Image) -> Tensor:
    """An image as a tensor [1, C, H, W] in [-1, 1]."""
    return torch.from_numpy(as_array(image).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def _files(out: Path, name: str, test: float, redact: bool) -> dict[str, Path]:
    """Kind -> output file of an image. The image's name decides its part."""
    if redact:
        return {"A": out / name}
    part = "test" if rng.fold_in(name, "part") % 10_000 < test * 10_000 else "train"
    return {kind: out / part / kind / name for kind in ("masks", "B", "A")}


def _png(pixels: np.ndarray, about: str) -> bytes:
    """Encode an image as PNG.

    It has none of the photograph's metadata, whose preview would show the hidden
    region.
    """
    info, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    if about:
        info.add_text("Software", provenance.SOFTWARE)
        info.add_text("Description", about)
    as_image(pixels).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _tree(photos: str | Path, out: Path) -> Folder | Zip:
    _, tree = open_source(photos)
    if not isinstance(tree, Folder | Zip):
        raise UserError(
            f"{photos} is an array of images: a mosaic needs a folder or a zip file of images"
        )
    if isinstance(tree, Folder) and out.resolve().is_relative_to(
        Path(os.path.expanduser(photos)).resolve()
    ):
        raise UserError(
            f"{out} lies in {photos}, so that its images would be taken for photographs: choose "
            "another --out"
        )
    return tree


def _create_out_dir(out: Path, settings: dict[str, Any]) -> None:
    """Create the folder, or accept an empty one or that of an equal earlier call.

    Raises `UserError` for any other folder.
    """
    record = out / SETTINGS
    if record.is_file():
        try:
            before = read_json(record, "record of settings")
        except DataError:
            before = {}
        changed = [
            k for k in dict.fromkeys([*before, *settings]) if before.get(k) != settings.get(k)
        ]
        if changed:
            differences = ", ".join(f"{k} {before.get(k)} (now {settings.get(k)})" for k in changed)
            raise UserError(
                f"{printable(out)} was made with {printable(differences)}: use the same settings "
                "to continue it, or choose another --out"
            )
        return
    require_new_folder(out)
    write(record, json.dumps(settings, indent=1))


def _check(
    blocks: Sequence[int], size: int | None, threshold: float, least: float, test: float
) -> None:
    if not blocks or min(blocks) < 2:
        raise UserError(
            f"a mosaic has blocks of 2 pixels or more; got {', '.join(map(str, blocks)) or 'none'}"
        )
    if size is not None and size < max(blocks):
        raise UserError(f"images of {size} pixels have no room for blocks of {max(blocks)}")
    if not 0 < threshold <= 1:
        raise UserError(
            "--threshold is a fraction of the map's maximum, above 0 and at most 1; got "
            f"{threshold:g}"
        )
    if not 0 <= least <= 1:
        raise UserError(f"--least is a probability from 0 to 1; got {least:g}")
    if not 0 <= test < 1:
        raise UserError(f"--test is a fraction from 0 to less than 1; got {test:g}")
