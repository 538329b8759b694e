"""Start a run from weights: an earlier run's, a model's, or another project's.

Each source is a run folder (its newest checkpoint, trained and averaged weights), a
model (folder, file, `zoo:NAME` or `hub:OWNER/NAME`), or a file that
`ganvas.import_network` reads. A "NETWORK=" before it says which of the method's
networks it is for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ganvas.core import Method
from ganvas.core.errors import UserError, did_you_mean, printable
from ganvas.core.files import sha256_of
from ganvas.core.guards import plural
from ganvas.engine.engine import Engine
from ganvas.engine.freezing import played_networks
from ganvas.engine.records import InitialRecord
from ganvas.engine.restore import newest_checkpoint
from ganvas.engine.state import without_prefix
from ganvas.inference import importers
from ganvas.inference.importers import diffusers
from ganvas.inference.load import load, located

Weights = dict[str, dict[str, Tensor]]  # by network and name

SHOWN = 6  # names in a message


@dataclass(frozen=True)
class _Source:
    """What a file or folder holds.

    trained, averaged: by network; networks without an average lack it
    foreign: the class of a network of another project, whose name is then ""
    """

    name: str
    sha256: str
    trained: Weights
    averaged: Weights
    foreign: type[nn.Module] | None = None


def start_from(
    engine: Engine,
    sources: Sequence[str | Path],
    discriminators: Sequence[str | Path] = (),
    *,
    partial: bool = False,
) -> list[InitialRecord]:
    """Replace the weights of a new engine.

    sources: each "PATH" or "NETWORK=PATH"
    discriminators: further sources, of which only discriminators are taken
    partial: take the tensors that fit, instead of refusing a network of which some do
        not. Stacks of another depth (networks for other resolutions) are compared
        from the end at which more tensors fit

    Returns what was taken, network by network. Raises `UserError` if a source cannot be
    read, holds nothing for this method, or does not fit.
    """
    if partial and not (sources or discriminators):
        raise UserError("partial is for weights to start from: give start_from (--from PATH), too")
    method, records = engine.method, []
    networks = played_networks(method)
    scoring = [n for n in networks if n in method.discriminators]
    given = [(s, list(networks), False) for s in sources]
    given += [(s, scoring, True) for s in discriminators]
    for text, among, discriminator in given:
        network, path = _parsed(str(text), among)
        source = _read(path, discriminator or network in scoring)
        chosen = _chosen(source, network, among, method)
        fits = 0
        for name, origin in chosen.items():
            record = _load(engine, name, source, origin, partial)
            fits += record["tensors"]
            records.append(record)
        if not fits:
            raise UserError(f"nothing in {printable(source.name)} fits {', '.join(chosen)}")
    counts = Counter(record["network"] for record in records)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise UserError(
            f"{', '.join(twice)} would come from two sources: say which with NETWORK=PATH"
        )
    return records


def lines(records: Sequence[InitialRecord]) -> list[str]:
    """What was taken, one line a network."""
    return [
        f"{r['network']}: {plural(r['tensors'], 'tensor')} of {printable(r['source'])}"
        + (f"; new: {_some(r['new'])}" if r["new"] else "")
        + (f"; not used: {_some(r['unused'])}" if r["unused"] else "")
        for r in records
    ]


def _parsed(text: str, networks: Sequence[str]) -> tuple[str | None, str]:
    """(network or None, path) of "NETWORK=PATH" or "PATH"."""
    match = re.fullmatch(r"([A-Za-z_]\w*)=(.+)", text, re.DOTALL)
    if match is None or Path(text).exists():
        return None, text
    name, path = match.groups()
    if name not in networks:
        raise UserError(
            f"{printable(text)}: there is no network {name!r} to start. "
            f"{did_you_mean(name, networks)}"
        )
    return name, path


def _read(text: str, discriminator: bool) -> _Source:
    """Read a source. Raises `UserError` if there is none, or it cannot be read.

    discriminator: that of another project's file, if it has one beside its generator
    """
    path, _ = diffusers.opened(located(text))
    if (path / "run.json").is_file():
        folder, tensors = newest_checkpoint(path)
        trained = _by_network(without_prefix("method/", tensors))
        averaged = _by_network(without_prefix("ema/", tensors))
        return _Source(path.name, sha256_of(folder / "shared.safetensors"), trained, averaged)
    file = path / "model.safetensors" if path.is_dir() else path
    if path.is_dir() or _is_model(file):
        weights = _by_network(load(path).method.state_dict())
        return _Source(path.name, sha256_of(file), weights, weights)
    state = importers.read_state(path, discriminator=discriminator)
    _, found = importers.recognized(state, text)
    weights = {"": dict(found.net.float().state_dict())}
    return _Source(path.name, sha256_of(path), weights, weights, type(found.net))


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


def _chosen(
    source: _Source, network: str | None, among: Sequence[str], method: Method
) -> dict[str, str]:
    """The source's network for each network of the method that takes one."""
    where, have = printable(source.name), [n for n in source.trained if n]
    networks = played_networks(method)
    if source.foreign is not None:
        same = [n for n in among if type(networks[n]) is source.foreign]
        if network is None and len(same) != 1:
            known = ", ".join(f"{n}: {type(networks[n]).__name__}" for n in among) or "none"
            raise UserError(
                f"{where} holds a {source.foreign.__name__}; the method's networks are {known}: "
                + ("say which with NETWORK=PATH" if same else "it fits none of them")
            )
        return {network or same[0]: ""}
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


def _load(
    engine: Engine, network: str, source: _Source, origin: str, partial: bool
) -> InitialRecord:
    """Load one network of a source, and its average."""
    target = engine.method.get_submodule(network)
    trained = source.trained[origin]
    names = _matches(trained, target.state_dict(), network in engine.method.discriminators, partial)
    new = sorted(target.state_dict().keys() - names.keys())
    unused = sorted(trained.keys() - set(names.values()))
    if (new or unused) and not partial:
        raise UserError(
            f"{printable(source.name)} does not fit {network}: "
            f"{_misfits(trained, target.state_dict())}. To take what fits: partial (--partial); to "
            "take another network alone: NETWORK=PATH"
        )
    target.load_state_dict({**target.state_dict(), **{k: trained[v] for k, v in names.items()}})
    if network in engine.ema:
        average = source.averaged.get(origin, trained)
        ema = engine.ema.get_submodule(network)
        ema.load_state_dict({**target.state_dict(), **{k: average[v] for k, v in names.items()}})
    return {
        "network": network,
        "source": source.name,
        "sha256": source.sha256,
        "tensors": len(names),
        "new": new,
        "unused": unused,
    }


def _matches(
    source: Mapping[str, Tensor], target: Mapping[str, Tensor], from_end: bool, partial: bool
) -> dict[str, str]:
    """Name in the source by name in the target, of tensors of the same shape.

    from_end: compare stacks of different depth from their ends if as many tensors fit
        as from their beginnings: a discriminator ends at its smallest features
    """

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


def _misfits(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> str:
    """The tensors that do not fit, the first few by name."""
    found = []
    for name in sorted(source.keys() | target.keys()):
        have = list(source[name].shape) if name in source else None
        want = list(target[name].shape) if name in target else None
        if have != want:
            got = "lacking" if have is None else f"{have}"
            found.append(f"{name} is {got}, expected {'none' if want is None else want}")
    return f"{plural(len(found), 'tensor')} differ: {_some(found)}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(n)[:120] for n in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
