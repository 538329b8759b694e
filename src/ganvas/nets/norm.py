"""Normalization layers, with batch statistics over all ranks."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core import distributed
from ganvas.core.errors import UserError, did_you_mean

Norm = Literal["batch", "instance", "affine", "none"]


class _OverRanks(nn.modules.batchnorm._BatchNorm):
    """torch's batch norm with the statistics of the whole batch on all ranks.

    That is in training, and as long as each rank has as many rows.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        values = input.numel() // input.shape[1] * distributed.world()  # per channel
        if values < 2:
            raise UserError(
                "batch norm got a batch of 1 with 1 value per channel, which has no spread: in "
                "training it needs at "
                "least 2 values. Use a batch of 2 or more, or a network without batch norm."
            )
        return (
            super().forward(input) if distributed.world() == 1 else self._over_ranks(input, values)
        )

    def _over_ranks(self, input: Tensor, values: int) -> Tensor:
        self._check_input_dim(input)
        assert self.momentum is not None, "cumulative averages are not supported over ranks"
        if self.affine:
            weight, bias = self.weight, self.bias
        else:
            weight, bias = input.new_ones(self.num_features), input.new_zeros(self.num_features)
        out, mean, var = _BatchNormOverRanks.apply(input, weight, bias, self.eps)
        if (
            self.running_mean is not None
            and self.running_var is not None
            and self.num_batches_tracked is not None
        ):
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                unbiased = var * (values / (values - 1))
                for kept, new in ((self.running_mean, mean), (self.running_var, unbiased)):
                    kept.lerp_(new.to(kept.dtype), self.momentum)
        return out


class _BatchNormOverRanks(torch.autograd.Function):
    """Batch norm with the statistics of all ranks' rows, as an autograd function.

    (x, gain, bias, eps) -> (result, mean, biased variance).

    By torch's own kernels, with one exchange each way. Differentiated twice it is its
    plain formula, since what the kernels call constants, the statistics, are not.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        local = torch.batch_norm_update_stats(x, None, None, 0.0)
        # Of E[(m + d)^2] only the spread of the ranks' means is added: sums of squares
        # would cancel if means are large.
        every = distributed.gather(torch.stack([s.to(weight.dtype) for s in local]))
        mean = every[:, 0].mean(0)
        var = every[:, 1].mean(0) + (every[:, 0] - mean).square().mean(0)
        ctx.save_for_backward(x, weight, bias, mean, var)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, var)
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps), mean, var

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = grads[0]  # mean and variance are not differentiable
        x, weight, bias, mean, var = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient itself will be differentiated
            inputs = [t for t in (x, weight, bias) if t.requires_grad]
            found = iter(
                torch.autograd.grad(
                    _batch_norm(x, weight, bias, ctx.eps), inputs, grad, create_graph=True
                )
            )
            return *(next(found) if t.requires_grad else None for t in (x, weight, bias)), None
        invstd = (var + ctx.eps).rsqrt()
        to_x, to_weight, to_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean, var, mean, invstd, False, ctx.eps, [True, True, True]
        )
        # Through the statistics, which are all ranks': by all ranks' gradients.
        rows = x.numel() // x.shape[1]
        by_weight, by_bias = distributed.gather(torch.stack([to_weight, to_bias])).mean(0) / rows
        slope = weight * invstd.square() * by_weight
        shape = [1, -1] + [1] * (x.dim() - 2)
        constant = (weight * invstd * by_bias - slope * mean).view(shape).to(x.dtype)
        to_x = to_x.sub_(constant).addcmul_(x, slope.view(shape).to(x.dtype), value=-1)
        return to_x, to_weight, to_bias, None


def _batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """What `_BatchNormOverRanks` computes, differentiable any number of times."""
    dims, wide = [0, *range(2, x.dim())], torch.promote_types(x.dtype, torch.float32)
    centered = x.to(wide) - distributed.mean(x.to(wide).mean(dims, keepdim=True))
    var = distributed.mean(centered.square().mean(dims, keepdim=True))
    shape = [1, -1] + [1] * (x.dim() - 2)
    return (centered * (var + eps).rsqrt() * weight.view(shape) + bias.view(shape)).to(x.dtype)


class BatchNorm1d(_OverRanks, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` with the whole batch's statistics on many ranks.

    [N, C] or [N, C, L]. arXiv:1502.03167.
    """


class BatchNorm2d(_OverRanks, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` with the whole batch's statistics on many ranks.

    [N, C, H, W]. arXiv:1502.03167.
    """


class InstanceNorm2d(nn.Module):
    """Instance norm: (x - mean) / sqrt(variance + eps).

    Over the pixels of each channel of each image, [N, C, H, W]. Ulyanov et al., 2016,
    arXiv:1607.08022, without running statistics; `affine`: then times a gain and plus a
    bias for each channel.

    The same as `torch.nn.InstanceNorm2d`, which takes three to eight times as long on a
    processor: it first rearranges what is channels last in memory. There, one image's
    batch norm is its instance norm; elsewhere group norm is fast.
    """

    def __init__(self, channels: int, eps: float = 1e-5, affine: bool = False) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x [N, C, H, W].

        Raises `UserError` for a single pixel, which has no spread.
        """
        if x.shape[2] * x.shape[3] < 2:
            raise UserError(
                "instance norm got 1 value per channel, which has no spread: it needs at least 2. "
                "Use larger images, or "
                "fewer layers."
            )
        if x.device.type != "cpu" or torch.jit.is_tracing():
            return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        if x.is_contiguous():
            return F.group_norm(x, self.channels, self.weight, self.bias, self.eps)
        rows = [
            F.batch_norm(row, None, None, self.weight, self.bias, training=True, eps=self.eps)
            for row in x.split(1)
        ]
        return torch.cat(rows) if len(rows) > 1 else rows[0]

    def extra_repr(self) -> str:
        """The arguments that the layer was built with."""
        return f"{self.channels}, eps={self.eps}, affine={self.weight is not None}"


def norm2d(kind: Norm, channels: int) -> nn.Module:
    """Normalization layer by name.

    `batch` (affine, running statistics), `instance` (neither; arXiv:1607.08022),
    `affine` (of instances, with gains and biases) or `none`.
    """
    if kind == "batch":
        return BatchNorm2d(channels)
    if kind in ("instance", "affine"):
        return InstanceNorm2d(channels, affine=kind == "affine")
    if kind == "none":
        return nn.Identity()
    raise UserError(
        f"{kind!r} is no normalization of this network. {did_you_mean(kind, get_args(Norm))}"
    )


class PixelNorm(nn.Module):
    """x / sqrt(mean over channels of x^2 + eps).

    [N, C, ...] -> the same. arXiv:1710.10196, section 4.2.
    """

    def __init__(self, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x [N, C, ...] over its channels."""
        return x * (x.square().mean(1, keepdim=True) + self.eps).rsqrt()
