"""How good a trained model is: its pictures against real ones, as a record that says how it was measured."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate

from ganvas import bundle, provenance
from ganvas.core import Translates
from ganvas.data import Feed, cache_dir, derived, domains, images, official, pairs, super_resolution
from ganvas.data.sources import Part
from ganvas.engine.checkpoint import write_atomically
from ganvas.errors import UserError
from ganvas.further import Subject, further, known
from ganvas.metrics.features import WEIGHTS_VARIABLE, Extractor, extractor, inception
from ganvas.metrics.measure import filled, measure_samples
from ganvas.metrics.neighbours import nearest
from ganvas.metrics.recognised import Judge, Verdict
from ganvas.metrics.side import KEPT, Side
from ganvas.report import neighbour_sheet, write_report

NEIGHBOURS = 8  # samples on the sheet of nearest real images
JUDGED = 60_000  # real labelled images at most, for the judge to be trained in seconds
VERSION = 1  # of the statistics: raise it when the same images would give others
BATCH = 256  # real images at once
TRANSLATED = 8  # images translated at once


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
    images. `also`: further measures by name, see `ganvas.further`. `out`: a file for the record. Labelled data of a modest
    size also gets a judge: a calibrated classifier that says how many samples it recognises. For a translating model
    `against` is the pair of domains: A's images are translated and compared with B's, and the other way round.

    What `measure_samples` returns, with `run`, `recipe`, `checkpoint`, `images_trained`, `data` and, of the protocol, the
    real images' part and fingerprint; `ganvas.metrics.measure.measurements` takes a record of several apart. A run's folder
    also receives measure.json, the nearest real neighbours of a few samples, and its report anew. Statistics of the real
    images are kept in the cache folder: a second measure against them does not look at them again.

    Raises `UserError` for wrong input of any kind."""
    run = Path(run)
    is_run = (run / "run.json").is_file()
    if checkpoint != "last" and not is_run:
        raise UserError(
            f"{run} is a model's folder and has one state of it: measure a run's folder, or leave --checkpoint out"
        )
    known(also)
    extract = extractor_named(features, weights, resizer)
    found: dict[str, dict[str, Any]] = {}
    against_real: Real | None = None
    for which in ("last", "best") if checkpoint == "both" else (checkpoint,):
        model = bundle.load(run, checkpoint=which, device=device or "cpu")
        against_real = against_real or Real(model, run, str(against), part, extract)
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
        provenance.write(Path(out), text.encode())
    if is_run:
        write_atomically(run / "measure.json", text)
        write_report(run)
    return record


def _measured(
    model: bundle.Model, real: Real, n: int, seed: int, extrapolate: bool, sheet_in: Path | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(direction or "", record) of one state of a model. `sheet_in`: the folder for the nearest neighbours' sheet."""
    if not isinstance(model.method, Translates):
        judge = real.judge()
        verdict = Verdict(judge) if judge else None
        first: list[Tensor] = []
        size, made = (real.feed.info.height, real.feed.info.width), model.method.now.resolution
        grown = made is None or made >= max(size)
        fake = model.batches(n, seed=seed)
        if not grown:
            fake = (interpolate(x, size, mode="nearest") for x in fake)
        fake = _watched(fake, verdict, first)
        side = real.side("x")
        record = measure_samples(fake, side, real.extractor, seed=seed, extrapolate=extrapolate)
        record["protocol"]["real"] |= real.protocol
        if verdict:
            record["judge"] = verdict.report()
        elif real.no_judge:
            record["notes"].append(real.no_judge)
        if not grown:
            record["notes"].append(
                f"The network has grown to {made} pixels: its pictures were enlarged by repeating pixels."
            )
        if side.count > KEPT:
            record["notes"].append(f"Nearest real images are looked for among {KEPT:,} of the {side.count:,}.")
        if sheet_in:
            provenance.save(real.neighbours(first[0], side), sheet_in / "neighbours.png", kind="nearest real images")
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
        if model.method.scale > 1:
            record["notes"].append(
                "PSNR and SSIM are ganvas pixels' figures: enlarge small pictures by ganvas translate first."
            )
        yield to, record


def _watched(fake: Iterable[Tensor], verdict: Verdict | None, first: list[Tensor]) -> Iterator[Tensor]:
    """`fake`, shown to the judge on its way; its first few images go to `first`."""
    for x in fake:
        if not first:
            first.append(x[:NEIGHBOURS])
        if verdict:
            verdict.add(provenance.to_uint8(x))
        yield x


# ---------------------------------------------------------------- the real images


class Real:
    """The real images that a model is measured against, in its size and channels."""

    def __init__(self, model: bundle.Model, run: Path, against: str, part: Part, extract: Extractor) -> None:
        shape = model.info["shape"]
        size, channels = (shape["height"], shape["width"]), shape["channels"]

        def opened(channels: int | None) -> Feed:
            if not isinstance(model.method, Translates):
                return images(against, size=size, channels=channels, part=part)
            if model.method.scale > 1:
                scale = model.method.scale
                return super_resolution(against, size=size, scale=scale, channels=channels, part=part, flip=False)
            if kind := _asked(run, "kind"):
                return derived(against, kind=kind, size=size, channels=channels, part=part, flip=False)
            if model.info.get("task") == "pairs":
                turned = _asked(run, "direction") or "a2b"
                return pairs(against, size=size, channels=channels, part=part, flip=False, direction=turned)
            return domains(against, size=size, channels=channels, part=part, flip=False)

        feed = opened(None)
        if feed.info.channels != channels:
            theirs = feed.info.channels
            feed = opened(channels)
            trained_on = (model.info.get("data") or {}).get("fingerprint")
            if feed.info.fingerprint != trained_on and _asked(run, "channels") != channels:
                kinds = {1: "gray", 3: "colour", 4: "colour with alpha"}
                raise UserError(
                    f"the images of {against} are {kinds[theirs]} and the model's are {kinds[channels]}: measure against "
                    f"images that are {kinds[channels]}, too"
                )
        self.feed, self.source, self.extractor, self.device = feed, against, extract, model.method.device
        self.protocol = {"part": feed.info.part, "fingerprint": feed.info.fingerprint}
        self.data = {"source": feed.info.source, "part": feed.info.part, "count": feed.info.count}
        self._sides: dict[str, Side] = {}
        self._judge: Judge | None = None
        self.no_judge = ""  # why there is none, where there should be one

    def side(self, stream: str) -> Side:
        """The features of "x", or of the domain "a" or "b"; from the cache where they are in it."""
        if stream not in self._sides:
            info, extract = self.feed.info, self.extractor
            facts = {
                "version": VERSION,
                "kept": KEPT,
                "data": info.fingerprint,
                "part": info.part,
                "stream": stream,
                "image": [info.channels, info.height, info.width],
                "extractor": extract.name,
                "hash": extract.hash,
                "resizer": extract.resizer(info.height, info.width),
            }

            def computed() -> Side:
                batches = self.feed.batches(BATCH, side=stream, device=self.device)
                return filled(Side(extract, "real"), (getattr(batch, stream) for batch in batches))

            self._sides[stream] = _cached(facts, extract, computed)
        return self._sides[stream]

    def drawn(self, stream: str, n: int, seed: int) -> Iterator[Tensor]:
        """n images of a domain in random order (fewer where it has fewer), in small batches."""
        total = min(n, self.side(stream).count)
        for i in range(0, total, TRANSLATED):
            yield getattr(self.feed.draw(i, min(TRANSLATED, total - i), seed=seed, device=self.device), stream)

    def further(
        self, names: Sequence[str], model: bundle.Model, n: int, seed: int, weights: str | Path | None
    ) -> dict[str, Any]:
        """The further measures of these names. Raises `UserError` for what they do not allow."""
        if isinstance(model.method, Translates):
            raise UserError("further measures are for models that make images from noise alone")
        subject = Subject(model, self.feed, self.side("x"), self.source, self.extractor, n, seed, weights)
        return further(names, subject)

    def judge(self) -> Judge | None:
        wanted = self.feed.info.classes and self.feed.info.count <= JUDGED
        if wanted and self._judge is None and not self.no_judge:
            raw = self.feed.raw()
            try:
                self._judge = Judge(raw["x"], raw["y"])
            except UserError as e:  # it is an addition: what it cannot do does not stand in the measures' way
                self.no_judge = f"No judge tells how many samples it recognises: {e}."
        return self._judge

    def neighbours(self, samples: Tensor, side: Side) -> Any:
        """A picture of samples beside the nearest of the real images whose features are kept."""
        features, index = side.kept()
        _, found = nearest(self.extractor(samples).cpu(), features)
        rows = index[found]
        chosen, places = rows.unique(return_inverse=True)
        pixels = torch.from_numpy(np.stack([self.feed.raw()["x"][i] for i in chosen.tolist()]))
        return neighbour_sheet(samples.cpu(), pixels.movedim(-1, 1) / 127.5 - 1, places)


def _asked(run: Path, setting: str) -> Any:
    """What a run's own settings say of its data; None where they say nothing."""
    try:
        return json.loads((run / "run.json").read_text(encoding="utf-8"))["run"]["data"].get(setting)
    except (OSError, ValueError, KeyError):
        return None


# ---------------------------------------------------------------- extractors and statistics, from where they are kept


def extractor_named(name: str, weights: str | Path | None, resizer: str | None) -> Extractor:
    """The extractor; the official network's weights are downloaded where nobody says that they are here already."""
    if name == "inception-2015" and not weights:
        folder = Path(os.environ.get(WEIGHTS_VARIABLE) or cache_dir() / "weights")
        if not any((folder / file).is_file() for file in inception.FILES):
            file = official.File(inception.FILES[0], inception.BYTES, inception.SHA256, inception.ADDRESSES)
            weights = official.fetch_file(name, file, cache_dir() / "weights")
        else:
            weights = folder
    return extractor(name, weights, resizer=resizer)


def _cached(facts: dict[str, Any], extract: Extractor, computed: Callable[[], Side]) -> Side:
    """The side that `facts` decide, from the cache folder or into it."""
    key = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
    path = cache_dir() / "statistics" / f"{key}.safetensors"
    try:
        with safe_open(path, "pt") as f:
            header = f.metadata() or {}
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dict)
        if header["sum"] == _sum(tensors):
            return Side.restored(extract, "real", tensors, json.loads(header["side"]))
    except (OSError, SafetensorError, KeyError, ValueError):  # absent, or damaged: it is made anew
        pass
    side = computed()
    tensors, kept = side.state()
    header = {"side": json.dumps(kept), "sum": _sum(tensors), "facts": json.dumps(facts)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, metadata=header)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as e:
        warnings.warn(f"the statistics of the real images could not be kept in {path.parent} ({e})", stacklevel=2)
    finally:
        temporary.unlink(missing_ok=True)
    return side


def _sum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
