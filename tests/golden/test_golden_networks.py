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

from ganvas.importing import import_network

FIXTURES = [
    "dcgan/generator",
    "dcgan/discriminator",
    "cyclegan_pix2pix/patchgan_basic_batch",
    "cyclegan_pix2pix/patchgan_basic_instance",
    "cyclegan_pix2pix/pixel_batch",
    "cyclegan_pix2pix/resnet6_batch_dropout",
    "cyclegan_pix2pix/resnet9_instance",
    "cyclegan_pix2pix/unet128_instance",
    "cyclegan_pix2pix/unet256_batch_dropout",
    "mimicry/wgan_gp_generator_32",
    "mimicry/wgan_gp_discriminator_32",
    "mimicry/sngan_generator_32",
    "pgan_zoo/generator",
    "pgan_zoo/discriminator",
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
        assert (got - want).abs().max() <= self.meta["tolerance"] * max(1.0, want.abs().max().item())


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
    save_file({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, tmp_path / "g.safetensors")
    got = import_network(tmp_path / "g.safetensors")(g.tensors["input"])
    assert got.dtype == torch.float32
    assert (got - g.tensors["output"]).abs().max() < 0.02
