"""Translate and write measurements: TIFF stacks of any values and 1 to 16 channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganvas.core.errors import CapabilityError, DataError, UserError, printable
from ganvas.core.files import open_atomic
from ganvas.core.guards import open_regular, plural
from ganvas.inference.options import ImageSource, Output, TranslateOptions
from ganvas.inference.runtime import Runtime
from ganvas.inference.tiling.graph import OnDisk
from ganvas.inference.tiling.ops import Window
from ganvas.inference.translator import Options, Translator
from ganvas.media import credentials, decode, generated, grid, tiff, tiff_writer
from ganvas.media.encode import Rows
from ganvas.media.provenance import Label
from ganvas.media.samples import Broken
from ganvas.media.values import Values

BAND = 256  # rows


@contextmanager
def opened(path: str | Path, runtime: Runtime) -> Iterator[tiff.Stack]:
    """Open a stack for a model of measurements.

    Raises `DataError` for files that cannot be read, and of another type or other
    channels than the model's.
    """
    name, values = printable(path), runtime.values
    assert values is not None
    try:
        with open_regular(path) as file:
            stack = tiff.Stack(file, decode.max_pixels())
            _require_fit(stack.channels, stack.dtype, values, runtime.channels)
            yield stack
    except FileNotFoundError:
        raise UserError(f"there is no file {name}") from None
    except Broken as e:
        raise DataError(f"{name}: {e}") from None
    except DataError as e:
        raise DataError(f"{name} {e}") from None


def _require_fit(channels: int, kind: np.dtype, values: Values, expected: int) -> None:
    if channels != expected:
        raise DataError(
            f"has {plural(channels, 'channel')}; the model was trained on images with {expected}"
        )
    if kind.name != values.type:
        raise DataError(
            f"holds {kind.name}; the model was trained on {values.type} from {values.low:g} to "
            f"{values.high:g}: convert it to that type"
        )


def translate_source(
    translator: Translator, image: ImageSource, options: Options, output: Output
) -> Image.Image | np.ndarray | Tensor:
    """One image in the requested form; see `Model.translate`.

    Raises `CapabilityError` for PIL images and files of another format.
    """
    if not isinstance(image, str | Path) or not is_tiff(image):
        raise CapabilityError(
            "this model translates measurements: give the path of a TIFF file, or a tensor "
            "[N, C, H, W] in [-1, 1]"
        )
    runtime = translator.runtime
    with opened(image, runtime) as stack:
        if stack.count > 1:
            raise UserError(
                f"{printable(image)} holds {stack.count} images: translate it with "
                "ganvas.inference.translate_files.translate_files, or give a file for each"
            )
        source = stored(stack, 0, runtime, None)
        parts = [part.float() for part in translator.parts(source, options)]
    x = torch.cat(parts, 2)[0]
    if output == "torch":
        return x
    if output == "numpy":
        return runtime.measured(x)
    return generated.generated(
        grid.to_uint8(runtime.apart(x)), None, composite=True, **runtime.facts, seed=options.seed
    )


def translate_stack(
    runtime: Runtime, file: Path, target: Path, how: TranslateOptions, **facts: object
) -> tuple[int, int]:
    """Write the translation of a TIFF file, with its tags, in the type of the data.

    how: options of `Model.translate`
    facts: content of the mark

    Returns (height, width) of its images. Raises `DataError` as `opened`.
    """
    folder, translator = target.parent, Translator(runtime)
    options = translator.options(
        how.get("to"), how.get("tile"), how.get("seed", 0), how.get("at_training_size", False)
    )
    if options.at_training_size:
        raise CapabilityError("measurements are translated at their own size only")
    values, scale = runtime.values, translator.upscale
    assert values is not None

    def image(index: int, stack: tiff.Stack) -> Rows:
        source = stored(stack, index, runtime, folder)
        parts = translator.parts(source, options, folder)
        first = next(parts)

        def bands() -> Iterator[np.ndarray]:
            yield runtime.measured(first[0])
            for part in parts:
                yield runtime.measured(part[0])

        height, width = stack.height * scale, stack.width * scale
        return Rows(bands(), width, height, first.shape[1], 8 * values.dtype.itemsize)

    with opened(file, runtime) as stack:
        makers = [partial(image, index, stack) for index in range(stack.count)]
        pixels = stack.count * stack.height * stack.width * scale**2
        size = pixels * runtime.channels * values.dtype.itemsize
        save(target, makers, values.dtype, size, Label.of(facts, True), stack, scale)
        return stack.height * scale, stack.width * scale


def save(
    path: Path,
    images: Sequence[Callable[[], Rows]],
    kind: np.dtype,
    size: int,
    label: Label,
    like: tiff.Stack | None = None,
    scale: int = 1,
) -> None:
    """Write a TIFF file of measurements, marked and signed, atomically.

    images, kind, size, label, like, scale: see `media.tiff_writer.write`
    """
    with open_atomic(path) as file:
        credentials.write_signed(
            lambda plain: tiff_writer.write(plain, images, kind, size, label, like, scale),
            file,
            ".tif",
            label,
            path.parent,
        )


def save_sample(x: Tensor, path: Path, runtime: Runtime, **facts: object) -> None:
    """Write a generated image [C, H, W] in [-1, 1] as a TIFF file of measurements."""
    values = runtime.measured(x)
    height, width, channels = values.shape
    image = Rows([values], width, height, channels, 8 * values.itemsize)
    save(path, [lambda: image], values.dtype, values.nbytes, Label.of(facts, False))


def stored(stack: tiff.Stack, index: int, runtime: Runtime, folder: Path | None) -> OnDisk:
    """An image of a stack in a temporary file, in [-1, 1], without holding it all.

    Raises `Broken`, and `DataError` for NaN.
    """
    values, sides = runtime.values, (stack.height, stack.width)
    assert values is not None
    planes: dict[int, OnDisk] = {}  # by their first channel: pages or samples of a page
    for top, left, channel, block in stack.blocks(index):
        _, width, channels = block.shape
        if channel not in planes:
            planes[channel] = OnDisk(channels, sides, folder=folder)
        for start in range(0, len(block), BAND):  # a block may be the whole image
            part = block[start : start + BAND]
            rows = top + start, top + start + len(part)
            planes[channel].write(Window(rows, (left, left + width)), values.to_unit(part))
    if len(planes) == 1:
        return planes[0]
    whole = OnDisk(stack.channels, sides, folder=folder)
    for top in range(0, stack.height, BAND):
        window = Window((top, min(top + BAND, stack.height)), (0, stack.width))
        parts = [planes[channel].read(window) for channel in sorted(planes)]
        whole.write(window, torch.cat(parts, 1)[0].permute(1, 2, 0).numpy())
    return whole


def is_tiff(path: str | Path) -> bool:
    """Whether a file's ending is that of TIFF."""
    return Path(path).suffix.lower() in (".tif", ".tiff")
