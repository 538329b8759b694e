"""Translate or upscale images of any size, whole or in tiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganvas.core import Translates, environment
from ganvas.core.errors import CapabilityError, UserError
from ganvas.inference import image_input
from ganvas.inference.options import ImageSource, Output
from ganvas.inference.runtime import Runtime, fixed_seed
from ganvas.inference.tiling import executor, graph, lazy_image, ops
from ganvas.media import encode, generated, grid, label_ids
from ganvas.media.samples import Decoded, luma, nearest, resized

MIN_SIDE = 8  # pixels: networks reflect their borders at a quarter of the size
BAND = 256  # rows of a resized result at a time
Images = Tensor | lazy_image.LazyImage
Source = Tensor | np.ndarray | graph.OnDisk


class Options(NamedTuple):
    """How to translate.

    to: domain
    tile: largest side of a tile in pixels; None: by memory
    seed: of the network's own random draws
    at_training_size: scale images to the training size, and results back
    """

    to: str
    tile: int | None = None
    seed: int = 0
    at_training_size: bool = False


class Translator:
    """The translating half of `Model`. `options` raises `UserError` for a generator."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def options(
        self, to: str | None, tile: int | None, seed: int, at_training_size: bool
    ) -> Options:
        """Check options. Raises `UserError` if the model does not allow them."""
        method = self._method
        to = to or method.directions[0]
        to = {name.lower(): name for name in method.directions}.get(to.lower(), to)
        if to not in method.directions:
            directions = " or ".join(method.directions)
            raise CapabilityError(f"this model translates to {directions}, not to {to!r}")
        if tile is not None and tile < ops.MIN_TILE:
            raise CapabilityError(
                f"tile is {tile}; the smallest tile has {ops.MIN_TILE} pixels a side"
            )
        if seed < 0:
            raise UserError(f"seed is {seed}; expected 0 or more")
        if at_training_size and self.upscale > 1:
            raise CapabilityError(
                "at_training_size is for models that keep the size; this model upscales"
            )
        return Options(to, tile, seed, at_training_size)

    @property
    def keeps_gray(self) -> bool:
        """Whether gray images stay gray, by the luma of the network's output.

        True for upscaling and restoration. A translation may give gray images color.
        """
        restores = self.runtime.method.restores or self.runtime.info.get("recipe") == "restore"
        return self.upscale > 1 or restores

    @property
    def upscale(self) -> int:
        """Size of a translated image over the size of its input."""
        return self.runtime.method.upscale

    def translate_image(
        self, image: Decoded, options: Options, output: Output
    ) -> Image.Image | np.ndarray | Tensor:
        """One image in the requested form; see `Model.translate`."""
        if output == "torch":
            pixels = self._input(image)
            return self.translate(image_input.as_tensor(pixels, self._device), options)[0]
        rows = self.bands(image, options)
        samples = np.concatenate(list(rows.bands))
        if output == "numpy":
            return samples
        facts = {**self.runtime.facts, "seed": options.seed}
        return generated.generated(samples, rows.profile, composite=True, **facts)

    def bands(self, image: Decoded, options: Options, folder: Path | None = None) -> encode.Rows:
        """The translation of one image as bands of rows; see `Model.bands`."""
        if self.runtime.values is not None:
            raise CapabilityError("this model is for measurements: it translates TIFF files")
        pixels = self._input(image)
        size = image.height, image.width
        if options.at_training_size:
            ratio = min(self.runtime.training_size) / min(size)
            smaller = max(round(size[0] * ratio), 1), max(round(size[1] * ratio), 1)
            if self.runtime.description["shape"].get("palette"):  # blends would be labels
                pixels = nearest(pixels, smaller)
            else:
                pixels = resized(pixels, smaller)
        alpha, gray, bits = image.alpha, image.color.shape[2] == 1, 8 * image.color.itemsize
        sketched = self.runtime.method.input_channels is not None
        if sketched:
            alpha, bits = None, 16  # of the data, not of the sketch
        profile, lost = image.profile, list(image.lost)
        del image  # releases the color, which may be large, as soon as possible
        result = self._result(pixels, options, folder)
        del pixels
        channels, height, width = result.shape[1:]
        apart = sketched and channels not in (1, 3)
        if apart:
            size, channels, width = (size[0], size[1] * channels), 1, width * channels
        if not options.at_training_size:
            size = height, width
        gray_out = channels == 1 or (channels == 3 and gray and self.keeps_gray)
        if profile and gray_out != gray:
            kinds = ("gray", "color") if gray else ("color", "gray")
            lost.append(f"the ICC profile (the image was {kinds[0]}, the result is {kinds[1]})")
            profile = None
        if channels == 4:  # the network's own alpha
            alpha = None

        def bands() -> Iterator[np.ndarray]:
            tensors = (part[0] for part in self._parts(result, options.seed))
            parts = (grid.to_uint8(grid.beside(x) if apart else x, bits) for x in tensors)
            if options.at_training_size:
                small = np.concatenate(list(parts))
                spans = [(top, min(top + BAND, size[0])) for top in range(0, size[0], BAND)]
                parts = (resized(small, size, span) for span in spans)
            top = 0
            for part in parts:
                span, top = (top, top + len(part)), top + len(part)
                color = luma(part) if gray_out else part
                if alpha is None:
                    yield color
                else:
                    yield np.dstack([color, resized(alpha[..., None], size, span)])

        total = (1 if gray_out else channels) + (alpha is not None)
        return encode.Rows(bands(), size[1], size[0], total, bits, profile, tuple(lost))

    def translate(self, x: Tensor, options: Options) -> Tensor:
        """Translate [N, C, H, W] as a batch; if memory is short, singly or tiled."""
        if len(x) > 1:
            if options.tile is None and self.fits(len(x) * x.shape[-2] * x.shape[-1]):
                whole = self._try_whole(x, options)
                if whole is not None:
                    return whole
            return torch.cat([self.translate(one, options) for one in x.split(1)])
        result = self._result(x, options)
        return torch.cat(list(self._parts(result, options.seed)), 2).to(self._device)

    def fits(self, pixels: int, part: int = 8) -> bool:
        """Whether 256 float32 numbers per output pixel fit 1 / `part` of the memory."""
        if self.runtime.method.constant_memory:
            needed = 8 * 4 * pixels * self.runtime.channels
        else:
            needed = 256 * 4 * pixels * self.upscale**2
        return needed <= environment.memory(self._device) // part

    def _input(self, image: Decoded) -> np.ndarray:
        """The samples that the network gets, uint8 or uint16 [H, W, C].

        Raises `DataError` for a label map in other colors or numbers than the model's.
        """
        channels = self.runtime.method.input_channels or self.runtime.channels
        shape = self.runtime.description["shape"]
        palette, ids = shape.get("palette", ()), shape.get("ids", False)
        numbers = label_ids.ids_of(image) if ids else None
        if numbers is not None:
            pixels = label_ids.colors_of(numbers)
        else:
            pixels = image_input.network_input(image, channels)
        if palette:
            image_input.require_labels(pixels, palette, ids)
        return pixels

    @property
    def _device(self) -> torch.device:
        return self.runtime.method.device

    @property
    def _method(self) -> Translates:
        method = self.runtime.method
        if not isinstance(method, Translates):
            raise CapabilityError(
                f"{type(method).__name__} generates images from noise: use sample"
            )
        return method

    def parts(
        self, image: graph.OnDisk, options: Options, folder: Path | None = None
    ) -> Iterator[Tensor]:
        """The translation of an image in [-1, 1] as bands [1, C, h, W]."""
        return self._parts(self._result(image, options, folder), options.seed)

    def _result(self, image: Source, options: Options, folder: Path | None = None) -> Images:
        """The result for one image, [1, C, H, W]; lazy if it does not fit memory."""
        height, width = _sides(image)
        if options.tile is None and self.fits(height * width):
            whole = self._try_whole(image, options)
            if whole is not None:
                return whole
        return self._tiled(image, options, folder)

    def _parts(self, result: Images, seed: int) -> Iterator[Tensor]:
        """Bands [1, C, h, W] from top to bottom."""
        if isinstance(result, Tensor):
            yield result
            return
        for top, bottom in result.bands():
            with self._inference(seed):
                part = result.rows(top, bottom)
            yield part

    def _try_whole(self, image: Source, options: Options) -> Tensor | None:
        """The translation in one forward pass; None if memory does not suffice."""
        try:
            with self._inference(options.seed):
                if isinstance(image, graph.OnDisk):
                    image = image.read(image.whole).to(self._device)
                elif not isinstance(image, Tensor):
                    image = image_input.as_tensor(image, self._device)
                return self._forward(image, options.to)
        except (RuntimeError, MemoryError) as e:
            if not ops.out_of_memory(e):
                raise
        return None

    def _tiled(self, image: Source, options: Options, folder: Path | None = None) -> Images:
        """A lazy result for one image; a tensor if the network cannot run in tiles."""
        (height, width), half = _sides(image), 0.0
        if isinstance(image, Tensor | graph.OnDisk):
            source = image
        else:
            source = graph.stored(image, folder)
            half = np.iinfo(image.dtype).max / 2
        device, memory = self._device, environment.memory(self._device)
        budget = memory // 8 if device.type == "cuda" else min(memory // 32, 1 << 28)
        pixels = height * width * self.upscale**2
        x = executor.Tiles(pixels, device, budget, options.tile, folder).image(source)
        problem = f"an image of {width}x{height} pixels needs more memory than there is"
        advice = "Use a smaller image, or a machine with more memory"
        try:
            with self._inference(options.seed):
                return self._forward(x.float() / half - 1.0 if half else x, options.to)
        except (ops.NotTileable, TypeError, AttributeError) as e:
            why = str(e)  # the last two: a function that takes only tensors
        except (RuntimeError, MemoryError) as e:
            if not ops.out_of_memory(e):
                raise
            raise UserError(f"{problem}, even in the smallest tiles. {advice}") from None
        if self.fits(height * width, 1):
            whole = self._try_whole(image, options)
            if whole is not None:
                return whole
        raise UserError(f"{problem}, and this network cannot run in tiles: {why}. {advice}")

    def _forward(self, x: Any, to: str) -> Any:
        """Translate x of any size: pad by reflection to the strides' multiple, crop.

        x: a tensor or `LazyImage` [N, C, H, W]; the result is of the same kind
        """
        method = self._method
        h, w, multiple, scale = *x.shape[-2:], method.multiple, self.upscale
        least = multiple if multiple == 1 else -(-MIN_SIDE // multiple) * multiple
        pad = (max(least - w, -w % multiple), max(least - h, -h % multiple))
        mode = "reflect" if pad[0] < w and pad[1] < h else "replicate"
        if any(pad):
            x = torch.nn.functional.pad(x, (0, pad[0], 0, pad[1]), mode=mode)
        return method.translate(x, to).float()[..., : h * scale, : w * scale]

    @contextmanager
    def _inference(self, seed: int) -> Iterator[None]:
        """Inference mode, the model's precision and a fixed seed."""
        with torch.inference_mode(), fixed_seed(seed), self.runtime.autocast():
            yield


def translate_source(
    translator: Translator, image: ImageSource, options: Options, output: Output
) -> Image.Image | np.ndarray | Tensor:
    """One path or PIL image in the requested form; see `Model.translate`."""
    return translator.translate_image(image_input.decoded(image), options, output)


def _sides(image: Source) -> tuple[int, int]:
    """(height, width) of a tensor [N, C, H, W], of samples [H, W, C] or of a file."""
    if isinstance(image, graph.OnDisk):
        return image.sides
    height, width = image.shape[-2:] if isinstance(image, Tensor) else image.shape[:2]
    return height, width
