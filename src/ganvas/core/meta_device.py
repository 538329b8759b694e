"""Build networks on the meta device, where their weights take no memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ganvas.core.errors import UserError

MAX_CALLS = 30_000  # of torch while networks are built; BigGAN-deep's take 6,000


class Bounded(TorchFunctionMode):
    """Within: more than `MAX_CALLS` calls of torch raise `UserError`, as do tensors of more
    than `elements` numbers (None: of any size)."""

    calls = 0

    def __init__(self, elements: int | None = None) -> None:
        super().__init__()
        self.elements = elements

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        if self.calls > MAX_CALLS:
            raise UserError(f"a network of so many layers is not built: it needs over {MAX_CALLS:,} operations")
        made = func(*args, **(kwargs or {}))
        if self.elements is not None and isinstance(made, torch.Tensor) and made.numel() > self.elements:
            raise UserError(f"a tensor of {made.numel():,} numbers is too large; at most {self.elements:,} are allowed")
        return made


@contextmanager
def on_meta() -> Iterator[None]:
    """Within: new tensors have shapes and no memory, and absurdly many raise `UserError`."""
    with torch.device("meta"), Bounded():
        yield
