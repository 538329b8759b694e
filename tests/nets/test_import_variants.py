"""Less usual arguments of other projects' constructors, against plain torch."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from renaming import spectral
from torch import Tensor
from torch.nn import functional as F

from ganvas.inference.importers import import_network

State = dict[str, Tensor]


def imported(state: State, file: Path, **options: Any) -> Any:
    torch.save(state, file)
    return import_network(file, options=options)


def close(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


def conv(name: str, channels_in: int, channels_out: int, kernel: int, bias: bool = True) -> State:
    """A convolution that keeps the size of signals."""
    weight = torch.randn(channels_out, channels_in, kernel, kernel)
    state = {f"{name}.weight": weight / math.sqrt(weight[0].numel())}
    return state | ({f"{name}.bias": torch.randn(channels_out) / 5} if bias else {})


def norm(name: str, channels: int) -> State:
    """Batch norm with its statistics."""
    values = {"weight": torch.rand(channels) + 0.5, "bias": torch.randn(channels) / 5}
    values |= {"running_mean": torch.randn(channels) / 5, "running_var": torch.rand(channels) + 0.5}
    return {f"{name}.{k}": v for k, v in values.items()}


def convolved(x: Tensor, state: State, name: str, stride: int = 1, pad: int = -1) -> Tensor:
    weight = state[f"{name}.weight"]
    pad = weight.shape[-1] // 2 if pad < 0 else pad
    return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, pad)


def normed(x: Tensor, state: State, name: str) -> Tensor:
    mean, var, gain, bias = (
        state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(x, mean, var, gain, bias)


# ---------------------------------------------------------------- mimicry


@torch.no_grad()
@pytest.mark.parametrize("end", ["tanh", "sigmoid"])
@pytest.mark.parametrize("bottom", [2, 4, 5])
def test_first_sides_of_mimicrys_dcgan(bottom: int, end: str, tmp_path: Path) -> None:
    """A generator for 32 px at any `bottom_width`; that for CIFAR ends in a sigmoid."""
    state = {"l1.weight": torch.randn(4 * bottom**2, 6), "l1.bias": torch.randn(4 * bottom**2)}
    for i in (2, 3, 4):
        state |= norm(f"block{i}.b1", 4) | norm(f"block{i}.b2", 4)
        state |= conv(f"block{i}.c1", 4, 4, 3) | conv(f"block{i}.c2", 4, 4, 3)
        state |= conv(f"block{i}.c_sc", 4, 4, 1)
    state |= norm("b5", 4) | conv("c5", 4, 3, 3)
    z = torch.randn(2, 6)
    x = F.linear(z, state["l1.weight"], state["l1.bias"]).view(2, 4, bottom, bottom)

    def doubled(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear")

    for i in (2, 3, 4):
        h = convolved(doubled(normed(x, state, f"block{i}.b1").relu()), state, f"block{i}.c1")
        h = convolved(normed(h, state, f"block{i}.b2").relu(), state, f"block{i}.c2")
        x = h + convolved(doubled(x), state, f"block{i}.c_sc")
    x = convolved(normed(x, state, "b5").relu(), state, "c5")
    close(imported(state, tmp_path / "g.pth", output=end)(z), getattr(x, end)())


# ---------------------------------------------------------------- pytorch_GAN_zoo


def scaled(state: State, name: str, x: Tensor, equalized: bool) -> Tensor:
    """A layer whose result, bias and all, is multiplied if it is equalized."""
    weight, bias = state[f"{name}.module.weight"], state[f"{name}.module.bias"]
    if weight.dim() == 4:
        y = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
    else:
        y = F.linear(x, weight, bias)
    return y * math.sqrt(2 / weight[0].numel()) if equalized else y


def layer(name: str, *shape: int, equalized: bool) -> State:
    weight = torch.randn(shape)
    weight = weight if equalized else weight / math.sqrt(3 * weight[0].numel())
    return {f"{name}.module.weight": weight, f"{name}.module.bias": torch.randn(shape[0]) / 5}


LEAKS = pytest.mark.parametrize("leak", [0.0, 0.2, 0.5])
EQUALIZED = pytest.mark.parametrize("equalized", [False, True])


@torch.no_grad()
@EQUALIZED
@LEAKS
def test_generators_of_gan_zoo(
    leak: float, equalized: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Slopes and scales of layers, which a file does not show."""
    how = {"equalized": equalized}
    state = layer("formatLayer", 96, 5, **how) | layer("groupScale0.0", 6, 6, 3, 3, **how)
    state |= layer("scaleLayers.0.0", 4, 6, 3, 3, **how) | layer("toRGBLayers.0", 3, 6, 1, 1, **how)
    state |= layer("scaleLayers.0.1", 4, 4, 3, 3, **how) | layer("toRGBLayers.1", 3, 4, 1, 1, **how)

    def unit(x: Tensor) -> Tensor:
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    def after(name: str, x: Tensor) -> Tensor:
        return F.leaky_relu(scaled(state, name, x, equalized), leak)

    z = torch.randn(2, 5)
    x = unit(after("groupScale0.0", unit(after("formatLayer", unit(z)).view(2, 6, 4, 4))))
    x = F.interpolate(x, scale_factor=2)
    x = unit(after("scaleLayers.0.1", unit(after("scaleLayers.0.0", x))))
    want = scaled(state, "toRGBLayers.1", x, equalized)
    options = {"leakyReluLeak": leak, "equalizedlR": equalized, "generationActivation": "none"}
    close(imported(state, tmp_path / "g.pth", **options)(z), want)
    assert not caplog.messages
    with caplog.at_level(logging.WARNING):
        made = imported(state, tmp_path / "g.pth")(z)
    assert "leakyReluLeak=0.2 (else --option leakyReluLeak=NUMBER)" in caplog.text
    assert ("equalizedlR=true (else --option equalizedlR=false)" in caplog.text) != equalized
    assert torch.allclose(made, want, atol=1e-4) == (equalized and leak == 0.2)


@torch.no_grad()
@pytest.mark.parametrize("classes", [0, 3])
@EQUALIZED
@LEAKS
def test_discriminators_of_gan_zoo(
    leak: float, equalized: bool, classes: int, tmp_path: Path
) -> None:
    """As its generators, and the scores of classes beside that of the image (AC-GAN)."""
    how = {"equalized": equalized}
    state = layer("groupScaleZero.0", 6, 6, 3, 3, **how) | layer("groupScaleZero.1", 6, 96, **how)
    state |= layer("fromRGBLayers.0", 6, 3, 1, 1, **how)
    state |= layer("fromRGBLayers.1", 4, 3, 1, 1, **how)
    state |= layer("scaleLayers.0.0", 4, 4, 3, 3, **how)
    state |= layer("scaleLayers.0.1", 6, 4, 3, 3, **how)
    state |= layer("decisionLayer", 1 + classes, 6, **how)
    x = h = torch.randn(2, 3, 8, 8)
    for name in ("fromRGBLayers.1", "scaleLayers.0.0", "scaleLayers.0.1"):
        h = F.leaky_relu(scaled(state, name, h, equalized), leak)
    h = F.leaky_relu(scaled(state, "groupScaleZero.0", F.avg_pool2d(h, 2), equalized), leak)
    h = F.leaky_relu(scaled(state, "groupScaleZero.1", h.flatten(1), equalized), leak)
    options = {"leakyReluLeak": leak, "equalizedlR": equalized}
    net = imported(state, tmp_path / "d.pth", **options)
    close(net(x), scaled(state, "decisionLayer", h, equalized))


# ---------------------------------------------------------------- leftthomas/SRGAN


@torch.no_grad()
def test_the_discriminator_of_leftthomas_srgan(tmp_path: Path) -> None:
    """Convolutions that end in the mean of the map: images of any size."""
    state, widths, convs = conv("net.0", 3, 4, 3), [4, 4, 8, 8, 16, 16, 32, 32], [0]
    for i in range(1, 8):
        at = 3 * i - 1
        state |= conv(f"net.{at}", widths[i - 1], widths[i], 3) | norm(f"net.{at + 1}", widths[i])
        convs.append(at)
    state |= conv("net.24", 32, 64, 1) | conv("net.26", 64, 1, 1)
    for size in ((16, 16), (37, 50)):
        x = h = torch.rand(2, 3, *size)
        for i, at in enumerate(convs):
            h = convolved(h, state, f"net.{at}", stride=1 + i % 2)
            h = F.leaky_relu(normed(h, state, f"net.{at + 1}") if i else h, 0.2)
        h = convolved(h.mean((2, 3), keepdim=True), state, "net.24")
        want = convolved(F.leaky_relu(h, 0.2), state, "net.26").flatten().sigmoid()
        close(imported(state, tmp_path / "d.pth")(x), want)


# ---------------------------------------------------------------- DeOldify


def deoldify(factor: float) -> State:
    """The "deep" U-Net around a ResNet with a block in each stage, without normalization."""
    state = conv("layers.0.0", 3, 4, 7, bias=False) | norm("layers.0.1", 4)
    for i, (a, b) in enumerate(((4, 4), (4, 8), (8, 16), (16, 32)), 4):
        name = f"layers.0.{i}.0"
        state |= conv(f"{name}.conv1", a, b, 3, bias=False) | norm(f"{name}.bn1", b)
        state |= conv(f"{name}.conv2", b, b, 3, bias=False) | norm(f"{name}.bn2", b)
        if i > 4:
            state |= conv(f"{name}.downsample.0", a, b, 1, bias=False)
            state |= norm(f"{name}.downsample.1", b)
    state |= norm("layers.1", 32)
    for i, (a, b) in enumerate(((32, 64), (64, 32))):
        state |= conv(f"layers.3.{i}.0", a, b, 3, bias=False) | norm(f"layers.3.{i}.2", b)
    width = 32
    for i, skip in enumerate((16, 8, 4, 4), 4):
        name, joined = f"layers.{i}", width // 2 + skip
        out = int((joined // 2 if i == 7 else joined) * factor)
        state |= conv(f"{name}.shuf.conv.0", width, width // 2 * 4, 1, bias=False)
        state |= norm(f"{name}.shuf.conv.1", width // 2 * 4) | norm(f"{name}.bn", skip)
        for j, channels in ((1, joined), (2, out)):
            state |= conv(f"{name}.conv{j}.0", channels, out, 3, bias=False)
            state |= norm(f"{name}.conv{j}.2", out)
        if i == 5:
            for kind, rows in (("query", out // 8), ("key", out // 8), ("value", out)):
                state[f"{name}.conv2.3.{kind}.weight"] = torch.randn(rows, out, 1) / out**0.5
            state[f"{name}.conv2.3.gamma"] = torch.tensor([0.7])
        width = out
    state |= conv("layers.8.conv.0", width, 4 * width, 1) | conv("layers.11.0", width + 3, 3, 1)
    for i in range(2):
        state |= conv(f"layers.10.layers.{i}.0", width + 3, width + 3, 3)
    return state


def colored(state: State, x: Tensor) -> Tensor:
    """What the U-Net makes of normalized images, before its sigmoid."""

    def unit(name: str, x: Tensor) -> Tensor:
        return normed(convolved(x, state, f"{name}.0").relu(), state, f"{name}.2")

    def doubled(x: Tensor) -> Tensor:
        x = F.pixel_shuffle(x.relu(), 2)
        return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), 2, 1)

    h = normed(convolved(x, state, "layers.0.0", 2), state, "layers.0.1").relu()
    kept, h = [h], F.max_pool2d(h, 3, 2, 1)
    for i in range(4, 8):
        name, before = f"layers.0.{i}.0", h
        if i > 4:
            before = convolved(h, state, f"{name}.downsample.0", 2)
            before = normed(before, state, f"{name}.downsample.1")
        h = normed(convolved(h, state, f"{name}.conv1", 1 + (i > 4)), state, f"{name}.bn1").relu()
        h = (normed(convolved(h, state, f"{name}.conv2"), state, f"{name}.bn2") + before).relu()
        kept.append(h)
    h = unit("layers.3.1", unit("layers.3.0", normed(h, state, "layers.1").relu()))
    for i, skip in enumerate(reversed(kept[:-1]), 4):
        name = f"layers.{i}"
        h = doubled(
            normed(convolved(h, state, f"{name}.shuf.conv.0"), state, f"{name}.shuf.conv.1")
        )
        h = torch.cat([h, normed(skip, state, f"{name}.bn")], 1).relu()
        h = unit(f"{name}.conv2", unit(f"{name}.conv1", h))
        if f"{name}.conv2.3.gamma" in state:
            flat, at = h.flatten(2), f"{name}.conv2.3"
            q, k, v = (state[f"{at}.{n}.weight"][:, :, 0] @ flat for n in ("query", "key", "value"))
            seen = v @ (q.transpose(1, 2) @ k).softmax(1)
            h = h + state[f"{at}.gamma"] * seen.view_as(h)
    h = torch.cat([doubled(convolved(h, state, "layers.8.conv.0")), x], 1)
    inner = convolved(h, state, "layers.10.layers.0.0").relu()
    h = h + convolved(inner, state, "layers.10.layers.1.0").relu()
    return convolved(h, state, "layers.11.0")


def stored_deoldify(state: State) -> State:
    """Weights as the project stores them, under spectral and weight normalization."""
    plain = {k: v for k, v in state.items() if k.startswith(("layers.0.", "layers.8."))}
    stored = plain | spectral({k: v for k, v in state.items() if k not in plain})
    weight = stored.pop("layers.8.conv.0.weight")
    stored["layers.8.conv.0.weight_g"] = weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    stored["layers.8.conv.0.weight_v"] = 3 * weight
    return stored


@torch.no_grad()
@pytest.mark.parametrize("factor", [0.7, 1.3, 1.5])
def test_widths_of_deoldify(factor: float, tmp_path: Path) -> None:
    """Any `nf_factor`, of which each block takes the whole part."""
    state, x = deoldify(factor), torch.randn(2, 3, 32, 64)
    got = imported(stored_deoldify(state), tmp_path / "g.pth").raw(x)
    close(got, colored(state, x).sigmoid() * 6 - 3)


@torch.no_grad()
def test_arguments_of_deoldifys_learners(tmp_path: Path) -> None:
    """`unet_learner_deep` and `_wide` have no `self_attention` and no `y_range` by default."""
    state, x = deoldify(1.5), torch.randn(2, 3, 32, 64)
    plain = {k: v for k, v in state.items() if ".conv2.3." not in k}
    file, h = tmp_path / "g.pth", colored(plain, x)
    close(imported(stored_deoldify(plain), file).raw(x), h.sigmoid() * 6 - 3)
    close(imported(stored_deoldify(plain), file, y_range="none").raw(x), h)
    close(imported(stored_deoldify(plain), file, y_range="2.5").raw(x), h.sigmoid() * 5 - 2.5)
