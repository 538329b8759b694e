"""Averages of networks' weights over training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverages:
    """Pairs of averaged and current tensors of the same networks.

    ema: the averaged networks by name, changed in place
    method: holds the current networks under the same names
    """

    def __init__(self, ema: nn.ModuleDict, method: nn.Module) -> None:
        self._averages: list[Tensor] = []
        self._currents: list[Tensor] = []
        self._counts: list[tuple[Tensor, Tensor]] = []  # integer buffers
        for name, network in ema.items():
            current = method.get_submodule(name).state_dict().values()
            for old, new in zip(network.state_dict().values(), current, strict=True):
                if old.is_floating_point():
                    self._averages.append(old)
                    self._currents.append(new)
                else:
                    self._counts.append((old, new))

    @torch.no_grad()
    def update(self, weight: float) -> None:
        """Move the averages towards the current values; copy integer buffers.

        weight: of the current values, 0 to 1
        """
        torch._foreach_lerp_(self._averages, self._currents, weight)
        for old, new in self._counts:
            old.copy_(new)
