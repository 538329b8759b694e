"""Layers against torch's own, against arithmetic by hand, and over two ranks."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from processes import ranks
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ganvas.core import rng
from ganvas.core.errors import UserError
from ganvas.nets.layers import (
    Blur,
    Dropout,
    EqualizedConv2d,
    EqualizedDownConv2d,
    EqualizedLinear,
    EqualizedUpConv2d,
    Maxout,
    MinibatchStdDev,
)
from ganvas.nets.norm import BatchNorm1d, BatchNorm2d, PixelNorm


def run(norm: nn.Module, x: Tensor) -> list[Tensor]:
    """Output, gradients, the gradients' gradients, and buffers after two steps."""
    x = x.clone().requires_grad_()
    norm.zero_grad()
    y = norm(norm(x)) * torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)
    (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    g.square().sum().backward()
    assert x.grad is not None
    return [
        y,
        g,
        x.grad,
        *[p.grad for p in norm.parameters() if p.grad is not None],
        *norm.buffers(),
    ]


@pytest.mark.parametrize("over_ranks", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (BatchNorm2d, nn.BatchNorm2d, (4, 3, 5, 2)),
        (BatchNorm1d, nn.BatchNorm1d, (6, 3)),
        (BatchNorm1d, nn.BatchNorm1d, (2, 3, 4)),
    ],
)
def test_batch_norm_is_torchs(
    ours, theirs, shape, over_ranks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = ours(3, dtype=torch.float64), theirs(3, dtype=torch.float64)
    nn.init.uniform_(a.weight)
    nn.init.uniform_(a.bias)
    b.load_state_dict(a.state_dict())
    if over_ranks:  # the formula for many ranks, in a world of one
        monkeypatch.setattr(a, "forward", lambda x: a._over_ranks(x, x.numel() // 3))
    x = torch.randn(shape, dtype=torch.float64) * 3 + 5
    torch.testing.assert_close(run(a, x), run(b, x))
    monkeypatch.undo()
    torch.testing.assert_close(a.eval()(x), b.eval()(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_over_ranks_differentiated_once_is_torchs(
    dtype: torch.dtype, affine: bool
) -> None:
    """The way by torch's kernels; `run` above differentiates twice and takes the plain formula."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    a, b = BatchNorm2d(3, affine=affine, dtype=wide), nn.BatchNorm2d(3, affine=affine, dtype=wide)
    if affine:
        nn.init.uniform_(a.weight)
    b.load_state_dict(a.state_dict())
    x = (
        (torch.randn(4, 3, 5, 2, dtype=wide) * 2 + 1)
        .to(dtype)
        .contiguous(memory_format=torch.channels_last)
    )
    found = []
    for norm in (lambda x: a._over_ranks(x, 40), b):
        here = x.clone().requires_grad_()
        y = norm(here)
        (y.double() * torch.linspace(-1, 1, x.numel()).view_as(x)).square().sum().backward()
        found.append([y, here.grad])
    tolerance = 1e-9 if dtype == torch.float64 else 0.05
    torch.testing.assert_close(*found, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(list(a.buffers()), list(b.buffers()), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(
        [p.grad for p in a.parameters()],
        [p.grad for p in b.parameters()],
        rtol=tolerance,
        atol=tolerance,
    )


def test_batch_norm_over_ranks_does_not_cancel() -> None:
    """E[x^2] - E[x]^2 in float32 would have nothing left of a spread of 1 around 10,000."""
    norm = BatchNorm2d(1, eps=0)
    y = norm._over_ranks(torch.randn(8, 1, 16, 16) + 1e4, 8 * 256)
    assert y.std().item() == pytest.approx(1.0, abs=1e-3)


def test_batch_norm_refuses_a_batch_of_one_value() -> None:
    norm = BatchNorm1d(3)
    with pytest.raises(UserError, match=r"batch of 1 .* at least 2 values.*Use a batch of 2"):
        norm(torch.zeros(1, 3))
    assert norm.eval()(torch.zeros(1, 3)).shape == (1, 3)
    assert BatchNorm2d(3)(torch.zeros(1, 3, 2, 1)).shape == (1, 3, 2, 1)


def _data() -> Tensor:
    return (
        torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 2
    )


def _objective(norm: nn.Module, x: Tensor) -> Tensor:
    return (norm(x).sigmoid() * torch.arange(4.0).view(1, 1, 2, 2)).sum((1, 2, 3)).mean()


def rank_of_two(folder: Path) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    norm = BatchNorm2d(3, dtype=torch.float64)
    x = _data()[2 * rank : 2 * rank + 2].requires_grad_()
    _objective(norm, x).backward()
    # One value per channel and rank is no batch of one here: there are two ranks.
    assert BatchNorm1d(3)(torch.ones(1, 3) * rank).abs().max() > 0.9
    torch.save(
        [x.grad, *[p.grad for p in norm.parameters()], *norm.buffers()], folder / f"{rank}.pt"
    )
    dist.destroy_process_group()


def test_batch_norm_on_two_ranks_is_that_of_one_process(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path; from test_layers import rank_of_two\n"
        "rank_of_two(Path(sys.argv[1]))"
    )
    with ranks(script, 2, tmp_path) as processes:
        assert [(done.returncode, done.stderr) for done in processes.ended()] == [(0, "")] * 2
    norm = BatchNorm2d(3, dtype=torch.float64)
    x = _data().requires_grad_()
    _objective(norm, x).backward()
    assert x.grad is not None
    first, second = (torch.load(tmp_path / f"{r}.pt") for r in range(2))
    # Each rank's loss is a mean over its half; the engine averages the gradients of the
    # weights.
    torch.testing.assert_close(torch.cat([first[0], second[0]]) / 2, x.grad)
    for got_0, got_1, want in zip(
        first[1:3], second[1:3], [p.grad for p in norm.parameters()], strict=True
    ):
        torch.testing.assert_close((got_0 + got_1) / 2, want)
    for got_0, got_1, want in zip(first[3:], second[3:], norm.buffers(), strict=True):
        torch.testing.assert_close(got_0, want)
        torch.testing.assert_close(got_1, want)


def test_dropout() -> None:
    torch.manual_seed(0)
    drop, x = Dropout(0.2), torch.ones(100, 7, 11)
    y = drop(x)
    assert y.mean().item() == pytest.approx(1.0, abs=0.02)
    torch.testing.assert_close(y.unique(), torch.tensor([0.0, 1.25]))
    assert drop.eval()(x) is x


def test_dropout_of_a_row_does_not_depend_on_the_other_rows() -> None:
    drop, x = Dropout(0.5), torch.randn(6, 5)
    torch.manual_seed(3)
    whole = drop(x)
    torch.manual_seed(3)
    with rng.rows(rng.Rows(2, 5, 6)):
        assert torch.equal(drop(x[2:5]), whole[2:5])


def test_pixel_norm() -> None:
    x = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 1, 2) * torch.tensor([1.0, 100.0])
    want = torch.tensor([3.0, 4.0]) / math.sqrt(12.5)
    torch.testing.assert_close(PixelNorm()(x), want.view(1, 2, 1, 1).expand(1, 2, 1, 2))
    assert PixelNorm()(torch.zeros(1, 2)).isfinite().all()


def test_equalized_layers_keep_variance() -> None:
    """He's rule: after a ReLU the mean square is that of the input, at any width.

    Biases are not scaled."""
    torch.manual_seed(0)
    for width in (16, 256):
        layer = EqualizedLinear(width, 4096)
        assert layer.weight.std().item() == pytest.approx(1.0, rel=0.05), (
            "the scale is not in the weights"
        )
        y = layer(torch.randn(64, width))
        assert y.relu().square().mean().item() == pytest.approx(1.0, rel=0.2)
    conv = EqualizedConv2d(64, 512, 3, gain=1.0)
    assert conv(torch.randn(2, 64, 9, 9))[..., 1:-1, 1:-1].var().item() == pytest.approx(
        1.0, rel=0.1
    )
    nn.init.ones_(layer.bias)
    torch.testing.assert_close(layer(torch.zeros(1, 256)), torch.ones(1, 4096))


def test_minibatch_stddev_by_hand() -> None:
    x = torch.tensor([0.0, 2.0, 5.0, 5.0]).view(4, 1, 1, 1) * torch.tensor([1.0, 3.0]).view(
        1, 2, 1, 1
    )
    x = x.expand(4, 2, 2, 3)
    y = MinibatchStdDev(group=2)(x)
    torch.testing.assert_close(y[:, :2], x)
    # Pairs (0, 2) and (0, 6) deviate by 1 and 3: 2 on average. The pairs of fives do not deviate.
    torch.testing.assert_close(
        y[:, 2], torch.tensor([2.0, 2.0, 1e-4, 1e-4]).view(4, 1, 1).expand(4, 2, 3)
    )
    unbiased = MinibatchStdDev(group=2, correction=1)(x)
    torch.testing.assert_close(unbiased[:2, 2], torch.full((2, 2, 3), 2 * math.sqrt(2)))


def test_minibatch_stddev_groups() -> None:
    x = torch.randn(6, 2, 2, 2)
    whole = MinibatchStdDev(group=6)(x)
    torch.testing.assert_close(
        MinibatchStdDev(group=4)(x), whole
    )  # 6 is no multiple of 4: one group
    torch.testing.assert_close(MinibatchStdDev(group=8)(x), whole)  # nor enough for one of 8
    parts = torch.cat([MinibatchStdDev(group=3)(x[:3]), MinibatchStdDev(group=3)(x[3:])])
    torch.testing.assert_close(
        MinibatchStdDev(group=3)(x), parts
    )  # two ranks' rows keep their groups
    assert (MinibatchStdDev(group=4, correction=1)(x[:1])[:, 2] == 0).all()
    alone = MinibatchStdDev(group=4)(x[:1])[:, 2]
    torch.testing.assert_close(alone, torch.full_like(alone, 1e-4))  # as the authors' code


def test_minibatch_stddev_of_equal_images_has_finite_gradients() -> None:
    x = torch.ones(4, 2, 2, 2, requires_grad=True)
    (g,) = torch.autograd.grad(MinibatchStdDev()(x).sum(), x, create_graph=True)
    g.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_maxout() -> None:
    layer = Maxout(3, 2, pieces=4)
    x = torch.randn(5, 3)
    pieces = x @ layer.linear.weight.T + layer.linear.bias
    want = torch.stack([pieces[:, :4].max(1).values, pieces[:, 4:].max(1).values], 1)
    torch.testing.assert_close(layer(x), want)


def test_convolutions_that_double_and_halve() -> None:
    """A 4x4 kernel equals a convolution of repeated pixels, and one averaged over 2x2."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 8)
    for net, expected in (
        (EqualizedUpConv2d(3, 5, 3), lambda plain: plain(F.interpolate(x, scale_factor=2.0))),
        (EqualizedDownConv2d(3, 5, 3), lambda plain: F.avg_pool2d(plain(x), 2)),
    ):
        plain = EqualizedConv2d(3, 5, 3)
        plain.load_state_dict(net.state_dict())
        torch.testing.assert_close(net(x), expected(plain), atol=1e-5, rtol=1e-5)


def test_blur() -> None:
    """Constant inside, falling to the border; doubling keeps the mean and a ramp.

    No buffer is saved."""
    ones = torch.ones(1, 2, 6, 6)
    assert torch.allclose(Blur()(ones)[0, 0, 0, :3], torch.tensor([9 / 16, 3 / 4, 3 / 4]))
    assert torch.allclose(Blur()(ones)[..., 1:-1, 1:-1], torch.ones(()))
    up = Blur((1, 3, 3, 1), gain=4.0, up=True)
    ramp = torch.arange(6.0).expand(1, 1, 6, 6)
    assert torch.allclose(up(ramp)[0, 0, 5, 2:-2], torch.arange(0.75, 4.5, 0.5))
    assert not up.state_dict()
    with torch.device("meta"):
        assert not Blur().taps.is_meta
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    for blur in (Blur((1, 3, 3, 1), pad=2), Blur((1, 3, 3, 1), stride=2), up):
        assert torch.autograd.gradgradcheck(lambda x, blur=blur: blur(x).square(), x)


@pytest.mark.parametrize("settings", [{"pad": 2}, {"stride": 2}, {"gain": 4.0, "up": True}])
def test_blur_filters_in_float32_under_bf16_autocast_on_cpu(settings: dict) -> None:
    """No bf16 convolution forward, backward or twice backward; the type is restored."""
    blur = Blur((1, 3, 3, 1), **settings)
    x = torch.randn(2, 3, 8, 8).bfloat16().requires_grad_()
    wide = x.detach().float().requires_grad_()

    def derivatives(x: Tensor, on: bool) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            y = blur(x)
        (g,) = torch.autograd.grad(y.float().square().sum(), x, create_graph=True)
        (h,) = torch.autograd.grad(g.float().square().sum(), x)
        assert {t.dtype for t in (y, g, h)} == {x.dtype}
        return [y, g, h]

    with _Convolutions() as seen:
        narrow = derivatives(x, on=True)
    assert seen.dtypes == {torch.float32}
    for a, b in zip(narrow, derivatives(wide, on=False), strict=True):
        torch.testing.assert_close(
            a.float(), b, rtol=0.0, atol=0.02 * float(b.detach().abs().max())
        )


class _Convolutions(TorchDispatchMode):
    """The types that convolutions and their derivatives are computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "convolution" in str(func):
            self.dtypes |= {a.dtype for a in args if isinstance(a, Tensor)}
        return func(*args, **(kwargs or {}))


def test_a_slower_learning_rate_changes_no_output_at_the_start() -> None:
    x = torch.randn(500, 400)
    y = EqualizedLinear(400, 300, gain=1.0, lr=0.01, bias=1.0)(x).detach()
    assert abs(float(y.mean()) - 1) < 0.05
    assert float(y.std()) == pytest.approx(1.0, rel=0.05)
