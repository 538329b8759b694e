"""Write the claims page and its plots from the records."""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ganvas.claims import Claim, all_claims
from ganvas.claims.claim import Record, Words
from ganvas.claims.runner import (
    RESULTS,
    as_float,
    condition,
    folder,
    number,
    read,
    result,
    value_range,
)
from ganvas.core.errors import UserError
from ganvas.core.files import write


def write_report(where: Path | None = None, out: Path | None = None) -> Path:
    """Write the page of all claims from their records, with a plot for each claim.

    where: folder of the records. None: `folder()`
    out: the page; plots are written beside it. None: README.md beside the records

    Returns the page's path. The same records give the same page.

    Raises `UserError` if there is no record.
    """
    where = where or folder()
    out = out or where / "README.md"
    claims = all_claims()
    records = {name: r for name in claims if (r := read(name, where))}
    if not records:
        raise UserError(
            f"{where} has no record of a claim. Run claims first: ganvas claim run --all"
        )
    results = {name: result(claim, records.get(name)) for name, claim in claims.items()}
    beside = "" if where == out.parent else f"{os.path.relpath(where, out.parent)}/"
    blocks = ["# Claims", _counts(claims, results), INTRODUCTION, _table(claims, records, results)]
    for name, record in records.items():
        plot = _plot(claims[name], record, out.parent)
        blocks.append(_section(claims[name], record, results[name], beside, plot))
    return write(out, ("\n\n".join(blocks) + "\n").encode())


INTRODUCTION = (
    "Each claim is a statement of a paper, an experiment that could refute it, and bounds "
    "that were committed before the experiment was run. Every figure that a bound of the "
    "statement judges is computed again with an untrained model, a guess or a control in "
    "place of the trained model: a bound that one of these passes, be it in one seed, would "
    "make the claim void. "
    "Means are judged by their 95% interval over the seeds. This page is written by `ganvas "
    "claim report` from the records beside it; `ganvas claim run NAME` runs any of them "
    "again, with `--first 100` on other seeds."
)


def _counts(claims: Mapping[str, Claim], results: Mapping[str, str]) -> str:
    """How many trained claims hold, do not hold, or have not been run; theory apart."""

    def told(kinds: set[str]) -> str:
        found = Counter(results[n] for n, c in claims.items() if c.words.kind in kinds)
        order = ("holds", "does not hold", "void", "stale", "not run")
        return ", ".join(f"{found[o]} {PLURAL[o]}" for o in order if found[o])

    lines = [f"* Trained models: {told({'trained'})}.", f"* Theory: {told({'theory'})}."]
    waiting = [n for n, c in claims.items() if c.words.kind == "accelerator"]
    if waiting:
        lines.append(
            f"* At a size that needs an accelerator, not run on two cores: {len(waiting)}."
        )
    return "\n".join(lines)


PLURAL = {
    "holds": "hold",
    "does not hold": "do not hold",
    "void": "are void (an untrained model, a guess or a control passes a bound)",
    "stale": "are stale (judged by other bounds than the code has now)",
    "not run": "have not been run",
}


def _table(claims: Mapping[str, Claim], records: Record, results: Mapping[str, str]) -> str:
    lines = [table_row("claim", "statement", "result"), "|---" * 3 + "|"]
    for name, claim in claims.items():
        link = f"[`{name}`](#{name})" if name in records else f"`{name}`"
        shown = results[name] if results[name] == "holds" else f"**{results[name]}**"
        author = claim.words.paper.split(",")[0]
        lines.append(table_row(link, f"{claim.words.sentence} ({author})", shown))
    return "\n".join(lines)


def _section(claim: Claim, record: Record, outcome: str, records: str, plot: str) -> str:
    words, seeds = claim.words, record["seeds"]
    told = f"**{outcome.capitalize()}** over {len(seeds)} seeds."
    told += "".join(f" Seed {f['seed']} failed: {f['error']}." for f in record["failures"])
    where, versions = record["machine"], record["versions"]
    cpu = sum(s["cpu_seconds"] for s in seeds)
    head, _, dirty = (record["commit"] or "unknown").partition("-")
    took = (
        f"`{record['command']}` took {cpu / 60:.1f} minutes of processor time on "
        f"{where['processor']} ({where['threads']} of {where['cores']} cores), torch "
        f"{versions['torch']}, ganvas {versions['ganvas']}, commit "
        f"{head[:12]}{dirty and ' with changes'}, {record['date'][:10]}. "
        f"[The record]({records}{claim.name}.json)."
    )
    blocks = [
        f"## {claim.name}",
        f"{words.paper}. {words.section[0].upper()}{words.section[1:]}.",
        f"> {words.sentence}",
        told + (f" {words.outcome}" if words.outcome else ""),
        plot,
        words.experiment,
        _checks(words, record),
        _others(words, record),
        "\n".join(f"* The paper: {what}: {value}" for what, value in words.paper_figures.items()),
        f"Changes: {words.changes}" if words.changes else "",
        took,
    ]
    return "\n\n".join(b for b in blocks if b)


def _checks(words: Words, record: Record) -> str:
    """Table of the bounds, with what the nulls make of them, and the reasons."""
    nulls = list(dict.fromkeys(n for c in record["checks"] for n in c["nulls"]))
    named = ("figure", "bound", "mean (range)", *nulls, "result")
    lines = [table_row(*named), "|---" * len(named) + "|"]
    for c in record["checks"]:
        values = [as_float(s["figures"].get(c["figure"])) for s in record["seeds"]]
        beside = [number(c["nulls"][n]["value"]) if n in c["nulls"] else "" for n in nulls]
        text = words.figures.get(c["figure"], f"`{c['figure']}`")
        shown = RESULTS[c["holds"]] if c["holds"] else f"**{RESULTS[c['holds']]}**"
        if c["role"] == "gate":
            text += " (gate)"
        lines.append(table_row(text, condition(c), value_range(values), *beside, shown))
    reasons = [f"* {condition(c)}, `{c['figure']}`: {c['why']}" for c in record["checks"]]
    return "\n".join([*lines, "", *reasons])


def _others(words: Words, record: Record) -> str:
    """Table of the figures that no bound judges."""
    judged = {c["figure"] for c in record["checks"]}
    names = dict.fromkeys(k for s in record["seeds"] for k in s["figures"] if k not in judged)
    if not names:
        return ""
    lines = [table_row("further figures", "mean (range)"), "|---|---|"]
    for name in names:
        values = [as_float(s["figures"].get(name)) for s in record["seeds"]]
        lines.append(table_row(words.figures.get(name, f"`{name}`"), value_range(values)))
    return "\n".join(lines)


def _plot(claim: Claim, record: Record, folder: Path) -> str:
    """Draw the plot of a record into `folder`; return its Markdown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot: no window system, no global state

    if not record["seeds"]:
        return ""
    figure = Figure(figsize=(10, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    data = io.BytesIO()
    try:
        claim.plot(figure, record["seeds"])
        figure.savefig(data, format="png", metadata={"Software": None})
    except Exception as e:  # an old record may lack what the plot draws now; the page says so
        return f"The plot cannot be drawn from this record ({type(e).__name__}: {e})."
    write(folder / f"{claim.name}.png", data.getvalue())
    return f"![{claim.name}]({claim.name}.png)"


def table_row(*cells: str) -> str:
    """Cells as a row of a Markdown table."""
    return "| " + " | ".join(re.sub(r"\s+", " ", c).replace("|", r"\|") for c in cells) + " |"
