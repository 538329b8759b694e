"""Differentiable augmentation of the images that a discriminator gets.

Real and generated images change alike and at random. So the discriminator cannot learn
a small data set by heart, and the generator does not learn the changes. Images [N, C,
H, W] in [-1, 1] to as many of the same shape, each by draws of its own; twice
differentiable, so that penalties may pass. The engine puts them before a method's
`discriminators` in training (`Run.augment`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from ganvas.core import rng
from ganvas.core.errors import UserError, did_you_mean

Change = Literal["color", "translation", "cutout"]
CHANGES: tuple[Change, ...] = ("color", "translation", "cutout")


def named(text: str) -> Callable[[], nn.Module]:
    """`"color,translation,cutout"`, some of these, or `"ada"`.

    Raises `UserError` for anything else.
    """
    if text == "ada":
        return partial(ADA)
    wanted = text.split(",")
    unknown = [name for name in wanted if name not in CHANGES]
    if unknown:
        raise UserError(
            f"an augmentation is ada, or some of color,translation,cutout; got {text!r}. "
            + did_you_mean(unknown[0], ["ada", *CHANGES])
        )
    return partial(DiffAugment, policy=tuple(change for change in CHANGES if change in wanted))


class Augmentation(nn.Module):
    """Base of augmentations of images with one or several images in their channels.

    channels: those of one image, if a discriminator sees several in its channels (a
    pair). None: there is one. The engine sets it.
    """

    channels: int | None = None

    def recolored(self, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Change the colors of each image of x [N, C, H, W].

        `change` takes them as [N, images, 3 or 1, H, W]. Alpha stays.
        """
        images = x.unflatten(1, (-1, self.channels or x.shape[1]))
        colors = 3 if images.shape[2] >= 3 else 1
        changed = change(images[:, :, :colors])
        return torch.cat([changed, images[:, :, colors:]], 2).flatten(1, 2)


class DiffAugment(Augmentation):
    """Differentiable Augmentation for Data-Efficient GAN Training.

    Zhao et al., 2020, arXiv:2006.10738, section 4 and its appendix for the ranges.

    color: brightness moved by U(-.5, .5) (of a range of 2), saturation times U(0, 2)
    (nothing for gray images), contrast times U(.5, 1.5). `translation`: shifted by
    whole pixels, up to `shift` of each side (the paper: 1/8), zeros at the border.
    cutout: a square of half the side set to zero. Both lengths are rounded half up,
    as in the authors' code, so that a side of 4 is shifted by a pixel. Where there are
    several images in the channels, each gets the same change; alpha gets no color.
    """

    def __init__(self, policy: Sequence[Change] = CHANGES, shift: float = 0.125) -> None:
        super().__init__()
        self.policy, self.shift = tuple(policy), shift

    def forward(self, x: Tensor) -> Tensor:
        """Change images [N, C, H, W] in [-1, 1]; color may leave that range."""
        for change in self.policy:
            x = getattr(self, f"_{change}")(x)
        return x

    def _color(self, x: Tensor) -> Tensor:
        brightness, saturation, contrast = (
            rng.uniform(len(x), 1, 1, 1, 1, device=x.device) for _ in range(3)
        )

        def change(x: Tensor) -> Tensor:
            x = x + (brightness - 0.5)
            gray = x.mean(2, keepdim=True)
            x = (x - gray) * (saturation * 2) + gray
            mean = x.mean((2, 3, 4), keepdim=True)
            return (x - mean) * (contrast + 0.5) + mean

        return self.recolored(x, change)

    def _translation(self, x: Tensor) -> Tensor:
        for axis in (2, 3):
            side = x.shape[axis]
            most = math.floor(self.shift * side + 0.5)  # as int(x + .5) of the authors' code
            by = rng.integers(len(x), 2 * most + 1, device=x.device) - most
            at = (torch.arange(side, device=x.device) + by[:, None]).clamp(
                -1, side
            ) + 1  # into x with a zero either side
            padding = (0, 0, 1, 1) if axis == 2 else (1, 1)
            at = at[:, None, :, None] if axis == 2 else at[:, None, None, :]
            x = nn.functional.pad(x, padding).gather(axis, at.expand(x.shape))
        return x

    def _cutout(self, x: Tensor) -> Tensor:
        inside = torch.ones((), dtype=torch.bool, device=x.device)
        for axis in (2, 3):
            side = x.shape[axis]
            width = (side + 1) // 2
            centre = rng.integers(len(x), side + (1 - width % 2), device=x.device)
            place = torch.arange(side, device=x.device)
            hit = (place >= (centre - width // 2)[:, None]) & (
                place < (centre - width // 2 + width)[:, None]
            )
            inside = inside & (hit[:, None, :, None] if axis == 2 else hit[:, None, None, :])
        return x * ~inside


class ADA(Augmentation):
    """Adaptive discriminator augmentation.

    The changes `bgc` (pixel blitting, geometry, color), each applied to an image with
    the same probability p, which follows how much D overfits. Training Generative
    Adversarial Networks with Limited Data. Karras et al., 2020, arXiv:2006.06676,
    section 3 and appendix B.

    Every `every` batches p moves by their images / `images`: up if E[sign D(x)] of
    real images exceeds `target`, else down (section 3.1). `target` None: p stays. The
    method logs that mean as `sign`, in D's turn; of several discriminators' the mean is
    taken.

    Differs from the paper: images are resampled bilinearly at their own resolution,
    without its wavelet filter; p is held below 1 as well. Gray images get the mean of
    what their colors would be; if there are several images in the channels (a
    pair), each gets the same change; alpha gets no color.
    """

    p: Tensor
    seen: Tensor

    def __init__(
        self, p: float = 0.0, target: float | None = 0.6, every: int = 4, images: int = 500_000
    ) -> None:
        super().__init__()
        self.target, self.every, self.images = target, every, images
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer(
            "seen", torch.zeros(3)
        )  # since p last moved: batches, images, the sum of signs

    def adapt(self, log: Mapping[str, Tensor], images: int) -> dict[str, Tensor]:
        """After a step of `images` real images whose turns logged `log`: p moves.

        Returns what to log.
        """
        if self.target is not None:
            found = [v for k, v in log.items() if k.endswith("/sign")]
            if not found:
                raise UserError(
                    "ada follows the sign of D's scores of real images, and this method's scores "
                    "have no 0 that parts real "
                    "from generated ones. Fix p instead: --augment ada --set augment.target=null "
                    "--set augment.p=0.3"
                )
            sign = torch.stack(found).mean()
            self.seen += torch.stack(
                [torch.ones_like(sign), torch.full_like(sign, images), sign]
            ).to(self.seen)
            batches, drawn, signs = self.seen
            full = (batches >= self.every).to(
                self.p
            )  # no `if`, which would wait for an accelerator
            self.p += full * (signs / batches - self.target).sign() * drawn / self.images
            self.p.clamp_(0, 1)
            self.seen *= 1 - full
        return {"p": self.p.clone()}

    def forward(self, x: Tensor) -> Tensor:
        """Change images [N, C, H, W] in [-1, 1]; color may leave that range."""
        return self._color_transformed(self._moved(x))

    def _moved(self, x: Tensor) -> Tensor:
        """Apply blitting and geometry as one map.

        Appendix B, steps 1 to 3: from the result's pixels to the image's. The border of
        the image is a mirror.
        """
        height, width = x.shape[-2:]
        chosen, u, g = self._draws(x, 8)
        turns = (u[1] * 4).floor() * chosen[1]
        whole = [
            ((2 * u[2 + i] - 1) * 0.125 * side).round() * chosen[2]
            for i, side in enumerate((width, height))
        ]
        either = (
            1 - (1 - self.p.to(u)).sqrt()
        )  # two rotations, at least one of them with probability p
        first, second = (math.pi * (2 * u[4 + i] - 1) * (u[6 + i] < either) for i in (0, 1))
        scale, stretch = 2 ** (0.2 * g[0] * chosen[3]), 2 ** (0.2 * g[1] * chosen[4])
        parts = [0.125 * g[2 + i] * side * chosen[5] for i, side in enumerate((width, height))]
        ones = torch.ones_like(scale)
        to = _affine(1 - 2 * (u[0] * 2).floor() * chosen[0], ones)
        to = to @ _turned((turns % 2 == 0) * (1 - turns), (turns % 2 == 1) * (2 - turns))
        to = to @ _affine(ones, ones, *whole) @ _affine(scale, scale)
        to = to @ _turned(first.cos(), first.sin()) @ _affine(stretch, 1 / stretch)
        to = to @ _turned(second.cos(), second.sin()) @ _affine(ones, ones, *parts)
        down, across = (
            torch.arange(side, device=x.device, dtype=to.dtype) - (side - 1) / 2
            for side in (height, width)
        )
        across, down = (
            across.expand(height, -1).flatten(),
            down[:, None].expand(-1, width).flatten(),
        )
        at = to @ torch.stack(
            [across, down, torch.ones_like(down)]
        )  # [n, 3, H * W], pixels from the middle
        return _sampled(x, at[:, 0] + (width - 1) / 2, at[:, 1] + (height - 1) / 2)

    def _color_transformed(self, x: Tensor) -> Tensor:
        """Appendix B, step 4: an affine map of colors."""
        n = len(x)
        chosen, u, g = self._draws(x, 2)
        axis = torch.full((3, 1), 3**-0.5, device=x.device, dtype=u.dtype)
        luma, eye = axis @ axis.T, torch.eye(3, device=x.device, dtype=u.dtype)

        def each(v: Tensor) -> Tensor:
            return v.view(n, 1, 1)

        contrast = each(2 ** (0.5 * g[1] * chosen[1]))
        flip = eye - 2 * luma * each((u[0] * 2).floor() * chosen[2])
        angle = each(math.pi * (2 * u[1] - 1) * chosen[3])
        cross = (
            torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=x.device, dtype=u.dtype)
            * 3**-0.5
        )
        hue = (
            luma + (eye - luma) * angle.cos() + cross * angle.sin()
        )  # Rodrigues' rotation around the grays
        saturation = luma + (eye - luma) * each(2 ** (g[2] * chosen[4]))
        to = saturation @ hue @ flip * contrast
        plus = (
            saturation @ hue @ flip @ (each(0.2 * g[0] * chosen[0]) * contrast).expand(n, 3, 1)
        ).to(x.dtype)

        def change(x: Tensor) -> Tensor:
            if x.shape[2] == 1:
                factor, shift = to.sum((1, 2)) / 3, plus.mean((1, 2))
                return x * factor.view(n, 1, 1, 1, 1).to(x.dtype) + shift.view(n, 1, 1, 1, 1)
            return torch.einsum("nij,npjhw->npihw", to.to(x.dtype), x) + plus.view(n, 1, 3, 1, 1)

        return self.recolored(x, change)

    def _draws(self, x: Tensor, uniform: int) -> tuple[Tensor, Tensor, Tensor]:
        """Random choices for n images, [k, N].

        Six changes' choices (1 with probability p), `uniform` uniform and four normal
        numbers for each image.
        """
        u, g = (
            rng.uniform(len(x), 6 + uniform, device=x.device).T,
            rng.normal(len(x), 4, device=x.device).T,
        )
        return (u[:6] < self.p).to(u.dtype), u[6:], g


def _affine(
    across: Tensor, down: Tensor, right: Tensor | None = None, below: Tensor | None = None
) -> Tensor:
    """[N] each -> [N, 3, 3]: the map that scales and moves pixels."""
    zero, one = torch.zeros_like(across), torch.ones_like(across)
    right, below = zero if right is None else right, zero if below is None else below
    return torch.stack([across, zero, right, zero, down, below, zero, zero, one], 1).view(-1, 3, 3)


def _turned(cosine: Tensor, sine: Tensor) -> Tensor:
    zero, one = torch.zeros_like(sine), torch.ones_like(sine)
    return torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], 1).view(-1, 3, 3)


def _sampled(x: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Images at places [N, H * W] in pixels, bilinear, mirrored at the border.

    By gathers, which are differentiable any number of times on every device;
    torch.nn.functional.grid_sample is not.
    """
    channels, height, width = x.shape[1:]
    left, top = across.floor(), down.floor()
    flat, out = x.flatten(2), None
    for dy in (0, 1):
        for dx in (0, 1):
            share = (1 - (across - left - dx).abs()) * (1 - (down - top - dy).abs())
            index = _mirrored(top + dy, height) * width + _mirrored(left + dx, width)
            part = flat.gather(2, index[:, None].expand(-1, channels, -1)) * share[:, None].to(
                x.dtype
            )
            out = part if out is None else out + part
    assert out is not None
    return out.view(x.shape)


def _mirrored(at: Tensor, side: int) -> Tensor:
    """Whole numbers -> indices within a side, reflected at its first and last pixel."""
    period = max(2 * (side - 1), 1)
    at = at.long().remainder(period)
    return torch.minimum(at, period - at).clamp_(max=side - 1)
