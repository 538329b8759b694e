"""Tiled inference equals inference on the whole image, for any network, norm and tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import lively

from ganvas.inference.tiling import executor, graph, ops
from ganvas.nets import image_to_image, patchgan, super_resolution, unit
from ganvas.nets.colorization import Colouring
from ganvas.nets.layers import Dropout

NETS: dict[str, Callable[[], nn.Module]] = {
    "ResNet, instance norm": lambda: image_to_image.ResNetGenerator(width=4, blocks=6),
    "ResNet, batch norm": lambda: image_to_image.ResNetGenerator(
        width=4, blocks=6, norm="batch", dropout=True
    ),
    "ResNet, no norm": lambda: image_to_image.ResNetGenerator(1, 2, width=4, blocks=2, norm="none"),
    "ResNet, anti-aliased": lambda: image_to_image.ResNetGenerator(
        width=4, blocks=3, blur_down=True, blur_up=True
    ),
    "U-Net, instance norm": lambda: image_to_image.UNetGenerator(width=4, depth=5, norm="instance"),
    "U-Net, batch norm": lambda: image_to_image.UNetGenerator(width=4, depth=5),
    "SRResNet": lambda: super_resolution.SRResNet(width=8, blocks=9),
    "SRResNet x2, bounded": lambda: super_resolution.SRResNet(
        width=8, blocks=2, scale=2, bounded=True
    ),
    "MSRResNet": lambda: super_resolution.MSRResNet(width=8, blocks=3),
    "MSRResNet x3": lambda: super_resolution.MSRResNet(width=8, blocks=1, scale=3),
    "RRDBNet": lambda: super_resolution.RRDBNet(width=8, blocks=2, growth=4),
    "RRDBNet x1": lambda: super_resolution.RRDBNet(width=8, blocks=1, growth=4, scale=1),
    "colouring": lambda: Colouring(
        net=lambda **to: image_to_image.UNetGenerator(width=4, depth=5, **to)
    ),
    "layer norm": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), unit.LayerNorm(4), nn.ReLU(), nn.Conv2d(4, 2, 3)
    ),
    "compact": lambda: super_resolution.CompactNet(width=8, layers=12),
}


def in_parts(net: Any, x: Tensor, side: int) -> Tensor:
    tiles = executor.Tiles(x.shape[2] * x.shape[3], x.device, 1 << 20, side)
    made = net(tiles.image(x))
    return torch.cat([made.rows(*span) for span in made.bands()], 2)


@pytest.mark.parametrize("name", NETS)
@torch.no_grad()
def test_tiles_equal_the_whole_image(name: str) -> None:
    net = lively(NETS[name]())
    x = torch.rand(1, 1 if name == "ResNet, no norm" else 3, 96, 160) * 2 - 1
    whole = net(x)
    for side in (48, 23):
        assert (in_parts(net, x, side) - whole).abs().max() <= 5e-5 * max(
            1.0, float(whole.abs().max())
        )


@torch.no_grad()
def test_an_images_own_statistics_and_noise() -> None:
    """pix2pix's U-Net: batch norm in training mode, and dropout of the whole image."""
    net = lively(image_to_image.UNetGenerator(width=4, depth=6, dropout=True)).train()
    assert any(isinstance(m, Dropout) for m in net.modules())
    x = torch.randn(1, 3, 64, 128)
    torch.manual_seed(3)
    made = in_parts(net, x, 32)
    torch.manual_seed(3)
    torch.testing.assert_close(made, net(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_overlap_is_the_receptive_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """Computed, not configured: 70 pixels for the 70x70 PatchGAN."""
    monkeypatch.setattr(ops, "REACH", 1e9)
    for layers in (1, 2, 3, 4):
        tiles = executor.Tiles(512 * 512, torch.device("cpu"), 1 << 20)
        x = tiles.image(torch.zeros(1, 3, 512, 512))
        made: Any = patchgan.PatchDiscriminator(width=1, layers=layers, norm="none").eval()(x)
        middle = ops.Window((15, 16), (15, 16))
        seen = graph.plan(made.node, middle)[x.node]
        assert seen.sides == (patchgan.receptive_field(layers),) * 2


def test_large_means_do_not_cancel() -> None:
    """A variance of 1 beside a mean of 1000, over parts with different means."""
    x = (
        torch.randn(1, 2, 64, 64)
        + torch.tensor([1000.0, -3.0]).view(1, 2, 1, 1)
        + torch.arange(64.0)
    )
    tiles = executor.Tiles(64 * 64, x.device, 1 << 20, 16)
    mean, var = tiles.statistics(tiles.image(x).node)
    exact = torch.var_mean(x.double(), (0, 2, 3), correction=0)
    torch.testing.assert_close((var.double(), mean.double()), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")]
)
@torch.no_grad()
def test_out_of_memory_halves_the_parts(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x, failed = (
        lively(image_to_image.ResNetGenerator(width=4, blocks=2)),
        torch.randn(1, 3, 64, 64),
        [],
    )
    whole, run = net(x), ops.Conv.run

    def limited(self: ops.Conv, window: ops.Window, *parts: Tensor) -> Tensor:
        if max(window.sides) > 40:
            failed.append(window)
            raise error
        return run(self, window, *parts)

    monkeypatch.setattr(ops.Conv, "run", limited)
    torch.testing.assert_close(in_parts(net, x, 64), whole, rtol=1e-4, atol=1e-4)
    assert 1 <= len(failed) <= 4, "a size that failed is not tried again"
    monkeypatch.setattr(ops.Conv, "run", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(type(error)):
        in_parts(net, x, 64)
    monkeypatch.setattr(ops.Conv, "run", lambda *_: (_ for _ in ()).throw(RuntimeError("another")))
    with pytest.raises(RuntimeError, match="another"):
        in_parts(net, x, 64)


class Odd(nn.Module):
    """In-place operations, tensor methods, noise planes, slices and constant padding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=2, dilation=2)
        self.register_buffer("noise", torch.randn(1, 1, 40, 50))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        nn.functional.relu(y, inplace=True)
        y = torch.cat([y, x[:, 1:]], 1) + self.get_buffer("noise")
        y = nn.functional.pad(1 - y.abs().clamp(0, 2), (1, 2, 0, 3), value=0.5)
        return nn.functional.interpolate(y.neg().sigmoid()[..., 2:, :-1], scale_factor=2)


@torch.no_grad()
def test_other_operations_of_networks() -> None:
    net, x = Odd(), torch.randn(1, 3, 40, 50)
    torch.testing.assert_close(in_parts(net, x, 16), net(x))


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (lambda x: x.mean((2, 3), keepdim=True), "mean"),
        (lambda x: x.flatten(1), "flatten"),
        (lambda x: nn.functional.interpolate(x, size=(7, 7)), "resizes"),
        (lambda x: torch.cat([x, x], 3), "side by side"),
        (lambda x: nn.functional.group_norm(x, 1), "several channels"),
        (lambda x: x[:, :, 0], "single rows"),
        (lambda x: x + x[..., 1:], "different sizes"),
    ],
)
def test_operations_that_tiles_cannot_compute_are_named(
    does: Callable[[Any], Any], says: str
) -> None:
    tiles = executor.Tiles(64, torch.device("cpu"), 1 << 20)
    with pytest.raises(ops.NotTileable, match=says):
        does(tiles.image(torch.randn(1, 2, 8, 8)))
