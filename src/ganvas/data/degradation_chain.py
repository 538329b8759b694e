"""Chains of degradations, which a user defines by the names of their steps.

    [[data.degrade]]
    step = "blur"
    sigma = [0.5, 2.0]

    [[data.degrade]]
    step = "jpeg"
    quality = [40, 90]

Each image's draws follow from its own seed, so that they are the same in every batch
and on every rank.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from torch import Tensor

from ganvas.core import config
from ganvas.core.errors import ConfigError, UserError, did_you_mean
from ganvas.core.json_files import Json
from ganvas.core.registry import shorten
from ganvas.data.degradation_steps import (
    JPEG,
    Blur,
    Noise,
    Resize,
    Sharpen,
    Sinc,
    Step,
    Swap,
)
from ganvas.media.resize import bicubic

STEPS: Mapping[str, type[Step]] = {
    "blur": Blur,
    "jpeg": JPEG,
    "noise": Noise,
    "resize": Resize,
    "sharpen": Sharpen,
    "sinc": Sinc,
    "swap": Swap,
}
NAMES = {kind: name for name, kind in STEPS.items()}


@dataclass(frozen=True)
class Chain:
    """Steps that are applied in their order.

    An image that they leave at another size than that of the result is resized last, by
    the kernel of clean reductions.
    """

    steps: tuple[Step, ...]

    def __call__(self, x: Tensor, seeds: np.ndarray, scale: int) -> Tensor:
        """Degrade images and reduce them by `scale`; the result has 8 bits.

        x: [N, C, H, W] in [-1, 1]; H and W multiples of `scale`
        seeds: uint64 [N]

        Returns [N, C, H / scale, W / scale] in [-1, 1].
        """
        images = [
            self._degraded(image[None], np.random.Generator(np.random.Philox(int(seed))), scale)
            for image, seed in zip((x.cpu() + 1) / 2, seeds, strict=True)
        ]
        levels = torch.cat(images).clamp_(0, 1).mul_(255).round_()
        return (levels / 127.5 - 1).to(x.device).contiguous(memory_format=torch.channels_last)

    def _degraded(self, x: Tensor, draws: np.random.Generator, scale: int) -> Tensor:
        """One image [1, C, H, W] in [0, 1]."""
        end = (x.shape[2] // scale, x.shape[3] // scale)
        for step in self.steps:
            x = step(x, end, draws)
        return x if x.shape[2:] == end else bicubic(x, size=end)

    @classmethod
    def of(cls, value: object) -> Chain:
        """The chain of a list of tables {step = NAME, ...}, as settings have it.

        Raises `ConfigError` that names the first table that is no step.
        """
        if isinstance(value, Chain):
            return value
        if not isinstance(value, list | tuple):
            raise ConfigError(f'expected "real" or a list of steps; got {shorten(value)}')
        described = {"$new": f"{cls.__module__}:{cls.__qualname__}", "steps": _described(value)}
        return config.load(described, Chain)

    def tables(self) -> list[Json]:
        """The inverse of `of`."""
        return _tables(self.steps)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Chain], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Settings are checked by `of`."""
        return core_schema.no_info_plain_validator_function(cls.of)


def _described(steps: Sequence[object], within: str = "") -> list[dict[str, object]]:
    """Tables as `config.load` takes them, each of which was checked."""
    found = []
    for number, table in enumerate(steps, 1):
        at = f"step {number}{within}"
        name = table.get("step") if isinstance(table, Mapping) else None
        if not isinstance(table, Mapping) or not isinstance(name, str):
            raise ConfigError(
                f'{at}: expected a table with the name of a step, as {{"step": "blur"}}; got '
                f"{shorten(table)}"
            )
        if name not in STEPS:
            raise ConfigError(f"{at}: there is no step {name!r}. {did_you_mean(name, STEPS)}")
        kind, values = STEPS[name], {k: v for k, v in table.items() if k != "step"}
        if kind is Swap:
            for part in ("first", "second"):
                inner = values.get(part, [])
                if not isinstance(inner, list | tuple):
                    raise ConfigError(f"{at}: {part} is a list of steps; got {shorten(inner)}")
                values[part] = _described(inner, f" of {part} in {at}")
        one: dict[str, object] = {"$new": f"{kind.__module__}:{kind.__qualname__}", **values}
        try:
            config.load(one, kind)
        except UserError as e:
            raise ConfigError(f"{at} ({name}): {e}") from None
        found.append(one)
    return found


def _tables(steps: Sequence[Step]) -> list[Json]:
    found: list[Json] = []
    for step in steps:
        table: dict[str, Json] = {"step": NAMES[type(step)]}
        for field in dataclasses.fields(step):
            value = getattr(step, field.name)
            if isinstance(step, Swap) and field.name in ("first", "second"):
                value = _tables(value)
            if value is not None:  # TOML has no null
                table[field.name] = cast(Json, config.dump(value))
        found.append(table)
    return found
