"""Autoencoders of latents in the files of diffusers and of CompVis' projects."""

from __future__ import annotations

import json
import sys
import types
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Adam
from toys import toy_images

from ganvas import import_network, load, methods
from ganvas.core import Run, Shape
from ganvas.core.errors import CapabilityError, UserError
from ganvas.data import derived
from ganvas.engine.engine import Engine
from ganvas.inference.exporters import diffusers, taming
from ganvas.inference.exporters.export import export
from ganvas.inference.exporters.network import Network, network
from ganvas.inference.importers.as_method import import_model
from ganvas.inference.importers.taming import named
from ganvas.inference.model import Model
from ganvas.nets import latent_autoencoder as nets
from ganvas.nets.codebook import Codebook, GumbelCodebook
from ganvas.nets.patchgan import PatchDiscriminator
from ganvas.nets.super_resolution import SRResNet
from ganvas.training.initial import start_from


def lively(net: nn.Module) -> Any:
    """Weights of both signs, none of them 0."""
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                value.copy_(0.2 * torch.randn_like(value) + 0.05)
                if name.endswith("running_var"):
                    value.abs_()
    return net.eval()


SMALL: dict[str, Any] = {"widths": [4, 8], "blocks": 1, "groups": 2}
KL = partial(nets.KLAutoencoder, **SMALL)
VQ = partial(nets.VQAutoencoder, codes=9, **SMALL)


def exportable(make: Any, channels: int = 3) -> Network:
    kind: Any = methods.VQGAN if make.func is nets.VQAutoencoder else methods.AutoencoderKL
    shape = Shape(channels, 16, 16)
    method = kind(shape, AE=make, D=partial(PatchDiscriminator, width=4, layers=1))
    lively(method.AE)
    info = {"shape": {"channels": channels, "height": 16, "width": 16, "classes": 0}}
    return network(Model(method, info))


def tamed(net: Any) -> dict[str, Tensor]:
    """A state under the authors' names, attention in 1x1 convolutions."""
    levels = len(net.levels.widths)
    return {
        named(key, levels): value[:, :, None, None]
        if ".attentions." in key and value.dim() == 2
        else value
        for key, value in net.state_dict().items()
    }


# Settings that change shapes, each alone.
@pytest.mark.parametrize(
    "settings",
    [
        {"blocks": 3},
        {"widths": [8]},
        {"widths": [8, 4, 12], "stem": 4},
        {"attention": [0]},
        {"attention": [1]},
        {"convolved": False},
        {"middle_attention": False},
        {"latent": 2, "features": 6},
        {"channels": 1},
        {"groups": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [KL, VQ], ids=["kl", "vq"])
@torch.no_grad()
def test_settings_that_change_shapes(make: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    net = lively(make(**settings))
    x = torch.rand(2, net.channels, 8, 12)
    torch.save({"state_dict": tamed(net)}, tmp_path / "x.ckpt")
    again: Any = import_network(
        tmp_path / "x.ckpt", options={"num_groups": settings.get("groups", 2)}
    )
    torch.testing.assert_close(again(x), net(x))
    assert list(again.levels.attention) == list(net.levels.attention)
    assert (again.stem, again.features, again.latent) == (net.stem, net.features, net.latent)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make",
    [
        KL,
        partial(KL, attention=[0], attention_up=[1], latent=3),
        partial(KL, quant_conv=False, post_quant_conv=False, widths=[4, 4, 8], blocks=2),
        partial(KL, middle_attention=False),
        partial(VQ, latent=5, features=3),
        partial(VQ, spatial=True, groups=32, widths=[32, 64], attention_up=[0], attention=[1]),
    ],
    ids=["kl", "attention", "quant", "middle", "vq", "spatial"],
)
@torch.no_grad()
def test_diffusers_computes_the_same(make: Any, tmp_path: Path) -> None:
    """A folder of ganvas read by diffusers, and one of diffusers read by ganvas."""
    library = pytest.importorskip("diffusers", reason="diffusers is not installed")
    ready = exportable(make)
    net, folder = diffusers.autoencoder_of(ready), tmp_path / "ours"
    diffusers.write(ready, folder, {})
    kind = library.AutoencoderKL if isinstance(net, nets.KLAutoencoder) else library.VQModel
    theirs, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    for value in theirs.parameters():  # other weights on their way back
        value.copy_(value + 0.05 * torch.randn_like(value))
    theirs.save_pretrained(tmp_path / "theirs")
    x = torch.rand(2, 3, 16, 24) * 2 - 1
    again = import_network(tmp_path / "theirs")
    reference = kind.from_pretrained(folder)
    for ours, other in ((net, reference), (again, theirs)):
        if not isinstance(ours, nets.KLAutoencoder):
            torch.testing.assert_close(ours(x), other(x).sample, atol=1e-5, rtol=0)
            continue
        q = other.encode(x).latent_dist
        encoded = ours.encode(x)
        torch.testing.assert_close(encoded[:, 0], q.mean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(encoded[:, 1], q.logvar, atol=1e-5, rtol=1e-5)
        z = torch.randn_like(q.mean)
        torch.testing.assert_close(ours.decode(z), other.decode(z).sample, atol=1e-5, rtol=1e-5)
    assert not torch.equal(again(x), net(x))


@torch.no_grad()
def test_old_names_and_files_without_config(
    tmp_path: Path, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention as diffusers named it before 0.14; groups as an option, or as config.json has."""
    monkeypatch.setattr("ganvas.inference.exporters.network.BATCHES", (1, 1, 1))  # faster
    net = lively(KL())
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for key, value in net.state_dict().items():
        for new, before in old.items():
            key = key.replace(f"attentions.0.{new}", f"attentions.0.{before}")
        state[key] = value
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file(state, file)
    x = torch.rand(1, 3, 8, 8)
    both = {"norm_num_groups": 2, "act_fn": "swish"}
    torch.testing.assert_close(import_network(file, options=both)(x), net(x))
    with pytest.raises(UserError, match="does not show its norm_num_groups, 1 or 2 or 4: say"):
        import_network(file)
    config = {"_class_name": "AutoencoderKL", "norm_num_groups": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.testing.assert_close(import_network(file)(x), net(x))
    import_model(tmp_path, tmp_path / "model")
    made = load(tmp_path / "model").translate(x, output="torch")
    torch.testing.assert_close(made, net(x).clamp(-1, 1))
    for form, out in (("diffusers", tmp_path / "out"), ("taming", tmp_path / "out.safetensors")):
        exported = export(tmp_path / "model", form, out)
        assert len(exported.compared) == 3
    again = load_file(tmp_path / "out" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(again[key], value) for key, value in net.state_dict().items())
    with pytest.raises(UserError, match="out exists and is not an empty folder"):
        export(tmp_path / "model", "diffusers", tmp_path / "out")
    assert not caplog.records, "nothing was assumed"


@torch.no_grad()
def test_checkpoints_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning's file: averaged weights, the discriminator, and a class among its keys."""
    net, average = lively(VQ()), lively(VQ())
    D = lively(PatchDiscriminator(3, 4, 2, norm="batch"))
    state = {f"first_stage_model.{key}": value for key, value in tamed(net).items()}
    names = {key: key.replace(".", "") for key in tamed(net)}
    ema = {f"first_stage_model.model_ema.{names[k]}": v for k, v in tamed(average).items()}
    loss = {key.replace("model.", "main.", 1): value for key, value in D.state_dict().items()}
    loss = {f"first_stage_model.loss.discriminator.{key}": value for key, value in loss.items()}
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module: Any = types.ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})
    file = tmp_path / "last.ckpt"
    with monkeypatch.context() as patch:
        for part in ("pytorch_lightning", "pytorch_lightning.callbacks", name):
            patch.setitem(sys.modules, part, module)
        whole = {**state, **loss, "model.other.weight": torch.zeros(2)}
        callbacks = {module.ModelCheckpoint: {"best": torch.zeros(())}}
        torch.save({"state_dict": {**whole, **ema}, "callbacks": callbacks}, file)
        torch.save({"state_dict": whole, "callbacks": callbacks}, tmp_path / "trained.ckpt")
    x = torch.rand(1, 3, 32, 32)
    options = {"num_groups": 2}
    torch.testing.assert_close(import_network(file, options=options)(x), average(x))
    trained = import_network(tmp_path / "trained.ckpt", options=options)
    torch.testing.assert_close(trained(x), net(x))
    again = import_network(file, part="first_stage_model.loss.discriminator")
    torch.testing.assert_close(again(x), D(x))


class ActNorm(nn.Module):
    """taming's norm: the same function of every image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.randn(1, channels, 1, 1))
        self.scale = nn.Parameter(torch.randn(1, channels, 1, 1))
        self.register_buffer("initialized", torch.ones((), dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (x + self.loc)


def test_a_discriminator_with_actnorm_is_one_without_norms(tmp_path: Path) -> None:
    model = PatchDiscriminator(3, 4, 2, norm="batch", bias=True).model
    layers = [ActNorm(m.num_features) if isinstance(m, nn.BatchNorm2d) else m for m in model]
    theirs = nn.Sequential(*layers)
    file = tmp_path / "d.ckpt"
    state = {f"loss.discriminator.main.{k}": v for k, v in theirs.state_dict().items()}
    torch.save({"state_dict": state}, file)
    x = torch.rand(2, 3, 32, 32)
    ours = import_network(file, part="loss.discriminator")
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-4, rtol=1e-4)
    del state["loss.discriminator.main.6.scale"]
    torch.save({"state_dict": state}, file)
    with pytest.raises(UserError, match=r"main\.6\.scale is missing"):
        import_network(file, part="loss.discriminator")


def test_drawn_codes_are_those_of_their_probabilities() -> None:
    """Hard draws, as often as the softmax says, with the gradient of relaxed ones."""
    quantize = GumbelCodebook(3, 2, temperature=0.5, divergence_weight=1.0)
    z = torch.randn(1, 2, 1, 1).expand(20_000, 2, 1, 1).requires_grad_()
    drawn = quantize(z)
    p = quantize.proj(z)[0].flatten().softmax(0)
    shares = drawn.codes.flatten().bincount(minlength=3) / len(z)
    torch.testing.assert_close(shares, p.detach(), atol=0.015, rtol=0)
    torch.testing.assert_close(drawn.z[:, :, 0, 0], quantize.embed(drawn.codes[:, 0, 0]))
    torch.testing.assert_close(drawn.codebook, (p * (3 * p).log()).sum())
    grads = torch.autograd.grad(drawn.z.square().sum(), [z, *quantize.parameters()])
    assert all(float(g.abs().max()) > 0 for g in grads)
    likely = quantize.eval()(z)
    assert (likely.codes == p.argmax()).all()
    with pytest.raises(UserError, match="temperature"):
        VQ(gumbel=True, temperature=0.0)


def test_averaged_codes_follow_their_latents(tmp_path: Path) -> None:
    """Appendix A.1 of arXiv:1711.00937 with m and N apart; a code without latents stays."""
    quantize, gamma = Codebook(3, 2, ema=0.9), 0.9
    assert not list(quantize.parameters())
    assert "counts" in quantize.state_dict()
    quantize.embedding.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]]))
    m, N = quantize.embedding.weight.clone(), torch.ones(3)
    for z in ([[0.1, 0.2], [0.3, -0.2], [1.5, 0.5]], [[0.2, 0.2], [1.0, 1.0], [2.0, 0.0]]):
        latents = torch.tensor(z).T[None, :, :, None].requires_grad_()
        before = quantize.embedding.weight.clone()
        q = quantize(latents)
        torch.testing.assert_close(q.z[0, :, :, 0].T, before[q.codes[0, :, 0]])
        assert not q.codebook.requires_grad
        assert q.commitment.requires_grad
        for i in range(3):
            mine = torch.tensor(z)[q.codes[0, :, 0] == i]
            N[i] = gamma * N[i] + (1 - gamma) * len(mine)
            m[i] = gamma * m[i] + (1 - gamma) * mine.sum(0)
    torch.testing.assert_close(quantize.embedding.weight, m / N[:, None])
    assert torch.equal(quantize.embedding.weight[2], torch.tensor([9.0, 9.0]))
    quantize.counts[2] = 0  # after very many updates
    assert quantize(latents).codes.shape == (1, 3, 1)
    assert quantize.embedding.weight.isfinite().all()
    kept = quantize.embedding.weight.clone()
    quantize.eval()(latents)
    assert torch.equal(quantize.embedding.weight, kept)
    with pytest.raises(UserError, match="gumbel or ema"):
        VQ(gumbel=True, ema=0.9)
    ready = exportable(partial(VQ, ema=0.9))
    taming.write(ready, tmp_path / "x.ckpt", {})  # without the counts
    again = import_network(tmp_path / "x.ckpt", options={"num_groups": 2})
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(again(x), diffusers.autoencoder_of(ready)(x))


def test_a_training_starts_from_a_checkpoint(tmp_path: Path) -> None:
    """Autoencoder and discriminator come from the same file."""
    net, D = lively(VQ()), lively(PatchDiscriminator(3, 4, 1, norm="batch"))
    loss = {key.replace("model.", "main.", 1): value for key, value in D.state_dict().items()}
    state = {**tamed(net), **{f"loss.discriminator.{key}": value for key, value in loss.items()}}
    file = tmp_path / "last.ckpt"
    torch.save({"state_dict": state}, file)
    run = Run(
        method=partial(
            methods.VQGAN, AE=VQ, D=partial(PatchDiscriminator, width=4, layers=1, norm="batch")
        ),
        data=partial(derived, str(toy_images(tmp_path / "images")), kind="same", size=16),
        optim={"AE": partial(Adam, lr=1e-4), "D": partial(Adam, lr=1e-4)},
        batch=2,
        images=2,
    )
    engine = Engine(run, run.data(), "cpu")
    records = start_from(engine, [file], [file], options={"num_groups": "2"})
    assert {r["network"] for r in records} == {"AE", "D"}
    assert not any(r["new"] or r["unused"] for r in records)
    method: Any = engine.method
    for ours, theirs in ((method.AE, net), (method.D, D)):
        state = theirs.state_dict()
        assert all(torch.equal(v, state[k]) for k, v in ours.state_dict().items())


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    file, state = tmp_path / "x.ckpt", tamed(lively(VQ()))
    folder = tmp_path / "folder"
    folder.mkdir()

    def refused(tensors: dict[str, Tensor], message: str) -> None:
        torch.save({"state_dict": tensors}, file)
        with pytest.raises(UserError, match=message) as caught:
            import_network(file, options={"num_groups": 2})
        assert "\n" not in str(caught.value)

    less = {k: v for k, v in state.items() if k != "encoder.conv_out.weight"}
    refused(less, r"encoder\.conv_out\.weight is missing")
    refused({**state, "decoder.extra.weight": torch.zeros(1)}, r"decoder\.extra\.weight has no pl")
    less = {k: v for k, v in state.items() if k != "decoder.conv_out.weight"}
    refused(less, r"decoder\.conv_out\.weight is missing")
    wrong = {**state, "quantize.embedding.weight": torch.zeros(9, 4)}
    refused(wrong, r"quant_conv\.weight is \[3, 3, 1, 1\], expected \[4, 3, 1, 1\]")
    both = {**state, "quantize.embed.weight": torch.zeros(9, 3)}
    refused(both, r"quantize\.embedding\.weight has no place")

    def described(config: dict[str, Any], message: str) -> None:
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match=message) as caught:
            import_network(folder)
        assert "\n" not in str(caught.value)

    described({"_class_name": "UNet2DModel"}, "describes 'UNet2DModel'; expected AutoencoderKL or")
    kl = {"_class_name": "AutoencoderKL"}
    described({**kl, "act_fn": "tanh"}, "act_fn is 'tanh'; supported are silu, swish, relu,")
    described({**kl, "act_fn": ["silu"]}, r"act_fn is .*; supported are silu, swish")
    described({**kl, "norm_type": "ada"}, "norm_type is 'ada'; supported are group, spatial")
    described(kl, r"has no diffusion_pytorch_model\.safetensors")
    save_file(KL().state_dict(), folder / "diffusion_pytorch_model.safetensors")
    described({**kl, "norm_num_groups": [3]}, r"norm_num_groups is 1 or 2 or 4; got '\[3\]'")
    folder.rename(tmp_path / "vae")
    with pytest.raises(UserError, match=r"give that of its autoencoder: .*vae"):
        import_network(tmp_path)


@pytest.mark.parametrize(
    ("form", "make", "message"),
    [
        (diffusers, partial(KL, stem=8), "has 8 channels and its first level 4"),
        (diffusers, partial(KL, convolved=False), "change without convolutions"),
        (diffusers, partial(KL, features=3), "has 3 features for 4 channels"),
        (diffusers, partial(KL, groups=8), "norms have 4 and 8 groups"),
        (diffusers, partial(VQ, gumbel=True), r"codes are drawn \(AE\.gumbel\)"),
        (diffusers, partial(KL, linear=True), "attention in linear time"),
        (diffusers, partial(KL, blocks=0, widths=[4, 4]), "an encoder without blocks"),
        (taming, partial(VQ, spatial=True), "it has spatial norms or another activation"),
        (taming, partial(KL, widths=[4, 6]), r"widths \[4, 6\] are no multiples of 4"),
        (taming, partial(VQ, attention_up=[0]), "attention at different sizes"),
    ],
)
def test_what_the_other_project_does_not_have(
    form: Any, make: Any, message: str, tmp_path: Path
) -> None:
    ready = exportable(make)
    with pytest.raises(CapabilityError, match=message):
        form.write(ready, tmp_path / "x.ckpt", {})
    assert not list(tmp_path.iterdir())


def test_only_autoencoders_of_latents(tmp_path: Path) -> None:
    method = methods.SRResNet(Shape(3, 32, 32), G=partial(SRResNet, width=4, blocks=1))
    info = {"shape": {"channels": 3, "height": 32, "width": 32, "classes": 0}}
    ready = network(Model(method, info))
    with pytest.raises(CapabilityError, match="SRResNet is no autoencoder of latents"):
        taming.write(ready, tmp_path / "x.ckpt", {})


def test_stable_diffusion_programs_read_safetensors(tmp_path: Path) -> None:
    """Bare tensors: 1x1 convolutions, and the decoder's levels counted from the full size."""
    ready, file = exportable(partial(KL, widths=[4, 4, 8])), tmp_path / "vae.safetensors"
    taming.write(ready, file, {})
    state, net = load_file(file), diffusers.autoencoder_of(ready)
    q = state["encoder.mid.attn_1.q.weight"]
    assert torch.equal(
        q[:, :, 0, 0], net.state_dict()["encoder.mid_block.attentions.0.to_q.weight"]
    )
    assert state["decoder.up.0.block.0.conv1.weight"].shape == (4, 4, 3, 3)
    assert state["decoder.up.2.upsample.conv.weight"].shape == (8, 8, 3, 3)
    assert "decoder.up.0.upsample.conv.weight" not in state
