"""Networks of autonomousvision/projected-gan under their names, in every form.

The expected outputs are computed here, from the tensors of the file.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.core.errors import UserError
from ganvas.inference.importers import as_method, import_network
from ganvas.inference.load import load
from ganvas.nets import fastgan, projected_gan

State = dict[str, Tensor]
WIDTHS = {2: 16, 4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}


def layer(name: str, *shape: int, spectral: bool = True, bias: int = 0) -> State:
    """A convolution or linear layer; `spectral`: as torch.nn.utils.spectral_norm has it."""
    state: State = {}
    weight = torch.randn(shape)
    if spectral:
        matrix = (weight.transpose(0, 1) if name == "init.init.0" else weight).flatten(1)
        v = F.normalize(torch.rand(matrix.shape[1]), dim=0)
        u = F.normalize(matrix @ v, dim=0)
        state |= {f"{name}.weight_orig": weight, f"{name}.weight_u": u, f"{name}.weight_v": v}
    else:
        state[f"{name}.weight"] = weight
    return {**state, **({f"{name}.bias": torch.rand(bias)} if bias else {})}


def norm(name: str, channels: int) -> State:
    """Batch norm, with variances that keep values near 1."""
    state = {f"{name}.{k}": torch.rand(channels) + 0.5 for k in ("weight", "bias", "running_mean")}
    state[f"{name}.running_var"] = 10 * torch.rand(channels) + 5
    return {**state, f"{name}.num_batches_tracked": torch.tensor(3)}


def conditional(name: str, channels: int, condition: int) -> State:
    return {
        f"{name}.stored_mean": torch.rand(channels),
        f"{name}.stored_var": 10 * torch.rand(channels) + 5,
        **layer(f"{name}.gain", channels, condition, bias=channels),
        **layer(f"{name}.bias", channels, condition, bias=channels),
    }


def weight(state: State, name: str) -> Tensor:
    """A layer's weights as they are used."""
    if f"{name}.weight" in state:
        return state[f"{name}.weight"]
    value = state[f"{name}.weight_orig"]
    matrix = value.transpose(0, 1) if name == "init.init.0" else value
    return value / (state[f"{name}.weight_u"] @ matrix.flatten(1) @ state[f"{name}.weight_v"])


def conv(x: Tensor, state: State, name: str, stride: int = 1, padding: int = 0) -> Tensor:
    w = weight(state, name)
    groups = x.shape[1] // w.shape[1]
    return F.conv2d(x, w, state.get(f"{name}.bias"), stride, padding, groups=groups)


def normalized(x: Tensor, state: State, name: str, c: Tensor | None = None) -> Tensor:
    kind = "running" if f"{name}.running_mean" in state else "stored"
    mean, var = (state[f"{name}.{kind}_{k}"].view(1, -1, 1, 1) for k in ("mean", "var"))
    x = (x - mean) / (var + 1e-5).sqrt()
    if c is None:
        gain, bias = (state[f"{name}.{k}"].view(1, -1, 1, 1) for k in ("weight", "bias"))
        return x * gain + bias
    gain, bias = (
        (c @ weight(state, f"{name}.{k}").T + state[f"{name}.{k}.bias"])[:, :, None, None]
        for k in ("gain", "bias")
    )
    return x * (1 + gain) + bias


# ---------------------------------------------------------------- generators


def generator_file(side: int, lite: bool, classes: int, width: int = 8, latent: int = 5) -> State:
    n = {s: int(multiple * width) for s, multiple in WIDTHS.items()}
    state = {**layer("init.init.0", latent, 2 * n[2], 4, 4), **norm("init.init.1", 2 * n[2])}
    state |= layer("to_big", 3, n[side], 3, 3, bias=3)
    for s in (8, 16, 32, 64, 128, 256, 512, 1024):
        if s > max(side, 256):
            break
        ends, inner, name = (2 * n[s], n[s // 2], 3, 3), (2 * n[s], n[s], 3, 3), f"feat_{s}"
        if 64 <= s <= 512:
            state |= layer(f"se_{s}.main.1", n[s], n[s // 16], 4, 4)
            state |= layer(f"se_{s}.main.3", n[s], n[s], 1, 1)
        if classes and lite:
            state |= layer(f"{name}.conv", *ends)
            state |= conditional(f"{name}.bn", 2 * n[s], latent)
        elif classes:
            state |= layer(f"{name}.conv1", *ends) | layer(f"{name}.conv2", *inner)
            state |= conditional(f"{name}.bn1", 2 * n[s], latent)
            state |= conditional(f"{name}.bn2", 2 * n[s], latent)
            state[f"{name}.noise.weight"] = torch.rand(1)
        elif lite:
            state |= layer(f"{name}.1", *ends) | norm(f"{name}.2", 2 * n[s])
        else:
            state |= layer(f"{name}.1", *ends) | norm(f"{name}.3", 2 * n[s])
            state |= layer(f"{name}.5", *inner) | norm(f"{name}.7", 2 * n[s])
            state |= {f"{name}.{i}.weight": torch.rand(1) for i in (2, 6)}
    return {**state, **({"embed.weight": torch.randn(classes, latent)} if classes else {})}


def generated(
    state: State, z: Tensor, side: int, noise: dict[int, tuple[Tensor, ...]], y: Tensor | None
) -> Tensor:
    c = None if y is None else state["embed.weight"][y]
    z = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    x = F.conv_transpose2d(z[:, :, None, None], weight(state, "init.init.0"))
    x = F.glu(normalized(x, state, "init.init.1"), 1)
    maps = {4: x}
    for s in (8, 16, 32, 64, 128, 256, 512, 1024):
        if s > side:
            break
        name, x = f"feat_{s}", x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        first = next(k for k in ("1", "conv", "conv1") if f"{name}.{k}.weight_orig" in state)
        second = {"1": "5", "conv": "-", "conv1": "conv2"}[first]
        convs = [k for k in (first, second) if f"{name}.{k}.weight_orig" in state]
        lite = len(convs) == 1
        norms = {"1": ["2"] if lite else ["3", "7"], "conv": ["bn"], "conv1": ["bn1", "bn2"]}[first]
        strengths = ["noise", "noise"] if c is not None else ["2", "6"]
        for i, (of, by) in enumerate(zip(convs, norms, strict=True)):
            x = conv(x, state, f"{name}.{of}", padding=1)
            if not lite:
                x = x + state[f"{name}.{strengths[i]}.weight"] * noise[s][i]
            x = F.glu(normalized(x, state, f"{name}.{by}", c), 1)
        if 64 <= s <= 512:
            small = F.silu(conv(F.adaptive_avg_pool2d(maps[s // 16], 4), state, f"se_{s}.main.1"))
            x = x * conv(small, state, f"se_{s}.main.3").sigmoid()
        maps[s] = x
    return conv(x, state, "to_big", padding=1)


@torch.no_grad()
@pytest.mark.parametrize(
    ("side", "lite", "classes"),
    [
        (128, True, 0),
        (128, False, 0),
        (128, False, 3),
        (256, True, 4),
        (256, False, 0),
        (512, True, 0),
        (1024, True, 0),
    ],
)
def test_generators(side: int, lite: bool, classes: int, tmp_path: Path) -> None:
    state = generator_file(side, lite, classes)
    torch.save({"G_ema": {f"synthesis.{k}": v for k, v in state.items()}, "D": state},
               tmp_path / "g.pt")  # fmt: skip
    net = import_network(tmp_path / "g.pt")
    z, y = torch.randn(2, 5), torch.tensor([2, 0])
    z = z[: 1 if side > 256 else 2]
    sides = [s for s in (8, 16, 32, 64, 128, 256) if s <= side and not lite]
    noise = {s: tuple(torch.randn(2, 1, s, s) for _ in range(2)) for s in sides}
    told = (y,) if classes else ()
    image = net(z, *told, noise=noise)
    assert image.shape == (len(z), 3, side, side)
    expected = generated(state, z, side, noise, y if classes else None)
    assert (image - expected).abs().max() < 1e-5 * expected.abs().max()
    if classes:
        torch.testing.assert_close(net(z, F.one_hot(y, classes).float(), noise=noise), image)
        with pytest.raises(UserError, match=f"has {classes} classes and got no labels"):
            net(z)
    assert torch.equal(net(z, *told), net(z, *told))  # fixed noise


@pytest.mark.parametrize("classes", [0, 3])
def test_generators_are_sampled(classes: int, tmp_path: Path) -> None:
    torch.save(generator_file(128, True, classes), tmp_path / "g.pt")
    header = as_method.import_model(tmp_path / "g.pt", tmp_path / "m")
    assert header.get("imported") == "FastGAN generator (autonomousvision/projected-gan)"
    assert header["shape"] == {"channels": 3, "height": 128, "width": 128, "classes": classes}
    model = load(tmp_path / "m")
    labels = [2, 0] if classes else None
    images = model.sample(2, seed=5, labels=labels, output="torch")
    assert images.shape == (2, 3, 128, 128)
    if classes:
        others = model.sample(2, seed=5, labels=[1, 0], output="torch")
        torch.testing.assert_close(others[1], images[1])
        assert not torch.allclose(others[0], images[0])


def test_sides_that_the_project_cannot_run(tmp_path: Path) -> None:
    torch.save(generator_file(64, True, 0), tmp_path / "g.pt")
    with pytest.raises(
        UserError, match=r"takes 16 channels; expected 8 \(128 px\) or 4 \(256 px\)"
    ):
        import_network(tmp_path / "g.pt")
    with pytest.raises(UserError, match="squares of 128, 256, 512, 1024 pixels a side; got 64x64"):
        projected_gan.Generator(size=64)


def test_fastgan_itself_is_another_format(tmp_path: Path) -> None:
    """Its generator gives a small image, too, and its last layers have no biases."""
    net = fastgan.Generator(5, 8, 256, normalized=False)
    assert net(torch.randn(1, 5)).shape == (1, 3, 256, 256)
    state = generator_file(256, False, 0)
    del state["to_big.bias"]
    torch.save(state, tmp_path / "g.pt")
    with pytest.raises(UserError, match="odegeasslbc/FastGAN-pytorch"):
        import_network(tmp_path / "g.pt")


# ---------------------------------------------------------------- discriminators


def discriminator_file(
    channels: list[int], blocks: list[int], separable: bool, patch: bool, classes: int
) -> State:
    state: State = {}
    for i, (c, count) in enumerate(zip(channels, blocks, strict=True)):
        disc = f"mini_discs.{i}"
        for j in range(count):
            block, out = f"{disc}.main.{j}.main", 2 * c + j
            inner = f"{block}.0.main" if patch else block
            if separable:
                state |= layer(f"{inner}.0.depthwise", c, 1, 3, 3)
                state |= layer(f"{inner}.0.pointwise", out, c, 1, 1)
            else:
                state |= layer(f"{inner}.0", out, c, 4, 4, bias=out)
            state |= norm(f"{inner}.1", out)
            if patch:
                state |= layer(f"{block}.1", out, out, 1, 1) | norm(f"{block}.2", out)
            c = out
        if classes:
            state |= layer(f"{disc}.cls", 6, c, 4, 4)
            state |= {f"{disc}.embed.weight": torch.randn(classes, 7)}
            state |= layer(f"{disc}.embed_proj.0", 6, 7, spectral=False, bias=6)
        else:
            state |= layer(f"{disc}.main.{count}", 1, c, 4, 4)
    return state


def scored(state: State, features: list[Tensor], blocks: list[int], y: Tensor | None) -> Tensor:
    scores = []
    for i, (x, count) in enumerate(zip(features, blocks, strict=True)):
        disc = f"mini_discs.{i}"
        for j in range(count):
            block = f"{disc}.main.{j}.main"
            patch = f"{block}.2.weight" in state
            inner = f"{block}.0.main" if patch else block
            separable = f"{inner}.0.pointwise.weight_orig" in state
            if separable:
                x = conv(x, state, f"{inner}.0.depthwise", padding=1)
                x = conv(x, state, f"{inner}.0.pointwise")
            else:
                x = conv(x, state, f"{inner}.0", 2, 1)
            x = F.leaky_relu(normalized(x, state, f"{inner}.1"), 0.2)
            x = F.avg_pool2d(x, 2) if separable else x
            if patch:
                x = conv(x, state, f"{block}.1")
                x = F.leaky_relu(normalized(x, state, f"{block}.2"), 0.2)
        if y is None:
            x = conv(x, state, f"{disc}.main.{count}")
        else:
            x, table = conv(x, state, f"{disc}.cls"), state[f"{disc}.embed.weight"]
            c = table[y] @ state[f"{disc}.embed_proj.0.weight"].T
            c = F.leaky_relu(c + state[f"{disc}.embed_proj.0.bias"], 0.2)
            x = (x * c[:, :, None, None]).sum(1) / 6**0.5
        scores.append(x.flatten(1))
    return torch.cat(scores, 1)


@torch.no_grad()
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("patch", [False, True])
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("blocks", [[0], [2], [2, 1, 0, 0]])
def test_discriminators(
    blocks: list[int], classes: int, patch: bool, separable: bool, tmp_path: Path
) -> None:
    channels = [3, 4, 5, 6][: len(blocks)]
    state = discriminator_file(channels, blocks, separable, patch, classes)
    whole = {f"discriminator.{k}": v for k, v in state.items()}
    backbone = {"feature_network.pretrained.layer0.0.weight": torch.zeros(4, 3, 3, 3)}
    torch.save({"G": {}, "D": {**whole, **backbone}}, tmp_path / "d.pt")
    net = import_network(tmp_path / "d.pt", part="D")
    features = [torch.randn(2, c, 8 << n, 4 << n) for c, n in zip(channels, blocks, strict=True)]
    y = torch.tensor([0, 2])
    told = (y,) if classes else ()
    scores = net(features, *told)
    expected = scored(state, features, blocks, y if classes else None)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)
    named = {str(i): x for i, x in enumerate(features)}
    torch.testing.assert_close(net({**named, "9": features[0]}, *told), scores)
    with pytest.raises(UserError, match=f"got 0 feature maps; expected {len(blocks)}"):
        net([], *told)
    with pytest.raises(UserError, match=f"2x2.* needs sides of at least {4 << blocks[0]}"):
        net([x[..., :2, :2] for x in features], *told)


def test_discriminators_that_are_numbered_otherwise(tmp_path: Path) -> None:
    state = discriminator_file([3], [1], False, False, 0)
    torch.save({k.replace("discs.0", "discs.99999999"): v for k, v in state.items()},
               tmp_path / "d.pt")  # fmt: skip
    with pytest.raises(UserError, match="mini_discs are 99999999, not numbered from 0"):
        import_network(tmp_path / "d.pt")
    torch.save({k.replace("main.0", "main.99999999"): v for k, v in state.items()},
               tmp_path / "d.pt")  # fmt: skip
    with pytest.raises(UserError, match=r"projected GAN discriminator.*has no place"):
        import_network(tmp_path / "d.pt")


# ---------------------------------------------------------------- random projections


@torch.no_grad()
@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize("scales", [False, True])
def test_random_projections(scales: bool, expand: bool, tmp_path: Path) -> None:
    channels, out = (3, 5, 7, 9), [4 << i if expand else 4 for i in range(4)]
    state: State = {}
    for i in range(4):
        state |= layer(f"layer{i}_ccm", out[i], channels[i], 1, 1, spectral=False, bias=out[i])
        narrow = out[i] // 2 if expand and i else out[i]
        if scales:
            name = f"layer{i}_csm.out_conv"
            state |= layer(name, narrow, out[i], 1, 1, spectral=False, bias=narrow)
    whole = {f"feature_network.scratch.{k}": v for k, v in state.items()}
    torch.save({**whole, "discriminator.x.weight": torch.zeros(1)}, tmp_path / "d.pt")
    net = import_network(tmp_path / "d.pt", part="feature_network.scratch")
    features = [torch.randn(2, c, 16 >> i, 24 >> i) for i, c in enumerate(channels)]
    expected = [conv(x, state, f"layer{i}_ccm") for i, x in enumerate(features)]
    for i in range(3, -1, -1) if scales else ():
        x = expected[i] + (expected[i + 1] if i < 3 else 0)
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        expected[i] = conv(x, state, f"layer{i}_csm.out_conv")
    torch.testing.assert_close(net(features), expected)
    if scales:
        with pytest.raises(UserError, match="expected each to have half the sides"):
            net([*features[:3], features[3][..., :1]])
