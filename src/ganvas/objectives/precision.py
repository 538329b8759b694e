"""The precision of losses, whatever the networks ran in."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """At least float32: bfloat16 is widened, float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
