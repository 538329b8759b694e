"""Tensors and settings of an engine's state in the form of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ganvas.engine.build import EXECUTION_FLAGS


def dump_optimizer(
    optimizer: torch.optim.Optimizer, weights: Sequence[Tensor]
) -> tuple[list[dict[str, object]], dict[str, Tensor]]:
    """The settings of an optimizer's groups, and its tensors.

    weights: the networks' weights, whose `in_memory_order` the optimizer has

    Returns (settings by group, tensors by "index of the weight/slot").
    """
    state = optimizer.state_dict()
    left_out = ("params", *EXECUTION_FLAGS)
    settings = [{k: v for k, v in g.items() if k not in left_out} for g in state["param_groups"]]
    tensors = {
        f"{index}/{slot}": _in_weight_order(value, weights[index])
        for index, slots in state["state"].items()
        for slot, value in slots.items()
        if isinstance(value, Tensor)
    }
    return settings, tensors


def load_optimizer(
    optimizer: torch.optim.Optimizer,
    weights: Sequence[Tensor],
    settings: Sequence[Mapping[str, object]],
    tensors: Mapping[str, Tensor],
) -> None:
    """Restore the tensors of what `dump_optimizer` returned.

    Settings stay the optimizer's: they follow from the run, which `--set` may have
    changed.

    Raises `ValueError` for settings of other types and for tensors of other shapes.
    """
    groups = optimizer.state_dict()["param_groups"]
    for group, saved in zip(groups, settings, strict=True):
        # Older checkpoints hold the execution flags, too.
        known = {k: v for k, v in saved.items() if k not in EXECUTION_FLAGS}
        if any(_json_type(known[k]) != _json_type(group[k]) for k in known.keys() & group.keys()):
            raise ValueError("an optimizer has other settings")
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, slot = key.split("/")
        weight = weights[int(index)]
        if value.dim() and value.shape != weight.shape:
            raise ValueError(f"{slot} of an optimizer's weight {index} has another shape")
        if value.shape == weight.shape:
            copy = torch.empty_like(weight, dtype=value.dtype).copy_(value)
            value = in_memory_order(copy)
        state.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def in_memory_order(tensor: Tensor) -> Tensor:
    """The tensor with its dimensions in the order of its memory.

    Fused optimizers copy a tensor in any other order.
    """
    return tensor.permute(0, 2, 3, 1) if _is_channels_last(tensor) else tensor


def own_keys(method: nn.Module) -> set[str]:
    """State names of buffers that each rank keeps for itself (image pools)."""
    owners = [name for name, m in method.named_modules() if getattr(m, "per_rank", False)]
    return {k for k in method.state_dict() if any(k.startswith(f"{o}.") for o in owners)}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, by the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def is_finite(tensor: Tensor) -> bool:
    """Whether no number of a tensor is NaN or infinite."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _in_weight_order(slot: Tensor, weight: Tensor) -> Tensor:
    """An optimizer's tensor for `in_memory_order(weight)`, in the weight's order."""
    return slot.permute(0, 3, 1, 2) if slot.dim() == 4 and _is_channels_last(weight) else slot


def _is_channels_last(tensor: Tensor) -> bool:
    return (
        tensor.dim() == 4
        and not tensor.is_contiguous()
        and tensor.is_contiguous(memory_format=torch.channels_last)
    )


def _json_type(setting: object) -> type:
    """The type of an optimizer's setting, as far as JSON preserves it."""
    if isinstance(setting, bool) or setting is None:
        return type(setting)
    if isinstance(setting, list | tuple):
        return tuple
    return float if isinstance(setting, int | float) else type(setting)
