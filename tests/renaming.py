"""Weights of ganvas' own networks under other projects' names, imported again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.inference.importers import import_network

State = dict[str, Tensor]


def lively(net: nn.Module) -> Any:
    """Weights, none of them 0, and statistics, none of them 0 or 1."""
    with torch.no_grad():
        for value in net.state_dict().values():
            if value.is_floating_point() and value.numel():
                value.copy_(torch.rand_like(value) * 0.4 + 0.1)
    return net.eval()


def renamed(net: nn.Module, *names: tuple[str, str | Callable[[re.Match[str]], str]]) -> State:
    """The state of `net`, its names changed by all patterns in turn."""
    state = {}
    for key, value in net.state_dict().items():
        for pattern, new in names:
            key = re.sub(pattern, new, key)
        state[key] = value
    return state


@torch.no_grad()
def agree(net: nn.Module, state: State, file: Path, *inputs: Tensor, **options: str) -> Any:
    """Import `state`, and compare with `net`."""
    torch.save(state, file)
    again = import_network(file, options=options)
    got, want = again(*inputs), net(*inputs)
    torch.testing.assert_close(
        got.flatten() if isinstance(got, Tensor) else got,
        want.flatten() if isinstance(want, Tensor) else want,
    )
    return again


def spectral(state: State) -> State:
    """As torch.nn.utils.spectral_norm has it, for sigma = 2; not for biases and norms."""
    found = {}
    for key, value in state.items():
        if key.endswith("weight") and value.dim() > 1:
            matrix = value.flatten(1)
            u, v = torch.eye(len(matrix))[0], torch.zeros(matrix.shape[1])
            v[0] = 1 / matrix[0, 0]
            found |= {f"{key}_orig": 2 * value, f"{key}_u": u, f"{key}_v": v}
        else:
            found[key] = value
    return found
