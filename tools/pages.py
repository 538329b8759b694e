"""The pages of docs/methods: one a method, and a table of all. They are made from the methods' docstrings and source, the
recipes, the claims and their records, and docs/methods/ideas.toml, which holds what no code says.

    python tools/pages.py       writes them; the same sources and records give the same pages

Claims' figures are references to their records until `docs.render` fills them in (see tools/docs.py).
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

import docs
from ganvas import methods, recipes
from ganvas.claims import Claim, all_claims, runner
from ganvas.claims.page import table_row
from ganvas.core import Method, Run, Shape
from ganvas.data import toy
from ganvas.inference import importers

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
FOLDER = DOCS / "methods"
CLAIMS = list(all_claims().values())
TITLE = re.compile(
    r"(?P<title>.+?[.!?]) (?P<authors>[^.]+(?: et al\.)?), (?P<year>\d{4}), arXiv:(?P<id>\d{4}\.\d{4,5})\."
)
DIFFERS = "Differs from the paper:"
CHANNELS = {"digits": 1, "mnist": 1, "digits/,edges/": 1}  # of the data named in ideas.toml; all else is in colour
CLASSES = {"imagenet/": 1000}  # where there are labels; all else has 10


def pages() -> dict[str, str]:
    """The text of every page by its file name."""
    return {name: docs.render(template) for name, template in templates().items()}


def templates() -> dict[str, str]:
    """The pages with references in place of figures, by file name."""
    ideas = tomllib.loads((FOLDER / "ideas.toml").read_text(encoding="utf-8"))
    facts = [Facts(kind, ideas) for kind in (getattr(methods, name) for name in methods.__all__)]
    facts.sort(key=lambda f: (f.paper["year"], f.paper["id"], f.file))
    return {"README.md": table(facts), **{f"{f.file}.md": page(f) for f in facts}}


class Facts:
    """What is known of a method before anything is written."""

    def __init__(self, kind: type[Method], ideas: Mapping[str, Any]) -> None:
        self.kind, self.file = kind, kind.__module__.rpartition(".")[2]
        if self.file not in ideas:
            raise SystemExit(f"docs/methods/ideas.toml says nothing of {self.file}: add a table [{self.file}]")
        self.idea: Mapping[str, Any] = ideas[self.file]
        first, *self.text = paragraphs(inspect.getdoc(kind) or "")
        found = TITLE.fullmatch(" ".join(first.split()))
        if not found:
            raise SystemExit(
                f"{kind.__name__}'s docstring does not begin with title, authors, year, arXiv id: {first!r}"
            )
        self.paper = {**found.groupdict(), "title": found["title"].removesuffix(".")}
        self.recipes = {n: r for n, r in recipes.all_recipes().items() if method_of(r(1)) is kind}
        self.data = {n: ideas["data"].get(n, "photos/") for n in self.recipes}
        self.own = [c for c in CLAIMS if self.paper["id"] in c.paper]
        self.others = [c for c in CLAIMS if kind in played(c) and c not in self.own]  # it plays in their experiments

    @property
    def name(self) -> str:
        return self.idea["name"]


def paragraphs(text: str) -> list[str]:
    return [p for p in text.split("\n\n") if p.strip()]


def method_of(run: Run) -> type[Method]:
    return run.method.func if isinstance(run.method, partial) else run.method  # type: ignore[return-value]


def played(claim: Claim) -> set[type[Method]]:
    """The methods that a claim's file has by name or in a run. (What it imports it uses: ruff sees to that.)"""
    things = vars(sys.modules[claim.experiment.__module__]).values()
    kinds = [method_of(t) if isinstance(t, Run) else t for t in things]
    known = {getattr(methods, name) for name in methods.__all__}
    return {k for k in kinds if inspect.isclass(k) and issubclass(k, Method) and k in known}


def table(facts: list[Facts]) -> str:
    lines = ["| method | paper | task | recipes | claims |", "|---" * 5 + "|"]
    for f in facts:
        paper = f"{f.paper['title']}, {f.paper['authors']}, {f.paper['year']}, {arxiv('arXiv:' + f.paper['id'])}"
        task = "image to image" if hasattr(f.kind, "translate") else "noise to image"
        named = ", ".join(f"`{r}`" for r in f.recipes)
        claims = "<br>".join(f"[{c.name}]({f.file}.md#{c.name}): {verdict(c)}" for c in f.own)
        lines.append(table_row(f"[{f.name}]({f.file}.md)", paper, task, named, claims or "none yet"))
    of_none = [c for c in CLAIMS if not any(c in f.own for f in facts)]
    theory = ", ".join(f"{c.name}: {verdict(c)}" for c in of_none)
    return blocks(
        "# Methods",
        "A page a method: its idea, its game, what differs from the paper, how to train it, and which of the claims made "
        "for it hold here. The claims are small experiments on two processor cores, so that one which does not hold may still "
        "hold at the paper's size.",
        "\n".join(lines),
        f"Claims of no method's paper ([all claims](../claims/README.md)): {theory}." if theory else "",
        WRITTEN,
    )


WRITTEN = "*Written by `python tools/pages.py`; not to be edited by hand.*"


def page(f: Facts) -> str:
    source = f"../../src/ganvas/methods/{f.file}.py"
    before, differs = [], []
    for text in f.text:
        (differs if differs or text.startswith(DIFFERS) else before).append(shown(text))
    return blocks(
        f"# {f.name}",
        f"*{f.paper['title']}*. {f.paper['authors']}, {f.paper['year']}, {arxiv('arXiv:' + f.paper['id'])}.",
        *pictures(f),
        "## The idea",
        flat(f.idea["idea"]),
        f"**When to use it.** {flat(f.idea['use'])}",
        "## The game",
        *before,
        f"Turn by turn, as it is written in [methods/{f.file}.py]({source}). `next(feed)` draws a batch of real images; each "
        "`Update` is one optimizer step, in which the named player alone moves, to make its loss smaller"
        + ("; a `Make` makes images once for several turns" if "Make(" in inspect.getsource(f.kind.updates) else "")
        + ". The losses are in the same file.",
        f"```python\n{textwrap.dedent(inspect.getsource(f.kind.updates)).rstrip()}\n```",
        "## Differs from the paper",
        capital("\n\n".join(differs).removeprefix(DIFFERS).strip()),
        "## Recipes",
        *(recipe(name, f.data[name]) for name in f.recipes),
        f"Any number can be changed, as by `--size 64`, `--images 200000` or `--set optim.{player(f)}.lr=1e-4`; see `ganvas "
        "train --help`.",
        "## Claims",
        *(claim(c) for c in f.own),
        "" if f.own else "No claim of this paper is an experiment here yet.",
        "Other papers' claims, in whose experiments this method plays:" if f.others else "",
        *(claim(c) for c in f.others),
        "## Import",
        imports(f),
        f"[All methods](README.md). {WRITTEN}",
    )


def blocks(*texts: str) -> str:
    return "\n\n".join(t for t in texts if t) + "\n"


def flat(text: str) -> str:
    return " ".join(text.split())


def capital(text: str) -> str:
    """With a capital, unless it begins with a symbol of one letter."""
    return text[:1].upper() + text[1:] if re.match(r"[a-z]{2}|a ", text) else text


def arxiv(text: str) -> str:
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def shown(text: str) -> str:
    """A docstring's paragraph: formulas, told by their alignment or by an equation that ends in no stop, as they stand."""
    formula = re.search(r"\S {2,}\S", text) or (" = " in text and not text.rstrip().endswith((".", ":")))
    narrower = re.sub(r"(?<=\S) {6,}(?=\()", " " * 5, text)
    return f"```text\n{narrower}\n```" if formula else arxiv(flat(text))


def pictures(f: Facts) -> Iterator[str]:
    if "picture" in f.idea:
        caption = flat(f.idea["caption"])
        unlinked = re.sub(r"\[(.*?)]\(.*?\)", r"\1", caption)
        yield f"![{unlinked}](../{f.idea['picture']})"
        yield f"*{caption}.*"
    for name in f.recipes:
        for file in sorted((DOCS / "zoo").glob(f"*-{name}.png"), reverse=True):
            caption = f"Samples of `{name}` trained on {file.stem.removesuffix(f'-{name}')}"
            yield f"![{caption}](../zoo/{file.name})"
            yield f"*{caption}.*"


def player(f: Facts) -> str:
    return next(iter(recipes.find(next(iter(f.recipes)))(1).optim))


def recipe(name: str, data: str) -> str:
    made = recipes.find(name)
    shape, parts = sizes(name, data)
    side = f"{shape.height}x{shape.width} px, {'gray' if shape.channels == 1 else 'colour'}"
    told = f", {shape.classes:,} classes" if shape.classes else ""
    return blocks(
        f"### {name}",
        arxiv(flat(inspect.getdoc(made) or "")),
        f"```\nganvas train {name} {data} --out runs/{name}\n```",
        f"Weights at {side}{told}: {', '.join(f'`{part}` {count:,}' for part, count in parts.items())}.",
    ).rstrip()


@functools.cache
def sizes(name: str, data: str) -> tuple[Shape, dict[str, int]]:
    """What the recipe's networks are built for, and how many numbers each of them learns."""
    run: Any = recipes.find(name)(1)
    side = run.data.keywords["size"]
    classes = CLASSES.get(data, 10) if run.method.keywords.get("labels") or method_of(run) is methods.CGAN else 0
    shape = Shape(CHANNELS.get(data, 3), side, side, classes)
    if run.data.func is toy.languages:  # generated: they tell it themselves
        shape = run.data(data).info.shape
    with torch.device("meta"):
        built = run.method(shape)
    counts = {part: sum(p.numel() for p in net.parameters()) for part, net in built.named_children()}
    return shape, {part: count for part, count in counts.items() if count}


@functools.cache
def recorded(name: str) -> Mapping[str, Any] | None:
    return runner.read(name, DOCS / "claims")


def verdict(claim: Claim) -> str:
    record = recorded(claim.name)
    if record is None:
        return "not run yet"
    return "stale" if runner.is_stale(claim, record) else runner.RESULTS[record["holds"]]


def claim(claim: Claim) -> str:
    record = recorded(claim.name)
    kinds = sorted(k.__module__.rpartition(".")[2] for k in played(claim))
    code = Path(inspect.getsourcefile(claim.experiment) or "").name
    by = " and ".join(f"`{k}`" for k in kinds)
    how = f"Played by {by}" if kinds else "Played by networks of the experiment's own, by no method of ganvas"
    how += f" ([the experiment](../../src/ganvas/claims/{code})"
    how += f", [how it was done and every seed](../claims/README.md#{claim.name}))" if record else ")"
    if record is None:
        said = f"**Not run yet.** `ganvas claim run {claim.name}` takes about {claim.minutes:g} minutes on two cores."
    elif runner.is_stale(claim, record):
        said = f"**Stale**: judged by other bounds than the code has now. Again: `ganvas claim run {claim.name}`."
    else:
        said = f"**{capital(verdict(claim))}** here, over {len(record['seeds'])} seeds."
        said += "".join(f" Seed {x['seed']} failed." for x in record["failures"])
    quoted = (record or {}).get("paper_figures", claim.paper_figures)
    plot = f"![{claim.name}](../claims/{claim.name}.png)" if (DOCS / "claims" / f"{claim.name}.png").is_file() else ""
    return blocks(
        f"### {claim.name}",
        f"> {claim.sentence}",
        f"{arxiv(claim.paper)}; {claim.section}. {how}.",
        said,
        judged(claim, record),
        "\n".join(f"* In the paper, {what}: {value}" for what, value in quoted.items()),
        plot if record else "",
    ).rstrip()


def judged(claim: Claim, record: Mapping[str, Any] | None) -> str:
    """Every figure, with its bounds and what was found. (All of them: the words of one may speak of the one before.)"""
    if record is None:
        checks = [{"figure": c.figure, "op": c.op, "bound": c.bound, "over": c.over} for c in claim.checks]
        figures = dict.fromkeys([*claim.figures_in_words, *(c["figure"] for c in checks)])
        lines = [table_row("figure", "bound"), "|---" * 2 + "|"]
        for name in figures:
            bounds = " and ".join(bound(c) for c in checks if c["figure"] == name)
            lines.append(table_row(words(claim, name), bounds))
        return "\n".join(lines)
    file = f"docs/claims/{claim.name}.json"
    lines = [
        table_row("figure", "least to greatest seed", "bound", "the value judged", "result"),
        "|---" * 5 + "|",
    ]
    for name in dict.fromkeys(
        [*(k for s in record["seeds"] for k in s["figures"]), *(c["figure"] for c in record["checks"])]
    ):
        values, span = [s["figures"].get(name) for s in record["seeds"]], "none"
        if values and None not in values:
            span = " to ".join(reference(f"{f.__name__} {file} seeds.*.figures.{name}") for f in (min, max))
        checks = [(i, c) for i, c in enumerate(record["checks"]) if c["figure"] == name]
        for i, c in checks:
            value = "none" if c["value"] is None else reference(f"{file} checks.{i}.value")
            value += {"every": " (worst seed)", "mean": " (mean)", "median": " (median)"}[c["over"]]
            result = "stale" if runner.is_stale(claim, record) else runner.RESULTS[c["holds"]]
            result = result if c["holds"] else f"**{result}**"
            lines.append(table_row(words(claim, name), span, bound(c), value, result))
        if not checks:
            lines.append(table_row(words(claim, name), span, "", "", ""))
    return "\n".join(lines)


def bound(check: Mapping[str, Any]) -> str:
    limit, _, over = runner.condition(check).partition(f"{check['bound']:g}")
    return f"`{limit}{check['bound']:g}`{over}"


def reference(value: str) -> str:
    """A reference to a recorded value, in the format of `runner.number`."""
    return f"{{{{.4g {value}}}}}"


def words(claim: Claim, figure: str) -> str:
    """A figure's name and what it is. Numbers in that are no figures of ours, and say so."""
    text = f"`{figure}`" + (f": {claim.figures_in_words[figure]}" if figure in claim.figures_in_words else "")
    return re.sub(r"(?<![\w.`])-?\d+(?:\.\d+)?%|(?<![\w.`])-?\d+\.\d+", r"{{\g<0>; not measured: in words}}", text)


def imports(f: Facts) -> str:
    """Which files of other projects are this method's."""
    formats = [name for name in importers.FORMATS if any(p in name for p in f.idea.get("formats", ()))]
    if not formats:
        return "No other project's files are known to give this method's networks."
    return blocks(
        "Files of other projects, recognised by their keys and shapes alone:",
        "\n".join(f"* {name}" for name in formats),
        "`ganvas import FILE --out models/x` makes a generator a model to sample from or translate with, and says so where it "
        "cannot; `ganvas.import_network(FILE)` gives any network as a torch module. "
        + flat(f.idea.get("import_note", "")),
    ).rstrip()


def main() -> None:
    wanted = pages()
    for file in FOLDER.glob("*.md"):
        if file.name not in wanted:
            file.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    print(f"{len(wanted)} pages in {FOLDER.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
