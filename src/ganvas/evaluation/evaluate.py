"""How good a trained model is: its pictures against real ones, as a record that says how it was measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate

from ganvas.core import Translates
from ganvas.core.errors import UserError
from ganvas.core.files import write, write_atomically
from ganvas.data.pictures import Part
from ganvas.evaluation.diagnostics import check_names
from ganvas.evaluation.real_features import NEIGHBOURS, RealFeatures, extractor_named
from ganvas.evaluation.report import write_report
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.media import encode
from ganvas.metrics.feature_set import KEPT
from ganvas.metrics.suite import measure_samples


def measure(
    run: str | Path,
    against: str | Path,
    *,
    n: int = 2048,
    features: str = "random-conv-v1",
    weights: str | Path | None = None,
    resizer: str | None = None,
    part: Part = "train",
    seed: int = 0,
    checkpoint: str = "last",
    extrapolate: bool = False,
    also: Sequence[str] = (),
    device: str | None = None,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Measure `n` pictures of a run or model against real data; returns a JSON-ready record.

    `against`: "digits", a path or an official set's name. `features`, `weights`, `resizer`: see
    `ganvas.metrics.features.extractor`; figures of unlike extractors do not compare. `checkpoint`: "last", "best", a number
    of images, or "both": the last and the best side by side. `extrapolate`: also the Frechet distance at infinitely many
    images. `also`: further measures by name, see
    `ganvas.evaluation.diagnostics`. `out`: a file for the record. For a translating model
    `against` is the pair of domains: A's images are translated and compared with B's, and the other way round.

    What `measure_samples` returns, with `run`, `recipe`, `checkpoint`, `images_trained`, `data` and, of the protocol, the
    real images' part and fingerprint; `ganvas.metrics.suite.measurements` takes a record of several apart. A run's folder
    also receives measure.json, the nearest real neighbours of a few samples, and its report anew. Statistics of the real
    images are kept in the cache folder: a second measure against them does not look at them again.

    Raises `UserError` for wrong input of any kind."""
    run = Path(run)
    is_run = (run / "run.json").is_file()
    if checkpoint != "last" and not is_run:
        raise UserError(
            f"{run} is a model's folder and has one state of it: measure a run's folder, or leave --checkpoint out"
        )
    check_names(also)
    extract = extractor_named(features, weights, resizer)
    found: dict[str, dict[str, Any]] = {}
    against_real: RealFeatures | None = None
    for which in ("last", "best") if checkpoint == "both" else (checkpoint,):
        model = load(run, checkpoint=which, device=device or "cpu")
        against_real = against_real or RealFeatures(model, run, str(against), part, extract)
        # First, for what cannot be measured is known at once, and the long part would be lost with it.
        more = against_real.further(also, model, n, seed, weights) if also else {}
        for to, measured in _measured(model, against_real, n, seed, extrapolate, run if is_run and not found else None):
            if also:
                measured["also"] = more
            name = ", ".join(filter(None, (which if checkpoint == "both" else "", f"to {to}" if to else "")))
            found[name] = {
                **measured,
                "run": run.resolve().name,
                "recipe": model.info.get("recipe"),
                "checkpoint": which,
                "images_trained": model.info.get("images_trained"),
                "data": against_real.data,
            }
    record = found.get("", found)
    text = json.dumps(record, indent=1)
    if out is not None:
        write(Path(out), text.encode())
    if is_run:
        write_atomically(run / "measure.json", text)
        write_report(run)
    return record


def _measured(
    model: Model, real: RealFeatures, n: int, seed: int, extrapolate: bool, sheet_in: Path | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(direction or "", record) of one state of a model. `sheet_in`: the folder for the nearest neighbours' sheet."""
    if not isinstance(model.method, Translates):
        first: list[Tensor] = []
        size, made = (real.feed.info.height, real.feed.info.width), model.method.current_stage.resolution
        grown = made is None or made >= max(size)
        fake = model.batches(n, seed=seed)
        if not grown:
            fake = (interpolate(x, size, mode="nearest") for x in fake)
        fake = _tee(fake, first)
        side = real.side("x")
        record = measure_samples(fake, side, real.extractor, seed=seed, extrapolate=extrapolate)
        record["protocol"]["real"] |= real.protocol
        if not grown:
            record["notes"].append(
                f"The network has grown to {made} pixels: its pictures were enlarged by repeating pixels."
            )
        if side.count > KEPT:
            record["notes"].append(f"Nearest real images are looked for among {KEPT:,} of the {side.count:,}.")
        if sheet_in:
            encode.save(real.neighbours(first[0], side), sheet_in / "neighbours.png", kind="nearest real images")
        yield "", record
        return
    for to in model.method.directions:
        source = "a" if to == "b" else "b"
        fake = (model.translate(x, to=to, output="torch") for x in real.drawn(source, n, seed))
        record = measure_samples(fake, real.side(to), real.extractor, seed=seed, extrapolate=extrapolate)
        record["protocol"]["real"] |= real.protocol
        record["protocol"]["to"] = to
        # Neither a folder's images need have this size nor what `ganvas translate` makes of them.
        record["notes"].append(
            "Inputs were brought to the size of training first: images that ganvas translate makes of inputs of other "
            "sizes may be better or worse than these figures."
        )
        if model.method.upscale > 1:
            record["notes"].append(
                "PSNR and SSIM are ganvas pixels' figures: enlarge small pictures by ganvas translate first."
            )
        yield to, record


def _tee(fake: Iterable[Tensor], first: list[Tensor]) -> Iterator[Tensor]:
    """Pass on `fake`; its first few images are also appended to `first`."""
    for x in fake:
        if not first:
            first.append(x[:NEIGHBOURS])
        yield x
