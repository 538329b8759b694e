"""The table of recipes that `ganvas list` shows."""

from __future__ import annotations

import inspect
import re
from functools import partial
from typing import Any

from ganvas import recipes
from ganvas.core import Translates
from ganvas.methods.base import citation, supports

NEEDS = {
    "images": "a folder, zip, npz or idx of images",
    "label_maps": "pairs of a label map and an image",
    "pairs": "pairs: A|B in one image, or A/ and B/ matched by name",
    "super_resolution": "a folder of images at their own resolution",
    "languages": "distinct, ring or uniform: toy languages",
    "derived": "a folder of images, from which the input is computed",
    "domains": "two sets: trainA/ and trainB/, or two folders",
}


def rows() -> list[dict[str, str]]:
    """One dict for each recipe: recipe, method, task, data, paper, summary."""
    found = []
    for name, recipe in recipes.all_recipes().items():
        run = recipe(1)
        method: Any = run.method.func if isinstance(run.method, partial) else run.method
        opener = run.data.func.__name__ if isinstance(run.data, partial) else ""
        found.append(
            {
                "recipe": name,
                "method": method.__name__,
                "task": "image to image" if supports(method, Translates) else "noise to image",
                "data": NEEDS.get(opener, opener),
                "paper": citation(method),
                "summary": re.sub(r"\s+", " ", inspect.getdoc(recipe) or ""),
            }
        )
    return found
