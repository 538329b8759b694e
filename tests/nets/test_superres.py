"""Super-resolution: published counts, tiles, and VGG19 against torch's own layers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from toys import SMALL, toy_images

from ganvas import data
from ganvas.core import Shape
from ganvas.core.errors import UserError
from ganvas.engine.build import rehearse
from ganvas.media.resize import bicubic
from ganvas.methods import SRGAN
from ganvas.nets import super_resolution
from ganvas.nets.vgg import DEVIATION, MEAN, VGG19
from ganvas.recipes import find
from ganvas.training.with_data import with_data

COUNTS = {  # XPixelGroup/BasicSR's, and those of arXiv:1609.04802's figure 4
    "SRResNet": (lambda: super_resolution.SRResNet(), 1_549_462),
    "SRGAN's D": (lambda: super_resolution.SRDiscriminator(), 23_565_505),
    "MSRResNet": (lambda: super_resolution.MSRResNet(), 1_517_571),
    "RRDB-23": (lambda: super_resolution.RRDBNet(), 16_697_987),
    "RRDB-23 x2": (lambda: super_resolution.RRDBNet(scale=2), 16_703_171),
    "RRDB-6": (lambda: super_resolution.RRDBNet(blocks=6), 4_467_779),
    "compact": (lambda: super_resolution.CompactNet(), 621_424),
    "BasicSR's D": (lambda: super_resolution.VGGStyleDiscriminator(), 14_499_401),
    "Real-ESRGAN's D": (lambda: super_resolution.UNetDiscriminator(), 4_376_897),
}


@pytest.mark.parametrize("name", COUNTS)
def test_published_counts(name: str) -> None:
    make, expected = COUNTS[name]
    with torch.device("meta"):
        assert sum(p.numel() for p in make().parameters()) == expected


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_any_size_and_every_scale(scale: int) -> None:
    net = super_resolution.SRResNet(channels=1, width=4, blocks=1, scale=scale).eval()
    assert net(torch.rand(1, 1, 5, 7)).shape == (1, 1, 5 * scale, 7 * scale)
    with pytest.raises(UserError, match="power of two"):
        super_resolution.SRResNet(scale=3)


@pytest.mark.parametrize("recipe", ["esrgan", "realesrgan", "realesrgan_compact", "compact"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_upscalers_take_every_scale_by_two_settings(recipe: str, scale: int) -> None:
    """Crops of 128 and 256 have no thirds: they become the next multiple of 24."""
    narrow = [s for s in SMALL[recipe] if s.startswith(("G.", "D."))]
    scales = (f"data.scale={scale}", f"G.scale={scale}")
    run: Any = with_data(find(recipe)(1), "photos", None, [*narrow, *scales])
    sizes = {"compact": (96, 96), "esrgan": (128, 144), "realesrgan": (256, 264)}
    sizes["realesrgan_compact"] = sizes["realesrgan"]
    size = run.data.keywords["size"]
    assert size == sizes[recipe][scale == 3]
    method = rehearse(run, Shape(3, size, size, 0), torch.device("cpu"))
    assert method.upscale == scale
    small = torch.rand(1, 3, 8, 12)
    made = partial(run.method.keywords["G"], channels=3)()(small)
    assert made.shape == (1, 3, 8 * scale, 12 * scale)


def test_a_scale_of_one_says_that_nothing_is_to_be_learned(tmp_path: Path) -> None:
    photos = toy_images(tmp_path, 2, side=32)
    feed = data.super_resolution(photos, size=16, scale=1)
    batch = feed.draw(0, 2, seed=0)
    assert torch.allclose(batch.x, batch.y, atol=1e-6)
    assert any("inputs are the targets themselves" in note for note in feed.info.notes)


def test_pairs_are_crops_and_their_reductions(tmp_path: Path) -> None:
    """Tiles cover every pixel; small images are named; inputs are reduced to 8 bits."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(rng.integers(0, 256, (20, 70, 3), dtype=np.uint8)).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    feed = data.super_resolution(tmp_path, size=24, scale=4, flip=False)
    assert feed.info.count == 2 * 2, "tiles of 48 over 50 x 70 that overlap by 23"
    assert data.super_resolution(tmp_path, size=24, part="test").info.count == 2 * 3, (
        "tiles of 32 that overlap little"
    )
    assert sorted(s.split(":")[0].split(" ")[0] for s in feed.info.skipped) == [
        "broken.png",
        "small.png",
    ]
    batch = feed.draw(0, 3, seed=0)
    assert batch.y.shape == (3, 3, 24, 24)
    assert batch.x.shape == (3, 3, 6, 6)
    exact = bicubic(batch.y, 1 / 4).clamp(-1, 1)
    assert (batch.x - exact).abs().max() <= 1 / 255 + 1e-6
    levels = (batch.x + 1) * 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    with pytest.raises(UserError, match="multiple of the scale"):
        data.super_resolution(tmp_path, size=30, scale=4)


def test_vgg19_is_the_usual_layers(tmp_path: Path) -> None:
    """torchvision's layout and layer names; a file that ends early is named."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    before = 3
    for block, count in enumerate((2, 2)):
        layers += [nn.MaxPool2d(2)] if block else []
        for _ in range(count):
            layers += [nn.Conv2d(before, 8 << block, 3, padding=1), nn.ReLU()]
            before = 8 << block
    usual = nn.Sequential(*layers)
    torch.save({f"features.{k}": v for k, v in usual.state_dict().items()}, tmp_path / "vgg.pth")
    x = torch.rand(2, 3, 12, 10)
    normal = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(DEVIATION).view(1, 3, 1, 1)
    with torch.no_grad():
        for layer, upto in (("relu2_2", 9), ("conv2_2", 8), ("relu1_1", 2)):
            got = VGG19(str(tmp_path / "vgg.pth"), layer)
            assert torch.allclose(got(x), usual[:upto](normal), atol=1e-5), layer
            assert not list(got.parameters())
            assert not got.state_dict()
    with pytest.raises(UserError, match="ends after 4 convolutions"):
        VGG19(str(tmp_path / "vgg.pth"))
    with pytest.raises(UserError, match="no layer"):
        VGG19(str(tmp_path / "vgg.pth"), "relu3_9")
    with pytest.raises(UserError, match="fetch https"):
        VGG19(str(tmp_path / "absent.pth"))


def vgg(
    blocks: tuple[int, ...], widths: tuple[int, ...], norms: bool = False, bias: bool = True
) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 3
    for count, width in zip(blocks, widths, strict=True):
        for _ in range(count):
            layers += [
                nn.Conv2d(before, width, 3, padding=1, bias=bias),
                *[nn.BatchNorm2d(width)] * norms,
                nn.ReLU(),
            ]
            before = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (vgg((2, 2, 4), (4, 8, 16), norms=True), "batch norms"),
        (vgg((2, 2, 3, 3), (4, 8, 16, 32)), "in block 3 its convolutions have the widths"),  # VGG16
        (vgg((2, 2, 4), (4, 8, 16), bias=False), "has no bias"),
        (
            nn.Sequential(
                *(nn.Conv2d(3 if i == 0 else 4, 4, 3) for i in range(6)),
                nn.Conv2d(4, 8, 3),
                nn.Conv2d(8, 8, 3),
            ),
            "block 3",
        ),
    ],
)
def test_files_of_other_networks_are_no_vgg19(net: nn.Module, reason: str, tmp_path: Path) -> None:
    torch.save({f"features.{k}": v for k, v in net.state_dict().items()}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=f"does not hold the layers of VGG19 .*{reason}"):
        VGG19(str(tmp_path / "other.pth"), "relu3_4")


def test_vgg19_and_images_with_alpha_are_refused_before_anything_else(tmp_path: Path) -> None:
    """Rejected before the pretraining, not in the game's first step after it."""
    torch.save(
        {f"features.{k}": v for k, v in vgg((2, 2), (4, 8)).state_dict().items()},
        tmp_path / "vgg.pth",
    )
    made = partial(
        SRGAN,
        G=partial(super_resolution.SRResNet, width=4, blocks=1),
        D=partial(super_resolution.SRDiscriminator, width=4),
    )
    for channels in (1, 3):
        made(Shape(channels, 32, 32), vgg=str(tmp_path / "vgg.pth"), layer="relu2_2")
    with pytest.raises(UserError, match="1 or 3 channels; the data has 4"):
        made(Shape(4, 32, 32), vgg=str(tmp_path / "vgg.pth"), layer="relu2_2")


def test_content_of_pixels_is_a_quarter_of_the_papers() -> None:
    """As in SRGAN's docstring: `adversarial_weight` 2.5e-4 has the paper's proportion."""
    method = SRGAN(
        Shape(3, 32, 32),
        G=partial(super_resolution.SRResNet, width=4),
        D=partial(super_resolution.SRDiscriminator, width=4),
    )
    a, b = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    papers = nn.functional.mse_loss(2 * a - 1, 2 * b - 1)
    assert float(method.content(a, b, method.distance)) == pytest.approx(float(papers) / 4)


def test_vgg19_normalized_reaches_relu3_1(shared: Path) -> None:
    """The encoders are scaled so that every channel's mean activation is about 1.

    (Those of universal style transfer.)"""
    file = (
        shared / "data" / "weights" / "vgg19_normalised" / "vgg19_3" / "vgg_normalised_conv3_1.pth"
    )
    photo = (
        Image.open(next((shared / "data" / "photos").glob("*.jpg")))
        .convert("RGB")
        .resize((128, 128))
    )
    x = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None] / 255
    features = VGG19(str(file), "relu3_1")(x)
    assert features.shape == (1, 256, 32, 32)
    assert 0.3 < float(features.mean()) < 3
