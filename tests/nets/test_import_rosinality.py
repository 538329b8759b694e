"""StyleGAN2 under the names of rosinality/stylegan2-pytorch, by the paper's equations."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.core.errors import UserError
from ganvas.inference.importers import as_method, import_network
from ganvas.inference.load import load

State = dict[str, Tensor]
WIDTHS = {4: 6, 8: 5, 16: 4}


def kernel(taps: tuple[int, ...], gain: float) -> Tensor:
    row = torch.tensor(taps, dtype=torch.float32)
    return row.outer(row) * gain / row.sum() ** 2


def generator_file(side: int, layers: int, taps: tuple[int, ...], style: int = 4) -> State:
    """The tensors of a generator."""

    def modulated(name: str, c: int, out: int, side: int, up: bool = False) -> State:
        to_image = "to_rgb" in name
        state = {
            f"{name}.conv.weight": torch.randn(1, out, c, *[1 if to_image else 3] * 2),
            f"{name}.conv.modulation.weight": torch.randn(c, style),
            f"{name}.conv.modulation.bias": torch.rand(c) + 0.5,
        }
        if to_image:
            state[f"{name}.bias"] = torch.randn(1, out, 1, 1)
            return {**state, **({f"{name}.upsample.kernel": kernel((1, 3, 3, 1), 4)} if up else {})}
        state |= {f"{name}.noise.weight": torch.rand(1), f"{name}.activate.bias": torch.randn(out)}
        return {**state, **({f"{name}.conv.blur.kernel": kernel(taps, 4)} if up else {})}

    state = {"input.input": torch.randn(1, WIDTHS[4], 4, 4)}
    for i in range(layers):
        state[f"style.{i + 1}.weight"] = 100 * torch.randn(style, style)
        state[f"style.{i + 1}.bias"] = 100 * torch.rand(style)
    state |= modulated("conv1", WIDTHS[4], WIDTHS[4], 4)
    state |= modulated("to_rgb1", WIDTHS[4], 3, 4)
    state["noises.noise_0"] = torch.randn(1, 1, 4, 4)
    for i, s in enumerate(s for s in (8, 16) if s <= side):
        state |= modulated(f"convs.{2 * i}", WIDTHS[s // 2], WIDTHS[s], s, up=True)
        state |= modulated(f"convs.{2 * i + 1}", WIDTHS[s], WIDTHS[s], s)
        state |= modulated(f"to_rgbs.{i}", WIDTHS[s], 3, s, up=True)
        state |= {f"noises.noise_{2 * i + k}": torch.randn(1, 1, s, s) for k in (1, 2)}
    return state


def doubled(x: Tensor, taps: Tensor) -> Tensor:
    """Zeros between the pixels, then a filter of even length."""
    n, c, h, w = x.shape
    wide = x.new_zeros(n, c, h, 2, w, 2)
    wide[:, :, :, 0, :, 0] = x
    before = len(taps) // 2
    wide = F.pad(wide.reshape(n, c, 2 * h, 2 * w), [before, before - 1] * 2)
    return F.conv2d(wide, taps.expand(c, 1, -1, -1), groups=c)


def styles(state: State, z: Tensor, lr: float = 0.01) -> Tensor:
    w, i = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt(), 1
    while f"style.{i}.weight" in state:
        w = w @ state[f"style.{i}.weight"].T * lr / math.sqrt(w.shape[1])
        w = F.leaky_relu(w + lr * state[f"style.{i}.bias"], 0.2) * math.sqrt(2)
        i += 1
    return w


def generated(state: State, w: Tensor) -> Tensor:
    """Equations 1 and 3 of arXiv:1912.04958, one image at a time."""

    def modulated(name: str, x: Tensor, up: bool = False) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        modulation = state[f"{name}.conv.modulation.weight"]
        s = w @ modulation.T / math.sqrt(w.shape[1]) + state[f"{name}.conv.modulation.bias"]
        weight = weight * s[:, None, :, None, None] / math.sqrt(weight[0, 0].numel())
        if "to_rgb" in name:
            x = torch.cat([F.conv2d(row, k) for row, k in zip(x.split(1), weight, strict=True)])
            return x + state[f"{name}.bias"]
        weight = weight / (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
        rows = []
        for row, k in zip(x.split(1), weight, strict=True):
            if up:
                taps = state[f"{name}.conv.blur.kernel"]
                row = F.conv_transpose2d(row, k.transpose(0, 1), stride=2)
                row = F.pad(row, [len(taps) // 2 - 1] * 4)
                rows.append(F.conv2d(row, taps.expand(len(k), 1, -1, -1), groups=len(k)))
            else:
                rows.append(F.conv2d(row, k, padding=1))
        number = 0 if name == "conv1" else int(name.split(".")[1]) + 1
        noise = state[f"noises.noise_{number}"] * state[f"{name}.noise.weight"]
        bias = state[f"{name}.activate.bias"].view(-1, 1, 1)
        return F.leaky_relu(torch.cat(rows) + noise + bias, 0.2) * math.sqrt(2)

    x = modulated("conv1", state["input.input"].expand(len(w), -1, -1, -1))
    image, i = modulated("to_rgb1", x), 0
    while f"to_rgbs.{i}.bias" in state:
        x = modulated(f"convs.{2 * i + 1}", modulated(f"convs.{2 * i}", x, up=True))
        image = doubled(image, state[f"to_rgbs.{i}.upsample.kernel"]) + modulated(f"to_rgbs.{i}", x)
        i += 1
    return image


@torch.no_grad()
@pytest.mark.parametrize(
    ("side", "layers", "taps"),
    [(16, 2, (1, 3, 3, 1)), (8, 0, (1, 1)), (4, 1, (1, 3, 3, 1)), (8, 1, (1, 2, 5, 5, 2, 1))],
)
def test_generators(side: int, layers: int, taps: tuple[int, ...], tmp_path: Path) -> None:
    state = generator_file(side, layers, taps)
    z, mean = torch.randn(2, 4), torch.randn(4)
    torch.save({"g_ema": state, "latent_avg": mean}, tmp_path / "converted.pt")
    net: Any = import_network(tmp_path / "converted.pt")
    w = styles(state, z)
    torch.testing.assert_close(net(z), generated(state, w), rtol=1e-4, atol=1e-4)
    near = generated(state, mean + 0.5 * (w - mean))
    torch.testing.assert_close(net(z, truncation=0.5), near, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_checkpoints_of_trainings(tmp_path: Path) -> None:
    """With the arguments of the script; the mean style is that of many latents."""
    state, other = (generator_file(8, 2, (1, 3, 3, 1)) for _ in range(2))
    arguments = argparse.Namespace(size=8, lr=0.002, path="images")
    checkpoint = {"g": other, "d": {"x.y": torch.zeros(1)}, "g_ema": state, "g_optim": {}}
    checkpoint |= {"args": arguments, "ada_aug_p": 0.0}
    torch.save(checkpoint, tmp_path / "550000.pt")
    net: Any = import_network(tmp_path / "550000.pt")
    mean = styles(state, torch.randn(50_000, 4)).mean(0)
    torch.testing.assert_close(net.w_avg, mean, rtol=0.1, atol=0.1)
    z = torch.randn(2, 4)
    for part, tensors in (("g", other), ("g_ema", state)):
        net = import_network(tmp_path / "550000.pt", part)
        expected = generated(tensors, styles(tensors, z))
        torch.testing.assert_close(net(z), expected, rtol=1e-4, atol=1e-4)
    net = import_network(tmp_path / "550000.pt", options={"lr_mlp": "1"})
    torch.testing.assert_close(net.styles(z)[:, 0], styles(state, z, lr=1))
    mean = styles(state, torch.randn(50_000, 4), lr=1).mean(0)
    torch.testing.assert_close(net.w_avg, mean, rtol=0.1, atol=0.1 * mean.abs().max().item())
    header = as_method.import_model(tmp_path / "550000.pt", tmp_path / "m")
    assert header.get("imported") == "StyleGAN2 generator (rosinality/stylegan2-pytorch)"
    assert load(tmp_path / "m").sample(2, truncation=0.7, output="torch").shape == (2, 3, 8, 8)


@torch.no_grad()
def test_early_generators_keep_no_noise(tmp_path: Path) -> None:
    state = generator_file(8, 1, (1, 3, 3, 1))
    torch.save({k: v for k, v in state.items() if "noise_" not in k}, tmp_path / "g.pt")
    net: Any = import_network(tmp_path / "g.pt")
    layers = [net.synthesis.flat[0], net.synthesis.up[0], net.synthesis.flat[1]]
    for i, layer in enumerate(layers):
        state[f"noises.noise_{i}"] = layer.noise.fixed[None, None]
    z = torch.randn(2, 4)
    torch.testing.assert_close(net(z), generated(state, styles(state, z)), rtol=1e-4, atol=1e-4)


def test_filters(tmp_path: Path) -> None:
    for taps, gain, says in (
        ((1, 2, 1), 1.0, "convs' kernel has 3 taps, expected an even number"),
        ((1, 2, 3, 4), 1.0, "convs' kernel has 4 taps, expected .* the same from both ends"),
        ((1, 3, 3, 1), 0.5, r"convs' kernel has a sum of 2, expected 4"),
    ):
        state = generator_file(8, 1, taps)
        state["convs.0.conv.blur.kernel"] *= gain
        torch.save(state, tmp_path / "g.pt")
        with pytest.raises(UserError, match=says):
            import_network(tmp_path / "g.pt")


# ---------------------------------------------------------------- discriminators


def discriminator_file(side: int, taps: tuple[int, ...]) -> State:
    state = {"convs.0.0.weight": torch.randn(WIDTHS[side], 3, 1, 1)}
    state["convs.0.1.bias"] = torch.randn(WIDTHS[side])
    sides = [s for s in (16, 8) if s <= side]
    for i, s in enumerate(sides, start=1):
        a, b, name = WIDTHS[s], WIDTHS[s // 2], f"convs.{i}"
        state |= {
            f"{name}.conv1.0.weight": torch.randn(a, a, 3, 3),
            f"{name}.conv1.1.bias": torch.randn(a),
            f"{name}.conv2.0.kernel": kernel(taps, 1),
            f"{name}.conv2.1.weight": torch.randn(b, a, 3, 3),
            f"{name}.conv2.2.bias": torch.randn(b),
            f"{name}.skip.0.kernel": kernel(taps, 1),
            f"{name}.skip.1.weight": torch.randn(b, a, 1, 1),
        }
    c = WIDTHS[4]
    return {
        **state,
        "final_conv.0.weight": torch.randn(c, c + 1, 3, 3),
        "final_conv.1.bias": torch.randn(c),
        "final_linear.0.weight": torch.randn(c, c * 16),
        "final_linear.0.bias": torch.randn(c),
        "final_linear.1.weight": torch.randn(1, c),
        "final_linear.1.bias": torch.randn(1),
    }


def scored(state: State, x: Tensor) -> Tensor:
    """Figure 7c of the paper."""

    def conv(x: Tensor, name: str, bias: str, stride: int = 1, padding: int = 0) -> Tensor:
        weight = state[f"{name}.weight"]
        x = F.conv2d(x, weight / math.sqrt(weight[0].numel()), None, stride, padding)
        return act(x, bias) if bias else x

    def act(x: Tensor, bias: str) -> Tensor:
        b = state[f"{bias}.bias"].view(-1, *[1] * (x.dim() - 2))
        return F.leaky_relu(x + b, 0.2) * math.sqrt(2)

    def blurred(x: Tensor, name: str, padding: int) -> Tensor:
        k = state[f"{name}.kernel"].expand(x.shape[1], 1, -1, -1)
        return F.conv2d(x, k, padding=padding, groups=x.shape[1])

    x, i = conv(x, "convs.0.0", "convs.0.1"), 1
    while (name := f"convs.{i}") + ".conv1.0.weight" in state:
        half = len(state[f"{name}.skip.0.kernel"]) // 2
        h = conv(x, f"{name}.conv1.0", f"{name}.conv1.1", padding=1)
        h = conv(blurred(h, f"{name}.conv2.0", half), f"{name}.conv2.1", f"{name}.conv2.2", 2)
        skip = conv(blurred(x, f"{name}.skip.0", half - 1), f"{name}.skip.1", "", 2)
        x, i = (h + skip) / math.sqrt(2), i + 1
    groups = x.view(min(len(x), 4), -1, *x.shape[1:])
    std = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
    std = std.repeat(len(groups))[:, None, None, None].expand(-1, 1, 4, 4)
    h = conv(torch.cat([x, std], 1), "final_conv.0", "final_conv.1", padding=1).flatten(1)
    h = act(h @ state["final_linear.0.weight"].T / math.sqrt(h.shape[1]), "final_linear.0")
    weight = state["final_linear.1.weight"]
    return h @ weight.T / math.sqrt(h.shape[1]) + state["final_linear.1.bias"]


@torch.no_grad()
@pytest.mark.parametrize(
    ("side", "taps"), [(16, (1, 3, 3, 1)), (4, (1, 3, 3, 1)), (8, (1, 1)), (8, (1, 2, 5, 5, 2, 1))]
)
def test_discriminators(side: int, taps: tuple[int, ...], tmp_path: Path) -> None:
    state = discriminator_file(side, taps)
    torch.save({"d": state, "g": {"x.y": torch.zeros(1)}}, tmp_path / "d.pt")
    net = import_network(tmp_path / "d.pt", part="d")
    for n in (3, 8):  # groups of four that are not neighbors
        x = torch.randn(n, 3, side, side)
        torch.testing.assert_close(net(x), scored(state, x), rtol=1e-4, atol=1e-4)
