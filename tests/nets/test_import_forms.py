"""Every form of other projects' networks that their constructors allow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from renaming import agree, lively, renamed, spectral
from torch import nn
from torch.nn import functional as F

from ganvas.core.errors import UserError
from ganvas.inference.importers import import_network
from ganvas.nets import (
    biggan,
    r3gan,
    resnet,
    stylegan2,
)
from ganvas.nets.norm import BatchNorm2d

# ---------------------------------------------------------------- R3GAN

BLOCK = (r"\.conv(\d)\.", r".LinearLayer\1.Layer."), (r"\.bias(\d)$", r".NonLinearity\1.Bias")


@pytest.mark.parametrize(
    "settings",
    [
        {"widths": [8, 8, 4], "group": [4, 2, 1], "blocks": [2, 0, 1]},
        {"widths": [4], "blocks": 1, "group": 4, "expansion": 3, "kernel": 5},
        {"widths": [8, 4], "blocks": 1, "group": 2, "taps": (1, 2, 2, 1), "classes": 3},
        {"widths": [4] * 5, "blocks": 1, "group": 2, "expansion": 1, "taps": (1, 1)},
        {"widths": [4] * 3, "blocks": 1, "group": 2, "taps": (1, 4, 6, 4, 1)},
        {"widths": [4] * 3, "blocks": 1, "group": 2, "taps": (1, 3, 5, 5, 2)},
    ],
)
def test_r3gan(settings: dict[str, Any], tmp_path: Path) -> None:
    size = 4 << len(settings["widths"]) - 1
    y = [torch.tensor([1, 2])] if "classes" in settings else []
    G = lively(r3gan.Generator(latent=5, size=size, embedding=3, **settings))
    stage = (
        r"^stages\.(\d+)\.(\d+)",
        lambda m: f"MainLayers.{m[1]}.Layers.{int(m[2]) + 1}",
    )
    change = (
        r"^resample\.(\d+)\.0\.weight",
        lambda m: f"MainLayers.{int(m[1]) + 1}.Layers.0.LinearLayer.Layer.weight",
    )
    ends = (
        (r"^basis$", "MainLayers.0.Layers.0.Basis"),
        (r"^input\.", "MainLayers.0.Layers.0.LinearLayer."),
        (r"^output\.", "AggregationLayer.Layer."),
        (r"^embed\.", "EmbeddingLayer."),
        (r"^", "Model."),
    )
    taps = torch.tensor(settings.get("taps", (1, 3, 3, 1)), dtype=torch.float32)
    kernel = taps.outer(taps) / taps.sum() ** 2
    kernels = {
        f"Model.MainLayers.{i}.Layers.0.Resampler.Kernel": kernel
        for i in range(1, len(settings["widths"]))
    }
    state = {**renamed(G, *BLOCK, stage, change, *ends), **kernels}
    again = agree(G, state, tmp_path / "g.pth", torch.randn(2, 5), *y)
    assert again(torch.randn(1, 5), *[c[:1] for c in y]).shape[2:] == (size, size)
    D = lively(r3gan.Discriminator(size=size, embedding=3, **settings))
    last = len(settings["widths"]) - 1
    blocks = [len(stage) for stage in D.stages]
    ends = (
        (r"^basis\.", f"MainLayers.{last}.Layers.{blocks[-1]}.Basis."),
        (r"^output\.", f"MainLayers.{last}.Layers.{blocks[-1]}.LinearLayer."),
        (r"^input\.", "ExtractionLayer.Layer."),
        (r"^embed\.", "EmbeddingLayer."),
        (r"^", "Model."),
    )
    stage = (r"^stages\.(\d+)\.(\d+)", r"MainLayers.\1.Layers.\2")
    change = (
        r"^resample\.(\d+)\.1\.weight",
        lambda m: f"MainLayers.{m[1]}.Layers.{blocks[int(m[1])]}.LinearLayer.Layer.weight",
    )
    kernels = {
        f"Model.MainLayers.{i}.Layers.{blocks[i]}.Resampler.Kernel": kernel for i in range(last)
    }
    state = {**renamed(D, *BLOCK, stage, change, *ends), **kernels}
    agree(D, state, tmp_path / "d.pth", torch.randn(2, 3, size, size), *y)


# ---------------------------------------------------------------- StyleGAN2

MAPPING = (r"^mapping\.layers\.(\d+)", r"mapping.fc\1"), (r"^w_avg", "mapping.w_avg")


@pytest.mark.parametrize("architecture", ["orig", "skip", "resnet"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mapping": 3, "hidden": 5, "classes": 3, "embedding": 2},
        {"mapping": 0, "latent": 4, "taps": (1, 1)},
        {"taps": (1, 2, 1)},
        {"taps": (1, 3, 2, 2)},
        {"taps": (1,)},
    ],
)
def test_stylegan2(architecture: str, settings: dict[str, Any], tmp_path: Path) -> None:
    y = [torch.tensor([0, 2])] if settings.get("classes") else []
    how = {"size": 16, "widths": [4, 6, 4], "architecture": architecture, "mapping": 2, **settings}
    how = {"latent": 7, **how}
    G = lively(stylegan2.Generator(style=4, noisy=bool(settings), **how))
    images = len(G.synthesis.to_rgb)

    def side(m: re.Match[str], shift: int = 0) -> int:
        return 4 << int(m[1]) + shift

    state = renamed(
        G,
        *MAPPING,
        (r"^synthesis\.const", "synthesis.b4.const"),
        (r"^synthesis\.up\.(\d)", lambda m: f"synthesis.b{side(m, 1)}.conv0"),
        (r"^synthesis\.flat\.(\d)", lambda m: f"synthesis.b{side(m)}.conv1"),
        (r"^synthesis\.to_rgb\.(\d)", lambda m: f"synthesis.b{side(m, 3 - images)}.torgb"),
        (r"^synthesis\.skips\.(\d)", lambda m: f"synthesis.b{side(m, 1)}.skip"),
        (r"\.noise\.weight", ".noise_strength"),
        (r"\.noise\.fixed", ".noise_const"),
        (r"(conv\d)\.conv\b", r"\1"),
        (r"\.style\b", ".affine"),
    )
    row = torch.tensor(settings.get("taps", (1, 3, 3, 1)), dtype=torch.float32)
    taps = row.outer(row) / row.sum() ** 2
    state |= {f"synthesis.b{s}.resample_filter": taps for s in (4, 8, 16)}
    agree(G, state, tmp_path / "g.pth", torch.randn(2, how["latent"]), *y, conv_clamp="none")
    how.pop("latent")
    D = lively(stylegan2.Discriminator(spread=2, joined=5, **how))
    state = renamed(
        D,
        *MAPPING,
        (r"^from_rgb", "b16.fromrgb"),
        (r"^more_rgb\.(\d)", lambda m: f"b{16 >> int(m[1]) + 1}.fromrgb"),
        (r"^last", "b4.conv"),
        (r"^dense", "b4.fc"),
        (r"^output", "b4.out"),
        (r"^blocks\.(\d)\.conv(\d)", lambda m: f"b{16 >> int(m[1])}.conv{int(m[2]) - 1}"),
        (r"^blocks\.(\d)\.skip", lambda m: f"b{16 >> int(m[1])}.skip"),
    )
    state |= {f"b{s}.resample_filter": taps for s in (8, 16)}
    agree(D, state, tmp_path / "d.pth", torch.randn(2, 3, 16, 16), *y, conv_clamp="none")


def test_groups_of_stylegan2(tmp_path: Path) -> None:
    """Groups of the authors' code are not neighbors, and their size is not in the file."""
    D = lively(stylegan2.Discriminator(size=8, widths=[4, 4]))
    names = (r"^from_rgb", "b8.fromrgb"), (r"^last", "b4.conv"), (r"^dense", "b4.fc")
    blocks = (r"^blocks\.0\.conv(\d)", lambda m: f"b8.conv{int(m[1]) - 1}")
    state = renamed(D, *names, (r"^output", "b4.out"), blocks, (r"^blocks\.0\.skip", "b8.skip"))
    torch.save(state, tmp_path / "d.pth")
    x = torch.randn(4, 3, 8, 8)

    def scores(group: int | None, x: torch.Tensor) -> torch.Tensor:
        options = {"mbstd_group_size": group, "conv_clamp": None}
        return import_network(tmp_path / "d.pth", options=options)(x)[:, 0]

    with torch.no_grad():
        torch.testing.assert_close(scores(2, x), torch.stack([D(x[::2]), D(x[1::2])], 1).flatten())
        torch.testing.assert_close(scores(None, x), D(x))
        x = torch.randn(6, 3, 8, 8)
        D.spread.group = 3
        torch.testing.assert_close(scores(3, x), torch.stack([D(x[::2]), D(x[1::2])], 1).flatten())
    with pytest.raises(UserError, match="mbstd_group_size is a whole number from 1 or none; got"):
        import_network(tmp_path / "d.pth", options={"mbstd_group_size": 1.5})


# ---------------------------------------------------------------- mimicry

RESNET = (
    (r"\.conv(\d)", r".c\1"),
    (r"\.shortcut", ".c_sc"),
    (r"\.norm(\d)", r".b\1"),
    (r"^attention", "attn_block"),
)


@pytest.mark.parametrize(
    "settings",
    [
        {"widths": [16, 8, 4, 2], "bottom": 6, "size": 48},
        {"widths": [16, 8, 4, 2, 1], "size": 64, "classes": 3},
        {"widths": [16, 16, 8, 4, 2, 1], "size": 128},
        {"widths": [16] * 4, "size": 32, "attention": 1},
        {"widths": [2] * 4, "bottom": 2, "size": 16},
    ],
)
def test_generators_of_mimicry(settings: dict[str, Any], tmp_path: Path) -> None:
    y = [torch.tensor([0, 2])] if settings.get("classes") else []
    net = lively(resnet.Generator(latent=5, upsampling="bilinear", **settings))
    last = len(settings["widths"]) + 1
    state = renamed(
        net,
        (r"^blocks\.(\d)", lambda m: f"block{int(m[1]) + 2}"),
        *RESNET,
        (r"^input", "l1"),
        (r"^norm", f"b{last}"),
        (r"^output", f"c{last}"),
        (r"\.norm\.", ".bn."),
    )
    for key in [k for k in state if k.endswith(".gain.weight")]:
        gains, biases = state.pop(key), state.pop(key.replace("gain", "bias"))
        state[key.replace("gain", "embed")] = torch.cat([1 + gains, biases], 1)
    agree(net, state, tmp_path / "g.pth", torch.randn(2, 5), *y)
    agree(
        net,
        spectral({k: v for k, v in state.items() if "embed" not in k})
        | {k: v for k, v in state.items() if "embed" in k},
        tmp_path / "g.pth",
        torch.randn(2, 5),
        *y,
    )


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize(
    ("widths", "shrinking", "linear"),
    [
        ([8] * 4, 2, "l5"),
        ([1, 2, 4, 8, 16], 4, "l5"),
        ([1, 2, 4, 8, 16], 5, "l6"),
        ([1, 2, 4, 8, 16, 16], 5, "l7"),
    ],
)
def test_discriminators_of_mimicry(
    widths: list[int], shrinking: int, linear: str, normalized: bool, tmp_path: Path
) -> None:
    pool = "sum" if normalized or len(widths) == shrinking + 1 == 5 else "mean"
    how = {"narrow": True, "rectified": True, "pool": pool}
    net = lively(resnet.Discriminator(widths=widths, shrinking=shrinking, **how))
    names = (r"^blocks\.(\d)", lambda m: f"block{int(m[1]) + 1}"), *RESNET, (r"^output", linear)
    state = renamed(net, *names)
    x = torch.randn(2, 3, 32, 32)
    agree(net, spectral(state) if normalized else state, tmp_path / "d.pth", x)
    if not normalized and pool == "mean":
        net.pool = torch.sum
        agree(net, state, tmp_path / "d.pth", x, pooling="sum")
    if linear == "l6" and not normalized:
        net.blocks[-1].down, net.pool = False, torch.mean
        agree(net, state, tmp_path / "d.pth", x, resolution="48")


def test_discriminators_of_mimicry_with_more_outputs(tmp_path: Path) -> None:
    how = {"rectified": True, "pool": "sum"}
    net = lively(resnet.Discriminator(width=4, classes=3, **how))
    names = (r"^blocks\.(\d)", lambda m: f"block{int(m[1]) + 1}"), *RESNET
    state = renamed(net, *names, (r"^output\.embed", "l_y"), (r"^output", "l5"))
    x, y = torch.randn(2, 3, 32, 32), torch.tensor([2, 0])
    agree(net, spectral(state), tmp_path / "d.pth", x, y)
    net = lively(resnet.Discriminator(width=4, **how))
    state = spectral(renamed(net, *names, (r"^output", "l5")))
    rotations = lively(nn.Linear(4, 4))
    torch.save(
        state | {f"l_y.{k}": v for k, v in rotations.state_dict().items()}, tmp_path / "d.pth"
    )
    with torch.no_grad():
        scores, logits = import_network(tmp_path / "d.pth")(x)
        torch.testing.assert_close(scores[:, 0], net(x))
        torch.testing.assert_close(logits, rotations(net.features(x)))
        infomax = {
            re.sub(
                r"^block(\d)",
                lambda m: (
                    "global_feat_blocks.0" if m[1] == "4" else f"local_feat_blocks.{int(m[1]) - 1}"
                ),
                k,
            ).replace("l5", "linear"): v
            for k, v in state.items()
        }
        for side, shape in (("local", (1, 1)), ("global", ())):
            for name, width in (("a", 4), ("b", 6), ("sc", 6)):
                infomax[f"{side}_nrkhs_{name}.weight"] = torch.rand(width, 4, *shape)
                infomax[f"{side}_nrkhs_{name}.bias"] = torch.rand(width)
        torch.save(infomax, tmp_path / "d.pth")
        again: Any = import_network(tmp_path / "d.pth")
        scores, local, features = again(x)
        torch.testing.assert_close(scores[:, 0], net(x))
        torch.testing.assert_close(local, F.relu(net.blocks[:-1](x)))
        assert [tuple(t.shape) for t in again.project(local, features)] == [(2, 6, 8, 8), (2, 6)]


# ---------------------------------------------------------------- BigGAN


@pytest.mark.parametrize("kind", ["usual", "mybn", "cross_replica", "nonorm"])
def test_biggan(kind: str, tmp_path: Path) -> None:
    net = lively(
        biggan.Generator(
            latent=8,
            width=2,
            size=24,
            bottom=3,
            classes=3,
            shared=3,
            multiples=[4, 4, 2, 2],
            attention=[12],
            normalised=False,
        )
    )
    if kind == "nonorm":
        for module in net.blocks.modules():
            if isinstance(module, BatchNorm2d) and not module.affine:
                module.register_forward_hook(lambda _, inputs, __: inputs[0])
    statistics = {"usual": r"stored_\1", "mybn": r"bn.stored_\1", "nonorm": r"stored_\1"}
    statistic = statistics.get(kind, r"bn.running_\1")
    state = renamed(
        net,
        (r"^input", "linear"),
        (r"^output", "output_layer.2"),
        (r"^norm\.weight", "output_layer.0.gain"),
        (r"^norm\.", "output_layer.0."),
        (r"^blocks\.(\d)", r"blocks.\1.0"),
        (r"^attention\.(\d)", r"blocks.\1.1"),
        (r"\.norm(\d)\.(norm\.)?", r".bn\1."),
        (r"shortcut", "conv_sc"),
        (r"running_(mean|var)", statistic),
    )
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    if kind == "nonorm":
        state = {k: v for k, v in state.items() if not re.match(r"blocks.*stored_", k)}
    agree(net, state, tmp_path / "g.pth", torch.randn(2, 8), torch.tensor([0, 2]))


def test_discriminators_of_biggan(tmp_path: Path) -> None:
    """Narrow, with attention after a block that keeps the side, and several outputs."""
    how = {"width": 8, "size": 32, "classes": 3, "narrow": True, "outputs": 2}
    net = biggan.Discriminator(attention=[16], normalised=False, multiples=[1, 2, 2, 4], **how)
    net.attention["3"] = biggan.SelfAttention(32)
    lively(net)
    state = renamed(
        net,
        (r"^output\.embed", "embed"),
        (r"^output", "linear"),
        (r"^blocks\.(\d)", r"blocks.\1.0"),
        (r"^attention\.(\d)", r"blocks.\1.1"),
        (r"shortcut", "conv_sc"),
    )
    agree(net, state, tmp_path / "d.pth", torch.randn(2, 3, 32, 32), torch.tensor([0, 2]))
