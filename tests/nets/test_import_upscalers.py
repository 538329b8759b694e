"""ESRGAN's first code with its options, and scales that files do not show."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from renaming import lively
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.core.errors import CapabilityError, UserError
from ganvas.inference.exporters.export import export
from ganvas.inference.importers import as_method, import_network
from ganvas.inference.load import load
from ganvas.nets import super_resolution


def imported(state: dict[str, Tensor], file: Path, **options: Any) -> Any:
    torch.save(state, file)
    return import_network(file, options=options)


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for i in range(5):
            conv = nn.Conv2d(4 + 2 * i, 4 if i == 4 else 2, 3, padding=1)
            self.add_module(f"conv{i + 1}", nn.Sequential(conv))

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for i in range(5):
            y = self.get_submodule(f"conv{i + 1}")(torch.cat(seen, 1))
            seen.append(y if i == 4 else F.leaky_relu(y, 0.2))
        return x + 0.2 * seen[-1]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.RDB1, self.RDB2, self.RDB3 = Dense(), Dense(), Dense()

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.RDB3(self.RDB2(self.RDB1(x)))


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sub = nn.Sequential(Block(), nn.Conv2d(4, 4, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sub(x)


def first_code(step: int, count: int, shuffled: bool) -> nn.Sequential:
    """One row of layers, with `count` enlargements, each by `step`."""
    layers = [nn.Conv2d(3, 4, 3, padding=1), Body()]
    for _ in range(count):
        if shuffled:
            layers += [nn.Conv2d(4, 4 * step**2, 3, padding=1), nn.PixelShuffle(step)]
        else:
            layers += [nn.Upsample(scale_factor=step), nn.Conv2d(4, 4, 3, padding=1)]
        layers.append(nn.LeakyReLU(0.2))
    layers += [nn.Conv2d(4, 4, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(4, 3, 3, padding=1)]
    net = nn.Sequential(*layers)
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.2)
    return net.eval()


@torch.no_grad()
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(("step", "count"), [(2, 0), (2, 1), (2, 2), (2, 3), (3, 1)])
def test_enlargements_of_the_first_code(
    step: int, count: int, shuffled: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net, x, file = first_code(step, count, shuffled), torch.rand(1, 3, 6, 5), tmp_path / "g.pth"
    state = {f"model.{k}": v for k, v in net.state_dict().items()}
    hidden = count == 1 and not shuffled  # whether the one enlargement is by 2 or by 3
    options = {"scale": str(step)} if hidden else {}
    torch.testing.assert_close(imported(state, file, **options)(x), net(x))
    assert not caplog.messages
    as_method.import_model(file, tmp_path / "model", options=options)
    model = load(tmp_path / "model")
    assert model.info["scale"] == step**count
    if count:
        made = model.translate(2 * x - 1, output="torch")
        torch.testing.assert_close(made, 2 * net(x).clamp(0, 1) - 1)
    if hidden:
        with caplog.at_level(logging.WARNING):
            imported(state, file)
        assert "scale=2 (else --option scale=3)" in caplog.text
    if (shuffled and count) or step == 3:
        with pytest.raises(CapabilityError, match="BasicSR's RRDBNet doubles by repeating"):
            export(tmp_path / "model", "basicsr", tmp_path / "out.pth")


@torch.no_grad()
@pytest.mark.parametrize(
    ("channels", "out", "usual"), [(12, 3, 2), (48, 3, 1), (4, 1, 2), (16, 1, 1), (4, 4, 4)]
)
def test_channels_of_images_and_folded_pixels(
    channels: int, out: int, usual: int, tmp_path: Path
) -> None:
    """12 channels are an image of 3 folded once, or an image of 12."""
    file = tmp_path / "g.pth"
    for scale in (1, 2, 4):
        fold = 4 // scale
        if channels % fold**2:
            continue
        net = lively(super_resolution.RRDBNet(channels // fold**2, 4, 1, 2, scale, out, 2))
        x = torch.rand(1, channels // fold**2, 8, 8)
        torch.testing.assert_close(imported(net.state_dict(), file, scale=scale)(x), net(x))
    assert import_network(file).scale == usual
    with pytest.raises(UserError, match=r"whose option scale is .*; got '8'"):
        import_network(file, options={"scale": 8})
