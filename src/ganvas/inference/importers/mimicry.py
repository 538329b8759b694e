"""kwotsin/mimicry's ResNets at 32 px."""

from __future__ import annotations

from ganvas.inference.importers.formats import Format, Found, State, column
from ganvas.inference.importers.spectral import with_fixed_sigma
from ganvas.nets import resnet


def _wgan_gp_generator(state: State) -> Found | None:
    if (
        not {"l1.weight", "block2.b1.weight", "block4.c_sc.weight", "b5.weight", "c5.weight"}
        <= state.keys()
    ):
        return None
    (features, latent), (channels, width) = state["l1.weight"].shape, state["c5.weight"].shape[:2]
    if features != 16 * width:  # mimicry's 48 and 64 px networks narrow from block to block
        return None
    net = resnet.Generator(latent, width, 32, channels, upsampling="bilinear")
    return Found(net, _mimicry(state, 2, {"l1": "input", "b5": "norm", "c5": "output"}))


def _wgan_gp_discriminator(state: State) -> Found | None:
    if not {"block1.c1.weight", "block4.c1.weight", "l5.weight"} <= state.keys():
        return None
    width, channels = state["block1.c1.weight"].shape[:2]
    if (
        state["l5.weight"].shape[1] != width
    ):  # mimicry's 48 and 64 px networks widen from block to block
        return None
    net = resnet.Discriminator(width, 32, channels, rectified=True)
    return Found(net, _mimicry(state, 1, {"l5": "output"}), column)


def _sngan_discriminator(state: State) -> Found | None:
    if not {"block1.c1.weight_orig", "block4.c1.weight_orig", "l5.weight_orig"} <= state.keys():
        return None
    width, channels = state["block1.c1.weight_orig"].shape[:2]
    if state["l5.weight_orig"].shape[1] != width:
        return None
    net = resnet.Discriminator(width, 32, channels, rectified=True, pool="sum")
    return Found(net, _mimicry(with_fixed_sigma(state), 1, {"l5": "output"}), column)


def _mimicry(state: State, first: int, ends: dict[str, str]) -> State:
    layers = {"c1": "conv1", "c2": "conv2", "b1": "norm1", "b2": "norm2", "c_sc": "shortcut"}

    def ours(key: str) -> str:
        head, *rest = key.split(".")
        if head.startswith("block"):
            return ".".join(
                ["blocks", str(int(head[5:]) - first), layers.get(rest[0], rest[0]), *rest[1:]]
            )
        return ".".join([ends.get(head, head), *rest])

    return {ours(k): v for k, v in state.items()}


FORMATS: dict[str, Format] = {
    "WGAN-GP or SNGAN generator at 32 px (kwotsin/mimicry)": _wgan_gp_generator,
    "WGAN-GP discriminator at 32 px (kwotsin/mimicry)": _wgan_gp_discriminator,
    "SNGAN discriminator at 32 px (kwotsin/mimicry)": _sngan_discriminator,
}
