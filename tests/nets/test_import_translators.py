"""junyanz' networks and their relatives: no residual blocks, statistics, sigmoids."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from renaming import agree, lively
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.inference.importers import as_method, import_network
from ganvas.inference.load import load
from ganvas.nets import image_to_image, patchgan
from ganvas.nets.layers import Blur


def imported(state: dict[str, Tensor], file: Path, **options: Any) -> Any:
    torch.save(state, file)
    return import_network(file, options=options)


# ---------------------------------------------------------------- no residual blocks


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("blur", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("downs", [1, 2])
def test_generators_without_blocks(norm: Any, blur: Any, downs: int, tmp_path: Path) -> None:
    """Filters belong to halvings or to doublings by their taps."""
    down, up = blur
    net = lively(
        image_to_image.ResNetGenerator(
            width=2, blocks=0, norm=norm, downs=downs, blur_down=down, blur_up=up
        )
    )
    state = dict(net.state_dict())
    for at, module in net.named_modules():
        if isinstance(module, Blur):
            state[at.removesuffix(".1") + ".filt"] = module.taps.repeat(2, 1, 1, 1)
        if isinstance(module, nn.Upsample):
            row = torch.tensor([1.0, 3.0, 3.0, 1.0])
            state[f"{at}.filt"] = (row.outer(row) / 16).repeat(2, 1, 1, 1)
    x = torch.randn(1, 3, 16, 24)
    agree(net, state, tmp_path / "g.pth", x)


@torch.no_grad()
def test_encoders_of_features(tmp_path: Path) -> None:
    """pix2pixHD's encoder has the same layers; features are those of whole instances."""
    net = lively(
        image_to_image.ResNetGenerator(width=2, blocks=0, norm="batch", downs=1, bias=True)
    )
    x, instances = torch.randn(2, 3, 8, 8), torch.randint(4, (2, 1, 8, 8)).float()
    file = tmp_path / "latest_net_E.pth"
    again = imported(net.state_dict(), file)
    torch.testing.assert_close(again(x), net(x))
    got, features = again(x, instances), net(x)
    for n in range(2):
        for number in range(4):
            inside = instances[n, 0] == number
            want = features[n, :, inside].mean(1, keepdim=True).expand(-1, int(inside.sum()))
            torch.testing.assert_close(got[n, :, inside], want, atol=1e-5, rtol=1e-5)
    as_method.import_model(file, tmp_path / "model")
    made = load(tmp_path / "model").translate(x, output="torch")
    torch.testing.assert_close(made, net(x), atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------- statistics


class Stored(nn.Module):
    """(x - mean) / sqrt(variance + 1e-5) by numbers of a file."""

    def __init__(self, mean: Tensor, var: Tensor) -> None:
        super().__init__()
        self.mean, self.var = mean[:, None, None], var[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / (self.var + 1e-5).sqrt()


@torch.no_grad()
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda: image_to_image.ResNetGenerator(width=2, blocks=1),
        lambda: image_to_image.UNetGenerator(width=2, depth=3, norm="instance"),
        lambda: patchgan.PatchDiscriminator(3, 2, 2, "instance"),
        lambda: patchgan.PixelDiscriminator(3, 2, "instance"),
    ],
)
def test_instance_norms_with_statistics(
    make: Any, counted: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of an image, unless the stored ones are asked for (test.py --eval of 2018)."""
    net = lively(make())
    state, stored = dict(net.state_dict()), {}
    for name, norm in net.named_modules():
        if type(norm).__name__ == "InstanceNorm2d":
            mean, var = torch.randn(norm.channels), torch.rand(norm.channels) + 0.5
            state |= {f"{name}.running_mean": mean, f"{name}.running_var": var}
            if counted:  # since torch 0.4.1
                state[f"{name}.num_batches_tracked"] = torch.tensor(9)
            stored[name] = Stored(mean, var)
    file, x = tmp_path / "g.pth", torch.randn(1, 3, 32, 32)
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(imported(state, file)(x), net(x))
    says = "track_running_stats=false (else --option track_running_stats=true)"
    assert says in caplog.text
    again = imported(state, file, track_running_stats=True)
    for name, norm in stored.items():
        net.set_submodule(name, norm)
    torch.testing.assert_close(again(x), net(x), atol=1e-5, rtol=1e-5)
    if isinstance(net, image_to_image.ResNetGenerator):
        as_method.import_model(file, tmp_path / "model", options={"track_running_stats": True})
        made = load(tmp_path / "model").translate(x, output="torch")
        torch.testing.assert_close(made, net(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_statistics_of_some_layers_are_not_used(tmp_path: Path) -> None:
    net = lively(image_to_image.ResNetGenerator(width=2, blocks=1))
    some = {"model.2.running_mean": torch.ones(2), "model.2.running_var": torch.ones(2)}
    x = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(imported(net.state_dict() | some, tmp_path / "g.pth")(x), net(x))
    with pytest.raises(UserError, match="has no option 'track_running_stats'"):
        imported(net.state_dict() | some, tmp_path / "g.pth", track_running_stats=True)


# ---------------------------------------------------------------- sigmoids of 2018


@torch.no_grad()
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize(
    "make",
    [
        lambda norm: patchgan.PatchDiscriminator(3, 2, 2, norm),
        lambda norm: patchgan.PixelDiscriminator(3, 2, norm),
    ],
)
def test_scores_or_probabilities(
    make: Any, norm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """pix2pix had probabilities by default in 2018, and batch norm; CycleGAN neither."""
    net, x, file = lively(make(norm)), torch.randn(1, 3, 32, 32), tmp_path / "d.pth"
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(imported(net.state_dict(), file)(x), net(x))
    says = "use_sigmoid=false (else --option use_sigmoid=true)"
    assert (says in caplog.text) == (norm == "batch")
    again = imported(net.state_dict(), file, use_sigmoid=True)
    torch.testing.assert_close(again(x), net(x).sigmoid())
