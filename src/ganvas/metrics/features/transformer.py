"""transformers:FOLDER: a vision backbone saved by the library transformers."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.core.files import sha256_of
from ganvas.core.json_files import read_json
from ganvas.metrics.features.base import Extractor

PREFIX = "transformers:"


class Backbone(nn.Module):
    """`model` behind one interface.

    Features: what the model pools, or else the mean over places or tokens.
    """

    model: Any  # transformers' models share no type with what they return
    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """RGB images [N, 3, side, side] in [-1, 1] -> [N, dim]."""
        out = self.model(pixel_values=((x + 1) / 2 - self.mean) / self.std)
        pooled = getattr(out, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        last = out.last_hidden_state
        return last.mean((2, 3)) if last.ndim == 4 else last.mean(1)


def load(folder: str | Path, resizing: str | None) -> Extractor:
    """Open a saved vision backbone as an extractor.

    Raises `UserError` if transformers is not installed and for a folder that holds
    no such model.
    """
    saved = opened(folder, "AutoModel")
    # A vision-language model sees images with one of its halves.
    net = Backbone(getattr(saved.model, "vision_model", saved.model), saved.mean, saved.std).eval()
    try:
        with torch.no_grad():
            dim = net(torch.zeros(1, 3, saved.side, saved.side)).shape[1]
    except Exception as e:
        raise UserError(
            f"{folder} is no vision backbone: an image of {saved.side} pixels fails ({e})"
        ) from None
    how = resizing or "bilinear-antialias"
    return Extractor(
        PREFIX + saved.name, net, dim, saved.hash, lambda longer: saved.side, resizing=how
    )


class Saved(NamedTuple):
    """A saved model and its preprocessing.

    Images are squares of `side` pixels, in [0, 1], less `mean`, by `std`.
    """

    model: nn.Module
    name: str
    mean: list[float]
    std: list[float]
    side: int
    hash: str


def opened(folder: str | Path, kind: str) -> Saved:
    """`kind`: the class of transformers that opens it, "AutoModel".

    Raises `UserError`.
    """
    folder = Path(os.path.expanduser(folder))
    files = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not files:
        raise UserError(
            f"{folder} holds no model of transformers: expected config.json and weights as "
            ".safetensors, as its "
            "save_pretrained writes them"
        )
    try:
        import transformers  # pyright: ignore[reportMissingImports] (an optional extra)
    except ImportError as e:
        raise UserError(
            f"models of transformers need that library ({e}): install it with pip install "
            "'ganvas[features]'"
        ) from None
    try:
        opener = getattr(transformers, kind)
        model = opener.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except Exception as e:  # whatever is wrong with somebody's folder
        raise UserError(
            f"transformers cannot load {folder}: {str(e).splitlines()[0] if str(e) else type(e)}"
        ) from None
    mean, std, side = preprocessing(folder)
    config = getattr(model, "vision_model", model).config
    side = side or _side(getattr(config, "image_size", None)) or 224
    # The configuration and the preprocessing decide the features, too.
    digest = hashlib.sha256(
        "".join(sha256_of(f) for f in [folder / "config.json", *files]).encode()
    )
    digest.update(json.dumps([mean, std, side]).encode())
    return Saved(model.eval(), folder.resolve().name, mean, std, side, digest.hexdigest())


def preprocessing(
    folder: Path, mean: Sequence[float] = (0.5,) * 3, std: Sequence[float] = (0.5,) * 3
) -> tuple[list[float], list[float], int | None]:
    """(mean, std, side) as a folder's preprocessor_config.json has them.

    `mean`, `std` and None if it does not. Raises `UserError` for a damaged file.
    """
    path = folder / "preprocessor_config.json"
    settings: dict[str, Any] = (
        read_json(path, "preprocessor configuration") if path.exists() else {}
    )
    side = _side(settings.get("crop_size")) or _side(settings.get("size"))
    means = settings.get("image_mean") or list(mean)
    deviations = settings.get("image_std") or list(std)
    for name, numbers in (("image_mean", means), ("image_std", deviations)):
        if not (
            isinstance(numbers, list)
            and len(numbers) in (1, 3)
            and all(isinstance(x, int | float) and math.isfinite(x) for x in numbers)
        ):
            raise UserError(
                f"{path}: {name} is {numbers!r}; expected a list of numbers, one per channel"
            )
    return means, deviations, side


def _side(size: Any) -> int | None:
    """Image side in a preprocessor's or a model's configuration.

    It is 224, [224, 224], {"height": …} or {"shortest_edge": …}.
    """
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    if isinstance(size, list | tuple) and size:
        size = size[0]
    return size if isinstance(size, int) and size > 0 else None
