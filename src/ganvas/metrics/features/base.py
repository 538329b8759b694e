"""Base of feature extractors: resizing of images and lookup of weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import UserError, did_you_mean
from ganvas.core.files import sha256_of
from ganvas.media.grid import shown

WEIGHTS_VARIABLE = "GANVAS_WEIGHTS"
_AT_ONCE = (
    2**18
)  # pixels that pass through the network together: more would leave the processor's cache


class Extractor:
    """A named, fixed map from images to vectors.

    `name`; `dim`: length of a vector; `hash`: SHA-256 of the weights (of the file,
    if there is one); `distance`: what the Frechet distance over it is called, "fid"
    for the official network and "frechet" for all others; `classes`: how many logits
    `with_logits` gives, 0 if there are none. Calling it with images [N, C, H, W] in
    [-1, 1], of any size, gives float32 features [N, dim]. Channels that are no gray,
    RGB or RGBA are seen beside each other (`media.grid.shown`).
    Images are first rounded to 8 bits, as saved images are; alpha is composited over
    middle gray; the result is resized to a square, whatever the aspect ratio, as
    `resizing` says, a name in `RESIZERS`. Raises `UserError` for NaN pixels.
    """

    def __init__(
        self,
        name: str,
        net: nn.Module,
        dim: int,
        hash: str,
        side: Callable[[int], int],
        channels: int = 3,
        resizing: str = "bilinear-antialias",
        distance: str = "frechet",
    ) -> None:
        if resizing not in RESIZERS:
            raise UserError(f"there is no resizer {resizing!r}. {did_you_mean(resizing, RESIZERS)}")
        # Channels last, in parts that fit the cache, takes half the time on a CPU.
        self.net: Any = net.eval().requires_grad_(False)
        self.net.to(memory_format=torch.channels_last)
        self.name, self.dim, self.hash, self.distance, self.resizing = (
            name,
            dim,
            hash,
            distance,
            resizing,
        )
        self.classes: int = getattr(net, "classes", 0)
        self._side, self._channels = side, channels

    def side(self, height: int, width: int) -> int:
        """The square, in pixels, that images of this size are resized to."""
        return self._side(max(height, width))

    def resizer(self, height: int, width: int) -> str:
        """How images of this size are resized, in words for a record."""
        return f"{self.resizing}-{self.side(height, width)}"

    def prepare(self, images: Tensor) -> Tensor:
        """Images as the network takes them: [N, 3 or 1, side, side].

        8 bits' range in [-1, 1] (bicubic resizing may exceed it).
        """
        _check(images)
        x = shown(images.detach().float())
        if not bool(torch.isfinite(x).all()):
            raise UserError(
                "these images have NaN or infinite pixels, of which no measure can be taken; a "
                "model that makes such images "
                "is broken: use an earlier checkpoint"
            )
        x = ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
        if x.shape[1] == 4:
            x = x[:, :3] * (x[:, 3:] + 1) / 2
        if x.shape[1] < self._channels:
            x = x.expand(-1, self._channels, -1, -1)
        elif x.shape[1] > self._channels:
            x = (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        x = RESIZERS[self.resizing](x, self.side(*x.shape[-2:]))
        return x.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Map images [N, C, H, W] in [-1, 1] to features [N, dim] in float32."""
        return torch.cat([self.net(part).float() for part in self._parts(images)])

    @torch.no_grad()
    def with_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(features [N, dim], logits [N, classes]) in one pass, if it has classes."""
        assert self.classes, f"{self.name} has no classes"
        features, logits = zip(
            *(self.net.with_logits(part) for part in self._parts(images)), strict=True
        )
        return torch.cat(features).float(), torch.cat(logits).float()

    def _parts(self, images: Tensor) -> Iterator[Tensor]:
        _check(images)
        self.net.to(images.device)
        for part in images.split(max(_AT_ONCE // self.side(*images.shape[-2:]) ** 2, 1)):
            yield self.prepare(part)


def _check(images: Tensor) -> None:
    if images.ndim != 4 or not images.shape[1]:
        raise UserError(f"images must be [N, channels, height, width]; got {list(images.shape)}")


# ---------------------------------------------------------------- resizing


def _bilinear_antialias(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def _legacy_pytorch(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def _legacy_tensorflow(x: Tensor, side: int) -> Tensor:
    rows, columns = (_taps_of_tensorflow(n, side).to(x) for n in x.shape[-2:])
    return rows @ x @ columns.T


def _taps_of_tensorflow(n: int, side: int) -> Tensor:
    """Weights [side, n] of TensorFlow 1's bilinear resizing.

    Output i lies at i * n / side: pixels count by their corners, not by their centers.
    """
    at = torch.arange(side) * (n / side)
    low, share = at.long(), (at - at.floor())[:, None]
    one = torch.eye(n)
    return one[low] * (1 - share) + one[(low + 1).clamp(max=n - 1)] * share


def _clean(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, size=(side, side), mode="bicubic", antialias=True, align_corners=False)


# Images [N, C, H, W] -> [N, C, side, side]. The choice moves distances by far more than
# their interval (Parmar et al., 2022, arXiv:2104.11222), so it is part of every record.
RESIZERS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "bilinear-antialias": _bilinear_antialias,
    "legacy-pytorch": _legacy_pytorch,  # pytorch-fid's: aliases where it reduces
    # The original's and torch-fidelity's: aliases, and shifts by a fraction of a pixel.
    "legacy-tensorflow": _legacy_tensorflow,
    "clean": _clean,  # clean-fid's: Pillow's bicubic filter in floating point, not clipped
}


# ---------------------------------------------------------------- weights


def weights_file(name: str, files: Sequence[str], sha256: str, weights: str | Path | None) -> Path:
    """The file with the weights of the extractor `name`, whose SHA-256 is `sha256`.

    weights: the file, or the folder in which it lies under one of the names `files`;
    None: the folder that the environment variable GANVAS_WEIGHTS names. Raises
    `UserError` if it is missing or is another file.
    """
    place = Path(weights or os.environ.get(WEIGHTS_VARIABLE) or "")
    if place == Path(""):
        raise UserError(
            f"the extractor {name} needs the file {files[0]}: say where it lies (--features-file, "
            "or the environment "
            f"variable {WEIGHTS_VARIABLE} for its folder), or use random-conv-v1, which needs none"
        )
    path = (
        place if place.is_file() else next((p for f in files if (p := place / f).is_file()), None)
    )
    if path is None:
        raise UserError(
            f"the extractor {name} needs {' or '.join(files)}, which is not in {place}: put it "
            "there, or name another place"
        )
    got = sha256_of(path)
    if got != sha256:
        raise UserError(
            f"{path} has the SHA-256 {got}, expected {sha256}: it does not hold the weights of "
            f"{name}; fetch it again"
        )
    return path


def filled(net: nn.Module, state: dict[str, Tensor], name: str, path: Path) -> nn.Module:
    """`net`, built without storage, with the weights of a file.

    Raises `UserError` if they are not its own.
    """
    try:
        net.load_state_dict(state, assign=True)
    except RuntimeError as e:
        raise UserError(
            f"{path} does not hold the weights of {name} ({str(e).splitlines()[-1].strip()})"
        ) from None
    return net
