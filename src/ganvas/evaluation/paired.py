"""Compare images with reference images, file by file (`ganvas pixels`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import t
from torch import Tensor

from ganvas.core.environment import commit, machine
from ganvas.core.errors import DataError, UserError
from ganvas.core.guards import plural
from ganvas.data.file_index import FileIndexBuilder
from ganvas.data.layouts import match
from ganvas.data.measured import as_measured, is_measured, require_equal_stacks, values_of
from ganvas.data.pictures import Files, ImageSet, Selection, several
from ganvas.data.trees import Folder
from ganvas.evaluation.records import Record
from ganvas.inference.masks import Masks
from ganvas.media.decode import read
from ganvas.media.samples import Broken, as_array, to_channels
from ganvas.media.values import Span, Values
from ganvas.metrics import niqe as blind_measure
from ganvas.metrics.dists import DISTS
from ganvas.metrics.dists import dists as load_dists
from ganvas.metrics.lpips import LPIPS
from ganvas.metrics.lpips import lpips as load_lpips
from ganvas.metrics.niqe import NIQE
from ganvas.metrics.psnr_ssim import SCALES, WINDOW, ms_ssim, protocol_named, psnr, ssim


def compare(
    a: str | Path,
    b: str | Path,
    *,
    protocol: str = "y-crop4",
    lpips: str | None = None,
    dists: bool = False,
    niqe: str | Path | None = None,
    weights: str | Path | None = None,
    mask: str | Path | None = None,
    window: Span | None = None,
) -> Record:
    """Measure PSNR, SSIM, MS-SSIM, LPIPS and DISTS between images, and NIQE of them.

    a, b: two images, or two folders whose images are matched by name without ending
    protocol: see `ganvas.metrics.psnr_ssim`. A protocol of luma takes gray images as
        they are; their figures have its name with "gray" for "y"
    lpips: backbone; None: no LPIPS
    dists: also DISTS
    niqe: also NIQE of the images a, by this file of its parameters or these pristine
        images (see `ganvas.metrics.niqe`)
    weights: folder of the files of LPIPS and DISTS (see these in `ganvas.metrics`)
    mask: an image, or a folder with one for each pair: only white pixels are compared.
        LPIPS, DISTS and NIQE take the whole images nevertheless
    window: the files are measurements, and (low, high) become 0 and 1; "type": the
        range of 8 or 16 bits, which is taken without a window, too, for TIFF files of
        more than 8 bits, of 2 or more than 4 channels, or of several pages. All
        channels are compared ("all" in place of "rgb" and "y"), and pages are images

    MS-SSIM is measured if the images are large enough. Alpha is laid over white.

    Returns a JSON-ready record: of each measure the mean, its 95% interval (Student's,
    over images) and its protocol, and the figures of every image; None is infinite
    (equal images).

    Raises `UserError`, with the names, for images without a partner, of different
    sizes, gray against color, or unreadable.
    """
    left, right = _files(Path(a), Path(b))
    span: Values | None = None
    pairs: Iterable[_Pair]
    if window is not None or _are_measured(left) or _are_measured(right):
        pairs, span = _measured(left, right, window)
        if mask is not None:
            raise UserError(f"masks are for photographs, and {a} holds {span.type}")
        protocol = _of_all_channels(protocol)
    else:
        pairs = _photographs(left, right)
    shave = protocol_named(protocol).shave
    measures: list[LPIPS | DISTS] = [load_lpips(lpips, weights)] if lpips else []
    measures += [load_dists(weights)] if dists else []
    blind = None if niqe is None else _blind(Path(niqe))
    masks = None if mask is None else Masks(Path(mask))
    rows = [_figures(pair, protocol, measures, blind, masks) for pair in pairs]
    record: Record = {"a": str(a), "b": str(b), "count": len(rows)}
    notes = ["alpha is laid over white"] if any(r.pop("alpha") for r in rows) else []
    least = (WINDOW << (len(SCALES) - 1)) + 2 * shave
    names = ["psnr", "ssim", *([] if masks else ["ms-ssim"]), *(m.name for m in measures)]
    names += ["niqe"] if blind else []
    hashes = {m.name: m.hashes for m in measures}
    gray = sum([r.pop("gray") for r in rows]) * (protocol_named(protocol).channels == "y")
    if gray:  # full range, luma: 219 of 255 levels, 1.3 dB less for the same error
        ours = protocol.replace("y", "gray", 1)
        if gray < len(rows):
            notes.append(
                f"{gray} of {len(rows)} pairs are gray and were compared by {ours}, which gives up "
                f"to 1.32 dB less than {protocol}: the mean is of both"
            )
        protocol = ours if gray == len(rows) else f"{protocol} and {ours}"
    within = f"{protocol}, masked" if masks else protocol
    if span is not None:
        within = f"{protocol}, {span.type} from {span.low:g} to {span.high:g}"
    for name in names:
        values = [r[name] for r in rows if name in r]
        if len(values) < len(rows):
            notes.append(
                f"no {name}: it needs sides of at least {least} pixels, and "
                f"{len(rows) - len(values)} have less"
            )
            for r in rows:
                r.pop(name, None)
            continue
        record[name] = _summary(values) | {"unit": "dB" if name == "psnr" else None}
        if name in hashes:
            record[name]["weights"] = hashes[name]
        elif blind and name == "niqe":
            record[name]["protocol"] = blind.name
        else:
            record[name]["protocol"] = within
    equal = [r["name"] for r in rows if math.isinf(r["psnr"])]
    if equal:
        notes.append(f"equal images, of infinite PSNR: {several(equal)}")
    images = [{k: v if isinstance(v, str) else _finite(v) for k, v in r.items()} for r in rows]
    return record | {"notes": notes, "images": images, "commit": commit(), "machine": machine()}


def window_of(text: str) -> Span:
    """The window of "LOW,HIGH" or "type". Raises `UserError` for other text."""
    if text == "type":
        return "type"
    low, _, high = text.partition(",")
    try:
        return float(low), float(high)
    except ValueError:
        raise UserError(
            f"got the window {text!r}; expected the values that become black and white, as in "
            "--window 0,4095, or type"
        ) from None


def lines(record: Record) -> list[str]:
    """A record of `compare` as lines of text."""
    out = [f"{plural(record['count'], 'pair')} of images"]
    for name, figure in record.items():
        if isinstance(figure, dict) and "mean" in figure:
            unit = f" {figure['unit']}" if figure["unit"] else ""
            value = "infinite" if figure["mean"] is None else f"{figure['mean']:.4f}{unit}"
            interval = (
                "" if figure["low"] is None else f"  [{figure['low']:.4f}, {figure['high']:.4f}]"
            )
            out.append(f"{name:<20} {figure.get('protocol', 'rgb'):<10} {value}{interval}")
    return out + record["notes"]


class _Pair(NamedTuple):
    """Two images [1, C, H, W] in [0, 1] to compare.

    file, other_file: for messages
    alpha: whether one of them had alpha
    """

    name: str
    file: Path | str
    other_file: Path | str
    image: Tensor
    other: Tensor
    alpha: bool = False


def _figures(
    pair: _Pair,
    protocol: str,
    measures: Sequence[LPIPS | DISTS],
    blind: NIQE | None,
    masks: Masks | None,
) -> Record:
    x, y, one, other = pair.file, pair.other_file, pair.image, pair.other
    if one.shape[1] != other.shape[1]:
        gray, color = (x, y) if one.shape[1] == 1 else (y, x)
        raise UserError(f"{gray} is gray and {color} is not: convert one of them to the other")
    if one.shape != other.shape:
        (h, w), (k, v) = one.shape[-2:], other.shape[-2:]
        raise UserError(
            f"{x} is {w}x{h} pixels and {y} is {v}x{k} (width x height): crop or resize one of "
            "them to the other"
        )
    channels = one.shape[1]
    if channels not in (1, 3) and (measures or blind):
        names = [*(m.name for m in measures), *(["niqe"] if blind else [])]
        raise UserError(f"{x} has {channels} channels, and {names[0]} takes 1 or 3: leave it out")
    try:
        region = (
            None
            if masks is None
            else torch.from_numpy(masks.of(Path(x), pair.name).mask)[None, None]
        )
        figures = {
            "psnr": psnr(one, other, protocol, region),
            "ssim": ssim(one, other, protocol, region),
        }
        if masks is None and min(one.shape[-2:]) - 2 * protocol_named(protocol).shave >= WINDOW << (
            len(SCALES) - 1
        ):
            figures["ms-ssim"] = ms_ssim(one, other, protocol)
        for measure in measures:
            figures[measure.name] = measure(2 * one.float() - 1, 2 * other.float() - 1)
        if blind:
            figures["niqe"] = blind(2 * one - 1)
    except UserError as e:
        raise UserError(f"{x}: {e}") from None
    facts = {"name": pair.name, "alpha": pair.alpha, "gray": channels == 1}
    return facts | {k: float(v) for k, v in figures.items()}


def _blind(source: Path) -> NIQE:
    """NIQE by a file of parameters, its folder, or a folder of pristine images."""
    if not source.is_dir() or (source / blind_measure.FILE).is_file():
        return blind_measure.niqe(source)
    images = (2 * _opened(source / e.name)[0][0] - 1 for e in Folder(source).entries)
    return blind_measure.fitted(
        (x for x in images if min(x.shape[1:]) >= blind_measure.LEAST), source.name
    )


def _opened(path: Path) -> tuple[Tensor, bool]:
    """(image [1, 1 or 3, H, W] in [0, 1], whether it had alpha)."""
    try:
        image = read(str(path))
    except Broken as e:
        raise UserError(f"{path} cannot be read: {e}") from None
    pixels = as_array(to_channels(image, 1 if image.mode == "L" else 3))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[
        None
    ].double() / 255, image.mode == "RGBA"


def _photographs(left: Files, right: Files) -> Iterator[_Pair]:
    """Pairs in 8 bits, gray or color."""
    for x, y in zip(left.entries, right.entries, strict=True):
        one, other = _path(left, x.name), _path(right, y.name)
        (image, alpha), (wanted, wanted_alpha) = _opened(one), _opened(other)
        yield _Pair(x.name, one, other, image, wanted, alpha or wanted_alpha)


def _measured(left: Files, right: Files, window: Span | None) -> tuple[Iterator[_Pair], Values]:
    """Pairs of measurements with all their channels; pages are images."""
    found = Selection(left.tree.title, "pairs", "all", {"a": left, "b": right})
    try:
        found, values = as_measured(found, window or "type")
    except DataError as e:
        if window is not None or "no range of its own" not in str(e):
            raise
        raise DataError(
            f"{left.tree.title} holds numbers that have no range of their own: name the values "
            "that become black and white, as in --window -1000,1000"
        ) from None
    assert values is not None
    one, other = found.sets["a"], found.sets["b"]
    require_equal_stacks(one, other)

    def opened(images: ImageSet, i: int) -> Tensor:
        try:
            pixels = torch.from_numpy(values_of(images, i).astype(np.float64))
        except Broken as e:
            raise UserError(f"{images.name(i)} cannot be read: {e}") from None
        unit = (pixels - values.low) / (values.high - values.low)
        return unit.clamp(0, 1).permute(2, 0, 1)[None]

    def pairs() -> Iterator[_Pair]:
        for i in range(len(one)):
            name, partner = one.name(i), other.name(i)
            yield _Pair(name, name, partner, opened(one, i), opened(other, i))

    return pairs(), values


def _are_measured(files: Files) -> bool:
    """Whether files are no photographs. Without the extra `science`, all are."""
    try:
        return is_measured(files)
    except UserError:
        return False


def _of_all_channels(protocol: str) -> str:
    """The protocol of the same borders for measurements, which have no luma."""
    shave = protocol_named(protocol).shave
    return f"all-crop{shave}" if shave else "all"


def _path(files: Files, name: str) -> Path:
    assert isinstance(files.tree, Folder)
    return files.tree.root / name


class _One(Folder):
    """A folder of which one file is taken, whatever its ending."""

    def __init__(self, file: Path) -> None:
        self._file = file
        super().__init__(file.parent)

    def _walk(self, index: FileIndexBuilder) -> None:
        index.add(self._file.name, 0, 0)


def _files(a: Path, b: Path) -> tuple[Files, Files]:
    """The images of two folders, matched by name, or two images."""
    for path in (a, b):
        if not path.exists():
            raise UserError(f"there is no {path}")
    if a.is_file() and b.is_file():
        one, other = _One(a), _One(b)
        return Files(one, one.entries), Files(other, other.entries)
    if a.is_file() or b.is_file():
        raise UserError(
            f"give two images or two folders; {a if a.is_file() else b} is a file and the other "
            "is not"
        )
    left, right = (Files(tree, tree.entries) for tree in (Folder(a), Folder(b)))
    left, right, alone = match(left, right)
    if alone:
        raise UserError(
            f"these have no partner of their name in the other folder: {several(alone)}. Remove "
            "or rename them"
        )
    if not len(left.entries):
        raise UserError(f"there are no images in {a} and {b}")
    return left, right


def _summary(values: list[float]) -> dict[str, float | None]:
    mean = fmean(values)
    if len(values) < 2 or math.isinf(mean):
        return {"mean": _finite(mean), "low": None, "high": None}
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
