"""A classifier's features, in which images are compared instead of in pixels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.core.errors import UserError

BLOCKS = (2, 2, 4, 4, 4)  # convolutions between two poolings
ADDRESS = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of red, green and blue


class VGG19(nn.Module):
    """VGG19 up to one of its layers.

    Simonyan and Zisserman, 2014, arXiv:1409.1556, table 1, E. Images [N, 1 or 3, H, W]
    in [0, 1] -> features [N, C, H / 2^(block - 1), W / 2^(block - 1)].

    weights: a file of torchvision's (`ADDRESS`), or of the normalized encoders of
    universal style transfer, which begin with a 1x1 convolution and mirror at borders.
    The features of the two have unlike scales: of the normalized ones every channel's
    mean activation is about 1, which changes the weight of a loss on them. `layer`:
    "relu5_4" is the fourth convolution of the fifth block after its activation,
    "conv5_4" before it. The weights are fixed, belong to no player and are in no state
    dict. Raises `UserError` for a file that is missing, holds other layers than VGG19's
    (VGG19 with batch norm, VGG16), or does not reach that layer.
    """

    def __init__(self, weights: str, layer: str = "relu5_4") -> None:
        super().__init__()
        named = re.fullmatch(r"(conv|relu)([1-5])_([1-4])", layer)
        if not named or int(named[3]) > BLOCKS[int(named[2]) - 1]:
            raise UserError(
                f"VGG19 has no layer {layer!r}; give one from conv1_1 and relu1_1 to conv5_4 and "
                "relu5_4"
            )
        self.rectified, block, place = named[1] == "relu", int(named[2]), int(named[3])
        self.layer = layer
        self.blocks = [*BLOCKS[: block - 1], place]
        state = _read(weights)
        kernels = [k for k in state if k.endswith(".weight") and state[k].shape[2:] == (3, 3)]
        if len(kernels) < sum(self.blocks):
            raise UserError(
                f"{weights} ends after {len(kernels)} convolutions, and {layer} is number "
                f"{sum(self.blocks)}"
            )
        _check(weights, state, kernels[: sum(self.blocks)], self.blocks)
        for i, key in enumerate(kernels[: sum(self.blocks)]):
            self._keep(f"weight{i}", state[key])
            self._keep(f"bias{i}", state[key.replace("weight", "bias")])
        own = next((k for k in state if state[k].shape[2:] == (1, 1)), None)
        self.own = own is not None
        if own is not None:
            self._keep("first", state[own])
            self._keep("first_bias", state[own.replace("weight", "bias")])
        else:  # (x - mean) / deviation as such a convolution
            scale = 1 / torch.tensor(DEVIATION)
            self._keep("first", torch.diag(scale)[:, :, None, None])
            self._keep("first_bias", -torch.tensor(MEAN) * scale)

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map images x [N, 1 or 3, H, W] in [0, 1] to features [N, C, h, w]."""
        return self.blocks_of(x)[-1]

    def blocks_of(self, x: Tensor) -> list[Tensor]:
        """Features after the first convolution of each block, then those of `layer`.

        relu1_1, relu2_1, ..., for losses over all scales (pix2pixHD, SPADE).
        """
        blocks = [f"relu{b}_1" for b in range(1, len(self.blocks) + 1)]
        last = f"relu{len(self.blocks)}_{self.blocks[-1]}"
        if not self.rectified:
            last = last.replace("relu", "conv")
            blocks = [name for name in blocks if name != last.replace("conv", "relu")]
        return self.layers_of(x, [*blocks, last])

    def layers_of(self, x: Tensor, names: Sequence[str]) -> list[Tensor]:
        """Features at several layers up to `layer`, in the order of `names`."""
        found = {name: value for name, value in self._layers(x) if name in names}
        return [found[name] for name in names]

    def _layers(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """(name, features) of each layer, before and after its activation."""
        x = F.conv2d(
            x.expand(-1, 3, -1, -1), self.get_buffer("first"), self.get_buffer("first_bias")
        )
        i = 0
        for b, count in enumerate(self.blocks):
            x = F.max_pool2d(x, 2) if b else x
            for place in range(count):
                weight, bias = self.get_buffer(f"weight{i}"), self.get_buffer(f"bias{i}")
                padded = F.pad(x, [1] * 4, mode="reflect") if self.own else x
                x = F.conv2d(padded, weight, bias, padding=0 if self.own else 1)
                yield f"conv{b + 1}_{place + 1}", x
                x = F.relu(x)
                yield f"relu{b + 1}_{place + 1}", x
                i += 1


def require_channels(channels: int) -> None:
    """Raise `UserError` for images that VGG19 does not take."""
    if channels not in (1, 3):
        raise UserError(
            f"VGG19 takes images of 1 or 3 channels; the data has {channels}: leave vgg out, or "
            "give data.channels=3 if they are photographs"
        )


def _check(
    file: str, state: dict[str, Tensor], kernels: Sequence[str], blocks: Sequence[int]
) -> None:
    """Raise `UserError` unless these are VGG19's convolutions.

    They have biases, no norms, and one width in a block.
    """
    reason, before, left = "", 3, iter(kernels)
    if any(k.endswith("running_mean") for k in state):
        reason = "it has batch norms, which would be left out"
    for b, count in enumerate(blocks, 1):
        block = [next(left) for _ in range(count)]
        widths = [tuple(state[k].shape[:2]) for k in block]
        out = widths[0][0]
        if widths != [(out, before), *[(out, out)] * (count - 1)]:
            reason = reason or f"in block {b} its convolutions have the widths {widths}"
        if missing := [k for k in block if k.replace("weight", "bias") not in state]:
            reason = reason or f"{missing[0]} has no bias"
        before = out
    if reason:
        raise UserError(f"{file} does not hold the layers of VGG19 ({reason}): fetch {ADDRESS}")


def _read(file: str) -> dict[str, Tensor]:
    if not Path(file).is_file():
        raise UserError(f"VGG19's weights are not at {file}: fetch {ADDRESS} and give its path")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as e:
        raise UserError(
            f"{file} is no checkpoint of VGG19's weights ({type(e).__name__}): fetch {ADDRESS}"
        ) from None
    tensors = {
        k: v for k, v in state.items() if isinstance(v, Tensor) and not k.startswith("classifier")
    }
    return dict(sorted(tensors.items(), key=lambda kv: [int(n) for n in re.findall(r"\d+", kv[0])]))
