"""Activations with the gain that keeps a signal's variance, and a limit.

As in StyleGAN2-ADA's code (arXiv:2006.06676), which limits activations so that float16
does not overflow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Literal[
    "linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"
]
ROOT = math.sqrt(2)
ACTIVATIONS: dict[Activation, tuple[Callable[[Tensor], Tensor], float]] = {
    "linear": (lambda x: x, 1.0),
    "relu": (F.relu, ROOT),
    "lrelu": (lambda x: F.leaky_relu(x, 0.2), ROOT),
    "tanh": (torch.tanh, 1.0),
    "sigmoid": (torch.sigmoid, 1.0),
    "elu": (F.elu, 1.0),
    "selu": (F.selu, 1.0),
    "softplus": (F.softplus, 1.0),
    "swish": (F.silu, ROOT),
}


def activated(x: Tensor, kind: Activation = "lrelu", clamp: float | None = None) -> Tensor:
    """The activation of `kind` times its gain, of any shape, limited to +- `clamp`."""
    function, gain = ACTIVATIONS[kind]
    x = function(x)
    if gain != 1:
        x = x * gain
    return clamped(x, clamp)


def clamped(x: Tensor, clamp: float | None) -> Tensor:
    """Limit `x`, of any shape, to +- `clamp`; None: as it is."""
    return x if clamp is None else x.clamp(-clamp, clamp)
