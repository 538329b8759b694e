"""Feature extractors: networks over whose features distributions are compared.

Figures over one extractor compare with figures over the same extractor, identified by
its name and the hash of its weights, and with no others. Only `inception-2015` is the
network that the FID is defined over, so a distance over any other is not called FID.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ganvas.core.errors import UserError, did_you_mean
from ganvas.metrics.features import (
    inception,
    lenet,
    mobilenet,
    random_conv,
    squeezenet,
    transformer,
)
from ganvas.metrics.features.base import RESIZERS, WEIGHTS_VARIABLE, Extractor
from ganvas.metrics.features.inception import Inception2015
from ganvas.metrics.features.lenet import LeNet
from ganvas.metrics.features.mobilenet import MobileNetV2
from ganvas.metrics.features.random_conv import RandomConv
from ganvas.metrics.features.squeezenet import SqueezeNet
from ganvas.metrics.features.statistics import Moments, Statistics, feature_statistics

__all__ = [
    "RESIZERS",
    "WEIGHTS_VARIABLE",
    "Extractor",
    "Inception2015",
    "LeNet",
    "MobileNetV2",
    "Moments",
    "RandomConv",
    "SqueezeNet",
    "Statistics",
    "extractor",
    "feature_statistics",
]


def extractor(
    name: str, weights: str | Path | None = None, *, resizer: str | None = None
) -> Extractor:
    """Feature extractor by name.

    name: `random-conv-v1` (no weights needed), `inception-2015`, `squeezenet`,
    `mobilenet-v2`, `lenet-mnist`, or `transformers:FOLDER`, a vision backbone that the
    library transformers has saved there.

    weights: the file of the weights, or the folder in which it lies; None: the folder
    that the environment variable GANVAS_WEIGHTS names. `resizer`: a name in `RESIZERS`;
    None: the extractor's own. Raises `UserError` for an unknown name and for weights
    that are missing or have another SHA-256 than the name stands for.
    """
    if name.startswith(transformer.PREFIX):
        return transformer.load(name.removeprefix(transformer.PREFIX), resizer)
    if name not in _EXTRACTORS:
        raise UserError(
            f"there is no extractor {name!r}. "
            f"{did_you_mean(name, [*_EXTRACTORS, transformer.PREFIX + 'FOLDER'])}"
        )
    return _EXTRACTORS[name](weights, resizer)


_EXTRACTORS: dict[str, Callable[[str | Path | None, str | None], Extractor]] = {
    "random-conv-v1": random_conv.load,
    "inception-2015": inception.load,
    "squeezenet": squeezenet.load,
    "mobilenet-v2": mobilenet.load,
    "lenet-mnist": lenet.load,
}
