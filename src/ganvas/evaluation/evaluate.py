"""Measure a trained model against real images: one record with its protocol."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor
from torch.nn.functional import interpolate

from ganvas.core import Gradual, Translates
from ganvas.core.arguments import checked
from ganvas.core.errors import UserError
from ganvas.core.files import require_writable, write
from ganvas.core.progress import Progress
from ganvas.data.open_source import one_text
from ganvas.data.pictures import Part
from ganvas.evaluation.diagnostics import check_names
from ganvas.evaluation.real_features import NEIGHBORS, RealFeatures, extractor_named
from ganvas.evaluation.records import Record
from ganvas.evaluation.report import write_report
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.media import encode
from ganvas.metrics.feature_set import KEPT
from ganvas.metrics.suite import measure_samples


@checked
def measure(
    run: str | Path,
    against: str | Path | Sequence[str | Path],
    *,
    n: int = 2048,
    features: str = "random-conv-v1",
    weights: str | Path | None = None,
    resizer: str | None = None,
    part: Part = "train",
    seed: int = 0,
    checkpoint: str | int = "last",
    extrapolate: bool = False,
    also: str | Sequence[str] = (),
    device: str = "cpu",
    out: str | Path | None = None,
) -> Record:
    """Measure `n` samples of a run or model against real data.

    run: folder of a run or model
    against: "digits", a path, or the name of an official data set. For a translating
        model: its pair of domains, also as two paths. A's images are translated and
        compared with B's, and vice versa
    features, weights, resizer: see `ganvas.metrics.features.extractor`; values of
        different extractors do not compare
    part: "train" or "test"
    seed: of the samples
    device: "cpu", "cuda", "cuda:1", "mps"
    checkpoint: "last", "best", a number of images, or "both": the last and the best
    extrapolate: also the Fréchet distance at infinitely many images
    also: one diagnostic or several by name, see `ganvas.evaluation.diagnostics`
    out: file for the record

    The real data are opened with the run's own settings of its data (channels,
    direction, kind of pairs).

    Returns a JSON-ready record: that of `measure_samples` with `run`, `recipe`,
    `checkpoint`, `images_trained`, `data` and, in the protocol, the real images' part
    and fingerprint. `ganvas.metrics.suite.measurements` splits a record of several
    measurements. A run's folder also receives measure.json, the nearest real neighbors
    of a few samples, and a new report. Statistics of the real images are cached: a
    second measurement does not read them again.

    Raises `UserError` for invalid input of any kind.
    """
    run, checkpoint = Path(run), str(checkpoint)
    also = (also,) if isinstance(also, str) else also
    is_run = (run / "run.json").is_file()
    if checkpoint != "last" and not is_run:
        raise UserError(
            f"{run} is a model folder, without checkpoints: measure a run folder, or leave the "
            "checkpoint out"
        )
    check_names(also)
    if out is not None:
        require_writable(Path(out))
    extract = extractor_named(features, weights, resizer)
    records: dict[str, Record] = {}
    real: RealFeatures | None = None
    for which in ("last", "best") if checkpoint == "both" else (checkpoint,):
        model = load(run, checkpoint=which, device=device)
        real = real or RealFeatures(model, run, one_text(against), part, extract)
        # First, so that an unsupported diagnostic fails before the long part.
        diagnostics = real.diagnostics(also, model, n, seed, weights) if also else {}
        for to, measured in _measured(
            model, real, n, seed, extrapolate, run if is_run and not records else None
        ):
            if also:
                measured["also"] = diagnostics
            name = ", ".join(
                filter(None, (which if checkpoint == "both" else "", f"to {to}" if to else ""))
            )
            records[name] = {
                **measured,
                "run": run.resolve().name,
                "recipe": model.info.get("recipe"),
                "checkpoint": which,
                "images_trained": model.info.get("images_trained"),
                "data": real.data,
            }
    record = records.get("", records)
    text = json.dumps(record, indent=1)
    if is_run:
        write(run / "measure.json", text, sync=True)
        write_report(run)
    if out is not None:
        write(Path(out), text)
    return record


def _measured(
    model: Model,
    real: RealFeatures,
    n: int,
    seed: int,
    extrapolate: bool,
    neighbors_in: Path | None,
) -> Iterator[tuple[str, Record]]:
    """Yield (direction or "", record) of one checkpoint.

    neighbors_in: folder for the sheet of nearest neighbors; None: no sheet
    """
    if not isinstance(model.method, Translates):
        yield "", _samples_record(model, real, n, seed, extrapolate, neighbors_in)
        return
    for to in model.method.directions:
        source = "a" if to == "b" else "b"
        inputs = real.subset(source, n, seed)
        fake = (model.translate(x, to=to, output="torch") for x in inputs)
        features = real.features(to)
        record: Record = measure_samples(
            fake, features, real.extractor, seed=seed, extrapolate=extrapolate
        )
        record["protocol"]["real"] |= real.protocol
        record["protocol"]["to"] = to
        # Files may have other sizes, and ganvas translate keeps these.
        record["notes"].append(
            "The inputs were scaled to the training size: results of ganvas translate for "
            "inputs of other sizes may be better or worse than these values."
        )
        if model.method.upscale > 1:
            record["notes"].append(
                "For PSNR and SSIM use ganvas pixels: upscale small images with ganvas translate "
                "first."
            )
        yield to, record


def _samples_record(
    model: Model,
    real: RealFeatures,
    n: int,
    seed: int,
    extrapolate: bool,
    neighbors_in: Path | None,
) -> Record:
    """The record of a generator from noise."""
    size = real.feed.info.height, real.feed.info.width
    resolution = model.method.current_stage.resolution
    growing = resolution is not None and resolution < max(size)
    bar = Progress(n, what="sampling", quiet=not isinstance(model.method, Gradual))
    samples = model.batches(n, seed=seed, on_progress=bar.update)
    if growing:
        samples = (interpolate(x, size, mode="nearest") for x in samples)
    first: list[Tensor] = []
    features = real.features("x")
    with bar:
        record: Record = measure_samples(
            _tee(samples, first), features, real.extractor, seed=seed, extrapolate=extrapolate
        )
    record["protocol"]["real"] |= real.protocol
    if growing:
        record["notes"].append(
            f"The network has grown to {resolution} pixels: its samples were upscaled by repeating "
            "pixels."
        )
    if features.count > KEPT:
        record["notes"].append(
            f"Nearest real images are searched among {KEPT:,} of the {features.count:,}."
        )
    if neighbors_in:
        sheet = real.neighbors(first[0], features)
        out = neighbors_in / "neighbours.png"
        facts = {**model.facts, "kind": "nearest real images", "seed": seed}
        encode.save(sheet, out, composite=True, **facts)
    return record


def _tee(fake: Iterable[Tensor], first: list[Tensor]) -> Iterator[Tensor]:
    """Pass on `fake`; its first few images are also appended to `first`."""
    for x in fake:
        if not first:
            first.append(x[:NEIGHBORS])
        yield x
