"""Weights that a run can start from: of a run, a model, or another project's file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ganvas.core import Method
from ganvas.core.errors import UserError, did_you_mean, printable
from ganvas.core.files import sha256_of
from ganvas.engine.freezing import played_networks
from ganvas.engine.restore import newest_checkpoint, untrained_of
from ganvas.engine.state import without_prefix
from ganvas.inference import importers
from ganvas.inference.importers.formats import State
from ganvas.inference.importers.options import Options, announce, apply
from ganvas.inference.importers.spectral import Normalized, before_normalization
from ganvas.inference.load import contents, load, located
from ganvas.inference.settings_of import Arguments, constructions, network_class

Weights = dict[str, dict[str, Tensor]]  # by network and name


@dataclass(frozen=True)
class Source:
    """What a file or folder holds.

    trained, averaged: by network; networks without an average lack it
    networks: with their own settings; what weights they have counts for nothing
    arguments: of the networks' constructors, of those classes that were asked for
    foreign: whether it is another project's file: its one network has the name "",
        and the parts of that network have the names of its children
    normalized: the weights of the network "" that are stored before normalization
    options: names of the settings that were given to the network
    """

    name: str
    sha256: str
    trained: Weights
    averaged: Weights
    networks: Mapping[str, nn.Module]
    arguments: Mapping[str, Arguments]
    foreign: bool = False
    normalized: Mapping[str, Normalized] = field(default_factory=dict[str, Normalized])
    options: frozenset[str] = frozenset()


def parsed(text: str, networks: Sequence[str]) -> tuple[str | None, str, str | None]:
    """(network, path, part of the file) of [NETWORK=]PATH[#PART]; None: not given."""
    name, path, part = None, text, None
    match = re.fullmatch(r"([A-Za-z_]\w*)=(.+)", text, re.DOTALL)
    if match is not None and not Path(text).exists():
        name, path = match.groups()
    if "#" in path and not Path(path).exists():
        path, _, part = path.rpartition("#")
    if name is not None and name not in networks:
        raise UserError(
            f"{printable(text)}: there is no network {name!r} to start. "
            f"{did_you_mean(name, networks)}"
        )
    return name, path, part


def read(
    text: str,
    part: str | None,
    options: Options,
    classes: Sequence[type[nn.Module]],
    *,
    discriminator: bool,
) -> Source:
    """Read a source.

    part: which network of another project's file
    options: settings of that network that its file does not show; those that it does
        not have are left out
    classes: of the networks whose arguments are asked for
    discriminator: that of another project's file, if it has one beside its generator

    Raises `UserError` if there is none, or it cannot be read.
    """
    path, described = importers.described(located(text))
    run, file = (path / "run.json").is_file(), path
    if path.is_dir():
        file = path / "model.safetensors"
    if run or path.is_dir() or _is_model(file):
        if part is not None:
            raise UserError(
                f"{printable(text)}#{printable(part)}: a part is that of another project's file; "
                "this is a run or a model of ganvas, whose networks are named by NETWORK=PATH"
            )
        header, tensors = ({}, {}) if run else contents(path)
        if header.get("imported") is not None:
            known = cast(dict[str, str], header.get("options", {}))
            source = _foreign(text, tensors, {**known, **options}, classes)
            return replace(source, name=path.name, sha256=sha256_of(file))
        with constructions(classes) as arguments_of:
            method = untrained_of(path) if run else load(path).method
        networks = dict(method.named_children())
        arguments = {name: arguments_of(net) for name, net in networks.items()}
        if run:
            folder, tensors = newest_checkpoint(path)
            file = folder / "shared.safetensors"
            trained = _by_network(without_prefix("method/", tensors))
            averaged = _by_network(without_prefix("ema/", tensors))
        else:
            trained = averaged = _by_network(method.state_dict())
        return Source(path.name, sha256_of(file), trained, averaged, networks, arguments)
    try:
        state = importers.read_state(path, part, discriminator)
    except importers.SeveralNetworks as e:
        names = [printable(p)[:100] for p in e.parts[:8]]
        raise UserError(
            f"{printable(text)} holds several networks: {', '.join(names)}. Say which after #, as "
            f"in --from {printable(text)}#{names[0]}"
        ) from None
    ending = "" if part is None else f"#{part}"
    source = _foreign(text + ending, state, {**described, **options}, classes)
    return replace(source, name=path.name + ending, sha256=sha256_of(path))


def _foreign(
    text: str, state: State, options: Options, classes: Sequence[type[nn.Module]]
) -> Source:
    """The network of another project's tensors, still without name and hash."""
    with constructions(classes) as arguments_of:
        kind, found = importers.recognized(state, text)
    known = {k: v for k, v in options.items() if k in found.settings}
    found, _ = apply(found, known, kind, text)
    announce(found, known, kind, text)
    net = found.net.float()
    networks = {"": net, **dict(net.named_children())}
    weights = {name: dict(module.state_dict()) for name, module in networks.items()}
    return Source(
        text,
        "",
        weights,
        weights,
        networks,
        {name: arguments_of(module) for name, module in networks.items()},
        foreign=True,
        normalized=before_normalization(state, weights[""]),
        options=frozenset(known),
    )


def _is_model(file: Path) -> bool:
    """Whether a file is a model of ganvas."""
    try:
        with safe_open(file, "pt") as f:
            return "ganvas" in (f.metadata() or {})
    except (OSError, SafetensorError):  # the importer says what is wrong
        return False


def _by_network(tensors: Mapping[str, Tensor]) -> Weights:
    found: Weights = {}
    for key, value in tensors.items():
        network, _, name = key.partition(".")
        found.setdefault(network, {})[name] = value
    return found


def chosen(
    source: Source, network: str | None, among: Sequence[str], method: Method
) -> dict[str, str]:
    """The source's network for each network of the method that takes one.

    network: the one that is to take weights; None: all of `among` that find some

    Raises `UserError` if there is none, or several are possible.
    """
    where, networks = printable(source.name), played_networks(method)
    if source.foreign:
        return _of_foreign(source, network, {n: networks[n] for n in among})
    have = [n for n in source.trained if n]
    if network is not None:
        generators = [n for n in have if n in method.ema_networks or n.startswith("G")]
        if network in have or len(generators) == 1:
            return {network: network if network in have else generators[0]}
        raise UserError(f"{where} has no network {network!r}. It has {', '.join(sorted(have))}")
    shared = {n: n for n in among if n in have}
    if not shared:
        raise UserError(
            f"{where} holds the networks {', '.join(sorted(have))}; the method's are "
            f"{', '.join(among) or 'none'}"
        )
    return shared


def _of_foreign(
    source: Source, network: str | None, networks: Mapping[str, nn.Module]
) -> dict[str, str]:
    """As `chosen`: the whole network of a file, or else its parts, by their classes."""
    fitting = {
        origin: [n for n, net in networks.items() if network_class(theirs) is type(net)]
        for origin, theirs in source.networks.items()
    }
    if network is not None:
        origins = [origin for origin, names in fitting.items() if network in names]
        return {network: origins[0] if origins[:1] == [""] or len(origins) == 1 else ""}
    if len(fitting[""]) == 1:
        return {fitting[""][0]: ""}
    parts = {names[0]: o for o, names in fitting.items() if o and len(names) == 1}
    if not fitting[""] and parts:
        return parts
    known = ", ".join(f"{n}: {type(net).__name__}" for n, net in networks.items()) or "none"
    raise UserError(
        f"{printable(source.name)} holds a {type(source.networks['']).__name__}; the method's "
        f"networks are {known}: "
        + ("say which with NETWORK=PATH" if any(fitting.values()) else "it fits none of them")
    )
