"""Write the claims page and its plots from the records."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganvas.claims import Claim, all_claims
from ganvas.claims.runner import RESULTS, _float, _range, condition, folder, is_stale, number, read
from ganvas.core.errors import UserError
from ganvas.core.files import write


def write_report(where: Path | None = None, out: Path | None = None) -> Path:
    """Write the page of all claims from their records, with a plot for each claim.

    `where`: folder of the records. None: `folder()`.
    `out`: the page; plots are written beside it. None: README.md beside the records.

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
    table, sections = [], []
    for name, claim in claims.items():
        record = records.get(name)
        if record is None:
            table.append(table_row(f"`{name}`", claim.paper, "", "", "", "not run"))
            continue
        table += _table(claim, record)
        beside = "" if where == out.parent else f"{os.path.relpath(where, out.parent)}/"
        sections.append(_section(claim, record, beside, _plot(claim, record, out.parent)))
    stale = [n for n, r in records.items() if is_stale(claims[n], r)]
    held = sum(r["holds"] for n, r in records.items() if n not in stale)
    intro = (
        f"Papers' claims as experiments that run on two cores. {held} of {len(claims)} hold"
        + (
            f", {len(claims) - len(records)} have not been run"
            if len(claims) > len(records)
            else ""
        )
        + (
            f", {len(stale)} were judged by other bounds than the code has now (stale)"
            if stale
            else ""
        )
        + ". Every bound was set before the experiment was run, or its reason says that it was moved. This page is "
        "written by `ganvas claim report` from the records beside it."
    )
    head = (
        table_row("claim", "paper", "figure", "bound", "mean (least to greatest seed)", "result")
        + "\n"
        + "|---" * 6
        + "|"
    )
    page = "\n".join(["# Claims", "", intro, "", head, *table, "", *sections])
    return write(out, page)


def _table(claim: Claim, record: Mapping[str, Any]) -> list[str]:
    lines = []
    for i, c in enumerate(record["checks"]):
        values = [_float(s["figures"].get(c["figure"])) for s in record["seeds"]]
        result = "stale" if is_stale(claim, record) else RESULTS[c["holds"]]
        if record["failures"]:
            result += f", {len(record['failures'])} of the seeds failed"
        first = (f"[`{claim.name}`](#{claim.name})", claim.paper) if i == 0 else ("", "")
        words = claim.figures_in_words.get(c["figure"], f"`{c['figure']}`")
        lines.append(
            table_row(
                *first,
                words,
                condition(c),
                _range(values),
                result if c["holds"] else f"**{result}**",
            )
        )
    return lines


def _section(claim: Claim, record: Mapping[str, Any], records: str, plot: str) -> str:
    seeds, failures = record["seeds"], record["failures"]
    result = f"**{RESULTS[record['holds']].capitalize()}** over {len(seeds)} seeds."
    if is_stale(claim, record):
        result += " **Stale**: judged by other bounds than the code has now."
    result += "".join(f" Seed {f['seed']} failed: {f['error']}." for f in failures)
    names = list(dict.fromkeys(k for s in seeds for k in s["figures"]))
    figures = [
        table_row("figure", "what it is", *(f"seed {s['seed']}" for s in seeds)),
        "|---" * (2 + len(seeds)) + "|",
    ]
    for name in names:
        values = (number(s["figures"].get(name)) for s in seeds)
        figures.append(table_row(f"`{name}`", claim.figures_in_words.get(name, ""), *values))
    where, versions = record["machine"], record["versions"]
    cpu = sum(s["cpu_seconds"] for s in seeds)
    head, _, dirty = (record["commit"] or "unknown").partition("-")
    took = (
        f"`{record['command']}` took {number(round(cpu, 1))} s of processor time on {where['processor']} "
        f"({where['threads']} of {where['cores']} cores), torch {versions['torch']}, ganvas {versions['ganvas']}, commit "
        f"{head[:12]}{dirty and ' with changes'}, {record['date'][:10]}. [The record]({records}{claim.name}.json)."
    )
    blocks = [
        f"## {claim.name}",
        f"{claim.paper}. {claim.section}.",
        f"> {claim.sentence}",
        f"{result} {record['experiment']}",
        plot,
        "\n".join(figures),
        "\n".join(f"* `{c['figure']}` {condition(c)}: {c['why']}" for c in record["checks"]),
        "\n".join(
            f"* The paper: {what}: {value}" for what, value in record["paper_figures"].items()
        ),
        took,
    ]
    return "\n\n".join(b for b in blocks if b) + "\n"


def _plot(claim: Claim, record: Mapping[str, Any], folder: Path) -> str:
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
