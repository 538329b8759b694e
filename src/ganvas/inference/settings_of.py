"""Settings of a network that leave no tensor: activations, slopes, skips, ranges.

Two networks of equal tensors compute the same only if these are the same, too.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganvas.nets.layers import Dropout

IMPORTERS = "ganvas.inference.importers"
# What follows from the size of the images, or changes no result: torch's names, ours.
# `interleaved` only says which images of a batch are compared with each other.
INERT = frozenset({"inplace", "momentum", "interleaved", "channels", "size", "least", "multiple"})
INERT |= {"levels", "levels_up"}  # describe an autoencoder's modules, which are compared themselves
# Noise of the training, which stays as the method has it.
NOISE = (nn.Dropout, nn.Dropout2d, Dropout)

_COMMON = frozenset(vars(nn.Module())) | frozenset(vars(nn.Module))


class Difference(NamedTuple):
    """A setting in which two networks differ.

    module: its name in the network, "" for the network itself
    setting: the attribute; None: the class of the module
    here, there: its values as text
    """

    module: str
    setting: str | None
    here: str
    there: str

    def __str__(self) -> str:
        name = ".".join(filter(None, (self.module, self.setting))) or "the network"
        return f"{name} is {self.there}, here {self.here}"


def differences(
    here: nn.Module, there: nn.Module, among: Collection[str] | None = None
) -> list[Difference]:
    """The settings in which two networks differ, outer modules first.

    Spectral normalization is none: it belongs to the training, and the weights show it.

    among: names of the modules to compare; None: all
    """
    found: list[Difference] = []
    ours, theirs = (dict(_modules(net)) for net in (here, there))
    if network_class(here) is not network_class(there):
        return [Difference("", None, *(network_class(net).__name__ for net in (here, there)))]
    for name in {**ours, **theirs}:
        if among is not None and name not in among:
            continue
        if any(d.setting is None and _below(name, d.module) for d in found):
            continue
        a, b = ours.get(name), theirs.get(name)
        if a is None or b is None or (name and _class(a) is not _class(b)):
            found.append(Difference(name, None, *(_shown_module(m) for m in (a, b))))
            continue
        for setting in sorted(_settings(a).keys() | _settings(b).keys()):
            x, y = (_value(m, setting) for m in (a, b))
            if not same(x, y):
                found.append(Difference(name, setting, _shown(x), _shown(y)))
    return found


def network_class(net: nn.Module) -> type[nn.Module]:
    """The class of a network; ours, if importers call it in their project's way."""
    own = (c for c in type(net).__mro__ if not c.__module__.startswith(IMPORTERS))
    return next(c for c in own if issubclass(c, nn.Module))


def same(a: object, b: object) -> bool:
    """Whether two settings are the same: functions by their names, lists as tuples."""
    return bool(_key(a) == _key(b))


def _modules(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in net.named_modules():
        noise = isinstance(module, NOISE) or (name and isinstance(module, nn.Identity))
        if not noise and "parametrizations" not in name.split("."):
            yield name, module


def _class(module: nn.Module) -> type[nn.Module]:
    return parametrize.type_before_parametrizations(module)


def _below(name: str, module: str) -> bool:
    return not module or name.startswith(f"{module}.")


def _settings(module: nn.Module) -> dict[str, object]:
    """The attributes of a module that decide what it computes."""
    inert = INERT
    if _value(module, "latent") == 0:  # SPADE's grid follows from the size of the images
        inert |= {"grid"}
    return {
        k: v
        for k, v in vars(module).items()
        if k not in _COMMON and k not in inert and not isinstance(v, Tensor)
    }


def _value(module: nn.Module, setting: str) -> object:
    """A module's own attribute, or that of its class; a child counts as none."""
    own: Mapping[str, object] = vars(module)
    return own[setting] if setting in own else getattr(type(module), setting, None)


def _key(value: object) -> object:
    """What is equal for equal settings."""
    if isinstance(value, functools.partial):
        return (_key(value.func), _key(value.args), _key(value.keywords))
    if inspect.isfunction(value):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return (value.__module__, value.__qualname__, _key(cells))
    if isinstance(value, Mapping):
        return tuple(sorted((str(k), _key(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return tuple(_key(v) for v in value)
    plain = type(value).__eq__ is object.__eq__ and not callable(value)
    return type(value) if plain else value


def _shown(value: object) -> str:
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    return str(name if callable(value) and name else value)[:80]


def _shown_module(module: nn.Module | None) -> str:
    if module is None:
        return "absent"
    leaf = next(module.children(), None) is None
    name = _class(module).__name__
    return repr(module)[:80] if leaf else name


Arguments = Mapping[str, object]


@contextmanager
def constructions(
    classes: Collection[type[nn.Module]],
) -> Iterator[Callable[[nn.Module], Arguments]]:
    """Record with which arguments networks are constructed.

    classes: whose networks, those of subclasses included

    Yields a function: a network -> the arguments of its constructor, by name, with its
    defaults; none of a network that was not seen.
    """
    seen: dict[int, tuple[nn.Module, Arguments]] = {}
    originals: dict[type[nn.Module], Callable[..., None]] = {c: c.__init__ for c in classes}

    def recording(init: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(init)

        @functools.wraps(init)
        def __init__(self: nn.Module, *args: object, **kwargs: object) -> None:
            init(self, *args, **kwargs)
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            seen[id(self)] = self, dict(list(bound.arguments.items())[1:])

        return __init__

    try:
        for cls, init in originals.items():
            cls.__init__ = recording(init)
        yield lambda net: seen[id(net)][1] if id(net) in seen else {}
    finally:
        for cls, init in originals.items():
            cls.__init__ = init


def listed(found: Sequence[Difference], most: int = 3) -> str:
    """The first differences in one line."""
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(map(str, found[:most])) + more
