"""CUT's networks of StyleGAN2's layers, computed from the tensors of the file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.inference.importers import import_network
from ganvas.inference.importers.as_method import import_model
from ganvas.inference.load import load

State = dict[str, Tensor]
TAPS = torch.tensor([1.0, 3, 3, 1])
KERNEL = TAPS.outer(TAPS) / 64


def conv(name: str, a: int, b: int, kernel: int, at: int = 0) -> State:
    """A convolution and its activation, which has the bias."""
    return {
        f"{name}.{at}.weight": torch.randn(b, a, kernel, kernel),
        f"{name}.{at + 1}.bias": torch.randn(1, b, 1, 1) / 4,
    }


def block(name: str, a: int, b: int, down: bool) -> State:
    state = conv(f"{name}.conv1", a, a, 3) | conv(f"{name}.conv2", a, b, 3, at=int(down))
    if down:
        state |= {f"{name}.conv2.0.kernel": KERNEL.clone(), f"{name}.skip.0.kernel": KERNEL.clone()}
        state[f"{name}.skip.1.weight"] = torch.randn(b, a, 1, 1)
    return state


def generator(widths: list[int], flat: int) -> State:
    state = conv("encoder.convs.1", 3, widths[0], 1)
    pairs = list(pairwise(widths))
    for i, (a, b) in enumerate(pairs):
        state |= block(f"encoder.convs.{2 + i}", a, b, down=True)
    for i in range(flat):
        for name in (f"encoder.convs.{2 + len(pairs) + i}", f"decoder.convs.{i}"):
            state |= block(name, widths[-1], widths[-1], down=False)
    for i, (a, b) in enumerate(reversed(pairs)):
        name = f"decoder.convs.{flat + i}"
        state |= {
            f"{name}.conv.weight": torch.randn(1, a, b, 3, 3),
            f"{name}.conv.blur.kernel": KERNEL * 4,
            f"{name}.noise.weight": torch.zeros(1),
            f"{name}.activate.bias": torch.randn(1, a, 1, 1) / 4,
        }
    return state | conv(f"decoder.convs.{flat + len(pairs)}", widths[0], 3, 1)


def filtered(x: Tensor, kernel: Tensor, pad: int) -> Tensor:
    channels = x.shape[1]
    return F.conv2d(F.pad(x, [pad] * 4), kernel.expand(channels, 1, 4, 4), groups=channels)


def scaled(state: State, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight / weight[0].numel() ** 0.5, None, stride, padding)


def layer(state: State, name: str, x: Tensor) -> Tensor:
    """A convolution, which may halve, and its activation."""
    if f"{name}.0.kernel" in state:
        x = scaled(state, f"{name}.1", filtered(x, state[f"{name}.0.kernel"], 2), stride=2)
        return F.leaky_relu(x + state[f"{name}.2.bias"], 0.2) * 2**0.5
    x = scaled(state, f"{name}.0", x, padding=state[f"{name}.0.weight"].shape[-1] // 2)
    return F.leaky_relu(x + state[f"{name}.1.bias"], 0.2) * 2**0.5


def residual(state: State, name: str, x: Tensor) -> Tensor:
    h = layer(state, f"{name}.conv2", layer(state, f"{name}.conv1", x))
    if f"{name}.skip.1.weight" in state:
        x = scaled(state, f"{name}.skip.1", filtered(x, KERNEL, 1), stride=2)
    return (h + x) / 2**0.5


def doubled(state: State, name: str, x: Tensor) -> Tensor:
    weight = state[f"{name}.conv.weight"][0]
    weight = weight / weight[0].numel() ** 0.5
    weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    x = filtered(x, state[f"{name}.conv.blur.kernel"], 1) + state[f"{name}.activate.bias"]
    return F.leaky_relu(x, 0.2) * 2**0.5


@pytest.mark.parametrize(("widths", "flat"), [([4, 6], 3), ([2, 3, 5], 1)])
def test_a_generator_translates_as_in_its_project(tmp_path: Path, widths: list[int], flat: int):
    """SinCUT's has one halving and six blocks; smallstylegan2 has two."""
    torch.manual_seed(0)
    state = generator(widths, flat)
    torch.save(state, tmp_path / "net_G.pth")
    x = torch.rand(2, 3, 16, 24) * 2 - 1
    expected, downs = layer(state, "encoder.convs.1", x), len(widths) - 1
    for i in range(2, 2 + downs + flat):
        expected = residual(state, f"encoder.convs.{i}", expected)
    for i in range(flat):
        expected = residual(state, f"decoder.convs.{i}", expected)
    for i in range(flat, flat + downs):
        expected = doubled(state, f"decoder.convs.{i}", expected)
    expected = layer(state, f"decoder.convs.{flat + downs}", expected)
    net = import_network(tmp_path / "net_G.pth")
    torch.testing.assert_close(net(x), expected)
    import_model(tmp_path / "net_G.pth", tmp_path / "model")
    made = load(tmp_path / "model").translate(x[:1], output="torch")
    torch.testing.assert_close(made, expected[:1])


def test_a_discriminator_scores_as_in_its_project(tmp_path: Path):
    """Without the minibatch standard deviation, which that project has switched off."""
    torch.manual_seed(0)
    state = conv("convs.0", 3, 2, 1) | block("convs.1", 2, 4, down=True)
    state |= block("convs.2", 4, 6, down=True) | conv("final_conv", 6, 6, 3)
    for i, (a, b) in enumerate([(96, 6), (6, 1)]):
        state[f"final_linear.{i}.weight"] = torch.randn(b, a)
        state[f"final_linear.{i}.bias"] = torch.randn(b)
    torch.save(state, tmp_path / "net_D.pth")
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    h = layer(state, "convs.0", x)
    for i in (1, 2):
        h = residual(state, f"convs.{i}", h)
    h = layer(state, "final_conv", h).flatten(1)
    h = F.linear(h, state["final_linear.0.weight"] / 96**0.5) + state["final_linear.0.bias"]
    h = F.leaky_relu(h, 0.2) * 2**0.5
    h = F.linear(h, state["final_linear.1.weight"] / 6**0.5) + state["final_linear.1.bias"]
    torch.testing.assert_close(import_network(tmp_path / "net_D.pth")(x), h)
