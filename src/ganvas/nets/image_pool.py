"""Image pool: a history of generated images for discriminators."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganvas.core import rng


class ImagePool(nn.Module):
    """Images [N, C, H, W] -> as many, some of them older.

    CycleGAN, arXiv:1703.10593, section 4 (50 images), after Shrivastava et al.,
    arXiv:1612.07828, section 2.3.

    Image by image: until `size` are held, an image is kept and returned; then, with
    probability 1/2, a random held one is returned and the new one takes its place, else
    the new one is returned. 0 passes images through. Gradients end here. The held
    images are buffers and part of the state dict; every rank has its own.
    """

    per_rank = True
    images: Tensor
    count: Tensor

    def __init__(self, size: int = 50) -> None:
        super().__init__()
        self.size = size
        self._held: int | None = None  # `count`, without waiting for the device; None: unknown
        self.register_buffer("images", torch.empty(0))  # [size, C, H, W] from the first image on
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Exchange images [N, C, H, W] for as many, without gradient."""
        if self.size == 0:
            return images.detach()
        if self.images.shape[1:] != images.shape[1:]:  # the first images, or images of another size
            self.images = torch.zeros(self.size, *images.shape[1:], device=images.device)
            self.count.zero_()
            self._held = 0
        # Drawn on the processor, which decides what is copied.
        swap = [draw < 0.5 for draw in rng.uniform(len(images)).tolist()]
        slots = rng.integers(len(images), self.size).tolist()
        held = int(self.count) if self._held is None else self._held
        out = images.detach().clone()
        for i, image in enumerate(images):
            if held < self.size:
                self.images[held] = image
                held += 1
            elif swap[i]:
                out[i] = self.images[slots[i]]
                self.images[slots[i]] = image
        self.count.fill_(held)
        self._held = held
        return out

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Tensor],
        prefix: str,
        local_metadata: dict[str, object],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        saved = state_dict.get(f"{prefix}images")
        if saved is not None and saved.shape != self.images.shape:
            self.images = torch.empty_like(saved, device=self.images.device)
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )
        self._held = None
        held = len(self.images)
        if self.images.ndim == 4 and held != self.size:  # another size than the saved pool's
            kept = self.images[: self.size]
            self.images = self.images.new_zeros(self.size, *self.images.shape[1:])
            self.images[: len(kept)] = kept
            self.count.clamp_(max=self.size)
