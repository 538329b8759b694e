"""CUT's `resnet_cat` generator under its own names, computed from the tensors of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.core.errors import UserError
from ganvas.inference.importers import import_network

State = dict[str, Tensor]


def file(halvings: int, blocks: int, style: int, width: int = 4) -> State:
    def conv(name: str, a: int, b: int, kernel: int) -> State:
        weight = torch.randn(b, a, kernel, kernel) / (a * kernel**2) ** 0.5
        return {f"{name}.conv.weight": weight, f"{name}.conv.bias": torch.randn(b)}

    encoder, last = "enc_content.model", width << halvings
    state = conv(f"{encoder}.0", 3, width, 7)
    for i in range(halvings):
        state |= conv(f"{encoder}.{i + 1}", width << i, width << i + 1, 4)
    styled = "dec.resnet_block" if style else "dec.model.0"
    for i in range(blocks):
        for name, wide in ((f"{encoder}.{halvings + 1}", last), (styled, last + style)):
            state |= conv(f"{name}.model.{i}.model.0", wide, last, 3)
            state |= conv(f"{name}.model.{i}.model.1", last, wide, 3)
    for i in range(halvings):
        name, a = f"dec.block_{i}.1" if style else f"dec.model.{2 * i + 2}", last >> i
        state |= conv(name, a + style, a // 2, 5)
        state |= {f"{name}.norm.{k}": torch.rand(a // 2) + 0.5 for k in ("gamma", "beta")}
    name = f"dec.block_{halvings}" if style else f"dec.model.{2 * halvings + 1}"
    return state | conv(name, width + style, 2, 7)


def translated(state: State, x: Tensor, y: Tensor | None, halvings: int, blocks: int) -> Tensor:
    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        x = F.pad(x, [(weight.shape[-1] - 1) // 2] * 4, mode="reflect")
        return F.conv2d(x, weight, state[f"{name}.conv.bias"], stride)

    def normalized(x: Tensor) -> Tensor:
        mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
        return (x - mean) / (var + 1e-5).sqrt()

    def residual(x: Tensor, name: str) -> Tensor:
        for i in range(blocks):
            h = normalized(conv(x, f"{name}.model.{i}.model.0")).relu()
            x = x + normalized(conv(h, f"{name}.model.{i}.model.1"))
        return x

    def with_style(x: Tensor) -> Tensor:
        return x if y is None else torch.cat([x, y[:, :, None, None] + 0 * x[:, :1]], 1)

    for i in range(halvings + 1):
        x = normalized(conv(x, f"enc_content.model.{i}", 2 if i else 1)).relu()
    x = with_style(residual(x, f"enc_content.model.{halvings + 1}"))
    x = residual(x, "dec.model.0" if y is None else "dec.resnet_block")
    for i in range(halvings):
        name = f"dec.model.{2 * i + 2}" if y is None else f"dec.block_{i}.1"
        x = conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3), name)
        flat = x.flatten(1)
        mean, std = (v[:, None, None, None] for v in (flat.mean(1), flat.std(1)))
        x = (x - mean) / (std + 1e-5) * state[f"{name}.norm.gamma"].view(-1, 1, 1)
        x = with_style((x + state[f"{name}.norm.beta"].view(-1, 1, 1)).relu())
    name = f"dec.model.{2 * halvings + 1}" if y is None else f"dec.block_{halvings}"
    return conv(x, name).tanh()


@torch.no_grad()
@pytest.mark.parametrize(
    ("halvings", "blocks", "style"), [(2, 4, 0), (1, 0, 0), (0, 1, 0), (2, 1, 5), (0, 2, 1)]
)
def test_generators(halvings: int, blocks: int, style: int, tmp_path: Path) -> None:
    state = file(halvings, blocks, style)
    torch.save(state, tmp_path / "latest_net_G.pth")
    net = import_network(tmp_path / "latest_net_G.pth")
    x, y = torch.randn(2, 3, 16, 24), torch.randn(2, style) if style else None
    expected = translated(state, x, y, halvings, blocks)
    torch.testing.assert_close(net(x, *([y] if style else [])), expected, rtol=1e-4, atol=1e-4)
    wanted = rf"\[2, {style}\]" if style else "none"
    with pytest.raises(UserError, match=f"got a style of .*; expected {wanted}"):
        net(x, None if style else torch.randn(2, 1))
