"""Spectrally normalized layers in other projects' files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.inference.importers.formats import State


def with_power_iteration(state: State) -> State:
    """Convert ajbrock/BigGAN-PyTorch's layers to weights before normalization and u.

    Both projects do one power iteration from the stored u (there: u0, others are for
    other singular values) in evaluation.
    """
    ours: State = {}
    for key, value in state.items():
        layer, _, name = key.rpartition(".")
        if name == "weight" and f"{layer}.u0" in state:
            ours[f"{layer}.parametrizations.weight.original"] = value
            ours[f"{layer}.parametrizations.weight.0.u"] = state[f"{layer}.u0"].flatten()
            # The network is on the meta device, these weights are not.
            ours[f"{layer}.parametrizations.weight.0.seen"] = torch.zeros((), device="cpu")
        elif not re.fullmatch(r"(u|sv)\d+", name):
            ours[key] = value
    return ours


def with_fixed_sigma(state: State, transposed: tuple[str, ...] = ()) -> State:
    """Convert layers of `torch.nn.utils.spectral_norm` to plain weights.

    Their evaluation divides by u^T W v of the stored vectors; that of kwotsin/mimicry's
    own layers by |W v|, v being W^T u of the stored u, at length 1.

    transposed: layers that are transposed convolutions, [in, out, ...]
    """
    plain: State = {}
    for key, value in state.items():
        if key.endswith(".weight_orig"):
            layer = key.removesuffix(".weight_orig")
            value = value.float()  # half precision would round sigma
            matrix = (value.transpose(0, 1) if layer in transposed else value).flatten(1)
            u, v = (state[f"{layer}.weight_{name}"].float() for name in "uv")
            sigma = torch.dot(u, matrix @ v)
            plain[f"{layer}.weight"] = value / sigma
        elif key.endswith(".weight") and f"{key[:-7]}.sn_u" in state:
            matrix = value.float().flatten(1)
            v = F.normalize(matrix.T @ state[f"{key[:-7]}.sn_u"].float().flatten(), dim=0)
            plain[key] = value.float() / torch.linalg.vector_norm(matrix @ v)
        elif not key.endswith((".weight_u", ".weight_v", ".sn_u", ".sn_sigma")):
            plain[key] = value
    return plain


class Normalized(NamedTuple):
    """A weight before spectral normalization, and its power iteration's u [outputs]."""

    weight: Tensor
    u: Tensor


def before_normalization(state: State, plain: Mapping[str, Tensor]) -> dict[str, Normalized]:
    """The weights of a file that `with_fixed_sigma` has normalized, by their new names.

    A network has names of its own for them, under which they are found again as what
    they are: multiples of those in the file. These are negative if u has not converged.

    state: the file's tensors
    plain: the network's
    """
    stored: dict[torch.Size, list[tuple[Tensor, Normalized]]] = {}
    for key, weight in state.items():
        layer, _, name = key.rpartition(".")
        u = state.get(f"{layer}.weight_u") if name == "weight_orig" else None
        u = state.get(f"{layer}.sn_u") if name == "weight" else u
        if u is not None:
            found = Normalized(weight.float(), u.float().flatten())
            stored.setdefault(weight.shape, []).append((_direction(weight), found))
    named = {}
    for name, weight in plain.items():
        if (candidates := stored.get(weight.shape)) is None:
            continue
        direction = _direction(weight)
        for other, found in candidates:
            if abs(float(torch.dot(direction, other))) > 1 - 1e-9:
                named[name] = found
                break
    return named


def _direction(weight: Tensor) -> Tensor:
    return F.normalize(weight.double().flatten(), dim=0)
