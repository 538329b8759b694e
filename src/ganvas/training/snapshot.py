"""Sample grids, the quality curve and the report while training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas.core import Batch, Samples, Translates, distributed
from ganvas.core.environment import say
from ganvas.engine.engine import Engine
from ganvas.evaluation.report import write_report
from ganvas.inference.model import Model
from ganvas.media import encode
from ganvas.media import grid as media
from ganvas.metrics.features import extractor, feature_statistics
from ganvas.metrics.frechet import frechet_distance

SNAPSHOT_INTERVAL = 1000  # images, at least, between two sample grids and points of the quality curve
GRID_IMAGES = 64  # images in a sample grid
QUALITY_FEATURES = "random-conv-v1"
QUALITY_IMAGES = 1000  # images per figure of the quality curve


def is_early(before: int, now: int) -> bool:
    """Whether a run got to 1,000, 2,000, 4,000 … images: sheets before the first tick, which may be hours away."""
    return (before // SNAPSHOT_INTERVAL).bit_length() < (now // SNAPSHOT_INTERVAL).bit_length()


def write_sample_grid(engine: Engine, out: Path, record: dict[str, Any], prefix: str = "") -> Model:
    """A sample grid, of the model that is returned. Rank 0's work; the others wait where they next need it.

    `prefix`: `STOPPED` for one that an undisturbed run would not have, and that the run which goes on removes."""
    model = Model(engine.model(), model_facts(engine, record), str(engine.device))
    name = f"{prefix}{engine.clock.images:09d}"
    facts = {"recipe": record["recipe"], "images_trained": engine.clock.images, "seed": engine.run.seed}
    encode.save(sample_grid(model, engine.feed, engine.run.seed), out / "samples" / f"{name}.png", **facts)
    return model


def write_snapshot(engine: Engine, out: Path, record: dict[str, Any]) -> None:
    """A sample grid and a point of the quality curve."""
    model = write_sample_grid(engine, out, record)
    if engine.feed.info.count < 2:  # a single picture has no distribution
        return
    line = {"images": engine.clock.images, "frechet": _quality(model, engine), "extractor": QUALITY_FEATURES}
    with (out / "measures.jsonl").open("a", encoding="utf-8") as f:
        print(json.dumps(line), file=f)


def sample_grid(model: Model, feed: Any, seed: int) -> Any:
    """What the model makes, as one picture: a grid of samples; or rows of input and output, and of what pairs say that it
    should be, and then samples of each domain, where the method makes those, too."""
    if not isinstance(model.method, Translates):
        columns = model.columns(GRID_IMAGES)
        n = GRID_IMAGES if columns is None else GRID_IMAGES // columns * columns
        return media.grid(model.sample(n, seed=seed, output="torch"), columns=columns)
    real = feed.fixed(8)
    rows: list[Tensor] = []
    for to in model.method.directions:
        x, target = (real.a, real.b) if to == "b" else (real.b, real.a)
        shown = torch.nn.functional.interpolate(x, scale_factor=model.method.upscale, mode="nearest")
        rows += [shown, torch.cat([model.translate(one[None], to=to, output="torch") for one in x])]
        rows += [target] if feed.info.task == "pairs" else []
    if isinstance(model.method, Samples):
        rows += [model.sample(8, seed=seed, labels=[y] * 8, output="torch") for y in range(model.method.classes)]
    return media.grid(torch.cat(rows), columns=8)


def _quality(model: Model, engine: Engine) -> float:
    """The Frechet distance between what the model makes and the data, over a fixed extractor: for watching one run."""
    features, feed = extractor(QUALITY_FEATURES), engine.feed
    n = min(QUALITY_IMAGES, feed.info.count)
    if not isinstance(model.method, Translates):
        fake = model.batches(QUALITY_IMAGES, seed=engine.run.seed + 1)
        real: Batch = feed.fixed(n)
        x = real.x if "x" in real else torch.cat([real.a, real.b])  # one set, or coupled domains
        side = engine.method.current_stage.resolution
        x = x if side is None or side >= max(x.shape[-2:]) else _shrunk(x, side)
        return frechet_distance(*feature_statistics(features, fake), *feature_statistics(features, x.split(64)))
    real, total = feed.fixed(min(64, feed.info.count)), 0.0
    for to in model.method.directions:
        source, target = (real.a, real.b) if to == "b" else (real.b, real.a)
        made = [model.translate(x[None], to=to, output="torch") for x in source]
        total += frechet_distance(
            *feature_statistics(features, [torch.cat(made)]), *feature_statistics(features, [target])
        )
    return total / len(model.method.directions)


def _shrunk(x: Tensor, side: int) -> Tensor:
    return torch.nn.functional.avg_pool2d(x, max(x.shape[-2:]) // side)


def model_facts(engine: Engine, record: dict[str, Any]) -> dict[str, Any]:
    kept = ("ganvas", "recipe", "paper", "task", "seed", "shape", "data", "commit", "versions")
    return {**{k: record[k] for k in kept}, "images_trained": engine.clock.images}


def write_report_quietly(out: Path, running: bool = False) -> None:
    """The report must never cost a finished training. `running`: it is there to be looked at while training goes on."""
    if distributed.rank() == 0:
        try:
            write_report(out, running=running)
        except Exception as e:
            say(f"warning: the report could not be written: {e}")
