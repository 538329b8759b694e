"""Load a trained model from a run, a model folder or a file."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
from safetensors import safe_open
from torch import Tensor, nn

from ganvas.core import Method, Shape, Stage, config
from ganvas.core.arguments import checked
from ganvas.core.environment import usable_device
from ganvas.core.errors import UserError, printable
from ganvas.core.json_files import parse_json
from ganvas.core.meta_device import on_meta
from ganvas.inference import hub, zoo
from ganvas.inference.model import Model
from ganvas.inference.model_file import (
    FORMAT,
    MAX_HEADER,
    MAX_NUMBER,
    STORED,
    Header,
    checksum,
    pretty,
    untrained,
)

PICKLED = {".pth", ".pt", ".ckpt", ".pkl", ".bin"}  # endings of other projects' weights


@checked
def load(
    path: str | Path,
    *,
    checkpoint: str | int = "last",
    device: str = "cpu",
    precision: str = "fp32",
    backend: str = "torch",
) -> Model:
    """Load a trained model from a run folder, a model folder or a `.safetensors` file.

    "hub:OWNER/NAME" is downloaded from the Hugging Face Hub (extra `hub`).

    Nothing in the file is executed. The description is checked against the tensors
    before any memory beyond the file's size is allocated.

    path: `zoo:NAME` is a model of the checkout's folder `zoo/`
    checkpoint: "last", "best" (by the run's own quality curve), or the number of images
        of a checkpoint that the run still has
    device: "cpu", "cuda", "cuda:1", "mps"
    precision: "fp32"; or "bf16", which rounds to 8 bits between layers: about twice as
        fast on processors with instructions for it, images within a gray level or two
    backend: "torch"; or "openvino" (CPU only, faster)

    Raises `UserError` if there is no model, or if the file is damaged.
    """
    options = {"device": usable_device(device), "precision": precision, "backend": backend}
    path = located(path)
    if (path / "run.json").is_file() and checkpoint != "last":
        return _from_checkpoint(path, str(checkpoint), options)
    return Model(*read(model_path(path)), **options, source=str(path))


def located(path: str | Path) -> Path:
    """Where a model lies on disk: a path as it is, `zoo:NAME`, or `hub:OWNER/NAME`.

    Raises `UserError` if the zoo or the hub has no such model.
    """
    return hub.fetched(str(path)) if str(path).startswith(hub.PREFIX) else zoo.resolved(path)


def contents(path: str | Path) -> tuple[dict[str, object], dict[str, Tensor]]:
    """(description, tensors) of a model file, under the file's own names.

    path: as of `load`

    Raises `UserError` if there is no model, or if the file is damaged.
    """
    header, _, tensors = _checked(model_path(located(path)))
    return header, tensors


def model_path(path: Path) -> Path:
    """The model file of a run, a model's folder or a file.

    Raises `UserError` if there is none.
    """
    for candidate in (path, path / "model.safetensors", path / "model" / "model.safetensors"):
        if candidate.is_file():
            return candidate
        if candidate == path and path.exists() and not path.is_dir():
            raise UserError(
                f"{printable(path)} is not a regular file; expected a run, or a model's folder or "
                "file"
            )
    from ganvas.engine.run_dir import runs_below  # here: a model file needs no engine

    hint = (
        "it has not saved anything yet"
        if (path / "run.json").is_file()
        else "expected a run, or a model's folder"
    )
    hint += runs_below(path)
    raise UserError(f"there is no model in {printable(path)}: {hint}")


def read(path: Path) -> tuple[Method, dict[str, object]]:
    """Read and check a model file: (method with its weights, header)."""
    header, checked, tensors = _checked(path)
    where, shape = printable(path), checked.shape.shape()
    if checked.imported is not None:
        from ganvas.inference.importers import (
            as_method,
        )  # imports this module

        return as_method.method_of(tensors, str(path), shape, checked.options), header
    method = _described(header["method"], shape, where)
    _fill(method, tensors, where)
    method.current_stage = Stage(**checked.stage.model_dump())
    return method, header


def _checked(path: Path) -> tuple[dict[str, Any], Header, dict[str, Tensor]]:
    """(header, its checked form, tensors) of a model file that is not damaged."""
    where = printable(path)
    text, stored, tensors = _contents(path)
    if len(text) > MAX_HEADER:
        raise UserError(
            f"{where} is not a ganvas model: its description is larger than {MAX_HEADER:,} "
            "characters"
        )
    header: dict[str, Any] = parse_json(text, where, "ganvas model")
    number = header.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise UserError(
            f"{where} has format {number}; this version of ganvas reads up to {FORMAT}: upgrade"
        )
    if number == FORMAT if stored is None else stored != checksum(text, tensors):
        raise UserError(
            f"{where} is damaged: its contents do not match its checksum. Copy it again"
        )
    card = path.with_name("model.json")
    if (
        path.name == "model.safetensors"
        and card.is_file()
        and card.read_bytes() != pretty(text).encode()
    ):
        raise UserError(
            f"{printable(card)} is damaged or edited: it differs from the description in "
            f"{path.name}. Copy the model's "
            "folder again, or delete this file, which is not needed"
        )
    try:
        return header, Header.model_validate(header), tensors
    except pydantic.ValidationError as e:
        error = e.errors()[0]
        at = printable(".".join(map(str, error["loc"])) or "description")
        raise UserError(
            f"{where} is not a ganvas model: {at}: {printable(error['msg'].lower())}"
        ) from None


def _contents(path: Path) -> tuple[str, str | None, dict[str, Tensor]]:
    """(header, checksum, tensors) of a model file."""
    where = printable(path)
    try:
        with safe_open(path, "pt") as f:
            metadata = f.metadata() or {}
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dict)
    except Exception as e:  # a damaged file may fail in any way inside the reader
        if path.suffix.lower() in PICKLED:
            raise UserError(
                f"{where} is no model of ganvas. Weights of another project are imported first: "
                f"ganvas import {shlex.quote(where)} --out {shlex.quote(f'models/{path.stem}')}"
            ) from None
        from ganvas.inference.importers.reading import other_kind  # imports this module

        if (what := other_kind(path)) is not None:
            raise UserError(
                f"{where} is {what}. Expected a run, a model's folder or its model.safetensors"
            ) from None
        raise UserError(
            f"{where} cannot be read as a model: {printable(e)}. It may have been cut short."
        ) from None
    if "ganvas" not in metadata:
        raise UserError(
            f"{where} is not a ganvas model: its header has no 'ganvas' entry. For the weights of "
            "another project, "
            "use ganvas import"
        )
    return metadata["ganvas"], metadata.get("blake2b"), tensors


def _described(description: Any, shape: Shape, where: str) -> Method:
    """Build a described method on the meta device, without memory for weights."""
    _check_numbers(description, where)
    try:
        build: Any = config.load(description, Callable[[Shape], Method])
        settings = untrained(build.keywords, build.func)
        with on_meta():
            return build.func(shape, **settings)
    except UserError as e:
        raise UserError(f"{where}: {e}") from None
    except Exception as e:  # a constructor may reject what its annotations allow
        raise UserError(
            f"{where} describes networks that cannot be built: {printable(e)[:300]}"
        ) from None


def _check_numbers(node: Any, where: str, *, network: bool = False) -> None:
    """Raise `UserError` for absurd settings: they reach shifts and ranges."""
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            _check_numbers(
                child, where, network=network or (isinstance(child, dict) and "$partial" in child)
            )
    elif network and isinstance(node, int) and abs(node) > MAX_NUMBER:
        raise UserError(
            f"{where} describes networks that cannot be built: a setting is larger than "
            f"{MAX_NUMBER:,}"
        )


def _fill(method: Method, tensors: dict[str, Tensor], where: str) -> None:
    """Load a file's tensors into the generators; drop everything else of `method`."""
    for name, _ in list(method.named_children()):
        if name not in method.ema_networks:
            setattr(method, name, nn.Identity())
    for name, _ in [*method.named_buffers(recurse=False), *method.named_parameters(recurse=False)]:
        delattr(method, name)
    method.players = {}
    described = method.state_dict()
    for name in sorted(described.keys() | tensors.keys()):
        want, got = described.get(name), tensors.get(name)
        if (
            want is None
            or got is None
            or want.shape != got.shape
            or got.dtype not in (want.dtype, STORED.get(want.dtype))
        ):
            raise UserError(
                f"{where} does not fit its own description: {printable(name)} is {_kind(got)} in "
                "the file, and "
                f"{_kind(want)} by the description"
            )
    # Copies: a tensor may be a view of the file, which may change.
    weights = {k: v.to(described[k].dtype, copy=True) for k, v in tensors.items()}
    method.load_state_dict(weights, assign=True)


def _kind(tensor: Tensor | None) -> str:
    return (
        "missing"
        if tensor is None
        else f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
    )


def _from_checkpoint(run_folder: Path, which: str, options: dict[str, str]) -> Model:
    from ganvas.engine.restore import weights_of  # here: a model file needs no engine

    source = f"{run_folder}, checkpoint {which}"
    return Model(*weights_of(run_folder, which), **options, source=source)
