"""DISTS: a perceptual distance that does not mind other samples of the same texture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.core.files import sha256_of
from ganvas.metrics.features.base import WEIGHTS_VARIABLE
from ganvas.metrics.lpips import BACKBONES, vgg16

# The authors' file of alpha and beta, and how its SHA-256 begins.
FILES, HASH = ("dists_weights.pt", "weights.pt"), "f5e65c96"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
CHANNELS = (3, 64, 128, 256, 512, 512)  # of the image and the five stages
C1 = C2 = 1e-6
LEAST = 16  # pixels; smaller images leave nothing after four poolings


class DISTS(nn.Module):
    """Deep image structure and texture similarity.

    Ding et al., 2020, Image Quality Assessment: Unifying Structure and Texture
    Similarity, arXiv:2004.07728.

    `1 - sum_ij (alpha_ij l(x_ij, y_ij) + beta_ij s(x_ij, y_ij))` over the channels j
    of the image and of VGG16's five stages i, whose pooling is that of the L2 norm
    under a Hann window. l compares the means of a channel, s their covariance. 0 for
    equal images; symmetric; larger is more unlike. Images are compared at their own
    size (the authors' program first reduces them to a shorter side of 256 pixels).
    """

    alpha: Tensor
    beta: Tensor
    mean: Tensor
    deviation: Tensor
    window: Tensor
    name = "dists"

    def __init__(
        self,
        features: nn.Sequential,
        alpha: Tensor,
        beta: Tensor,
        hashes: dict[str, str] | None = None,
    ) -> None:
        """`features`: VGG16's layers; `alpha`, `beta`: [1475], of all channels."""
        super().__init__()
        self.hashes = hashes or {}
        stages: list[list[nn.Module]] = [[]]
        for layer in features:
            if isinstance(layer, nn.MaxPool2d):
                stages.append([])
            else:
                stages[-1].append(layer)
        self.stages = nn.ModuleList(nn.Sequential(*layers) for layers in stages[:5])
        total = alpha.double().sum() + beta.double().sum()
        self.register_buffer("alpha", (alpha.double() / total).flatten())
        self.register_buffer("beta", (beta.double() / total).flatten())
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        deviation = torch.tensor(DEVIATION).view(1, 3, 1, 1)
        self.register_buffer("deviation", deviation, persistent=False)
        line = torch.hann_window(5, periodic=False)[1:-1]
        window = torch.outer(line, line)
        self.register_buffer("window", window / window.sum(), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Images [N, 3 or 1, H, W] in [-1, 1] -> distances [N], float64.

        Differentiable in both. Raises `UserError` for unlike shapes, NaN pixels and
        sides below 16 pixels.
        """
        if a.shape != b.shape or a.ndim != 4 or a.shape[1] not in (1, 3):
            raise UserError(
                "two sets of images of one shape [N, 1 or 3, height, width] are compared; got "
                f"{list(a.shape)} and {list(b.shape)}"
            )
        if min(a.shape[-2:]) < LEAST:
            raise UserError(
                f"DISTS needs sides of at least {LEAST} pixels; got {a.shape[-2]}x{a.shape[-1]} "
                "(height x width)"
            )
        if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
            raise UserError(
                "these images have NaN or infinite pixels, of which no measure can be taken"
            )
        likeness = a.new_zeros(len(a), dtype=torch.float64)
        weights = zip(self.alpha.split(CHANNELS), self.beta.split(CHANNELS), strict=True)
        maps = zip(self.maps(a), self.maps(b), strict=True)
        for (alpha, beta), (x, y) in zip(weights, maps, strict=True):
            x, y = x.double().flatten(2), y.double().flatten(2)
            mean_x, mean_y = x.mean(2), y.mean(2)
            x, y = x - mean_x[..., None], y - mean_y[..., None]
            texture = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
            spread = (x**2).mean(2) + (y**2).mean(2)
            structure = (2 * (x * y).mean(2) + C2) / (spread + C2)
            likeness = likeness + (alpha * texture + beta * structure).sum(1)
        return 1 - likeness

    def maps(self, x: Tensor) -> list[Tensor]:
        """The image in [0, 1] and the features after every stage."""
        x = (x.expand(-1, 3, -1, -1) + 1) / 2
        found, h = [x], (x - self.mean) / self.deviation
        for i, stage in enumerate(self.stages):
            h = stage(self._pooled(h) if i else h)
            found.append(h)
        return found

    def _pooled(self, x: Tensor) -> Tensor:
        """sqrt(g * x^2) with stride 2, where g is a Hann window."""
        kernel = self.window.expand(x.shape[1], 1, -1, -1)
        return (F.conv2d(x**2, kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


def dists(weights: str | Path | None = None) -> DISTS:
    """DISTS by the authors' weights of structure and texture, over torchvision's VGG16.

    weights: folder with `weights.pt` (of the authors' package dists-pytorch; or as
        `dists_weights.pt`) and `vgg16-397923af.pth`; None: that of the environment
        variable GANVAS_WEIGHTS

    Raises `UserError` for files that are missing or others.
    """
    given = weights or os.environ.get(WEIGHTS_VARIABLE)
    names = (*FILES[:1], *BACKBONES["vgg"].files)
    if not given:
        raise UserError(
            f"dists needs {' and '.join(names)}: say in which folder they lie (or name it in the "
            f"environment variable {WEIGHTS_VARIABLE})"
        )
    folder = Path(given)
    own = _read(folder, FILES, HASH)
    ((backbone, beginning),) = BACKBONES["vgg"].files.items()
    theirs = _read(folder, (backbone,), beginning)
    features = vgg16()
    try:
        features.load_state_dict(
            {
                k.removeprefix("features."): v
                for k, v in theirs[1].items()
                if k.startswith("features.")
            }
        )
        alpha, beta = own[1]["alpha"], own[1]["beta"]
    except (KeyError, RuntimeError) as e:
        raise UserError(
            f"the weights of dists in {folder} do not fit ({str(e).splitlines()[0]}): fetch them "
            "again"
        ) from None
    return DISTS(features, alpha, beta, {"dists": own[0], "backbone": theirs[0]})


def _read(folder: Path, names: tuple[str, ...], beginning: str) -> tuple[str, dict[str, Any]]:
    """(SHA-256, tensors) of the first file that is there."""
    path = next((folder / n for n in names if (folder / n).is_file()), None)
    if path is None:
        raise UserError(f"dists needs {' or '.join(names)}, not found in {folder}: put it there")
    digest = sha256_of(path)
    if not digest.startswith(beginning):
        raise UserError(
            f"{path} is not the file that dists stands for: its SHA-256 begins with {digest[:8]}, "
            f"expected {beginning}. Fetch it again"
        )
    return digest, torch.load(path, map_location="cpu", weights_only=True)
