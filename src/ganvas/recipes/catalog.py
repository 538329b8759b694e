"""The table of recipes that `ganvas list` shows, and the history of their papers."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any

from ganvas import recipes
from ganvas.core import Method, Run, Translates
from ganvas.methods import CGAN
from ganvas.methods.base import NoiseToImage, citation, supports

NEEDS = {
    "images": "a folder, zip, npz or idx of images",
    "label_maps": "pairs of a label map and an image",
    "pairs": "pairs: A|B in one image, or A/ and B/ matched by name",
    "super_resolution": "a folder of images at their own resolution, or LOW,HIGH",
    "languages": "distinct, ring or uniform: toy languages",
    "derived": "a folder of images, from which the input is computed",
    "stacks": "a folder of arrays, TIFF files or images of 1 to 16 channels",
    "domains": "two sets: trainA/ and trainB/, or two folders",
}


CLASSES = "images with labels, as class folders"
SOME_CLASSES = "class folders; images without a label may lie in unlabeled/"
TASKS = {
    "images": "images from noise",
    "same": "autoencoders of images",
    "label_maps": "images from label maps",
    "pairs": "translation learned from pairs",
    "derived": "color for gray images, photographs from drawings",
    "stacks": "large images of many channels from sketches",
    "domains": "translation learned without pairs",
    "super_resolution": "super-resolution",
    "languages": "languages",
}


CITATION = re.compile(
    r"(?P<title>.+?[.!?]) (?P<authors>[^.]+(?: et al\.)?), (?P<year>\d{4}), "
    r"(?P<source>arXiv:\d{4}\.\d{4,5}|github\.com/[\w-]+/[\w-]+)\."
)


@dataclass(frozen=True)
class Paper:
    """A method with its paper, as its docstring and ideas.toml describe it.

    name: the usual name of the method
    source: "arXiv:NUMBER", or the address of a project
    task: of its first recipe (`TASKS`)
    idea, use: plain words; "" for methods of other packages
    commands: recipe -> the command that trains it
    """

    name: str
    title: str
    authors: str
    year: int
    source: str
    task: str
    idea: str
    use: str
    commands: Mapping[str, str]


def ideas() -> dict[str, dict[str, object]]:
    """The content of methods/ideas.toml."""
    text = resources.files("ganvas.methods").joinpath("ideas.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def history() -> list[Paper]:
    """All papers that have recipes, from the oldest to the newest."""
    words, found = ideas(), dict[str, list[dict[str, str]]]()
    for row in rows():
        found.setdefault(row["method"], []).append(row)
    papers = [_paper(of_method, words) for of_method in found.values()]
    # Numbers of arXiv begin with year and month.
    return sorted(papers, key=lambda p: (p.year, re.sub(r"\D", "", p.source), p.name))


def _paper(found: list[dict[str, str]], words: Mapping[str, dict[str, object]]) -> Paper:
    first, data = found[0], words["data"]
    idea = words.get(first["file"], {})
    cited = CITATION.fullmatch(first["paper"])
    facts = cited.groupdict() if cited else {}
    commands = {
        row["recipe"]: f"ganvas train {row['recipe']} {data.get(row['recipe'], 'photos/')} "
        f"--out runs/{row['recipe']}"
        for row in found
    }
    return Paper(
        name=str(idea.get("name", first["method"])),
        title=facts.get("title", first["paper"]).removesuffix("."),
        authors=facts.get("authors", ""),
        year=int(facts.get("year", 0)),
        source=facts.get("source", ""),
        task=first["task"],
        idea=" ".join(str(idea.get("idea", first["summary"])).split()),
        use=" ".join(str(idea.get("use", "")).split()),
        commands=commands,
    )


def _task(opener: str, keywords: Mapping[str, object], method: type[Method]) -> str:
    """What a recipe is for, by the data that it opens."""
    if keywords.get("kind") == "same":
        return TASKS["same"]
    other = "image to image" if supports(method, Translates) else TASKS["images"]
    return TASKS.get(opener, other)


def _needed(opener: str, run: Run, method: type[Method]) -> str:
    """The data that a recipe takes."""
    if opener != "images":
        return NEEDS.get(opener, opener)
    parameters = inspect.signature(run.method).parameters
    if method is CGAN or ("labels" in parameters and parameters["labels"].default is True):
        partial = issubclass(method, NoiseToImage) and method.partial_labels
        return SOME_CLASSES if partial else CLASSES
    return NEEDS[opener]


def rows() -> list[dict[str, str]]:
    """One dict for each recipe, by task.

    Keys: recipe, method, file (of the method), task, data, paper, summary.
    """
    found = []
    for name, recipe in recipes.all_recipes().items():
        run = recipe(1)
        method: Any = run.method.func if isinstance(run.method, partial) else run.method
        opened = run.data if isinstance(run.data, partial) else partial(run.data)
        opener, keywords = getattr(opened.func, "__name__", ""), opened.keywords
        found.append(
            {
                "recipe": name,
                "method": method.__name__,
                "file": method.__module__.rpartition(".")[2],
                "task": _task(opener, keywords, method),
                "data": _needed(opener, run, method),
                "paper": citation(method),
                "summary": re.sub(r"\s+", " ", inspect.getdoc(recipe) or ""),
            }
        )
    order = list(TASKS.values())
    return sorted(found, key=lambda row: order.index(row["task"]) if row["task"] in order else -1)
