"""Build networks on the meta device, where their weights take no memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ganvas.core.errors import ConfigError

MAX_CALLS = 30_000  # operations of torch to build networks; BigGAN-deep takes 6,000

# In-place draws of values that tensors without memory do not have. On the meta device
# torch implements them in Python and imports its compiler for that.
FILLS = {
    "normal_",
    "uniform_",
    "trunc_normal_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "orthogonal_",
}


class Unfilled(TorchFunctionMode):
    """Leave out draws of values that tensors without memory do not have."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


class Bounded(Unfilled):
    """Limit also the number of torch operations, and the size of their results.

    elements: numbers in one tensor; None: any number

    Raises `ConfigError` beyond either limit.
    """

    calls = 0

    def __init__(self, elements: int | None = None) -> None:
        super().__init__()
        self.elements = elements

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        if self.calls > MAX_CALLS:
            raise ConfigError(
                f"a network with this many layers is rejected: building it takes over "
                f"{MAX_CALLS:,} operations"
            )
        result = super().__torch_function__(func, types, args, kwargs)
        numbers = result.numel() if isinstance(result, torch.Tensor) else 0
        if self.elements is not None and numbers > self.elements:
            raise ConfigError(
                f"a tensor of {numbers:,} numbers is too large; the limit is {self.elements:,}"
            )
        return result


@contextmanager
def on_meta(bounded: bool = True) -> Iterator[None]:
    """Within the context, give new tensors shapes and no memory.

    bounded: raise `ConfigError` after `MAX_CALLS` operations
    """
    with torch.device("meta"), Bounded() if bounded else Unfilled():
        yield
