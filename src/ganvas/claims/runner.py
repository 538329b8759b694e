"""Run claims and record the results.

NAME.json           record of a claim: its text, bounds and results, and the figures and
                    series of every seed
NAME.json.partial   finished seeds of an interrupted command; the next one continues from them
README.md, NAME.png the page and its plots, written from the records alone (`page`)
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import math
import re
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from ganvas.claims import Check, Claim, all_claims
from ganvas.core.environment import commit, machine
from ganvas.core.errors import DataError, UserError, did_you_mean, printable
from ganvas.core.files import write
from ganvas.core.json_files import read_json

PACKAGE = Path(__file__).resolve().parents[1]
SERIES_DIGITS = 6  # significant digits in a record; a plot shows fewer
RESULTS = {True: "holds", False: "does not hold"}


def folder() -> Path:
    """Folder of the records: docs/claims in a checkout of ganvas, else ./claims."""
    docs = PACKAGE.parents[1] / "docs"
    return docs / "claims" if (docs / "architecture.md").is_file() else Path("claims")


def read(name: str, where: Path) -> dict[str, Any] | None:
    """The record of a claim; None if there is none. Raises `UserError` if it is damaged."""
    file = where / f"{name}.json"
    if not file.is_file():
        return None
    record = _parsed(file)
    if record is None or not {"checks", "seeds", "failures", "holds"} <= record.keys():
        raise UserError(
            f"{file} is not a record of a claim. Write it again: ganvas claim run {name}"
        )
    return record


def judge(
    claim: Claim, seeds: Sequence[Mapping[str, Any]], failures: Sequence[Any] = ()
) -> dict[str, Any]:
    """Evaluate the bounds of a claim over its seeds.

    `seeds`: finished seeds of a record.
    `failures`: seeds whose experiment raised an exception.

    Returns {"checks": [...], "holds": bool}: each bound with the value that was compared and
    whether it holds. A claim holds if all bounds hold and no experiment failed.
    """
    checks = []
    for check in claim.checks:
        values = [_float(s["figures"].get(check.figure)) for s in seeds]
        checks.append(
            {
                **_bound(check),
                "why": check.why,
                "value": _finite(check.judged(values)),
                "holds": check.holds(values),
            }
        )
    return {
        "checks": checks,
        "holds": bool(checks) and not failures and all(c["holds"] for c in checks),
    }


def is_stale(claim: Claim, record: Mapping[str, Any]) -> bool:
    """Whether the record was evaluated with other bounds than the claim has now."""
    then = [{k: c.get(k) for k in ("figure", "op", "bound", "over")} for c in record["checks"]]
    return then != [_bound(c) for c in claim.checks]


def _bound(check: Check) -> dict[str, Any]:
    return {"figure": check.figure, "op": check.op, "bound": check.bound, "over": check.over}


def _parsed(file: Path) -> dict[str, Any] | None:
    try:
        return read_json(file, "record")
    except DataError:
        return None


def _text(record: Mapping[str, Any]) -> str:
    """JSON with one line per field; lists of numbers on one line."""
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    return re.sub(r"\[[\s\d.,eE+\-]*]", lambda m: re.sub(r"\s*\n\s*", " ", m[0]), text) + "\n"


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def _finite(value: float) -> float | None:
    """`value`, or None for NaN and infinity, which JSON lacks."""
    return float(value) if math.isfinite(value) else None


def _short(value: Any) -> Any:
    """A series in JSON types, rounded to `SERIES_DIGITS`."""
    if isinstance(value, Mapping):
        return {str(k): _short(v) for k, v in value.items()}
    if hasattr(value, "tolist"):  # arrays and tensors
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_short(v) for v in value]
    return _finite(float(f"{value:.{SERIES_DIGITS}g}")) if isinstance(value, float) else value


def rows(where: Path | None = None) -> list[dict[str, Any]]:
    """One dict per claim: claim, paper, section, sentence, minutes, result.

    `result` is "holds", "does not hold", "stale" or "not run".
    """
    found = []
    for claim in all_claims().values():
        record = read(claim.name, where or folder())
        result = (
            "not run"
            if record is None
            else "stale"
            if is_stale(claim, record)
            else RESULTS[record["holds"]]
        )
        facts = {k: getattr(claim, k) for k in ("paper", "section", "sentence", "minutes")}
        found.append({"claim": claim.name, **facts, "result": result})
    return found


def chosen(names: Sequence[str], everything: bool = False) -> list[Claim]:
    """The claims with these names, or all. Raises `UserError` for no name or an unknown one."""
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
    claims: Sequence[Claim], *, seeds: int | None = None, where: Path | None = None
) -> list[dict[str, Any]]:
    """Run the experiments of claims with seeds 0, 1, … and write their records.

    Results of each seed are printed to stderr. An exception of an experiment is recorded in
    `failures`, and the next seed runs. After an interruption the next command with the same
    source, versions and machine continues from the finished seeds.

    `seeds`: number of seeds. None: that of each claim.
    `where`: folder of the records. None: `folder()`.

    Returns the records. Claims whose data or weights are missing are skipped.

    Raises `UserError` if the only claim is one of these.
    """
    where = where or folder()
    records = []
    for claim in claims:
        try:
            claim.ready()
        except UserError as e:
            if len(claims) == 1:
                raise
            _say(f"{claim.name}  skipped: {e}")
            continue
        record = _run(claim, seeds or claim.seeds, where)
        write(where / f"{claim.name}.json", _text(record))
        _say(
            f"{claim.name} {RESULTS[record['holds']]}: "
            + "; ".join(_verdict(c) for c in record["checks"])
        )
        records.append(record)
    for claim in claims:  # last: an interrupted command keeps the finished seeds of all its claims
        _partial(claim, where).unlink(missing_ok=True)
    return records


def _run(claim: Claim, count: int, where: Path) -> dict[str, Any]:
    ground = {
        "source": _source(),
        "versions": _versions(),
        "machine": machine() | {"threads": torch.get_num_threads()},
    }
    partial = _parsed(_partial(claim, where)) or {}
    if {k: partial.get(k) for k in ground} != ground:
        partial = {**ground, "commit": commit(), "seeds": []}
    done = {s["seed"]: s for s in partial["seeds"]}
    failures = []
    for seed in range(count):
        if seed in done:
            _say(f"{claim.name}  seed {seed}  taken from the previous command")
            continue
        began, cpu = time.perf_counter(), time.process_time()
        try:
            found = claim.experiment(seed)
            figures = {k: _finite(v) for k, v in found.figures.items()}
            done[seed] = {"seed": seed, "figures": figures, "series": _short(found.series)}
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
        write(_partial(claim, where), _text({**partial, "seeds": list(done.values())}))
        figures_text = "  ".join(f"{k} {number(v)}" for k, v in done[seed]["figures"].items())
        _say(
            f"{claim.name}  seed {seed} ({seed + 1} of {count})  {done[seed]['seconds']:.1f} s  {figures_text}"
        )
    results = [done[s] for s in sorted(done) if s < count]
    return {
        "name": claim.name,
        "paper": claim.paper,
        "section": claim.section,
        "sentence": claim.sentence,
        "experiment": claim.experiment_in_words,
        **judge(claim, results, failures),
        "failures": failures,
        "paper_figures": dict(claim.paper_figures),
        "command": f"ganvas claim run {claim.name} --seeds {count}",
        "commit": partial["commit"],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": ground["machine"],
        "versions": ground["versions"],
        "seeds": results,
    }


def _partial(claim: Claim, where: Path) -> Path:
    return where / f"{claim.name}.json.partial"


@functools.cache
def _source() -> str:
    """Hash of the source. The commit is not enough: a tree can change without one."""
    files = sorted(PACKAGE.rglob("*.py"))
    return hashlib.blake2b(b"".join(f.read_bytes() for f in files), digest_size=8).hexdigest()


def _versions() -> dict[str, str]:
    return {
        name: importlib.metadata.version(name) for name in ("ganvas", "torch", "numpy", "scipy")
    }


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


def condition(check: Mapping[str, Any]) -> str:
    over = {"every": "in every seed", "mean": "mean", "median": "median"}[check["over"]]
    return f"{check['op']} {check['bound']:g} {over}".replace("<=", "≤").replace(">=", "≥")


def _verdict(check: Mapping[str, Any]) -> str:
    return f"{check['figure']} {number(check['value'])} {'' if check['holds'] else 'is not '}{condition(check)}"


def _range(values: Sequence[float]) -> str:
    if not values or any(math.isnan(v) for v in values):
        return "none"
    return f"{number(fmean(values))} ({number(min(values))} to {number(max(values))})"


def number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
