"""A trained model as files, and as an object to use.

`model/model.safetensors` holds the picture-making networks' weights and, in its header, all that is needed to build them:
it loads without the run that made it and without unpickling anything. `model.json` says the same for people and programs,
`README.md` is the model card.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ganvas import backends, config, large, provenance
from ganvas.core import Couples, Method, Run, Samples, Shape, Stage, Styled, Translates, Truncates
from ganvas.data import decode
from ganvas.engine.checkpoint import write_atomically
from ganvas.engine.memory import keep_freed_memory
from ganvas.errors import UserError, WrongUse, did_you_mean
from ganvas.inspect import latents, mixing, projection, walks
from ganvas.inspect.latents import Picture
from ganvas.runs import restore, runs_below

Output = Literal["pil", "numpy", "torch"]
FORMAT = 1
MOST_COLUMNS = 32  # of a grid with a class a column


def save(folder: Path, method: Method, run: Run, shape: Shape, facts: dict[str, Any]) -> None:
    """Write `method`'s picture-making networks into `folder`. Raises `UserError` where that cannot be written.

    `facts`: what else a reader should know (recipe, paper, data, classes, images trained): JSON-ready."""
    header = {
        "method": config.dump(run.method),
        "shape": asdict(shape),
        "stage": asdict(method.now),
        "scale": method.scale,
        **facts,
    }
    write(folder, {k: v for k, v in method.state_dict().items() if k.split(".")[0] in method.averaged}, header)


def write(folder: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """A model's folder. Raises `UserError` where it cannot be written."""
    header = {"format": FORMAT, **header}
    tensors = {k: v.contiguous() for k, v in tensors.items()}
    path, temporary = folder / "model.safetensors", folder / f".model.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, metadata={"ganvas": json.dumps(header)})
        os.replace(temporary, path)
        write_atomically(folder / "model.json", json.dumps(header, indent=1))
        write_atomically(folder / "README.md", _card(header))
    except (OSError, SafetensorError) as e:
        temporary.unlink(missing_ok=True)
        raise UserError(f"the model could not be written to {folder}: {e}") from None


def load(
    path: str | Path, *, checkpoint: str = "last", device: str = "cpu", precision: str = "fp32", backend: str = "torch"
) -> Model:
    """The model of a run folder, of a model folder or of a `.safetensors` file.

    `checkpoint`: "last", "best" (by the run's own quality curve) or a number of images that the run still keeps.
    `precision`: "fp32", or "bf16", which rounds to 8 bits between layers: about twice as fast where the processor has
    instructions for it, pictures within a gray level or two. `backend`: "torch", or "openvino" (CPU; faster still).
    The process keeps the memory that it frees from then on, for the next pictures. Raises `UserError` where there is no
    model, or where the file was cut short."""
    keep_freed_memory()
    how = {"device": device, "precision": precision, "backend": backend}
    path = Path(path)
    if (path / "run.json").is_file() and checkpoint != "last":
        return _from_checkpoint(path, checkpoint, how)
    for candidate in (path, path / "model.safetensors", path / "model" / "model.safetensors"):
        if candidate.is_file():
            return Model(*_read(candidate), **how)
    hint = "it has not saved anything yet" if (path / "run.json").is_file() else "expected a run, or a model's folder"
    hint += runs_below(path)
    raise UserError(f"there is no model in {path}: {hint}")


def _read(path: Path) -> tuple[Method, dict[str, Any]]:
    try:
        with safe_open(path, "pt") as f:
            header = json.loads((f.metadata() or {})["ganvas"])
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, json.JSONDecodeError) as e:
        raise UserError(f"{path} cannot be read as a model: {e}. It may have been cut short.") from None
    except KeyError:
        raise UserError(f"{path} is not a ganvas model: its header has no 'ganvas' entry") from None
    if header["format"] > FORMAT:
        raise UserError(f"{path} has format {header['format']}; this version of ganvas reads up to {FORMAT}: upgrade")
    if "imported" in header:
        from ganvas import imported  # which writes models, and so sees this module

        return imported.method_of(tensors, str(path), Shape(**header["shape"])), header
    method = config.load(header["method"])(Shape(**header["shape"]))
    missing, unexpected = method.load_state_dict(tensors, strict=False)
    missing = [k for k in missing if k.split(".")[0] in method.averaged]
    if missing or unexpected:
        raise UserError(f"{path} does not fit its own description: missing {missing[:3]}, unexpected {unexpected[:3]}")
    method.now = Stage(**header["stage"])
    return method, header


def _from_checkpoint(run_folder: Path, which: str, how: dict[str, str]) -> Model:
    engine, record, _ = restore(run_folder, which, how["device"])
    return Model(engine.model(), {**record, "images_trained": engine.clock.images}, **how)


class Bands(NamedTuple):
    """A picture that comes in bands of rows, uint8 [h, width, channels]."""

    width: int
    height: int
    channels: int
    rows: Iterator[np.ndarray]


class _How(NamedTuple):
    """What is asked of a translation: the domain, the largest side of a part, and the seed of what the network draws."""

    to: str
    tile: int | None
    seed: int


class Model:
    """A trained method, ready to use. `info` says what it is; `method` is the torch module underneath."""

    def __init__(
        self,
        method: Method,
        info: dict[str, Any],
        device: str = "cpu",
        precision: str = "fp32",
        backend: str = "torch",
    ) -> None:
        if precision not in ("fp32", "bf16"):
            raise UserError(f"precision {precision!r} is not known here; choose fp32 or bf16")
        method.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (torch's stubs lack it)
        self.method = method.eval().requires_grad_(False)
        self.info = info
        self._narrow = precision == "bf16"
        backends.use(backend, self.method, precision)

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        labels: Sequence[int] | None = None,
        truncation: float | None = None,
        output: Output = "pil",
        batch: int | None = None,
        all_classes: bool = False,
    ) -> Any:
        """`n` new images. Image i of a seed is the same whatever n is (up to the rounding of a differently sized batch).

        `labels`: the class of each image by its number, for models that were trained with labels; None: all classes in turn,
        and where classes are coupled domains (`core.Couples`) each latent in every one of them: pairs, side by side.
        `truncation`: variety given up for likelihood, 1 or less (`core.Truncates`); None: none is.
        `all_classes`: generate each of `n` latents in every class, latent by latent: n * classes images.
        `batch`: images at a time; None: 64, or fewer where the machine's memory asks for it (`fitting`).
        `output`: "pil" a list of PIL images; "numpy" uint8 [n, H, W, C]; "torch" float32 [n, C, H, W] in [-1, 1]. Raises
        `UserError` for a model that only translates, and for labels or a truncation that it does not have."""
        if n < 1:
            raise UserError(f"n is {n}; ask for at least one image")
        how: dict[str, Any] = {"seed": seed, "labels": labels, "truncation": truncation, "batch": batch}
        parts = self.batches(n, **how, all_classes=all_classes)
        return self._as(torch.cat(list(parts)), output)

    def batches(
        self,
        n: int,
        *,
        seed: int = 0,
        labels: Sequence[int] | None = None,
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
                raise WrongUse(f"all classes were asked for, which {why}")
            n, times, labels = n * classes, classes, list(range(classes)) * n
        elif labels is not None:
            self._check_labels(labels, n)
        elif classes:
            labels = [i % classes for i in range(n)]
            times = classes if isinstance(self.method, Couples) else 1
        for first in range(0, n, batch):
            count = min(batch, n - first)
            y = None if labels is None else torch.as_tensor(labels[first : first + count], device=self.method.device)
            z = latents.latents(method, [(seed, i // times) for i in range(first, first + count)])
            with self._autocast(), _fixed():
                made = latents.images(method, z, y, truncation).float()
            yield made

    @property
    def facts(self) -> dict[str, Any]:
        """What every picture that it makes says of it."""
        return {k: self.info.get(k) for k in ("recipe", "images_trained")}

    def _sampler(self, truncation: float | None = None) -> Any:
        """The method as one that makes images from noise, and truncates where that is asked for."""
        if not isinstance(self.method, Samples):
            raise WrongUse(f"{type(self.method).__name__} makes images from images: use translate")
        if truncation is not None:
            if not isinstance(self.method, Truncates):
                raise WrongUse(f"{type(self.method).__name__} knows no truncation. {_those_with('truncated')}")
            if not truncation > 0:
                raise UserError(
                    f"truncation is {truncation}; give a number above 0 (1, or the largest, changes nothing)"
                )
        return self.method

    def _one_label(self, label: int | None, n: int) -> Tensor | None:
        """[n], all the same: the class asked for, or the first."""
        if label is not None:
            self._check_labels([label], 1)
        return torch.full((n,), label or 0, device=self.method.device) if self.method.classes else None

    def walk(
        self,
        through: Sequence[Picture] | int = 6,
        *,
        seed: int = 0,
        frames: int = 30,
        loop: bool = True,
        curve: walks.Curve | None = None,
        label: int | None = None,
        truncation: float | None = None,
        output: Output = "pil",
    ) -> Any:
        """Images on the way from picture to picture, as a film wants them (`inspect.walks.walk`).

        `through`: pictures by (seed, number), or how many of `seed`'s first ones. `frames`: from each to the next. `label`:
        one class for the whole way, the first by default, for models with labels. Raises `UserError` as `sample` does."""
        method = self._sampler(truncation)
        names = [(seed, i) for i in range(through)] if isinstance(through, int) else list(through)
        z, y = latents.latents(method, names), self._one_label(label, len(names))
        how: dict[str, Any] = {"frames": frames, "loop": loop, "curve": curve, "truncation": truncation}
        with self._autocast(), _fixed(), torch.no_grad():
            parts = list(walks.walk(method, z, y, batch=self._fitting(), **how))
        return self._as(torch.cat(parts).float(), output)

    def mix(
        self,
        rows: Sequence[Picture],
        columns: Sequence[Picture],
        layers: str = "coarse",
        *,
        label: int | None = None,
        truncation: float | None = None,
        output: Output = "pil",
    ) -> Any:
        """A sheet of mixed styles, (1 + rows) x (1 + columns) images row by row: first a gray one and the columns' sources;
        then of every row its source, and what it becomes with `layers` of each column's styles.

        `rows`, `columns`: pictures by (seed, number). `layers`: coarse, middle, fine, or a range as "2-5". Raises `UserError`
        for methods without styles and for layers that are not there."""
        method = self._sampler()
        if not isinstance(method, Styled):
            raise WrongUse(f"{type(method).__name__} has no styles to mix. {_those_with('synthesize')}")
        which = mixing.layers(layers, method.layers)
        with self._autocast(), _fixed(), torch.no_grad():
            z = latents.latents(self._sampler(), [*rows, *columns])
            w = latents.styles(method, z, self._one_label(label, len(z)), truncation)
            w = torch.cat([w, mixing.mix(w[: len(rows)], w[len(rows) :], which)])
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
        side = self.method.now.resolution
        size = self.info["shape"]["height"], self.info["shape"]["width"]
        if side is not None:
            size = size[0] * side // max(size), size[1] * side // max(size)
        return torch.cat([self._image(image, size) for image in ([images] if one else images)])

    def _fitting(self) -> int:
        return fitting(self.info["shape"]["height"], self.info["shape"]["width"], self.method.device)

    def _check_labels(self, labels: Sequence[int], n: int) -> None:
        classes = self.method.classes
        if not classes:
            raise WrongUse("this model was trained without labels, so none can be asked for")
        if len(labels) != n or not all(0 <= y < classes for y in labels):
            raise UserError(
                f"labels must be {n} numbers from 0 to {classes - 1}, one an image; got {list(labels)[:10]}"
            )

    def class_number(self, name: str) -> int:
        """The number of the class of this name. Raises `UserError` where there is none."""
        if not self.method.classes:
            raise WrongUse("this model was trained without labels, so no class can be asked for")
        names = [str(c) for c in self.info.get("data", {}).get("classes", ())]
        if isinstance(self.method, Couples):
            names = list(self.method.domains)
        names = names or [str(i) for i in range(self.method.classes)]
        if name not in names:
            raise UserError(f"this model knows no class {name!r}. {did_you_mean(name, names)}")
        return names.index(name)

    @property
    def columns(self) -> int | None:
        """How many columns a grid of samples should have, so that each holds one class, or coupled ones stay together in a
        row; None: as many as look well."""
        if isinstance(self.method, Couples):
            return 8 // self.method.classes * self.method.classes or None
        return self.method.classes if 2 <= self.method.classes <= MOST_COLUMNS else None

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.method.device.type, torch.bfloat16, self._narrow)

    def translate(
        self, images: Any, *, to: str | None = None, output: Output = "pil", tile: int | None = None, seed: int = 0
    ) -> Any:
        """Images carried to domain `to` ("b" by default; `method.directions` lists them), each at its own size, or enlarged
        `method.scale` times.

        `images`: one or a list of PIL images or paths, or a float tensor [N, C, H, W] in [-1, 1]. `tile`: have them made in
        parts of at most so many pixels a side; None: whole, or in parts where memory asks for it. That makes no difference to
        the result (`large`). `seed`: of what the network draws, if it does (pix2pix's and DualGAN's dropout). Raises
        `UserError` for a model that does not translate or for an unknown direction."""
        how = self._asked(to, tile, seed)
        if isinstance(images, Tensor):
            return self._as(self._translate(images, how), output)
        single = isinstance(images, str | Path | Image.Image)
        opened = (self._opened(i, enormous()) for i in ([images] if single else images))
        made = [self._as(self._translate(image, how), output)[0] for image in opened]
        return made[0] if single else made

    def bands(
        self, image: Any, *, to: str | None = None, tile: int | None = None, seed: int = 0, folder: Path | None = None
    ) -> Bands:
        """What `translate` makes of one picture, in bands of rows, for pictures that memory should not hold. `folder`: for
        what is stored for a while; None: the system's for such."""
        opened = self._opened(image, enormous())
        made = self._in_parts(opened, self._asked(to, tile, seed), folder)
        channels, height, width = made.shape[1:]
        spans = [(0, height)] if isinstance(made, Tensor) else made.bands()

        def rows() -> Iterator[np.ndarray]:
            for top, bottom in spans:
                with self._steady(seed):
                    band = made if isinstance(made, Tensor) else made.rows(top, bottom)
                yield provenance.to_uint8(band[0])

        return Bands(width, height, channels, rows())

    def whole(self, image: str | Path | Image.Image) -> bool:
        """Whether this picture is translated in one piece, memory being as it is."""
        if isinstance(image, Image.Image):
            return self._fits(image.width * image.height)
        try:
            header = decode.read_header(str(image), enormous())
        except decode.Broken as e:
            raise UserError(f"{image}: {e}") from None
        return self._fits(header.width * header.height)

    def _asked(self, to: str | None, tile: int | None, seed: int) -> _How:
        if not isinstance(self.method, Translates):
            raise WrongUse(f"{type(self.method).__name__} makes images from noise: use sample")
        to = to or self.method.directions[0]
        if to not in self.method.directions:
            raise WrongUse(f"this model translates to {' or '.join(self.method.directions)}, not to {to!r}")
        if tile is not None and tile < large.LEAST:
            raise UserError(f"tile is {tile}; parts are {large.LEAST} pixels a side at least")
        return _How(to, tile, seed)

    def _fits(self, pixels: int, part: int = 8) -> bool:
        """Whether a generator that holds 256 numbers for every pixel takes this part of the memory, or less."""
        return 256 * 4 * pixels * self.method.scale**2 <= memory(self.method.device) // part

    def _opened(self, image: Any, most: int = decode.MAX_PIXELS) -> Image.Image:
        """A picture or path -> the picture, upright, in the model's channels."""
        if not isinstance(image, Image.Image):
            if not Path(image).is_file():
                raise UserError(f"there is no file {image}")
            try:
                image = decode.read(str(image), most)
            except decode.Broken as e:
                raise UserError(f"{image}: {e}") from None
        return decode.to_channels(image, self.info["shape"]["channels"])

    def _tensor(self, image: Image.Image) -> Tensor:
        """[1, C, H, W] in [-1, 1]."""
        x = torch.from_numpy(decode.as_array(image).copy()).permute(2, 0, 1)[None]
        return x.to(self.method.device, torch.float32).div_(127.5).sub_(1.0)

    def _image(self, image: Any, size: tuple[int, int]) -> Tensor:
        """One picture or path -> [1, C, height, width] in [-1, 1], cut from the middle and scaled."""
        return self._tensor(decode.fit(self._opened(image), size))

    def _translate(self, image: Tensor | Image.Image, how: _How) -> Tensor:
        """[N, C, H, W] or one picture: whole where it fits memory, else in parts."""
        if isinstance(image, Tensor):
            count, (height, width) = len(image), image.shape[-2:]
        else:
            count, height, width = 1, image.height, image.width
        if how.tile is None and self._fits(count * height * width):
            try:
                return self._whole(image, how)
            except (RuntimeError, MemoryError) as e:
                if not large.out_of_memory(e):
                    raise
        if isinstance(image, Tensor) and count > 1:
            return torch.cat([self._translate(one, how) for one in image.split(1)])
        made = self._in_parts(image, how)
        if isinstance(made, large.Large):
            with self._steady(how.seed):
                made = torch.cat([made.rows(*span) for span in made.bands()], 2).to(self.method.device)
        return made

    def _whole(self, image: Tensor | Image.Image, how: _How) -> Tensor:
        with self._steady(how.seed):
            return self._run(image if isinstance(image, Tensor) else self._tensor(image), how.to)

    def _in_parts(self, image: Tensor | Image.Image, how: _How, folder: Path | None = None) -> large.Large | Tensor:
        """What is made of one picture, yet to be computed; computed, for a network that cannot be run in parts."""
        if isinstance(image, Tensor):
            height, width, source = *image.shape[-2:], image
        else:
            height, width, source = image.height, image.width, large.stored(image, folder)
        device = self.method.device
        budget = memory(device) // 8 if device.type == "cuda" else min(memory(device) // 32, 1 << 28)
        tiles = large.Tiles(height * width * self.method.scale**2, device, budget, how.tile, folder)
        x = tiles.picture(source)
        much = f"a picture of {width}x{height} pixels needs more memory than there is"
        advice = "Use a smaller picture, or a machine with more memory"
        try:
            with self._steady(how.seed):
                return self._run(x if isinstance(image, Tensor) else x.float() / 127.5 - 1.0, how.to)
        except (large.Untileable, TypeError, AttributeError) as e:  # the latter where it needs a tensor, and finds none
            why = str(e)
        except (RuntimeError, MemoryError) as e:
            if not large.out_of_memory(e):
                raise
            raise UserError(f"{much}, even in the smallest parts. {advice}") from None
        if self._fits(height * width, 1):
            try:
                return self._whole(image, how)
            except (RuntimeError, MemoryError) as e:
                if not large.out_of_memory(e):
                    raise
        raise UserError(f"{much}, and this network cannot be run in parts: {why}. {advice}")

    def _run(self, x: Any, to: str) -> Any:
        """Any size: padded by reflection to what the network's strides need, and cut back."""
        method: Any = self.method
        h, w, multiple, scale = *x.shape[-2:], method.multiple, method.scale
        pad = (-w % multiple, -h % multiple)
        mode = "reflect" if pad[0] < w and pad[1] < h else "replicate"
        x = torch.nn.functional.pad(x, (0, pad[0], 0, pad[1]), mode=mode) if any(pad) else x
        return method.translate(x, to).float()[..., : h * scale, : w * scale]

    @contextmanager
    def _steady(self, seed: int) -> Iterator[None]:
        """Within: networks are used and not trained, in the model's precision, and what they draw is the seed's."""
        with torch.inference_mode(), _fixed(seed), self._autocast():
            yield

    def _as(self, x: Tensor, output: Output) -> Any:
        if output == "torch":
            return x
        if output == "numpy":
            return provenance.to_uint8(x)
        if output == "pil":
            return [provenance.to_pil(image) for image in x]
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


def _those_with(skill: str) -> str:
    from ganvas import methods

    able = [name for name in methods.__all__ if hasattr(getattr(methods, name), skill)]
    return f"Methods that can: {', '.join(able) or 'none of this version'}"


def fitting(height: int, width: int, device: torch.device) -> int:
    """How many images of this size to make at a time: a power of two up to 64, so that a generator that holds 256 numbers
    for every pixel takes an eighth of the memory. All memory, not what is free: a seed's pictures are rounded alike today
    and tomorrow."""
    images = max(1, memory(device) // 8 // (256 * 4 * height * width))
    return min(64, 1 << (images.bit_length() - 1))


def memory(device: torch.device) -> int:
    """Bytes that it has."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):  # not on Windows
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 8 << 30


def enormous() -> int:
    """Pixels of the largest picture that is opened: decoded, it takes a quarter of the memory."""
    return max(memory(torch.device("cpu")) // 16, decode.MAX_PIXELS)


def _card(h: dict[str, Any]) -> str:
    data = h.get("data", {})
    use = "m.sample(16, seed=7)" if h.get("task") == "images" else 'm.translate("picture.png")'
    shape, scale = h["shape"], h.get("scale", 1)
    kind = {1: "gray", 3: "colour", 4: "colour (with alpha)"}.get(shape["channels"], f"{shape['channels']}-channel")
    makes = f"Makes {kind} images of {shape['height']}x{shape['width']} pixels (height x width)."
    if h.get("task") != "images":
        times = f"{scale} times as large as its input" if scale > 1 else "as large as its input"
        makes = f"Makes {kind} images from {kind} images, of any size: {times}."
    origin = (
        f"Imported from `{h['source']['file']}` (SHA-256 {h['source']['sha256'][:12]}); its licence is its authors'."
        if "imported" in h
        else f"Trained on {h.get('images_trained', 0):,} images drawn from `{data.get('source', '?')}` "
        f"({data.get('count', '?')} pictures,\n  fingerprint `{data.get('fingerprint', '?')}`)."
    )
    return f"""# {h.get("recipe", "a ganvas model")}

{h.get("paper", "")}

* {origin}
* {makes}
* What it makes is generated. It is no photograph and no evidence of anything, and it is not for pictures of people.

```python
import ganvas

m = ganvas.load("path/of/this/folder")
{use}
```
"""
