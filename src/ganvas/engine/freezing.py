"""Frozen weights: `Run.frozen`.

Freeze the Discriminator: a Simple Baseline for Fine-Tuning GANs, Mo, Cho and Shin,
2020, arXiv:2002.10964, fixes the discriminator's layers next to the image ("D:3").
Buffers, as batch norm's running statistics, go on changing, and clipping (WGAN) bounds
frozen weights, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from ganvas.core import Method
from ganvas.core.errors import ConfigError, did_you_mean


@runtime_checkable
class Layered(Protocol):
    """A network whose layers are not registered in the order in which they compute."""

    @property
    def layers_from_input(self) -> Sequence[str]:
        """Names of its layers, from its input on."""
        ...


def played_networks(method: Method) -> dict[str, nn.Module]:
    """The networks of which a player trains some weights, by name."""
    played = {id(w) for nets in method.players.values() for net in nets for w in net.parameters()}
    return {
        name: net
        for name, net in method.named_children()
        if any(id(weight) in played for weight in net.parameters())
    }


def trained_weights(method: Method, frozen: Sequence[str]) -> dict[str, list[nn.Parameter]]:
    """The weights that each player moves: those of its networks that are not frozen.

    frozen: each "D" (all of a network), "D:3" (its first three layers, from its input
        on) or "G:mapping" (the layers whose name begins so)

    Raises `ConfigError` for a network or layers that do not exist, and if a player has
    nothing left to train.
    """
    still = {id(weight) for entry in frozen for weight in _selected(method, entry)}
    trained = {}
    for player, networks in method.players.items():
        weights = [w for net in networks for w in net.parameters()]
        trained[player] = [w for w in weights if id(w) not in still]
        if weights and not trained[player]:
            raise ConfigError(
                f"all weights of {player} are frozen ({', '.join(frozen)}): freeze fewer"
            )
    return trained


def require_trained(loss: Tensor, player: str, frozen: Sequence[str]) -> None:
    """Raise `ConfigError` if a player's loss depends on none of its trained weights."""
    if not loss.requires_grad and frozen:
        raise ConfigError(
            f"a loss of {player} depends on frozen layers alone ({', '.join(frozen)}): freeze fewer"
        )


def layers_of(net: nn.Module) -> list[str]:
    """Names of a network's layers from its input on: children, and those of lists."""
    if isinstance(net, Layered):
        return list(net.layers_from_input)
    found: list[str] = []
    for name, child in net.named_children():
        nested = isinstance(child, nn.ModuleList | nn.Sequential | nn.ModuleDict)
        inner = [(f"{name}.{k}", c) for k, c in child.named_children()]
        layers = inner if nested else [(name, child)]
        found += [k for k, layer in layers if next(layer.parameters(), None) is not None]
    return found


def _selected(method: Method, entry: str) -> list[nn.Parameter]:
    """The weights that one entry selects."""
    network, colon, which = entry.partition(":")
    networks = played_networks(method)
    if network not in networks:
        raise ConfigError(
            f"freeze {entry}: there is no network {network!r}. {did_you_mean(network, networks)}"
        )
    net = networks[network]
    layers = layers_of(net)
    if not colon:
        prefixes = [""]
    elif which.isascii() and which.isdigit():
        if not 1 <= int(which) <= len(layers):
            raise ConfigError(
                f"freeze {entry}: {network} has {len(layers)} layers: {', '.join(layers)}"
            )
        prefixes = [f"{layer}." for layer in layers[: int(which)]]
    else:
        prefixes = [f"{which}."]
    found = [
        weight
        for name, weight in net.named_parameters()
        if any(f"{name}.".startswith(prefix) for prefix in prefixes)
    ]
    if not found:
        raise ConfigError(
            f"freeze {entry}: {network} has no layers {which!r}. {did_you_mean(which, layers)}"
        )
    return found
