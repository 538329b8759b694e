"""Feature matching: generated images with the mean features of real ones.

In float32 or wider.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganvas.core import distributed
from ganvas.objectives.precision import wide


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
