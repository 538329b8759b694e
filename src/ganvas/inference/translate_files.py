"""Translate files and folders: each image at its own size, no file overwritten."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganvas.core import distributed
from ganvas.core.errors import CapabilityError, OutputError, UserError, did_you_mean, printable
from ganvas.core.progress import Progress
from ganvas.inference import measurements
from ganvas.inference.load import load
from ganvas.inference.masks import Masks
from ganvas.inference.model import Model
from ganvas.inference.options import TranslateOptions
from ganvas.inference.results import options_of, require_same
from ganvas.media import decode, encode
from ganvas.media.decode import EXTENSIONS

ABANDONED = 3600.0  # seconds since the last write: the file of an interrupted call
FORMATS = {
    "png": ".png",
    "jpg": ".jpg",
    "jpeg": ".jpg",
    "webp": ".webp",
    "tif": ".tif",
    "tiff": ".tif",
}
LARGE = 1.5  # times the training size: such images look different to a network


@dataclass
class Translated:
    """Counts and messages of `translate_files`.

    made: images written by this call
    kept: images that existed already
    skipped: "file: reason" of images that could not be translated
    notes: further messages for the user
    """

    made: int = 0
    kept: int = 0
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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
    at_training_size: bool = False,
    format: str | None = None,
    quality: int | None = None,
) -> Translated:
    """Translate images and folders of images into `out`, under their own names.

    Existing results of the same model and options are kept, and results are written
    atomically, so an interrupted call can be repeated to continue. Under torchrun the
    processes shard the images.

    tile, seed, at_training_size: see `inference.model.Model.translate`
    masks: change only the marked pixels of the images
    format: png, jpg, webp or tif; None: png. The notes list what it cannot hold (JPEG:
        alpha, 16 bits). Models of measurements read and write tif only
    quality: 1 to 100, of jpg and webp (default 95)

    Raises `UserError` if there are no images, if two results have the same name, if
    `out` has a result of another model or other options, if the model does not support
    an option, and if `out` cannot be written.
    """
    suffix = _suffix(format or "png", quality)
    files = _named(inputs, out, suffix)
    if not files:
        raise UserError(f"there are no images in {', '.join(map(printable, inputs))}")
    rank, world = distributed.env_rank()
    if device == "cuda" and world > 1:
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    model = load(run, checkpoint=checkpoint, device=device, precision=precision, backend=backend)
    if model.runtime.values is not None:
        if format is not None and suffix != ".tif":
            raise CapabilityError(
                f"this model is for measurements, which the format {format} does not hold: leave "
                "the format out"
            )
        files = _named(inputs, out, ".tif")
    if out.suffix.lower() in EXTENSIONS and not out.is_dir():
        raise UserError(
            f"out is a folder, in which results have the names of their inputs; got "
            f"{printable(out)}, the name of an image"
        )
    _prepare(out)
    report, lost, large = Translated(), Counter[str](), 0
    how: TranslateOptions = {
        "to": to,
        "tile": tile,
        "seed": seed,
        "at_training_size": at_training_size,
    }
    shard = files[rank::world]
    with Progress(len(shard), quiet=rank > 0 or len(shard) < 2, what="translating") as bar:
        for i, (file, name, target) in enumerate(shard):
            bar.update(i)
            if os.path.exists(target):  # Path.exists raises for long names
                require_same(target, _facts(model, file, how))
                report.kept += 1
                continue
            try:
                if model.runtime.values is not None:
                    _measurements(model, file, target, how, masks)
                    report.made += 1
                    continue
                rows = translate_file(model, file, name, target, how, masks, quality)
            except UserError as e:
                if isinstance(e, CapabilityError | OutputError):  # would fail for every image
                    raise
                reason = str(e)
                report.skipped.append(
                    reason if printable(file) in reason else f"{printable(file)}: {reason}"
                )
                continue
            report.made += 1
            lost.update(rows.lost)
            large += min(rows.width, rows.height) > LARGE * min(model.training_size)
        bar.update(len(shard))
    report.notes += [f"{_images(count)} came out without {what}" for what, count in lost.items()]
    trained = model.info.get("task") != "images" and "imported" not in model.info
    if large and trained and not model.keeps_gray and not at_training_size:
        height, width = model.training_size
        report.notes.append(
            f"the model was trained on images scaled to {height}x{width} (height x width), and "
            f"{_images(large)} "
            f"translated at a larger size: --at-training-size scales them to it and back"
        )
    return report


def translate_file(
    model: Model,
    file: Path,
    name: Path,
    target: Path,
    how: TranslateOptions,
    masks: Masks | None = None,
    quality: int | None = None,
) -> encode.Rows:
    """Write the translation of one file; return the rows that were written.

    name: of the file among the masks
    target: the file to write; its suffix chooses the format
    how: options of `Model.translate`
    masks, quality: see `translate_files`

    Raises `UserError` as `Model.translate` does.
    """
    facts = _facts(model, file, how)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if masks is None:
            rows = model.bands(file, **how, folder=target.parent)
        else:
            masked = masks.of(file, name, most=decode.max_pixels())
            rows = masked.put_back(model.bands(masked.image, **how, folder=target.parent))
            facts["made"] = f"{masked.share:.1%} of the image, by a mask"
        rows = rows.held(target.suffix)
        settings = {} if quality is None else {"quality": quality}
        exact = masks is not None  # pixels outside of the mask must not change
        encode.save_rows(rows, target, settings=settings, composite=True, exact=exact, **facts)
    except MemoryError:
        raise UserError(f"{printable(file)}: not enough memory") from None
    return rows


def _measurements(
    model: Model, file: Path, target: Path, how: TranslateOptions, masks: Masks | None
) -> None:
    """Write the translation of a TIFF file of measurements."""
    if masks is not None:
        raise CapabilityError("masks are for photographs; this model is for measurements")
    if not measurements.is_tiff(file):
        raise UserError("this model is for measurements, and this is no TIFF file")
    try:
        measurements.translate_stack(model.runtime, file, target, how, **_facts(model, file, how))
    except MemoryError:
        raise UserError(f"{printable(file)}: not enough memory") from None


def _facts(model: Model, file: Path, how: TranslateOptions) -> dict[str, Any]:
    """What the mark of a result says of its model, input and options."""
    source, seed = printable(file.name), how.get("seed", 0)
    return {"source": source, "seed": seed, "options": options_of(model, how), **model.facts}


def _suffix(format: str, quality: int | None) -> str:
    if format.lower() not in FORMATS:
        raise UserError(
            f"the format {format!r} is unknown. {did_you_mean(format.lower(), FORMATS)}"
        )
    suffix = FORMATS[format.lower()]
    if quality is not None and not 1 <= quality <= 100:
        raise UserError(f"quality is a number from 1 to 100; got {quality}")
    if quality is not None and suffix not in (".jpg", ".webp"):
        raise UserError(
            f"quality is for the formats jpg and webp; {suffix[1:]} keeps every pixel as it is"
        )
    return suffix


def _prepare(out: Path) -> None:
    """Create the folder; delete the temporary files of interrupted calls."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for left in list(out.rglob(".*.tmp")):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink(missing_ok=True)
    except OSError as e:
        raise OutputError(
            f"{printable(out)} cannot be used for the results: {e.strerror or e}. Choose another "
            "--out"
        ) from None


def _named(inputs: Sequence[Path], out: Path, suffix: str) -> list[tuple[Path, Path, Path]]:
    """(file, name, target) of every image.

    The target has the new ending instead of the image's own; if several images would
    share a target, it is appended. Raises `UserError` if two targets are equal
    nevertheless.
    """
    files = list(_files(inputs, out))
    stems = Counter(name.with_suffix(suffix) for _, name in files)
    named: dict[Path, tuple[Path, Path]] = {}
    for file, name in files:
        short = name.with_suffix(suffix)
        target = out / (short if stems[short] == 1 else name.with_name(name.name + suffix))
        if target in named:
            raise UserError(
                f"{printable(named[target][0])} and {printable(file)} would both become "
                f"{printable(target)}: translate "
                "them separately"
            )
        named[target] = file, name
    return [(file, name, target) for target, (file, name) in named.items()]


def _files(inputs: Sequence[Path], out: Path) -> Iterator[tuple[Path, Path]]:
    """(file, name below the given folder) of every image.

    If a folder holds `out`, the results of earlier calls are excluded.
    """
    target = out.resolve()
    for path in inputs:
        if path.is_dir():
            folder = path.resolve()
            if target == folder:
                raise UserError(
                    f"the results would be among the images of {printable(path)}: choose another "
                    "--out"
                )
            inside = target.is_relative_to(folder)
            for file in sorted(path.rglob("*")):
                if file.suffix.lower() not in EXTENSIONS or not file.is_file():
                    continue
                if not (inside and (folder / file.relative_to(path)).is_relative_to(target)):
                    yield file, file.relative_to(path)
        elif path.exists():
            yield path, Path(path.name)
        else:
            raise UserError(f"there is no file {printable(path)}")


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
