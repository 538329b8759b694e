"""How weights fit a network: tensor by tensor, and by the settings that have none.

`suggested` finds the settings of a run with which they would fit.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganvas.core import Method, Run, Shape, config
from ganvas.core.errors import UserError, printable
from ganvas.core.guards import plural
from ganvas.engine.build import without_weights
from ganvas.inference.settings_of import (
    Arguments,
    Difference,
    constructions,
    differences,
    listed,
    network_class,
    same,
)
from ganvas.nets.deoldify import WeightNorm
from ganvas.nets.spectral import Spectral
from ganvas.training.sources import Source

SHOWN = 6  # names in a message
NORMALIZED = ("normalized", "normalised")  # files have weights that are already


@dataclass(frozen=True)
class Fit:
    """How the weights of a source fit one network.

    tensors: the source's, under the network's names if it normalizes them
    names: name in `tensors` by name in the network, of tensors of the same shape
    new: names of the network that are not taken
    unused: names of the source that are not taken
    differs: settings in which the two networks differ beside their tensors
    """

    tensors: Mapping[str, Tensor]
    names: Mapping[str, str]
    new: Sequence[str]
    unused: Sequence[str]
    differs: Sequence[Difference]

    @property
    def whole(self) -> bool:
        """Whether the network computes what the source does."""
        return not (self.new or self.unused or self.differs)


def fit(
    source: Source, origin: str, target: nn.Module, *, from_end: bool, partial: bool = False
) -> Fit:
    """Compare a network of a source with a network that is to take its weights.

    from_end: compare stacks of different depth from their ends if as many tensors fit
        as from their beginnings: a discriminator ends at its smallest features
    partial: compare stacks of different depth
    """
    tensors = _normalized(source, origin, target)
    own = target.state_dict()
    names = _matches(tensors, own, from_end, partial)
    new = sorted(own.keys() - names.keys())
    unused = sorted(tensors.keys() - set(names.values()))
    # Of networks of other depth or width, the modules that have the same names.
    among = _taken(target, source.networks[origin], names) if new or unused else None
    differs: list[Difference] = []
    if among is None or partial:
        differs = differences(target, source.networks[origin], among)
    return Fit(tensors, names, new, unused, differs)


def _normalized(source: Source, origin: str, target: nn.Module) -> dict[str, Tensor]:
    """The tensors of a source; those before normalization of layers that do it.

    Files of other projects hold both the weight before spectral normalization and the
    state of its power iteration. Any weight is normalized to a length and itself.
    """
    tensors = dict(source.trained[origin])
    if not source.foreign:
        return tensors
    prefix = f"{origin}." if origin else ""
    for layer, module in target.named_modules():
        weight = tensors.get(f"{layer}.weight")
        if weight is None or not parametrize.is_parametrized(module, "weight"):
            continue
        [*_, last] = module.get_submodule("parametrizations.weight").children()
        stored = source.normalized.get(f"{prefix}{layer}.weight")
        at, own = f"{layer}.parametrizations.weight", {}
        if isinstance(last, WeightNorm):
            own = {f"original{i}": part for i, part in enumerate(last.right_inverse(weight))}
        elif isinstance(last, Spectral) and stored and stored.u.shape == last.u.shape:
            # u moves on at the first step, as nothing was seen.
            own = {"original": stored.weight, "0.u": stored.u, "0.seen": torch.zeros(())}
        if own:
            del tensors[f"{layer}.weight"]
            tensors |= {f"{at}.{name}": value for name, value in own.items()}
    return tensors


def _taken(target: nn.Module, source: nn.Module, names: Mapping[str, str]) -> frozenset[str]:
    """The modules of both networks whose own tensors are all taken by their names."""
    theirs = dict(source.named_modules())
    own = target.state_dict().keys()
    lost = {k.rpartition(".")[0] for k in own if names.get(k) != k}
    return frozenset(n for n, _ in target.named_modules() if n in theirs and n not in lost)


def _matches(
    source: Mapping[str, Tensor], target: Mapping[str, Tensor], from_end: bool, partial: bool
) -> dict[str, str]:
    """Name in the source by name in the target, of tensors of the same shape."""

    def fitting(renamed: Mapping[str, str]) -> dict[str, str]:
        return {
            new: old
            for old, new in renamed.items()
            if new in target and target[new].shape == source[old].shape
        }

    direct = fitting({name: name for name in source})
    shifted = fitting(_aligned_at_end(source, target)) if partial else {}
    return shifted if len(shifted) > len(direct) - from_end else direct


def _aligned_at_end(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, str]:
    """Name in the target by name in the source, stacks numbered from their ends."""
    last_source, last_target = _last_numbers(source), _last_numbers(target)
    renamed = {}
    for name in source:
        old: list[str] = []
        new: list[str] = []
        for part in name.split("."):
            moved = part
            if part.isdecimal():
                prefix, other = ".".join(old), ".".join(new)
                moved = str(int(part) + last_target.get(other, 0) - last_source[prefix])
            old.append(part)
            new.append(moved)
        renamed[name] = ".".join(new)
    return renamed


def _last_numbers(names: Mapping[str, Tensor]) -> dict[str, int]:
    """The largest number after each prefix: "blocks.6.bias" gives 6 for "blocks"."""
    last: dict[str, int] = {}
    for name in names:
        parts = name.split(".")
        for i, part in enumerate(parts):
            if part.isdecimal():
                prefix = ".".join(parts[:i])
                last[prefix] = max(last.get(prefix, 0), int(part))
    return last


def refusal(
    source: Source,
    fits: Mapping[str, tuple[str, Fit]],
    method: Method,
    run: Run,
    shape: Shape,
) -> str:
    """Why a source does not fit, and what to do.

    fits: (name in the source, fit) by network, of those that do not fit
    run, shape: of which the method is built
    """
    name, (first_origin, first) = next(iter(fits.items()))
    settings = suggested(source, {k: origin for k, (origin, _) in fits.items()}, method, run, shape)
    where = printable(source.name)
    if first.new or first.unused:
        own = method.get_submodule(name).state_dict()
        why = f"{where} does not fit {name}: {_misfits(first.tensors, own)}"
        if settings:
            why = f"{where} does not fit {name}, which has other settings"
        elif arguments := _other_arguments(source, first_origin, name, run, shape):
            why = f"{where} does not fit {name}: {arguments}; so {_misfits(first.tensors, own, 1)}"
        other = "To take what fits: --partial; to take another network alone: --from NETWORK=PATH"
    else:
        why = (
            f"{where} does not fit {name}: all {len(first.names)} tensors do, but "
            f"{printable(listed(first.differs))}"
        )
        other = "To take the weights all the same: --partial"
    way = f"It fits with {' '.join(settings)}. " if settings else ""
    return f"{why}. {way}{other}"


def suggested(
    source: Source, origins: Mapping[str, str], method: Method, run: Run, shape: Shape
) -> list[str]:
    """The options with which networks would be those of a source, if some are known.

    Networks of one class differ in the arguments of their constructors.

    origins: name in the source by name in the method
    """
    options: dict[str, str] = {}  # value by path, or by "" for --size
    sizes = {False: shape}
    try:
        for network, origin in origins.items():
            if network_class(source.networks[origin]) is not type(method.get_submodule(network)):
                return []
            found, shape = _differing(source, origin, network, _with(run, options), shape)
            options |= found
            sizes["" in options] = shape
    except UserError:  # the other networks cannot be built with these
        return []

    def fits(options: Mapping[str, str]) -> bool:
        try:
            trial = without_weights(_with(run, options), sizes["" in options])
        except UserError:
            return False
        return all(
            fit(source, origin, trial.get_submodule(n), from_end=n in method.discriminators).whole
            for n, origin in origins.items()
        )

    if not options or not fits(options):
        return []
    for path in list(options):
        fewer = {k: v for k, v in options.items() if k != path}
        if fits(fewer):
            options = fewer
    return [f"--set {shlex.quote(f'{k}={v}')}" if k else f"--size {v}" for k, v in options.items()]


def _other_arguments(source: Source, origin: str, network: str, run: Run, shape: Shape) -> str:
    """The arguments of a network's constructor that a source has other values of."""
    cls = network_class(source.networks[origin])
    own, target = _arguments(run, shape, network, cls)
    if type(target) is not cls:
        return ""
    theirs = source.arguments[origin]
    other = [k for k, v in own.items() if k in theirs and not same(v, theirs[k]) and _text(v)]
    return ", ".join(f"{k} is {theirs[k]} (here {own[k]})" for k in other if k not in NORMALIZED)


def _with(run: Run, options: Mapping[str, str]) -> Run:
    for path, value in options.items():
        run = config.override(run, f"{path}={value}") if path else run
    return run


def _differing(
    source: Source, origin: str, network: str, run: Run, shape: Shape
) -> tuple[dict[str, str], Shape]:
    """(options of one network that `suggested` tries, the shape with their size)."""
    theirs = source.networks[origin]
    options: dict[str, str] = {}
    own, target = _arguments(run, shape, network, network_class(theirs))
    wanted = {**own, **{k: v for k, v in source.arguments[origin].items() if k in own}}
    for d in differences(target, theirs):  # attributes that importers set afterwards
        if not d.module and d.setting and same(own.get(d.setting), getattr(target, d.setting)):
            wanted[d.setting] = getattr(theirs, d.setting)
    size = wanted.pop("size", None)
    sides = (size, size) if isinstance(size, int) else size
    if isinstance(sides, list | tuple) and tuple(sides) != (shape.height, shape.width):
        shape = replace(shape, height=int(sides[0]), width=int(sides[1]))
        options[""] = "x".join(str(side) for side in dict.fromkeys(sides))
    assert isinstance(run.method, partial)
    # Its own keyword first; the method may have a setting from another network.
    keywords = sorted(run.method.keywords, key=lambda k: not _of(network, k))
    for name, value in wanted.items():
        if (text := _text(value)) is None or same(value, own.get(name)):
            continue
        for path in (f"{keywords[0]}.{name}", name, *(f"{k}.{name}" for k in keywords[1:])):
            try:
                trial = _with(run, {path: text})
                built, _ = _arguments(trial, shape, network, network_class(theirs))
            except UserError:
                continue
            if same(built.get(name), value):
                run, options[path] = trial, text
                break
    return options, shape


def _of(network: str, keyword: str) -> bool:
    """Whether a method's keyword builds a network: D builds D, D_a and D_b."""
    return network == keyword or network.startswith(f"{keyword}_")


def _arguments(
    run: Run, shape: Shape, network: str, cls: type[nn.Module]
) -> tuple[Arguments, nn.Module]:
    """(arguments of a network of a run, the network without memory)."""
    with constructions([cls]) as arguments_of:
        net = without_weights(run, shape).get_submodule(network)
        return arguments_of(net), net


def _text(value: object) -> str | None:
    """A setting as `--set` takes it; None: it has no such form."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, separators=(",", ":"))
    except (TypeError, ValueError):
        return None


def _misfits(source: Mapping[str, Tensor], target: Mapping[str, Tensor], shown: int = SHOWN) -> str:
    """The tensors that do not fit, the first few by name."""
    found = []
    for name in sorted(source.keys() | target.keys()):
        have = list(source[name].shape) if name in source else None
        want = list(target[name].shape) if name in target else None
        if have != want:
            got = "lacking" if have is None else f"{have}"
            found.append(f"{name} is {got}, expected {'none' if want is None else want}")
    return f"{plural(len(found), 'tensor')} differ: {some(found, shown)}"


def some(names: Sequence[str], most: int = SHOWN) -> str:
    """The first names of a list."""
    shown = ", ".join(printable(n)[:120] for n in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
