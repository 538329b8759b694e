"""Settings of other projects' constructors, against plain torch: UNIT, SinGAN, CoGAN."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.core.errors import UserError
from ganvas.inference.importers import as_method, import_network
from ganvas.inference.load import load

State = dict[str, Tensor]


def drawn(net: nn.Module) -> Any:
    """`net` with random weights and statistics."""
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if value.is_floating_point():
                noise = 0.3 * torch.randn_like(value)
                value.copy_(noise.abs() + 0.5 if value.dim() == 1 and "bias" not in key else noise)
    return net.eval()


def imported(state: Any, file: Path, **options: Any) -> Any:
    torch.save(state, file)
    return import_network(file, options=options)


def close(got: Any, want: Any) -> None:
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


# ---------------------------------------------------------------- UNIT

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "lrelu": lambda x: F.leaky_relu(x, 0.2),
    "selu": F.selu,
    "tanh": torch.tanh,
    "none": lambda x: x,
}


def unit_generator(channels: int) -> State:
    """One domain's: 2 channels, one halving, one residual block."""
    state: State = {}

    def conv(name: str, a: int, b: int, kernel: int) -> None:
        state[f"{name}.conv.weight"] = torch.randn(b, a, kernel, kernel) / (a * kernel**2) ** 0.5
        state[f"{name}.conv.bias"] = torch.randn(b)

    conv("enc.model.0", channels, 2, 7)
    conv("enc.model.1", 2, 4, 4)
    for part in ("enc.model.2", "dec.model.0"):
        for i in range(2):
            conv(f"{part}.model.0.model.{i}", 4, 4, 3)
    conv("dec.model.2", 4, 2, 5)
    state |= {"dec.model.2.norm.gamma": torch.rand(2), "dec.model.2.norm.beta": torch.randn(2)}
    conv("dec.model.3", 2, channels, 7)
    return state


def unit_images(encoder: State, decoder: State, x: Tensor, act: Callable[[Tensor], Tensor]) -> Any:
    def conv(s: State, name: str, x: Tensor, pad: int, stride: int = 1) -> Tensor:
        x = F.pad(x, [pad] * 4, mode="reflect")
        return F.conv2d(x, s[f"{name}.conv.weight"], s[f"{name}.conv.bias"], stride)

    def block(s: State, name: str, x: Tensor) -> Tensor:
        h = act(F.instance_norm(conv(s, f"{name}.model.0.model.0", x, 1)))
        return x + F.instance_norm(conv(s, f"{name}.model.0.model.1", h, 1))

    h = act(F.instance_norm(conv(encoder, "enc.model.0", x, 3)))
    h = act(F.instance_norm(conv(encoder, "enc.model.1", h, 1, 2)))
    h = block(decoder, "dec.model.0", block(encoder, "enc.model.2", h))
    h = conv(decoder, "dec.model.2", F.interpolate(h, scale_factor=2), 2)
    flat = h.flatten(1)
    h = (h - flat.mean(1)[:, None, None, None]) / (flat.std(1)[:, None, None, None] + 1e-5)
    gain, bias = (decoder[f"dec.model.2.norm.{k}"][:, None, None] for k in ("gamma", "beta"))
    return conv(decoder, "dec.model.3", act(h * gain + bias), 3).tanh()


@torch.no_grad()
@pytest.mark.parametrize("activ", ACTIVATIONS)
@pytest.mark.parametrize(("a", "b"), [(3, 3), (1, 3), (3, 1)])
def test_generators_of_unit(activ: str, a: int, b: int, tmp_path: Path) -> None:
    """Images of one kind of channels become images of another."""
    states = {"a": unit_generator(a), "b": unit_generator(b)}
    x, file = torch.randn(2, a, 8, 12), tmp_path / "gen.pt"
    net = imported(states, file, activ=activ)
    close(net(x), unit_images(states["a"], states["b"], x, ACTIVATIONS[activ]))
    one = imported(states["a"], file, activ=activ)
    close(one(x)[0], unit_images(states["a"], states["a"], x, ACTIVATIONS[activ]))
    if a != b and activ == "relu":
        torch.save(states, file)
        with pytest.raises(UserError, match=f"cannot be run: its domains have {a} and {b} chann"):
            as_method.import_model(file, tmp_path / "model")


@torch.no_grad()
@pytest.mark.parametrize("activ", ACTIVATIONS)
def test_activations_of_discriminators(
    activ: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    act, state, x = ACTIVATIONS[activ], {}, torch.randn(2, 3, 16, 16)
    for scale in range(2):
        for i in range(2):
            state[f"cnns.{scale}.{i}.conv.weight"] = torch.randn(2 << i, 2 if i else 3, 4, 4) / 5
            state[f"cnns.{scale}.{i}.conv.bias"] = torch.randn(2 << i)
        state[f"cnns.{scale}.2.weight"] = torch.randn(1, 4, 1, 1)
        state[f"cnns.{scale}.2.bias"] = torch.randn(1)
    with caplog.at_level(logging.WARNING):
        imported(state, tmp_path / "dis.pt")
    assert "activ=lrelu (else --option activ=relu|selu|tanh|none)" in caplog.text
    got = imported(state, tmp_path / "dis.pt", activ=activ)(x)
    for scale in range(2):
        h = x if scale == 0 else F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        for i in range(2):
            name = f"cnns.{scale}.{i}.conv"
            h = F.pad(h, [1] * 4, mode="reflect")
            h = act(F.conv2d(h, state[f"{name}.weight"], state[f"{name}.bias"], 2))
        name = f"cnns.{scale}.2"
        close(got[scale], F.conv2d(h, state[f"{name}.weight"], state[f"{name}.bias"]))


# ---------------------------------------------------------------- SinGAN


class Scale(nn.Module):
    """A scale with layers of these widths, each convolution with `pad` zeros around."""

    def __init__(self, channels: int, out: int, widths: list[int], kernel: int, pad: int) -> None:
        super().__init__()

        def conv(a: int, b: int) -> nn.ModuleDict:
            layers = {"conv": nn.Conv2d(a, b, kernel, 1, pad), "norm": nn.BatchNorm2d(b)}
            return nn.ModuleDict(layers)

        self.head = conv(channels, widths[0])
        blocks = enumerate(pairwise(widths), 1)
        self.body = nn.ModuleDict({f"block{i}": conv(a, b) for i, (a, b) in blocks})
        self.tail: Any = nn.Conv2d(widths[-1], out, kernel, 1, pad)
        if out == channels:
            self.tail = nn.Sequential(self.tail, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        for block in (self.head, *self.body.values()):
            assert isinstance(block, nn.ModuleDict)
            x = F.leaky_relu(block["norm"](block["conv"](x)), 0.2)
        return self.tail(x)


@torch.no_grad()
@pytest.mark.parametrize(
    ("widths", "kernel", "pad"),
    [
        ([8] * 4, 3, 0),
        ([8] * 4, 3, 1),
        ([8] * 3, 3, 0),
        ([8] * 6, 3, 0),
        ([8], 3, 0),
        ([8, 4, 4, 4], 3, 0),
        ([8, 4, 2, 2], 3, 0),
        ([8] * 4, 5, 0),
        ([8] * 4, 5, 1),
    ],
)
def test_scales_of_singan(
    widths: list[int], kernel: int, pad: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """num_layer, nfc and min_nfc, ker_size, and padd_size, which leaves no trace."""
    options = {"padd_size": str(pad)} if pad else {}
    x, before = torch.randn(2, 2, 40, 44), torch.randn(2, 2, 40, 44)
    with caplog.at_level(logging.WARNING):
        theirs = drawn(Scale(2, 1, widths, kernel, pad))
        close(imported(theirs.state_dict(), tmp_path / "d.pth", **options)(x), theirs(x))
    assert ("padd_size=0 (else --option padd_size=1" in caplog.text) == (pad == 0)
    theirs = drawn(Scale(2, 2, widths, kernel, pad))
    border = (kernel - 1 - 2 * pad) * (len(widths) + 1) // 2
    want = before + theirs(F.pad(x + before, [border] * 4))
    close(imported(theirs.state_dict(), tmp_path / "g.pth", **options)(x, before), want)


# ---------------------------------------------------------------- CoGAN


def cogan_discriminator() -> Any:
    names = ("conv0_a", "conv0_b", "conv1", "conv2", "conv3", "conv_cl")
    shapes = (1, 4, 5), (1, 4, 5), (4, 5, 5), (5, 6, 4), (6, 2, 1), (6, 10, 1)
    net = {n: nn.Conv2d(*shape) for n, shape in zip(names, shapes, strict=True)}
    return drawn(nn.ModuleDict({**net, "prelu2": nn.PReLU()}))


@torch.no_grad()
def test_discriminators_that_tell_classes(tmp_path: Path) -> None:
    """MNIST to USPS: scores of both, and features, of which classes are told."""
    theirs = cogan_discriminator()

    def features(x: Tensor, domain: str) -> Tensor:
        h = F.max_pool2d(theirs[f"conv0_{domain}"](x), 2)
        return theirs["prelu2"](theirs["conv2"](F.max_pool2d(theirs["conv1"](h), 2)))

    a, b = torch.rand(2, 1, 28, 28), torch.rand(3, 1, 28, 28)
    want = features(a, "a"), features(b, "b")
    net = imported(theirs.state_dict(), tmp_path / "dis.pkl")
    scores, *got = net(a, b)
    close(scores, theirs["conv3"](torch.cat(want)).flatten(1))
    close(got, list(want))
    close(net.classify(b, 1), theirs["conv_cl"](want[1]).flatten(1))
    del theirs["conv_cl"]
    close(imported(theirs.state_dict(), tmp_path / "dis.pkl")(a, b), scores)


@torch.no_grad()
def test_networks_of_one_domain(tmp_path: Path) -> None:
    """The GAN for MNIST beside it, whose batch norms have no weights."""
    layers: list[nn.Module] = [nn.ConvTranspose2d(7, 8, 4), nn.BatchNorm2d(8, affine=False)]
    layers.append(nn.PReLU())
    for a, b in ((8, 6), (6, 4), (4, 2)):
        layers += [nn.ConvTranspose2d(a, b, 3, 2, 1), nn.BatchNorm2d(b, affine=False), nn.PReLU()]
    theirs = drawn(nn.Sequential(*layers, nn.ConvTranspose2d(2, 1, 6, 1, 1), nn.Sigmoid()))
    z, file = torch.randn(3, 7), tmp_path / "gen.pkl"
    state = {f"model.{k}": v for k, v in theirs.state_dict().items()}
    close(imported(state, file)(z), theirs(z[..., None, None]))
    as_method.import_model(file, tmp_path / "model")
    method: Any = load(tmp_path / "model").method
    close((method.sample(3, z) + 1) / 2, theirs(z[..., None, None]))
    convs = [nn.Conv2d(1, 4, 5), nn.MaxPool2d(2), nn.Conv2d(4, 5, 5), nn.MaxPool2d(2)]
    theirs = drawn(nn.Sequential(*convs, nn.Conv2d(5, 6, 4), nn.PReLU(), nn.Conv2d(6, 2, 1)))
    x = torch.rand(2, 1, 28, 28)
    state = {f"model.{k}": v for k, v in theirs.state_dict().items()}
    close(imported(state, tmp_path / "dis.pkl")(x), theirs(x).flatten(1))
