"""LPIPS: a perceptual distance of two images.

A distance between the features of a classifier, with weights fitted to people's
judgments.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.core.errors import UserError, did_you_mean
from ganvas.core.files import sha256_of
from ganvas.metrics.features.base import WEIGHTS_VARIABLE
from ganvas.metrics.features.squeezenet import Fire

HEADS_FOLDER = "lpips_v0.1"
# ImageNet's mean and deviation, for pixels in [-1, 1], in the authors' code's digits.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
CAFFE_MEAN = (104.0, 117.0, 123.0)  # B, G, R of 255


class LPIPS(nn.Module):
    """Learned perceptual image patch similarity.

    Zhang et al., 2018, arXiv:1801.03924, equation 1, version 0.1.

    `sum_l mean_hw w_l . (y_l(a) - y_l(b))^2`, where y_l are the features after layer l,
    of length 1 at each place, and w_l the head's weights. 0 for equal images;
    symmetric; larger is more unlike. `name` says over which backbone and weights the
    figure is, `hashes` hold the SHA-256 of the files that they came from.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        features: nn.Sequential,
        taps: Sequence[int],
        heads: Sequence[Tensor],
        name: str,
        hashes: dict[str, str] | None = None,
        *,
        caffe: bool = False,
        least: int = 1,
    ) -> None:
        """`features`: layers in a row, read after those numbered `taps`.

        heads: a weight for each channel of each of them. `caffe`: the network takes
        BGR in 0..255 less a mean, not RGB less ImageNet's mean. `least`: the shortest
        side in pixels that it takes.
        """
        super().__init__()
        self.features, self.taps, self.name, self.hashes = features, tuple(taps), name, hashes or {}
        self.caffe, self.least = caffe, least
        for i, w in enumerate(heads):
            self.register_buffer(f"head{i}", w.detach().reshape(1, -1, 1, 1))
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Images [N, 3 or 1, H, W] in [-1, 1] -> distances [N].

        Differentiable in both. Raises `UserError` for unlike shapes, NaN pixels and
        images too small for the network.
        """
        if a.shape != b.shape or a.ndim != 4 or a.shape[1] not in (1, 3):
            raise UserError(
                "two sets of images of one shape [N, 1 or 3, height, width] are compared; got "
                f"{list(a.shape)} and "
                f"{list(b.shape)}"
            )
        if min(a.shape[-2:]) < self.least:
            raise UserError(
                f"{self.name} needs sides of at least {self.least} pixels; got "
                f"{a.shape[-2]}x{a.shape[-1]} (height x width)"
            )
        if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
            raise UserError(
                "these images have NaN or infinite pixels, of which no measure can be taken"
            )
        total = a.new_zeros(len(a))
        for i, (x, y) in enumerate(zip(self.maps(a), self.maps(b), strict=True)):
            head = self.get_buffer(f"head{i}")
            total = total + ((_unit(x) - _unit(y)).square() * head).sum(1).mean((1, 2))
        return total

    def maps(self, x: Tensor) -> list[Tensor]:
        """The features of images [N, 3 or 1, H, W] in [-1, 1] at every tap."""
        x = x.expand(-1, 3, -1, -1)
        x = (
            (x.flip(1) + 1) * 127.5 - x.new_tensor(CAFFE_MEAN).view(1, 3, 1, 1)
            if self.caffe
            else (x - self.shift) / self.scale
        )
        found = []
        for i, layer in enumerate(list(self.features)[: self.taps[-1] + 1]):
            x = layer(x)
            if i in self.taps:
                found.append(x)
        return found


def _unit(x: Tensor) -> Tensor:
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10)


# ---------------------------------------------------------------- backbones
# Weights have torchvision's names.


def alexnet() -> nn.Sequential:
    """AlexNet's convolutions, as torchvision has them.

    Krizhevsky, 2014, arXiv:1404.5997.
    """
    pool = nn.MaxPool2d(3, 2)
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), pool,
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), pool,
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


def vgg16() -> nn.Sequential:
    """VGG16's convolutions.

    Simonyan and Zisserman, 2014, arXiv:1409.1556, table 1, D.
    """
    layers: list[nn.Module] = []
    for a, b in pairwise(
        [3, 64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512]
    ):
        previous = a or int(layers[-3].out_channels)  # type: ignore[arg-type]
        layers += [nn.Conv2d(previous, b, 3, padding=1), nn.ReLU()] if b else [nn.MaxPool2d(2)]
    return nn.Sequential(*layers)


def squeezenet11() -> nn.Sequential:
    """SqueezeNet 1.1 up to its last Fire.

    arXiv:1602.07360, with the smaller first layers of its authors' later model.
    """
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool,
        Fire(64, 16, 64), Fire(128, 16, 64), pool,
        Fire(128, 32, 128), Fire(256, 32, 128), pool,
        Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
    )  # fmt: skip


@dataclass(frozen=True)
class Backbone:
    """A network by name.

    heads: its heads' file, and that file's SHA-256. `files`: files with its weights
    -> how their SHA-256 begins (torchvision puts the beginning into the name).
    """

    features: Callable[[], nn.Sequential]
    taps: tuple[int, ...]
    heads: tuple[str, str]
    files: dict[str, str]
    least: int  # pixels
    caffe: bool = False


_SQUEEZE_HEADS = "squeeze.pth", "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76"
_SQUEEZE_TAPS = (1, 4, 7, 9, 10, 11, 12)

BACKBONES = {
    "alex": Backbone(
        alexnet,
        (1, 4, 7, 9, 11),
        ("alex.pth", "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"),
        {"alexnet-owt-7be5be79.pth": "7be5be79", "alexnet-owt-4df8aa71.pth": "4df8aa71"},
        least=31,
    ),
    "vgg": Backbone(
        vgg16,
        (3, 8, 15, 22, 29),
        ("vgg.pth", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"),
        {"vgg16-397923af.pth": "397923af"},
        least=16,
    ),
    "squeeze": Backbone(
        squeezenet11,
        _SQUEEZE_TAPS,
        _SQUEEZE_HEADS,
        {"squeezenet1_1-b8a52dc0.pth": "b8a52dc0", "squeezenet1_1-f364aa15.pth": "f364aa15"},
        least=17,
    ),
    # The weights of SqueezeNet's authors, with the heads that were fitted to
    # torchvision's. It is not known if those are the same weights in another order of
    # channels, so a figure over these compares with figures over these only.
    "squeeze-caffe": Backbone(
        squeezenet11,
        _SQUEEZE_TAPS,
        _SQUEEZE_HEADS,
        {
            "squeezenet1_1_features_imagenet_caffe_bgr.pth": (
                "320eff1005aa19fc48061d9632d8df30770c87d7be65611656aa98a74d797190"
            )
        },
        least=17,
        caffe=True,
    ),
}


def available_lpips(least: int = 0) -> LPIPS | None:
    """LPIPS over the first of `BACKBONES` whose weights GANVAS_WEIGHTS holds.

    least: the shortest side of the images, which the backbone must take; 0: any
    """
    for name, backbone in BACKBONES.items():
        if not least or backbone.least <= least:
            with suppress(UserError):  # its weights are not there
                return lpips(name)
    return None


def lpips(
    net: str = "alex", weights: str | Path | None = None, backbone: str | Path | None = None
) -> LPIPS:
    """LPIPS over a backbone by name.

    `alex`, `vgg`, `squeeze` (torchvision's weights of ImageNet), or `squeeze-caffe`
    (see `BACKBONES`; not comparable with the others' published figures).

    weights: the folder with the heads (`alex.pth` and so on, in it or in its
    `lpips_v0.1`) and with the backbone's file;
    None: the one that the environment variable GANVAS_WEIGHTS names. `backbone`: that
    file, or its folder, if it lies elsewhere. Raises `UserError` for an unknown
    name, and for files that are missing or not what the name stands for.
    """
    if net not in BACKBONES:
        raise UserError(f"LPIPS has no backbone {net!r}. {did_you_mean(net, BACKBONES)}")
    chosen = BACKBONES[net]
    given = weights or os.environ.get(WEIGHTS_VARIABLE)
    if not given:
        raise UserError(
            f"lpips-{net} needs {chosen.heads[0]} and {next(iter(chosen.files))}: say in which "
            "folder they lie (or name it in "
            f"the environment variable {WEIGHTS_VARIABLE})"
        )
    folder = Path(given)
    name, digest = chosen.heads
    head_path = _first(net, "the heads", [folder / name, folder / HEADS_FOLDER / name])
    head_hash, state = _read(net, head_path, [digest])
    if backbone is not None and Path(backbone).is_file():
        path = Path(backbone)
    else:
        at = Path(backbone) if backbone is not None else folder
        path = _first(net, "the backbone's weights", [at / f for f in chosen.files])
    features = chosen.features()
    hash, weights_of = _read(net, path, list(chosen.files.values()))
    try:
        heads = [state[f"lin{i}.model.1.weight"] for i in range(len(chosen.taps))]
        features.load_state_dict(
            {
                k.removeprefix("features."): v
                for k, v in weights_of.items()
                if k.startswith("features.")
            }
        )
    except (KeyError, RuntimeError) as e:
        raise UserError(
            f"the weights of lpips-{net} in {path} do not fit ({str(e).splitlines()[0]}): fetch "
            "them again"
        ) from None
    hashes = {"heads": head_hash, "backbone": hash}
    return LPIPS(
        features, chosen.taps, heads, f"lpips-{net}", hashes, caffe=chosen.caffe, least=chosen.least
    )


def _first(net: str, what: str, paths: list[Path]) -> Path:
    found = next((p for p in paths if p.is_file()), None)
    if found is None:
        names = " or ".join(dict.fromkeys(p.name for p in paths))
        raise UserError(
            f"lpips-{net} needs {what}, {names}, not found in {paths[0].parent}: put it there"
        )
    return found


def _read(net: str, path: Path, hashes: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """(SHA-256, state dict) of a file whose hash begins with one of `hashes`."""
    digest = sha256_of(path)
    if not digest.startswith(tuple(hashes)):
        raise UserError(
            f"{path} is not the file that lpips-{net} stands for: its SHA-256 begins with "
            f"{digest[:8]}, expected "
            f"{' or '.join(h[:8] for h in hashes)}. Fetch it again"
        )
    return digest, torch.load(path, map_location="cpu", weights_only=True)
