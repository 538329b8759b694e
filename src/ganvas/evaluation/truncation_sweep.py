"""Precision against recall over truncation."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

from ganvas.core.errors import UserError
from ganvas.core.files import require_outside, require_writable, write
from ganvas.data.pictures import Part
from ganvas.evaluation.real_features import RealFeatures, extractor_named
from ganvas.evaluation.records import Record
from ganvas.inference.load import load
from ganvas.metrics.suite import measure_samples

PLOTS = (".png", ".svg", ".pdf")


def sweep(
    run: Path,
    against: str,
    out: Path,
    *,
    truncations: Sequence[float] = (0.2, 0.4, 0.6, 0.8, 1.0),
    n: int = 1024,
    features: str = "random-conv-v1",
    weights: Path | None = None,
    part: Part = "train",
    seed: int = 0,
    checkpoint: str = "last",
    device: str = "cpu",
) -> Record:
    """Measure precision and recall over truncation; write a plot and a record.

    Precision and recall: Kynkaanniemi et al., 2019, arXiv:1904.06991.

    out: the plot; the record goes to `out` with .json
    n: samples per truncation

    Returns the record: that of `measure_samples`, with lists for its values.
    """
    if out.suffix.lower() not in PLOTS:
        raise UserError(f"a plot is written as .png, .svg or .pdf; got {out.suffix!r}")
    require_outside(out, against)
    require_writable(out)
    model = load(run, checkpoint=checkpoint, device=device)
    model.sample(
        1, truncation=truncations[0], output="torch"
    )  # fails early for methods without truncation
    real = RealFeatures(model, run, against, part, extractor_named(features, weights, None))
    points: list[Record] = []
    record: Record = {}
    for truncation in truncations:
        record = measure_samples(
            model.batches(n, seed=seed, truncation=truncation), real.features("x"), real.extractor
        )
        points.append(
            {"truncation": truncation, "values": record["values"], "intervals": record["intervals"]}
        )
    record["protocol"]["real"] |= real.protocol
    kept = ("protocol", "notes", "machine", "ganvas", "commit")
    record = {
        "sweep": points,
        **{k: record[k] for k in kept},
        **model.facts,
        "seed": seed,
        "data": real.data,
    }
    write(out, _plotted(points, record["protocol"]["extractor"], out.suffix))
    write(out.with_suffix(".json"), json.dumps(record, indent=1))
    return record


def _plotted(points: Sequence[Record], extractor: str, suffix: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    x = [p["truncation"] for p in points]
    precision, recall = ([p["values"][name] for p in points] for name in ("precision", "recall"))
    left.plot(x, precision, "o-", label="precision")
    left.plot(x, recall, "s-", label="recall")
    left.set(xlabel="truncation", ylabel=f"fraction (over {extractor})", ylim=(-0.02, 1.02))
    left.legend()
    right.plot(recall, precision, "o-", color="tab:gray")
    for t, p, r in zip(x, precision, recall, strict=True):
        right.annotate(f"{t:g}", (r, p), textcoords="offset points", xytext=(5, 5), fontsize=8)
    right.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix[1:].lower())
    return buffer.getvalue()
