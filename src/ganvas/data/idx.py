"""MNIST's idx format (http://yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np

from ganvas.core.errors import UserError, printable
from ganvas.core.guards import open_regular, reason, require_memory
from ganvas.data.arrays import MAX_RATIO, Arrays, Table, file_stamp, nhwc
from ganvas.data.pictures import several
from ganvas.media.samples import Broken

IDX_IMAGES = re.compile(r"images.*(idx\d?|ubyte)(\.gz)?$", re.IGNORECASE)


def idx_table(path: Path, names: Sequence[str] | None, white: int | None) -> Table:
    """Images and labels of idx files.

    path: a folder of idx files, or one file of images
    names: names of the classes, or None
    """

    def table(part: str) -> Arrays | None:
        notes: list[str] = []
        if path.is_dir():
            files = [
                path / f
                for f in sorted(os.listdir(path))
                if IDX_IMAGES.search(f) and _idx_part(f) == part
            ]
            if not files:
                return None
            images = files[0]
            if len(files) > 1:
                notes.append(
                    f"only {printable(images.name)} is used, not "
                    f"{several([printable(f.name) for f in files[1:]])}"
                )
        elif _idx_part(path.name) != part:
            return None
        else:
            images = path
        pixels = read_idx(images)
        if pixels.ndim == 1:
            raise UserError(
                f"{printable(images)} holds labels; give the file of images, or the folder with "
                "both"
            )
        beside = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
        labels = None
        plain = beside.with_suffix("") if beside.suffix == ".gz" else beside
        for name in (plain, plain.with_name(plain.name + ".gz")):
            if "labels" in name.name and name.exists():
                labels = read_idx(name).reshape(-1)
        if labels is not None and len(labels) != len(pixels):
            raise UserError(
                f"{printable(images.name)} has {len(pixels)} images, and its labels are "
                f"{len(labels)}"
            )
        known = (
            names if names is None or labels is None or labels.max(initial=0) < len(names) else None
        )
        try:
            narrow, wide = nhwc(pixels, white)
        except Exception as e:
            raise UserError(
                f"{printable(images)} {e if isinstance(e, Broken) else reason(e)}"
            ) from None
        return Arrays(narrow, labels, known, file_stamp(images), wide=wide, notes=notes)

    return table


def _idx_part(name: str) -> str:
    return "test" if re.search(r"t10k|test", name, re.IGNORECASE) else "train"


_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """The array of an idx file, gzipped or not.

    The size that its header announces is compared with the file's and with memory
    before it is unpacked. Raises `UserError` for a file that is cut short or of another
    kind.
    """
    shown = printable(path)
    try:
        with open_regular(path) as file:
            packed, size = file.read(2) == b"\x1f\x8b", os.fstat(file.fileno()).st_size
            file.seek(0)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=file) if packed else file)
            head = stream.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES:
                raise UserError(
                    f"{shown} is no idx file: it does not begin with two zero bytes and a known "
                    "type"
                )
            kind, rank = np.dtype(_IDX_TYPES[head[2]]), head[3]
            if not 1 <= rank <= 4:
                raise UserError(f"{shown} has {rank} axes; images have 3 or 4, and labels 1")
            axes = stream.read(4 * rank)
            if len(axes) < 4 * rank:
                raise UserError(f"{shown} is cut short within its header. Download it again")
            shape = struct.unpack(f">{rank}I", axes)
            total = math.prod(shape) * kind.itemsize
            expected = 4 + 4 * rank + total
            if size * MAX_RATIO < expected if packed else size != expected:
                raise UserError(
                    f"{shown} has {size} bytes, but its header announces {expected}: it is cut "
                    "short or damaged"
                )
            require_memory(total, shown)
            data = np.empty(total, np.uint8)
            got = _read_into(stream, data.data)
            if got < total or stream.read(1):
                raise UserError(
                    f"{shown} has {'fewer' if got < total else 'more'} bytes than its header "
                    f"announces ({expected}): it is cut short or damaged"
                )
            return data.view(kind).reshape(shape)
    except UserError:
        raise
    except Exception as e:  # gzip's, zlib's, of memory
        raise UserError(
            f"{shown} cannot be read ({reason(e)}): is it complete? Download it again."
        ) from None


def _read_into(stream: IO[bytes], data: memoryview) -> int:
    """Fill `data` in parts. Returns the number of bytes read."""
    at = 0
    while at < len(data) and (part := stream.read(min(1 << 20, len(data) - at))):
        data[at : at + len(part)] = part
        at += len(part)
    return at
