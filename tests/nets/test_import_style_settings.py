"""Settings of NVIDIA's style-based networks that a file does not show."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from renaming import State, agree, lively, renamed
from torch import Tensor
from torch.nn import functional as F

from ganvas.core.errors import UserError
from ganvas.inference.importers import as_method, import_network
from ganvas.inference.load import load
from ganvas.nets import stylegan3
from ganvas.nets.layers import downsampling, upsampling
from ganvas.nets.stylegan2 import ModulatedConv2d

ROOT = math.sqrt(2)
GAINS = {"linear": 1.0, "relu": ROOT, "lrelu": ROOT, "tanh": 1.0, "sigmoid": 1.0}
GAINS |= {"elu": 1.0, "selu": 1.0, "softplus": 1.0, "swish": ROOT}


def activation(x: Tensor, kind: str) -> Tensor:
    function: Any = {
        "linear": lambda x: x,
        "lrelu": lambda x: torch.where(x < 0, 0.2 * x, x),
        "swish": lambda x: x * x.sigmoid(),
    }.get(kind, getattr(F, kind, None) or getattr(torch, kind, None))
    return function(x) * GAINS[kind]


# ---------------------------------------------------------------- resampling filters


Taps = list[float] | list[list[float]]


def square(taps: Taps) -> Tensor:
    """A filter of sum 1: the outer product of a row, or rows as they are."""
    values = torch.tensor(taps)
    values = values.outer(values) if values.dim() == 1 else values
    return values / values.sum()


def filtered(x: Tensor, taps: Taps, around: Callable[[int], tuple[int, int]]) -> Tensor:
    """Convolution of an image with a filter.

    around: length of the filter -> zeros before and after the image
    """
    kernel = square(taps)
    pads = [*around(kernel.shape[1]), *around(kernel.shape[0])]
    whole = kernel.flip(0, 1).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, pads), whole, groups=x.shape[1])


def before_doubling(n: int) -> tuple[int, int]:
    return (n + 1) // 2, (n - 2) // 2


def before_halving(n: int) -> tuple[int, int]:
    return (n - 1) // 2, (n - 2) // 2


def spread(x: Tensor) -> Tensor:
    """A zero after every pixel, along both sides."""
    n, c, h, w = x.shape
    return F.pad(x[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1)).reshape(n, c, 2 * h, 2 * w)


TAPS: list[Taps] = [[1.0], [1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 3.0, 3.0, 1.0], [1.0, 3.0, 2.0, 2.0]]
TAPS += [[1.0, 2.0, 3.0, 2.0, 5.0], [1.0, 2.0, 3.0, 4.0, 4.0, 3.0, 2.0, 1.0]]
TAPS += [[[1.0, 2.0], [3.0, 5.0]], [[1.0, 2.0, 4.0], [0.0, 1.0, 5.0], [2.0, 2.0, 9.0]]]


@pytest.mark.parametrize("taps", TAPS)
@torch.no_grad()
def test_filters_of_any_length(taps: Taps) -> None:
    """With n taps, (n + 1) // 2 and (n - 2) // 2 zeros around a doubled image."""
    x = torch.randn(2, 3, 6, 6)
    want = 4 * filtered(spread(x), taps, before_doubling)
    torch.testing.assert_close(upsampling(taps)(x), want)
    want = filtered(x, taps, before_halving)[..., ::2, ::2]
    torch.testing.assert_close(downsampling(taps)(x), want)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("taps", TAPS)
@torch.no_grad()
def test_modulated_convolutions_that_double(taps: Taps, kernel: int) -> None:
    """The doubled image convolved by the kernel, turned, and by the filter."""
    layer = ModulatedConv2d(3, 4, kernel, 5, demodulate=False, up=True, taps=taps)
    layer.style.weight.zero_()
    x, n, k = torch.randn(2, 3, 6, 6), len(taps), kernel // 2
    around = k + (n + 1) // 2, k + (n - 2) // 2
    y = 4 * filtered(F.pad(spread(x), [20] * 4), taps, lambda n: (0, 0))
    y = F.conv2d(y, layer.weight.flip(2, 3)) / math.sqrt(3 * kernel**2)
    first = 20 - around[0]
    want = y[..., first : first + 12, first : first + 12]
    torch.testing.assert_close(layer(x, torch.zeros(2, 5)), want)


# ---------------------------------------------------------------- StyleGAN2


def _linear(*shape: int) -> State:
    return {"weight": torch.randn(shape), "bias": torch.randn(shape[0])}


def _named(**layers: State) -> State:
    return {
        f"{at.replace('__', '.')}.{k}": v for at, part in layers.items() for k, v in part.items()
    }


def generator(kernel: int = 3) -> State:
    """A generator of 4x4 images, without noise; `w_avg` is 0."""
    conv = {"weight": torch.randn(4, 4, kernel, kernel), "bias": torch.randn(4)}
    rgb = {"weight": torch.randn(3, 4, 1, 1), "bias": torch.randn(3)}
    return _named(
        mapping__fc0=_linear(5, 6),
        mapping__fc1=_linear(5, 5),
        synthesis__b4__conv1=conv,
        synthesis__b4__conv1__affine=_linear(4, 5),
        synthesis__b4__torgb=rgb,
        synthesis__b4__torgb__affine=_linear(4, 5),
    ) | {
        "synthesis.b4.const": torch.randn(4, 4, 4),
        "synthesis.b4.resample_filter": torch.tensor([[1.0]]),
        "mapping.w_avg": torch.zeros(5),
    }


def image(
    state: State,
    z: Tensor,
    clamp: float = math.inf,
    rate: float = 0.01,
    kind: str = "lrelu",
    mapping: str = "lrelu",
) -> Tensor:
    """What StyleGAN2's generator of 4x4 images makes of z."""
    w = z / z.square().mean(1, keepdim=True).add(1e-8).sqrt()
    for at in ("mapping.fc0", "mapping.fc1"):
        weight, bias = state[f"{at}.weight"], state[f"{at}.bias"]
        w = activation(w @ weight.T * rate / math.sqrt(weight.shape[1]) + bias * rate, mapping)

    def modulated(x: Tensor, at: str, demodulate: bool) -> Tensor:
        kernel, affine = state[f"{at}.weight"], state[f"{at}.affine.weight"]
        s = w @ affine.T / math.sqrt(affine.shape[1]) + state[f"{at}.affine.bias"]
        s = s if demodulate else s / math.sqrt(kernel[0].numel())
        made = []
        for one, scale in zip(x, s, strict=True):
            k = kernel * scale[:, None, None]
            if demodulate:
                k = k / k.square().sum((1, 2, 3), keepdim=True).add(1e-8).sqrt()
            made.append(F.conv2d(one[None], k, state[f"{at}.bias"], padding=k.shape[-1] // 2))
        return torch.cat(made)

    x = state["synthesis.b4.const"].expand(len(z), -1, -1, -1)
    x = activation(modulated(x, "synthesis.b4.conv1", True), kind).clamp(-clamp, clamp)
    return modulated(x, "synthesis.b4.torgb", False).clamp(-clamp, clamp)


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ({}, {"clamp": 256.0}),
        ({"conv_clamp": 0.5}, {"clamp": 0.5}),
        ({"conv_clamp": None, "lr_multiplier": 1}, {"rate": 1.0}),
        ({"lr_multiplier": "0.1", "mapping_activation": "relu"}, {"rate": 0.1, "mapping": "relu"}),
        *(({"activation": kind}, {"kind": kind}) for kind in GAINS),
    ],
)
@torch.no_grad()
def test_settings_of_stylegan2(options: Any, how: Any, tmp_path: Path) -> None:
    state, z = generator(), torch.randn(3, 6)
    torch.save(state, tmp_path / "g.pth")
    net = import_network(tmp_path / "g.pth", options=options)
    torch.testing.assert_close(net(z), image(state, z, **how), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_limit_is_reached_by_large_activations(tmp_path: Path) -> None:
    """What is assumed is the limit of their training program."""
    state, z = generator(kernel=5), torch.randn(3, 6)
    state["synthesis.b4.conv1.bias"] += 300
    torch.save(state, tmp_path / "g.pth")
    made = import_network(tmp_path / "g.pth")(z)
    torch.testing.assert_close(made, image(state, z, clamp=256), rtol=1e-4, atol=1e-4)
    unlimited = import_network(tmp_path / "g.pth", options={"conv_clamp": "none"})(z)
    torch.testing.assert_close(unlimited, image(state, z), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(made, unlimited)


def test_what_stylegan2_assumes_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The learning rate of the mapping only where its weights look like another's."""
    state = generator()
    for at in ("fc0", "fc1"):
        state[f"mapping.{at}.weight"] *= 100
    torch.save(state, tmp_path / "g.pth")
    with caplog.at_level(logging.WARNING):
        import_network(tmp_path / "g.pth")
        torch.save(generator(), tmp_path / "g.pth")
        import_network(tmp_path / "g.pth")
    usual, unusual = caplog.messages
    assert usual.endswith("assumed: conv_clamp=256 (else --option conv_clamp=NUMBER|none)")
    assert "lr_multiplier=0.01 (else --option lr_multiplier=NUMBER)" in unusual


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan", "many", ""])
def test_numbers_that_fit_nothing(value: str, tmp_path: Path) -> None:
    torch.save(generator(), tmp_path / "g.pth")
    with pytest.raises(UserError, match=r"conv_clamp is a number above 0 or none; got"):
        import_network(tmp_path / "g.pth", options={"conv_clamp": value})


def test_a_kernel_without_a_middle(tmp_path: Path) -> None:
    torch.save(generator(kernel=2), tmp_path / "g.pth")
    with pytest.raises(UserError, match="convolutions of 2 x 2 do not keep an image's size"):
        import_network(tmp_path / "g.pth")


@torch.no_grad()
def test_a_model_keeps_its_settings(tmp_path: Path) -> None:
    state = generator()
    torch.save(state, tmp_path / "g.pth")
    as_method.import_model(tmp_path / "g.pth", tmp_path / "m", options={"conv_clamp": 0.5})
    method: Any = load(tmp_path / "m").method
    z = torch.randn(3, 6)
    torch.testing.assert_close(method.G(z), image(state, z, clamp=0.5), rtol=1e-4, atol=1e-5)


def discriminator(taps: Taps, architecture: str) -> State:
    """A discriminator of 8x8 images with 2 channels and no minibatch statistics."""
    conv0 = {"weight": torch.randn(2, 2, 3, 3), "bias": torch.randn(2)}
    conv1 = {"weight": torch.randn(4, 2, 3, 3), "bias": torch.randn(4)}
    state = _named(
        b8__fromrgb={"weight": torch.randn(2, 3, 1, 1), "bias": torch.randn(2)},
        b8__conv0=conv0,
        b8__conv1=conv1,
        b4__conv={"weight": torch.randn(4, 4, 3, 3), "bias": torch.randn(4)},
        b4__fc=_linear(4, 64),
        b4__out=_linear(1, 4),
    )
    if architecture == "resnet":
        state["b8.skip.weight"] = torch.randn(4, 2, 1, 1)
    if architecture == "skip":
        state |= _named(b4__fromrgb={"weight": torch.randn(4, 3, 1, 1), "bias": torch.randn(4)})
    state["b8.resample_filter"] = square(taps)
    return state


def score(
    state: State, x: Tensor, taps: Taps, kind: str, clamp: float, last: str | None = None
) -> Tensor:
    """What StyleGAN2's discriminator of 8x8 images gives.

    last: the activation at 4x4, if it is another
    """
    last = last or kind

    def convolved(x: Tensor, at: str, stride: int = 1, limit: float = clamp) -> Tensor:
        kernel = state[f"{at}.weight"]
        x = F.conv2d(
            x,
            kernel / math.sqrt(kernel[0].numel()),
            state[f"{at}.bias"],
            stride,
            padding=kernel.shape[-1] // 2 if stride == 1 else 0,
        )
        return activation(x, last if at.startswith("b4.") else kind).clamp(-limit, limit)

    def halved(x: Tensor) -> Tensor:
        return filtered(x, taps, before_halving)[..., ::2, ::2]

    h = convolved(x, "b8.fromrgb")
    wide = filtered(F.pad(convolved(h, "b8.conv0"), [1] * 4), taps, before_halving)
    y = convolved(wide, "b8.conv1", 2)
    if (skip := state.get("b8.skip.weight")) is not None:
        y = (y + F.conv2d(halved(h), skip / ROOT)) / ROOT
    if "b4.fromrgb.weight" in state:
        y = y + convolved(halved(x), "b4.fromrgb", limit=math.inf)
    y = convolved(y, "b4.conv").flatten(1)
    y = activation(y @ state["b4.fc.weight"].T / 8 + state["b4.fc.bias"], last)
    return y @ state["b4.out.weight"].T / 2 + state["b4.out.bias"]


@pytest.mark.parametrize("architecture", ["orig", "skip", "resnet"])
@pytest.mark.parametrize(
    ("taps", "kind", "clamp"),
    [
        ([1.0, 3.0, 3.0, 1.0], "lrelu", 0.3),
        ([1.0, 2.0, 1.0], "relu", math.inf),
        ([1.0], "linear", 0.3),
        ([1.0, 3.0, 2.0, 2.0], "lrelu", 256.0),
        ([[1.0, 2.0], [3.0, 5.0]], "lrelu", 256.0),
        ([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]], "lrelu", 256.0),
        ([[1.0], [2.0], [4.0], [1.0]], "lrelu", 256.0),
        ([[1.0, 2.0], [2.0, 4.0]], "lrelu", 256.0),
    ],
)
@torch.no_grad()
def test_settings_of_stylegan2s_discriminator(
    architecture: str, taps: Taps, kind: str, clamp: float, tmp_path: Path
) -> None:
    state, x = discriminator(taps, architecture), torch.randn(2, 3, 8, 8)
    torch.save(state, tmp_path / "d.pth")
    options = {"activation": kind, "conv_clamp": None if clamp == math.inf else clamp}
    net = import_network(tmp_path / "d.pth", options=options)
    want = score(state, x, taps, kind, clamp)
    torch.testing.assert_close(net(x), want, rtol=1e-4, atol=1e-5)
    net = import_network(tmp_path / "d.pth", options={**options, "epilogue_activation": "swish"})
    want = score(state, x, taps, kind, clamp, "swish")
    torch.testing.assert_close(net(x), want, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- StyleGAN3


def frequencies(
    side: int = 32,
    layers: int = 7,
    critical: int = 2,
    base: float = 600,
    width: int = 8,
    margin: int = 10,
    first: float = 2.0,
    stop: float = 2**2.1,
) -> list[stylegan3.Geometry]:
    """Of every layer (arXiv:2106.12423, appendix C.1)."""
    plan, last = [], side / 2
    for i in range(layers + 1):
        share = min(i / (layers - critical), 1)
        cutoff = first * (last / first) ** share
        stopband = stop * (last * 2**0.3 / stop) ** share
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, side)))
        size = side if i > layers - 2 else rate + 2 * margin
        channels = 3 if i == layers else round(min(base / 2 / cutoff, width))
        plan.append(stylegan3.Geometry(cutoff, stopband, rate, size, channels))
    return plan


def stylegan3_net(plan: list[stylegan3.Geometry], **how: Any) -> Any:
    """A generator with filters and frequencies as they are designed."""
    net = stylegan3.Generator(5, 6, size=plan[-1].size, plan=plan, **how)
    kept = {k: v.clone() for k, v in net.state_dict().items() if "filter" in k or "freqs" in k}
    lively(net).load_state_dict(kept, strict=False)
    return net


def stylegan3_state(net: Any, plan: list[stylegan3.Geometry]) -> State:
    """Filters that change nothing are not in the file."""

    def layer(m: re.Match[str]) -> str:
        size, channels = plan[int(m[1])].size, plan[int(m[1])].channels
        return f"synthesis.L{m[1]}_{size}_{channels}."

    names = (r"^synthesis\.blocks\.(\d+)\.", layer), (r"\.magnitude$", ".magnitude_ema")
    state = renamed(
        net, *names, (r"^mapping\.layers\.", "mapping.fc"), (r"^w_avg", "mapping.w_avg")
    )
    return {k: v for k, v in state.items() if not k.endswith("_filter") or v.numel() > 1}


@pytest.mark.parametrize(
    ("geometry", "how"),
    [
        ({}, {}),
        ({"base": 77.7}, {"kernel": 5}),
        ({"side": 24}, {}),
        ({"side": 48, "margin": 3}, {"kernel": 1}),
        ({"side": 16, "margin": 5}, {"radial": True, "kernel": 3}),
        ({"side": 64, "critical": 3}, {"radial": True, "critical": 3}),
        ({"side": 64, "critical": 0}, {"filter_size": 5}),
        ({"first": 1.0, "stop": 3.0}, {"filter_size": 4}),
        ({}, {"lrelu_upsampling": 1}),
        ({}, {"lrelu_upsampling": 4, "filter_size": 3}),
        ({"first": 3.0, "stop": 7.0}, {"lrelu_upsampling": 4}),
        ({"layers": 4}, {"radial": True, "kernel": 1}),
    ],
)
@torch.no_grad()
def test_geometries_of_stylegan3(geometry: Any, how: Any, tmp_path: Path) -> None:
    """Names and filters show it; the input's transform needs the first cutoff, too."""
    plan = frequencies(**geometry)
    net = stylegan3_net(plan, **how)
    net.synthesis.input.transform.copy_(torch.diag(torch.tensor([2.0, 2.0, 1.0])))
    state = stylegan3_state(net, plan)
    again = agree(net, state, tmp_path / "g.pth", torch.randn(2, 5), conv_clamp="256")
    assert again.synthesis.input.of.cutoff == pytest.approx(plan[0].cutoff, abs=1e-3)


def test_another_geometry(tmp_path: Path) -> None:
    plan = frequencies()
    plan[2] = plan[2]._replace(size=37)
    net = stylegan3.Generator(5, 6, size=32, plan=plan)
    torch.save(stylegan3_state(net, plan), tmp_path / "g.pth")
    with pytest.raises(UserError, match="sizes and filters follow no known rule"):
        import_network(tmp_path / "g.pth")


@torch.no_grad()
def test_settings_of_stylegan3(shared: Path, tmp_path: Path) -> None:
    """The reference's output with a scale, and with weights for another learning rate."""
    file = shared / "golden" / "stylegan3" / "generator_t.pth"
    state, z = torch.load(file, weights_only=True), torch.randn(2, 512)
    z = z[:, : state["mapping.fc0.weight"].shape[1]]
    made = import_network(file)(z)
    twice = import_network(file, options={"output_scale": 0.5})(z)
    torch.testing.assert_close(twice, 2 * made)
    for key in [k for k in state if k.startswith("mapping.fc")]:
        state[key] = state[key] / 100
    torch.save(state, tmp_path / "g.pth")
    again = import_network(tmp_path / "g.pth", options={"lr_multiplier": 1})(z)
    torch.testing.assert_close(again, made, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_limit_of_stylegan3(tmp_path: Path) -> None:
    """A limit of nearly 0 leaves the biases of the layer to RGB, which is limited too."""
    plan = frequencies()
    net = stylegan3_net(plan, conv_clamp=1e-3)
    agree(net, stylegan3_state(net, plan), tmp_path / "g.pth", torch.randn(2, 5), conv_clamp="1e-3")
    made = import_network(tmp_path / "g.pth", options={"conv_clamp": 1e-3})(torch.randn(2, 5))
    assert made.abs().max() <= 1e-3 / 4 + 1e-8
