"""Export autoencoders to the names of CompVis/taming-transformers.

CompVis/latent-diffusion has them, too, and so have programs for Stable Diffusion.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganvas.core.errors import CapabilityError
from ganvas.core.files import save_tensors
from ganvas.inference.exporters.diffusers import (
    activation_of,
    autoencoder_of,
    exported_state,
    groups_of,
    reconstructions,
)
from ganvas.inference.exporters.network import Network
from ganvas.inference.importers import import_network
from ganvas.inference.importers.diffusers import GROUPS
from ganvas.inference.importers.taming import named
from ganvas.nets.latent_autoencoder import VQAutoencoder


def write(network: Network, out: Path, facts: Mapping[str, object]) -> bool:
    """Write the weights: as `state_dict` in a .ckpt, bare in a .safetensors.

    Returns True: the sides of an input image are free. Raises `CapabilityError` for a
    network that the authors' code does not have.
    """
    net = autoencoder_of(network)
    _settings(network)
    count, state = len(net.levels.widths), {}
    for key, weight in exported_state(net).items():
        if ".attentions." in key and weight.dim() == 2:
            weight = weight[:, :, None, None]  # 1x1 convolutions there
        state[named(key, count)] = weight
    if out.suffix == ".safetensors":
        # Not under "ganvas", which marks model files of ganvas.
        save_tensors(state, out, {"format": "pt", "facts": json.dumps(facts, default=str)})
    else:
        torch.save({"state_dict": state}, out)
    return True


def run(file: Path, network: Network, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """The reconstructions of the network that an import of the file builds."""
    net = autoencoder_of(network)
    options = {"num_groups": groups_of(net), "tanh_out": net.decoder.tanh_out}
    return reconstructions(import_network(file, options=options), inputs)


def note(network: Network) -> str:
    """The settings of the authors' classes, and what they cannot be told."""
    net = autoencoder_of(network)
    text = "; ".join(f"{name}: {json.dumps(value)}" for name, value in _settings(network).items())
    if (groups := groups_of(net)) != GROUPS:
        text += f"; its norms have {groups} groups, the authors' function Normalize {GROUPS}"
    return text


def _settings(network: Network) -> dict[str, object]:
    """The arguments of VQModel or AutoencoderKL there."""
    net = autoencoder_of(network)
    groups_of(net)
    levels, codebook = net.levels, isinstance(net, VQAutoencoder)
    if net.levels_up.spatial or activation_of(net) != "silu":
        raise CapabilityError(
            "it has spatial norms or another activation than SiLU, which the authors' code does "
            "not have: export this model to diffusers"
        )
    widths = net.levels_up.widths  # without blocks in the encoder its levels have none
    if any(width % net.stem for width in widths):
        raise CapabilityError(
            f"its widths {list(widths)} are no multiples of {net.stem}, as in the authors' "
            "code: export this model to diffusers"
        )
    if set(levels.attention) != set(net.levels_up.attention):
        raise CapabilityError(
            "encoder and decoder have attention at different sizes, which the authors' code does "
            "not have: export this model to diffusers"
        )
    resolution = max(network.size)
    config: dict[str, object] = {
        "ch": net.stem,
        "ch_mult": [width // net.stem for width in widths],
        "num_res_blocks": levels.blocks,
        "attn_resolutions": [resolution >> i for i in levels.attention],
        "resolution": resolution,
        "in_channels": net.channels,
        "out_ch": net.channels_out,
        "z_channels": net.features,
        "double_z": not codebook,
    }
    if not levels.middle_attention:
        config["attn_type"] = "none"
    elif levels.linear:
        config["attn_type"] = "linear"
    if net.decoder.tanh_out:
        config["tanh_out"] = True
    if not levels.convolved:
        config["resamp_with_conv"] = False
    settings: dict[str, object] = {"ddconfig": config, "embed_dim": net.latent}
    if isinstance(net, VQAutoencoder):
        settings["n_embed"] = net.quantize.embedding.num_embeddings
    return settings
