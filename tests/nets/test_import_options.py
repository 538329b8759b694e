"""Options of other projects' constructors, also those that a file does not show."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from renaming import agree, lively, renamed, spectral
from torch import nn

from ganvas.core import meta_device
from ganvas.core.errors import UserError
from ganvas.inference.importers import as_method, import_network
from ganvas.inference.importers.options import parse
from ganvas.inference.load import load
from ganvas.nets import (
    image_to_image,
    munit,
    patchgan,
    progan,
    super_resolution,
    unit,
)
from ganvas.nets.norm import BatchNorm2d

# ---------------------------------------------------------------- UNIT


@pytest.mark.parametrize(("norm", "step"), [(None, 3), (BatchNorm2d, 4), (unit.LayerNorm, 4)])
def test_discriminators_of_unit(norm, step: int, tmp_path: Path) -> None:
    net = lively(unit.MultiscaleDiscriminator(3, 4, layers=3, scales=2, norm=norm))

    def place(m: re.Match[str]) -> str:
        at = int(m[2]) + (step == 4 and int(m[2]) > 2)  # as if the first had a norm, too
        layer, inside = divmod(at, step)
        name = m[3].replace("gain", "gamma")
        name = name.replace("bias", "beta") if norm is unit.LayerNorm and inside == 2 else name
        kind = "" if layer == 3 else ".norm" if inside == 2 else ".conv"
        return f"cnns.{m[1]}.{layer}{kind}.{name}"

    state = renamed(net, (r"^scales\.(\d)\.(\d+)\.(\w+)", place))
    x = torch.randn(2, 3, 32, 32)
    agree(net, state, tmp_path / "d.pth", x)
    for scale in net.scales:
        for i, layer in enumerate(scale):
            if isinstance(layer, nn.LeakyReLU):
                scale[i] = nn.ReLU()
    agree(net, state, tmp_path / "d.pth", x, activ="relu")


def test_styles_of_munit() -> None:
    """AdaIN's numbers decide mean and deviation of every channel; 0 is the mean style."""
    net = lively(munit.Autoencoder(3, 4, style=3, halvings=1, blocks=1, hidden=5))
    block, style = net.blocks[0], torch.randn(2, 32)
    x = torch.randn(2, 8, 6, 6)
    with torch.no_grad():
        added = block(x, style) - x
        torch.testing.assert_close(added.mean((2, 3)), style[:, 16:24])
        std = added.std((2, 3), correction=0)
        torch.testing.assert_close(std, style[:, 24:].abs(), atol=1e-3, rtol=1e-3)
        pair = munit.Decoders(net, net)
        torch.testing.assert_close(pair(x, 1), net.decode(x, torch.zeros(2, 3)))
    with pytest.raises(UserError, match="multiples of 2"):
        net(torch.zeros(1, 3, 7, 8))


# ---------------------------------------------------------------- junyanz


@pytest.mark.parametrize("blur", [False, True])
@pytest.mark.parametrize("layers", [0, 1, 2, 6])
@pytest.mark.parametrize("norm", ["batch", "instance", "none", "affine"])
def test_patch_discriminators(norm, layers: int, blur: bool, tmp_path: Path) -> None:
    bias = None if norm != "none" else False
    net = lively(patchgan.PatchDiscriminator(2, 3, layers, norm, blur=blur, bias=bias))
    state = dict(net.state_dict())
    if blur:
        places = (int(k.split(".")[1]) for k in state if k.endswith(".weight"))
        row = torch.tensor([1.0, 2.0, 1.0])
        convs = sorted(n for n in set(places) if state[f"model.{n}.weight"].dim() == 4)
        state |= {
            f"model.{n - 1}.filt": (row.outer(row) / 16).expand(3, 1, 3, 3) for n in convs[1:-2]
        } or {"model.2.filt": (row.outer(row) / 16).expand(3, 1, 3, 3)}
    again = agree(net, state, tmp_path / "d.pth", torch.randn(1, 2, 256, 256))
    assert str(again) == str(net)


def test_borders_of_resnet_generators(tmp_path: Path) -> None:
    for norm in ("instance", "affine", "batch", "none"):
        for dropout in (False, True):
            net = lively(
                image_to_image.ResNetGenerator(
                    width=2,
                    blocks=2,
                    norm=norm,
                    dropout=dropout,
                    reflect=False,
                    bias=True if norm == "batch" else None,  # as pix2pixHD's
                )
            )
            again = agree(net, net.state_dict(), tmp_path / "g.pth", torch.randn(1, 3, 16, 16))
            assert str(again) == str(net)
    net = lively(image_to_image.ResNetGenerator(width=2, blocks=2))
    state = net.state_dict()
    for block in net.model:
        if isinstance(block, image_to_image.ResNetBlock):
            block.conv_block[0] = block.conv_block[4] = nn.ReplicationPad2d(1)
    x = torch.randn(1, 3, 16, 16)
    agree(net, state, tmp_path / "g.pth", x, padding_type="replicate")


# ---------------------------------------------------------------- what a file does not show


def test_activations_of_compact_networks(tmp_path: Path) -> None:
    net = super_resolution.CompactNet(3, 4, 2, 2, prelu=False)
    file, x = tmp_path / "c.pth", torch.rand(1, 3, 8, 8)
    agree(net, net.state_dict(), file, x, act_type="relu")
    with pytest.raises(UserError, match=r"act_type, relu or leakyrelu.*--option act_type=relu\|l"):
        import_network(file)
    with pytest.raises(UserError, match="act_type is relu or leakyrelu; got 'gelu'"):
        import_network(file, options={"act_type": "gelu"})
    with pytest.raises(UserError, match=r"no option 'acttype'\. Did you mean 'act_type'"):
        import_network(file, options={"acttype": "relu"})
    with torch.no_grad():
        leaky = import_network(file, options={"act_type": "leakyrelu"})(x)
        assert not torch.allclose(leaky, net(x))
        as_method.import_model(file, tmp_path / "model", options={"act_type": "LeakyReLU"})
        method: Any = load(tmp_path / "model").method
        torch.testing.assert_close(method.G(x), leaky)


def test_what_is_assumed_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = super_resolution.UNetDiscriminator(3, 4, normalised=False, skip=False)
    inner = {k: v for k, v in net.state_dict().items() if k[4] in "12345678"}
    state = {**net.state_dict(), **spectral(inner)}
    state = {k: v for k, v in state.items() if k not in inner}
    x = torch.rand(1, 3, 16, 16)
    with caplog.at_level(logging.WARNING):
        agree(net, state, tmp_path / "d.pth", x, skip_connection="false")
        assert not caplog.messages
        import_network(tmp_path / "d.pth", options={"skip_connection": True})
        assert not caplog.messages
        again = import_network(tmp_path / "d.pth")
    (message,) = caplog.messages
    assert "assumed: skip_connection=true (else --option skip_connection=false)" in message
    assert message.isprintable()
    with torch.no_grad():
        assert not torch.allclose(again(x), net(x))


@pytest.mark.parametrize(("channels", "out", "doublings"), [(3, 1, 2), (1, 3, 2), (4, 3, 2)])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_scales_of_rrdb(
    channels: int, out: int, doublings: int, scale: int, tmp_path: Path
) -> None:
    """Of images with other channels than their enlargement's."""
    net = super_resolution.RRDBNet(channels, 4, 1, 2, scale, out, doublings)
    x = torch.rand(1, channels, 8, 8)
    agree(net, net.state_dict(), tmp_path / "g.pth", x, scale=str(scale))
    if channels != 3 and scale != 4:
        with pytest.raises(UserError, match=r"does not show its scale, 4 or 2.*scale=4\|2"):
            import_network(tmp_path / "g.pth")


def test_ends_of_progressive_networks(tmp_path: Path) -> None:
    """Discriminators with classes; a generator's tanh belongs to its loss."""
    net = progan.ProgressiveDiscriminator(size=8, widths=[4, 4], names=3, spread=False)
    names = (r"^last", "groupScaleZero.0"), (r"^dense", "groupScaleZero.1")
    ends = (r"^output", "decisionLayer"), (r"^from_rgb", "fromRGBLayers")
    blocks = (r"^blocks\.(\d)\.conv(\d)", lambda m: f"scaleLayers.{m[1]}.{int(m[2]) - 1}")
    state = renamed(net, *names, *ends, blocks, (r"\.(weight|bias)$", r".module.\1"))
    torch.save(state, tmp_path / "d.pth")
    assert import_network(tmp_path / "d.pth")(torch.randn(2, 3, 8, 8)).shape == (2, 4)
    net = progan.ProgressiveGenerator(latent=5, size=8, widths=[4, 4])
    names = (r"^input", "formatLayer"), (r"^first", "groupScale0.0"), (r"^to_rgb", "toRGBLayers")
    state = renamed(net, *names, blocks, (r"\.(weight|bias)$", r".module.\1"))
    torch.save(state, tmp_path / "g.pth")
    z = torch.randn(2, 5)
    plain, bounded = (
        import_network(tmp_path / "g.pth", options={"generationActivation": end})(z)
        for end in ("none", "tanh")
    )
    torch.testing.assert_close(plain.tanh(), bounded)


def test_options_of_the_command_line() -> None:
    assert parse(["act_type=relu", "a=b=c"]) == {"act_type": "relu", "a": "b=c"}
    for text in ("act_type", "=relu", "act_type=", "\x1b[31m"):
        with pytest.raises(UserError, match="is not NAME=VALUE") as e:
            parse([text])
        assert str(e.value).isprintable()


# ---------------------------------------------------------------- hostile files


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (["Model.MainLayers.0.Layers.0.Basis", "Model.AggregationLayer.Layer.weight",
          "Model.MainLayers.999999999.Layers.0.LinearLayer2.Layer.weight"], "not numbered from 0"),
        (["l1.weight", "block2.c2.weight", "block3.c_sc.weight", "block999999999.c1.weight"],
         "not numbered from 2"),
        (["block1.c1.weight", "block1.c_sc.weight", "block4.c2.weight"], "not numbered from 1"),
        (["synthesis.b4.const", "synthesis.b4.conv1.affine.weight",
          "synthesis.b4294967296.conv1.weight"], "StyleGAN2 generator"),
        (["linear.weight", "blocks.0.0.bn1.gain.weight", "output_layer.0.gain",
          "blocks.999999999.1.gamma"], "BigGAN generator"),
        (["enc_content.model.0.conv.weight", "enc_style.model.0.conv.weight"], "AdaIN"),
    ],
)  # fmt: skip
def test_numbers_in_names_do_not_decide_how_much_is_built(
    keys: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meta_device, "MAX_CALLS", 2000)
    torch.save({k: torch.zeros(4, 4, 4, 4) for k in keys}, tmp_path / "net.pth")
    with pytest.raises(UserError, match=f"looks like a .*{says}") as e:
        import_network(tmp_path / "net.pth")
    assert len(str(e.value)) < 600
