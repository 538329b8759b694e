"""Named, complete runs: one file for each paper, one public function for each recipe.

A recipe takes `count`, the number of training images, which converts a paper's epochs
to images, and returns a `Run`. It does not depend on the data's shape or path, which
are set when the data is opened. `ganvas list` and `ganvas train` find recipes here.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable

from ganvas.core import Run, registry
from ganvas.core.errors import UserError, did_you_mean

Recipe = Callable[[int], Run]


def all_recipes() -> dict[str, Recipe]:
    """Name -> recipe, in the order of files and of definitions within them."""
    found: dict[str, Recipe] = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name == "catalog":
            continue
        members = vars(importlib.import_module(f"{__name__}.{module.name}"))
        for name, thing in members.items():
            if (
                inspect.isfunction(thing)
                and thing.__module__.startswith(__name__)
                and not name.startswith("_")
            ):
                found[name] = thing
    return {**_of_other_packages(), **found}


def _of_other_packages() -> dict[str, Recipe]:
    found: dict[str, Recipe] = {}
    for entry in registry.recipes_of_packages():
        try:
            found[entry.name] = entry.load()
        except Exception as e:  # a broken package must not disable the others
            warnings.warn(
                f"recipe {entry.name} ({entry.value}) cannot be loaded: {e}", stacklevel=2
            )
    return found


def find(name: str) -> Recipe:
    """The recipe of this name. Raises `UserError` if there is none."""
    recipes = all_recipes()
    key = name.lower().replace("-", "_")
    if key not in recipes:
        raise UserError(
            f"there is no method or recipe {name!r}. {did_you_mean(key, recipes)} See: ganvas list"
        )
    return recipes[key]
