"""inception-2015: the network that defines the FID and the inception score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.metrics.features.base import Extractor, filled, weights_file

# One file under two names, by pytorch-fid and by torch-fidelity. Both names carry the
# first digits of the sum; projects that pin the file give the whole of it.
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
BYTES = 95_628_359
ADDRESSES = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
)
FILES = tuple(address.rsplit("/", 1)[1] for address in ADDRESSES)
SIDE = 299

Kernel = int | tuple[int, int]
Step = tuple[int, Kernel]  # width, kernel


class _Conv(nn.Module):
    """Convolution, batch normalization, ReLU."""

    def __init__(
        self, cin: int, cout: int, kernel: Kernel, stride: int = 1, padded: bool = True
    ) -> None:
        super().__init__()
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (kh // 2, kw // 2) if padded else 0
        self.conv = nn.Conv2d(cin, cout, (kh, kw), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(cout, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Branches side by side, and a branch that pools.

    chains: a branch's name -> its convolutions; two in a list take the same input and
    stand side by side. `pool`: the width of the convolution after the pooling; None:
    the block halves the image, by the last convolution of every branch and by max
    pooling. `largest`: pool by the maximum where the others take the mean.
    """

    def __init__(
        self,
        cin: int,
        chains: Mapping[str, Sequence[Step | list[Step]]],
        pool: int | None = None,
        largest: bool = False,
    ) -> None:
        super().__init__()
        self._chains: list[list[list[str]]] = []
        self._halves, self._largest = pool is None, largest
        self.width = 0
        for branch, chain in chains.items():
            width, names = cin, []
            for i, step in enumerate(chain, 1):
                fork = step if isinstance(step, list) else [step]
                last = i == len(chain)
                number = f"_{i}" if len(chain) > 1 else ""
                names.append(
                    [f"{branch}{number}{letter}" for letter in ("ab" if len(fork) > 1 else ("",))]
                )
                for name, (out, kernel) in zip(names[-1], fork, strict=True):
                    halve = last and self._halves
                    self.add_module(
                        name, _Conv(width, out, kernel, 2 if halve else 1, padded=not halve)
                    )
                width = sum(out for out, _ in fork)
            self._chains.append(names)
            self.width += width
        self.branch_pool = None if pool is None else _Conv(cin, pool, 1)
        self.width += cin if pool is None else pool

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for chain in self._chains:
            y = x
            for fork in chain:
                y = torch.cat([self.get_submodule(name)(y) for name in fork], 1)
            outputs.append(y)
        if self.branch_pool is None:
            return torch.cat([*outputs, F.max_pool2d(x, 3, 2)], 1)
        # TensorFlow's mean at a border is over the pixels that are there.
        pooled = (
            F.max_pool2d(x, 3, 1, 1)
            if self._largest
            else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        )
        return torch.cat([*outputs, self.branch_pool(pooled)], 1)


def _a(cin: int, pool: int) -> _Mixed:
    chains = {
        "branch1x1": [(64, 1)],
        "branch5x5": [(48, 1), (64, 5)],
        "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
    }
    return _Mixed(cin, chains, pool)


def _c(c: int) -> _Mixed:
    row, column = (1, 7), (7, 1)
    double = [(c, 1), (c, column), (c, row), (c, column), (192, row)]
    return _Mixed(
        768,
        {
            "branch1x1": [(192, 1)],
            "branch7x7": [(c, 1), (c, row), (192, column)],
            "branch7x7dbl": double,
        },
        192,
    )


def _e(cin: int, largest: bool) -> _Mixed:
    fork: list[Step] = [(384, (1, 3)), (384, (3, 1))]
    chains = {
        "branch1x1": [(320, 1)],
        "branch3x3": [(384, 1), fork],
        "branch3x3dbl": [(448, 1), (384, 3), fork],
    }
    return _Mixed(cin, chains, 192, largest)


class Inception2015(nn.Module):
    """Inception-v3.

    Szegedy et al., 2015, arXiv:1512.00567, as TensorFlow published it on 2015-12-05,
    with 1008 outputs. What sets it apart from the paper and from later Inception-v3:
    means at borders leave the padding out, and the last block pools by the maximum.
    Parameters are named as pytorch-fid and torch-fidelity name them.

    as_tensorflow: scale pixels v of 8 bits as (v - 128) / 128, as the original,
    torch-fidelity and clean-fid do;
    False: as v / 127.5 - 1, as pytorch-fid does.
    """

    dim, classes = 2048, 1008

    def __init__(self, as_tensorflow: bool = False) -> None:
        super().__init__()
        self._as_tensorflow = as_tensorflow
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2, padded=False)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3, padded=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = (
            _a(192, 32),
            _a(256, 64),
            _a(288, 64),
        )  # 35 x 35
        self.Mixed_6a = _Mixed(
            288, {"branch3x3": [(384, 3)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3)]}
        )
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (
            _c(128),
            _c(160),
            _c(160),
            _c(192),
        )  # 17 x 17
        seven = [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)]
        self.Mixed_7a = _Mixed(768, {"branch3x3": [(192, 1), (320, 3)], "branch7x7x3": seven})
        self.Mixed_7b, self.Mixed_7c = _e(1280, largest=False), _e(2048, largest=True)  # 8 x 8
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        """RGB images [N, 3, 299, 299] in [-1, 1] -> the last pooling [N, 2048]."""
        if self._as_tensorflow:
            x = (x * 127.5 - 0.5) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))

    def with_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and the logits [N, 1008] without their bias.

        The original inception score leaves it out.
        """
        features = self(x)
        return features, features @ self.fc.weight.T


def load(weights: str | Path | None, resizing: str | None) -> Extractor:
    """The extractor "inception-2015".

    weights: see `ganvas.metrics.features.base.weights_file`
    resizing: a name in `RESIZERS`; None: "legacy-pytorch". For others the network is
        computed as TensorFlow does
    """
    path = weights_file("inception-2015", FILES, SHA256, weights)
    resizing = resizing or "legacy-pytorch"
    with torch.device("meta"):
        net = Inception2015(as_tensorflow=resizing != "legacy-pytorch")
    net = filled(
        net, torch.load(path, map_location="cpu", weights_only=True), "inception-2015", path
    )
    return Extractor(
        "inception-2015",
        net,
        Inception2015.dim,
        SHA256,
        side=lambda longer: SIDE,
        resizing=resizing,
        distance="fid",
    )
