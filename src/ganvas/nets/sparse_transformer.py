"""Autoregressive transformers of images with sparse attention.

Generating Long Sequences with Sparse Transformers, Child et al., 2019,
arXiv:1904.10509. An image is a sequence of values, row by row, column by column,
channel by channel; each is predicted from those before.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from functools import lru_cache
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.layers import Dropout, Size, sides

Pattern = Literal["dense", "local", "strided", "fixed"]


def pattern_mask(
    pattern: Pattern,
    length: int,
    span: int,
    summary: int = 1,
    head: int = 0,
    heads: int = 1,
    device: torch.device | None = None,
) -> Tensor:
    """Which keys each query may see: bool [length, length], queries first.

    local: the last `span` positions
    strided: every `span`-th position (section 4.2)
    fixed: the own block of `span`, and the last `summary` positions of earlier blocks,
        of which each of `heads` heads has its own, counted from the end (section 4.2)
    """
    k = torch.arange(length, device=device)[None]
    q = k.T
    before = q - k
    causal = before >= 0
    if pattern == "dense":
        return causal
    if pattern == "local":
        return causal & (before < span)
    if pattern == "strided":
        return causal & (before % span == 0)
    end = span - summary * (head % heads)
    place = k % span
    columns = (place >= end - summary) & (place < end)
    return causal & ((q // span == k // span) | columns)


@lru_cache(maxsize=32)
def _masks(
    pattern: Pattern, length: int, span: int, summary: int, heads: int, device: torch.device
) -> Tensor:
    """The pattern's masks, bool [heads or 1, length, length]."""
    own = heads if pattern == "fixed" and heads * summary <= span else 1
    masks = [pattern_mask(pattern, length, span, summary, h, own, device) for h in range(own)]
    return torch.stack(masks)


def attend(
    q: Tensor, k: Tensor, v: Tensor, pattern: Pattern, span: int, summary: int = 1
) -> Tensor:
    """Attention [N, heads, length, d] along a pattern.

    "local" and "strided" compute no more than about what they see; "dense" and "fixed"
    compute all products. The length is a multiple of `span`.
    """
    _, heads, length, _ = q.shape
    if pattern == "dense":
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if pattern == "strided":  # every span-th position is a sequence of its own
        q, k, v = (x.unflatten(2, (-1, span)).transpose(2, 3) for x in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return out.transpose(2, 3).flatten(2, 3)
    if pattern == "local":  # a block sees itself and the block before
        blocks = [x.unflatten(2, (-1, span)) for x in (q, k, v)]
        keys, values = (
            torch.cat([F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :-1], x], 3) for x in blocks[1:]
        )
        seen = _window(span, length // span, q.device)
        return F.scaled_dot_product_attention(blocks[0], keys, values, attn_mask=seen).flatten(2, 3)
    mask = _masks(pattern, length, span, summary, heads, q.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@lru_cache(maxsize=8)
def _window(span: int, blocks: int, device: torch.device) -> Tensor:
    """What a block sees of the block before and of itself: [blocks, span, 2 span]."""
    q = torch.arange(span, device=device)[:, None] + span
    k = torch.arange(2 * span, device=device)[None]
    seen = ((q >= k) & (q - k < span)).expand(blocks, -1, -1).clone()
    seen[0, :, :span] = False  # there is nothing before the first
    return seen


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)): [N, length, width] -> the same.

    Queries and keys have half the width, the MLP `expansion` times (the authors' code).
    """

    def __init__(self, width: int, heads: int, pattern: Pattern, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.pattern: Pattern = pattern
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k = nn.Linear(width, width // 2), nn.Linear(width, width // 2)
        self.v, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = Dropout(dropout)

    def projections(self, x: Tensor) -> list[Tensor]:
        """Queries, keys and values [N, heads, length, d]."""
        x = self.norm1(x)
        parts = (self.q(x), self.k(x), self.v(x))
        return [p.unflatten(2, (self.heads, -1)).transpose(1, 2) for p in parts]

    def rest(self, x: Tensor, attended: Tensor) -> Tensor:
        """What follows the attention [N, heads, length, d]."""
        x = x + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        h = self.up(self.norm2(x))
        return x + self.dropout(self.down(h * torch.sigmoid(1.702 * h)))

    def forward(self, x: Tensor, span: int, summary: int) -> Tensor:
        """Map x [N, length, width], attending along the block's pattern."""
        q, k, v = self.projections(x)
        return self.rest(x, attend(q, k, v, self.pattern, span, summary))


class SparseTransformer(nn.Module):
    """Values [N, length] -> logits of each from those before, [N, length, levels].

    length = H W C. Positions are the sum of embeddings of row, column and channel.

    patterns: of the layers, repeated ("strided", "local", ... in turn)
    span: l, a row of values if None
    summary: c of "fixed"
    """

    def __init__(
        self,
        size: Size = 32,
        channels: int = 3,
        levels: int = 256,
        width: int = 256,
        layers: int = 128,
        heads: int = 2,
        patterns: Sequence[str] = ("strided", "local", "local", "local"),
        span: int | None = None,
        summary: int = 8,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        unknown = [p for p in patterns if p not in get_args(Pattern)]
        if unknown or not patterns:
            raise UserError(
                f"there is no attention pattern {unknown[:1]}; patterns are "
                f"{', '.join(get_args(Pattern))}"
            )
        height, breadth = sides(size)
        self.shape, self.levels = (height, breadth, channels), levels
        self.length = height * breadth * channels
        self.span, self.summary = span or breadth * channels, summary
        if self.length % self.span:
            raise UserError(
                f"span is {self.span}, and the {self.length} values of an image are no multiple of "
                "it: choose a divisor"
            )
        self.values = nn.Embedding(levels, width)
        self.places = nn.ModuleList(nn.Embedding(n, width) for n in self.shape)
        self.start = nn.Parameter(torch.empty(width))
        self.blocks = nn.ModuleList(
            Block(width, heads, patterns[i % len(patterns)], dropout)  # type: ignore[arg-type]
            for i in range(layers)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.logits = nn.Linear(width, levels, bias=False)
        self._initialize(width, layers)

    def _initialize(self, width: int, layers: int) -> None:
        """As in the authors' code: small steps of every layer, logits of 0."""
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, 0.0, math.sqrt(0.125 / m.in_features))
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
            elif isinstance(m, nn.Embedding):
                nn.init.normal_(m.weight, 0.0, 0.01)
        for block in self.blocks:
            for last in (block.out, block.down):
                assert isinstance(last, nn.Linear)
                std = math.sqrt(0.125 / 2 / last.in_features / layers)
                nn.init.normal_(last.weight, 0.0, std)
        nn.init.normal_(self.start, 0.0, 0.01)
        for weight in self.places.parameters():
            nn.init.normal_(weight, 0.0, 0.01 / math.sqrt(len(self.shape)))
        nn.init.zeros_(self.logits.weight)

    def positions(self) -> Tensor:
        """Embeddings of all positions, [length, width]."""
        index = (torch.arange(n, device=self.start.device) for n in self.shape)
        rows, columns, channels = (place(i) for place, i in zip(self.places, index, strict=True))
        grid = rows[:, None, None] + columns[None, :, None] + channels[None, None]
        return grid.flatten(0, 2)

    def forward(self, values: Tensor) -> Tensor:
        """Logits [N, length, levels] of values [N, length], each from those before."""
        before = torch.cat([self.start.expand(len(values), 1, -1), self.values(values[:, :-1])], 1)
        x = before + self.positions()
        for block in self.blocks:
            x = block(x, self.span, self.summary)
        return self.logits(self.norm(x))

    @torch.no_grad()
    def draw(self, noise: Tensor, temperature: float = 1.0) -> Generator[float, None, Tensor]:
        """Values [N, length], one after the other, for uniform noise [N, length].

        Keys and values of earlier positions are kept, so that a position costs one
        product with what it sees. Yields the part that is drawn; returns the values.
        """
        n, device = len(noise), noise.device
        out = torch.zeros(n, self.length, dtype=torch.int64, device=device)
        masks = [
            _masks(b.pattern, self.length, self.span, self.summary, b.heads, device)  # type: ignore[arg-type]
            for b in self.blocks
        ]
        stored: list[list[Tensor]] = [[] for _ in self.blocks]
        places = self.positions()
        x_before = self.start.expand(n, -1)
        for t in range(self.length):
            x = (x_before + places[t])[:, None]
            for i, block in enumerate(self.blocks):
                q, k, v = block.projections(x)  # type: ignore[operator]
                if not t:
                    stored[i] = [p.new_zeros(*p.shape[:2], self.length, p.shape[3]) for p in (k, v)]
                for kept, new in zip(stored[i], (k, v), strict=True):
                    kept[:, :, t] = new[:, :, 0]
                past = [kept[:, :, : t + 1] for kept in stored[i]]
                seen = masks[i][:, t : t + 1, : t + 1]
                attended = F.scaled_dot_product_attention(q, *past, attn_mask=seen)
                x = block.rest(x, attended)  # type: ignore[operator]
            p = (self.logits(self.norm(x[:, 0])).float() / temperature).softmax(-1)
            value = (p.cumsum(-1) < noise[:, t : t + 1]).sum(-1).clamp(max=self.levels - 1)
            out[:, t] = value
            x_before = self.values(value)
            yield (t + 1) / self.length
        return out
