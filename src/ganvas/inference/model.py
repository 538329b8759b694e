"""A trained model: sample, walk, mix, project, translate.

`Model` is a facade of `sampler.Sampler` and `translator.Translator`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Unpack, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganvas.core import Curve, Method
from ganvas.core.arguments import checked
from ganvas.core.errors import UserError, printable
from ganvas.inference import image_input, measurements, model_file, openvino
from ganvas.inference.latent import projection
from ganvas.inference.options import (
    Array,
    Facts,
    ImageSource,
    Label,
    MixOptions,
    Names,
    Output,
    Outputs,
    Pil,
    ProjectOptions,
    SampleOptions,
    Several,
    Torch,
    TranslateOptions,
    WalkOptions,
)
from ganvas.inference.runtime import Runtime, check_output
from ganvas.inference.sampler import Sampler
from ganvas.inference.translator import Translator, translate_source
from ganvas.media import encode
from ganvas.media.samples import Decoded


class Model:
    """A trained method, ready to use.

    info: the description of the model, as in its header
    method: the torch module
    source: path that the model was loaded from, if any
    """

    def __init__(
        self,
        method: Method,
        info: Mapping[str, object],
        device: str = "cpu",
        precision: str = "fp32",
        backend: str = "torch",
        source: str | None = None,
    ) -> None:
        """`precision` and `backend`: see `ganvas.load`; `source`: for `repr`."""
        if precision not in ("fp32", "bf16"):
            raise UserError(f"precision is {precision!r}; choose fp32 or bf16")
        method.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (torch's stubs lack it)
        self.method = method.eval().requires_grad_(False)
        self.info = info
        self.source = source
        weights = model_file.weights_hash(self.method)
        self.runtime = Runtime(self.method, info, weights, narrow=precision == "bf16")
        openvino.use(backend, self.method, precision)
        self._sampler = Sampler(self.runtime)
        self._translator = Translator(self.runtime)

    def __repr__(self) -> str:
        source = "" if self.source is None else f", from {printable(self.source)}"
        return f"<ganvas.Model {self.runtime.summary()}{source}>"

    @property
    def facts(self) -> Facts:
        """Facts that every image carries: recipe, images trained, weights' hash."""
        return self.runtime.facts

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, numbers if they have none; () without labels."""
        return self.runtime.classes

    @property
    def training_size(self) -> tuple[int, int]:
        """(height, width) of the training images."""
        return self.runtime.training_size

    # -------- images from noise

    @overload
    def sample(
        self, n: int = 1, *, output: Pil = "pil", **options: Unpack[SampleOptions]
    ) -> list[Image.Image]: ...

    @overload
    def sample(
        self, n: int = 1, *, output: Array, **options: Unpack[SampleOptions]
    ) -> np.ndarray: ...

    @overload
    def sample(self, n: int = 1, *, output: Torch, **options: Unpack[SampleOptions]) -> Tensor: ...

    @checked
    def sample(
        self, n: int = 1, *, output: Output = "pil", **options: Unpack[SampleOptions]
    ) -> Outputs:
        """Generate `n` images.

        Image i of a seed does not depend on n (up to the rounding of another batch
        size).

        seed: 0 by default
        label: one class for all images, by number or by name (`classes`)
        labels: the class of each image. None, without `label`: all classes in turn; or
            each latent in every domain, side by side, if these are coupled (`Couples`)
        truncation: psi, at most 1; smaller: better quality, less variety
            (`core.Truncates`). None: no truncation
        output: "pil": a list of PIL images that carry the mark "generated" when they
            are saved (`provenance.Generated`); "numpy": uint8 [n, H, W, C], or values
            in the type of the data for measurements; "torch": float32 [n, C, H, W] in
            [-1, 1]. Arrays and tensors carry no mark
        batch: images per forward pass. None: by memory, at most 64 (`batch_that_fits`)
        all_classes: each of `n` latents in every class, one after the other
        size: one side in pixels or (height, width), of methods that can
            (`core.AnySize`). None: that of training
        on_progress: called with the number of images that are done, with a fraction if
            an image takes many steps

        Raises `UserError` for a model that only translates, and for labels, a
        truncation or a size that the model does not have.
        """
        if n < 1:
            raise UserError(f"n is {n}; it must be at least 1")
        images = torch.cat(list(self.batches(n, **options)))
        return self.runtime.output(images, output, seed=options.get("seed", 0))

    def batches(self, n: int, **options: Unpack[SampleOptions]) -> Iterable[Tensor]:
        """`sample` in batches of `batch` images [., C, H, W] in [-1, 1]."""
        return self._sampler.batches(n, **options)

    def numpy(self, n: int, **options: Unpack[SampleOptions]) -> np.ndarray:
        """`sample` as an array [n, H, W, C]."""
        return self.sample(n, output="numpy", **options)

    @overload
    def walk(
        self, through: Names | int = 6, *, output: Pil = "pil", **options: Unpack[WalkOptions]
    ) -> list[Image.Image]: ...

    @overload
    def walk(
        self, through: Names | int = 6, *, output: Array, **options: Unpack[WalkOptions]
    ) -> np.ndarray: ...

    @overload
    def walk(
        self, through: Names | int = 6, *, output: Torch, **options: Unpack[WalkOptions]
    ) -> Tensor: ...

    @checked
    def walk(
        self,
        through: Names | int = 6,
        *,
        seed: int = 0,
        frames: int = 30,
        loop: bool = True,
        curve: Curve | None = None,
        label: Label | None = None,
        truncation: float | None = None,
        output: Output = "pil",
    ) -> Outputs:
        """Frames of a latent walk from sample to sample (`latent.interpolation.walk`).

        through: samples by (seed, number), or the count of the first samples of `seed`
        frames: from each sample to the next
        loop: return to the first sample
        curve: "linear" or "spherical"; None: the method's own
        label: one class for the whole walk; None: the first, of models with labels
        truncation, output: as of `sample`

        Raises `UserError` as `sample` does.
        """
        images = self._sampler.walk(
            through,
            seed=seed,
            frames=frames,
            loop=loop,
            curve=curve,
            label=label,
            truncation=truncation,
        )
        return self.runtime.output(images, output, seed=seed)

    @overload
    def mix(
        self,
        rows: Names,
        columns: Names,
        layers: str = "coarse",
        *,
        output: Pil = "pil",
        **options: Unpack[MixOptions],
    ) -> list[Image.Image]: ...

    @overload
    def mix(
        self,
        rows: Names,
        columns: Names,
        layers: str = "coarse",
        *,
        output: Array,
        **options: Unpack[MixOptions],
    ) -> np.ndarray: ...

    @overload
    def mix(
        self,
        rows: Names,
        columns: Names,
        layers: str = "coarse",
        *,
        output: Torch,
        **options: Unpack[MixOptions],
    ) -> Tensor: ...

    @checked
    def mix(
        self,
        rows: Names,
        columns: Names,
        layers: str = "coarse",
        *,
        label: Label | None = None,
        truncation: float | None = None,
        output: Output = "pil",
    ) -> Outputs:
        """A sheet of mixed styles, (1 + rows) x (1 + columns) images, row by row.

        The first row is a gray image and the sources of the columns. Every other row is
        its source, then that source with the styles `layers` of each column.

        rows, columns: samples by (seed, number)
        layers: coarse, middle, fine, or a range such as "2-5"
        label, truncation, output: as of `walk`

        Raises `UserError` for methods without styles and layers that do not exist.
        """
        sheet = self._sampler.mix(rows, columns, layers, label=label, truncation=truncation)
        return self.runtime.output(sheet, output)

    def project(
        self,
        images: ImageSource | Several | Tensor,
        **options: Unpack[ProjectOptions],
    ) -> projection.Projection:
        """The latents of images: see `latent.projection.project` for `options`.

        images: one or a list of PIL images, paths or arrays [H, W, C], cropped and
            scaled to the model's size; or a float tensor [N, C, H, W] in [-1, 1] of it
        """
        self._sampler.generator()
        x = images if isinstance(images, Tensor) else self.fitted(images)
        return self._sampler.project(x, **options)

    def class_number(self, name: str) -> int:
        """The number of a class. Raises `UserError` for an unknown name."""
        return self._sampler.class_number(name)

    def columns(self, n: int) -> int | None:
        """The columns of a grid of `n` samples: nearly square, one class per column.

        All classes stand once or several times in each row. None: any number will do.
        """
        return self._sampler.columns(n)

    # -------- images from images

    def fitted(self, images: ImageSource | Several) -> Tensor:
        """Images, cropped and scaled to the training size: [N, C, H, W] in [-1, 1]."""
        sources = image_input.as_list(images)
        x = image_input.fitted(sources, self.training_size, self.runtime.channels)
        return x.to(self.method.device)

    @overload
    def translate(
        self, images: ImageSource, *, output: Pil = "pil", **options: Unpack[TranslateOptions]
    ) -> Image.Image: ...

    @overload
    def translate(
        self, images: Several | Tensor, *, output: Pil = "pil", **options: Unpack[TranslateOptions]
    ) -> list[Image.Image]: ...

    @overload
    def translate(
        self, images: ImageSource | Tensor, *, output: Array, **options: Unpack[TranslateOptions]
    ) -> np.ndarray: ...

    @overload
    def translate(
        self, images: Several, *, output: Array, **options: Unpack[TranslateOptions]
    ) -> list[np.ndarray]: ...

    @overload
    def translate(
        self, images: ImageSource | Tensor, *, output: Torch, **options: Unpack[TranslateOptions]
    ) -> Tensor: ...

    @overload
    def translate(
        self, images: Several, *, output: Torch, **options: Unpack[TranslateOptions]
    ) -> list[Tensor]: ...

    def translate(
        self,
        images: ImageSource | Several | Tensor,
        *,
        to: str | None = None,
        output: Output = "pil",
        tile: int | None = None,
        seed: int = 0,
        at_training_size: bool = False,
    ) -> Outputs | Image.Image | Sequence[Image.Image | np.ndarray | Tensor]:
        """Translate images to domain `to`, each at its own size times `method.upscale`.

        images: one or a list of PIL images, paths, or arrays as of `output` "numpy"; or
            a float tensor [N, C, H, W] in [-1, 1]; for measurements paths of TIFF
            files. Paths keep alpha, 16 bits and the ICC profile (`bands`)
        to: "b" by default; `method.directions` lists the domains
        output: "pil": images that carry the mark "generated" when they are saved
            (`provenance.Generated`); "numpy": uint8 or uint16 [H, W, 1 (gray), 2 (gray,
            alpha), 3 or 4]; "torch": the network's output, float [C, H, W] in [-1, 1].
            Arrays and tensors carry no mark
        tile: largest side of a tile, in pixels. None: whole, or in tiles if memory is
            short. It does not change the result (`inference.tiling`)
        seed: of the network's own random draws (the dropout of pix2pix and DualGAN)
        at_training_size: scale images to the training size, and the results back

        Raises `UserError` for a model that does not translate, and for an unknown
        domain.
        """
        options = self._translator.options(to, tile, seed, at_training_size)
        if at_training_size and (output == "torch" or isinstance(images, Tensor)):
            raise UserError("at_training_size needs images or paths and output 'pil' or 'numpy'")
        check_output(output)
        if isinstance(images, Tensor):
            return self.runtime.output(self._translator.translate(images, options), output)
        one = measurements.translate_source if self.runtime.values else translate_source
        results = [one(self._translator, i, options, output) for i in image_input.as_list(images)]
        return results[0] if image_input.is_one(images) else results

    def bands(
        self,
        image: ImageSource | Decoded,
        *,
        to: str | None = None,
        tile: int | None = None,
        seed: int = 0,
        at_training_size: bool = False,
        folder: Path | None = None,
    ) -> encode.Rows:
        """Translate one image to bands of rows, for results that do not fit in memory.

        The result has the input's depth and alpha (bicubic if the model upscales). Gray
        images stay gray in models that upscale or restore (`keeps_gray`); other models
        may return color. The ICC profile is kept if the result has the same number of
        colors.

        image: path, PIL image, array or `Decoded`
        folder: for temporary files; None: the system's
        """
        options = self._translator.options(to, tile, seed, at_training_size)
        decoded = image if isinstance(image, Decoded) else image_input.decoded(image)
        return self._translator.bands(decoded, options, folder)

    @property
    def keeps_gray(self) -> bool:
        """Whether gray images stay gray: in models that upscale or restore."""
        return self._translator.keeps_gray
