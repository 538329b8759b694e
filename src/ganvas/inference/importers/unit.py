"""mingyuliutw/UNIT's networks; a file holds the generators of both domains."""

from __future__ import annotations

import re

from torch import Tensor, nn

from ganvas.inference.importers.formats import Format, Found, State, convolutions
from ganvas.nets import unit


class Translator(nn.Module):
    """Encoders and decoders of domains a and b: images of a -> images of b.

    `E` and `G` take a domain, 0 or 1.
    """

    def __init__(self, channels: int, width: int, halvings: int, blocks: int) -> None:
        super().__init__()
        self.E = unit.Encoders(channels, width, halvings, blocks, shared=0)
        self.G = unit.Decoders(channels, self.E.latent, halvings, blocks, shared=0)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Images of a [N, C, H, W] to images of b, without noise."""
        return self.G(self.E(x, 0), 1)


def _translator(state: State) -> Found | None:
    if not {f"{d}.enc.model.0.conv.weight" for d in "ab"} <= state.keys():
        return None
    layers = {int(m[1]) for k in state if (m := re.match(r"a\.enc\.model\.(\d+)\.", k))}
    blocks = len(
        {
            m[1]
            for k in state
            if (m := re.match(rf"a\.enc\.model\.{max(layers)}\.model\.(\d+)\.", k))
        }
    )
    halvings = max(layers) - 1
    width, channels = state["a.enc.model.0.conv.weight"].shape[:2]

    def ours(key: str) -> str:
        """Convert indices: ours count every padding, norm and activation too."""
        domain, side, _, number, *rest = key.split(".")
        layer, name, own = int(number), rest[-1], f"own.{'ab'.index(domain)}"
        if side == "enc":
            place = f"{4 * layer + 1}" if layer <= halvings else _in_block(4 * (halvings + 1), rest)
            return f"E.{own}.{place}.{name}"
        if layer == 0:
            return f"G.{own}.{_in_block(0, rest)}.{name}"
        last = 2 * halvings + 1  # theirs alternate an enlargement and a convolution
        at = blocks + 5 * (layer // 2 - 1) + 2 if layer < last else blocks + 5 * halvings + 1
        if name in ("gamma", "beta"):
            return f"G.{own}.{at + 1}.{'gain' if name == 'gamma' else 'bias'}"
        return f"G.{own}.{at}.{name}"

    return Found(
        Translator(channels, width, halvings, blocks), {ours(k): v for k, v in state.items()}
    )


def _in_block(first: int, rest: list[str]) -> str:
    """Convert `model.I.model.J.conv.weight`: residual block I, convolution J."""
    return f"{first + int(rest[1])}.main.{4 * int(rest[3]) + 1}"


def _discriminator(state: State) -> Found | None:
    if not all(re.fullmatch(r"cnns\.\d+\.\d+(\.conv)?\.(weight|bias)", k) for k in state):
        return None
    scales = len({k.split(".")[1] for k in state})
    kernels = convolutions(state)
    layers = len(kernels) // scales - 1
    width, channels = kernels[0].shape[:2]
    net = unit.MultiscaleDiscriminator(channels, width, layers, scales)

    def ours(key: str) -> str:
        _, scale, layer, *_, name = key.split(".")
        return f"scales.{scale}.{3 * int(layer) + (int(layer) < layers)}.{name}"

    return Found(net, {ours(k): v for k, v in state.items()})


FORMATS: dict[str, Format] = {
    "UNIT generators (mingyuliutw/UNIT)": _translator,
    "UNIT discriminator (mingyuliutw/UNIT)": _discriminator,
}
