"""Run claims and record the results.

NAME.json           record of a claim: its text, bounds and results, and the figures and
                    series of every seed
NAME.json.partial   finished seeds of an interrupted command, which the next continues
NAME.partial/       checkpoints of the seed that was interrupted
README.md, NAME.png the page and its plots, written from the records alone (`page`)
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import math
import re
import shutil
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from ganvas.claims import Claim, all_claims
from ganvas.claims.claim import Record, Seeds
from ganvas.claims.kit.training import resumable
from ganvas.core.environment import commit, machine
from ganvas.core.errors import DataError, UserError, did_you_mean, printable
from ganvas.core.files import write
from ganvas.core.json_files import read_json

PACKAGE = Path(__file__).resolve().parents[1]
SERIES_DIGITS = 6  # significant digits in a record; a plot shows fewer
BOUND = {"figure", "op", "bound", "over", "role"}
RESULTS = {True: "holds", False: "does not hold"}


def folder() -> Path:
    """Folder of the records: docs/claims in a checkout of ganvas, else ./claims."""
    docs = PACKAGE.parents[1] / "docs"
    return docs / "claims" if (docs / "architecture.md").is_file() else Path("claims")


def read(name: str, where: Path) -> Record | None:
    """The record of a claim, or None. Raises `UserError` if it is damaged."""
    file = where / f"{name}.json"
    if not file.is_file():
        return None
    record = _parsed(file)
    if record is None or not {"checks", "seeds", "failures", "holds"} <= record.keys():
        raise UserError(
            f"{file} is not a record of a claim. Write it again: ganvas claim run {name}"
        )
    return record


def judge(claim: Claim, seeds: Seeds, failures: Sequence[object] = ()) -> Record:
    """Evaluate the bounds of a claim over its seeds.

    seeds: finished seeds of a record
    failures: seeds whose experiment raised an exception

    Returns {"checks": [...], "void": bool, "holds": bool}: each bound with the value
    that was compared, whether it holds, and what the nulls make of it. A claim holds if
    all bounds hold, no experiment failed, and it is not void: a bound of the statement
    itself that an untrained model, a guess or a control passes, in the best seed, shows
    nothing.
    """
    checks, void = [], False
    for check in claim.words.checks:
        passed = {}
        if check.role == "claim":
            for null in dict.fromkeys(name for s in seeds for name in s.get("nulls", {})):
                values = [as_float(s["nulls"].get(null, {}).get(check.figure)) for s in seeds]
                passed[null] = {
                    "value": _finite(check.judged_null(values)),
                    "holds": check.passed_by_null(values),
                }
        void |= any(null["holds"] for null in passed.values())
        values = [as_float(s["figures"].get(check.figure)) for s in seeds]
        checks.append(
            {
                **check.model_dump(),
                "value": _finite(check.judged(values)),
                "holds": check.holds(values),
                "nulls": passed,
            }
        )
    holds = not void and not failures and all(c["holds"] for c in checks)
    return {"checks": checks, "void": void, "holds": holds}


def result(claim: Claim, record: Record | None) -> str:
    """Holds, does not hold, void, stale, not run, or needs an accelerator."""
    if record is None:
        return "needs an accelerator" if claim.words.kind == "accelerator" else "not run"
    if is_stale(claim, record):
        return "stale"
    return "void" if record["void"] else RESULTS[record["holds"]]


def is_stale(claim: Claim, record: Record) -> bool:
    """Whether the record was evaluated with other bounds than the claim has now."""
    then = [{key: c.get(key) for key in BOUND} for c in record["checks"]]
    return then != [c.model_dump(include=BOUND) for c in claim.words.checks]


def _parsed(file: Path) -> dict[str, Any] | None:
    try:
        return read_json(file, "record")
    except DataError:
        return None


def _text(record: Mapping[str, Any]) -> str:
    """JSON with one line per field; lists of numbers on one line."""
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    return re.sub(r"\[[\s\d.,eE+\-]*]", lambda m: re.sub(r"\s*\n\s*", " ", m[0]), text) + "\n"


def as_float(value: float | None) -> float:
    """A figure of a record; NaN for null."""
    return math.nan if value is None else float(value)


def _finite(value: float) -> float | None:
    """`value`, or None for NaN and infinity, which JSON lacks."""
    return float(value) if math.isfinite(value) else None


def _short(value: Any) -> Any:
    """A series in JSON types, rounded to `SERIES_DIGITS`."""
    if isinstance(value, Mapping):
        return {str(k): _short(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_short(v) for v in value]
    return _finite(float(f"{value:.{SERIES_DIGITS}g}")) if isinstance(value, float) else value


def rows(where: Path | None = None) -> list[dict[str, object]]:
    """One dict per claim: claim, kind, paper, section, sentence, minutes, result."""
    found = []
    for claim in all_claims().values():
        facts = claim.words.model_dump(include={"kind", "paper", "section", "sentence", "minutes"})
        outcome = result(claim, read(claim.name, where or folder()))
        found.append({"claim": claim.name, **facts, "result": outcome})
    return found


def chosen(names: Sequence[str], everything: bool = False) -> list[Claim]:
    """The claims with these names, or all.

    Raises `UserError` for no name or an unknown one.
    """
    claims = all_claims()
    if everything == bool(names):
        raise UserError(
            "give the names of claims, or --all for all of them; see `ganvas claim list`"
        )
    for name in names:
        if name not in claims:
            raise UserError(f"there is no claim {name!r}. {did_you_mean(name, claims)}")
    return list(claims.values()) if everything else [claims[n] for n in dict.fromkeys(names)]


def run(
    claims: Sequence[Claim],
    *,
    seeds: int | None = None,
    first: int | None = None,
    where: Path | None = None,
) -> list[Record]:
    """Run the experiments of claims with consecutive seeds and write their records.

    Results of each seed are printed to stderr. An exception of an experiment is
    recorded in `failures`, and the next seed runs. After an interruption the next
    command with the same source, versions and machine continues from the finished
    seeds.

    seeds: number of seeds. None: that of each claim.
    first: the first seed. None: that of each claim.
    where: folder of the records. None: `folder()`.

    Returns the records. Claims whose data or weights are missing are skipped.

    Raises `UserError` if the only claim is one of these.
    """
    where = where or folder()
    records = []
    for claim in claims:
        try:
            if claim.words.kind == "accelerator" and not torch.cuda.is_available():
                raise UserError(
                    "it needs an accelerator: at the size of this machine it means nothing"
                )
            claim.ready()
        except UserError as e:
            if len(claims) == 1:
                raise
            _say(f"{claim.name}  skipped: {e}")
            continue
        begin = claim.words.first if first is None else first
        record = _run(claim, range(begin, begin + (seeds or claim.words.seeds)), where)
        write(where / f"{claim.name}.json", _text(record).encode())
        _say(
            f"{claim.name} {result(claim, record)}: "
            + "; ".join(_verdict(c) for c in record["checks"])
        )
        records.append(record)
    for claim in claims:  # last: an interrupted command keeps the finished seeds of all its claims
        _partial(claim, where).unlink(missing_ok=True)
        shutil.rmtree(_checkpoints(claim, where), ignore_errors=True)
    return records


def _run(claim: Claim, seeds: range, where: Path) -> dict[str, Any]:
    ground = {
        "source": _source(),
        "versions": _versions(),
        "machine": machine() | {"threads": torch.get_num_threads()},
    }
    partial = _parsed(_partial(claim, where)) or {}
    if {k: partial.get(k) for k in ground} != ground:
        partial = {**ground, "commit": commit(), "seeds": []}
        shutil.rmtree(_checkpoints(claim, where), ignore_errors=True)
        write(_partial(claim, where), _text(partial))
    done = {s["seed"]: s for s in partial["seeds"]}
    failures = []
    for nth, seed in enumerate(seeds, start=1):
        if seed in done:
            _say(f"{claim.name}  seed {seed}  taken from the previous command")
            continue
        began, cpu = time.perf_counter(), time.process_time()
        try:
            place = _checkpoints(claim, where) / str(seed)
            with resumable(place):
                found = claim.experiment(seed)
            done[seed] = {
                "seed": seed,
                "figures": _numbers(found.figures),
                "nulls": {name: _numbers(null) for name, null in found.nulls.items()},
                "series": _short(found.series),
            }
            shutil.rmtree(place, ignore_errors=True)
        except Exception as e:  # any error: the other seeds and claims still run
            at = traceback.extract_tb(e.__traceback__)[-1]
            failures.append(
                {
                    "seed": seed,
                    "error": f"{type(e).__name__}: {e} ({Path(at.filename).name}:{at.lineno})",
                }
            )
            _say(f"{claim.name}  seed {seed}  failed: {failures[-1]['error']}")
            continue
        seconds = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
        done[seed] |= {k: round(v, 2) for k, v in seconds.items()}
        write(_partial(claim, where), _text({**partial, "seeds": list(done.values())}).encode())
        figures_text = "  ".join(f"{k} {number(v)}" for k, v in done[seed]["figures"].items())
        _say(
            f"{claim.name}  seed {seed} ({nth} of {len(seeds)})  "
            f"{done[seed]['seconds']:.1f} s  {figures_text}"
        )
    results = [done[s] for s in sorted(done) if s in seeds]
    first = f" --first {seeds.start}" if seeds.start else ""
    return {
        "name": claim.name,
        **claim.words.model_dump(include={"kind", "paper", "section", "sentence", "experiment"}),
        **judge(claim, results, failures),
        "failures": failures,
        "paper_figures": claim.words.paper_figures,
        "command": f"ganvas claim run {claim.name} --seeds {len(seeds)}{first}",
        "commit": partial["commit"],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": ground["machine"],
        "versions": ground["versions"],
        "seeds": results,
    }


def _partial(claim: Claim, where: Path) -> Path:
    return where / f"{claim.name}.json.partial"


def _checkpoints(claim: Claim, where: Path) -> Path:
    return where / f"{claim.name}.partial"


def _numbers(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in figures.items()}


@functools.cache
def _source() -> str:
    """Hash of the source. The commit is not enough: a tree can change without one."""
    files = sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("experiments/*.toml")])
    return hashlib.blake2b(b"".join(f.read_bytes() for f in files), digest_size=8).hexdigest()


def _versions() -> dict[str, str]:
    return {
        name: importlib.metadata.version(name) for name in ("ganvas", "torch", "numpy", "scipy")
    }


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


def condition(check: Record) -> str:
    """A bound as text: "≥ 0.9 in every seed"."""
    over = {
        "every": "in every seed",
        "mean": "by the interval of the mean",
        "median": "in the median",
        "share": "of the seeds",
    }[check["over"]]
    return f"{check['op']} {check['bound']:g} {over}".replace("<=", "≤").replace(">=", "≥")


def _verdict(check: Mapping[str, Any]) -> str:
    negation = "" if check["holds"] else "is not "
    return f"{check['figure']} {number(check['value'])} {negation}{condition(check)}"


def value_range(values: Sequence[float]) -> str:
    """The mean of figures and their range as text; "none" if one is missing."""
    if not values or any(math.isnan(v) for v in values):
        return "none"
    return f"{number(fmean(values))} ({number(min(values))} to {number(max(values))})"


def number(value: float | None) -> str:
    """A figure to four digits; "none" without one."""
    return "none" if value is None else f"{value:.4g}"
