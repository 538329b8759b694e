"""Write a trained model: weights, description and model card.

`model.safetensors` holds the weights of the networks that generate images and, in its
header, the description that builds them: a model loads without its run, and nothing is
unpickled. `model.json` repeats the description for people and programs; `README.md` is
the model card.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import pydantic
import torch
from safetensors import SafetensorError
from torch import Tensor

from ganvas.core import Method, Run, Shape, config, files
from ganvas.core.errors import OutputError, printable
from ganvas.media.values import TypeName

FORMAT = 2  # 1: without a checksum
MAX_HEADER = 1 << 24  # bytes of a model's description
MAX_SIDE = 1 << 16  # pixels
MAX_NUMBER = 1 << 20  # of a network's settings: widths, layer counts
STORED = {torch.float32: torch.float16}  # types of small files, by type of the network


class _Checked(pydantic.BaseModel):
    """Part of a model's header: strict types, no unknown names."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid")


Side = Annotated[int, pydantic.Field(ge=1, le=MAX_SIDE)]


class _Shape(_Checked):
    channels: int = pydantic.Field(ge=1, le=16)
    height: Side
    width: Side
    classes: int = pydantic.Field(0, ge=0, le=MAX_NUMBER)
    palette: list[Annotated[int, pydantic.Field(ge=0, lt=1 << 24)]] = pydantic.Field(
        [], max_length=256
    )
    ids: bool = False

    def shape(self) -> Shape:
        """The shape that was read."""
        return Shape(**{**self.model_dump(), "palette": tuple(self.palette)})


class _Stage(_Checked):
    index: int = pydantic.Field(0, ge=0, le=MAX_NUMBER)
    batch: int | None = pydantic.Field(None, ge=1)
    resolution: Side | None = None
    alpha: float = pydantic.Field(1.0, ge=0, le=1)
    lr: float = pydantic.Field(1.0, ge=0, allow_inf_nan=False)


class _Values(_Checked):
    low: float = pydantic.Field(allow_inf_nan=False)
    high: float = pydantic.Field(allow_inf_nan=False)
    type: TypeName

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> _Values:
        if not self.low < self.high:
            raise ValueError("expected a range of values from low to high")
        return self


class _Data(pydantic.BaseModel):
    """The training data in a header; unknown names are facts for readers."""

    model_config = pydantic.ConfigDict(strict=True, extra="allow")
    source: str | None = None
    count: int | None = None
    fingerprint: str | None = None
    classes: list[str | int] = []
    values: _Values | None = None


class Header(pydantic.BaseModel):
    """The description in a model file; unknown names are facts for readers."""

    model_config = pydantic.ConfigDict(strict=True, extra="allow")
    format: int = pydantic.Field(ge=1)
    shape: _Shape
    stage: _Stage
    method: dict[str, Any] | None = None
    imported: str | None = None
    options: dict[str, str] = {}
    data: _Data = _Data()
    recipe: str | None = None
    paper: str | None = None
    task: str | None = None
    scale: int = pydantic.Field(1, ge=1, le=MAX_NUMBER)
    images_trained: int | None = None

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Header:
        if (self.method is None) == (self.imported is None):
            raise ValueError("expected either 'method' or 'imported'")
        if (self.stage.resolution or 1) > max(self.shape.height, self.shape.width):
            raise ValueError("the stage's resolution is larger than the shape")
        return self


def save(folder: Path, method: Method, run: Run, shape: Shape, facts: Mapping[str, object]) -> None:
    """Write the generators of a method into `folder`.

    facts: JSON-ready facts for readers: recipe, paper, data, classes, images trained

    Raises `OutputError` if the folder cannot be written.
    """
    description: Any = config.dump(run.method)
    header = {
        "method": untrained(description, type(method)),
        # `ids` only where it is set: an earlier version refuses what it does not know.
        "shape": {k: v for k, v in asdict(shape).items() if k != "ids" or v},
        "stage": asdict(method.current_stage),
        "scale": method.upscale,
        **facts,
    }
    write(folder, stored_tensors(method), header)


def weights_hash(method: Method) -> str:
    """128 bits of the BLAKE2b of the tensors in a method's model file, in hexadecimal.

    Pictures carry it, so that they can be traced to the weights that made them.
    """
    tensors = {k: v.detach().cpu().contiguous() for k, v in stored_tensors(method).items()}
    return checksum("", tensors)[:32]


def stored_tensors(method: Method) -> dict[str, Tensor]:
    """The tensors of a model file: those of the networks that generate images."""
    return {k: v for k, v in method.state_dict().items() if k.split(".")[0] in method.ema_networks}


def untrained(description: dict[str, object], method: type[Method]) -> dict[str, object]:
    """A method's description without settings that only training needs."""
    return {k: v for k, v in description.items() if k not in method.trained_with}


def write(
    folder: Path, tensors: dict[str, Tensor], header: Mapping[str, object], *, small: bool = False
) -> None:
    """Write a model's folder.

    small: store float32 as float16, which halves the file

    Raises `OutputError` if it cannot be written.
    """
    header = {"format": FORMAT, **header}
    kinds = STORED if small else {}
    tensors = {
        k: v.detach().cpu().to(kinds.get(v.dtype, v.dtype)).contiguous() for k, v in tensors.items()
    }
    text = json.dumps(header)
    sums = {"ganvas": text, "blake2b": checksum(text, tensors)}
    try:
        with files.replacing(folder / "model.safetensors") as file:
            files.save_tensors(tensors, file, sums)
            _sort_metadata(file)
        files.write(folder / "model.json", pretty(text), sync=True)
        files.write(folder / "README.md", _card(header), sync=True)
    except (OSError, SafetensorError) as e:
        raise OutputError(
            f"the model could not be written to {printable(folder)}: {printable(e)}. Free some "
            "space, or choose a folder that you may write to"
        ) from None


def _sort_metadata(file: Path) -> None:
    """Sort the entries of a safetensors header: equal models are equal files."""
    with file.open("r+b") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        assert len(text) == length, "safetensors writes its header's JSON in another form"
        f.seek(8)
        f.write(text)


def pretty(text: str) -> str:
    """A header's text in the form of model.json."""
    return json.dumps(json.loads(text), indent=1)


def checksum(text: str, tensors: dict[str, Tensor]) -> str:
    """BLAKE2b of a header's text and of the tensors' names, types, shapes and bytes."""
    digest = hashlib.blake2b(text.encode(), digest_size=32)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        data: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        digest.update(data)
    return digest.hexdigest()


def _card(h: dict[str, Any]) -> str:
    data = h.get("data", {})
    use = "m.sample(16, seed=7)" if h.get("task") == "images" else 'm.translate("picture.png")'
    shape, scale = h["shape"], h.get("scale", 1)
    kind = {1: "gray", 3: "color", 4: "color (with alpha)"}.get(
        shape["channels"], f"{shape['channels']}-channel"
    )
    task = f"Generates {kind} images of {shape['height']}x{shape['width']} pixels (height x width)."
    if h.get("task") != "images":
        times = f"{scale} times as large as its input" if scale > 1 else "as large as its input"
        task = f"Translates {kind} images to {kind} images, of any size: {times}."
    origin = (
        f"Imported from `{printable(h['source']['file'])}` (SHA-256 "
        f"{h['source']['sha256'][:12]}); its license is its authors'."
        if "imported" in h
        else f"Trained on {h.get('images_trained', 0):,} images from "
        f"`{printable(data.get('source', '?'))}` "
        f"({data.get('count', '?')} images,\n  fingerprint `{data.get('fingerprint', '?')}`)."
    )
    return f"""# {h.get("recipe", "a ganvas model")}

{h.get("paper", "")}

* {origin}
* {task}
* Its images are generated. They are no photographs and no evidence of anything. It is not for \
images of people.

```python
import ganvas

m = ganvas.load("path/of/this/folder")
{use}
```
"""
