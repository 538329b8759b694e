"""BigGAN-deep of two projects, and norms that a file does not show."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from renaming import State, agree, lively, renamed
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.core.errors import UserError
from ganvas.inference.importers import as_method, import_network
from ganvas.inference.load import load
from ganvas.nets import biggan, biggan_deep
from ganvas.nets.attention import SelfAttention
from ganvas.nets.conditional import ConditionalBatchNorm2d


def drawn(net: nn.Module) -> Any:
    """Weights that keep the size of what they are multiplied with."""
    lively(net)
    with torch.no_grad():
        for weight in net.parameters():
            if weight.dim() > 1:
                weight.normal_(0, weight[0].numel() ** -0.5)
    return net


# ---------------------------------------------------------------- ajbrock/BigGAN-PyTorch

PARTS = (
    (r"\.convs\.(\d)", lambda m: f".conv{int(m[1]) + 1}"),
    (r"\.norms\.(\d)\.(norm\.)?", lambda m: f".bn{int(m[1]) + 1}."),
    (r"running_(mean|var)", r"stored_\1"),
    (r"shortcut", "conv_sc"),
)


def deep_generator(net: Any, shared: int) -> State:
    """As BigGANdeep names it; its conditions are the label's vector, then z."""
    state = renamed(
        net,
        (r"^blocks\.(\d+)\.", r"blocks.\1.0."),
        (r"^attention\.(\d)\.", lambda m: f"blocks.{(int(m[1]) + 1) * net.depth - 1}.1."),
        *PARTS,
        (r"^input", "linear"),
        (r"^output", "output_layer.2"),
        (r"^norm\.weight", "output_layer.0.gain"),
        (r"^norm\.", "output_layer.0."),
    )
    for key, value in state.items():
        if re.search(r"^linear\.weight|bn\d\.(gain|bias)\.weight", key):
            latent = value.shape[1] - shared
            state[key] = torch.cat([value[:, latent:], value[:, :latent]], 1)
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


@pytest.mark.parametrize(
    ("how", "multiples"),
    [
        ({"size": 32, "depth": 2, "attention": [16, 32]}, [8, 8, 8, 8]),
        ({"size": 32, "depth": 1, "attention": [8]}, [8, 8, 8, 8]),
        ({"size": 48, "depth": 3, "bottom": 6, "attention": []}, [8, 8, 8, 8]),
        ({"size": 64, "depth": 2, "attention": [16]}, [16, 16, 8, 4, 2]),
    ],
)
def test_deep_generators(how: Any, multiples: list[int], tmp_path: Path) -> None:
    names = {"latent": 6, "width": 2, "classes": 3, "shared": 4, "normalised": False}
    net = drawn(biggan_deep.DeepGenerator(**names, multiples=multiples, eps=1e-5, **how))
    y = torch.tensor([0, 2])
    agree(net, deep_generator(net, 4), tmp_path / "g.pth", torch.randn(2, 6), y)


def test_a_deep_generator_is_a_model(tmp_path: Path) -> None:
    net = drawn(
        biggan_deep.DeepGenerator(
            6, 2, 32, classes=3, shared=4, attention=[], normalised=False, eps=1e-5
        )
    )
    torch.save(deep_generator(net, 4), tmp_path / "g.pth")
    header = as_method.import_model(tmp_path / "g.pth", tmp_path / "m")
    assert header["shape"]["classes"] == 3
    assert load(tmp_path / "m").sample(2, labels=[0, 2], output="torch").shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("how", "multiples", "shrinking"),
    [
        ({"size": 32, "depth": 2, "attention": [16]}, [8] * 4, 2),
        ({"size": 32, "depth": 1, "attention": [], "outputs": 3}, [8] * 4, 2),
        ({"size": 64, "depth": 2, "attention": [16, 8]}, [1, 2, 4, 8, 16], None),
        ({"size": 64, "depth": 3, "attention": []}, [1, 2, 4, 16, 16], None),
    ],
)
def test_deep_discriminators(
    how: Any, multiples: list[int], shrinking: int | None, tmp_path: Path
) -> None:
    """For 32x32 two of the three levels halve."""
    names = {"width": 4, "classes": 3, "normalised": False, "shrinking": shrinking}
    net = drawn(biggan_deep.DeepDiscriminator(**names, multiples=multiples, **how))
    state = renamed(
        net,
        (r"^blocks\.(\d+)\.", lambda m: "blocks.{}.{}.".format(*divmod(int(m[1]), net.depth))),
        (r"^attention\.(\d)\.", lambda m: f"blocks.{m[1]}.{net.depth}."),
        *PARTS,
        (r"^input", "input_conv"),
        (r"^output\.embed", "embed"),
        (r"^output", "linear"),
    )
    x, side = torch.randn(2, 3, how["size"], how["size"]), 8 if shrinking else 4
    assert nn.Sequential(*net.blocks)(net.input(x)).shape[2] == side
    agree(net, state, tmp_path / "d.pth", x, torch.tensor([0, 2]))


def _synchronized(net: Any, deep: bool) -> State:
    if deep:
        state = deep_generator(net, 4)
    else:
        state = renamed(
            net,
            (r"^blocks\.(\d)\.", r"blocks.\1.0."),
            (r"\.norm(\d)\.(norm\.)?", r".bn\1."),
            (r"shortcut", "conv_sc"),
            (r"running_(mean|var)", r"stored_\1"),
            (r"^input", "linear"),
            (r"^output", "output_layer.2"),
            (r"^norm\.weight", "output_layer.0.gain"),
            (r"^norm\.", "output_layer.0."),
        )
    return {
        k.replace("stored_", "bn.running_"): v
        for k, v in state.items()
        if not k.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize("deep", [False, True])
@torch.no_grad()
def test_gains_of_synchronized_norms(
    deep: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Their evaluation adds the gains; a training on several devices multiplies by them."""
    how: Any = {"classes": 3, "shared": 4, "attention": [], "normalised": False, "eps": 1e-5}
    family = biggan_deep.DeepGenerator if deep else biggan.Generator
    net = drawn(family(latent=8, width=2, size=32, **how))
    state, z, y = _synchronized(net, deep), torch.randn(2, 8), torch.tensor([0, 2])
    file = tmp_path / "g.pth"
    agree(net, state, file, z, y, cross_replica_gain="multiplied")
    assert not caplog.messages
    with caplog.at_level(logging.WARNING):
        again = import_network(file)
    (message,) = caplog.messages
    assert "cross_replica_gain=added (else --option cross_replica_gain=multiplied)" in message

    def added(norm: Any, inputs: tuple[Tensor, ...], _out: Tensor) -> Tensor:
        if isinstance(norm, ConditionalBatchNorm2d):
            x, c = inputs
            gain, bias = (1 + norm.gain(c))[..., None, None], norm.bias(c)[..., None, None]
            return norm.norm(x) + gain + bias
        x = F.batch_norm(inputs[0], norm.running_mean, norm.running_var, eps=norm.eps)
        return x + (norm.weight + norm.bias)[:, None, None]

    for module in net.modules():
        if isinstance(module, ConditionalBatchNorm2d) or module is net.norm:
            module.register_forward_hook(added)
    torch.testing.assert_close(again(z, y), net(z, y), rtol=1e-4, atol=1e-5)


def test_eps_of_the_blocks_norms(tmp_path: Path) -> None:
    """The last norm has 1e-5 whatever BN_eps is."""
    how: Any = {"classes": 3, "shared": 4, "attention": [], "normalised": False}
    net = drawn(biggan.Generator(latent=8, width=2, size=32, eps=1e-3, **how))
    net.norm.eps = 1e-5
    state = {k.replace("bn.running_", "stored_"): v for k, v in _synchronized(net, False).items()}
    agree(net, state, tmp_path / "g.pth", torch.randn(2, 8), torch.tensor([0, 2]), BN_eps="1e-3")


# ---------------------------------------------------------------- pytorch-pretrained-BigGAN


def _stored(shared: Path) -> State:
    file = shared / "golden" / "hf_biggan" / "biggan_deep_128.pth"
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("position", [0, 1, 3, 9])
@torch.no_grad()
def test_attention_before_any_block(position: int, shared: Path, tmp_path: Path) -> None:
    """The reference's weights, with attention of random ones elsewhere."""
    state = _stored(shared)
    (old,) = (int(k.split(".")[2]) for k in state if k.endswith(".gamma"))

    def moved(key: str) -> str:
        """Numbers count the attention, too."""
        if not (m := re.match(r"generator\.layers\.(\d+)\.(.*)", key)):
            return key
        block = int(m[1]) - (int(m[1]) > old)
        return f"generator.layers.{block + (block >= position)}.{m[2]}"

    state = {moved(k): v for k, v in state.items() if not k.startswith(f"generator.layers.{old}.")}
    first = state[f"generator.layers.{position + 1}.bn_0.running_means"].shape[1]
    layer = drawn(SelfAttention(first))
    at = f"generator.layers.{position}"
    for name, end in (("theta", ""), ("phi", ""), ("g", ""), ("o", "_conv")):
        weight = layer.get_parameter(f"{name}.weight")
        u, v = torch.eye(len(weight))[0], torch.zeros(weight[0].numel())
        v[0] = 1 / weight[0, 0, 0, 0]  # a singular value of 1
        place = f"{at}.snconv1x1_{name}{end}.weight"
        state |= {f"{place}_orig": weight, f"{place}_u": u, f"{place}_v": v}
    state[f"{at}.gamma"] = layer.gamma.view(1)
    torch.save(state, tmp_path / "g.pth")
    net: Any = import_network(tmp_path / "g.pth")
    z, y = torch.randn(2, net.latent), torch.tensor([0, 2])
    made = net(z, y)
    condition = torch.cat([z, net.G.shared(y)], 1)
    x = net.G.input(condition).unflatten(1, net.G.grid)
    for i, block in enumerate(net.G.blocks):
        x = block(layer(x) if i == position else x, condition)
    want = net.G.output(F.relu(net.G.norm(x))).tanh()
    torch.testing.assert_close(made, want)


@torch.no_grad()
def test_eps_of_a_description(shared: Path, tmp_path: Path) -> None:
    """From config.json of the folder, beside the file, or as an option."""
    torch.save(_stored(shared), tmp_path / "pytorch_model.bin")
    usual: Any = import_network(tmp_path / "pytorch_model.bin")
    assert {m.eps for m in usual.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-4}
    options = {"eps": 1e-3}
    chosen: Any = import_network(tmp_path / "pytorch_model.bin", options=options)
    config = {"attention_layer_position": 8, "eps": 1e-3, "n_stats": 51}
    (tmp_path / "config.json").write_text(json.dumps(config))
    z, y = torch.randn(2, usual.latent), torch.tensor([0, 2])
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        described = import_network(path)
        torch.testing.assert_close(described(z, y), chosen(z, y))
        assert not torch.allclose(described(z, y), usual(z, y))
    (tmp_path / "config.json").write_text(json.dumps({**config, "eps": "small"}))
    with pytest.raises(UserError, match="eps is a number above 0; got 'small'"):
        import_network(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(UserError, match=r"has no pytorch_model\.bin"):
        import_network(tmp_path)
