"""Features of the real data, computed once and cached."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ganvas.core import Translates, config
from ganvas.core.errors import UserError
from ganvas.core.files import replacing, save_tensors
from ganvas.core.guards import abandoned, plural
from ganvas.data import (
    Feed,
    cache_dir,
    derived,
    domains,
    downloads,
    images,
    label_maps,
    pairs,
    stacks,
    super_resolution,
)
from ganvas.data.crops import in_unit
from ganvas.data.held_out import TEST_PARTS
from ganvas.data.label_maps import color_name
from ganvas.data.pictures import Part
from ganvas.data.real_degradation import Degradation
from ganvas.engine.run_dir import read_record
from ganvas.evaluation.diagnostics import EvaluationContext, run_diagnostics
from ganvas.evaluation.records import Diagnostic
from ganvas.evaluation.report import neighbour_sheet
from ganvas.inference.model import Model
from ganvas.metrics.feature_set import KEPT, FeatureSet
from ganvas.metrics.features import WEIGHTS_VARIABLE, Extractor, extractor, inception
from ganvas.metrics.precision_recall import nearest
from ganvas.metrics.suite import filled

NEIGHBORS = 8  # samples on the sheet of nearest real images
VERSION = 3  # of the cached statistics: raise it if the same images would give others
BATCH = 256  # real images per forward pass
TRANSLATED = 8  # images per translation


class RealFeatures:
    """The real images that a model is measured against, in its size and channels.

    feed: the images
    protocol: their part and fingerprint
    data: facts for the record
    """

    def __init__(
        self, model: Model, run: Path, against: str, part: Part, extract: Extractor
    ) -> None:
        description = model.runtime.description
        shape = description["shape"]
        size, channels = (shape["height"], shape["width"]), shape["channels"]

        own = data_settings(run)
        direction = own.get("direction") or (description.get("data") or {}).get("direction")
        direction = "b2a" if direction == "b2a" else "a2b"

        def opened(channels: int | None) -> Feed:
            # The run's own settings of its data, so that pixels mean the same.
            options: dict[str, Any] = {
                "size": size,
                "channels": channels,
                "part": part,
                "white": own.get("white"),
            }
            values = model.runtime.values
            if values is not None:
                options |= {"white": None, "window": (values.low, values.high)}
            if not isinstance(model.method, Translates):
                return images(against, **options)
            options["flip"] = False
            described = own.get("degrade")
            if model.method.upscale > 1 or described:
                if described:
                    options["degrade"] = config.load(described, Degradation)
                return super_resolution(against, scale=model.method.upscale, **options)
            if model.method.input_channels is not None:  # sketches of the images
                window = own.get("window")
                return stacks(against, size=size, window=window, flip=False, part=part)
            if kind := own.get("kind"):
                return derived(against, kind=kind, **options)
            if description.get("task") == "pairs":
                shape = description.get("shape") or {}
                if palette := shape.get("palette"):
                    options.pop("channels", None)
                    options["palette"] = [color_name(c) for c in palette]
                    options["ids"] = shape.get("ids", False)
                    options["instances"] = own.get("instances", False)
                    return label_maps(against, direction=direction, **options)
                return pairs(against, direction=direction, **options)
            return domains(against, **options)

        feed = opened(None)
        if part == "test" and feed.info.part not in TEST_PARTS:
            raise UserError(
                f"{feed.info.source} has no test part (a folder test/): leave the part out to "
                "measure against all of its images"
            )
        values = model.runtime.values
        if values is not None and (feed.info.channels, feed.info.values) != (channels, values):
            theirs = feed.info.values.type if feed.info.values else "photographs"
            raise UserError(
                f"the images of {against} have {plural(feed.info.channels, 'channel')} of {theirs} "
                f"and the model's {channels} of {values.type}: measure against such images"
            )
        if feed.info.channels != channels:
            theirs = feed.info.channels
            feed = opened(channels)
            trained_on = (description.get("data") or {}).get("fingerprint")
            if feed.info.fingerprint != trained_on and own.get("channels") != channels:
                kinds = {1: "gray", 3: "color", 4: "color with alpha"}
                raise UserError(
                    f"the images of {against} are {kinds[theirs]} and the model's are "
                    f"{kinds[channels]}: measure "
                    f"against {kinds[channels]} images"
                )
        feed.replace_nothing()
        self.feed, self.source, self.extractor = feed, against, extract
        self.device = model.method.device
        self.white = own.get("white")
        self.protocol = {"part": feed.info.part, "fingerprint": feed.info.fingerprint}
        if direction != "a2b":  # the images are the same, their streams are not
            self.protocol["direction"] = direction
        # What else decides the pixels of a stream, beside the images.
        self.opened = {k: v for k, v in own.items() if k in DataSettings.__annotations__}
        self.opened["direction"] = direction
        self.data = {"source": feed.info.source, "part": feed.info.part, "count": feed.info.count}
        self._features: dict[str, FeatureSet] = {}

    def features(self, stream: str) -> FeatureSet:
        """The features of "x", or of domain "a" or "b"; from the cache if possible."""
        if stream not in self._features:
            info, extract = self.feed.info, self.extractor
            facts = {
                "version": VERSION,
                "kept": KEPT,
                "data": info.fingerprint,
                "part": info.part,
                "stream": stream,
                "opened": self.opened,
                "image": [info.channels, info.height, info.width],
                "extractor": extract.name,
                "hash": extract.hash,
                "resizer": extract.resizer(info.height, info.width),
            }

            def computed() -> FeatureSet:
                batches = self.feed.batches(BATCH, side=stream, device=self.device)
                return filled(
                    FeatureSet(extract, "real"), (getattr(batch, stream) for batch in batches)
                )

            self._features[stream] = _cached(facts, extract, computed)
        return self._features[stream]

    def subset(self, stream: str, n: int, seed: int) -> Iterator[Tensor]:
        """Up to n images of a domain in random order, in small batches."""
        total = min(n, self.feed.info.counts.get(stream, self.feed.info.count))
        for i in range(0, total, TRANSLATED):
            yield getattr(
                self.feed.draw(i, min(TRANSLATED, total - i), seed=seed, device=self.device), stream
            )

    def diagnostics(
        self, names: Sequence[str], model: Model, n: int, seed: int, weights: str | Path | None
    ) -> dict[str, Diagnostic]:
        """Run diagnostics. Raises `UserError` for those that model or data exclude."""
        if isinstance(model.method, Translates):
            raise UserError("diagnostics (--also) are for models that generate images from noise")
        context = EvaluationContext(
            model,
            self.feed,
            self.features("x"),
            self.source,
            self.extractor,
            n,
            seed,
            weights,
            white=self.white,
        )
        return run_diagnostics(names, context)

    def neighbors(self, samples: Tensor, real: FeatureSet) -> Image.Image:
        """A sheet of samples beside the nearest of the cached real images."""
        features, index = real.kept()
        _, nearest_real = nearest(self.extractor(samples).cpu(), features)
        rows = index[nearest_real]
        chosen, places = rows.unique(return_inverse=True)
        pixels = in_unit(torch.from_numpy(self.feed.at("x", chosen.numpy())).movedim(-1, 1))
        return neighbour_sheet(samples.cpu(), pixels, places)


class DataSettings(TypedDict, total=False):
    """The settings of a run's own data that decide what pixels mean."""

    white: int | None
    channels: int | None
    window: Sequence[float] | None
    instances: bool
    kind: Literal["gray", "luma", "edges", "same"]
    degrade: dict[str, object] | None
    direction: Literal["a2b", "b2a"]


def data_settings(run: Path) -> DataSettings:
    """Settings of a run's own data; empty for a model folder.

    Raises `UserError` for a damaged run.json: other settings would measure other
    images.
    """
    if not (run / "run.json").is_file():
        return {}
    settings = read_record(run)["run"].get("data")
    return cast(DataSettings, settings) if isinstance(settings, dict) else {}


def extractor_named(name: str, weights: str | Path | None, resizer: str | None) -> Extractor:
    """The extractor; downloads the official network's weights if they are not here."""
    if name == "inception-2015" and not weights:
        folder = Path(os.environ.get(WEIGHTS_VARIABLE) or cache_dir() / "weights")
        if not any((folder / file).is_file() for file in inception.FILES):
            file = downloads.File(
                inception.FILES[0], inception.BYTES, inception.SHA256, inception.ADDRESSES
            )
            weights = downloads.fetch_file(name, file, cache_dir() / "weights")
        else:
            weights = folder
    return extractor(name, weights, resizer=resizer)


def _cached(
    facts: dict[str, Any], extract: Extractor, computed: Callable[[], FeatureSet]
) -> FeatureSet:
    """The features for `facts`, from the cache folder; else computed and cached."""
    key = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
    path = cache_dir() / "statistics" / f"{key}.safetensors"
    try:
        with safe_open(path, "pt") as f:
            header = f.metadata() or {}
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dict)
        if header["sum"] == _sum(tensors):
            return FeatureSet.restored(extract, "real", tensors, json.loads(header["side"]))
    except (OSError, SafetensorError, KeyError, ValueError):  # absent or damaged: computed again
        pass
    features = computed()
    tensors, kept = features.state()
    header = {"side": json.dumps(kept), "sum": _sum(tensors), "facts": json.dumps(facts)}
    try:
        for old in abandoned(path.parent):
            shutil.rmtree(old, ignore_errors=True)
        with replacing(path) as file:
            save_tensors(tensors, file, header)
    except (OSError, SafetensorError) as e:
        warnings.warn(
            f"the statistics of the real images could not be cached in {path.parent} ({e})",
            stacklevel=2,
        )
    return features


def _sum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
