"""Build networks on the meta device, where their weights take no memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ganvas.core.errors import ConfigError

MAX_CALLS = 30_000  # operations of torch to build networks; BigGAN-deep takes 6,000


class _Bounded(TorchFunctionMode):
    """Limit the operations of torch."""

    calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        if self.calls > MAX_CALLS:
            raise ConfigError(
                f"a network with this many layers is rejected: building it takes over "
                f"{MAX_CALLS:,} operations"
            )
        return func(*args, **(kwargs or {}))


@contextmanager
def on_meta() -> Iterator[None]:
    """Within the context, give new tensors shapes and no memory.

    Raises `ConfigError` after `MAX_CALLS` operations."""
    with torch.device("meta"), _Bounded():
        yield
