"""Weight initialization."""

from __future__ import annotations

from torch import nn

from ganvas.nets.norm import InstanceNorm2d


def normal_init(module: nn.Module, std: float = 0.02) -> None:
    """Initialize weights ~ N(0, std), norms' gains ~ N(1, std), biases 0.

    The weights are those of convolutions and linear layers. DCGAN, arXiv:1511.06434,
    section 4. Draws on torch's global generator.
    """
    for m in module.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(m.weight, 0.0, std)
        elif (
            isinstance(m, nn.modules.batchnorm._BatchNorm | InstanceNorm2d) and m.weight is not None
        ):
            nn.init.normal_(m.weight, 1.0, std)
        else:
            continue
        if m.bias is not None:
            nn.init.zeros_(m.bias)


def xavier_init(module: nn.Module, gain: float) -> None:
    """Initialize weights ~ N(0, gain sqrt(2 / (fan in + fan out))), biases 0.

    The weights are those of convolutions and linear layers. Glorot and Bengio, 2010,
    equation 12 (as a normal distribution). Draws on torch's global generator.
    """
    for m in module.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_normal_(m.weight, gain)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
