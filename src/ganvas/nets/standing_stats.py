"""Standing statistics of batch norm.

Brock et al., 2018, arXiv:1809.11096, section 3.1 and appendix B.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganvas.core import distributed, rng


class Standing:
    """Batch norm statistics of a generator in evaluation, at any truncation.

    They are plain averages over `batches` of the images that it then generates, in
    place of running averages over training. Made once for each setting and kept; drawn
    from a seed of its own, so that a model makes the same images wherever it is loaded.
    """

    def __init__(self, batches: int) -> None:
        self.batches = batches
        self._kept: dict[tuple[float, int], list[Tensor]] = {}
        self._now: tuple[float, int] | None = None

    def __call__(self, net: nn.Module, make: Callable[[nn.Module], object], setting: float) -> None:
        """`make(net)` passes one batch through `net` as it is used at `setting`."""
        net = getattr(net, "net", net)  # the network itself, if another runtime executes it
        if net.training or not self.batches:
            return
        key = (setting, next(net.parameters())._version)  # other weights have other statistics
        if key == self._now:
            return
        norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        with torch.no_grad():
            if key not in self._kept:
                self._accumulate(norms, lambda: make(net))
                self._kept[key] = [s.clone() for m in norms for s in _statistics(m)]
            for old, new in zip(
                (s for m in norms for s in _statistics(m)), self._kept[key], strict=True
            ):
                old.copy_(new)
        self._now = key

    def _accumulate(
        self, norms: list[nn.modules.batchnorm._BatchNorm], make: Callable[[], object]
    ) -> None:
        momenta = [m.momentum for m in norms]
        for m in norms:
            m.reset_running_stats()
            m.momentum = None  # torch's name for a plain average
            m.train()
        try:
            with distributed.single_process(), rng.rows(None), torch.random.fork_rng():
                torch.manual_seed(rng.fold_in("standing"))
                for _ in range(self.batches):
                    make()
        finally:
            for m, momentum in zip(norms, momenta, strict=True):
                m.momentum = momentum
                m.eval()


def _statistics(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var
