"""The table of recipes that `ganvas list` shows."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from ganvas import recipes
from ganvas.core import Method, Translates
from ganvas.methods.base import citation, supports

NEEDS = {
    "images": "a folder, zip, npz or idx of images",
    "label_maps": "pairs of a label map and an image",
    "pairs": "pairs: A|B in one image, or A/ and B/ matched by name",
    "super_resolution": "a folder of images at their own resolution",
    "languages": "distinct, ring or uniform: toy languages",
    "derived": "a folder of images, from which the input is computed",
    "stacks": "a folder of arrays, TIFF files or images of 1 to 16 channels",
    "domains": "two sets: trainA/ and trainB/, or two folders",
}


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


def _task(opener: str, keywords: Mapping[str, object], method: type[Method]) -> str:
    """What a recipe is for, by the data that it opens."""
    if keywords.get("kind") == "same":
        return TASKS["same"]
    other = "image to image" if supports(method, Translates) else TASKS["images"]
    return TASKS.get(opener, other)


def rows() -> list[dict[str, str]]:
    """One dict for each recipe, by task: recipe, method, task, data, paper, summary."""
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
                "task": _task(opener, keywords, method),
                "data": NEEDS.get(opener, opener),
                "paper": citation(method),
                "summary": re.sub(r"\s+", " ", inspect.getdoc(recipe) or ""),
            }
        )
    order = list(TASKS.values())
    return sorted(found, key=lambda row: order.index(row["task"]) if row["task"] in order else -1)
