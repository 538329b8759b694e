"""Running statistics of instance norms, which few networks use.

junyanz' project stored them from April to August 2018 (`track_running_stats`), and used
them in evaluation if asked to (`--eval`). Before torch 0.4 all instance norms had some,
which nothing ever used.
"""

from __future__ import annotations

import re
from functools import partial

from torch import nn

from ganvas.inference.importers.formats import Found, Setting, State, Tensors, unchanged
from ganvas.nets.norm import BatchNorm2d, InstanceNorm2d

NAMES = ("running_mean", "running_var", "num_batches_tracked")


def separated(state: State) -> tuple[Tensors, State]:
    """(tensors that networks use, statistics of instance norms).

    The latter have no weight beside them. Batch norms without weights are named bn, or
    param_free_norm in SPADE, or precede a PReLU in CoGAN's project.
    """

    def used(key: str) -> bool:
        layer, _, name = key.rpartition(".")
        return (
            name not in NAMES
            or f"{layer}.weight" in state
            or layer.rpartition(".")[2].startswith(("bn", "param_free_norm"))
            or _before_prelu(state, layer)
        )

    rest = {k: v for k, v in state.items() if not used(k)}
    return Tensors((k, v) for k, v in state.items() if k not in rest), rest


def _before_prelu(state: State, layer: str) -> bool:
    """Whether the next layer of a row has one number, for all channels."""
    row, _, place = layer.rpartition(".")
    if not re.fullmatch("[0-9]{1,6}", place):
        return False
    weight = state.get(f"{row}.{int(place) + 1}.weight")
    return weight is not None and weight.numel() == 1


def with_statistics(found: Found, statistics: State) -> Found:
    """A network that has the file's names: whether its instance norms use statistics.

    Nothing changes unless there are those of all layers.
    """
    norms = {n: m for n, m in found.net.named_modules() if isinstance(m, InstanceNorm2d)}
    needed = {f"{n}.{k}": m.channels for n, m in norms.items() for k in NAMES[:2]}
    if not norms or any(
        tuple(statistics[k].shape) != (c,) if k in statistics else True for k, c in needed.items()
    ):
        return found
    readings = {"false": unchanged, "true": partial(_store, statistics=statistics)}
    setting = Setting(readings, "false")
    return found._replace(settings={**found.settings, "track_running_stats": setting})


def _store(net: nn.Module, statistics: State) -> None:
    """Normalize by the stored statistics in place of those of each image."""
    for name, norm in list(net.named_modules()):
        if isinstance(norm, InstanceNorm2d):
            stored = BatchNorm2d(norm.channels, norm.eps, affine=False)
            stored.running_mean = statistics[f"{name}.running_mean"].float()
            stored.running_var = statistics[f"{name}.running_var"].float()
            parent, _, last = name.rpartition(".")
            net.get_submodule(parent).add_module(last, stored.eval())
