"""What was trained, looked at and used: walks, mixed styles, sweeps, projections, neighbours. A picture or a film each."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from ganvas import bundle, movies, provenance
from ganvas.data.sources import Part
from ganvas.errors import UserError, WrongUse
from ganvas.inspect import latents
from ganvas.inspect.projection import Space
from ganvas.inspect.walks import Curve
from ganvas.measuring import Real, extractor_named
from ganvas.metrics.lpips import lpips
from ganvas.metrics.measure import measure_samples

CAPTIONED = 96  # pixels of the shorter side, at least, for a caption to fit above a picture
PLOTS = (".png", ".svg", ".pdf")
STRIP = 8  # pictures from each to the next on a strip


def walk(
    model: bundle.Model,
    out: Path,
    *,
    through: str = "6",
    seed: int = 0,
    frames: int | None = None,
    fps: int = 30,
    loop: bool = True,
    curve: Curve | None = None,
    label: str | None = None,
    truncation: float | None = None,
    all_classes: bool = False,
) -> int:
    """A walk as a film (.gif, .mp4) or as a strip (.png …), a leg a row. `through`: how many of `seed`'s pictures, or which
    (`inspect.latents.pictures`). `all_classes`: every frame shows all classes of the same latent, in two rows. Returns how
    many frames there are."""
    names: Any = int(through) if through.isdigit() else latents.pictures(through)
    film = out.suffix.lower() in (".gif", ".mp4")
    frames = frames or (fps if film else STRIP)
    how: dict[str, Any] = {"seed": seed, "frames": frames, "loop": loop, "curve": curve, "truncation": truncation}
    if all_classes:
        classes = model.method.classes
        if label is not None or not classes:
            raise WrongUse(
                "a walk through all classes needs a model that was trained with labels, and no label besides"
            )
        walks = [model.walk(names, label=i, **how) for i in range(classes)]
        made = [provenance.tile(frame, -(-classes // 2), pad=0) for frame in zip(*walks, strict=True)]
    else:
        made = model.walk(names, label=None if label is None else model.class_number(label), **how)
    facts = {**model.facts, "through": through, "seed": seed}
    if film:
        movies.save(made, out, fps, **facts)
    else:
        provenance.save(provenance.tile(made, frames), out, **facts)
    return len(made)


def mix(
    model: bundle.Model,
    out: Path,
    *,
    rows: str,
    columns: str,
    layers: str = "coarse",
    label: str | None = None,
    truncation: float | None = None,
) -> int:
    """A sheet of mixed styles. Returns how many mixed pictures there are."""
    left, top = latents.pictures(rows), latents.pictures(columns)
    number = None if label is None else model.class_number(label)
    sheet = model.mix(left, top, layers, label=number, truncation=truncation)
    provenance.save(provenance.tile(sheet, len(top) + 1), out, **model.facts, rows=rows, columns=columns, layers=layers)
    return len(left) * len(top)


def project(
    model: bundle.Model,
    pictures: Sequence[Path],
    out: Path,
    *,
    space: Space | None = None,
    steps: int = 500,
    net: str | None = None,
    weights: Path | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Each picture back into latent space: NAME.png (original | reconstruction), NAME.safetensors (`latent`; `y` where there
    are labels) and, for all, projections.json. `net`: LPIPS's backbone, descended and reported beside the pixels; `weights`:
    the folder of its weights. Returns the rows of the JSON."""
    names = [p.stem for p in pictures]
    if len(set(names)) < len(names):
        raise UserError(
            "two of these pictures have one name, and would be written over one another: project them apart"
        )
    distance = lpips(net or "squeeze", weights) if net or weights else None
    rows = []
    for picture, name in zip(pictures, names, strict=True):
        x = model.fitted(picture)
        found = model.project(x, space=space, steps=steps, distance=distance, seed=seed)
        row = {"picture": picture.name, "space": found.space, "psnr": round(float(found.psnr), 3)}
        if found.distance is not None and distance is not None:
            row[distance.name] = round(float(found.distance), 4)
        if found.y is not None:
            row["label"] = int(found.y)
        times = -(-CAPTIONED // min(x.shape[-2:]))
        both = (v.cpu().repeat_interleave(times, -1).repeat_interleave(times, -2) for v in (x, found.images))
        pair = provenance.side_by_side(*both, captions=["original", "projection"])
        provenance.save(pair, out / f"{name}.png", **model.facts, **row)
        kept = {"latent": found.latent.cpu().contiguous()} | ({} if found.y is None else {"y": found.y.cpu()})
        provenance.write(out / f"{name}.safetensors", save(kept, {k: str(v) for k, v in row.items()}))
        rows.append(row)
    provenance.write(out / "projections.json", json.dumps(rows, indent=1).encode())
    return rows


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
) -> dict[str, Any]:
    """What truncation gives and takes: precision and recall (Kynkaanniemi et al., 2019, arXiv:1904.06991) of `n` pictures at
    each, as a plot (`out`) and as a record (`out` with .json): what `measure_samples` returns, its values a list."""
    if out.suffix.lower() not in PLOTS:
        raise UserError(f"a plot is written as .png, .svg or .pdf; got {out.suffix!r}")
    model = bundle.load(run, checkpoint=checkpoint, device=device)
    model.sample(1, truncation=truncations[0], output="torch")  # what cannot be truncated says so before anything long
    real = Real(model, run, against, part, extractor_named(features, weights, None))
    points: list[dict[str, Any]] = []
    record: dict[str, Any] = {}
    for truncation in truncations:
        record = measure_samples(model.batches(n, seed=seed, truncation=truncation), real.side("x"), real.extractor)
        points.append({"truncation": truncation, "values": record["values"], "intervals": record["intervals"]})
    record["protocol"]["real"] |= real.protocol
    kept = ("protocol", "notes", "machine", "ganvas", "commit")
    record = {"sweep": points, **{k: record[k] for k in kept}, **model.facts, "seed": seed, "data": real.data}
    provenance.write(out, _plotted(points, record["protocol"]["extractor"], out.suffix))
    provenance.write(out.with_suffix(".json"), json.dumps(record, indent=1).encode())
    return record


def _plotted(points: Sequence[dict[str, Any]], extractor: str, suffix: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    x = [p["truncation"] for p in points]
    precision, recall = ([p["values"][name] for p in points] for name in ("precision", "recall"))
    left.plot(x, precision, "o-", label="precision")
    left.plot(x, recall, "s-", label="recall")
    left.set(xlabel="truncation", ylabel=f"share (over {extractor})", ylim=(-0.02, 1.02))
    left.legend()
    right.plot(recall, precision, "o-", color="tab:gray")
    for t, p, r in zip(x, precision, recall, strict=True):
        right.annotate(f"{t:g}", (r, p), textcoords="offset points", xytext=(5, 5), fontsize=8)
    right.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix[1:].lower())
    return buffer.getvalue()


@torch.no_grad()
def neighbours(
    run: Path,
    against: str,
    out: Path,
    *,
    n: int = 8,
    features: str = "random-conv-v1",
    weights: Path | None = None,
    part: Part = "train",
    seed: int = 0,
    label: str | None = None,
    truncation: float | None = None,
    checkpoint: str = "last",
    device: str = "cpu",
) -> None:
    """A page of samples, each beside the real images nearest to it over `features`."""
    model = bundle.load(run, checkpoint=checkpoint, device=device)
    labels = None if label is None else [model.class_number(label)] * n
    made = model.sample(n, seed=seed, labels=labels, truncation=truncation, output="torch")
    real = Real(model, run, against, part, extractor_named(features, weights, None))
    page = real.neighbours(made, real.side("x"))
    provenance.save(page, out, **model.facts, kind="nearest real images", seed=seed, features=features)
