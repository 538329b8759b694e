"""Features of the real data, computed once and cached."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ganvas.core import Translates
from ganvas.core.errors import UserError
from ganvas.data import Feed, cache_dir, derived, domains, downloads, images, pairs, super_resolution
from ganvas.data.pictures import Part
from ganvas.evaluation.diagnostics import EvaluationContext, run_diagnostics
from ganvas.evaluation.report import neighbour_sheet
from ganvas.inference.model import Model
from ganvas.metrics.feature_set import KEPT, FeatureSet
from ganvas.metrics.features import WEIGHTS_VARIABLE, Extractor, extractor, inception
from ganvas.metrics.precision_recall import nearest
from ganvas.metrics.suite import filled

NEIGHBOURS = 8  # samples on the sheet of nearest real images
VERSION = 1  # of the statistics: raise it when the same images would give others
BATCH = 256  # real images at once
TRANSLATED = 8  # images translated at once


class RealFeatures:
    """The real images that a model is measured against, in its size and channels."""

    def __init__(self, model: Model, run: Path, against: str, part: Part, extract: Extractor) -> None:
        shape = model.info["shape"]
        size, channels = (shape["height"], shape["width"]), shape["channels"]

        def opened(channels: int | None) -> Feed:
            if not isinstance(model.method, Translates):
                return images(against, size=size, channels=channels, part=part)
            if model.method.upscale > 1:
                scale = model.method.upscale
                return super_resolution(against, size=size, scale=scale, channels=channels, part=part, flip=False)
            if kind := data_setting(run, "kind"):
                return derived(against, kind=kind, size=size, channels=channels, part=part, flip=False)
            if model.info.get("task") == "pairs":
                turned = data_setting(run, "direction") or "a2b"
                return pairs(against, size=size, channels=channels, part=part, flip=False, direction=turned)
            return domains(against, size=size, channels=channels, part=part, flip=False)

        feed = opened(None)
        if feed.info.channels != channels:
            theirs = feed.info.channels
            feed = opened(channels)
            trained_on = (model.info.get("data") or {}).get("fingerprint")
            if feed.info.fingerprint != trained_on and data_setting(run, "channels") != channels:
                kinds = {1: "gray", 3: "colour", 4: "colour with alpha"}
                raise UserError(
                    f"the images of {against} are {kinds[theirs]} and the model's are {kinds[channels]}: measure against "
                    f"images that are {kinds[channels]}, too"
                )
        self.feed, self.source, self.extractor, self.device = feed, against, extract, model.method.device
        self.protocol = {"part": feed.info.part, "fingerprint": feed.info.fingerprint}
        self.data = {"source": feed.info.source, "part": feed.info.part, "count": feed.info.count}
        self._sides: dict[str, FeatureSet] = {}

    def side(self, stream: str) -> FeatureSet:
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

            def computed() -> FeatureSet:
                batches = self.feed.batches(BATCH, side=stream, device=self.device)
                return filled(FeatureSet(extract, "real"), (getattr(batch, stream) for batch in batches))

            self._sides[stream] = _cached(facts, extract, computed)
        return self._sides[stream]

    def drawn(self, stream: str, n: int, seed: int) -> Iterator[Tensor]:
        """n images of a domain in random order (fewer where it has fewer), in small batches."""
        total = min(n, self.side(stream).count)
        for i in range(0, total, TRANSLATED):
            yield getattr(self.feed.draw(i, min(TRANSLATED, total - i), seed=seed, device=self.device), stream)

    def further(
        self, names: Sequence[str], model: Model, n: int, seed: int, weights: str | Path | None
    ) -> dict[str, Any]:
        """The further measures of these names. Raises `UserError` for what they do not allow."""
        if isinstance(model.method, Translates):
            raise UserError("further measures are for models that make images from noise alone")
        subject = EvaluationContext(model, self.feed, self.side("x"), self.source, self.extractor, n, seed, weights)
        return run_diagnostics(names, subject)

    def neighbours(self, samples: Tensor, side: FeatureSet) -> Any:
        """A picture of samples beside the nearest of the real images whose features are kept."""
        features, index = side.kept()
        _, found = nearest(self.extractor(samples).cpu(), features)
        rows = index[found]
        chosen, places = rows.unique(return_inverse=True)
        pixels = torch.from_numpy(np.stack([self.feed.raw()["x"][i] for i in chosen.tolist()]))
        return neighbour_sheet(samples.cpu(), pixels.movedim(-1, 1) / 127.5 - 1, places)


def data_setting(run: Path, setting: str) -> Any:
    """What a run's own settings say of its data; None where they say nothing."""
    try:
        return json.loads((run / "run.json").read_text(encoding="utf-8"))["run"]["data"].get(setting)
    except (OSError, ValueError, KeyError):
        return None


def extractor_named(name: str, weights: str | Path | None, resizer: str | None) -> Extractor:
    """The extractor; the official network's weights are downloaded where nobody says that they are here already."""
    if name == "inception-2015" and not weights:
        folder = Path(os.environ.get(WEIGHTS_VARIABLE) or cache_dir() / "weights")
        if not any((folder / file).is_file() for file in inception.FILES):
            file = downloads.File(inception.FILES[0], inception.BYTES, inception.SHA256, inception.ADDRESSES)
            weights = downloads.fetch_file(name, file, cache_dir() / "weights")
        else:
            weights = folder
    return extractor(name, weights, resizer=resizer)


def _cached(facts: dict[str, Any], extract: Extractor, computed: Callable[[], FeatureSet]) -> FeatureSet:
    """The side that `facts` decide, from the cache folder or into it."""
    key = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
    path = cache_dir() / "statistics" / f"{key}.safetensors"
    try:
        with safe_open(path, "pt") as f:
            header = f.metadata() or {}
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dict)
        if header["sum"] == _sum(tensors):
            return FeatureSet.restored(extract, "real", tensors, json.loads(header["side"]))
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
