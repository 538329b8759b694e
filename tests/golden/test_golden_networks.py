"""Other projects' own weights, inputs and outputs, by number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganvas.inference.importers import import_network
from ganvas.nets import cut, stylegan3
from ganvas.objectives.contrastive import patch_nce

FIXTURES = [
    "dcgan/generator",
    "dcgan/discriminator",
    "discogan/generator",
    "discogan/generator_extra_layers",
    "cyclegan_pix2pix/patchgan_basic_batch",
    "cyclegan_pix2pix/patchgan_basic_instance",
    "cyclegan_pix2pix/pixel_batch",
    "cyclegan_pix2pix/resnet6_batch_dropout",
    "cyclegan_pix2pix/resnet9_instance",
    "cyclegan_pix2pix/unet128_instance",
    "cyclegan_pix2pix/unet256_batch_dropout",
    "cut/generator",
    "cut/discriminator",
    "pix2pixhd/global_generator",
    "pix2pixhd/local_enhancer",
    "mimicry/wgan_gp_generator_32",
    "mimicry/wgan_gp_discriminator_32",
    "mimicry/sngan_generator_32",
    "basicsr/msrresnet_x4",
    "basicsr/rrdbnet_x4",
    "basicsr/esrgan_oldarch_x4",
    "basicsr/srvgg_compact_x4",
    "basicsr/vgg_discriminator_128",
    "basicsr/unet_discriminator_sn",
    "mimicry/sngan_discriminator_32",
    "pgan_zoo/generator",
    "pgan_zoo/discriminator",
    "stylegan2_ada/discriminator",
    "r3gan/generator",
    "r3gan/generator_conditional",
    "r3gan/discriminator",
    "r3gan/discriminator_conditional",
]


class Golden(NamedTuple):
    file: Path
    meta: dict[str, Any]
    tensors: dict[str, Tensor]

    def check(self, got: Tensor, expected: str) -> None:
        want = self.tensors[expected]
        assert got.shape == want.shape
        assert (got - want).abs().max() <= self.meta["tolerance"] * max(
            1.0, want.abs().max().item()
        )


@pytest.fixture
def golden(shared: Path) -> Callable[[str], Golden]:
    def read(name: str) -> Golden:
        base = shared / "golden" / name
        tensors = {k: v.float() for k, v in load_file(f"{base}.safetensors").items()}
        return Golden(Path(f"{base}.pth"), json.loads(Path(f"{base}.json").read_text()), tensors)

    return read


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", FIXTURES)
@torch.no_grad()
def test_output(golden: Callable[[str], Golden], name: str) -> None:
    g = golden(name)
    net = import_network(g.file)
    assert not net.training
    assert parameters(net) == g.meta["parameters"]
    # That project's alpha is the weight of the lower resolution.
    for expected in g.tensors:
        if expected.startswith("output_alpha"):
            g.check(net(g.tensors["input"], alpha=1 - float(expected.rpartition("_")[2])), expected)
    told = [g.tensors["c"]] if "c" in g.tensors else []  # labels, one-hot
    g.check(net(g.tensors["input"], *told), "output" if "output" in g.tensors else "output_alpha_0")


@torch.no_grad()
def test_cogan(golden: Callable[[str], Golden]) -> None:
    g = golden("cogan/generator_pair")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    for made, expected in zip(net(g.tensors["input"]), ("output_a", "output_b"), strict=True):
        g.check(made, expected)
    g = golden("cogan/discriminator_pair")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    g.check(net(g.tensors["input_a"], g.tensors["input_b"]), "output")


@torch.no_grad()
def test_unit(golden: Callable[[str], Golden]) -> None:
    g = golden("unit/vaegen")
    net: Any = import_network(g.file)
    assert parameters(net) == 2 * g.meta["parameters"]
    h = net.E(g.tensors["input"], 0)
    g.check(h, "hidden_a")
    g.check(net.G(h, 0), "output_aa")
    g.check(net.G(h + g.tensors["noise"], 0), "output_aa_noise")
    g.check(net(g.tensors["input"]), "output_ab")
    g = golden("unit/discriminator")
    for part in "ab":
        net = import_network(g.file, part)
        assert parameters(net) == g.meta["parameters"]
        for i, scores in enumerate(net(g.tensors["input"])):
            g.check(scores, f"output_{part}_{i}")


@torch.no_grad()
def test_munit(golden: Callable[[str], Golden]) -> None:
    g = golden("unit/adaingen")
    net: Any = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    content, style = net.encode(g.tensors["input"])
    g.check(content, "content")
    g.check(style, "style")
    g.check(net(g.tensors["input"]), "output")
    g.check(net.decode(content, g.tensors["style2"]), "output_style2")


@pytest.mark.parametrize("name", ["64_hier_shared_attn", "cifar32"])
@torch.no_grad()
def test_biggan(golden: Callable[[str], Golden], name: str) -> None:
    for network, images in (("generator", "z"), ("discriminator", "input")):
        g = golden(f"biggan_pytorch/{network}_{name}")
        net = import_network(g.file)
        assert parameters(net) == g.meta["parameters"]
        g.check(net(g.tensors[images], g.tensors["y"].long()), "output")


@torch.no_grad()
def test_biggan_deep_at_three_truncations(golden: Callable[[str], Golden]) -> None:
    """Two with own statistics; a third blended as there, and the right way round."""
    g = golden("hf_biggan/biggan_deep_128")
    net: Any = import_network(g.file)
    unread = (6 - 3) * (6 * 9 + 1)  # its last convolution has 6 outputs, of which it shows 3
    assert parameters(net) == g.meta["parameters"] - unread
    for truncation in (0.43, 0.4, 1.0, 0.43):
        made = net(g.tensors["z"] * truncation, g.tensors["class_vector"], truncation)
        g.check(made, f"output_trunc_{truncation:g}")
    # The fixture's blend is half and half, which shows no order.
    low, high = net.means3[20], net.means3[21]
    for nearer, share in ((False, 0.75), (True, 0.25)):
        net.nearer = nearer
        net(g.tensors["z"], g.tensors["class_vector"], 0.405)
        torch.testing.assert_close(net._norms()[3].running_mean, torch.lerp(low, high, share))


@pytest.mark.parametrize(
    "name",
    [
        "dcgan/generator",
        "dcgan/discriminator",
        "cyclegan_pix2pix/patchgan_basic_batch",
        "cyclegan_pix2pix/pixel_batch",
        "cyclegan_pix2pix/resnet6_batch_dropout",
    ],
)
@torch.no_grad()
def test_output_with_batch_statistics(golden: Callable[[str], Golden], name: str) -> None:
    g = golden(name)
    net = import_network(g.file)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    g.check(net(g.tensors["input"]), "output_batchstats")


@torch.no_grad()
def test_discogan_discriminator(golden: Callable[[str], Golden]) -> None:
    g = golden("discogan/discriminator")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    score, features = net(g.tensors["input"])
    g.check(score, "output")
    for i, feature in enumerate(features):
        g.check(feature.mean((2, 3)), f"feature_{i}_channel_mean")
    assert len(features) == 3


@torch.no_grad()
def test_features_of_cut(golden: Callable[[str], Golden]) -> None:
    """The generator's features at five layers, and their projections."""
    g = golden("cut/patch_sample_mlp")
    net: Any = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    for i in range(5):
        patches = g.tensors[f"feature_{i}_sampled"].float()
        places = torch.arange(len(patches))
        features = [torch.zeros(1, c, 1, 16) for c in g.meta["args"]["feature_channels"]]
        features[i] = patches.T[None, :, None]
        g.check(net(features, [places] * 5)[i][0], f"output_{i}")
    generator = golden("cut/generator")
    G: Any = import_network(generator.file)
    for i, feature in enumerate(
        cut.encode(G, generator.tensors["input"].float(), (0, 4, 8, 12, 16))
    ):
        places = g.tensors[f"patch_ids_{i}"].long()
        g.check(feature.flatten(2)[0].T[places], f"feature_{i}_sampled")


def test_patch_nce(golden: Callable[[str], Golden]) -> None:
    """The loss of each patch, and the gradient at the queries alone."""
    g = golden("cut/patch_nce")
    q, k = (g.tensors[f"feat_{n}"].float().view(2, 12, -1) for n in "qk")
    q.requires_grad_()
    k.requires_grad_()
    loss = patch_nce(q, k)
    loss.mean().backward()
    g.check(loss.detach().flatten(), "loss")
    assert q.grad is not None
    assert k.grad is None
    g.check(q.grad.flatten(0, 1), "grad_q_of_mean")


@torch.no_grad()
def test_checkpoint_of_several_networks(golden: Callable[[str], Golden]) -> None:
    g = golden("pgan_zoo/checkpoint_dict")
    averaged, last, critic = (import_network(g.file, part) for part in (None, "netG", "netD"))
    g.check(averaged(g.tensors["z"]), "output_avgG")
    g.check(last(g.tensors["z"]), "output_netG")
    g.check(critic(g.tensors["image"]), "output_netD")
    assert parameters(last) == g.meta["parameters"]["netG"]
    assert parameters(critic) == g.meta["parameters"]["netD"]


@torch.no_grad()
def test_wrapped_and_historic_layouts(golden: Callable[[str], Golden], tmp_path: Path) -> None:
    """nn.DataParallel's prefix, and the statistics that instance norms kept before torch 0.4."""
    g = golden("cyclegan_pix2pix/resnet9_instance")
    state = torch.load(g.file, weights_only=True)
    for layer in (2, 5, 8):
        state[f"model.{layer}.running_mean"] = torch.ones(8)
        state[f"model.{layer}.running_var"] = torch.ones(8)
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "old.pth")
    g.check(import_network(tmp_path / "old.pth")(g.tensors["input"]), "output")

    # Batch norms counted no batches then.
    g = golden("dcgan/generator")
    state = torch.load(g.file, weights_only=True)
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "old.pth")
    g.check(import_network(tmp_path / "old.pth")(g.tensors["input"]), "output")


@torch.no_grad()
def test_safetensors_and_half_precision(golden: Callable[[str], Golden], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    g = golden("dcgan/generator")
    state = torch.load(g.file, weights_only=True)
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
        tmp_path / "g.safetensors",
    )
    got = import_network(tmp_path / "g.safetensors")(g.tensors["input"])
    assert got.dtype == torch.float32
    assert (got - g.tensors["output"]).abs().max() < 0.02


@torch.no_grad()
@pytest.mark.parametrize("name", ["stylegan2_ada/generator", "stylegan2_ada/generator_conditional"])
def test_stylegan2_generator(golden: Callable[[str], Golden], name: str) -> None:
    g = golden(name)
    net: Any = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    z, y = g.tensors["z"], g.tensors.get("c")
    w = net.styles(z, y)
    g.check(w[:, 0], "w")
    g.check(net.truncated(w, 0.7)[:, -1], "w_trunc07")
    g.check(net.truncated(w, 0.5, layers=3), "ws_trunc05_cutoff3")
    g.check(net(z, y), "output_const")
    g.check(net(z, y, noise=[0.0] * net.layers), "output_none")
    g.check(net(z, y, truncation=0.7), "output_trunc07_const")
    half = net.layers // 2
    g.check(net.synthesis(torch.cat([w[:, :half], w.flip(0)[:, half:]], 1)), "output_mixed_const")
    net.train()  # in training mode the fixed noise needs its argument
    g.check(net.synthesis(w, noise=net.synthesis.fixed_noise()), "output_const")


@torch.no_grad()
def test_stylegan2_discriminator_with_labels(golden: Callable[[str], Golden]) -> None:
    g = golden("stylegan2_ada/discriminator_conditional")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    g.check(net(g.tensors["input"], g.tensors["c"]), "output")


@torch.no_grad()
def test_stylegan2_checkpoint_of_several_networks(
    golden: Callable[[str], Golden], tmp_path: Path
) -> None:
    g = golden("stylegan2_ada/generator")
    state = torch.load(g.file, weights_only=True)
    other = {k: v + 1 for k, v in state.items()}
    torch.save({"G": other, "D": other, "G_ema": state}, tmp_path / "snapshot.pt")
    g.check(import_network(tmp_path / "snapshot.pt")(g.tensors["z"]), "output_const")


@torch.no_grad()
def test_stylegan_generator(golden: Callable[[str], Golden]) -> None:
    """That project has no 4x4 output, and one noise weight per layer, not per channel."""
    g = golden("stylegan1_zoo/generator")
    net: Any = import_network(g.file)
    others = [p for k, p in net.named_parameters() if k.endswith("noise.weight") or "to_rgb.0" in k]
    others.append(net.synthesis.blocks[0][0].bias)
    assert parameters(net) - sum(p.numel() for p in others) + net.layers == g.meta["parameters"]
    z, noise = g.tensors["z"], [g.tensors[f"noise_{i}"] for i in range(net.layers)]
    g.check(net.mapping(z), "w")
    for alpha in (0, 0.5):  # theirs is the weight of the lower resolution
        g.check(net(z, truncation=0.7, noise=noise, alpha=1 - alpha), f"output_alpha_{alpha}")


@torch.no_grad()
def test_fastgan(golden: Callable[[str], Golden]) -> None:
    """Noise maps are given as tiles, outputs thinned; half-precision ones to 1e-3."""
    g = golden("fastgan/generator_256")
    net: Any = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    noise: dict[int, list[Tensor]] = {}
    for name, tile in g.tensors.items():
        if name.startswith("noise_tile."):
            side = int(name.split(".")[1][5:])
            noise.setdefault(side, []).append(tile.repeat(1, 1, side // 8, side // 8))
    image, small = net.both(g.tensors["z"], {side: tuple(maps) for side, maps in noise.items()})
    g.check(image[..., ::4, ::4], "output_big")
    g.check(image[..., :32, :32], "output_big_corner")
    g.check(small[..., ::2, ::2], "output_128")

    g = golden("fastgan/discriminator_256")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    image = g.tensors["blocks"].repeat_interleave(8, 2).repeat_interleave(8, 3)
    scores, found = net(image, reconstruct=True, part=torch.tensor([g.meta["part"]]))
    g.check(scores[0], "scores")
    for part, reconstruction in zip(("big", "small", "part"), found, strict=True):
        want = g.tensors[f"reconstruction_{part}"]
        # At a few pixels the reference itself depends on rounding: tanh changes its sign there.
        assert ((reconstruction.made - want).abs() > 1e-3).float().mean() < 1e-3


@pytest.mark.parametrize("name", ["generator", "generator_nhidden16", "generator_vae_nhidden8"])
@torch.no_grad()
def test_spade(golden: Callable[[str], Golden], name: str) -> None:
    g = golden(f"spade/{name}")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    m = one_hot(g.tensors["labels"].long(), g.meta["args"]["semantic_nc"]).movedim(-1, 1).float()
    g.check(net(m, g.tensors.get("z")), "output")


@torch.no_grad()
def test_spade_encoder(golden: Callable[[str], Golden]) -> None:
    g = golden("spade/conv_encoder")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    for got, expected in zip(net(g.tensors["input"]).unbind(1), ("mu", "logvar"), strict=True):
        g.check(got, expected)


@pytest.mark.parametrize("project", ["spade", "pix2pixhd"])
@torch.no_grad()
def test_multiscale_discriminator(golden: Callable[[str], Golden], project: str) -> None:
    g = golden(f"{project}/multiscale_discriminator")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    for i, maps in enumerate(net(g.tensors["input"])):
        g.check(maps[-1], f"output_d{i}")
        for j, features in enumerate(maps[:-1]):
            g.check(features.mean((2, 3)), f"feature_d{i}_{j}_channel_mean")


@pytest.mark.parametrize("name", ["generator_t", "generator_r", "generator_t_transformed"])
@torch.no_grad()
def test_stylegan3(golden: Callable[[str], Golden], name: str) -> None:
    g = golden(f"stylegan3/{name}")
    net: Any = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    z, labels = g.tensors["z"], g.tensors.get("c")
    w = net.truncated(net.styles(z, labels), g.meta["truncation_psi"])
    g.check(w[:, 0] if g.tensors["w"].dim() == 2 else w, "w")
    if "input_features_mean" in g.tensors:
        features = net.synthesis.input(w[:, 0])
        g.check(features.mean((2, 3)), "input_features_mean")
        g.check(features[..., :8, :8], "input_features_corner")
    g.check(net.synthesis(w), "output")


def test_filtered_lrelu(golden: Callable[[str], Golden]) -> None:
    g = golden("stylegan3/filtered_lrelu")
    t, args = g.tensors, g.meta["args"]
    torch.testing.assert_close(stylegan3.low_pass(12, 4.2, 3.0, 32), t["up_filter"])
    torch.testing.assert_close(stylegan3.low_pass(12, 6.0, 4.5, 32), t["down_filter"])
    radial = stylegan3.low_pass(12, 6.0, 4.5, 32, radial=True)
    torch.testing.assert_close(radial, t["down_filter_radial"])
    x = t["input"] + t["bias"].view(-1, 1, 1)
    how = {k: args[k] for k in ("up", "down", "gain", "slope", "clamp")}
    for down, expected in ((t["down_filter"], "output"), (radial, "output_radial")):
        got = stylegan3.filtered_lrelu(x, t["up_filter"], down, padding=(*args["padding"],), **how)
        g.check(got, expected)


@pytest.mark.parametrize("name", ["unet_wide", "unet_deep"])
@torch.no_grad()
def test_deoldify(golden: Callable[[str], Golden], name: str) -> None:
    g = golden(f"deoldify/{name}")
    net: Any = import_network(g.file)
    lengths = len(net.layers[8].conv[0].bias)  # of weight norm, which the file's weights contain
    assert parameters(net) + lengths == g.meta["parameters"]
    g.check(net.raw(g.tensors["input"]), "output")


@torch.no_grad()
def test_deoldify_critic(golden: Callable[[str], Golden]) -> None:
    g = golden("deoldify/critic")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    g.check(net(g.tensors["input"]), "output")


@torch.no_grad()
def test_singan(golden: Callable[[str], Golden]) -> None:
    g = golden("singan/generator_scale")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    g.check(net(g.tensors["noise"], g.tensors["previous"]), "output")
    g = golden("singan/discriminator_scale")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    g.check(net(g.tensors["input"]), "output")
    g.check(net.train()(g.tensors["input"]), "output_batchstats")


@torch.no_grad()
def test_stargan(golden: Callable[[str], Golden]) -> None:
    """By each image's own statistics, as that project's scripts; by the running ones on request."""
    g = golden("stargan/generator")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    x, c = g.tensors["input"], g.tensors["c"]
    g.check(net(x, c), "output_batchstats")
    g.check(import_network(g.file, options={"statistics": "running"})(x, c), "output")
    g = golden("stargan/discriminator")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    for got, expected in zip(net(g.tensors["input"]), ("output_src", "output_cls"), strict=True):
        g.check(got, expected)


@torch.no_grad()
def test_projected_gan(golden: Callable[[str], Golden]) -> None:
    """The generator's output is thinned. Discriminator and projection take feature maps."""
    g = golden("projected_gan/fastgan_generator_lite")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    image = net(g.tensors["z"])
    g.check(image[..., ::4, ::4], "output")
    g.check(image[..., :32, :32], "output_corner")
    g = golden("projected_gan/multiscale_discriminator")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    g.check(net([g.tensors[f"feature_{i}"] for i in range(4)]), "output")
    g = golden("projected_gan/random_projection")
    net = import_network(g.file)
    assert parameters(net) == g.meta["parameters"]
    for i, mixed in enumerate(net([g.tensors[f"feature_{i}"] for i in range(4)])):
        g.check(mixed, f"mixed_{i}")
