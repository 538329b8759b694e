"""Spectrally normalised layers as other projects write them."""

from __future__ import annotations

import torch

from ganvas.inference.importers.formats import State


def kept_normalised(state: State) -> State:
    """ajbrock/BigGAN-PyTorch's layers, whose evaluation does one round of power iteration from the u0 that is stored, as ours
    does: the weight before normalisation and u."""
    ours: State = {}
    for key, value in state.items():
        layer, _, name = key.rpartition(".")
        if name == "weight" and f"{layer}.u0" in state:
            ours[f"{layer}.parametrizations.weight.original"] = value
            ours[f"{layer}.parametrizations.weight.0.u"] = state[f"{layer}.u0"].flatten()
            ours[f"{layer}.parametrizations.weight.0.seen"] = torch.zeros(
                (), device="cpu"
            )  # the network is built on meta
        elif name not in ("u0", "sv0"):
            ours[key] = value
    return ours


def normalised_for_good(state: State) -> State:
    """Layers of `torch.nn.utils.spectral_norm`, whose evaluation divides by u^T W v of the stored vectors: plain weights."""
    plain: State = {}
    for key, value in state.items():
        if key.endswith(".weight_orig"):
            layer = key.removesuffix(".weight_orig")
            sigma = torch.dot(
                state[f"{layer}.weight_u"], value.flatten(1) @ state[f"{layer}.weight_v"]
            )
            plain[f"{layer}.weight"] = value / sigma
        elif not key.endswith((".weight_u", ".weight_v")):
            plain[key] = value
    return plain
