"""Figures and images of a run of the gallery.

Every figure stands beside the same figure of real images and of the untrained network:
`{"frechet": {"model": ..., "real": ..., "untrained": ...}}`; what does not exist is left
out. Which figures there are depends on the task:

* noise: Frechet distance, precision and recall against one part of the data; real: the
  other part. Letters with labels also by the classifier of bench/letters.py
* coupled (CoGAN): the Frechet distance of each domain, against the test part; real: the
  training part; and the share of latents that are the same letter in both domains
* domains: the same of translations; `input`: of what was translated. For letters also
  the share that the classifier still recognizes
* one image (SinGAN): the distance of its patches' colors and structure from those of the
  image, in sliced Wasserstein distance; real: another photograph; and diversity, the
  standard deviation of pixels over samples, over that of the image's pixels (section 4
  of the paper)
* pairs: PSNR and LPIPS to the truth of the test part; real: another image's truth;
  `input`: the input, enlarged bicubically if it is smaller
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, cast

import torch
from gallery import DATA, TABLE, run_of
from torch import Tensor
from torch.nn.functional import interpolate

from ganvas.claims.experiments.one_image_at_every_scale import texture
from ganvas.core import Couples, Run, Translates
from ganvas.data.feed import Feed
from ganvas.engine.engine import Engine
from ganvas.evaluation.real_features import extractor_named
from ganvas.inference import model_file
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.media.resize import bicubic
from ganvas.methods import SinGAN
from ganvas.metrics.feature_set import FeatureSet
from ganvas.metrics.features import Extractor
from ganvas.metrics.lpips import lpips
from ganvas.metrics.psnr_ssim import psnr
from ganvas.metrics.suite import filled, measure_samples

REAL, SAMPLES, COUPLED, PAIRS, SINGLE = 5_000, 2048, 1000, 256, 50  # images, at most
TRANSLATED = 16  # of one batch
MOST = 100.0  # dB, for equal images
Figures = dict[str, dict[str, float]]
_REFERENCES: dict[tuple[Any, ...], FeatureSet] = {}


@cache
def letters() -> Any:
    """bench/letters.py; its name is also that of a module in tools/."""
    path = Path(__file__).with_name("letters.py")
    spec = importlib.util.spec_from_file_location("bench_letters", path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def judge() -> Any:
    return letters().Evaluator()


def recognised_as(x: Tensor) -> Tensor:
    """Letters [N, 1, H, W] of any size -> number of the letter, 26 for none [N]."""
    small, net = interpolate(x, 32, mode="area"), judge().net  # trained when first asked for
    with torch.no_grad():
        return torch.cat([net(part).argmax(1) for part in small.split(500)])


class Judged:
    """A row's model, its data and what it is compared with."""

    def __init__(
        self, name: str, run: Path, source: str, images: int, weights: Path | None = None
    ) -> None:
        """`run`: folder of the run; `source`: its data; `images`: as planned."""
        self.name, self.row, self.data = name, TABLE[name], DATA[TABLE[name].data]
        self.model, self.source, self.images, self.weights = load(run), source, images, weights
        features = "squeezenet" if weights else "random-conv-v1"
        self.extractor = extractor_named(features, weights, None)

    @property
    def task(self) -> str:
        method = self.model.method
        if isinstance(method, SinGAN):
            return "one_image"
        if isinstance(method, Translates):
            return "domains" if self.model.info["task"] == "domains" else "pairs"
        return "coupled" if isinstance(method, Couples) else "noise"

    @property
    def labeled_letters(self) -> bool:
        return self.data.source == "letters" and self.model.method.classes == 26

    def feed(self, part: str) -> Feed:
        """A part of the data, without mirroring and random crops."""
        run = run_of(self.row, self.source, self.images)
        return part_of(run, part, self.model.runtime.channels, self.model.method.upscale)

    @cached_property
    def parts(self) -> tuple[Feed, Feed]:
        """(the part that is compared with, the other part)."""
        other = {"train": "test", "test": "train"}[self.data.against]
        return self.feed(self.data.against), self.feed(other)

    @cached_property
    def untrained(self) -> Model:
        run = run_of(self.row, self.source, self.images)
        feed = run.data()
        engine = Engine(run, feed)
        known = {
            k: v for k, v in self.model.info.items() if k in ("shape", "task", "recipe", "data")
        }
        with tempfile.TemporaryDirectory() as folder:
            facts = {**known, "images_trained": 0}
            model_file.save(Path(folder), engine.model(), run, feed.info.shape, facts)
            return load(Path(folder))

    @property
    def models(self) -> dict[str, Model]:
        return {"model": self.model, "untrained": self.untrained}

    def figures(self) -> Figures:
        return getattr(self, f"_{self.task}")()

    # -------- tasks

    def _noise(self) -> Figures:
        reference, other = self.parts
        real = self._features(reference, "x")
        others = other.fixed(SAMPLES).x
        sets: dict[str, Iterable[Tensor]] = {"real": others.split(256)}
        for which, model in self.models.items():
            sets[which] = self._sized(model.batches(len(others)))
        found = distances(sets, real, self.extractor)
        if self.labeled_letters:
            y = torch.arange(26).repeat_interleave(letters().PER_CLASS)
            found["recognized"] = {"real": float(judge().real.mean())}
            for which, model in self.models.items():
                x = torch.cat(list(self._sized(model.batches(len(y), labels=y.tolist()))))
                right = recognised_as(eight_bits(x)) == y
                found["recognized"][which] = float(right.double().mean())
        return found

    def _coupled(self) -> Figures:
        reference, other = self.parts
        found: Figures = {}
        for number, side in enumerate(("a", "b")):
            real = self._features(reference, side)
            n = len(all_of(reference, side))
            images = {"real": some(all_of(other, side), SAMPLES)}
            images |= {w: sampled(m, n, number) for w, m in self.models.items()}
            found[f"frechet_{side}"] = frechet(images, real, self.extractor)
        found["same_letter"] = {}
        for which, model in self.models.items():
            one, two = (recognised_as(sampled(model, COUPLED, number)) for number in range(2))
            found["same_letter"][which] = float(((one == two) & (one < 26)).double().mean())
        return found

    def _domains(self) -> Figures:
        reference, other = self.parts
        found: Figures = {}
        for to in cast(Translates, self.model.method).directions:
            source = "a" if to == "b" else "b"
            inputs = all_of(reference, source)
            images = {"input": inputs, "real": some(all_of(other, to), SAMPLES)}
            images |= {w: translated(m, inputs, to) for w, m in self.models.items()}
            real = self._features(reference, to)
            found[f"frechet_{to}"] = frechet(images, real, self.extractor)
            if self.data.name == "letters_domains":
                files = sorted((Path(self.source) / "test" / source.upper()).glob("*.png"))
                y = torch.tensor([ord(file.stem[-1]) - ord("A") for file in files])
                found[f"recognized_{to}"] = {
                    which: float((recognised_as(x) == y).double().mean())
                    for which, x in images.items()
                    if which != "real"
                }
        return found

    def _one_image(self) -> Figures:
        image, other = (self.feed(part).fixed(1).x for part in ("train", "test"))
        sets = {"real": other}
        sets |= {w: torch.cat(list(m.batches(SINGLE))) for w, m in self.models.items()}
        spread = image.mean(1).std()
        return {
            "patches": {which: texture(x, image) for which, x in sets.items()},
            "diversity": {
                which: float(x.mean(1).std(0).mean() / spread)
                for which, x in sets.items()
                if which != "real"
            },
        }

    def _pairs(self) -> Figures:
        batch = self.feed("test").fixed(PAIRS)
        a, b = batch.a, batch.b
        images = {"real": b.roll(1, 0)}
        images |= {w: translated(m, a, "b") for w, m in self.models.items()}
        if self.model.method.upscale > 1:
            images["input"] = bicubic(a, self.model.method.upscale).clamp(-1, 1)
        elif a.shape == b.shape:
            images["input"] = a
        return to_truth(images, b, self.weights)

    # -------- parts of them

    def _features(self, feed: Feed, side: str) -> FeatureSet:
        """Of a set of real images, which several rows are compared with."""
        info = feed.info
        key = info.fingerprint, info.part, info.height, side, self.extractor.name
        if key not in _REFERENCES:
            _REFERENCES[key] = features_of(feed, side, self.extractor)
        return _REFERENCES[key]

    def _sized(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Images of a network that has not grown yet, enlarged by repeating pixels."""
        side = self.row.size
        for x in batches:
            yield x if x.shape[-1] == side else interpolate(x, side, mode="nearest")


def part_of(run: Run, part: str, channels: int | None, upscale: int = 1) -> Feed:
    """A part of a run's data, without mirroring and random crops.

    channels: None: as the run says"""
    assert isinstance(run.data, partial)
    same: dict[str, Any] = {"flip": False, "part": part}
    same |= {} if channels is None else {"channels": channels}
    if upscale == 1 and "load" in run.data.keywords:
        same["load"] = None
    return partial(run.data, **same)()


def features_of(feed: Feed, side: str, extractor: Extractor) -> FeatureSet:
    """Of at most `REAL` images ("x"), or of all of a domain."""
    x = feed.fixed(REAL).x if side == "x" else all_of(feed, side)
    return filled(FeatureSet(extractor, "real"), x.split(256))


def distances(
    sets: Mapping[str, Iterable[Tensor]], real: FeatureSet, extractor: Extractor
) -> Figures:
    """Fréchet distance, precision and recall of batches of images against real ones."""
    found: Figures = {}
    for which, images in sets.items():
        record: dict[str, Any] = measure_samples(images, real, extractor)
        for name in ("frechet", "precision", "recall"):
            found.setdefault(name, {})[which] = record["values"][name]
    return found


def frechet(
    images: Mapping[str, Tensor], real: FeatureSet, extractor: Extractor
) -> dict[str, float]:
    return distances({w: x.split(256) for w, x in images.items()}, real, extractor)["frechet"]


def to_truth(images: Mapping[str, Tensor], truth: Tensor, weights: Path | None) -> Figures:
    """PSNR and, with LPIPS's weights, LPIPS of images to the truth [N, C, H, W]."""
    found: Figures = {"psnr": {}}
    for which, x in images.items():
        values = psnr(eight_bits(x) / 2 + 0.5, truth / 2 + 0.5, "rgb").clamp(max=MOST)
        found["psnr"][which] = float(values.mean())
    if weights:
        distance = lpips("squeeze-caffe", weights)
        found["lpips"] = {
            which: float(torch.cat([*map(distance, x.split(32), truth.split(32))]).mean())
            for which, x in images.items()
        }
    return found


def all_of(feed: Feed, side: str) -> Tensor:
    """All images of a domain, in the order of their names."""
    return torch.cat([getattr(batch, side) for batch in feed.batches(256, side=side)])


def some(x: Tensor, n: int) -> Tensor:
    """n images at most, in random order, always the same ones."""
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:n]]


def sampled(model: Model, n: int, label: int) -> Tensor:
    return torch.cat(list(model.batches(n, labels=[label] * n)))


def translated(model: Model, x: Tensor, to: str) -> Tensor:
    parts = [model.translate(part, to=to, output="torch") for part in x.split(TRANSLATED)]
    return eight_bits(torch.cat(parts))


def eight_bits(x: Tensor) -> Tensor:
    """Images as files have them."""
    return ((x + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1
