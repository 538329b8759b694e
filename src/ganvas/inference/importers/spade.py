"""SPADE of NVlabs/SPADE, and pix2pixHD of NVIDIA/pix2pixHD."""

from __future__ import annotations

import re

from ganvas.inference.importers.formats import Format, Found, Misfit, State
from ganvas.inference.importers.spectral import with_fixed_sigma
from ganvas.nets import multiscale, pix2pixhd, spade

BLOCKS = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3", "up_4")
PARTS = {"param_free_norm": "norm", "mlp_shared.0": "shared", "mlp_gamma": "gamma"}
PARTS["mlp_beta"] = "beta"


def _generator(state: State) -> Found | None:
    if not {"head_0.norm_0.mlp_gamma.weight", "conv_img.weight", "fc.weight"} <= state.keys():
        return None
    if "head_0.norm_0.param_free_norm.running_mean" not in state:
        raise Misfit("SPADE over instance norm; only batch norm is supported")
    start, hidden = state["fc.weight"], state["head_0.norm_0.mlp_gamma.weight"].shape[1]
    labels = state["head_0.norm_0.mlp_shared.0.weight"].shape[1]
    width = state["head_0.norm_0.mlp_gamma.weight"].shape[0] // 16
    latent = start.shape[1] if start.dim() == 2 else 0
    side = round((start.shape[0] / (16 * width)) ** 0.5) if latent else 8
    doublings = 7 if "up_4.conv_0.weight_orig" in state else 5
    net = spade.Generator(
        labels,
        state["conv_img.weight"].shape[0],
        width,
        side << doublings,
        latent,
        hidden,
        doublings,
        normalized=False,
    )

    def ours(key: str) -> str:
        head, _, rest = key.partition(".")
        if head not in BLOCKS:
            return f"{'start' if head == 'fc' else 'output'}.{rest}"
        layer, _, rest = rest.partition(".")
        place = f"blocks.{BLOCKS.index(head)}"
        if layer.startswith("conv_"):
            return f"{place}.{'skip' if layer == 'conv_s' else f'convs.{layer[5:]}'}.{rest}"
        part, _, name = rest.rpartition(".")
        norm = "skip_norm" if layer == "norm_s" else f"norms.{layer[5:]}"
        return f"{place}.{norm}.{PARTS[part]}.{name}"

    return Found(net, {ours(k): v for k, v in with_fixed_sigma(state).items()})


def _encoder(state: State) -> Found | None:
    if not {"layer1.0.weight_orig", "fc_mu.weight", "fc_var.weight"} <= state.keys():
        return None
    width, channels = state["layer1.0.weight_orig"].shape[:2]
    count = sum(k.endswith(".0.weight_orig") for k in state)
    net = spade.StyleEncoder(
        channels, width, state["fc_mu.weight"].shape[0], 4 << count, normalized=False
    )

    def ours(key: str) -> str:
        if found := re.fullmatch(r"layer(\d)\.0\.(\w+)", key):
            return f"convs.{int(found[1]) - 1}.{found[2]}"
        head, _, name = key.partition(".")
        return f"heads.{('fc_mu', 'fc_var').index(head)}.{name}"

    return Found(net, {ours(k): v for k, v in with_fixed_sigma(state).items()})


def _discriminator(state: State) -> Found | None:
    """SPADE's; scale 0 sees whole images."""
    if (
        not {"discriminator_0.model0.0.weight", "discriminator_0.model1.0.0.weight_orig"}
        <= state.keys()
    ):
        return None
    width, channels = state["discriminator_0.model0.0.weight"].shape[:2]
    scales = len({k.partition(".")[0] for k in state})
    layers = len({k.split(".")[1] for k in state}) - 1
    net = multiscale.MultiscaleDiscriminator(channels, width, layers, scales)
    _without_bias(net)

    def ours(key: str) -> str:
        found = re.fullmatch(r"discriminator_(\d+)\.model(\d+)\.0(\.0)?\.(\w+)", key)
        assert found is not None, key
        layer = found[2] if int(found[2]) == layers else f"{found[2]}.0"
        return f"scales.{found[1]}.layers.{layer}.{found[4]}"

    return Found(net, {ours(k): v for k, v in with_fixed_sigma(state).items()})


def _without_bias(net: multiscale.MultiscaleDiscriminator) -> None:
    for scale in net.scales:
        for layer in list(scale.layers)[1:-1]:  # pyright: ignore[reportArgumentType]
            layer[0].bias = None


def _pix2pixhd_discriminator(state: State) -> Found | None:
    """With the maps of inner layers or without; the highest scale sees whole images."""
    keys = [re.fullmatch(r"(?:scale(\d+)_)?layer(\d+)\.(\d+)\.(weight|bias)", k) for k in state]
    if not keys or not all(keys):
        return None
    places: dict[str, tuple[int, int, str]] = {}
    plain = (0, 2, 5, 8, 11, 14)  # of the convolutions where all layers are in one row
    for k in keys:
        assert k is not None
        scale, layer = (int(k[1]), int(k[2])) if k[1] else (int(k[2]), plain.index(int(k[3])))
        places[k[0]] = scale, layer, k[4]
    scales = 1 + max(scale for scale, _, _ in places.values())
    layers = max(layer for _, layer, _ in places.values())
    first = next(state[k] for k, place in places.items() if place[1:] == (0, "weight"))
    net = multiscale.MultiscaleDiscriminator(first.shape[1], first.shape[0], layers, scales)

    def ours(key: str) -> str:
        scale, layer, name = places[key]
        inner = f"{layer}" if layer == layers else f"{layer}.0"
        return f"scales.{scales - 1 - scale}.layers.{inner}.{name}"

    return Found(net, {ours(k): v for k, v in state.items()})


def _local_enhancer(state: State) -> Found | None:
    if (
        not {"model1_1.1.weight", "model1_1.4.weight", "model1_2.0.conv_block.1.weight"}
        <= state.keys()
    ):
        return None
    width, channels_in = state["model1_1.1.weight"].shape[:2]
    blocks = _blocks(state, "model")
    local = len(_blocks(state, "model1_2"))
    last = max(int(k.split(".")[1]) for k in state if k.startswith("model1_2."))
    net = pix2pixhd.LocalEnhancer(
        channels_in,
        state[f"model1_2.{last}.weight"].shape[0],
        width,
        (min(blocks) - 4) // 3,
        len(blocks),
        local,
    )
    names = {"model": "coarse", "model1_1": "down", "model1_2": "up"}

    def ours(key: str) -> str:
        head, _, rest = key.partition(".")
        return f"{names[head]}.{rest}"

    return Found(net, {ours(k): v for k, v in state.items()})


def _blocks(state: State, part: str) -> set[int]:
    """Places of the residual blocks in a row of layers."""
    return {int(k.split(".")[1]) for k in state if k.startswith(f"{part}.") and ".conv_block." in k}


FORMATS: dict[str, Format] = {
    "SPADE generator (NVlabs/SPADE)": _generator,
    "SPADE style encoder (NVlabs/SPADE)": _encoder,
    "SPADE discriminator (NVlabs/SPADE)": _discriminator,
    "pix2pixHD local enhancer (NVIDIA/pix2pixHD)": _local_enhancer,
    "pix2pixHD discriminator (NVIDIA/pix2pixHD)": _pix2pixhd_discriminator,
}
