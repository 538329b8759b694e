"""Figures and images of a run of the gallery.

Every figure stands beside the same figure of real images and of the untrained network:
`{"frechet": {"model": ..., "real": ..., "untrained": ...}}`. Without a value: it does not
exist for this row. Which figures depends on what the method does:

* images from noise: Frechet distance, precision and recall against one part of the data,
  real: the other part; letters with labels also by the classifier of bench/letters.py
* pairs: PSNR and LPIPS to the truth of the test part; real: another truth of that part;
  `input`: the input itself, enlarged bicubically where it is smaller
* two domains: Frechet distance of translations to the other domain of the test part;
  real: the training part of that domain; `input`: what was translated. For letters also
  the share that the classifier still recognizes
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from gallery import DATA, TABLE, Training, run_of
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ganvas.core import Couples, Translates
from ganvas.data import Feed
from ganvas.engine.engine import Engine
from ganvas.evaluation.real_features import extractor_named
from ganvas.inference import model_file
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.media import grid
from ganvas.metrics.feature_set import FeatureSet
from ganvas.metrics.features import Extractor
from ganvas.metrics.lpips import lpips
from ganvas.metrics.psnr_ssim import psnr
from ganvas.metrics.suite import filled, measure_samples

SAMPLES, PAIRS = 2048, 256  # images that figures are taken of, at most
VALUES = ("frechet", "precision", "recall")
Figures = dict[str, dict[str, float]]


class Judged:
    """A row's model, its untrained counterpart and its data."""

    def __init__(self, name: str, run: Path, source: str, weights: Path | None) -> None:
        self.name, self.row, self.data = name, TABLE[name], DATA[TABLE[name].data]
        self.model = load(run / "model")
        self.source, self.weights = source, weights
        self.extractor = extractor_named(
            "squeezenet" if weights else "random-conv-v1", weights, None
        )

    @property
    def kind(self) -> str:
        method = self.model.method
        if not isinstance(method, Translates):
            return "domains from noise" if isinstance(method, Couples) else "noise"
        return "domains" if self.model.info["task"] == "domains" else "pairs"

    def feed(self, part: str) -> Feed:
        """A part of the data as the network saw them, without mirroring and random crops."""
        run = run_of(self.row, self.source, 1000)
        assert isinstance(run.data, partial)
        shape = self.model.info["shape"]
        same = {"channels": shape["channels"], "flip": False, "part": part}
        if self.model.method_upscale == 1 and "load" in run.data.keywords:
            same["load"] = None
        return partial(run.data, **same)()
