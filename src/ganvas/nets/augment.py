"""Differentiable augmentation: what a discriminator sees is changed at random, real and generated images alike, so that it
cannot learn a small data set by heart and the generator does not learn the changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ganvas import draw

Change = Literal["color", "translation", "cutout"]


class DiffAugment(nn.Module):
    """A discriminator `D` behind differentiable changes of its images [N, C, H, W]. Zhao et al., 2020, arXiv:2006.10738,
    section 4 and its appendix for the ranges. In evaluation it is `D`.

    `color`: brightness moved by U(-.5, .5) (of a range of 2), saturation times U(0, 2) (nothing for gray images), contrast
    times U(.5, 1.5). `translation`: shifted by whole pixels, up to `shift` of each side (the paper: 1/8), zeros where
    nothing was. `cutout`: a square of half the side set to zero. Twice differentiable, so that penalties may pass."""

    apart = False  # it draws

    def __init__(
        self,
        D: Callable[..., nn.Module],
        policy: Sequence[Change] = ("color", "translation", "cutout"),
        shift: float = 0.125,
        **shape: object,
    ) -> None:
        super().__init__()
        self.D = D(**shape)
        self.policy, self.shift = tuple(policy), shift

    def forward(self, x: Tensor, *args: object, **kwargs: object) -> Tensor:
        if self.training:
            for change in self.policy:
                x = getattr(self, f"_{change}")(x)
        return self.D(x, *args, **kwargs)

    def _color(self, x: Tensor) -> Tensor:
        brightness, saturation, contrast = (draw.uniform(len(x), 1, 1, 1, device=x.device) for _ in range(3))
        x = x + (brightness - 0.5)
        gray = x.mean(1, keepdim=True)
        x = (x - gray) * (saturation * 2) + gray
        mean = x.mean((1, 2, 3), keepdim=True)
        return (x - mean) * (contrast + 0.5) + mean

    def _translation(self, x: Tensor) -> Tensor:
        for axis in (2, 3):
            side = x.shape[axis]
            most = round(self.shift * side)
            by = draw.integers(len(x), 2 * most + 1, device=x.device) - most
            at = (torch.arange(side, device=x.device) + by[:, None]).clamp(
                -1, side
            ) + 1  # into x with a zero either side
            padding = (0, 0, 1, 1) if axis == 2 else (1, 1)
            at = at[:, None, :, None] if axis == 2 else at[:, None, None, :]
            x = nn.functional.pad(x, padding).gather(axis, at.expand(x.shape))
        return x

    def _cutout(self, x: Tensor) -> Tensor:
        inside = torch.ones((), dtype=torch.bool, device=x.device)
        for axis in (2, 3):
            side = x.shape[axis]
            width = round(side / 2)
            centre = draw.integers(len(x), side + (1 - width % 2), device=x.device)
            place = torch.arange(side, device=x.device)
            hit = (place >= (centre - width // 2)[:, None]) & (place < (centre - width // 2 + width)[:, None])
            inside = inside & (hit[:, None, :, None] if axis == 2 else hit[:, None, None, :])
        return x * ~inside
