"""Start a run from weights: an earlier run's, a model's, or another project's.

Each source is a run folder (its newest checkpoint, trained and averaged weights), a
model (folder, file, `zoo:NAME` or `hub:OWNER/NAME`), or a file that
`ganvas.import_network` reads. A "NETWORK=" before it says which of the method's
networks it is for, and a "#PART" after a file which of the file's networks it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ganvas.core.errors import UserError, did_you_mean, printable
from ganvas.core.guards import plural
from ganvas.engine.engine import Engine
from ganvas.engine.freezing import played_networks
from ganvas.engine.records import InitialRecord
from ganvas.inference.importers.options import Options
from ganvas.training.fitting import Fit, fit, refusal, some
from ganvas.training.sources import Source, chosen, parsed, read


def start_from(
    engine: Engine,
    sources: Sequence[str | Path],
    discriminators: Sequence[str | Path] = (),
    *,
    partial: bool = False,
    options: Options | None = None,
) -> list[InitialRecord]:
    """Replace the weights of a new engine.

    sources: each "PATH" or "NETWORK=PATH", of a file with several networks "PATH#PART"
    discriminators: further sources, of which only discriminators are taken
    partial: take the tensors that fit, instead of refusing a network of which some do
        not, or that computes otherwise than the source's. Stacks of another depth
        (networks for other resolutions) are compared from the end at which more
        tensors fit
    options: settings of other projects' networks that their files do not show

    Returns what was taken, network by network. Raises `UserError` if a source cannot be
    read, holds nothing for this method, or does not fit.
    """
    options = options or {}
    if (partial or options) and not (sources or discriminators):
        what = "partial is" if partial else "option is"
        raise UserError(f"{what} for weights to start from: give start_from (--from PATH), too")
    method, records = engine.method, []
    networks = played_networks(method)
    scoring = [n for n in networks if n in method.discriminators]
    classes = list({type(net): None for net in networks.values()})
    given = [(s, list(networks), False) for s in sources]
    given += [(s, scoring, True) for s in discriminators]
    used: set[str] = set()
    for text, among, discriminator in given:
        network, path, part = parsed(str(text), among)
        discriminator = discriminator or network in scoring
        source = read(path, part, options, classes, discriminator=discriminator)
        used |= source.options
        origins = chosen(source, network, among, method)
        records += _load(engine, source, origins, partial)
    if unknown := sorted(options.keys() - used):
        raise UserError(
            f"--option {printable(unknown[0])[:100]}: no file has this option. "
            + (did_you_mean(unknown[0], used) if used else "These show all settings")
        )
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
        + (f"; new: {some(r['new'])}" if r["new"] else "")
        + (f"; not used: {some(r['unused'])}" if r["unused"] else "")
        + (f"; other settings there: {some(differs)}" if (differs := r.get("differs")) else "")
        for r in records
    ]


def _load(
    engine: Engine, source: Source, origins: dict[str, str], partial: bool
) -> list[InitialRecord]:
    """Load networks of a source, and their averages.

    origins: name in the source by name in the method
    """
    method = engine.method
    fits: dict[str, tuple[str, Fit]] = {}
    for network, origin in origins.items():
        from_end = network in method.discriminators
        target = method.get_submodule(network)
        found = fit(source, origin, target, from_end=from_end, partial=partial)
        fits[network] = origin, found
    misfits = {name: value for name, value in fits.items() if not value[1].whole}
    if misfits and not partial:
        raise UserError(refusal(source, misfits, method, engine.run, engine.feed.info.shape))
    if not any(found.names for _, found in fits.values()):
        raise UserError(f"nothing in {printable(source.name)} fits {', '.join(fits)}")
    return [_taken(engine, name, source, *value) for name, value in fits.items()]


def _taken(engine: Engine, network: str, source: Source, origin: str, fit: Fit) -> InitialRecord:
    """Copy what fits into one network, and into its average."""
    target = engine.method.get_submodule(network)
    taken = {ours: fit.tensors[theirs] for ours, theirs in fit.names.items()}
    target.load_state_dict({**target.state_dict(), **taken})
    if network in engine.ema:
        average = {**fit.tensors, **source.averaged.get(origin, {})}
        taken = {ours: average[theirs] for ours, theirs in fit.names.items()}
        ema = engine.ema.get_submodule(network)
        ema.load_state_dict({**target.state_dict(), **taken})
    record: InitialRecord = {
        "network": network,
        "source": source.name,
        "sha256": source.sha256,
        "tensors": len(fit.names),
        "new": list(fit.new),
        "unused": list(fit.unused),
    }
    if fit.differs:
        record["differs"] = [str(d) for d in fit.differs]
    return record
