"""The state that sampling and translation share: method, description, precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from ganvas import methods
from ganvas.core import Method
from ganvas.core.errors import UserError
from ganvas.media import generated, grid

Output = Literal["pil", "numpy", "torch"]
ImageSource = str | Path | Image.Image


@dataclass(frozen=True)
class Runtime:
    """A trained method, ready to run.

    method: in evaluation mode, on its device
    info: the model's description, as in its header
    narrow: bf16 autocast
    """

    method: Method
    info: dict[str, Any]
    narrow: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """Facts that every generated image carries in its metadata."""
        return {k: self.info.get(k) for k in ("recipe", "images_trained")}

    @property
    def channels(self) -> int:
        """Channels of the training images, 1 to 4."""
        return self.info["shape"]["channels"]

    @property
    def training_size(self) -> tuple[int, int]:
        """(height, width) of the training images."""
        height, width = self.info["shape"]["height"], self.info["shape"]["width"]
        side, longest = self.method.current_stage.resolution, max(height, width)
        return (
            (height, width) if side is None else (height * side // longest, width * side // longest)
        )

    def autocast(self) -> torch.autocast:
        """The context of forward passes: bf16 if `narrow`."""
        return torch.autocast(self.method.device.type, torch.bfloat16, self.narrow)

    def output(self, x: Tensor, output: Output, **facts: Any) -> Any:
        """Images [N, C, H, W] in [-1, 1] in the requested form."""
        check_output(output)
        if output == "torch":
            return x
        if output == "numpy":
            return grid.to_uint8(x)
        facts = {**self.facts, **facts}
        return [generated.generated(grid.to_uint8(image), **facts) for image in x]


def check_output(output: str) -> None:
    """Raise `UserError` for an unknown form of output."""
    if output not in ("pil", "numpy", "torch"):
        raise UserError(f"output is {output!r}; choose 'pil', 'numpy' or 'torch'")


@contextmanager
def fixed_seed(seed: int = 0) -> Iterator[None]:
    """Seed torch inside the context; restore its random state afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def methods_with(attribute: str) -> str:
    """A sentence that lists the methods with a capability, for error messages."""
    names = [name for name in methods.__all__ if hasattr(getattr(methods, name), attribute)]
    return f"Methods that can: {', '.join(names) or 'none in this version'}"
