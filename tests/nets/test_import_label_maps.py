"""SPADE and pix2pixHD in every form that their options allow, against plain torch."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from renaming import spectral
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.core.errors import UserError
from ganvas.inference.importers import import_network

State = dict[str, Tensor]


def halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)


def drawn(net: nn.Module) -> nn.Module:
    """`net` with random weights and statistics."""
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if value.is_floating_point():
                noise = 0.3 * torch.randn_like(value)
                value.copy_(noise.abs() + 0.5 if value.dim() == 1 and "bias" not in key else noise)
    return net.eval()


def imported(state: State, file: Path, **options: Any) -> Any:
    torch.save(state, file)
    return import_network(file, options=options)


def close(got: Any, want: Any) -> None:
    torch.testing.assert_close(got, want, atol=2e-4, rtol=2e-4)


def refused(state: State, file: Path, message: str, **options: Any) -> None:
    with pytest.raises(UserError, match=message):
        imported(state, file, **options)


# ---------------------------------------------------------------- SPADE's generator

WIDTHS = {"head_0": (16, 16), "G_middle_0": (16, 16), "G_middle_1": (16, 16), "up_0": (16, 8)}
WIDTHS |= {"up_1": (8, 4), "up_2": (4, 2), "up_3": (2, 1)}


def spade(
    kernel: int = 3, batch: bool = True, cells: int = 0, most: bool = False, width: int = 2
) -> State:
    """Tensors of a generator for 3 labels, with a style of 5 numbers if it has `cells`."""
    state: State = {}

    def conv(name: str, a: int, b: int, side: int, bias: bool = True) -> None:
        state[f"{name}.weight"] = torch.randn(b, a, side, side) / (a * side**2) ** 0.5
        if bias:
            state[f"{name}.bias"] = torch.randn(b) / 3

    def norm(name: str, channels: int) -> None:
        conv(f"{name}.mlp_shared.0", 3, 4, kernel)
        conv(f"{name}.mlp_gamma", 4, channels, kernel)
        conv(f"{name}.mlp_beta", 4, channels, kernel)
        if batch:
            state[f"{name}.param_free_norm.running_mean"] = torch.randn(channels)
            state[f"{name}.param_free_norm.running_var"] = torch.rand(channels) + 0.5
            state[f"{name}.param_free_norm.num_batches_tracked"] = torch.tensor(3)

    conv("fc", 3, 16 * width, 3)
    if cells:
        state |= {"fc.weight": torch.randn(16 * width * cells, 5)}
        state |= {"fc.bias": torch.randn(16 * width * cells)}
    outs = width
    blocks: dict[str, tuple[float, float]] = {**WIDTHS, **({"up_4": (1, 0.5)} if most else {})}
    for name, (a, b) in blocks.items():
        ins, outs = int(a * width), int(b * width)
        conv(f"{name}.conv_0", ins, outs, 3)
        conv(f"{name}.conv_1", outs, outs, 3)
        norm(f"{name}.norm_0", ins)
        norm(f"{name}.norm_1", outs)
        if ins != outs:
            conv(f"{name}.conv_s", ins, outs, 1, bias=False)
            norm(f"{name}.norm_s", ins)
    conv("conv_img", outs, 3, 3)
    return state


def spade_images(
    s: State, m: Tensor, z: Tensor | None, grid: tuple[int, int], more: bool
) -> Tensor:
    """What SPADE's equations give for these tensors."""

    def conv(name: str, x: Tensor) -> Tensor:
        weight = s[f"{name}.weight"]
        return F.conv2d(x, weight, s.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    def norm(name: str, x: Tensor) -> Tensor:
        at = f"{name}.param_free_norm.running"
        plain = F.instance_norm(x)
        if f"{at}_mean" in s:
            plain = F.batch_norm(x, s[f"{at}_mean"], s[f"{at}_var"])
        h = F.relu(conv(f"{name}.mlp_shared.0", F.interpolate(m, size=x.shape[2:])))
        return plain * (1 + conv(f"{name}.mlp_gamma", h)) + conv(f"{name}.mlp_beta", h)

    if z is None:
        x = conv("fc", F.interpolate(m, size=grid))
    else:
        x = F.linear(z, s["fc.weight"], s["fc.bias"]).view(len(z), -1, *grid)
    for name in [*WIDTHS, *(["up_4"] if "up_4.conv_0.weight" in s else [])]:
        if name not in ("head_0", "G_middle_1") or (name == "G_middle_1" and more):
            x = F.interpolate(x, scale_factor=2)
        h = conv(f"{name}.conv_0", F.leaky_relu(norm(f"{name}.norm_0", x), 0.2))
        h = conv(f"{name}.conv_1", F.leaky_relu(norm(f"{name}.norm_1", h), 0.2))
        wide = f"{name}.conv_s.weight" in s
        x = h + (conv(f"{name}.conv_s", norm(f"{name}.norm_s", x)) if wide else x)
    return conv("conv_img", F.leaky_relu(x, 0.2)).tanh()


def labels(height: int, width: int) -> Tensor:
    return F.one_hot(torch.randint(3, (2, height, width)), 3).movedim(-1, 1).float()


@torch.no_grad()
@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_norms_and_kernels_of_spade(kernel: int, batch: bool, tmp_path: Path) -> None:
    """spade(syncbatch|batch|instance)KxK, with spectral normalization and without."""
    state, m = spade(kernel, batch), labels(64, 96)
    want = spade_images(state, m, None, (2, 3), more=False)
    close(imported(state, tmp_path / "g.pth")(m), want)
    normed = {k: v for k, v in state.items() if re.search(r"\.conv_[01s]\.", k)}
    plain = {k: v for k, v in state.items() if k not in normed}
    again = imported({**plain, **spectral(normed)}, tmp_path / "g.pth")
    close(again(m), want)


@torch.no_grad()
def test_upsampling_layers_of_spade(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """'normal' and 'more' have the same tensors; 'most' has a block of its own."""
    state, m, file = spade(), labels(64, 128), tmp_path / "g.pth"
    with caplog.at_level(logging.WARNING):
        normal = imported(state, file)
        (message,) = caplog.messages
        assert "num_upsampling_layers=normal (else --option num_upsampling_layers=more)" in message
        more = imported(state, file, num_upsampling_layers="more")
        most = imported(spade(most=True), file)
        assert len(caplog.messages) == 1
    close(normal(m), spade_images(state, m, None, (2, 4), more=False))
    close(more(m), spade_images(state, m, None, (1, 2), more=True))
    assert most.multiple == 128
    refused(state, file, "is normal or more; got 'most'", num_upsampling_layers="most")
    with pytest.raises(UserError, match="multiples of 64"):
        more(labels(32, 32))


@torch.no_grad()
@pytest.mark.parametrize(
    ("cells", "grid", "options", "said"),
    [
        (4, (2, 2), {}, "assumed: num_upsampling_layers=normal (else --option num_upsa"),
        # Below 256 pixels the project's encoder fails.
        (16, (4, 4), {}, "assumed: num_upsampling_layers=more (else --option num_upsa"),
        (16, (2, 8), {"aspect_ratio": "4", "num_upsampling_layers": "more"}, ""),
        (2, (1, 2), {"num_upsampling_layers": "more"}, "aspect_ratio=2 (else --option aspect_rat"),
        (2, (2, 1), {"num_upsampling_layers": "normal", "aspect_ratio": "0.5"}, ""),
        (6, (3, 2), {"num_upsampling_layers": "normal", "aspect_ratio": "0.667"}, ""),
        (7, (1, 7), {"num_upsampling_layers": "normal"}, "aspect_ratio=7 (else"),
    ],
)
def test_grids_of_styles(
    cells: int,
    grid: tuple[int, int],
    options: dict[str, str],
    said: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A style becomes a grid whose sides its layer's width does not show."""
    state, z = spade(cells=cells), torch.randn(2, 5)
    with caplog.at_level(logging.WARNING):
        net = imported(state, tmp_path / "g.pth", **options)
    assert said in "".join(caplog.messages)
    assert bool(said) == bool(caplog.messages)
    m = labels(grid[0] * net.multiple, grid[1] * net.multiple)
    more = net.multiple == 64
    close(net(m, z), spade_images(state, m, z, grid, more))


# ---------------------------------------------------------------- its other networks


def with_norm(conv: Any, norm: str) -> nn.Module:
    """A layer and its norm as SPADE has them: without a bias, unless there is none."""
    if norm == "none":
        return conv
    conv.register_parameter("bias", None)
    own = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}[norm]
    return nn.Sequential(conv, own(conv.out_channels))


def spectrally(net: nn.Module, pattern: str) -> State:
    """The state of `net`, the weights that match `pattern` under spectral normalization."""
    state = net.state_dict()
    normed = {k: v for k, v in state.items() if re.fullmatch(pattern, k) and v.dim() == 4}
    ups = {n for n, m in net.named_modules() if isinstance(m, nn.ConvTranspose2d)}
    swapped = {k: v.transpose(0, 1) if k[:-7] in ups else v for k, v in normed.items()}
    found = spectral(swapped)
    found |= {f"{k}_orig": 2 * v for k, v in normed.items()}
    return {**{k: v for k, v in state.items() if k not in normed}, **found}


@torch.no_grad()
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_style_encoders(norm: str, tmp_path: Path) -> None:
    widths = [3, 2, 4, 8, 16, 16, 16]
    net = nn.ModuleDict(
        {
            f"layer{i}": with_norm(nn.Conv2d(widths[i - 1], widths[i], 3, 2, 1), norm)
            for i in range(1, 7)
        }
    )
    net["fc_mu"], net["fc_var"] = nn.Linear(256, 5), nn.Linear(256, 5)
    drawn(net)
    x = torch.randn(2, 3, 40, 30)
    h = F.interpolate(x, (256, 256), mode="bilinear")
    for i in range(1, 7):
        h = F.leaky_relu(net[f"layer{i}"](h), 0.2)
    want = torch.stack([net[n](h.flatten(1)) for n in ("fc_mu", "fc_var")], 1)
    again = imported(spectrally(net, r"layer.*\.weight"), tmp_path / "e.pth")
    close(again(x), want)


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_discriminators_of_spade(norm: str, layers: int, tmp_path: Path) -> None:
    def one() -> nn.ModuleDict:
        last = 2 ** (layers - 1)
        rows = [nn.Sequential(nn.Conv2d(5, 2, 4, 2, 2), nn.LeakyReLU(0.2))]
        for i in range(1, layers):
            conv = nn.Conv2d(2**i, 2 ** (i + 1), 4, 1 if i == layers - 1 else 2, 2)
            rows.append(nn.Sequential(with_norm(conv, norm), nn.LeakyReLU(0.2)))
        rows.append(nn.Sequential(nn.Conv2d(2 * last, 1, 4, 1, 2)))
        return nn.ModuleDict({f"model{i}": row for i, row in enumerate(rows)})

    net: Any = drawn(nn.ModuleDict({f"discriminator_{i}": one() for i in range(2)}))
    x, want = torch.randn(2, 5, 64, 64), []
    for h in (x, halved(x)):
        want.append([])
        for layer in net[f"discriminator_{len(want) - 1}"].values():
            h = layer(h)
            want[-1].append(h)
    state = spectrally(net, rf".*\.model(?!0|{layers}).*\.weight")
    again = imported(state, tmp_path / "d.pth")
    close(again(x), want)
    scores = imported(state, tmp_path / "d.pth", no_ganFeat_loss=True)(x)
    close([list(one) for one in scores], [[maps[-1]] for maps in want])


class Residual(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


@torch.no_grad()
@pytest.mark.parametrize(
    ("norm", "downs", "blocks", "first", "inner"),
    [
        ("instance", 2, 1, 7, 3),
        ("batch", 1, 2, 7, 3),
        ("none", 3, 0, 7, 3),
        ("none", 1, 2, 5, 1),
        ("batch", 2, 1, 3, 5),
    ],
)
def test_pix2pixhd_in_spade(
    norm: str, downs: int, blocks: int, first: int, inner: int, tmp_path: Path
) -> None:
    wide = 2 << downs
    layers = [nn.ReflectionPad2d(first // 2), with_norm(nn.Conv2d(5, 2, first), norm), nn.ReLU()]
    for i in range(downs):
        layers += [with_norm(nn.Conv2d(2 << i, 4 << i, 3, 2, 1), norm), nn.ReLU()]
    for _ in range(blocks):
        pad = nn.ReflectionPad2d(inner // 2)
        convs = [with_norm(nn.Conv2d(wide, wide, inner), norm) for _ in range(2)]
        layers.append(Residual(pad, convs[0], nn.ReLU(), pad, convs[1]))
    for i in reversed(range(downs)):
        up = nn.ConvTranspose2d(4 << i, 2 << i, 3, 2, 1, output_padding=1)
        layers += [with_norm(up, norm), nn.ReLU()]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(2, 3, 7), nn.Tanh()]
    net: Any = drawn(nn.ModuleDict({"model": nn.Sequential(*layers)}))
    state = spectrally(net, rf"model\.(?!{len(layers) - 2}\.).*\.weight")
    x = torch.randn(2, 5, 32, 48)
    close(imported(state, tmp_path / "g.pth")(x), net["model"](x))


# ---------------------------------------------------------------- pix2pixHD

NORMS = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
PADS = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d}


def block(width: int, norm: str, padding: str = "reflect") -> Residual:
    def conv() -> list[nn.Module]:
        if padding == "zero":
            return [nn.Conv2d(width, width, 3, padding=1), NORMS[norm](width)]
        return [PADS[padding](1), nn.Conv2d(width, width, 3), NORMS[norm](width)]

    return Residual(*conv(), nn.ReLU(), *conv())


def global_generator(width: int, downs: int, blocks: int, norm: str) -> list[nn.Module]:
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(4, width, 7), NORMS[norm](width), nn.ReLU()]
    for i in range(downs):
        a = width << i
        layers += [nn.Conv2d(a, 2 * a, 3, 2, 1), NORMS[norm](2 * a), nn.ReLU()]
    layers += [block(width << downs, norm) for _ in range(blocks)]
    for i in reversed(range(downs)):
        a = width << i
        up = nn.ConvTranspose2d(2 * a, a, 3, 2, 1, output_padding=1)
        layers += [up, NORMS[norm](a), nn.ReLU()]
    return [*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]


class Enhancer(nn.Module):
    """A global generator without its end, and enhancers of 2 channels at the last."""

    def __init__(self, norm: str, count: int, downs: int, blocks: int, local: int, padding: str):
        super().__init__()
        self.count = count
        self.model = nn.Sequential(*global_generator(2 << count, downs, blocks, norm)[:-3])
        for n in range(1, count + 1):
            a = 2 << count - n
            down = [nn.ReflectionPad2d(3), nn.Conv2d(4, a, 7), NORMS[norm](a), nn.ReLU()]
            down += [nn.Conv2d(a, 2 * a, 3, 2, 1), NORMS[norm](2 * a), nn.ReLU()]
            up = [block(2 * a, norm, padding) for _ in range(local)]
            up += [nn.ConvTranspose2d(2 * a, a, 3, 2, 1, output_padding=1), NORMS[norm](a)]
            up += [nn.ReLU()]
            if n == count:
                up += [nn.ReflectionPad2d(3), nn.Conv2d(2, 3, 7), nn.Tanh()]
            self.add_module(f"model{n}_1", nn.Sequential(*down))
            self.add_module(f"model{n}_2", nn.Sequential(*up))

    def forward(self, x: Tensor) -> Tensor:
        sizes = [x]
        for _ in range(self.count):
            sizes.append(halved(sizes[-1]))
        h = self.model(sizes.pop())
        for n in range(1, self.count + 1):
            down, up = self.get_submodule(f"model{n}_1"), self.get_submodule(f"model{n}_2")
            h = up(down(sizes.pop()) + h)
        return h


@torch.no_grad()
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize(
    ("count", "downs", "blocks", "local", "padding"),
    [
        (1, 2, 1, 2, "reflect"),
        (2, 1, 1, 1, "reflect"),
        (3, 1, 2, 1, "replicate"),
        (1, 3, 0, 1, "zero"),
        (2, 2, 0, 0, "reflect"),
        (1, 1, 1, 3, "replicate"),
    ],
)
def test_local_enhancers(
    norm: str, count: int, downs: int, blocks: int, local: int, padding: str, tmp_path: Path
) -> None:
    net = drawn(Enhancer(norm, count, downs, blocks, local, padding))
    options = {"padding_type": padding} if padding == "replicate" else {}
    again = imported(net.state_dict(), tmp_path / "g.pth", **options)
    x = torch.randn(1, 4, 64, 32)
    close(again(x), net(x))
    assert again.multiple == 1 << count + downs


def test_enhancers_that_are_missing(tmp_path: Path) -> None:
    state = Enhancer("instance", 3, 1, 1, 1, "reflect").state_dict()
    less = {k: v for k, v in state.items() if not k.startswith("model2_")}
    refused(less, tmp_path / "g.pth", "local enhancer .*: its enhancers are not numbered from 1")
    del state["model2_2.0.conv_block.1.bias"]
    refused(state, tmp_path / "g.pth", r"model2_2\.0\.conv_block\.1\.bias is missing")


@torch.no_grad()
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("layers", [1, 3, 6])
@pytest.mark.parametrize("scales", [1, 3])
def test_discriminators_of_pix2pixhd(
    norm: str, layers: int, scales: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the maps of inner layers, and without: one row of layers, then, and one map."""

    def rows() -> list[list[nn.Module]]:
        found: list[list[nn.Module]] = [[nn.Conv2d(5, 2, 4, 2, 2), nn.LeakyReLU(0.2)]]
        for i in range(layers):
            a, stride = 2 << i, 1 if i == layers - 1 else 2
            conv = nn.Conv2d(a, 2 * a, 4, stride, 2)
            found.append([conv, NORMS[norm](2 * a), nn.LeakyReLU(0.2)])
        return [*found, [nn.Conv2d(2 << layers, 1, 4, 1, 2)]]

    net: Any = drawn(
        nn.ModuleList(nn.ModuleList(map(nn.ModuleList, rows())) for _ in range(scales))
    )
    x = torch.randn(2, 5, 128, 160)
    state, row, want, h = {}, {}, [], x
    for i, scale in enumerate(net):
        at, maps, y, place = scales - 1 - i, [], h, 0
        for j, layer in enumerate(scale):
            for k, module in enumerate(layer):
                y = module(y)
                for name, value in module.state_dict().items():
                    state[f"scale{at}_layer{j}.{k}.{name}"] = value
                    row[f"layer{at}.{place}.{name}"] = value
                place += 1
            maps.append(y)
        want.append(maps)
        h = halved(h)
    close(imported(state, tmp_path / "d.pth")(x), want)
    assert not caplog.messages
    with caplog.at_level(logging.WARNING):
        got = imported(row, tmp_path / "d.pth")(x)
    assert "use_sigmoid=false (else --option use_sigmoid=true)" in caplog.text
    last = [[maps[-1]] for maps in want]
    close([list(maps) for maps in got], last)
    got = imported(row, tmp_path / "d.pth", use_sigmoid=True)(x)
    close([list(m) for m in got], [[maps[-1].sigmoid()] for maps in want])
