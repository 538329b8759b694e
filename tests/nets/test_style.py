"""Style-based networks: noise, mixing, truncation, mean of w, demodulation, paths."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ganvas.nets import progan, stylegan, stylegan2
from ganvas.nets.stylegan import Noise, mixed
from ganvas.objectives.penalties import path_lengths, r1


def make(family) -> Any:
    torch.manual_seed(0)
    net = family.Generator(latent=5, style=6, mapping=2, width=4, size=16)
    for module in net.modules():
        if isinstance(module, Noise):
            nn.init.normal_(module.weight)
    return net


def test_noise_is_drawn_in_training_and_fixed_in_evaluation() -> None:
    for family in (stylegan, stylegan2):
        net = make(family)
        w = net.styles(torch.randn(2, 5))
        assert not torch.equal(net.synthesis(w), net.synthesis(w))
        fixed = net.synthesis(w, noise=net.synthesis.fixed_noise())
        torch.testing.assert_close(net.eval().synthesis(w), fixed)
        assert not torch.equal(fixed, net.synthesis(w, noise=[0.0] * net.layers))


def test_fixed_noise_is_in_the_order_of_the_layers() -> None:
    for family in (stylegan, stylegan2):
        sides = [n.shape[-1] for n in make(family).synthesis.fixed_noise()]
        assert sides == sorted(sides)


def test_every_layer_listens_to_its_own_style() -> None:
    for family in (stylegan, stylegan2):
        net = make(family).eval()
        w = net.styles(torch.randn(1, 5)).clone()
        image = net.synthesis(w)
        for layer in range(net.layers):
            other = w.clone()
            other[:, layer] += 1
            assert not torch.allclose(net.synthesis(other), image, atol=1e-4)


def test_mixed() -> None:
    torch.manual_seed(0)
    w, other = torch.zeros(4000, 6, 3), torch.ones(4000, 6, 3)
    taken = mixed(w, other, 0.9)
    assert torch.equal(taken, taken[:, :, :1].expand_as(taken))  # whole styles
    counts = taken[:, :, 0].sum(1)
    assert torch.equal(
        taken[:, :, 0], (torch.arange(6) >= 6 - counts[:, None]).float()
    )  # the last layers, never the first
    shares = torch.bincount(counts.long(), minlength=6) / 4000
    assert torch.allclose(shares, torch.tensor([0.1, *[0.18] * 5]), atol=0.03)
    assert torch.equal(mixed(w, other, 0.0), w)


def test_truncation_and_the_mean_of_w() -> None:
    net = make(stylegan)
    w = net.styles(torch.randn(4000, 5)).detach()
    for _ in range(2000):
        net.follow(w[:, 0])
    torch.testing.assert_close(net.w_avg, w[:, 0].mean(0), atol=1e-4, rtol=1e-2)
    w = w[:3]
    assert torch.equal(net.truncated(w, 1.0), w)
    torch.testing.assert_close(net.truncated(w, 0.0), net.w_avg.expand_as(w))
    some = net.truncated(w, 0.5, layers=2)
    torch.testing.assert_close(some[:, :2], (w[:, :2] + net.w_avg) / 2)
    assert torch.equal(some[:, 2:], w[:, 2:])
    assert "w_avg" in net.state_dict()


def test_a_network_that_has_not_grown_takes_fewer_styles() -> None:
    net = make(stylegan).eval()
    w = net.styles(torch.randn(2, 5), layers=4)
    coarse, fine = net.synthesis(w, resolution=4), net.synthesis(w, resolution=8)
    larger = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(
        net.synthesis(w, resolution=8, alpha=0.25), 0.75 * larger + 0.25 * fine
    )


def test_a_label_has_its_own_score() -> None:
    D = progan.ProgressiveDiscriminator(4, size=8, classes=3, blur=True)
    x = torch.randn(4, 3, 8, 8)
    every = torch.stack([D(x, torch.full((4,), y)) for y in range(3)], 1)
    y = torch.tensor([2, 0, 1, 2])
    torch.testing.assert_close(D(x, y), every[torch.arange(4), y])


def test_demodulation_undoes_the_scale_of_a_style() -> None:
    """Styles scaled by k give the same channels (equation 3); outputs have variance 1."""
    torch.manual_seed(0)
    conv = stylegan2.ModulatedConv2d(64, 32, 3, style=5)
    x, w = torch.randn(4, 64, 12, 12), torch.randn(4, 5)
    made = conv(x, w)
    assert float(made[..., 1:-1, 1:-1].detach().std()) - 1 < 0.05
    with torch.no_grad():
        conv.style.weight.mul_(7)
        conv.style.bias.mul_(7)
    torch.testing.assert_close(conv(x, w), made, atol=1e-5, rtol=1e-4)


def test_path_lengths_of_a_linear_map() -> None:
    """Images A w with orthogonal columns of length 3, summed over the layers.

    |A^T y| over pixels, whose squares have the mean 9 d / pixels."""
    torch.manual_seed(0)
    pixels, d, layers = 64, 16, 4
    A = 3 * torch.linalg.qr(torch.randn(pixels, d))[0]
    w = torch.randn(2000, layers, d, requires_grad=True)
    lengths = path_lengths(lambda w: (w.sum(1) @ A.T).view(-1, 1, 8, 8), w)
    assert lengths.shape == (2000,)
    torch.testing.assert_close(
        lengths.square().mean(), torch.tensor(9 * d / pixels), rtol=0.05, atol=0
    )


def test_penalties_reach_every_weight() -> None:
    """R1 and path length penalties against finite differences, in double precision."""
    torch.manual_seed(0)
    D: Any = stylegan2.Discriminator(4, size=8, channels=1).double()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    G: Any = make(stylegan2).double().eval()
    w = G.styles(torch.randn(2, 5, dtype=torch.float64)).detach()

    def path() -> torch.Tensor:
        torch.manual_seed(1)
        return path_lengths(G.synthesis, w.requires_grad_()).square().mean()

    for penalty, weight in (
        (lambda: r1(D, x), D.blocks[0].conv2.weight),
        (path, G.synthesis.up[0].conv.weight),
    ):
        (grad,) = torch.autograd.grad(penalty(), weight)
        with torch.no_grad():
            step = torch.randn_like(weight)
            eps = 1e-5
        weight.data += eps * step
        above = float(penalty().detach())
        weight.data -= 2 * eps * step
        below = float(penalty().detach())
        assert abs((above - below) / (2 * eps) - float((grad * step).sum())) < 1e-4 * (
            1 + abs(above)
        )
