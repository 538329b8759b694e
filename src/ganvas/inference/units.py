"""Units of a generator: find its layers of feature maps, record and change them.

Bau et al., 2018, GAN Dissection, arXiv:1811.10597, section 3.2: a unit, a channel of a
layer, is set to zero (ablation) or to a constant (insertion) at chosen places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from ganvas.core.errors import CapabilityError, UserError, did_you_mean
from ganvas.inference.model import Model

PROBE = 2  # samples by which layers are found
PLACE = (  # of messages about other places
    "a place is a point DOWN,ACROSS or two corners DOWN,ACROSS,DOWN,ACROSS, each from 0 to 1, as "
    "0.5,0.25"
)


class Layer(NamedTuple):
    """A layer of feature maps.

    name: of the module in the method, as "G.main.5"
    units: number of channels
    height, width: of the maps, in places
    """

    name: str
    units: int
    height: int
    width: int


def layers(model: Model) -> list[Layer]:
    """The layers of a generator, in the order of computation.

    Of the modules that compute maps of one size after each other, the outermost counts,
    and of several the last, before the maps are enlarged or become the image. Maps of a
    single place and images are no layers.

    Raises `CapabilityError` for a model without such layers.
    """
    calls: list[tuple[str, tuple[int, ...]]] = []

    def look(name: str, _: nn.Module, args: object, out: object) -> None:
        if isinstance(out, Tensor):
            calls.append((name, tuple(out.shape)))

    modules = _modules(model)
    list(model.batches(PROBE))  # a BigGAN's first samples are those of its statistics
    with _hooked(model, {name: partial(look, name) for name in modules}):
        image = torch.cat(list(model.batches(PROBE)))
    names = [name for name, _ in calls]
    maps = {
        name: Layer(name, *shape[1:])
        for name, shape in calls
        if len(shape) == 4
        and shape[0] == len(image)
        and shape[1] > image.shape[1]
        and shape[2] * shape[3] > 1
        and names.count(name) == 1
    }
    blocks = {name for name in maps if type(modules[name]) is not nn.Sequential}
    found: list[Layer] = []
    for layer in maps.values():
        if blocks & _parents(layer.name):
            continue  # a part of a block, such as one of two branches
        if found and found[-1][2:] == layer[2:]:
            if layer.name.count(".") > found[-1].name.count("."):
                continue
            found.pop()
        found.append(layer)
    if not found:
        raise CapabilityError(
            f"{type(model.method).__name__} has no layer of feature maps, so that it has no units "
            "with a place: dissect a generator of convolutions, run by torch"
        )
    return found


def _parents(name: str) -> set[str]:
    """`"a.b.c"` -> {"a", "a.b"}."""
    parts = name.split(".")
    return {".".join(parts[:i]) for i in range(1, len(parts))}


def layers_named(model: Model, names: Sequence[str]) -> list[Layer]:
    """The layers of these names. Raises `UserError` for an unknown one."""
    found = {layer.name: layer for layer in layers(model)}
    for name in names:
        if name not in found:
            raise UserError(
                f"this model has no layer {name!r}. {did_you_mean(name, found)} "
                f"It has {', '.join(found)}"
            )
    return [found[name] for name in names]


def _modules(model: Model) -> dict[str, nn.Module]:
    """The modules of the networks that generate, by name."""
    method = model.method
    return {
        name: module
        for name, module in method.named_modules()
        if name.partition(".")[0] in method.ema_networks
    }


@contextmanager
def _hooked(model: Model, hooks: Mapping[str, Callable[..., Tensor | None]]) -> Iterator[None]:
    """Call forward hooks of modules, by name, in the context."""
    modules = _modules(model)
    with ExitStack() as stack:
        for name, hook in hooks.items():
            stack.enter_context(modules[name].register_forward_hook(hook))
        yield


@contextmanager
def recorded(model: Model, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Record the latest activations [N, units, h, w] of layers in the context.

    A forward pass replaces those of the one before. Activations are float32 copies.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str, _: nn.Module, args: object, out: Tensor) -> None:
        found[name] = out.detach().float().clone()  # a copy: the next layer may work in place

    with _hooked(model, {name: partial(keep, name) for name in names}):
        yield found


@dataclass(frozen=True)
class Change:
    """A change of a layer's activations: f -> f + weight place (value - f).

    weight: of each unit, 0 (left as it is) to 1 (replaced) [units]
    value: of each unit [units]; None: 0, an ablation
    place: weight of each place [h, w], or of each image and place [N, h, w]; None: 1
    """

    weight: Tensor
    value: Tensor | None = None
    place: Tensor | None = None

    def __call__(self, f: Tensor) -> Tensor:
        """Change activations [N, units, h, w]."""
        weight = self.weight.to(f)[:, None, None]
        if self.place is not None:
            place = self.place.to(f)
            weight = weight * (place if place.ndim == 2 else place[:, None])
        value = f.new_zeros(()) if self.value is None else self.value.to(f)[:, None, None]
        return f + weight * (value - f)


@contextmanager
def changed(model: Model, changes: Mapping[str, Change]) -> Iterator[None]:
    """Change the activations of layers, by name, in every forward pass within."""

    def change(to: Change, _: nn.Module, args: object, out: Tensor) -> Tensor:
        return to(out)

    with _hooked(model, {name: partial(change, to) for name, to in changes.items()}):
        yield


def chosen(units: Sequence[int], count: int) -> Tensor:
    """Weights [count] of a change: 1 for `units`, 0 for the others."""
    weight = torch.zeros(count)
    weight[list(units)] = 1.0
    return weight


def place_text(at: Sequence[float]) -> str:
    """`(0.5, 0.25)` -> "0.5,0.25"."""
    return ",".join(f"{p:g}" for p in at)


def region(at: Sequence[float] | Tensor | None, height: int, width: int) -> Tensor | None:
    """The places of a layer at a point, in a box or under a mask of an image.

    at: (down, across), each from 0 to 1; or two opposite corners (down, across, down,
        across); or a mask [H, W] of the image, of which a place is marked if any pixel
        of it is; None: everywhere

    Returns bool [height, width], at least one place; None for everywhere. Raises
    `UserError` for other numbers and for an empty mask.
    """
    if at is None:
        return None
    if isinstance(at, Tensor):
        if at.ndim != 2 or not bool(at.any()):
            raise UserError(
                f"a mask of places is [height, width] and marks a pixel; got {list(at.shape)}"
                + ", empty" * (at.ndim == 2)
            )
        return adaptive_max_pool2d(at.float()[None], (height, width))[0] > 0
    if len(at) not in (2, 4) or not all(0 <= p <= 1 for p in at):
        raise UserError(f"{PLACE}; got {place_text(at)}")
    place = torch.zeros(height, width, dtype=torch.bool)
    spans = []
    for side, ends in ((height, at[0::2]), (width, at[1::2])):
        first, last = (min(int(p * side), side - 1) for p in (min(ends), max(ends)))
        spans.append(slice(first, last + 1))
    place[spans[0], spans[1]] = True
    return place
