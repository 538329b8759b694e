"""Gradient penalties of critics, and weight clipping.

Gradients are with respect to images, in float32 also under autocast.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganvas.core import rng
from ganvas.objectives.precision import wide

Critic = Callable[[Tensor], Tensor]


def _gradients(D: Critic, x: Tensor) -> tuple[Tensor, Tensor]:
    """D(x), and dD(x_i)/dx_i [N, C*H*W], itself differentiable.

    Right only if D scores each image by itself.
    """
    # What torch.compile makes cannot be differentiated twice.
    with torch.autocast(x.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
        x = x.detach().requires_grad_()
        scores = D(x)
        (grad,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return scores, grad.flatten(1)


def gradient_penalty(D: Critic, real: Tensor, fake: Tensor, target: float = 1.0) -> Tensor:
    """Two-sided gradient penalty E (||∇D(x̂)|| - target)^2, x̂ = ε x + (1 - ε) G(z).

    ε ~ U[0, 1) for each image. arXiv:1704.00028, equation 3 (without its λ).

    real, fake: [N, C, H, W]; D: images -> scores [N, ...]. A gradient that is exactly
    zero passes none on.
    """
    real, fake = wide(real), wide(fake)
    eps = rng.uniform(len(real), *[1] * (real.dim() - 1), device=real.device)
    norms = torch.linalg.vector_norm(_gradients(D, eps * real + (1 - eps) * fake)[1], dim=1)
    return (norms - target).square().mean()


def pixel_gradient_penalty(D: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """`gradient_penalty` with the norm of each pixel's gradient, over channels.

    Mean over pixels; for discriminators of patches, as in SinGAN's code
    (arXiv:1905.01164).
    """
    real, fake = wide(real), wide(fake)
    eps = rng.uniform(len(real), *[1] * (real.dim() - 1), device=real.device)
    grad = _gradients(D, eps * real + (1 - eps) * fake)[1].view_as(real)
    return (torch.linalg.vector_norm(grad, dim=1) - 1).square().mean()


@torch.no_grad()
def clip_weights(D: nn.Module, clip: float) -> None:
    """Bring every weight into [-clip, clip].

    Arjovsky et al., 2017, arXiv:1701.07875, algorithm 1.
    """
    for weight in D.parameters():
        weight.clamp_(-clip, clip)


def r1(D: Critic, real: Tensor) -> Tensor:
    """E ||∇D(x)||^2 on real images x [N, C, H, W].

    Mescheder et al., arXiv:1801.04406, equation 9, without its γ/2. On generated images
    it is their R2.
    """
    return score_and_penalty(D, real)[1]


def score_and_penalty(D: Critic, x: Tensor) -> tuple[Tensor, Tensor]:
    """D(x) and E ||∇D(x)||^2 of one forward pass."""
    scores, grad = _gradients(D, wide(x))
    return scores, grad.square().sum(1).mean()


def path_lengths(synthesis: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    """Path lengths |J_w^T y| [N], y ~ N(0, 1) / sqrt(pixels).

    How far images move in the direction y if their styles w [N, layers, d] move by 1;
    squares are summed over d and averaged over layers. Karras et al., 2019 (StyleGAN2),
    arXiv:1912.04958, section 3.2; the scale of y and the average over layers are the
    authors' code's.
    """
    with torch.autocast(w.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
        w = wide(w)
        if not w.requires_grad:  # of a frozen mapping
            w = w.detach().requires_grad_()
        images = synthesis(w)
        y = rng.normal(*images.shape, device=images.device) / math.sqrt(
            images.shape[2] * images.shape[3]
        )
        (grad,) = torch.autograd.grad((images * y).sum(), w, create_graph=True)
    return grad.square().sum(2).mean(1).sqrt()
