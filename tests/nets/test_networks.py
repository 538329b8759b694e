"""Shapes, sizes and published parameter counts."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn

from ganvas.core.errors import UserError
from ganvas.nets import (
    autoencoder,
    biggan,
    biggan_deep,
    cogan,
    cut,
    dcgan,
    deoldify,
    discogan,
    dong2017,
    dualgan,
    fastgan,
    image_to_image,
    infogan,
    latent_autoencoder,
    mlp,
    multiscale,
    multiscale_patch,
    patchgan,
    pix2pixhd,
    progan,
    r3gan,
    resnet,
    s3gan,
    singan,
    sngan,
    spade,
    sparse_transformer,
    stylegan,
    stylegan2,
    stylegan3,
    unit,
)
from ganvas.nets.layers import Strided1x1, doublings, sides

PUBLISHED = [
    (lambda: dcgan.Generator(), 3_576_704),
    (lambda: dcgan.Discriminator(), 2_765_568),
    (lambda: dcgan.Generator(channels=1), 3_574_656),
    (lambda: dcgan.Discriminator(channels=1), 2_763_520),
    (lambda: discogan.Generator(), 5_513_856),
    (lambda: discogan.Generator(bottleneck=100), 7_153_480),
    (lambda: discogan.Discriminator(), 2_765_568),
    (lambda: image_to_image.ResNetGenerator(), 11_378_179),
    (lambda: image_to_image.ResNetGenerator(norm="batch"), 11_383_427),
    (lambda: image_to_image.ResNetGenerator(blocks=6), 7_837_699),
    (lambda: image_to_image.ResNetGenerator(blocks=6, norm="batch"), 7_841_411),
    (lambda: image_to_image.ResNetGenerator(blur_down=True, blur_up=True), 11_378_179),
    (lambda: image_to_image.UNetGenerator(), 54_413_955),
    (lambda: image_to_image.UNetGenerator(norm="instance"), 54_409_603),
    (lambda: image_to_image.UNetGenerator(depth=7), 41_828_995),
    (lambda: image_to_image.UNetGenerator(depth=7, norm="instance"), 41_825_667),
    (lambda: image_to_image.UNetGenerator(1, 2), 54_409_858),
    (lambda: patchgan.PatchDiscriminator(), 2_764_737),
    (lambda: patchgan.PatchDiscriminator(norm="batch"), 2_765_633),
    (lambda: patchgan.PatchDiscriminator(6), 2_767_809),
    (lambda: patchgan.PatchDiscriminator(6, norm="batch"), 2_768_705),
    (lambda: patchgan.PixelDiscriminator(), 8_705),
    (lambda: patchgan.PixelDiscriminator(norm="batch"), 8_832),
    (lambda: patchgan.PixelDiscriminator(6), 8_897),
    (lambda: patchgan.PixelDiscriminator(6, norm="batch"), 9_024),
    (lambda: cogan.Generators(), 7_842_694),
    (lambda: cogan.Generators(tied=0), 15_676_170),
    (lambda: cogan.Discriminators(), 427_593),
    (lambda: nn.ModuleList([unit.Encoders(shared=0), unit.Decoders(shared=0)]), 2 * 11_140_483),
    (lambda: unit.MultiscaleDiscriminator(), 8_271_171),
    (lambda: progan.ProgressiveGenerator(), 23_086_795),
    (lambda: progan.ProgressiveDiscriminator(), 23_087_249),
    (lambda: stylegan.Generator(), 26_219_627),
    (lambda: progan.ProgressiveDiscriminator(blur=True), 23_087_249),
    (lambda: stylegan2.Generator(), 30_370_060),
    (lambda: stylegan2.Discriminator(), 29_012_513),
    (lambda: stylegan2.Generator(size=256, base=16_384), 24_767_458),
    (lambda: stylegan2.Discriminator(size=256, base=16_384), 24_001_089),
    (lambda: stylegan2.Generator(size=32, classes=10, mapping=2), 20_215_315),
    (lambda: stylegan2.Discriminator(size=32, classes=10, architecture="orig"), 23_089_664),
    (lambda: r3gan.Generator(classes=10), 20_781_952),
    (lambda: r3gan.Discriminator(classes=10), 21_280_512),
    (lambda: r3gan.Generator(size=64), 22_429_824),
    (lambda: r3gan.Discriminator(size=64), 22_381_440),
    (lambda: r3gan.Generator(size=256), 23_057_952),
    (lambda: r3gan.Discriminator(size=256), 23_009_568),
    (lambda: fastgan.Generator(), 29_127_846),
    (lambda: fastgan.Generator(size=512), 29_174_392),
    (lambda: fastgan.Generator(size=1024), 29_176_512),
    (lambda: fastgan.Discriminator(), 11_526_160),
    (lambda: fastgan.Discriminator(size=512), 11_526_496),
    (lambda: fastgan.Discriminator(size=1024), 11_528_192),
    (lambda: infogan.Generator(), 6_652_481),
    (lambda: infogan.Discriminator(), 6_558_144 + 1_025 + 133_262 - 2 * 129),  # deviations are 1
    (lambda: stylegan3.Generator(size=1024), 22_313_167),
    (lambda: stylegan3.Generator(size=512), 24_873_519),
    (lambda: stylegan3.Generator(base=16_384), 23_320_443),
    (lambda: stylegan3.Generator(size=1024, base=65_536, width=1024, radial=True), 15_093_151),
    (lambda: stylegan3.Generator(base=32_768, width=1024, radial=True), 15_779_565),
    (lambda: spade.Generator(184, latent=0, normalized=False), 97_480_899),
    (lambda: spade.Generator(151, latent=0, normalized=False), 96_492_483),
    (lambda: multiscale.MultiscaleDiscriminator(187, spectrally=True), 5_904_514),
    (lambda: image_to_image.ResNetGenerator(36, downs=4), 182_546_755),
    (lambda: cut.PatchMLP(), 560_384),
    (lambda: image_to_image.ResNetGenerator(blur_down=True, blur_up=True), 11_378_179),
    (lambda: patchgan.PatchDiscriminator(blur=True), 2_764_737),
    (lambda: pix2pixhd.LocalEnhancer(36), 182_857_059),
    (lambda: multiscale.MultiscaleDiscriminator(39), 5_603_202),
    (lambda: multiscale.MultiscaleDiscriminator(39, scales=3), 8_404_803),
    (lambda: latent_autoencoder.KLAutoencoder(), 83_653_863),  # of Stable Diffusion
    (lambda: sparse_transformer.SparseTransformer(), 59_196_928),
    (lambda: sparse_transformer.SparseTransformer(layers=32), 14_910_976),
    (lambda: multiscale_patch.PatchGenerator(2, 1), 8_404_033),
    (lambda: multiscale_patch.PatchGenerator(1, 1, halved=True), 8_469_185),
    (lambda: deoldify.UNet(normalized=False), 218_222_197 - 1_024),  # of weight norm
    (
        lambda: deoldify.UNet(kind="deep", encoder="resnet34", factor=1.5, normalized=False),
        63_646_881 - 1_200,  # of weight norm
    ),
    (lambda: deoldify.Critic(normalized=False), 94_555_649),
    (lambda: singan.ScaleGenerator(3, 32), 29_763),
    (lambda: singan.ScaleNet(3, 1, 32), 29_185),
    (lambda: singan.ScaleGenerator(3, 128), 450_819),
    (lambda: singan.ScaleNet(3, 1, 128), 448_513),
    (lambda: resnet.Generator(width=256), 4_276_739),
    (lambda: resnet.Discriminator(width=128), 1_053_825),
    (lambda: resnet.Discriminator(width=128, normalised=True, pool="sum"), 1_053_825),
    (lambda: biggan.Generator(classes=1000), 70_433_988),
    (lambda: biggan.Discriminator(classes=1000), 87_982_370),
    # BigGAN's, and linear layers of 1,536 features: four rotations, 1,000 classes
    (lambda: s3gan.Discriminator(classes=1000, attention=[64]), 87_982_370 + 6_148 + 1_537_000),
    (
        lambda: s3gan.Discriminator(classes=1000, attention=[64], reads_classes=False),
        87_982_370 + 6_148,
    ),
    (
        lambda: biggan.Generator(128, 64, 32, classes=10, shared=0, split=False, attention=()),
        4_304_387,
    ),
    (lambda: biggan.Discriminator(64, 32, classes=10, attention=()), 4_207_361),
    # The published ones have 128 outputs in their last convolution, of which they show 3.
    (lambda: biggan_deep.DeepGenerator(classes=1000), 50_388_609 - 125 * (128 * 9 + 1)),
    (lambda: biggan_deep.DeepGenerator(classes=1000, size=256), 55_880_833 - 125 * (128 * 9 + 1)),
]


def test_published_parameter_counts() -> None:
    with torch.device("meta"):
        counts = [sum(p.numel() for p in make().parameters()) for make, _ in PUBLISHED]
    found = [
        f"entry {i}: {a:,}, not {b:,}"
        for i, (a, (_, b)) in enumerate(zip(counts, PUBLISHED))
        if a != b
    ]
    assert found == []


PAIRS = {
    "mlp": (
        lambda **k: mlp.MLPGenerator(5, (6,), **k),
        lambda **k: mlp.MaxoutDiscriminator(6, 2, 1, **k),
    ),
    "dcgan": (lambda **k: dcgan.Generator(5, 2, **k), lambda **k: dcgan.Discriminator(2, **k)),
    "dcgan without norm": (
        lambda **k: dcgan.Generator(5, 2, **k),
        lambda **k: dcgan.Discriminator(2, norm=False, **k),
    ),
    "dcgan, neither with norm": (
        lambda **k: dcgan.Generator(5, 2, norm=False, **k),
        lambda **k: dcgan.Discriminator(2, norm=False, **k),
    ),
    "resnet": (lambda **k: resnet.Generator(5, 2, **k), lambda **k: resnet.Discriminator(2, **k)),
    "resnet, normalised": (
        lambda **k: resnet.Generator(5, 2, **k),
        lambda **k: resnet.Discriminator(2, normalised=True, pool="sum", **k),
    ),
    "cnn": (lambda **k: sngan.Generator(5, 2, **k), lambda **k: sngan.Discriminator(2, **k)),
    "biggan": (
        lambda **k: biggan.Generator(20, 2, attention=[8], **k),
        lambda **k: biggan.Discriminator(2, attention=[min(sides(k["size"])) // 2], **k),
    ),
    "sagan": (
        lambda **k: biggan.Generator(5, 2, split=False, shared=0, attention=[8], **k),
        lambda **k: biggan.Discriminator(2, attention=[min(sides(k["size"])) // 2], **k),
    ),
    "biggan deep": (
        lambda **k: biggan_deep.DeepGenerator(5, 2, attention=[8], **k),
        lambda **k: biggan_deep.DeepDiscriminator(2, attention=[min(sides(k["size"])) // 2], **k),
    ),
    "r3gan": (lambda **k: r3gan.Generator(5, 4, **k), lambda **k: r3gan.Discriminator(4, **k)),
    "progressive": (
        lambda **k: progan.ProgressiveGenerator(5, 4, **k),
        lambda **k: progan.ProgressiveDiscriminator(4, **k),
    ),
    "style": (
        lambda **k: stylegan.Generator(5, 6, 2, 4, **k),
        lambda **k: progan.ProgressiveDiscriminator(4, blur=True, **k),
    ),
    "style2": (
        lambda **k: stylegan2.Generator(5, 6, 2, 4, **k),
        lambda **k: stylegan2.Discriminator(4, **k),
    ),
}
LINEAR = ("progressive", "style", "style2", "r3gan")  # families whose images are not bounded


@pytest.mark.parametrize(
    ("size", "channels"),
    [(8, 1), (16, 3), (32, 2), ((8, 12), 4), ((24, 16), 3), ((32, 40), 1)],
)
@pytest.mark.parametrize("family", PAIRS)
def test_noise_to_images_to_scores(family: str, channels: int, size) -> None:
    G, D = (make(size=size, channels=channels) for make in PAIRS[family])
    height, width = (size, size) if isinstance(size, int) else size
    x = G(torch.randn(2, G.latent))
    assert x.shape == (2, channels, height, width)
    if family not in LINEAR:
        assert x.abs().max() <= 1
    scores = D(x)
    assert scores.shape == (2,)
    scores.sum().backward()
    for net in (G, D):
        missing = [n for n, p in net.named_parameters() if p.grad is None]
        assert all(re.search(r"\b(to|from)_rgb", n) for n in missing), (
            "every weight of the full network takes part"
        )


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(8, 8), (12, 20), (24, 8)])
def test_resnet_translates(channels: int, size: tuple[int, int]) -> None:
    net = image_to_image.ResNetGenerator(channels, 5 - channels, width=2, blocks=1)
    assert net(torch.randn(1, channels, *size)).shape == (1, 5 - channels, *size)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("size", "bottleneck"), [((16, 16), 0), ((16, 24), 0), ((32, 40), 3)])
def test_discogan_generator_and_discriminator(
    channels: int, size: tuple[int, int], bottleneck: int
) -> None:
    net = discogan.Generator(channels, 5 - channels, width=2, depth=3, bottleneck=bottleneck)
    made = net(torch.randn(2, channels, *size))
    assert made.shape == (2, 5 - channels, *size)
    logits, features = discogan.Discriminator(2, size, 5 - channels)(made)
    assert logits.shape == (2,)
    assert [f.shape[1] for f in features] == [4, 8][: int(math.log2(min(size) // 8))]
    with pytest.raises(UserError, match="Nearest"):
        net(torch.randn(2, channels, *size)[..., :-1])
    with pytest.raises(UserError, match="must be 16"):
        discogan.Discriminator(2, 8)


@pytest.mark.parametrize("size", [64, (24, 40), (33, 50)])
def test_dualgans_critic_takes_any_side(size) -> None:
    height, width = (size, size) if isinstance(size, int) else size
    critic = dualgan.Critic(2, 4, size, 1)
    assert critic(torch.randn(3, 1, height, width)).shape == (3,)
    with pytest.raises(UserError, match="fewer layers"):
        dualgan.Critic(2, 4, 16, 1)(torch.randn(3, 1, 16, 16))


def test_dualgans_generator_has_its_authors_kernels() -> None:
    net = image_to_image.UNetGenerator(width=2, depth=4, norm="affine", kernel=3, ends=5, dropout=3)
    kernels = [
        m.kernel_size[0] for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
    ]
    assert kernels == [5, 3, 3, 3, 3, 3, 3, 5]
    assert sum(type(m).__name__ == "Dropout" for m in net.modules()) == 3
    assert net(torch.randn(1, 3, 32, 48)).shape == (1, 3, 32, 48)


@pytest.mark.parametrize("norm", ["batch", "instance", "affine"])
@pytest.mark.parametrize(("depth", "size"), [(2, (4, 8)), (5, (32, 64)), (6, (64, 64))])
def test_unet_translates(norm, depth: int, size: tuple[int, int]) -> None:
    net = image_to_image.UNetGenerator(1, 4, width=2, depth=depth, norm=norm, dropout=True)
    assert net(torch.randn(1, 1, *size)).shape == (1, 4, *size)


@pytest.mark.parametrize(("depth", "layers"), [(8, 3), (7, 2), (5, 0)])
def test_unet_drops_where_the_reference_does(depth: int, layers: int) -> None:
    net = image_to_image.UNetGenerator(width=1, depth=depth, dropout=True)
    assert sum(type(m).__name__ == "Dropout" for m in net.modules()) == layers


@pytest.mark.parametrize("skip", [True, False])
def test_without_skips_everything_passes_the_bottleneck(skip: bool) -> None:
    net = image_to_image.UNetGenerator(1, 1, width=2, depth=3, skip=skip).eval()
    bottleneck = [m for m in net.modules() if isinstance(m, nn.Conv2d)][-1]
    nn.init.zeros_(bottleneck.weight)
    one, other = net(torch.randn(2, 1, 8, 16)).split(1)
    assert torch.equal(one, other) == (not skip)


def test_patch_discriminator_shapes() -> None:
    assert patchgan.PatchDiscriminator(4, width=1)(torch.randn(1, 4, 256, 256)).shape == (
        1,
        1,
        30,
        30,
    )
    assert patchgan.PatchDiscriminator(1, width=1)(torch.randn(1, 1, 24, 30)).shape == (1, 1, 1, 1)
    assert patchgan.PixelDiscriminator(2, width=1)(torch.randn(1, 2, 5, 3)).shape == (1, 1, 5, 3)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_receptive_field(layers: int) -> None:
    """The published receptive fields, and the pixels that one score's gradient reaches."""
    assert [patchgan.receptive_field(n) for n in range(1, 7)] == [16, 34, 70, 142, 286, 574]
    net = patchgan.PatchDiscriminator(1, width=4, layers=layers, norm="batch").eval()
    x = torch.randn(1, 1, 128, 128, requires_grad=True)
    scores = net(x)
    middle = scores.shape[-1] // 2
    scores[0, 0, middle, middle].backward()
    assert x.grad is not None
    rows = x.grad[0, 0].abs().sum(1).nonzero()
    assert rows.max() - rows.min() + 1 == patchgan.receptive_field(layers)


def test_growth() -> None:
    """A faded image is a mixture of two resolutions by alpha, in G and in D."""
    G = progan.ProgressiveGenerator(latent=4, width=4, size=(16, 24), channels=1)
    D = progan.ProgressiveDiscriminator(width=4, size=(16, 24), channels=1)
    assert G.resolutions == D.resolutions == (6, 12, 24)
    z = torch.randn(3, 4)
    coarse, fine = G(z, resolution=6), G(z, resolution=12)
    assert coarse.shape == (3, 1, 4, 6)
    larger = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(G(z, resolution=12, alpha=0.0), larger)
    torch.testing.assert_close(G(z, resolution=12, alpha=0.25), 0.75 * larger + 0.25 * fine)
    # A critic that has just started to grow sees an image as it saw it at half the size.
    x = torch.randn(3, 1, 8, 12)
    torch.testing.assert_close(D(x, alpha=0.0), D(nn.functional.avg_pool2d(x, 2)))
    assert not torch.allclose(D(x, alpha=0.5), D(x))
    with pytest.raises(UserError, match=r"no resolution of 8 .* 6, 12, 24"):
        G(z, resolution=8)
    with pytest.raises(UserError, match="no resolution of 48"):
        D(torch.zeros(1, 1, 32, 48))


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_progressive_networks_run_in_bfloat16(alpha: float) -> None:
    G = progan.ProgressiveGenerator(latent=4, width=4, size=8)
    D = progan.ProgressiveDiscriminator(width=4, size=8)
    z = torch.randn(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        D(G(z, alpha=alpha), alpha=alpha).float().mean().backward()
    grads = [p.grad for p in [*G.parameters(), *D.parameters()] if p.grad is not None]
    assert grads
    assert all(g.isfinite().all() for g in grads)


def test_widths_of_growth() -> None:
    with pytest.raises(UserError, match=r"`widths` gives 2 .* 3 resolutions"):
        progan.ProgressiveGenerator(size=16, widths=(4, 4))


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        (28, ["32x32", "16x16"]),
        (48, ["32x32", "64x64"]),
        (100, ["128x128", "64x64"]),
        (5, ["8x8"]),
        ((64, 100), ["64x96", "64x112"]),
        ((100, 64), ["96x64", "112x64"]),
        ((30, 200), ["32x200"]),
    ],
)
def test_an_impossible_size_names_the_nearest(size, nearest: list[str]) -> None:
    with pytest.raises(UserError) as e:
        dcgan.Generator(size=size)
    height, width = (size, size) if isinstance(size, int) else size
    assert f"{height}x{width}" in str(e.value)
    names = re.findall(r"\d+x\d+", str(e.value).rpartition("Nearest")[2])
    assert set(nearest) <= set(names)
    for name in names:  # and each can be built
        a, b = map(int, name.split("x"))
        doublings((a, b))


@pytest.mark.parametrize("size", [0, -4, (0, 8)])
def test_a_size_without_pixels(size) -> None:
    with pytest.raises(UserError, match="at least 1"):
        mlp.MLPGenerator(size=size)


@pytest.mark.parametrize(
    ("net", "size", "says"),
    [
        (
            lambda: image_to_image.ResNetGenerator(width=1, blocks=1),
            (30, 33),
            "30x33.*multiples of 4.*28x32 or 32x36",
        ),
        (
            lambda: image_to_image.ResNetGenerator(width=1, blocks=1),
            (4, 4),
            "at least 8.*Nearest: 8x8",
        ),
        (
            lambda: image_to_image.UNetGenerator(width=1, depth=5),
            (48, 64),
            "multiples of 32.*32x64 or 64x64",
        ),
        (lambda: patchgan.PatchDiscriminator(width=1), (20, 64), "20x64.*at least 24 pixels"),
        (lambda: unit.MultiscaleDiscriminator(width=1), (63, 64), "63x64.*at least 64 pixels"),
        (lambda: lambda x: unit.Encoders(width=1, blocks=1)(x, 0), (30, 33), "multiples of 4"),
    ],
)
def test_images_that_cannot_be_taken(net, size: tuple[int, int], says: str) -> None:
    with pytest.raises(UserError, match=says):
        net()(torch.zeros(1, 3, *size))


@pytest.mark.parametrize("size", [16, 64, (16, 24)])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("family", ["perceptrons", "convolutions"])
def test_autoencoders(family: str, channels: int, size) -> None:
    if family == "perceptrons":
        Enc, Dec = (
            autoencoder.MLPEncoder(5, 6, size, channels),
            autoencoder.MLPDecoder(5, 6, size, channels),
        )
    else:
        Enc, Dec = (
            autoencoder.Encoder(5, 2, size, channels),
            autoencoder.Decoder(5, 2, size, channels),
        )
    x = torch.randn(2, channels, *((size, size) if isinstance(size, int) else size))
    q = Enc(x)
    assert q.shape == (2, 2, 5)
    assert Dec(q[:, 0]).shape == x.shape
    logits, features = autoencoder.FeatureDiscriminator(2, size, channels)(x)
    assert logits.shape == (2,)
    assert features.dim() == 4


def test_vaegan_at_64_px_is_the_papers() -> None:
    """Larsen et al., 2015: channels of each convolution, units of each linear layer."""
    nets = (autoencoder.Encoder(), autoencoder.Decoder(), autoencoder.FeatureDiscriminator())
    layers = [
        [m for m in n.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
        for n in nets
    ]
    widths = [
        [m.out_features if isinstance(m, nn.Linear) else m.out_channels for m in each]
        for each in layers
    ]
    assert widths == [
        [64, 128, 256, 2048, 256],
        [8 * 8 * 256, 256, 128, 32, 3],
        [32, 128, 256, 256, 512, 1],
    ]


@pytest.mark.parametrize("size", [20, 28, 36, (28, 20), (20, 44)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_coupled_networks(channels: int, size) -> None:
    G = cogan.Generators(5, (4, 4, 2, 2), size=size, channels=channels)
    D = cogan.Discriminators((2, 3, 4), size=size, channels=channels)
    made = G(torch.randn(2, 5))
    for domain, x in enumerate(made):
        assert x.shape == (2, channels, *sides(size))
        assert D(x, domain).shape == (2,)
    assert not torch.equal(*made)


@pytest.mark.parametrize(
    ("size", "nearest"), [(32, "28x28|36x36"), (8, "20x20"), ((28, 30), "28x28")]
)
def test_sides_of_coupled_networks(size, nearest: str) -> None:
    for net in (cogan.Generators, cogan.Discriminators):
        with pytest.raises(UserError, match=f"Nearest: {nearest}"):
            net(size=size)
    with pytest.raises(UserError, match="from 0 to 4"):
        cogan.Generators(tied=5)


def test_tied_layers_are_one() -> None:
    """Gradients of one domain reach shared weights, not the other's own layers."""
    G = cogan.Generators(5, (4, 4, 2, 2), tied=3)
    made = G(torch.randn(2, 5))
    made[0].sum().backward()
    reached = {k.rpartition(".")[0] for k, w in G.named_parameters() if w.grad is not None}
    assert {f"tied.{i}.0" for i in range(3)} | {"own.0.0.0", "own.0.1"} <= reached
    assert not any(k.startswith("own.1") for k in reached)
    with torch.device("meta"):
        two = nn.ModuleList([unit.Encoders(shared=1), unit.Decoders(shared=1)])
        block = unit.Block(256)
    assert sum(w.numel() for w in two.parameters()) == 2 * 11_140_483 - 2 * sum(
        w.numel() for w in block.parameters()
    )


@pytest.mark.parametrize("size", [8, 16, (20, 12)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_unit_networks(channels: int, size) -> None:
    E = unit.Encoders(channels, width=2, blocks=2, shared=1)
    G = unit.Decoders(channels, E.latent, E.halvings, blocks=2, shared=1)
    D = unit.MultiscaleDiscriminator(channels, width=2, layers=1, scales=2)
    x = torch.rand(2, channels, *sides(size)) * 2 - 1
    for domain in range(2):
        h = E(x, domain)
        assert h.shape == (2, E.latent, x.shape[2] // 4, x.shape[3] // 4)
        assert G(h, domain).shape == x.shape
    assert [len(scores) for scores in D(x)] == [2, 2]


def test_dong_at_64_px_is_the_authors() -> None:
    """The layers of zsdonghao/Unsup-Im2Im: channels and units of each."""
    nets = (
        dong2017.Generator(),
        dong2017.Discriminator(),
        dong2017.Encoder(),
        dong2017.Generator(100, 5, 128),
    )
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding
    layers = [[m for m in n.modules() if isinstance(m, kinds)] for n in nets]
    weights = [[m.get_parameter("weight") for m in each] for each in layers]
    shapes = [[(*w.shape[:2], *w.shape[2:3]) for w in each] for each in weights]
    convolutions = [(64, 3, 5), (128, 64, 5), (256, 128, 5), (512, 256, 5)]
    assert shapes[0] == [
        (2, 2),
        (100, 512, 4),
        (512, 256, 5),
        (256, 128, 5),
        (128, 64, 5),
        (64, 3, 5),
    ]
    assert shapes[1] == [*convolutions, (1, 8192), (2, 8192)]
    assert shapes[2] == [*convolutions, (98, 8192)]
    assert shapes[3][:3] == [(2, 5), (105, 1024, 4), (1024, 512, 5)]


@pytest.mark.parametrize("size", [8, 16, (8, 12), (24, 16)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_dong(channels: int, size) -> None:
    shape = {"size": size, "channels": channels}
    z = torch.randn(2, 5)
    x = dong2017.Generator(5, 2, 2, **shape)(z, torch.tensor([0, 1]))
    assert x.shape == (2, channels, *sides(size))
    logits, named = dong2017.Discriminator(2, **shape)(x)
    assert (logits.shape, named.shape) == ((2,), (2, 2))
    assert dong2017.Encoder(5, 2, **shape)(x).shape == z.shape


def test_unknown_norm() -> None:
    with pytest.raises(UserError, match="Did you mean 'instance'"):
        image_to_image.ResNetGenerator(norm="instanc")  # pyright: ignore[reportArgumentType]


def spread(net: nn.Module, weight: str) -> tuple[float, float, float]:
    """Mean, standard deviation and largest absolute value."""
    w = net.get_parameter(weight)
    return w.mean().item(), w.std().item(), w.abs().max().item()


def test_initial_weights() -> None:
    torch.manual_seed(0)
    G = dcgan.Generator()
    assert spread(G, "main.3.weight")[1] == pytest.approx(0.02, rel=0.02)
    assert spread(G, "main.1.weight")[:2] == (
        pytest.approx(1.0, abs=0.01),
        pytest.approx(0.02, rel=0.2),
    )
    net = image_to_image.ResNetGenerator(blocks=1)
    assert spread(net, "model.10.conv_block.1.weight")[1] == pytest.approx(0.02, rel=0.02)
    assert spread(net, "model.10.conv_block.1.bias") == (0, 0, 0)
    assert spread(progan.ProgressiveGenerator(size=8), "blocks.0.conv1.weight")[1] == pytest.approx(
        1.0, rel=0.02
    )
    assert 0.049 < spread(mlp.MLPGenerator(), "net.0.weight")[2] <= 0.05
    assert 0.0045 < spread(mlp.MaxoutDiscriminator(), "net.2.linear.weight")[2] <= 0.005
    torch.manual_seed(0)
    bare = dcgan.Generator(width=16, norm=False)
    spreads = [
        bare.main[:i](torch.randn(64, 100, 1, 1)).std().item() for i in (4, 7, 10, 13)
    ]  # after each convolution
    assert all(0.7 < s < 1.5 for s in spreads), (
        "without a norm, no stage enlarges or shrinks what it is given"
    )
    shape = {
        "size": 8,
        "width": 16,
        "attention": [],
        "init": "normal",
    }  # ajbrock/BigGAN-PyTorch's N(0, .02)
    G, D = (
        biggan.Generator(latent=64, classes=200, shared=0, split=False, **shape),
        biggan.Discriminator(classes=200, **shape),
    )
    for name, weight in [*G.named_parameters(), *D.named_parameters()]:
        if weight.ndim > 1 and weight.numel() > 100:  # labels' tables of gains and biases, too
            assert weight.std().item() == pytest.approx(0.02, rel=0.2), name
        elif name.endswith("conv1.bias"):
            assert weight.abs().max() > 0, f"{name} stays as torch draws it"
    # Standard deviations of He and Glorot: sqrt(4 / (fan_in + fan_out)) and sqrt(2 /
    # (fan_in + fan_out)).
    critic = resnet.Discriminator()
    assert spread(critic, "blocks.1.conv1.weight")[1] == pytest.approx(
        (4 / (2 * 9 * 128)) ** 0.5, rel=0.02
    )
    assert spread(critic, "blocks.1.shortcut.weight")[1] == pytest.approx(
        (2 / (2 * 128)) ** 0.5, rel=0.02
    )


def test_a_strided_convolution_of_single_pixels_has_the_right_gradient() -> None:
    x = torch.randn(2, 4, 9, 10).to(memory_format=torch.channels_last).requires_grad_()
    layer = Strided1x1(4, 8, 1, 2)
    g = torch.randn(2, 8, 5, 5)
    (layer(x) * g).sum().backward()
    picked = x.detach()[:, :, ::2, ::2]
    assert layer.weight.grad is not None
    assert x.grad is not None
    expected = torch.einsum("ndhw,nchw->dc", g, picked)
    torch.testing.assert_close(layer.weight.grad[:, :, 0, 0], expected)
    torch.testing.assert_close(
        x.grad[:, :, ::2, ::2], torch.einsum("ndhw,dc->nchw", g, layer.weight[:, :, 0, 0].detach())
    )
    assert layer.state_dict().keys() == torch.nn.Conv2d(4, 8, 1, 2).state_dict().keys()
