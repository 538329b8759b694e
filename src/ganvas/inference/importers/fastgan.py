"""FastGAN of odegeasslbc/FastGAN-pytorch, as its author left it in 2021.

The repository of that name holds another project since 2025.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import nn

from ganvas.inference.importers.formats import Format, Found, State
from ganvas.inference.importers.spectral import with_fixed_sigma
from ganvas.nets import fastgan

UP = {"1": "convs.0", "5": "convs.1"}
UP_NOISY = {**UP, "2": "noises.0", "3": "norms.0", "6": "noises.1", "7": "norms.1"}
UP_PLAIN = {**UP, "2": "norms.0"}


def _generator(state: State) -> Found | None:
    if (
        not {"init.init.0.weight_orig", "feat_8.1.weight_orig", "to_big.weight_orig"}
        <= state.keys()
    ):
        return None
    latent, features = state["init.init.0.weight_orig"].shape[:2]
    side = max(int(k.split(".")[0][5:]) for k in state if k.startswith("feat_"))
    channels = state["to_big.weight_orig"].shape[0]
    net = fastgan.Generator(
        latent, features // 32, side, channels, tanh=side == 1024, normalized=False
    )

    def ours(key: str) -> str:
        head, _, rest = key.partition(".")
        layer, _, name = rest.rpartition(".")
        if head == "init":
            return f"{'start' if layer == 'init.0' else 'start_norm'}.{name}"
        if head.startswith("feat_"):
            at = int(head[5:])
            return f"blocks.{at}.{(UP_NOISY if at in fastgan.NOISY else UP_PLAIN)[layer]}.{name}"
        if head.startswith("se_"):
            part = {"main.1": "squeeze", "main.3": "weight"}[layer]
            return f"excitations.{head[3:]}.{part}.{name}"
        return f"{'to_small' if head == 'to_128' else 'to_image'}.{rest}"

    return _plain(net, state, ours)


def _discriminator(state: State) -> Found | None:
    if (
        not {"down_from_big.0.weight_orig", "rf_small.weight_orig", "rf_big.3.weight_orig"}
        <= state.keys()
    ):
        return None
    channels = state["down_from_big.0.weight_orig"].shape[1]
    side = 256 if state["down_from_big.0.weight_orig"].shape[-1] == 3 else 512
    side = 1024 if "down_from_big.2.weight_orig" in state else side
    width = state["rf_big.0.weight_orig"].shape[0] // 16
    decoder = state["decoder_big.main.1.1.weight_orig"].shape[0] // 8
    net = fastgan.Discriminator(width, side, channels, decoder_width=decoder, normalized=False)

    def ours(key: str) -> str:
        head, _, rest = key.partition(".")
        if head == "down_from_big":
            return f"start.{rest}"
        if head == "down_from_small":
            return f"small_path.{_flat(rest)}"
        if found := re.fullmatch(r"down_(\d+)", head):
            return f"blocks.{int(found[1]).bit_length() - 3}.{rest}"
        if head.startswith("se_"):
            block = {"se_2_16": 3, "se_4_32": 4, "se_8_64": 5}[head]
            layer, _, name = rest.rpartition(".")
            part = {"main.1": "squeeze", "main.3": "weight"}[layer]
            return f"excitations.{block}.{part}.{name}"
        if head.startswith("decoder_"):
            part = {"big": "whole", "small": "small", "part": "part"}[head[8:]]
            return f"decoders.{part}.{_decoder(rest)}"
        return f"{'head' if head == 'rf_big' else 'small_head'}.{rest}"

    return _plain(net, state, ours)


def _flat(rest: str) -> str:
    """`2.main.0.weight` of small blocks -> `2.weight`, all layers in one row."""
    block, _, inner = rest.partition(".")
    if not inner.startswith("main."):
        return rest
    layer, name = inner.removeprefix("main.").split(".")
    return f"{2 + 3 * (int(block) - 2) + int(layer)}.{name}"


def _decoder(rest: str) -> str:
    """`main.1.2.weight` -> `3.weight`: a block has four layers; one doubles."""
    _, block, *inner = rest.split(".")
    if len(inner) == 1:  # the last convolution
        return f"{1 + 4 * (int(block) - 1)}.{inner[0]}"
    return f"{1 + 4 * (int(block) - 1) + int(inner[0])}.{inner[1]}"


def _plain(net: nn.Module, state: State, ours: Callable[[str], str]) -> Found:
    return Found(net, {ours(k): v for k, v in with_fixed_sigma(state, ("init.init.0",)).items()})


FORMATS: dict[str, Format] = {
    "FastGAN generator (odegeasslbc/FastGAN-pytorch)": _generator,
    "FastGAN discriminator (odegeasslbc/FastGAN-pytorch)": _discriminator,
}
