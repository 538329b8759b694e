"""A recipe on a data set: source, image size and the user's own settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ganvas.core import Run, config
from ganvas.engine.run_dir import absolute
from ganvas.nets.augment import named


def augmented(run: Run, text: str | None) -> Run:
    """The run with the augmentation `text`; None: unchanged; "none": without."""
    if text is None:
        return run
    return replace(run, augment=None if text == "none" else named(text))


def with_data(
    run: Run,
    data: str | Path,
    size: int | tuple[int, int] | None,
    assignments: Sequence[str],
) -> Run:
    """Fill in a run's data source and image size, then apply each assignment.

    size: pixels, one side or (height, width). None: the recipe's, or the next multiple
        of an upscaling factor that does not divide it.
    assignments: as for `--set`.
    """
    opener = run.data
    assert isinstance(opener, partial)
    keywords = {**opener.keywords, "source": absolute(data)}
    if size is not None:
        if keywords.get("load"):  # keep the recipe's margin for random crops
            side = size if isinstance(size, int) else max(size)
            keywords["load"] = round(side * keywords["load"] / keywords["size"])
        keywords["size"] = size
    run = replace(run, data=partial(opener.func, **keywords))
    for assignment in assignments:
        run = config.override(run, assignment)
    given = size is not None or any(a.partition("=")[0] == "data.size" for a in assignments)
    return run if given else _of_whole_reductions(run)


def _of_whole_reductions(run: Run) -> Run:
    """The run, whose crops have reductions of whole pixels: 128 / 3 becomes 144 / 3."""
    assert isinstance(run.data, partial)
    size, scale = (run.data.keywords.get(k) for k in ("size", "scale"))
    if not isinstance(size, int) or not isinstance(scale, int) or scale < 1 or size % scale == 0:
        return run
    step = math.lcm(scale, 8)  # discriminators halve sides three times or more
    return config.override(run, f"data.size={-(-size // step) * step}")
