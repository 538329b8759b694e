"""Autoencoders of other projects with rare settings: layers, ends and activations."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from test_autoencoder_files import KL, VQ, lively, tamed
from torch import Tensor
from torch.nn import functional as F

from ganvas import import_network, load
from ganvas.core.errors import UserError
from ganvas.inference.exporters.export import export
from ganvas.inference.importers.as_method import import_model
from ganvas.nets.latent_layers import LinearAttention, ResnetBlock, SpatialNorm


def folder(net: Any, path: Path, **config: Any) -> Path:
    """A folder of diffusers."""
    path.mkdir(exist_ok=True)
    state = {k: v.contiguous() for k, v in net.state_dict().items()}
    save_file(state, path / "diffusion_pytorch_model.safetensors")
    kind = "VQModel" if "quantize.embedding.weight" in state else "AutoencoderKL"
    config = {"_class_name": kind, "norm_num_groups": 2, **config}
    (path / "config.json").write_text(json.dumps(config))
    return path


# ---------------------------------------------------------------- layers by their formulas


@torch.no_grad()
def test_linear_attention() -> None:
    net, x = lively(LinearAttention(3)), torch.randn(2, 3, 4, 5)
    q, k, v = torch.einsum("oi,nihw->nohw", net.to_qkv.weight[:, :, 0, 0], x).split(3, 1)
    share = k.flatten(2).exp() / k.flatten(2).exp().sum(2, keepdim=True)
    # Each query channel takes the values' averages by its channel's shares.
    means = torch.einsum("ndp,nep->nde", share, v.flatten(2))
    mixed = torch.einsum("nde,ndhw->nehw", means, q)
    want = torch.einsum("oi,nihw->nohw", net.to_out.weight[:, :, 0, 0], mixed)
    torch.testing.assert_close(net(x), want + net.to_out.bias[:, None, None])


@torch.no_grad()
def test_spatial_norms() -> None:
    net, x, z = lively(SpatialNorm(64, 3)), torch.randn(2, 64, 4, 6), torch.randn(2, 3, 2, 3)
    plain = x.unflatten(1, (32, 2))
    mean = plain.mean((2, 3, 4), keepdim=True)
    var = plain.var((2, 3, 4), keepdim=True, correction=0)
    plain = ((plain - mean) / (var + 1e-6).sqrt()).flatten(1, 2)
    plain = plain * net.norm_layer.weight[:, None, None] + net.norm_layer.bias[:, None, None]
    near = z.repeat_interleave(2, 2).repeat_interleave(2, 3)
    gain, bias = (
        torch.einsum("oi,nihw->nohw", conv.weight[:, :, 0, 0], near) + conv.bias[:, None, None]
        for conv in (net.conv_y, net.conv_b)
    )
    torch.testing.assert_close(net(x, z), plain * gain + bias, atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------- CompVis' projects


@torch.no_grad()
@pytest.mark.parametrize("make", [KL, VQ], ids=["kl", "vq"])
@pytest.mark.parametrize(
    "settings",
    [
        {"linear": True, "attention": [1]},
        {"blocks": 0, "widths": [4, 4], "widths_up": [4, 8]},
        {"blocks": 0, "widths": [4], "middle_attention": False},
        {"blocks": 0, "widths": [4, 4, 4], "widths_up": [4, 4, 12], "attention_up": [1]},
    ],
    ids=str,
)
def test_layers_of_latent_diffusion(make: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    """attn_type linear, and num_res_blocks 0."""
    net, file, x = lively(make(**settings)), tmp_path / "x.ckpt", torch.rand(2, 3, 8, 12)
    torch.save({"state_dict": tamed(net)}, file)
    options = {"num_groups": "2"}
    again: Any = import_network(file, options=options)
    torch.testing.assert_close(again(x), net(x))
    assert str(again) == str(net)
    if settings.get("attention_up") is None:
        import_model(file, tmp_path / "model", options=options)
        exported = export(tmp_path / "model", "taming", tmp_path / "y.ckpt")
        kind, mult = ("attn_type", "ch_mult") if "linear" in settings else ("ch_mult", "ch_mult")
        assert kind in "".join(exported.notes)
        assert mult in "".join(exported.notes)
        got = import_network(tmp_path / "y.ckpt", options=options)(x)
        torch.testing.assert_close(got, net(x))


@torch.no_grad()
def test_ends_of_decoders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """tanh_out and give_pre_end, which no configuration of the projects has."""
    net, file, x = lively(KL()), tmp_path / "x.ckpt", torch.rand(1, 3, 8, 8)
    torch.save({"state_dict": tamed(net)}, file)
    options = {"num_groups": 2}
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(import_network(file, options=options)(x), net(x))
    assert not caplog.messages
    bounded = import_network(file, options={**options, "tanh_out": True})
    torch.testing.assert_close(bounded(x), net(x).tanh())
    features = import_network(file, options={**options, "give_pre_end": True})(x)
    decoder = net.decoder
    want = decoder.conv_out(F.silu(decoder.conv_norm_out(features)))
    torch.testing.assert_close(want, net(x))
    with pytest.raises(UserError, match=r"it gives features in place of images \(give_pre_end\)"):
        import_model(file, tmp_path / "no", options={**options, "give_pre_end": True})
    import_model(file, tmp_path / "model", options={**options, "tanh_out": True})
    made = load(tmp_path / "model").translate(x, output="torch")
    torch.testing.assert_close(made, net(x).tanh())
    exported = export(tmp_path / "model", "taming", tmp_path / "y.ckpt")
    assert '"tanh_out": true' in "".join(exported.notes)


# ---------------------------------------------------------------- diffusers

ACTIVATIONS = {"silu": F.silu, "swish": F.silu, "relu": F.relu, "gelu": F.gelu, "mish": F.mish}


@torch.no_grad()
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As config.json says; a file without one does not show it."""
    net, x = lively(KL()), torch.rand(1, 3, 8, 8)
    path = folder(net, tmp_path / "vae", act_fn=name)

    def changed(block: ResnetBlock, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        x, act = inputs[0], ACTIVATIONS[name]
        h = block.conv2(act(block.norm2(block.conv1(act(block.norm1(x))))))
        return h + (x if block.conv_shortcut is None else block.conv_shortcut(x))

    for block in net.modules():
        if isinstance(block, ResnetBlock):
            block.register_forward_hook(changed)
    torch.testing.assert_close(import_network(path)(x), net(x))
    assert not caplog.messages
    import_model(path, tmp_path / "model")
    made = load(tmp_path / "model").translate(x, output="torch")
    torch.testing.assert_close(made, net(x).clamp(-1, 1))
    export(tmp_path / "model", "diffusers", tmp_path / "out")
    torch.testing.assert_close(import_network(tmp_path / "out")(x), net(x))
    (path / "config.json").unlink()
    with caplog.at_level(logging.WARNING):
        file = path / "diffusion_pytorch_model.safetensors"
        import_network(file, options={"norm_num_groups": 2})
    assert "assumed: act_fn=silu (else --option act_fn=swish|relu|gelu|mish)" in caplog.text


@torch.no_grad()
def test_codebooks_with_spatial_norms(tmp_path: Path) -> None:
    """The weights show it; the groups of spatial norms are fixed, those of others not."""
    net = lively(VQ(spatial=True, widths=[4, 64], attention=[1], latent=4))
    for weight in net.parameters():  # smaller ones do not amplify rounding
        weight.mul_(0.3 if weight.dim() == 4 else 1.0)
    path, x = folder(net, tmp_path / "movq", norm_type="spatial"), torch.rand(1, 3, 8, 8)
    again: Any = import_network(path)
    torch.testing.assert_close(again(x), net(x))
    norms = [m for m in again.modules() if isinstance(m, SpatialNorm)]
    assert len(norms) == 2 * (2 + 2 * 2) + 2 + 1 + 1
    assert {m.norm_layer.num_groups for m in norms} == {4, 32}
    other = import_network(path, options={"norm_num_groups": 4})
    assert not torch.equal(other(x), net(x))
    import_model(path, tmp_path / "model")
    export(tmp_path / "model", "diffusers", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["norm_type"] == "spatial"
    torch.testing.assert_close(import_network(tmp_path / "out")(x), net(x))
