"""A trained model as files, and as an object to use.

`model/model.safetensors` holds the picture-making networks' weights and, in its header, all that is needed to build them:
it loads without the run that made it and without unpickling anything. `model.json` says the same for people and programs,
`README.md` is the model card.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pydantic
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ganvas import backends, config, large, provenance
from ganvas.core import Couples, Method, Run, Samples, Shape, Stage, Styled, Translates, Truncates
from ganvas.data import decode
from ganvas.engine.checkpoint import write_atomically
from ganvas.errors import UserError, WrongUse, did_you_mean, printable
from ganvas.inspect import latents, mixing, projection, walks
from ganvas.inspect.latents import Picture
from ganvas.jsonfile import parse_json
from ganvas.metadevice import on_meta
from ganvas.runs import runs_below, usable_device, weights_of

Output = Literal["pil", "numpy", "torch"]
FORMAT = 2  # 1: without a checksum
_LEAST = 8  # pixels a side: networks with strides mirror their borders at a quarter of the size
MAX_HEADER = 1 << 24  # bytes of a model's description
MAX_SIDE = 1 << 16  # pixels
MAX_NUMBER = 1 << 20  # of a network's settings: widths, numbers of layers


class _Checked(pydantic.BaseModel):
    """Settings of a model's header: no text for numbers, no unknown names."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid")


Side = Annotated[int, pydantic.Field(ge=1, le=MAX_SIDE)]


class _Shape(_Checked):
    channels: int = pydantic.Field(ge=1, le=4)
    height: Side
    width: Side
    classes: int = pydantic.Field(0, ge=0, le=MAX_NUMBER)


class _Stage(_Checked):
    index: int = pydantic.Field(0, ge=0, le=MAX_NUMBER)
    batch: int | None = pydantic.Field(None, ge=1)
    resolution: Side | None = None
    alpha: float = pydantic.Field(1.0, ge=0, le=1)
    lr: float = pydantic.Field(1.0, ge=0, allow_inf_nan=False)


class _Data(pydantic.BaseModel):
    """What a header may say of the training data; other names are facts for readers."""

    model_config = pydantic.ConfigDict(strict=True, extra="allow")
    source: str | None = None
    count: int | None = None
    fingerprint: str | None = None
    classes: list[str | int] = []


class _Header(pydantic.BaseModel):
    """The description in a model file. Other names are facts for readers."""

    model_config = pydantic.ConfigDict(strict=True, extra="allow")
    format: int = pydantic.Field(ge=1)
    shape: _Shape
    stage: _Stage
    method: dict[str, Any] | None = None
    imported: str | None = None
    data: _Data = _Data()
    recipe: str | None = None
    paper: str | None = None
    task: str | None = None
    scale: int = pydantic.Field(1, ge=1, le=MAX_NUMBER)
    images_trained: int | None = None

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> _Header:
        if (self.method is None) == (self.imported is None):
            raise ValueError("expected either 'method' or 'imported'")
        if (self.stage.resolution or 1) > max(self.shape.height, self.shape.width):
            raise ValueError("the stage's resolution is larger than the shape")
        return self


MOST_COLUMNS = 32  # of a grid with a class a column


def save(folder: Path, method: Method, run: Run, shape: Shape, facts: dict[str, Any]) -> None:
    """Write `method`'s picture-making networks into `folder`. Raises `UserError` where that cannot be written.

    `facts`: what else a reader should know (recipe, paper, data, classes, images trained): JSON-ready."""
    header = {
        "method": _untrained(config.dump(run.method), type(method)),
        "shape": asdict(shape),
        "stage": asdict(method.now),
        "scale": method.scale,
        **facts,
    }
    write(folder, {k: v for k, v in method.state_dict().items() if k.split(".")[0] in method.averaged}, header)


def _untrained(description: dict[str, Any], method: Any) -> dict[str, Any]:
    """A method's description without the settings that only training needs, such as paths of other networks' weights."""
    return {k: v for k, v in description.items() if k not in method.trained_with}


def write(folder: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """A model's folder. Raises `UserError` where it cannot be written."""
    header = {"format": FORMAT, **header}
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    text = json.dumps(header)
    path, temporary = folder / "model.safetensors", folder / f".model.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, metadata={"ganvas": text, "blake2b": _checksum(text, tensors)})
        os.replace(temporary, path)
        write_atomically(folder / "model.json", _pretty(text))
        write_atomically(folder / "README.md", _card(header))
    except (OSError, SafetensorError) as e:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UserError(f"the model could not be written to {printable(folder)}: {printable(e)}") from None


def _pretty(text: str) -> str:
    """A header's text as model.json has it."""
    return json.dumps(json.loads(text), indent=1)


def _checksum(text: str, tensors: dict[str, Tensor]) -> str:
    """BLAKE2b of a header's text and of the tensors' names, types, shapes and bytes."""
    digest = hashlib.blake2b(text.encode(), digest_size=32)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        data: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        digest.update(data)
    return digest.hexdigest()


def load(
    path: str | Path, *, checkpoint: str = "last", device: str = "cpu", precision: str = "fp32", backend: str = "torch"
) -> Model:
    """The model of a run folder, of a model folder or of a `.safetensors` file.

    `checkpoint`: "last", "best" (by the run's own quality curve) or a number of images that the run still keeps.
    `precision`: "fp32", or "bf16", which rounds to 8 bits between layers: about twice as fast where the processor has
    instructions for it, pictures within a gray level or two. `backend`: "torch", or "openvino" (CPU; faster still).
    Nothing in the file is executed, and no memory is taken beyond its size before its description is found to fit its
    tensors. Raises `UserError` where there is no model, or where the file is damaged."""
    how = {"device": usable_device(device), "precision": precision, "backend": backend}
    path = Path(path)
    if (path / "run.json").is_file() and checkpoint != "last":
        return _from_checkpoint(path, checkpoint, how)
    for candidate in (path, path / "model.safetensors", path / "model" / "model.safetensors"):
        if candidate.is_file():
            return Model(*_read(candidate), **how, source=str(path))
        if candidate == path and path.exists() and not path.is_dir():
            raise UserError(f"{printable(path)} is not a regular file; expected a run, or a model's folder or file")
    hint = "it has not saved anything yet" if (path / "run.json").is_file() else "expected a run, or a model's folder"
    hint += runs_below(path)
    raise UserError(f"there is no model in {printable(path)}: {hint}")


def _read(path: Path) -> tuple[Method, dict[str, Any]]:
    """A model file's method, with its weights, and its header. What the file says is checked in full beforehand."""
    where = printable(path)
    text, checksum, tensors = _contents(path)
    if len(text) > MAX_HEADER:
        raise UserError(f"{where} is no ganvas model: its description is larger than {MAX_HEADER:,} characters")
    header = parse_json(text, where, "ganvas model")
    number = header.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise UserError(f"{where} has format {number}; this version of ganvas reads up to {FORMAT}: upgrade")
    if number == FORMAT if checksum is None else checksum != _checksum(text, tensors):
        raise UserError(f"{where} is damaged: its contents do not have the checksum that was saved. Copy it again")
    card = path.with_name("model.json")
    if path.name == "model.safetensors" and card.is_file() and card.read_bytes() != _pretty(text).encode():
        raise UserError(
            f"{printable(card)} is damaged or edited: it differs from the description in {path.name}. Copy the model's "
            "folder again, or delete this file, which is not needed"
        )
    try:
        checked = _Header.model_validate(header)
    except pydantic.ValidationError as e:
        error = e.errors()[0]
        at = printable(".".join(map(str, error["loc"])) or "description")
        raise UserError(f"{where} is no ganvas model: {at}: {printable(error['msg'].lower())}") from None
    shape = Shape(**checked.shape.model_dump())
    if checked.imported is not None:
        from ganvas import imported  # which writes models, and so sees this module

        return imported.method_of(tensors, str(path), shape), header
    method = _described(header["method"], shape, where)
    _fill(method, tensors, where)
    method.now = Stage(**checked.stage.model_dump())
    return method, header


def _contents(path: Path) -> tuple[str, str | None, dict[str, Tensor]]:
    """(header, checksum, tensors) of a model file."""
    where = printable(path)
    try:
        with safe_open(path, "pt") as f:
            metadata = f.metadata() or {}
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dict)
    except Exception as e:  # a damaged file may fail in any way inside the reader
        raise UserError(f"{where} cannot be read as a model: {printable(e)}. It may have been cut short.") from None
    if "ganvas" not in metadata:
        raise UserError(
            f"{where} is not a ganvas model: its header has no 'ganvas' entry. Of another project's weights, "
            "ganvas import makes a model"
        )
    return metadata["ganvas"], metadata.get("blake2b"), tensors


def _described(description: Any, shape: Shape, where: str) -> Method:
    """The method of a description, its networks on the meta device, where they take no memory."""
    _check_numbers(description, where)
    try:
        build: Any = config.load(description, Callable[[Shape], Method])
        settings = _untrained(build.keywords, build.func)
        with on_meta():
            return build.func(shape, **settings)
    except UserError as e:
        raise UserError(f"{where}: {e}") from None
    except Exception as e:  # a constructor refuses what its annotations allow
        raise UserError(f"{where} describes networks that cannot be built: {printable(e)[:300]}") from None


def _check_numbers(node: Any, where: str, *, network: bool = False) -> None:
    """Raise `UserError` for a network with absurd settings: these reach shifts and ranges."""
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            _check_numbers(child, where, network=network or (isinstance(child, dict) and "$partial" in child))
    elif network and isinstance(node, int) and abs(node) > MAX_NUMBER:
        raise UserError(f"{where} describes networks that cannot be built: a setting is larger than {MAX_NUMBER:,}")


def _fill(method: Method, tensors: dict[str, Tensor], where: str) -> None:
    """Give the networks that make images the file's tensors, and drop what else `method` has."""
    for name, _ in list(method.named_children()):
        if name not in method.averaged:
            setattr(method, name, nn.Identity())
    for name, _ in [*method.named_buffers(recurse=False), *method.named_parameters(recurse=False)]:
        delattr(method, name)
    method.players = {}
    described = method.state_dict()
    for name in sorted(described.keys() | tensors.keys()):
        want, got = described.get(name), tensors.get(name)
        if want is None or got is None or (want.shape, want.dtype) != (got.shape, got.dtype):
            raise UserError(
                f"{where} does not fit its own description: {printable(name)} is {_kind(got)} in the file, and "
                f"{_kind(want)} by the description"
            )
    # Copies, since what is read may be a view of the file, which could change.
    method.load_state_dict({k: v.clone() for k, v in tensors.items()}, assign=True)


def _kind(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _from_checkpoint(run_folder: Path, which: str, how: dict[str, str]) -> Model:
    source = f"{run_folder}, checkpoint {which}"
    return Model(*weights_of(run_folder, which), **how, source=source)


class _How(NamedTuple):
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
        backends.use(backend, self.method, precision)

    def __repr__(self) -> str:
        shape, facts = self.info["shape"], [type(self.method).__name__]
        facts.append("x".join(str(shape[k]) for k in ("height", "width", "channels")) + " (height x width x channels)")
        if self.method.scale > 1:
            facts.append(f"enlarges {self.method.scale} times")
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
                raise WrongUse(f"all classes were asked for, which {why}")
            n, times, labels = n * classes, classes, list(range(classes)) * n
        elif labels is not None:
            labels = self._check_labels(labels, n)
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
        curve: walks.Curve | None = None,
        label: int | str | None = None,
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
        return torch.cat([self._image(image, self.training_size) for image in ([images] if one else images)])

    def _fitting(self) -> int:
        return fitting(self.info["shape"]["height"], self.info["shape"]["width"], self.method.device)

    def _check_labels(self, labels: Iterable[int | str], n: int) -> list[int]:
        """The numbers of `n` classes, given by number or by name."""
        classes = self.method.classes
        if not classes:
            raise WrongUse("this model was trained without labels, so none can be asked for")
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
            raise WrongUse("this model was trained without labels, so no class can be asked for")
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
        """Translate images to domain `to`, each at its own size, or enlarged `method.scale` times.

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
    ) -> provenance.Rows:
        """Translate one image (path, PIL image or `Decoded`) to bands of rows, for those that memory should not hold.

        The result has the input's depth and alpha (bicubic where the model enlarges). Gray images
        stay gray in models that enlarge or restore (`keeps_gray`); others make color of them. The
        ICC profile is kept where the result has as many colors.

        folder: for temporary files; None: the system's"""
        decoded = image if isinstance(image, decode.Decoded) else self._decoded(image)
        return self._bands(decoded, self._asked(to, tile, seed, at_training_size), folder)

    @property
    def keeps_gray(self) -> bool:
        """Whether gray images come out gray, by the luma of what the network makes: where it enlarges or restores. A
        translation to another domain may give them color."""
        from ganvas.methods import SRGAN, SRResNet  # which may have a scale of 1 (networks that denoise)

        restores = isinstance(self.method, SRGAN | SRResNet) or self.info.get("recipe") == "restore"
        return self.method.scale > 1 or restores

    @property
    def training_size(self) -> tuple[int, int]:
        """(height, width) of the images that it was trained on."""
        height, width = self.info["shape"]["height"], self.info["shape"]["width"]
        side = self.method.now.resolution
        return (
            (height, width)
            if side is None
            else (height * side // max(height, width), width * side // max(height, width))
        )

    def _output(self, image: decode.Decoded, how: _How, output: Output) -> Any:
        if output == "torch":
            return self._translate(self._tensor(self._seen(image)), how)[0]
        rows = self._bands(image, how)
        samples = np.concatenate(list(rows.bands))
        return (
            samples if output == "numpy" else provenance.generated(samples, rows.profile, **self.facts, seed=how.seed)
        )

    def _bands(self, image: decode.Decoded, how: _How, folder: Path | None = None) -> provenance.Rows:
        seen, size = self._seen(image), (image.height, image.width)
        if how.at_training_size:
            ratio = min(self.training_size) / min(size)
            seen = decode.resized(seen, (max(round(size[0] * ratio), 1), max(round(size[1] * ratio), 1)))
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
            parts = (provenance.to_uint8(part[0], bits) for part in self._parts(made, how.seed))
            if how.at_training_size:
                small = np.concatenate(list(parts))
                spans = [(top, min(top + 256, size[0])) for top in range(0, size[0], 256)]
                parts = (decode.resized(small, size, span) for span in spans)
            top = 0
            for part in parts:
                rows, top = (top, top + len(part)), top + len(part)
                color = decode.luma(part) if gray_out else part
                yield color if alpha is None else np.dstack([color, decode.resized(alpha[..., None], size, rows)])

        total = (1 if gray_out else channels) + (alpha is not None)
        return provenance.Rows(bands(), size[1], size[0], total, bits, profile, tuple(lost))

    def _asked(self, to: str | None, tile: int | None, seed: int, at_training_size: bool = False) -> _How:
        if not isinstance(self.method, Translates):
            raise WrongUse(f"{type(self.method).__name__} makes images from noise: use sample")
        to = to or self.method.directions[0]
        if to not in self.method.directions:
            raise WrongUse(f"this model translates to {' or '.join(self.method.directions)}, not to {to!r}")
        if tile is not None and tile < large.LEAST:
            raise WrongUse(f"tile is {tile}; parts are {large.LEAST} pixels a side at least")
        if at_training_size and self.method.scale > 1:
            raise WrongUse("this model enlarges what it is given: there is no training size to bring images to")
        return _How(to, tile, seed, at_training_size)

    def _fits(self, pixels: int, part: int = 8) -> bool:
        """Whether a generator that holds 256 numbers for every pixel takes this part of the memory, or less."""
        return 256 * 4 * pixels * self.method.scale**2 <= memory(self.method.device) // part

    def _opened(self, image: Any) -> Image.Image:
        """A picture or path -> the picture, upright, in 8 bits and the model's channels."""
        return decode.to_channels(_decode(decode.read, image, decode.MAX_PIXELS), self.info["shape"]["channels"])

    def _decoded(self, image: Any) -> decode.Decoded:
        """A picture or path with all that it holds."""
        return _decode(decode.decode, image, enormous())

    def _seen(self, image: decode.Decoded) -> np.ndarray:
        """What the network sees of an image, uint8 or uint16 [H, W, C]."""
        channels = self.info["shape"]["channels"]
        if channels == 4:
            alpha = np.full_like(image.color[..., 0], image.white) if image.alpha is None else image.alpha
            return np.dstack([np.broadcast_to(image.color, (*alpha.shape, 3)), alpha])
        color = decode.opaque(image)
        return decode.luma(color) if channels == 1 else np.broadcast_to(color, (*color.shape[:2], channels))

    def _tensor(self, samples: np.ndarray) -> Tensor:
        """uint8 or uint16 [H, W, C] -> [1, C, H, W] in [-1, 1]."""
        x = torch.from_numpy(samples.astype(np.float32)).permute(2, 0, 1)[None].to(self.method.device)
        return x.div_(np.iinfo(samples.dtype).max / 2).sub_(1.0)

    def _image(self, image: Any, size: tuple[int, int]) -> Tensor:
        """One picture or path -> [1, C, height, width] in [-1, 1], cut from the middle and scaled."""
        return self._tensor(decode.as_array(decode.fit(self._opened(image), size)))

    def _translate(self, x: Tensor, how: _How) -> Tensor:
        """[N, C, H, W]: whole where it fits memory, else one by one, and in parts."""
        if len(x) > 1:
            if how.tile is None and self._fits(len(x) * x.shape[-2] * x.shape[-1]):
                try:
                    return self._whole(x, how)
                except (RuntimeError, MemoryError) as e:
                    if not large.out_of_memory(e):
                        raise
            return torch.cat([self._translate(one, how) for one in x.split(1)])
        made = self._made(x, how)
        return torch.cat(list(self._parts(made, how.seed)), 2).to(self.method.device)

    def _made(self, image: Tensor | np.ndarray, how: _How, folder: Path | None = None) -> Tensor | large.Large:
        """What is made of one image, [1, C, H, W]; yet to be computed where memory does not hold all of it."""
        height, width = image.shape[-2:] if isinstance(image, Tensor) else image.shape[:2]
        if how.tile is None and self._fits(height * width):
            try:
                return self._whole(image, how)
            except (RuntimeError, MemoryError) as e:
                if not large.out_of_memory(e):
                    raise
        return self._in_parts(image, how, folder)

    def _parts(self, made: Tensor | large.Large, seed: int) -> Iterator[Tensor]:
        """[1, C, h, W], from top to bottom."""
        if isinstance(made, Tensor):
            yield made
            return
        for top, bottom in made.bands():
            with self._steady(seed):
                part = made.rows(top, bottom)
            yield part

    def _whole(self, image: Tensor | np.ndarray, how: _How) -> Tensor:
        with self._steady(how.seed):
            return self._run(image if isinstance(image, Tensor) else self._tensor(image), how.to)

    def _in_parts(self, image: Tensor | np.ndarray, how: _How, folder: Path | None = None) -> large.Large | Tensor:
        """What is made of one picture, yet to be computed; computed, for a network that cannot be run in parts."""
        if isinstance(image, Tensor):
            height, width, source, middle = *image.shape[-2:], image, 0.0
        else:
            height, width, source = *image.shape[:2], large.stored(image, folder)
            middle = np.iinfo(image.dtype).max / 2
        device = self.method.device
        budget = memory(device) // 8 if device.type == "cuda" else min(memory(device) // 32, 1 << 28)
        tiles = large.Tiles(height * width * self.method.scale**2, device, budget, how.tile, folder)
        x = tiles.picture(source)
        much = f"a picture of {width}x{height} pixels needs more memory than there is"
        advice = "Use a smaller picture, or a machine with more memory"
        try:
            with self._steady(how.seed):
                return self._run(x.float() / middle - 1.0 if middle else x, how.to)
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
            return provenance.to_uint8(x)
        if output == "pil":
            facts = {**self.facts, **facts}
            return [provenance.generated(provenance.to_uint8(image), **facts) for image in x]
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
    """Pixels of the largest picture that is opened: decoded, it takes a quarter of the memory that can be had now."""
    return available() // 16


def available() -> int:
    """Bytes that this process may still take: what is free, within the limits set to it. (Beyond Linux: all memory.)"""
    free = memory(torch.device("cpu"))
    try:
        pages = [int(n) * os.sysconf("SC_PAGE_SIZE") for n in Path("/proc/self/statm").read_text().split()]
        of_system = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = min(free, int(of_system["MemAvailable"].split()[0]) * 1024)
    except (OSError, ValueError, KeyError):
        return free
    group = Path("/sys/fs/cgroup/memory.max")
    if group.is_file() and (limit := group.read_text().strip()).isdigit():
        free = min(free, int(limit) - pages[1])
    import resource  # not on Windows, which has no /proc either

    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if space != resource.RLIM_INFINITY:
        free = min(free, space - pages[0])
    return max(free, 0)


def _decode(reader: Callable[[Any, int], Any], image: Any, most: int) -> Any:
    """A picture or path by a function of `decode`. Raises `UserError`, naming it."""
    given = isinstance(image, Image.Image)
    if not given and not Path(image).is_file():
        raise UserError(f"there is no file {printable(image)}")
    try:
        return reader(image if given else str(image), most)
    except decode.Broken as e:
        raise UserError(f"{'the image' if given else printable(image)}: {e}") from None
    except MemoryError:
        raise UserError(
            f"{'the image' if given else printable(image)}: decoding it needs more memory than there is"
        ) from None


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
        f"Imported from `{printable(h['source']['file'])}` (SHA-256 {h['source']['sha256'][:12]}); its licence is its authors'."
        if "imported" in h
        else f"Trained on {h.get('images_trained', 0):,} images drawn from `{printable(data.get('source', '?'))}` "
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
