"""Map: the history of the methods as a picture to click, from their own metadata."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import gradio as gr

from ganvas.apps.studio import parts
from ganvas.apps.studio.parts import escape
from ganvas.claims import runner
from ganvas.core.errors import UserError
from ganvas.recipes import catalog
from ganvas.recipes.catalog import Paper

GOOD, BAD = "holds", "does not hold"
LANES = {  # shorter names of `catalog.TASKS`, which keep the picture narrow
    "images from noise": "from noise",
    "autoencoders of images": "autoencoders",
    "images from label maps": "label maps",
    "translation learned from pairs": "pairs",
    "translation learned without pairs": "without pairs",
    "color for gray images, photographs from drawings": "color",
}


def tab() -> gr.HTML:
    """Lay out the tab. Returns the part whose clicks name a recipe to train."""
    gr.HTML(
        parts.note(
            "Each method with its paper, by year and task. A filled mark: a claim of the paper "
            "was tested here and holds; a hollow one: it was tested and does not hold."
        )
    )
    picture = gr.HTML(timeline(), js_on_load=parts.asset("choose.js"), elem_id="map")
    chosen = gr.HTML(
        details(papers()[0].name), js_on_load=parts.asset("choose.js"), elem_id="method"
    )
    picture.click(_choose, None, [chosen], show_progress="hidden", api_visibility="private")
    return chosen


@parts.polite
def _choose(event: gr.EventData) -> str:
    return details(str(event._data["name"]))


@cache
def papers() -> list[Paper]:
    """All papers, from the oldest to the newest."""
    return catalog.history()


@cache
def claims() -> list[dict[str, object]]:
    """The claims of papers with the results that were recorded here."""
    return runner.rows()


def results(paper: Paper) -> list[dict[str, object]]:
    """The claims of one paper."""
    return [row for row in claims() if paper.source and paper.source in str(row["paper"])]


def timeline() -> str:
    """The picture: a column for each year, a lane for each task."""
    lanes = list(dict.fromkeys(task for task in catalog.TASKS.values() if _of(task)))
    lanes += [task for task in dict.fromkeys(p.task for p in papers()) if task not in lanes]
    first, last = papers()[0].year, papers()[-1].year
    heads = "".join(
        f'<div class="lane" style="grid-row:{i + 2}">{escape(LANES.get(task, task))}</div>'
        for i, task in enumerate(lanes)
    )
    years = "".join(_year(year, lanes) for year in range(first, last + 1))
    return (
        f'<div class="timeline" role="group" aria-label="Methods by year" '
        f'style="--lanes:{len(lanes)};--years:{last - first + 1}">{heads}{years}</div>'
    )


def _of(task: str, year: int | None = None) -> list[Paper]:
    return [p for p in papers() if p.task == task and year in (None, p.year)]


def _year(year: int, lanes: Sequence[str]) -> str:
    cells = "".join(
        f'<div class="cell" style="grid-row:{i + 2}">{"".join(map(_button, _of(task, year)))}</div>'
        for i, task in enumerate(lanes)
        if _of(task, year)
    )
    return f'<section class="year{"" if cells else " none"}"><h3>{year}</h3>{cells}</section>'


def _button(paper: Paper) -> str:
    found = [str(row["result"]) for row in results(paper)]
    marks = "".join(f'<i class="{"good" if r == GOOD else "bad"}"></i>' for r in found if _told(r))
    said = "; ".join(f"a claim {r}" for r in found if _told(r)) or "no claim tested"
    pressed = "true" if paper is papers()[0] else "false"
    return (
        f'<button type="button" class="method" data-name="{escape(paper.name)}" '
        f'aria-pressed="{pressed}" title="{escape(paper.title)}" '
        f'aria-label="{escape(f"{paper.name}, {paper.year}: {said}")}">'
        f'{escape(paper.name)}<span class="marks">{marks}</span></button>'
    )


def _told(result: str) -> bool:
    return result in (GOOD, BAD)


def details(name: str) -> str:
    """All that is known of one method."""
    paper = next((p for p in papers() if p.name == name), None)
    if paper is None:
        raise UserError(f"there is no method {name!r}")
    first, _, rest = paper.idea.partition(". ")
    tested = "".join(
        f"<li><b>{escape(row['result'])}</b>: {escape(row['sentence'])} "
        f"<code>ganvas claim run {escape(row['claim'])}</code></li>"
        for row in results(paper)
    )
    trained = "".join(
        f'<li><button type="button" class="save" data-name="{escape(name)}" '
        f'aria-label="{escape(f"Train {name}")}">Train this</button> '
        f"<code>{escape(command)}</code></li>"
        for name, command in paper.commands.items()
    )
    return (
        f'<article class="paper"><h2>{escape(paper.name)}</h2>'
        f"<p>{escape(paper.title)}. {escape(paper.authors)}, {paper.year}, {_link(paper)}</p>"
        f'<p class="lead">{escape(first)}.</p>'
        + (f"<p>{escape(rest)}</p>" if rest else "")
        + (f"<h3>When to use it</h3><p>{escape(paper.use)}</p>" if paper.use else "")
        + f"<h3>Tested here</h3>{f'<ul>{tested}</ul>' if tested else '<p>No claim yet.</p>'}"
        f"<h3>Train it</h3><ul>{trained}</ul></article>"
    )


def _link(paper: Paper) -> str:
    """The paper's address; only a click of the visitor follows it."""
    number = re.fullmatch(r"arXiv:(\d{4}\.\d{4,5})", paper.source)
    address = f"arxiv.org/abs/{number[1]}" if number else paper.source
    return (
        f'<a href="https://{escape(address)}" target="_blank" rel="noopener noreferrer">'
        f"{escape(paper.source)}</a>"
    )
