"""LPIPS: a closed form, an independent implementation, and its weight files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ganvas.core.errors import UserError
from ganvas.metrics.lpips import BACKBONES, LPIPS, SCALE, SHIFT, alexnet, lpips, squeezenet11, vgg16


def picture(*shape: int, seed: int = 0) -> torch.Tensor:
    """Smooth, in [-1, 1]."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(*shape[:2], 8, 8, generator=g) * 2 - 1
    return F.interpolate(coarse, shape[2:], mode="bilinear", align_corners=False)


def test_closed_form() -> None:
    """Two layers of a network that returns its normalized input: distances by hand."""
    net = LPIPS(
        nn.Sequential(nn.Identity(), nn.ReLU()),
        (0, 1),
        [torch.tensor([1.0, 2.0, 3.0]), torch.ones(3)],
        "tiny",
    )
    shift, scale = torch.tensor(SHIFT).view(1, 3, 1, 1), torch.tensor(SCALE).view(1, 3, 1, 1)
    u, v = torch.tensor([3.0, 0.0, 4.0]), torch.tensor([0.0, 2.0, -2.0])
    a, b = (x.view(1, 3, 1, 1).expand(2, 3, 4, 5) * scale + shift for x in (u, v))
    r = math.sqrt(0.5)
    first = (0.6**2) * 1 + r**2 * 2 + (0.8 + r) ** 2 * 3
    second = 0.6**2 + 1 + 0.8**2  # after ReLU, v is (0, 1, 0)
    torch.testing.assert_close(net(a, b), torch.full((2,), first + second))
    torch.testing.assert_close(net(a, b), net(b, a))
    assert net(a, a).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("make", "count"), [(alexnet, 2_469_696), (vgg16, 14_714_688), (squeezenet11, 722_496)]
)
def test_published_parameter_counts(make, count: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in make().parameters()) == count


@pytest.mark.parametrize("net", ["alex", "squeeze", "vgg"])
def test_agrees_with_torchmetrics(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same network with random weights and heads: its layers are separated."""
    try:
        from torchmetrics.functional.image import lpips as theirs
    except Exception as e:  # a broken neighbor of torchmetrics breaks its import with any error
        pytest.skip(f"torchmetrics does not import: {e}")
    torch.manual_seed(0)
    chosen = BACKBONES[net]
    features = chosen.features()
    padded = nn.Sequential(*features, *[nn.Identity()] * 3)  # it also names the pooling at the end
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda name, pretrained=False: padded)
    heads = Path(theirs.__file__).parent / "lpips_models" / chosen.heads[0]
    oracle = theirs._LPIPS(net=net, pnet_rand=True)  # type: ignore[arg-type]
    state = torch.load(heads, map_location="cpu", weights_only=True)
    weights = [state[f"lin{i}.model.1.weight"] for i in range(len(chosen.taps))]
    mine = LPIPS(features, chosen.taps, weights, net)
    a, b = picture(2, 3, 64, 72), picture(2, 3, 64, 72, seed=1)
    expected = oracle(a, b).flatten()
    assert float(expected.min()) > 0.001
    torch.testing.assert_close(mine(a, b), expected, rtol=1e-5, atol=1e-7)


def test_grows_with_noise_and_blur(shared: Path) -> None:
    measure = lpips("squeeze-caffe", shared / "data" / "weights")
    assert measure.name == "lpips-squeeze-caffe"
    assert set(measure.hashes) == {"heads", "backbone"}
    a = picture(1, 3, 96, 96) + 0.2 * picture(1, 3, 96, 96, seed=3)[..., torch.randperm(96)]
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(1))
    noisy = [float(measure(a, a + s * noise)) for s in (0, 0.05, 0.2, 0.5)]
    blurred = [
        float(measure(a, F.avg_pool2d(a, k, 1, k // 2, count_include_pad=False))) for k in (1, 3, 7)
    ]
    assert noisy[0] == blurred[0] == 0
    assert noisy == sorted(set(noisy))
    assert blurred == sorted(set(blurred))
    gray = measure(a[:, :1], noise[:, :1])
    torch.testing.assert_close(
        gray, measure(a[:, :1].expand(-1, 3, -1, -1), noise[:, :1].expand(-1, 3, -1, -1))
    )
    b = (a + 0.2 * noise).requires_grad_()
    measure(a, b).sum().backward()
    assert b.grad is not None
    assert bool(b.grad.abs().sum() > 0)


@pytest.mark.parametrize("net", list(BACKBONES))
def test_the_smallest_image_is_as_stated(net: str) -> None:
    chosen = BACKBONES[net]
    features = chosen.features()
    heads = [torch.ones(1) for _ in chosen.taps]
    measure = LPIPS(features, chosen.taps, heads, net, least=chosen.least)
    x = torch.zeros(1, 3, chosen.least, chosen.least)
    assert measure(x, x + 1).shape == (1,)
    with pytest.raises(UserError, match=f"at least {chosen.least} pixels"):
        measure(x[..., 1:], x[..., 1:])


def test_every_head_loads(shared: Path) -> None:
    """Without the backbones' files, one line names the missing backbone."""
    for net in ("alex", "vgg", "squeeze"):
        with pytest.raises(UserError, match="needs the backbone's weights") as e:
            lpips(net, shared / "data" / "weights")
        assert next(iter(BACKBONES[net].files)) in str(e.value)
        assert "\n" not in str(e.value)


def test_files_that_are_missing_or_others(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = shared / "data" / "weights"
    monkeypatch.delenv("GANVAS_WEIGHTS", raising=False)
    with pytest.raises(UserError, match="Did you mean 'squeeze'"):
        lpips("squeze", weights)
    with pytest.raises(UserError, match="GANVAS_WEIGHTS"):
        lpips("alex")
    with pytest.raises(UserError, match=r"needs the heads, alex\.pth"):
        lpips("alex", tmp_path)
    torch.save(alexnet().state_dict(), tmp_path / "alexnet-owt-7be5be79.pth")
    with pytest.raises(UserError, match="expected 7be5be79"):
        lpips("alex", weights, backbone=tmp_path)
    with pytest.raises(UserError, match="is not the file"):
        lpips(
            "squeeze", weights, backbone=weights / "squeezenet1_1_features_imagenet_caffe_bgr.pth"
        )
    measure = lpips("squeeze-caffe", weights)
    a = picture(1, 3, 32, 32)
    with pytest.raises(UserError, match="one shape"):
        measure(a, a[..., 1:])
    with pytest.raises(UserError, match="NaN"):
        measure(a, a * math.nan)
