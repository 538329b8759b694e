"""Plan a run of some minutes, by the recipe "auto", or like one that is to continue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Unpack

from ganvas.core import Run
from ganvas.core.environment import say
from ganvas.core.errors import UserError
from ganvas.data.feed import Feed
from ganvas.engine.records import RunRecord
from ganvas.training import auto, benchmark
from ganvas.training.continuation import planned_images
from ganvas.training.start import Settings, plan_run

MAX_MINUTES = 1e6
UNKNOWN_LENGTH = 1_000_000  # images, while the rate is measured


class Planned(NamedTuple):
    """A complete run, the recipe that it follows, and its data."""

    recipe: str
    run: Run
    feed: Feed


def planned(
    recipe: str,
    data: str | Path,
    device: str,
    minutes: float | None,
    known: RunRecord | None,
    **settings: Unpack[Settings],
) -> Planned:
    """`plan_run`, where minutes, the recipe "auto" or a run to continue decide, too.

    minutes: length of the run, about; None: that of `settings`, or the recipe's
    known: record of the run to continue; it has a length already, and its precision is
        that of the machine on which it started

    Raises `UserError` for settings or data that do not fit.
    """
    images, set = settings.get("images"), settings.get("set", ())
    if minutes is not None and images is not None:
        raise UserError(f"got minutes={minutes:g} and images={images}: give one of the two lengths")
    if minutes is not None and not 0 < minutes < MAX_MINUTES:
        raise UserError(
            f"minutes is {minutes:g}; expected a length above 0 and below {MAX_MINUTES:,.0f}"
        )
    lengths: Sequence[str] = ()  # settings of "auto" that depend on the length of the run
    if recipe == auto.NAME:
        if (minutes is None and images is None) or settings.get("config") is not None:
            raise UserError(
                "auto chooses a recipe and its settings: give it a length (--minutes or --images), "
                "and no settings file (--config)"
            )
        chosen = auto.choose(auto.facts(data), minutes, settings.get("size"))
        say(chosen.reason)
        recipe, lengths = chosen.recipe, chosen.set
        settings["size"] = chosen.size
        settings["augment"] = settings.get("augment") or chosen.augment
        settings["precision"] = settings.get("precision") or "auto"
    if known is not None and settings.get("precision") == "auto":
        settings["precision"] = str(known["run"].get("precision"))
    if known is not None:
        settings["images"] = known.get("fitted")  # its schedules stay as they are
    elif minutes is not None:
        settings["images"] = UNKNOWN_LENGTH
    fitted = settings.get("images") or (UNKNOWN_LENGTH if known is None else known["images"])
    settings["set"] = (*auto.filled(lengths, fitted), *set)
    plan = plan_run(recipe, data, device, **settings)
    if known is not None:
        until = planned_images(known) if minutes is not None else images or plan.run.images
        return Planned(recipe, replace(plan.run, images=until), plan.feed)
    if minutes is None:
        return Planned(recipe, plan.run, plan.feed)
    images = benchmark.images_within(plan.run, plan.feed, device, minutes)
    say(f"{images:,} images in about {minutes:g} minutes")
    return Planned(recipe, plan.at(images, (*auto.filled(lengths, images), *set)), plan.feed)
