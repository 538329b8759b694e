"""Data sets of Hugging Face's `datasets`: folders of save_to_disk, and parquet files.

Read by the library (the extra `hf`), from this machine only. Images are taken as the
bytes that lie in the files and decoded by ganvas. A path in place of bytes, which may
name any file of this machine, is never opened, and no script of a data set is run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ganvas.core.errors import CapabilityError, DataError, printable
from ganvas.core.guards import plural, reason
from ganvas.core.json_files import Json, read_json
from ganvas.data.arrays import file_stamp
from ganvas.data.downloads import cache_dir
from ganvas.data.pictures import PARTS, several
from ganvas.media import decode
from ganvas.media.decode import Header
from ganvas.media.samples import Broken

if TYPE_CHECKING:
    from datasets import Dataset

DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
ENDING = ".parquet"
LABEL_NAMES = ("label", "labels")
IMAGE_NAMES = ("image", "img", "images", "bytes")


def is_hf_dataset(path: Path) -> bool:
    """Whether a folder or a file is such a data set."""
    if path.is_file():
        return path.name.lower().endswith(ENDING)
    return (path / DICT).is_file() or _saved(path) or bool(_parquet_files(path))


def hf_table(path: Path, white: int | None) -> Callable[[str], HfImages | None]:
    """Name of a part -> its images.

    white: see `ganvas.data.images`

    Raises `DataError` for files that cannot be read, and `CapabilityError` without the
    library.
    """
    splits = _splits(path)
    unknown = sorted(printable(s) for s in splits if s not in PARTS and len(splits) > 1)
    notes = [f"splits that are not used: {several(unknown)}"] if unknown else []
    parts: dict[str, list[Path]] = {}
    for split, files in splits.items():
        parts.setdefault(PARTS.get(split, "all" if len(splits) == 1 else ""), []).extend(files)

    def table(part: str) -> HfImages | None:
        files = parts.get(part)
        return HfImages(_opened(files), files, white, notes) if files else None

    return table


def _saved(folder: Path) -> bool:
    return (folder / STATE).is_file() and (folder / INFO).is_file()


def _parquet_files(folder: Path) -> list[Path]:
    """Parquet files of a folder, or of data/ in it, as on the Hugging Face Hub."""
    for there in (folder, folder / "data"):
        if there.is_dir():
            found = sorted(p for p in there.iterdir() if p.name.lower().endswith(ENDING))
            if found:
                return found
    return []


def _splits(path: Path) -> dict[str, list[Path]]:
    """Name of a split, or "" -> its files."""
    if path.is_file():
        return {"": [path]}
    if (path / DICT).is_file():
        names = read_json(path / DICT, "list of splits").get("splits")
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or not names:
            raise DataError(f"{printable(path / DICT)} lists no splits")
        return {str(n): _arrow_files(path / _plain(n, path / DICT)) for n in names}
    if _saved(path):
        return {"": _arrow_files(path)}
    splits: dict[str, list[Path]] = {}
    files = _parquet_files(path)
    for file in files:  # train-00000-of-00002.parquet
        splits.setdefault(file.stem.split("-")[0].lower(), []).append(file)
    return splits if any(s in PARTS for s in splits) else {"": files}


def _arrow_files(folder: Path) -> list[Path]:
    """The files that save_to_disk wrote, which state.json lists."""
    listed = read_json(folder / STATE, "data set's state").get("_data_files")
    files = listed if isinstance(listed, list) else []
    names = [f.get("filename") if isinstance(f, dict) else None for f in files]
    if not names:
        raise DataError(f"{printable(folder / STATE)} lists no files")
    return [folder / _plain(name, folder / STATE) for name in names]


def _plain(name: Json, where: Path) -> str:
    """A file's or folder's own name. Raises `DataError` for a path."""
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\\0:"):
        raise DataError(
            f"{printable(where)} names {printable(name)!r}, which does not lie beside it: refused"
        )
    return name


def _opened(files: Sequence[Path]) -> Dataset:
    """The rows of arrow or parquet files. Raises `DataError`."""
    try:
        import datasets
    except ImportError:
        raise CapabilityError(
            f"{printable(files[0])} is read by Hugging Face's datasets: pip install 'ganvas[hf]'"
        ) from None
    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        if files[0].name.lower().endswith(ENDING):
            converted = cache_dir() / "datasets"
            return datasets.Dataset.from_parquet(
                [str(f.resolve()) for f in files], cache_dir=str(converted)
            )
        return datasets.concatenate_datasets([datasets.Dataset.from_file(str(f)) for f in files])
    except Exception as e:  # pyarrow and the library raise many kinds for damaged files
        cause = e.__cause__ or e
        raise DataError(f"{printable(files[0])} cannot be read: {reason(cause)}") from None
    finally:
        if bars:
            datasets.enable_progress_bars()


class HfImages:
    """The images of one column, with the labels of another."""

    layout = "a data set of Hugging Face's datasets"

    def __init__(
        self, dataset: Dataset, files: Sequence[Path], white: int | None, notes: Sequence[str]
    ) -> None:
        from datasets import ClassLabel, Value
        from datasets import Image as ImageFeature

        self.white, self.notes = white, list(notes)
        self.labels: np.ndarray | None = None
        self.classes: tuple[str, ...] = ()
        features = dataset.features
        found = [n for n, f in features.items() if isinstance(f, ImageFeature) or _holds_bytes(f)]
        if not found:
            columns = several([printable(n) for n in features])
            raise DataError(
                f"{printable(files[0])} has the columns {columns}; expected one of images"
            )
        self._column = next((n for n in IMAGE_NAMES if n in found), found[0])
        if len(found) > 1:
            others = several([printable(n) for n in found if n != self._column])
            self.notes.append(f"images of the column {printable(self._column)}, not of {others}")
        self._stamp: Json = ["hf", *(file_stamp(f) for f in files), self._column]
        images = dataset.select_columns([self._column])
        if isinstance(features[self._column], ImageFeature):
            images = images.cast_column(self._column, ImageFeature(decode=False))
        self._images = images
        classes = [n for n, f in features.items() if isinstance(f, ClassLabel)]
        plain = [n for n in LABEL_NAMES if isinstance(features.get(n), Value)]
        label = next((n for n in (*LABEL_NAMES, *classes) if n in classes), None)
        if label is not None:
            names = features[label].names
            self._take_labels(dataset, label, range(len(names)), names)
        elif plain:
            values = dataset.select_columns(plain[:1])[:][plain[0]]
            distinct = sorted({v for v in values if v is not None}, key=lambda v: (str(type(v)), v))
            if 1 < len(distinct) < max(2, len(values)):
                self._take_labels(dataset, plain[0], distinct, distinct)

    def _take_labels(
        self, dataset: Dataset, column: str, values: Sequence[object], names: Sequence[object]
    ) -> None:
        number = {v: i for i, v in enumerate(values)}
        stored = dataset.select_columns([column])[:][column]
        self.labels = np.array([number.get(v, -1) for v in stored], np.int64)
        self.classes = tuple(map(printable, names))
        if missing := int((self.labels < 0).sum()):
            self.notes.append(f"{plural(missing, 'image')} without a label")

    def __len__(self) -> int:
        return len(self._images)

    def name(self, i: int) -> str:
        """The row's number."""
        return f"row {i}"

    def stamp(self) -> Json:
        """From paths, sizes and times of all files."""
        return self._stamp

    def header(self, i: int) -> Header:
        """As `ganvas.media.decode.read_header`. Raises `Broken`."""
        return decode.read_header(self._file(i))

    def load(self, i: int) -> Image.Image:
        """As `ganvas.media.decode.read`. Raises `Broken`."""
        return decode.read(self._file(i), white=self.white)

    def deep(self, i: int) -> np.ndarray | None:
        """As `ganvas.media.decode.deep`. Raises `Broken`."""
        return decode.deep(self._file(i))

    def _file(self, i: int) -> BytesIO:
        try:
            value = self._images[i][self._column]
        except Exception as e:  # of pyarrow, for damaged files
            raise Broken(reason(e)) from None
        if isinstance(value, dict):
            path = value.get("path")
            value = value.get("bytes")
            if value is None and path is not None:
                name = printable(os.path.basename(str(path)))
                raise Broken(f"is a path ({name}), which is not opened; store the images' bytes")
        if not isinstance(value, bytes):
            raise Broken("is empty")
        return BytesIO(value)


def _holds_bytes(feature: object) -> bool:
    """Whether a column of this type holds encoded images, as bytes."""
    from datasets import Value

    if isinstance(feature, dict):
        feature = feature.get("bytes")
    return isinstance(feature, Value) and feature.dtype in ("binary", "large_binary")
