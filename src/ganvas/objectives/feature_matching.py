"""Feature matching: generated images with the features of real ones.

In float32 or wider.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from ganvas.core import distributed
from ganvas.objectives.precision import wide

# Weights of VGG19's relu1_1 to relu5_1 (pix2pixHD and SPADE, from the authors' code).
VGG_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


def mean_features(got: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Sum over layers of the mean square of E got - E wanted.

    [N, C, h, w] each, expectations over the whole batch on all ranks. Salimans et al.,
    2016, arXiv:1606.03498, section 3.1.
    """
    apart = [
        distributed.mean(wide(g).mean(0) - wide(w).mean(0))
        for g, w in zip(got, wanted, strict=True)
    ]
    return torch.stack([d.square().mean() for d in apart]).sum()


def matched_maps(got: Sequence[Sequence[Tensor]], wanted: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean over scales of the sum over inner maps of the mean |got - wanted|.

    Maps as of `nets.multiscale`, whose last are scores and take no part. Wang et al.,
    2018, arXiv:1711.11585, equation 4.
    """
    scales = [
        torch.stack(
            [l1_loss(wide(g), wide(w).detach()) for g, w in zip(a[:-1], b[:-1], strict=True)]
        )
        for a, b in zip(got, wanted, strict=True)
    ]
    return torch.stack([maps.sum() for maps in scales]).mean()


def perceptual(got: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Sum over VGG19's five blocks of |got - wanted|, weighted by `VGG_WEIGHTS`."""
    parts = zip(VGG_WEIGHTS, got, wanted, strict=True)
    return torch.stack([w * l1_loss(wide(a), wide(b).detach()) for w, a, b in parts]).sum()
