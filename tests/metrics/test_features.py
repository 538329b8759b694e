from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits

from ganvas.errors import UserError
from ganvas.metrics.features import LeNet, Moments, SqueezeNet, extractor, feature_statistics
from ganvas.metrics.frechet import frechet_distance


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    x = torch.from_numpy(load_digits(return_X_y=True)[0]).view(-1, 8, 8).float()[:, None] / 8 - 1
    return F.interpolate(x, size=(32, 32), mode="bilinear", antialias=True)[torch.randperm(1797, generator=_seeded())]


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_random_conv_never_changes() -> None:
    """Figures over it compare for as long as these hold."""
    e = extractor("random-conv-v1")
    assert e.hash == "15dc88ea582bcaa57f68701ae19142cd8a7fd1fa5a0a80e90de285d107d4744b"
    ramp = torch.linspace(-1, 1, 32 * 32).view(1, 1, 32, 32)
    features = e(ramp)
    assert features.shape == (1, e.dim)
    assert features.dtype == torch.float32
    assert features.sum().item() == pytest.approx(141.72854, rel=1e-4)


def test_extractors_leave_the_global_generator_alone(shared: Path) -> None:
    before = torch.get_rng_state()
    for name in ("random-conv-v1", "squeezenet", "lenet-mnist"):
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
    clear[:, 3] = -1  # wholly transparent: the colours below do not count
    other = torch.cat([-colour, clear[:, 3:]], dim=1)
    assert torch.equal(e(clear), e(other))
    assert not torch.equal(e(clear), e(opaque))
    assert e(torch.rand(2, 3, 200, 100)).shape == (2, e.dim)
    assert e.resizer(32, 32) == "bilinear-antialias-32"
    assert e.resizer(28, 40) == "bilinear-antialias-64"
    with pytest.raises(UserError, match="1, 3 or 4 channels"):
        e(torch.zeros(1, 2, 8, 8))
    with pytest.raises(UserError, match="NaN"):
        e(torch.full((1, 1, 8, 8), torch.nan))


def test_sees_pictures_as_they_are_saved() -> None:
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


def test_wrong_names_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANVAS_WEIGHTS", raising=False)
    with pytest.raises(UserError, match="Did you mean 'squeezenet'"):
        extractor("squeeznet")
    with pytest.raises(UserError, match="GANVAS_WEIGHTS"):
        extractor("squeezenet")
    with pytest.raises(UserError, match="not in"):
        extractor("squeezenet", tmp_path)
    (tmp_path / "mnist_lenet.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match="fetch it again"):
        extractor("lenet-mnist", tmp_path)
    monkeypatch.setenv("GANVAS_WEIGHTS", str(tmp_path))
    torch.save(SqueezeNet().state_dict(), tmp_path / "mnist_lenet.pth")
    with pytest.raises(UserError, match="does not hold the weights of lenet-mnist"):
        extractor("lenet-mnist")


def test_squeezenet_knows_the_photos(shared: Path) -> None:
    e = extractor("squeezenet", shared / "data" / "weights")
    assert isinstance(e.net, SqueezeNet)
    labels = (shared / "data" / "weights" / "imagenet_labels.txt").read_text().splitlines()[1:]
    expected = {"parrot.jpg": "macaw", "cat.bmp": "Egyptian cat", "bird.bmp": "chickadee", "sunflower.bmp": "daisy"}
    for file, label in expected.items():
        with Image.open(shared / "data" / "photos" / file) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0)[None] / 127.5 - 1
        with torch.no_grad():
            p = e.net.logits(e.prepare(pixels)).softmax(1)[0]
        assert labels[int(p.argmax())] == label
        assert p.max() > 0.8
    assert e(pixels).shape == (1, 512)


def test_lenet_reads_mnist(shared: Path) -> None:
    e = extractor("lenet-mnist", shared / "data" / "weights")
    assert isinstance(e.net, LeNet)
    with gzip.open(shared / "data" / "mnist" / "t10k-images-idx3-ubyte.gz") as f:
        x = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(shared / "data" / "mnist" / "t10k-labels-idx1-ubyte.gz") as f:
        y = np.frombuffer(f.read(), np.uint8, offset=8)
    features = torch.cat([e(torch.from_numpy(part / np.float32(127.5) - 1)) for part in np.split(x, 10)])
    assert features.shape == (10000, 94)
    assert (features[:, -10:].argmax(1).numpy() == y).mean() > 0.99
