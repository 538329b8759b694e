from __future__ import annotations

import gzip
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits

from ganvas.core.errors import UserError
from ganvas.core.files import sha256_of
from ganvas.metrics.features import (
    RESIZERS,
    LeNet,
    MobileNetV2,
    Moments,
    base,
    extractor,
    feature_statistics,
    inception,
    lenet,
)
from ganvas.metrics.frechet import frechet_distance


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    x = torch.from_numpy(load_digits(return_X_y=True)[0]).view(-1, 8, 8).float()[:, None] / 8 - 1
    return F.interpolate(x, size=(32, 32), mode="bilinear", antialias=True)[
        torch.randperm(1797, generator=_seeded())
    ]


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_random_conv_never_changes() -> None:
    """Figures over this extractor compare only while these values hold."""
    e = extractor("random-conv-v1")
    assert e.hash == "15dc88ea582bcaa57f68701ae19142cd8a7fd1fa5a0a80e90de285d107d4744b"
    ramp = torch.linspace(-1, 1, 32 * 32).view(1, 1, 32, 32)
    features = e(ramp)
    assert features.shape == (1, e.dim)
    assert features.dtype == torch.float32
    assert features.sum().item() == pytest.approx(141.72854, rel=1e-4)


def test_extractors_leave_the_global_generator_alone(shared: Path) -> None:
    before = torch.get_rng_state()
    for name in ("random-conv-v1", "squeezenet", "lenet-mnist", "mobilenet-v2"):
        extractor(name, shared / "data" / "weights")
    assert torch.equal(before, torch.get_rng_state())


def test_channels_and_sizes() -> None:
    e = extractor("random-conv-v1")
    gray = torch.rand(3, 1, 20, 33, generator=_seeded()) * 2 - 1
    colour = gray.expand(-1, 3, -1, -1)
    opaque = torch.cat([colour, torch.ones(3, 1, 20, 33)], dim=1)
    assert torch.equal(e(gray), e(colour))
    assert torch.equal(e(gray), e(opaque))
    clear = opaque.clone()
    clear[:, 3] = -1  # wholly transparent: the colors below do not count
    other = torch.cat([-colour, clear[:, 3:]], dim=1)
    assert torch.equal(e(clear), e(other))
    assert not torch.equal(e(clear), e(opaque))
    assert e(torch.rand(2, 3, 200, 100)).shape == (2, e.dim)
    assert e.resizer(32, 32) == "bilinear-antialias-32"
    assert e.resizer(28, 40) == "bilinear-antialias-64"
    two = torch.rand(1, 2, 32, 32)
    assert torch.equal(e(two), e(torch.cat([two[:, :1], two[:, 1:]], 3))), "beside each other"
    with pytest.raises(UserError, match=r"images must be \[N, channels"):
        e(torch.zeros(1, 8, 8))
    with pytest.raises(UserError, match="NaN"):
        e(torch.full((1, 1, 8, 8), torch.nan))


def test_sees_images_as_they_are_saved() -> None:
    """An image and its 8-bit file have the same features."""
    e = extractor("random-conv-v1")
    x = torch.rand(2, 3, 16, 16, generator=_seeded()) * 2.4 - 1.2
    saved = ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    assert torch.equal(e(x), e(saved))


def test_random_conv_ranks_damage(digits: torch.Tensor) -> None:
    e = extractor("random-conv-v1")
    real, held_out = digits[:600], digits[600:1200]
    statistics = feature_statistics(e, real.split(200))

    def distance(x: torch.Tensor) -> float:
        return frechet_distance(*statistics, *feature_statistics(e, x.split(200)))

    def blurred(x: torch.Tensor, times: int) -> torch.Tensor:
        for _ in range(times):
            x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        return x

    noise = torch.randn(held_out.shape, generator=_seeded())
    clean = distance(held_out)
    for damaged in (
        [clean, *(distance(blurred(held_out, n)) for n in (1, 2, 4))],
        [clean, *(distance((held_out + s * noise).clamp(-1, 1)) for s in (0.1, 0.2, 0.4))],
        [clean, *(distance(held_out[:n].repeat(30, 1, 1, 1)) for n in (60, 20, 5))],
    ):
        assert damaged == sorted(damaged)
        assert damaged[-1] > 5 * clean


def test_streamed_moments_are_exact() -> None:
    x = torch.randn(501, 6, generator=_seeded(), dtype=torch.float64) * 3 + 1000
    moments = Moments(6)
    for part in x.split([1, 200, 7, 0, 293]):
        moments.add(part)
    mean, cov = moments.statistics()
    torch.testing.assert_close(mean, x.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(cov, x.T.cov(), rtol=1e-9, atol=1e-9)
    with pytest.raises(UserError, match="at least 2"):
        Moments(3).statistics()


def test_batches_pass_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    e = extractor("random-conv-v1")
    x = torch.rand(9, 3, 32, 32, generator=_seeded()) * 2 - 1
    whole = e(x)
    monkeypatch.setattr(base, "_AT_ONCE", 2 * 32 * 32)
    torch.testing.assert_close(e(x), whole)


def test_wrong_names_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANVAS_WEIGHTS", raising=False)
    with pytest.raises(UserError, match="Did you mean 'squeezenet'"):
        extractor("squeeznet")
    with pytest.raises(UserError, match="Did you mean 'clean'"):
        extractor("random-conv-v1", resizer="claen")
    for name in ("squeezenet", "lenet-mnist", "mobilenet-v2", "inception-2015"):
        with pytest.raises(UserError, match="GANVAS_WEIGHTS"):
            extractor(name)
        with pytest.raises(UserError, match="not in"):
            extractor(name, tmp_path)
    (tmp_path / "mnist_lenet.pth").write_bytes(b"no weights")
    got = hashlib.sha256(b"no weights").hexdigest()
    with pytest.raises(
        UserError, match=f"SHA-256 {got}, expected {lenet.SHA256}: .* fetch it again"
    ):
        extractor("lenet-mnist", tmp_path)
    monkeypatch.setenv("GANVAS_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match="expected"):
        extractor("lenet-mnist")
    with pytest.raises(UserError, match="does not hold the weights of mobilenet-v2"):
        extractor("mobilenet-v2", tmp_path / "mnist_lenet.pth")


def test_a_file_or_its_folder(shared: Path) -> None:
    folder = shared / "data" / "weights"
    assert (
        extractor("lenet-mnist", folder / "mnist_lenet.pth").hash
        == extractor("lenet-mnist", folder).hash
    )


# ---------------------------------------------------------------- resizing


def pixels(height: int, width: int) -> torch.Tensor:
    """uint8 values [2, 3, height, width], as floats"""
    return torch.randint(0, 256, (2, 3, height, width), generator=_seeded()).float()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (160, 130), (70, 40)])
def test_clean_resizing_is_pillows(height: int, width: int) -> None:
    x = pixels(height, width)
    resized = RESIZERS["clean"](x, 75)
    for image, got in zip(x.flatten(0, 1).numpy(), resized.flatten(0, 1), strict=True):
        expected = np.asarray(Image.fromarray(image).resize((75, 75), Image.Resampling.BICUBIC))
        assert (
            np.abs(got.numpy() - expected).max() < 0.02
        )  # of 255; Pillow weighs in double precision


@pytest.mark.parametrize(("height", "width"), [(32, 32), (160, 130)])
def test_legacy_resizing_is_tensorflows(height: int, width: int) -> None:
    """Output (i, j) is the bilinear value at (i height / side, j width / side)."""
    x, side = pixels(height, width), 75
    resized = RESIZERS["legacy-tensorflow"](x, side)
    for i, j in ((0, 0), (10, 33), (74, 74), (40, 1)):
        v, u = i * height / side, j * width / side
        top, left = int(v), int(u)
        below, right = min(top + 1, height - 1), min(left + 1, width - 1)
        upper = x[..., top, left] * (1 - u + left) + x[..., top, right] * (u - left)
        lower = x[..., below, left] * (1 - u + left) + x[..., below, right] * (u - left)
        torch.testing.assert_close(
            resized[..., i, j], upper * (1 - v + top) + lower * (v - top), rtol=0, atol=1e-2
        )


def test_resizers_differ_where_they_reduce() -> None:
    stripes = torch.zeros(1, 1, 64, 64)
    stripes[..., ::2] = 1  # as fine as pixels are: only antialiasing turns them gray
    spread = {name: resize(stripes, 24).std().item() for name, resize in RESIZERS.items()}
    assert (
        max(spread["clean"], spread["bilinear-antialias"]) < 0.1 < 0.3 < spread["legacy-tensorflow"]
    )
    assert not torch.equal(
        RESIZERS["legacy-pytorch"](stripes, 24), RESIZERS["legacy-tensorflow"](stripes, 24)
    )


# ---------------------------------------------------------------- inception-2015


@pytest.fixture(scope="module")
def random_inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with random weights, laid out as torch saves this network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = inception.Inception2015()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("weights") / inception.FILES[0]
    torch.save(net.state_dict(), path)
    return path


def test_inception_has_the_published_count() -> None:
    """The 23,885,392 numbers of the official file, means and variances included.

    21,768,352 weights and shifts without the last layer, as Keras counts Inception-v3
    (its batch normalization has no gain), 17,216 gains, and 1008 outputs."""
    with torch.device("meta"):
        net = inception.Inception2015()
    body = sum(p.numel() for name, p in net.named_parameters() if not name.startswith("fc."))
    assert body == 21_768_352 + 17_216
    numbers = sum(
        t.numel()
        for name, t in net.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )
    assert numbers == body + 2 * 17_216 + 2049 * 1008 == 23_885_392
    assert 0 < inception.BYTES - 4 * numbers < 120_000  # names and lengths


def test_inception_loads_both_layouts(
    random_inception: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {
        k: v
        for k, v in torch.load(random_inception).items()
        if not k.endswith("num_batches_tracked")
    }
    other = (
        tmp_path / inception.FILES[1]
    )  # as converted from TensorFlow: without the counters that torch adds
    torch.save(plain, other)
    x = torch.rand(2, 3, 40, 30, generator=_seeded()) * 2 - 1
    found = []
    for file in (random_inception, other):
        with pytest.raises(UserError, match=inception.SHA256):
            extractor("inception-2015", file)
        monkeypatch.setattr(inception, "SHA256", sha256_of(file))
        e = extractor("inception-2015", file.parent)
        found.append(e.with_logits(x))
        monkeypatch.undo()
    assert torch.equal(found[0][0], found[1][0])
    features, logits = found[0]
    assert (features.shape, logits.shape) == ((2, 2048), (2, 1008))
    assert (e.dim, e.classes, e.distance, e.resizer(40, 30)) == (
        2048,
        1008,
        "fid",
        "legacy-pytorch-299",
    )
    torch.testing.assert_close(logits, features @ plain["fc.weight"].T)  # without the bias


def test_inception_by_its_blocks(random_inception: Path) -> None:
    """Shapes of the paper's table 1, means without padding, max pooling at the end."""
    net = inception.Inception2015().eval()
    net.load_state_dict(torch.load(random_inception))
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: shapes.update({name: tuple(output.shape[1:])})

    for name, module in net.named_children():
        module.register_forward_hook(note(name))
    with torch.no_grad():
        net(torch.rand(1, 3, 299, 299, generator=_seeded()) * 2 - 1)
    assert (shapes["Conv2d_4a_3x3"], shapes["Mixed_5d"]) == ((192, 71, 71), (288, 35, 35))
    assert (shapes["Mixed_6e"], shapes["Mixed_7a"], shapes["Mixed_7c"]) == (
        (768, 17, 17),
        (1280, 8, 8),
        (2048, 8, 8),
    )
    flat, peak = torch.ones(1, 1280, 8, 8), torch.zeros(1, 2048, 8, 8)
    peak[..., 4, 4] = 1
    with torch.no_grad():
        mean = net.Mixed_7b(flat)[:, -192:]  # a constant stays one up to the border
        spread = (net.Mixed_7c(peak)[:, -192:] - net.Mixed_7c(0 * peak)[:, -192:]).flatten(2)
    torch.testing.assert_close(mean, mean[..., 4:5, 4:5].expand_as(mean))
    reached = spread.abs().amax(1)[0].view(8, 8) > 0
    assert reached.nonzero().tolist() == [[i, j] for i in (3, 4, 5) for j in (3, 4, 5)]
    assert torch.equal(
        spread.view(192, 8, 8)[:, 3, 3], spread.view(192, 8, 8)[:, 4, 4]
    )  # undiluted: the maximum


@pytest.mark.parametrize(
    ("resizer", "black"), [("legacy-pytorch", -1.0), ("legacy-tensorflow", -1.0), ("clean", -1.0)]
)
def test_inception_scales_pixels_as_the_protocol_does(
    resizer: str, black: float, random_inception: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """White is 1 for pytorch-fid, and 127 / 128 for the original."""
    monkeypatch.setattr(inception, "SHA256", sha256_of(random_inception))
    e = extractor("inception-2015", random_inception, resizer=resizer)
    seen: list[torch.Tensor] = []
    e.net.Conv2d_1a_3x3.register_forward_pre_hook(lambda module, x: seen.append(x[0]))
    e(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 8, 8))
    white = 1.0 if resizer == "legacy-pytorch" else 127 / 128
    torch.testing.assert_close(torch.cat(seen).mean((1, 2, 3)), torch.tensor([black, white]))


# ---------------------------------------------------------------- networks of photographs


PHOTOS = {
    "parrot.jpg": "macaw",
    "cat.bmp": "Egyptian cat",
    "bird.bmp": "chickadee",
    "sunflower.bmp": "daisy",
}


@pytest.mark.parametrize(
    ("name", "background", "least"), [("squeezenet", 0, 0.8), ("mobilenet-v2", 1, 0.75)]
)
def test_recognizes_the_photographs(shared: Path, name: str, background: int, least: float) -> None:
    e = extractor(name, shared / "data" / "weights")
    labels = (
        (shared / "data" / "weights" / "imagenet_labels.txt")
        .read_text()
        .splitlines()[1 - background :]
    )
    assert len(labels) == e.classes
    for file, label in PHOTOS.items():
        with Image.open(shared / "data" / "photos" / file) as image:
            x = torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0)[None] / 127.5 - 1
        features, logits = e.with_logits(x)
        p = logits.softmax(1)[0]
        assert labels[int(p.argmax())] == label
        assert p.max() > least
        torch.testing.assert_close(features, e(x))
        assert features.shape == (1, e.dim)
    assert e.distance == "frechet"
    assert (e.resizer(32, 32), e.resizer(65, 32)) == (
        "bilinear-antialias-96",
        "bilinear-antialias-224",
    )


def test_mobilenet_has_the_published_count() -> None:
    """3,504,872 in the paper's form with 1000 classes (there 3.4 million, with 1001).

    The 2 numbers per channel of batch normalization become one bias."""
    with torch.device("meta"):
        net = MobileNetV2()
    channels = sum(c.out_channels for c in net.modules() if isinstance(c, torch.nn.Conv2d)) - 1001
    assert sum(p.numel() for p in net.parameters()) == 3_504_872 - channels + 1281


def test_lenet_reads_mnist(shared: Path) -> None:
    e = extractor("lenet-mnist", shared / "data" / "weights")
    assert isinstance(e.net, LeNet)
    with gzip.open(shared / "data" / "mnist" / "t10k-images-idx3-ubyte.gz") as f:
        x = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(shared / "data" / "mnist" / "t10k-labels-idx1-ubyte.gz") as f:
        y = np.frombuffer(f.read(), np.uint8, offset=8)
    features = torch.cat(
        [e(torch.from_numpy(part / np.float32(127.5) - 1)) for part in np.split(x, 10)]
    )
    assert features.shape == (10000, 94)
    assert (features[:, -10:].argmax(1).numpy() == y).mean() > 0.99


# ---------------------------------------------------------------- transformers


def test_a_backbone_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
    )
    with torch.random.fork_rng():
        transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    (tmp_path / "vit" / "preprocessor_config.json").write_text(
        '{"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}'
    )
    e = extractor(f"transformers:{tmp_path / 'vit'}")
    x = torch.rand(3, 1, 20, 20, generator=_seeded()) * 2 - 1
    assert e(x).shape == (3, 16) == (3, e.dim)
    assert (e.name, e.distance, e.resizer(20, 20)) == (
        "transformers:vit",
        "frechet",
        "bilinear-antialias-32",
    )
    (tmp_path / "vit" / "preprocessor_config.json").write_text("{}")
    assert (
        extractor(f"transformers:{tmp_path / 'vit'}").hash != e.hash
    )  # another scale of pixels: other features


def test_a_backbone_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="holds no model of transformers"):
        extractor(f"transformers:{tmp_path}")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"pip install 'ganvas\[features\]'"):
        extractor(f"transformers:{tmp_path}")
