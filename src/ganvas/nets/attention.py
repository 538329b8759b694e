"""Self-attention over an image's features.

Self-Attention Generative Adversarial Networks, Zhang et al., 2018, arXiv:1805.08318,
section 3, with the sizes of the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Self-attention over places: x + gamma o(A h(x)).

    A = softmax over places of f(x)^T g(x): every place takes from all others. [N, C, H,
    W], the same.

    1x1 convolutions without bias: queries and keys of C/8 channels, values of C/2; keys
    and values are pooled by the maximum of 2x2 (the authors' code). gamma starts from
    0. Names are ajbrock/BigGAN-PyTorch's: theta (queries), phi (keys), g (values), o.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner, values = max(channels // 8, 1), max(channels // 2, 1)
        self.theta = nn.Conv2d(channels, inner, 1, bias=False)
        self.phi = nn.Conv2d(channels, inner, 1, bias=False)
        self.g = nn.Conv2d(channels, values, 1, bias=False)
        self.o = nn.Conv2d(values, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Map features [N, C, H, W] to the same shape, H and W at least 2."""
        values = F.max_pool2d(self.g(x), 2).flatten(2)  # [N, C/2, HW/4]
        taken = values @ self.maps(x).to(values.dtype).transpose(1, 2)  # [N, C/2, HW]
        return x + self.gamma * self.o(taken.unflatten(2, x.shape[2:]))

    def maps(self, x: Tensor) -> Tensor:
        """[N, HW, HW/4]: how much each place takes from each 2x2 of places.

        Each row sums to 1. In float32.
        """
        query, key = self.theta(x).flatten(2), F.max_pool2d(self.phi(x), 2).flatten(2)
        return (query.transpose(1, 2) @ key).float().softmax(2)


@contextmanager
def attention_maps(
    net: nn.Module, points: Sequence[tuple[float, float]]
) -> Iterator[dict[str, list[Tensor]]]:
    """Record the maps of `net`'s attention layers, by the layers' names, in a context.

    Every forward pass of a layer adds a tensor [N, points, h, w], on the CPU. A map
    sums to 1; its cells are 2x2 of the layer's places.

    points: query points (down, across), each from 0 to 1 of the sides.
    """
    maps: dict[str, list[Tensor]] = {}

    def look(name: str, layer: SelfAttention, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        (x,) = args
        height, width = x.shape[2:]
        rows = [
            min(int(a * height), height - 1) * width + min(int(b * width), width - 1)
            for a, b in points
        ]
        with torch.no_grad():
            taken = layer.maps(x)[:, rows].unflatten(2, (height // 2, width // 2))
        maps.setdefault(name, []).append(taken.cpu())

    layers = [(n, m) for n, m in net.named_modules() if isinstance(m, SelfAttention)]
    hooks = [m.register_forward_pre_hook(partial(look, n, m)) for n, m in layers]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()
