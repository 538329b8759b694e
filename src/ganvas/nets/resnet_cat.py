"""CUT's `resnet_cat` generator: residual blocks before and after a style is appended.

In the layout of taesungp/contrastive-unpaired-translation (`G_Resnet`), after the
autoencoders of UNIT and MUNIT (`nets.unit`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.layers import divisible
from ganvas.nets.norm import InstanceNorm2d
from ganvas.nets.unit import LayerNorm


class _Conv(nn.Conv2d):
    """Convolution with reflected borders that keeps the size, or halves it."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            channels_in, channels_out, kernel, stride, (kernel - 1) // 2, padding_mode="reflect"
        )


class _Block(nn.Module):
    """x + norm(conv(ReLU(norm(conv(x))))), 3x3, instance norm, [N, C, H, W]."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([_Conv(width, inner, 3), _Conv(inner, width, 3)])
        self.norms = nn.ModuleList([InstanceNorm2d(inner), InstanceNorm2d(width)])

    def forward(self, x: Tensor) -> Tensor:
        (first, second), (norm, last) = self.convs, self.norms
        return x + last(second(F.relu(norm(first(x)))))


class Generator(nn.Module):
    """Images [N, channels_in, H, W] -> images [N, channels_out, H, W] in [-1, 1].

    7x7 to `width` channels, `halvings` of 4x4 that double them, `blocks` residual
    blocks; the style is appended; as many blocks more, which keep its channels;
    `halvings` of repeated pixels and 5x5 with layer norm, after each of which the style
    is appended again; 7x7 and tanh. H and W multiples of 2^`halvings`.

    style: its length; 0: there is none
    """

    def __init__(
        self,
        channels_in: int = 3,
        channels_out: int = 3,
        width: int = 64,
        halvings: int = 2,
        blocks: int = 4,
        style: int = 0,
    ) -> None:
        super().__init__()
        self.style, self.multiple = style, 1 << halvings
        widths = [width << i for i in range(halvings + 1)]
        last = widths[-1]
        downs = [_Conv(a, 2 * a, 4, 2) for a in widths[:-1]]
        self.down = nn.ModuleList([_Conv(channels_in, width, 7), *downs])
        self.norms = nn.ModuleList(InstanceNorm2d(c) for c in widths)
        self.blocks = nn.ModuleList(_Block(last, last) for _ in range(blocks))
        self.styled = nn.ModuleList(_Block(last + style, last) for _ in range(blocks))
        self.up = nn.ModuleList(_Conv(2 * a + style, a, 5) for a in reversed(widths[:-1]))
        self.up_norms = nn.ModuleList(LayerNorm(a) for a in reversed(widths[:-1]))
        self.output = _Conv(width + style, channels_out, 7)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """Translate images x [N, channels_in, H, W].

        style: [N, style] if the generator has one

        Raises `UserError` for sides that are no multiples of 2^`halvings`, and for a
        missing style or one of another length.
        """
        divisible(x, self.multiple, least=2 * self.multiple)
        shape = None if style is None else list(style.shape)
        if shape != ([len(x), self.style] if self.style else None):
            raise UserError(
                f"this generator got a style of {shape or 'no length'}; expected "
                + (f"[{len(x)}, {self.style}]" if self.style else "none")
            )

        def with_style(x: Tensor) -> Tensor:
            if style is None:
                return x
            planes = style[:, :, None, None].to(x.dtype)
            return torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1)

        for conv, norm in zip(self.down, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        for block in self.blocks:
            x = block(x)
        x = with_style(x)
        for block in self.styled:
            x = block(x)
        for conv, norm in zip(self.up, self.up_norms, strict=True):
            x = with_style(F.relu(norm(conv(F.interpolate(x, scale_factor=2)))))
        return torch.tanh(self.output(x))
