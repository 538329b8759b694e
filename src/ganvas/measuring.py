"""How good a trained model is: its pictures against real ones, as a record that says how it was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ganvas import bundle, provenance
from ganvas.core import Samples, Translates
from ganvas.data import domains, images
from ganvas.data.sources import Part
from ganvas.engine.checkpoint import write_atomically
from ganvas.metrics.features import extractor
from ganvas.metrics.measure import measure_samples
from ganvas.metrics.recognised import Judge
from ganvas.report import neighbour_sheet, write_report

NEIGHBOURS = 8  # samples on the sheet of nearest real images
JUDGED = 60_000  # real labelled images at most, for the judge to be trained in seconds


def measure(
    run: str | Path,
    against: str | Path,
    *,
    n: int = 2048,
    features: str = "random-conv-v1",
    weights: Path | None = None,
    part: Part = "train",
    seed: int = 0,
    checkpoint: str = "last",
    device: str | None = None,
) -> dict[str, Any]:
    """Measure `n` pictures of a run or model against real data; returns a JSON-ready record.

    `features`: the extractor (see `ganvas.metrics.features`); figures of unlike extractors do not compare. Labelled data of a
    modest size also gets a judge: a calibrated classifier that says how many samples it recognises. For a translating model
    `against` is the pair of domains: A's images are translated and compared with B's, and the other way round.
    A run's folder also receives measure.json, the nearest real neighbours of a few samples, and its report anew."""
    model = bundle.load(run, checkpoint=checkpoint, device=device or "cpu")
    shape = model.info["shape"]
    size, channels = (shape["height"], shape["width"]), shape["channels"]
    extract = extractor(features, weights=weights)
    protocol = {
        "checkpoint": checkpoint,
        "images_trained": model.info.get("images_trained"),
        "seed": seed,
        "part": part,
    }
    run = Path(run)
    if isinstance(model.method, Samples):
        feed = images(str(against), size=size, channels=channels, part=part)
        real = [b.x for b in feed.batches(256)]
        fake = [x.cpu() for x in model.batches(n, seed=seed)]
        record = {**measure_samples(fake, real, extract, seed=seed), **protocol, "against": _data(feed.info)}
        if feed.info.classes and feed.info.count <= JUDGED:
            raw = feed.raw()
            judge = Judge(raw["x"], raw["y"])
            record["judge"] = judge.report(provenance.to_uint8(torch.cat(fake)))
        if (run / "run.json").is_file():
            sheet = neighbour_sheet(*_nearest(torch.cat(fake)[:NEIGHBOURS], torch.cat(real), extract))
            provenance.save(sheet, run / "neighbours.png", kind="samples beside their nearest real images")
    else:
        assert isinstance(model.method, Translates)
        feed = domains(str(against), size=size, part=part, flip=False)
        record = {**protocol, "against": _data(feed.info)}
        pool = feed.fixed(min(n, feed.info.count))
        for to in model.method.directions:
            source, target = (pool.a, pool.b) if to == "b" else (pool.b, pool.a)
            fake = [model.translate(x, to=to, output="torch").cpu() for x in source.split(8)]
            record[f"to {to}"] = measure_samples(fake, list(target.split(256)), extract, seed=seed)
    if (run / "run.json").is_file():
        write_atomically(run / "measure.json", json.dumps(record, indent=1))
        write_report(run)
    return record


def _data(info: Any) -> dict[str, Any]:
    return {"source": info.source, "count": info.count, "fingerprint": info.fingerprint}


def _nearest(samples: torch.Tensor, real: torch.Tensor, extract: Any, k: int = 3) -> tuple[Any, Any, Any]:
    """(samples, real, indices [n, k] of the nearest real images by the extractor's features)."""
    f = extract(samples)
    distances = torch.cat([torch.cdist(f, extract(part)) for part in real.split(256)], dim=1)
    return samples, real, distances.topk(k, largest=False).indices
