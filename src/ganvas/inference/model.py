"""A trained model as files, and as an object to use.

`model/model.safetensors` holds the picture-making networks' weights and, in its header, all that is needed to build them:
it loads without the run that made it and without unpickling anything. `model.json` says the same for people and programs,
`README.md` is the model card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganvas.core import Couples, Method, Samples, Styled, Translates, Truncates
from ganvas.core.environment import memory
from ganvas.core.errors import CapabilityError, UserError, did_you_mean, printable
from ganvas.inference import openvino
from ganvas.inference.latent import interpolation, naming, projection, style_mixing
from ganvas.inference.latent.naming import Picture
from ganvas.inference.tiling import executor, graph, lazy_image, ops
from ganvas.media import decode, encode, generated, grid
from ganvas.media.decode import max_pixels
from ganvas.media.samples import Broken, Decoded, as_array, fit, luma, opaque, resized, to_channels

Output = Literal["pil", "numpy", "torch"]
_LEAST = 8  # pixels a side: networks with strides mirror their borders at a quarter of the size
MOST_COLUMNS = 32  # of a grid with a class a column


class _TranslateOptions(NamedTuple):
    """How to translate: the domain, the largest side of a part, the seed of what the network draws, and whether images are
    brought to the size that the model was trained at."""

    to: str
    tile: int | None
    seed: int
    at_training_size: bool = False


class Model:
    """A trained method, ready to use. `info` says what it is; `method` is the torch module underneath."""

    def __init__(
        self,
        method: Method,
        info: dict[str, Any],
        device: str = "cpu",
        precision: str = "fp32",
        backend: str = "torch",
        source: str | None = None,
    ) -> None:
        """`source`: where it was loaded from, for `repr`."""
        if precision not in ("fp32", "bf16"):
            raise UserError(f"precision {precision!r} is not known here; choose fp32 or bf16")
        method.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (torch's stubs lack it)
        self.method = method.eval().requires_grad_(False)
        self.info = info
        self.source = source
        self._narrow = precision == "bf16"
        openvino.use(backend, self.method, precision)

    def __repr__(self) -> str:
        shape, facts = self.info["shape"], [type(self.method).__name__]
        facts.append("x".join(str(shape[k]) for k in ("height", "width", "channels")) + " (height x width x channels)")
        if self.method.upscale > 1:
            facts.append(f"enlarges {self.method.upscale} times")
        if self.method.classes:
            names = [self._class_names()[i] for i in range(min(self.method.classes, 5))]
            more = ", ..." if self.method.classes > 5 else ""
            facts.append(f"{self.method.classes} classes: {', '.join(map(printable, names))}{more}")
        if self.source is not None:
            facts.append(f"from {printable(self.source)}")
        return f"<ganvas.Model {', '.join(facts)}>"

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        labels: Sequence[int | str] | None = None,
        truncation: float | None = None,
        output: Output = "pil",
        batch: int | None = None,
        all_classes: bool = False,
    ) -> Any:
        """`n` new images. Image i of a seed is the same whatever n is (up to the rounding of a differently sized batch).

        `labels`: the class of each image, by number or name, for models that were trained with labels; None: all classes in
        turn, and where classes are coupled domains (`core.Couples`) each latent in every one of them: pairs, side by side.
        `truncation`: variety given up for likelihood, 1 or less (`core.Truncates`); None: none is.
        `all_classes`: generate each of `n` latents in every class, latent by latent: n * classes images.
        `batch`: images at a time; None: 64, or fewer where the machine's memory asks for it (`fitting`).
        `output`: "pil" a list of PIL images, which are marked as generated when they are saved
        (`provenance.Generated`); "numpy" uint8 [n, H, W, C] and "torch" float32 [n, C, H, W] in [-1, 1], both without a mark.
        Raises `UserError` for a model that only translates, and for labels or a truncation that it does not have."""
        if n < 1:
            raise UserError(f"n is {n}; ask for at least one image")
        how: dict[str, Any] = {"seed": seed, "labels": labels, "truncation": truncation, "batch": batch}
        parts = self.batches(n, **how, all_classes=all_classes)
        return self._as(torch.cat(list(parts)), output, seed=seed)

    def batches(
        self,
        n: int,
        *,
        seed: int = 0,
        labels: Sequence[int | str] | None = None,
        truncation: float | None = None,
        batch: int | None = None,
        all_classes: bool = False,
    ) -> Iterable[Tensor]:
        """`sample` in parts of `batch` images [., C, H, W] in [-1, 1], for when n is large."""
        method = self._sampler(truncation)
        classes = method.classes
        batch, times = batch or self._fitting(), 1  # images of one latent
        if all_classes:
            if not classes or labels is not None:
                why = "takes no label besides" if classes else "needs a model that was trained with labels"
                raise CapabilityError(f"all classes were asked for, which {why}")
            n, times, labels = n * classes, classes, list(range(classes)) * n
        elif labels is not None:
            labels = self._check_labels(labels, n)
        elif classes:
            labels = [i % classes for i in range(n)]
            times = classes if isinstance(self.method, Couples) else 1
        for first in range(0, n, batch):
            count = min(batch, n - first)
            y = None if labels is None else torch.as_tensor(labels[first : first + count], device=self.method.device)
            z = naming.latents(method, [(seed, i // times) for i in range(first, first + count)])
            with self._autocast(), _fixed():
                made = naming.generate(method, z, y, truncation).float()
            yield made

    @property
    def facts(self) -> dict[str, Any]:
        """What every picture that it makes says of it."""
        return {k: self.info.get(k) for k in ("recipe", "images_trained")}

    def _sampler(self, truncation: float | None = None) -> Any:
        """The method as one that makes images from noise, and truncates where that is asked for."""
        if not isinstance(self.method, Samples):
            raise CapabilityError(f"{type(self.method).__name__} makes images from images: use translate")
        if truncation is not None:
            if not isinstance(self.method, Truncates):
                raise CapabilityError(f"{type(self.method).__name__} knows no truncation. {_methods_with('truncated')}")
            if not truncation > 0:
                raise UserError(
                    f"truncation is {truncation}; give a number above 0 (1, or the largest, changes nothing)"
                )
        return self.method

    def _one_label(self, label: int | str | None, n: int) -> Tensor | None:
        """[n], all the same: the class asked for, or the first."""
        number = 0 if label is None else self._check_labels([label], 1)[0]
        return torch.full((n,), number, device=self.method.device) if self.method.classes else None

    def walk(
        self,
        through: Sequence[Picture] | int = 6,
        *,
        seed: int = 0,
        frames: int = 30,
        loop: bool = True,
        curve: interpolation.Curve | None = None,
        label: int | str | None = None,
        truncation: float | None = None,
        output: Output = "pil",
    ) -> Any:
        """Images on the way from picture to picture, as a film wants them (`inspect.walks.walk`).

        `through`: pictures by (seed, number), or how many of `seed`'s first ones. `frames`: from each to the next. `label`:
        one class for the whole way, the first by default, for models with labels. Raises `UserError` as `sample` does."""
        method = self._sampler(truncation)
        names = [(seed, i) for i in range(through)] if isinstance(through, int) else list(through)
        z, y = naming.latents(method, names), self._one_label(label, len(names))
        how: dict[str, Any] = {"frames": frames, "loop": loop, "curve": curve, "truncation": truncation}
        with self._autocast(), _fixed(), torch.no_grad():
            parts = list(interpolation.walk(method, z, y, batch=self._fitting(), **how))
        return self._as(torch.cat(parts).float(), output)

    def mix(
        self,
        rows: Sequence[Picture],
        columns: Sequence[Picture],
        layers: str = "coarse",
        *,
        label: int | str | None = None,
        truncation: float | None = None,
        output: Output = "pil",
    ) -> Any:
        """A sheet of mixed styles, (1 + rows) x (1 + columns) images row by row: first a gray one and the columns' sources;
        then of every row its source, and what it becomes with `layers` of each column's styles.

        `rows`, `columns`: pictures by (seed, number). `layers`: coarse, middle, fine, or a range as "2-5". Raises `UserError`
        for methods without styles and for layers that are not there."""
        method = self._sampler()
        if not isinstance(method, Styled):
            raise CapabilityError(f"{type(method).__name__} has no styles to mix. {_methods_with('synthesize')}")
        which = style_mixing.layers(layers, method.layers)
        with self._autocast(), _fixed(), torch.no_grad():
            z = naming.latents(self._sampler(), [*rows, *columns])
            w = naming.styles(method, z, self._one_label(label, len(z)), truncation)
            w = torch.cat([w, style_mixing.mix_styles(w[: len(rows)], w[len(rows) :], which)])
            made = torch.cat([method.synthesize(part) for part in w.split(self._fitting())]).float()
        left, top, middle = made[: len(rows)], made[len(rows) : len(z)], made[len(z) :].unflatten(0, (len(rows), -1))
        first = torch.cat([torch.zeros_like(made[:1]), top])
        sheet = torch.cat([first[None], torch.cat([left[:, None], middle], 1)])
        return self._as(sheet.flatten(0, 1), output)

    def project(self, images: Any, **how: Any) -> projection.Projection:
        """The latents of images: see `inspect.projection.project`, which takes `space`, `steps`, `distance` and `seed`.

        `images`: one or a list of PIL images or paths, cut and scaled to the model's size, or a float tensor [N, C, H, W] in
        [-1, 1] of that size."""
        method = self._sampler()
        x = images if isinstance(images, Tensor) else self.fitted(images)
        with torch.inference_mode(False):
            return projection.project(method, x.to(method.device), **how)

    def fitted(self, images: Any) -> Tensor:
        """Pictures or paths -> [N, C, H, W] in [-1, 1] as the model takes and makes them: cut from the middle and scaled."""
        one = isinstance(images, str | Path | Image.Image)
        return torch.cat([self._image(image, self.training_size) for image in ([images] if one else images)])

    def _fitting(self) -> int:
        return batch_that_fits(self.info["shape"]["height"], self.info["shape"]["width"], self.method.device)

    def _check_labels(self, labels: Iterable[int | str], n: int) -> list[int]:
        """The numbers of `n` classes, given by number or by name."""
        classes = self.method.classes
        if not classes:
            raise CapabilityError("this model was trained without labels, so none can be asked for")
        if isinstance(labels, str):
            raise UserError(f"labels must be a list of {n} names or numbers, one an image; got {labels!r}")
        labels = list(labels)
        numbers = [self.class_number(y) if isinstance(y, str) else y for y in labels]
        whole = all(hasattr(y, "__index__") and 0 <= y < classes for y in numbers)
        if len(numbers) != n or not whole:
            raise UserError(
                f"labels must be {n} numbers from 0 to {classes - 1}, or names of classes, one an image; "
                f"got {labels[:10]}"
            )
        return [int(y) for y in numbers]

    def class_number(self, name: str) -> int:
        """The number of the class of this name. Raises `UserError` where there is none."""
        if not self.method.classes:
            raise CapabilityError("this model was trained without labels, so no class can be asked for")
        names = self._class_names()
        if name not in names:
            raise UserError(f"this model knows no class {name!r}. {did_you_mean(name, names)}")
        return names.index(name)

    def _class_names(self) -> list[str]:
        """A name for each class: its number, where the model has no names."""
        names = [str(c) for c in self.info.get("data", {}).get("classes", ())]
        if isinstance(self.method, Couples):
            names = list(self.method.domains)
        return names if len(names) == self.method.classes else [str(i) for i in range(self.method.classes)]

    def columns(self, n: int) -> int | None:
        """Columns of a grid of `n` samples: nearly square, with all classes once or several
        times in each row, so that a column holds one class. None: any number will do."""
        classes = self.method.classes
        if not 2 <= classes <= MOST_COLUMNS:
            return None
        return classes * max(1, round(n**0.5 / classes))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.method.device.type, torch.bfloat16, self._narrow)

    def translate(
        self,
        images: Any,
        *,
        to: str | None = None,
        output: Output = "pil",
        tile: int | None = None,
        seed: int = 0,
        at_training_size: bool = False,
    ) -> Any:
        """Translate images to domain `to`, each at its own size, or enlarged `method.upscale` times.

        images: one or a list of PIL images or paths, or a float tensor [N, C, H, W] in [-1, 1].
            Alpha, 16 bits and the ICC profile are kept (`bands`); of 16-bit color PIL has no
            mode, so give paths.
        to: "b" by default; `method.directions` lists them
        output: "pil" for images that are marked as generated when they are saved
            (`provenance.Generated`); "numpy" for their samples, uint8 or uint16
            [H, W, 1 (gray), 2 (gray, alpha), 3 or 4]; "torch" for what the network gives, float
            [C, H, W] in [-1, 1]. Arrays and tensors carry no mark.
        tile: compute in parts of at most this many pixels a side; None: whole, or in parts if
            memory is short. It makes no difference to the result (`large`).
        seed: of what the network draws, if it does (pix2pix's and DualGAN's dropout)
        at_training_size: scale images to the size that the model was trained at, and the result
            back to theirs

        Raises `UserError` for a model that does not translate, and for an unknown direction."""
        how = self._asked(to, tile, seed, at_training_size)
        if at_training_size and (output == "torch" or isinstance(images, Tensor)):
            raise UserError("at_training_size takes images or paths, and gives output 'pil' or 'numpy'")
        if isinstance(images, Tensor):
            return self._as(self._translate(images, how), output)
        if output not in ("pil", "numpy", "torch"):
            raise UserError(f"output is {output!r}; choose 'pil', 'numpy' or 'torch'")
        single = isinstance(images, str | Path | Image.Image)
        made = [self._output(self._decoded(image), how, output) for image in ([images] if single else images)]
        return made[0] if single else made

    def bands(
        self,
        image: Any,
        *,
        to: str | None = None,
        tile: int | None = None,
        seed: int = 0,
        at_training_size: bool = False,
        folder: Path | None = None,
    ) -> encode.Rows:
        """Translate one image (path, PIL image or `Decoded`) to bands of rows, for those that memory should not hold.

        The result has the input's depth and alpha (bicubic where the model enlarges). Gray images
        stay gray in models that enlarge or restore (`keeps_gray`); others make color of them. The
        ICC profile is kept where the result has as many colors.

        folder: for temporary files; None: the system's"""
        decoded = image if isinstance(image, Decoded) else self._decoded(image)
        return self._bands(decoded, self._asked(to, tile, seed, at_training_size), folder)

    @property
    def keeps_gray(self) -> bool:
        """Whether gray images come out gray, by the luma of what the network makes: where it enlarges or restores. A
        translation to another domain may give them color."""
        from ganvas.methods import (
            SRGAN,
            SRResNet,  # which may have a scale of 1 (networks that denoise)
        )

        restores = isinstance(self.method, SRGAN | SRResNet) or self.info.get("recipe") == "restore"
        return self.method.upscale > 1 or restores

    @property
    def training_size(self) -> tuple[int, int]:
        """(height, width) of the images that it was trained on."""
        height, width = self.info["shape"]["height"], self.info["shape"]["width"]
        side = self.method.current_stage.resolution
        return (
            (height, width)
            if side is None
            else (height * side // max(height, width), width * side // max(height, width))
        )

    def _output(self, image: Decoded, how: _TranslateOptions, output: Output) -> Any:
        if output == "torch":
            return self._translate(self._tensor(self._seen(image)), how)[0]
        rows = self._bands(image, how)
        samples = np.concatenate(list(rows.bands))
        return samples if output == "numpy" else generated.generated(samples, rows.profile, **self.facts, seed=how.seed)

    def _bands(self, image: Decoded, how: _TranslateOptions, folder: Path | None = None) -> encode.Rows:
        seen, size = self._seen(image), (image.height, image.width)
        if how.at_training_size:
            ratio = min(self.training_size) / min(size)
            seen = resized(seen, (max(round(size[0] * ratio), 1), max(round(size[1] * ratio), 1)))
        alpha, gray, bits = image.alpha, image.color.shape[2] == 1, 8 * image.color.itemsize
        profile, lost = image.profile, list(image.lost)
        del image  # the color, which may be large, is `seen` no longer than it takes
        made = self._made(seen, how, folder)
        del seen
        channels, height, width = made.shape[1:]
        if not how.at_training_size:
            size = height, width
        gray_out = channels == 1 or (channels == 3 and gray and self.keeps_gray)
        if profile and gray_out != gray:
            lost.append(f"the ICC profile (of {'gray' if gray else 'color'} images, which these are no longer)")
            profile = None
        if channels == 4:  # the network's own
            alpha = None

        def bands() -> Iterator[np.ndarray]:
            parts = (grid.to_uint8(part[0], bits) for part in self._parts(made, how.seed))
            if how.at_training_size:
                small = np.concatenate(list(parts))
                spans = [(top, min(top + 256, size[0])) for top in range(0, size[0], 256)]
                parts = (resized(small, size, span) for span in spans)
            top = 0
            for part in parts:
                rows, top = (top, top + len(part)), top + len(part)
                color = luma(part) if gray_out else part
                yield color if alpha is None else np.dstack([color, resized(alpha[..., None], size, rows)])

        total = (1 if gray_out else channels) + (alpha is not None)
        return encode.Rows(bands(), size[1], size[0], total, bits, profile, tuple(lost))

    def _asked(self, to: str | None, tile: int | None, seed: int, at_training_size: bool = False) -> _TranslateOptions:
        if not isinstance(self.method, Translates):
            raise CapabilityError(f"{type(self.method).__name__} makes images from noise: use sample")
        to = to or self.method.directions[0]
        if to not in self.method.directions:
            raise CapabilityError(f"this model translates to {' or '.join(self.method.directions)}, not to {to!r}")
        if tile is not None and tile < ops.MIN_TILE:
            raise CapabilityError(f"tile is {tile}; parts are {ops.MIN_TILE} pixels a side at least")
        if at_training_size and self.method.upscale > 1:
            raise CapabilityError("this model enlarges what it is given: there is no training size to bring images to")
        return _TranslateOptions(to, tile, seed, at_training_size)

    def _fits(self, pixels: int, part: int = 8) -> bool:
        """Whether a generator that holds 256 numbers for every pixel takes this part of the memory, or less."""
        return 256 * 4 * pixels * self.method.upscale**2 <= memory(self.method.device) // part

    def _opened(self, image: Any) -> Image.Image:
        """A picture or path -> the picture, upright, in 8 bits and the model's channels."""
        return to_channels(_decode(decode.read, image, decode.MAX_PIXELS), self.info["shape"]["channels"])

    def _decoded(self, image: Any) -> Decoded:
        """A picture or path with all that it holds."""
        return _decode(decode.decode, image, max_pixels())

    def _seen(self, image: Decoded) -> np.ndarray:
        """What the network sees of an image, uint8 or uint16 [H, W, C]."""
        channels = self.info["shape"]["channels"]
        if channels == 4:
            alpha = np.full_like(image.color[..., 0], image.white) if image.alpha is None else image.alpha
            return np.dstack([np.broadcast_to(image.color, (*alpha.shape, 3)), alpha])
        color = opaque(image)
        return luma(color) if channels == 1 else np.broadcast_to(color, (*color.shape[:2], channels))

    def _tensor(self, samples: np.ndarray) -> Tensor:
        """uint8 or uint16 [H, W, C] -> [1, C, H, W] in [-1, 1]."""
        x = torch.from_numpy(samples.astype(np.float32)).permute(2, 0, 1)[None].to(self.method.device)
        return x.div_(np.iinfo(samples.dtype).max / 2).sub_(1.0)

    def _image(self, image: Any, size: tuple[int, int]) -> Tensor:
        """One picture or path -> [1, C, height, width] in [-1, 1], cut from the middle and scaled."""
        return self._tensor(as_array(fit(self._opened(image), size)))

    def _translate(self, x: Tensor, how: _TranslateOptions) -> Tensor:
        """[N, C, H, W]: whole where it fits memory, else one by one, and in parts."""
        if len(x) > 1:
            if how.tile is None and self._fits(len(x) * x.shape[-2] * x.shape[-1]):
                try:
                    return self._whole(x, how)
                except (RuntimeError, MemoryError) as e:
                    if not ops.out_of_memory(e):
                        raise
            return torch.cat([self._translate(one, how) for one in x.split(1)])
        made = self._made(x, how)
        return torch.cat(list(self._parts(made, how.seed)), 2).to(self.method.device)

    def _made(
        self, image: Tensor | np.ndarray, how: _TranslateOptions, folder: Path | None = None
    ) -> Tensor | lazy_image.LazyImage:
        """What is made of one image, [1, C, H, W]; yet to be computed where memory does not hold all of it."""
        height, width = image.shape[-2:] if isinstance(image, Tensor) else image.shape[:2]
        if how.tile is None and self._fits(height * width):
            try:
                return self._whole(image, how)
            except (RuntimeError, MemoryError) as e:
                if not ops.out_of_memory(e):
                    raise
        return self._in_parts(image, how, folder)

    def _parts(self, made: Tensor | lazy_image.LazyImage, seed: int) -> Iterator[Tensor]:
        """[1, C, h, W], from top to bottom."""
        if isinstance(made, Tensor):
            yield made
            return
        for top, bottom in made.bands():
            with self._steady(seed):
                part = made.rows(top, bottom)
            yield part

    def _whole(self, image: Tensor | np.ndarray, how: _TranslateOptions) -> Tensor:
        with self._steady(how.seed):
            return self._run(image if isinstance(image, Tensor) else self._tensor(image), how.to)

    def _in_parts(
        self, image: Tensor | np.ndarray, how: _TranslateOptions, folder: Path | None = None
    ) -> lazy_image.LazyImage | Tensor:
        """What is made of one picture, yet to be computed; computed, for a network that cannot be run in parts."""
        if isinstance(image, Tensor):
            height, width, source, middle = *image.shape[-2:], image, 0.0
        else:
            height, width, source = *image.shape[:2], graph.stored(image, folder)
            middle = np.iinfo(image.dtype).max / 2
        device = self.method.device
        budget = memory(device) // 8 if device.type == "cuda" else min(memory(device) // 32, 1 << 28)
        tiles = executor.Tiles(height * width * self.method.upscale**2, device, budget, how.tile, folder)
        x = tiles.picture(source)
        much = f"a picture of {width}x{height} pixels needs more memory than there is"
        advice = "Use a smaller picture, or a machine with more memory"
        try:
            with self._steady(how.seed):
                return self._run(x.float() / middle - 1.0 if middle else x, how.to)
        except (ops.NotTileable, TypeError, AttributeError) as e:  # the latter where it needs a tensor, and finds none
            why = str(e)
        except (RuntimeError, MemoryError) as e:
            if not ops.out_of_memory(e):
                raise
            raise UserError(f"{much}, even in the smallest parts. {advice}") from None
        if self._fits(height * width, 1):
            try:
                return self._whole(image, how)
            except (RuntimeError, MemoryError) as e:
                if not ops.out_of_memory(e):
                    raise
        raise UserError(f"{much}, and this network cannot be run in parts: {why}. {advice}")

    def _run(self, x: Any, to: str) -> Any:
        """Any size: padded by reflection to what the network's strides need, and cut back."""
        method: Any = self.method
        h, w, multiple, scale = *x.shape[-2:], method.multiple, method.upscale
        least = multiple if multiple == 1 else -(-_LEAST // multiple) * multiple
        pad = (max(least - w, -w % multiple), max(least - h, -h % multiple))
        mode = "reflect" if pad[0] < w and pad[1] < h else "replicate"
        x = torch.nn.functional.pad(x, (0, pad[0], 0, pad[1]), mode=mode) if any(pad) else x
        return method.translate(x, to).float()[..., : h * scale, : w * scale]

    @contextmanager
    def _steady(self, seed: int) -> Iterator[None]:
        """Within: networks are used and not trained, in the model's precision, and what they draw is the seed's."""
        with torch.inference_mode(), _fixed(seed), self._autocast():
            yield

    def _as(self, x: Tensor, output: Output, **facts: Any) -> Any:
        if output == "torch":
            return x
        if output == "numpy":
            return grid.to_uint8(x)
        if output == "pil":
            facts = {**self.facts, **facts}
            return [generated.generated(grid.to_uint8(image), **facts) for image in x]
        raise UserError(f"output is {output!r}; choose 'pil', 'numpy' or 'torch'")

    def numpy(self, n: int, **options: Any) -> np.ndarray:
        """`sample` as uint8 [n, H, W, C]."""
        return self.sample(n, output="numpy", **options)


@contextmanager
def _fixed(seed: int = 0) -> Iterator[None]:
    """Within: what a network draws is the same each time, and outside nothing has been drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _methods_with(skill: str) -> str:
    from ganvas import methods
    from ganvas import methods as methods_module

    able = [name for name in methods.__all__ if hasattr(getattr(methods_module, name), skill)]
    return f"Methods that can: {', '.join(able) or 'none of this version'}"


def batch_that_fits(height: int, width: int, device: torch.device) -> int:
    """How many images of this size to make at a time: a power of two up to 64, so that a generator that holds 256 numbers
    for every pixel takes an eighth of the memory. All memory, not what is free: a seed's pictures are rounded alike today
    and tomorrow."""
    images = max(1, memory(device) // 8 // (256 * 4 * height * width))
    return min(64, 1 << (images.bit_length() - 1))


def _decode(reader: Callable[[Any, int], Any], image: Any, most: int) -> Any:
    """A picture or path by a function of `decode`. Raises `UserError`, naming it."""
    given = isinstance(image, Image.Image)
    if not given and not Path(image).is_file():
        raise UserError(f"there is no file {printable(image)}")
    try:
        return reader(image if given else str(image), most)
    except Broken as e:
        raise UserError(f"{'the image' if given else printable(image)}: {e}") from None
    except MemoryError:
        raise UserError(
            f"{'the image' if given else printable(image)}: decoding it needs more memory than there is"
        ) from None
