"""Samples against real images, as one record that says how it was taken."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas import __version__
from ganvas.errors import UserError
from ganvas.metrics.features import Extractor, Moments, Statistics
from ganvas.metrics.frechet import frechet_distance
from ganvas.metrics.kernel import kernel_distance_interval
from ganvas.metrics.neighbours import fidelity

ENOUGH = 2048  # images below which a Frechet distance's bias is worth a warning
KEPT = 10_000  # features of either side kept for the measures that need pairs; the Frechet distance uses all
PAIRS = 2000  # images of either side for the mean distance between pairs


def measure_samples(
    fake: Iterable[Tensor], real: Iterable[Tensor], extractor: Extractor, *, k: int = 5, seed: int = 0
) -> dict[str, Any]:
    """How near the distribution of `fake` is to that of `real`: batches of images [N, C, H, W] in [-1, 1], of one size.

    A JSON-ready record. `values`: `frechet` (0 is best); `kernel` with `kernel_low`, `kernel_high` (95% interval; 0 is
    best); `precision`, `recall`, `density`, `coverage` (1 is best; `k` nearest neighbours); `diversity` (the mean
    distance between two fakes divided by that between two reals; 1 is best, near 0 the generator has collapsed). With
    it the protocol: extractor and hash of its weights, resizer, counts, seed, machine, version; `notes` say what to
    mind.

    Takes memory for at most 10,000 feature vectors of either side (chosen at random, by `seed`), however many images
    there are. Raises `UserError` for too few images, mixed sizes or channels, and NaN pixels."""
    fakes, reals = _Pool(extractor, "generated", seed), _Pool(extractor, "real", seed + 1)
    for pool, batches in ((reals, real), (fakes, fake)):
        for images in batches:
            pool.add(images)
    if reals.shape != fakes.shape and fakes.shape and reals.shape:
        raise UserError(
            f"real images are {_size(reals.shape)} and generated ones {_size(fakes.shape)}: bring the real ones to the "
            "generated ones' size and channels"
        )
    few = min(fakes.count, reals.count)
    if few <= k + 1:
        raise UserError(
            f"a measure needs more than {k + 1} images on either side (hundreds, to mean anything); got {reals.count} "
            f"real and {fakes.count} generated"
        )
    assert fakes.shape is not None
    x, y = reals.kept(), fakes.kept()
    frechet = frechet_distance(*reals.moments.statistics(), *fakes.moments.statistics())
    kernel = kernel_distance_interval(x, y, seed=seed)
    spread = _spread(x)
    values: dict[str, Any] = {
        "frechet": frechet,
        "kernel": kernel.value,
        "kernel_low": kernel.low,
        "kernel_high": kernel.high,
        **fidelity(x, y, k)._asdict(),
        "diversity": _spread(y) / spread if spread else None,
    }
    notes = []
    if few < ENOUGH:
        bias = _bias(x, y, frechet, seed)
        values["frechet_bias"] = bias
        notes.append(
            f"The Frechet distance is taken from {few:,} images, fewer than {ENOUGH:,}: it is biased upwards, here by "
            f"roughly {bias:.3g} (of {frechet:.3g}). Compare it only with figures of the same counts."
        )
    return {
        "values": values,
        "extractor": extractor.name,
        "extractor_hash": extractor.hash,
        "resizer": extractor.resizer(*fakes.shape[1:]),
        "image": list(fakes.shape),
        "neighbours": k,
        "kernel_subsets": {
            "mean": kernel.subset_mean,
            "std": kernel.subset_std,
            "size": kernel.subset_size,
            "count": 100,
        },
        "real": reals.count,
        "fake": fakes.count,
        "pairs_from": {"real": len(x), "fake": len(y)},
        "seed": seed,
        "notes": notes,
        "machine": machine(),
        "ganvas": __version__,
        "commit": commit(),
    }


class _Pool:
    """The features of one side: moments of all, and a uniform sample of at most KEPT, each image by a random key."""

    def __init__(self, extractor: Extractor, side: str, seed: int) -> None:
        self.extractor, self.side = extractor, side
        self.moments, self.shape = Moments(extractor.dim), None
        self._rng = np.random.default_rng(seed)
        self._keys, self._features = torch.empty(0, dtype=torch.float64), torch.empty(0, extractor.dim)

    @property
    def count(self) -> int:
        return self.moments.count

    def add(self, images: Tensor) -> None:
        shape = tuple(images.shape[1:])
        if self.shape is not None and shape != self.shape:
            raise UserError(
                f"the {self.side} images are of several sizes: {_size(self.shape)} and {_size(shape)}; choose one"
            )
        self.shape = shape
        features = self.extractor(images).cpu()
        self.moments.add(features)
        keys = torch.cat([self._keys, torch.from_numpy(self._rng.random(len(features)))])
        features = torch.cat([self._features, features])
        if len(keys) > KEPT:
            keep = keys.topk(KEPT, largest=False, sorted=False).indices
            keys, features = keys[keep], features[keep]
        self._keys, self._features = keys, features

    def kept(self) -> Tensor:
        """In random order, float64."""
        return self._features[self._keys.argsort()].double()


def _spread(x: Tensor) -> float:
    """The mean distance between two of the features [N, dim]."""
    return float(torch.pdist(x[:PAIRS]).mean())


def _bias(x: Tensor, y: Tensor, whole: float, seed: int, repeats: int = 4) -> float:
    """About how much too large a Frechet distance of these features is. Its bias falls as 1 / N (Chong and Forsyth,
    2020, arXiv:1911.07023), so that halves of the images exceed the whole by as much as the whole exceeds the truth."""
    rng = np.random.default_rng(seed)

    def half(features: Tensor) -> Statistics:
        part = features[rng.permutation(len(features))[: max(len(features) // 2, 2)]]
        return Statistics(part.mean(0), part.T.cov())

    halves = [frechet_distance(*half(x), *half(y)) for _ in range(repeats)]
    return min(max(float(np.mean(halves)) - whole, 0.0), whole)


def _size(shape: tuple[int, ...] | None) -> str:
    return f"{shape[2]}x{shape[1]} with {shape[0]} channel{'s' * (shape[0] != 1)}" if shape else "none"


def machine() -> dict[str, Any]:
    """What a figure was taken on."""
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def commit() -> str | None:
    """The git commit of the source that runs, `-dirty` where it was changed since; None outside a checkout of
    ganvas."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():  # else the commit of whatever repository a virtual environment happens to lie in
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--", "src")  # a record or a page that was written changes no figure
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head + "-dirty" * bool(changed) if head else None
