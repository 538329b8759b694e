"""Self-attention over an image's features: Self-Attention Generative Adversarial Networks, Zhang et al., 2018,
arXiv:1805.08318, section 3, with the sizes of the authors' code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """x + gamma o(A h(x)), A = softmax over places of f(x)^T g(x): every place takes from all others. [N, C, H, W], the same.

    1x1 convolutions without bias: queries and keys of C/8 channels, values of C/2; keys and values are pooled by the maximum
    of 2x2 (the authors' code). gamma starts from 0. Names are ajbrock/BigGAN-PyTorch's: theta (queries), phi (keys), g
    (values), o."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner, values = max(channels // 8, 1), max(channels // 2, 1)
        self.theta = nn.Conv2d(channels, inner, 1, bias=False)
        self.phi = nn.Conv2d(channels, inner, 1, bias=False)
        self.g = nn.Conv2d(channels, values, 1, bias=False)
        self.o = nn.Conv2d(values, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        values = F.max_pool2d(self.g(x), 2).flatten(2)  # [N, C/2, HW/4]
        taken = values @ self.maps(x).to(values.dtype).transpose(1, 2)  # [N, C/2, HW]
        return x + self.gamma * self.o(taken.unflatten(2, x.shape[2:]))

    def maps(self, x: Tensor) -> Tensor:
        """[N, HW, HW/4]: how much each place takes from each 2x2 of places; each row sums to 1. In float32."""
        query, key = self.theta(x).flatten(2), F.max_pool2d(self.phi(x), 2).flatten(2)
        return (query.transpose(1, 2) @ key).float().softmax(2)
