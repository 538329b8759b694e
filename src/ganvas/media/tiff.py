"""Read scientific TIFF files: stacks of 1 to 16 channels, by blocks.

The package tifffile does the work (extra `science`). A file is a stack of images of one
size. By the metadata of OME, ImageJ or tifffile, the axes C and S are channels and all
others images (time, depth); pages without such metadata are images.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import IO, TYPE_CHECKING, NamedTuple, TypeVar
from xml.etree import ElementTree

import numpy as np

from ganvas.core.errors import UserError
from ganvas.core.guards import reason
from ganvas.media.samples import Broken

if TYPE_CHECKING:
    import tifffile

T = TypeVar("T")
MOST_CHANNELS = 16
MOST_IMAGES = 1 << 20
BAND = 256  # rows
MAX_RATIO = 2000  # of unpacked to packed bytes; deflate's and LZW's limits are near 1000
# GeoTIFF 1.1 and GDAL: the first three change with the size of the image.
PIXEL_SCALE, TIE_POINTS, TRANSFORM = 33550, 33922, 34264
GEO = (PIXEL_SCALE, TIE_POINTS, TRANSFORM, 34735, 34736, 34737, 42112, 42113)
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


class Tag(NamedTuple):
    """A tag of a TIFF file, as tifffile writes it: code and type are numbers."""

    code: int
    type: int
    length: int
    value: object
    once: bool = True


class Block(NamedTuple):
    """A part of an image, [h, w, c], at (top, left, first channel)."""

    top: int
    left: int
    channel: int
    values: np.ndarray


def library() -> ModuleType:
    """The package tifffile. Raises `UserError` if it is absent."""
    try:
        import tifffile
    except ImportError as e:
        raise UserError(
            f"TIFF files of measurements need the package tifffile ({reason(e)}). Install it: pip "
            "install 'ganvas[science]'"
        ) from None
    logger = logging.getLogger("tifffile")  # reports damage that is an error here
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return tifffile


class Stack:
    """The images of an open TIFF file.

    count: images
    height, width, channels: of each
    dtype: of the values, in the byte order of this machine
    bits: of a value that are used as the file declares it: 12 for 12 bits in 16
    separate: whether each channel is a page
    leading: sizes of the axes of images, outermost first
    """

    def __init__(self, file: IO[bytes], most: int) -> None:
        """Read the headers.

        most: pixels of an image

        Raises `Broken` for damaged files, for those whose headers promise more than the
        file holds, and for other shapes.
        """
        with _broken():
            # Other files that an OME file names are not opened.
            self._file = file
            self._tiff: tifffile.TiffFile = library().TiffFile(
                file, name="image.tif", _multifile=False
            )
            series = self._tiff.series[0]
            self._series, page = series, series.keyframe
            self.dtype = np.dtype(series.dtype).newbyteorder("=")
            self._read_shape(series, page)
            if self.height * self.width > most:
                raise Broken(
                    f"{self.width}x{self.height} is more than {most // 10**6} megapixels, which is "
                    "what memory has room for"
                )
            file.seek(0, 2)
            self._require_data(page, file.tell())
            self.bits = self._declared_bits(page)

    def _read_shape(self, series: tifffile.TiffPageSeries, page: tifffile.TiffPage) -> None:
        axes, shape = series.axes, series.shape
        if page.axes not in ("YX", "YXS", "SYX") or not axes.endswith(page.axes):
            raise Broken(f"its axes are {axes}; expected pages of height and width (and samples)")
        outer = axes[: -len(page.axes)]
        if outer.count("C") > 1:
            raise Broken(f"its axes are {axes}; expected one axis of channels")
        self._axes, self._sizes = outer, shape[: len(outer)]
        self.separate = "C" in outer
        pages = self._sizes[outer.index("C")] if self.separate else 1
        self._samples = page.samplesperpixel
        self.height, self.width, self.channels = (
            page.imagelength,
            page.imagewidth,
            pages * self._samples,
        )
        self.leading = [n for a, n in zip(outer, self._sizes) if a != "C"]
        self.count = math.prod(self.leading)
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise Broken(f"it has {self.channels} channels; expected 1 to {MOST_CHANNELS}")
        if not 1 <= self.count <= MOST_IMAGES or not self.height or not self.width:
            raise Broken(f"it has the shape {list(shape)}, which holds no image")

    def _require_data(self, page: tifffile.TiffPage, size: int) -> None:
        """Raise `Broken` if the file is too short for what its header announces."""
        pixels = self.height * self.width * self._samples * page.bitspersample // 8
        what = f"its header announces {self.width}x{self.height} of {self.channels} channels"
        planes = math.prod(self._sizes)
        self._plain = planes > len(self._series.pages)
        if self._plain:  # one header for all pages, whose data follow each other
            start, kind = self._series.dataoffset, self.dtype.itemsize
            needed = math.prod(self._series.shape) * kind
            if start is None or start + needed > size:
                raise Broken(f"{what} on {planes} pages, and some of these are not in the file")
        if len(page.databytecounts) < math.prod(page.chunked):
            raise Broken(f"{what}, and some of their data are not in the file")
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            if not 0 < count <= size - offset:
                raise Broken(f"{what}, and some of their data are not in the file")
        packed = sum(page.databytecounts)
        if pixels > (packed if page.compression == 1 else MAX_RATIO * packed):
            raise Broken(f"{what}, which {packed:,} bytes cannot hold")

    def _declared_bits(self, page: tifffile.TiffPage) -> int:
        if self._tiff.is_ome:
            found = re.search(r'SignificantBits="(\d+)"', self._tiff.ome_metadata or "")
            if found and 0 < int(found[1]) <= 8 * self.dtype.itemsize:
                return int(found[1])
        return min(page.bitspersample, 8 * self.dtype.itemsize)

    def blocks(self, index: int) -> Iterator[Block]:
        """The blocks of one image, in the order of the file. Raises `Broken`."""
        with _broken():
            pages, page = self._pages(index), self._series.keyframe
            for channel, number in enumerate(pages):
                first = channel * self._samples
                if self._plain:
                    start, length = self._series.dataoffset or 0, math.prod(page.shape)
                    start += number * length * self.dtype.itemsize
                    yield from self._contiguous(start, first)
                    continue
                page = self._series.pages[number]
                if page is None:
                    raise Broken(f"its page {number} is not in the file")
                if page.shape != self._series.keyframe.shape or page.dtype != self._series.dtype:
                    raise Broken("its pages differ in size or type")
                if page.is_final:  # neither compressed nor in tiles
                    yield from self._contiguous(page.dataoffsets[0], first)
                    continue
                for values, (sample, _, top, left, _), _ in page.segments(maxworkers=1):
                    if values is None:
                        raise Broken("some of its data are not in the file")
                    yield Block(
                        top,
                        left,
                        first + sample,
                        values[0, : self.height - top, : self.width - left],
                    )

    def _contiguous(self, start: int, first: int) -> Iterator[Block]:
        """The values of a page that follow each other, in bands.

        start: of the page's data in the file
        first: number of its first channel
        """
        kind = self.dtype.newbyteorder(self._tiff.byteorder)
        planes = self._samples if self._series.keyframe.axes == "SYX" else 1
        line = self.width * (self._samples // planes)
        for plane in range(planes):
            for top in range(0, self.height, BAND):
                rows = min(BAND, self.height - top)
                self._file.seek(start + (plane * self.height + top) * line * kind.itemsize)
                data = self._file.read(rows * line * kind.itemsize)
                values = np.frombuffer(data, kind).reshape(rows, self.width, -1)
                yield Block(top, 0, first + plane, values.astype(self.dtype, copy=False))

    def read(self, index: int) -> np.ndarray:
        """One image, [H, W, C]. Raises `Broken`."""
        out = np.empty((self.height, self.width, self.channels), self.dtype)
        for top, left, first, values in self.blocks(index):
            h, w, c = values.shape
            out[top : top + h, left : left + w, first : first + c] = values
        return out

    def _pages(self, index: int) -> list[int]:
        """Numbers of the pages of an image, one for each channel axis entry."""
        place = list(np.unravel_index(index, self.leading)) if self.leading else []
        if not self.separate:
            return [index]
        at = self._axes.index("C")
        return [
            int(np.ravel_multi_index([*place[:at], channel, *place[at:]], self._sizes))
            for channel in range(self._sizes[at])
        ]

    def description(self, scale: int, channels: int, kind: np.dtype) -> str | None:
        """The description (OME-XML or ImageJ's) for translated images; None: neither.

        scale: of their size; channels, kind: of their pixels
        """
        if self._tiff.is_ome and self._tiff.ome_metadata:
            return _adapted_ome(self._tiff.ome_metadata, self, scale, channels, kind)
        same = (channels, kind) == (self.channels, self.dtype)
        if self._tiff.is_imagej and same:
            text = self._series.keyframe.description
            return text if text.startswith("ImageJ=") else None
        return None

    def tags(self, scale: int) -> list[Tag]:
        """GeoTIFF's tags, for images `scale` times as large."""
        with _broken():
            return [
                Tag(tag.code, int(tag.dtype), tag.count, _scaled(tag.code, tag.value, scale))
                for tag in self._series.keyframe.tags.values()
                if tag.code in GEO
            ]

    def resolution(self, scale: int) -> dict[str, object]:
        """The resolution as tifffile writes it, for images `scale` times as large."""
        tags = self._series.keyframe.tags
        sides = [tags.valueof(code) for code in (X_RESOLUTION, Y_RESOLUTION)]
        pairs = [s for s in sides if isinstance(s, tuple) and len(s) == 2 and s[1]]
        if len(pairs) < 2:
            return {}
        unit = tags.valueof(RESOLUTION_UNIT)
        return {
            "resolution": tuple((int(n) * scale, int(d)) for n, d in pairs),
            "resolutionunit": unit if unit in (1, 2, 3) else 1,
        }


@contextmanager
def _broken() -> Iterator[None]:
    """Turn what a damaged file raises into `Broken`."""
    try:
        yield
    except (Broken, UserError, MemoryError):
        raise
    except Exception as e:  # tifffile and its codecs raise many kinds
        raise Broken(f"damaged or cut short ({reason(e)})") from None


def _scaled(code: int, value: object, scale: int) -> object:
    """The value of a tag for an image `scale` times as large."""
    if isinstance(value, str):
        return value.encode(errors="replace")  # tifffile takes ASCII only as text
    if scale == 1 or not isinstance(value, tuple):
        return value
    numbers = [float(v) for v in value if isinstance(v, int | float)]
    if len(numbers) != len(value):
        return value
    if code == PIXEL_SCALE:  # width and height of a pixel
        return (numbers[0] / scale, numbers[1] / scale, *numbers[2:])
    if code == TIE_POINTS:  # (column, row, 0, x, y, z), repeatedly
        return tuple(v * scale if i % 6 < 2 else v for i, v in enumerate(numbers))
    if code == TRANSFORM:  # a matrix of (column, row, 0, 1), row by row
        return tuple(v / scale if i % 4 < 2 else v for i, v in enumerate(numbers))
    return value


def _adapted_ome(text: str, stack: Stack, scale: int, channels: int, kind: np.dtype) -> str | None:
    """OME-XML for translated images, whose pages are in order, channels innermost."""
    if "<!" in text.replace("<!--", ""):  # declarations, whose entities could expand
        return None
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    space = root.tag[1:].partition("}")[0] if root.tag.startswith("{") else ""
    ElementTree.register_namespace("", space or OME)
    name = f"{{{space}}}" if space else ""
    images = root.findall(f"{name}Image")
    pixels = images[0].find(f"{name}Pixels") if images else None
    if pixels is None:
        return None
    for other in images[1:]:  # only the first series is translated
        root.remove(other)
    order = "".join(a for a in pixels.get("DimensionOrder", "XYCZT")[2:] if a in "ZT")
    pixels.set("DimensionOrder", f"XYC{order}")
    pixels.set("SizeX", str(stack.width * scale))
    pixels.set("SizeY", str(stack.height * scale))
    pixels.set("SizeC", str(channels))
    pixels.set("Type", {"float32": "float", "float64": "double"}.get(kind.name, kind.name))
    for side in ("PhysicalSizeX", "PhysicalSizeY"):
        size = pixels.get(side)
        if size is not None and scale != 1:
            pixels.set(side, repr(float(size) / scale))
    given = pixels.findall(f"{name}Channel")
    if channels != stack.channels or not given:
        for channel in given:
            pixels.remove(channel)
        for i in range(1 if not stack.separate else channels):
            facts = {"ID": f"Channel:0:{i}"}
            facts |= {} if stack.separate else {"SamplesPerPixel": str(channels)}
            pixels.insert(i, ElementTree.Element(f"{name}Channel", facts))
    for place in [*pixels.findall(f"{name}TiffData"), *pixels.findall(f"{name}Plane")]:
        pixels.remove(place)  # numbers of pages, and times of planes in another order
    data = ElementTree.Element(f"{name}TiffData")
    pixels.insert(len(pixels.findall(f"{name}Channel")), data)
    return ElementTree.tostring(root, encoding="unicode")
