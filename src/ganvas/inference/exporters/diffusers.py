"""Export autoencoders of latents to a folder that huggingface/diffusers opens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ganvas.core.errors import CapabilityError
from ganvas.core.files import save_tensors
from ganvas.inference.exporters.network import Network
from ganvas.inference.importers import import_network
from ganvas.inference.importers.diffusers import ACTIVATIONS, CONFIG, WEIGHTS
from ganvas.nets.codebook import GumbelCodebook
from ganvas.nets.latent_autoencoder import KLAutoencoder, VQAutoencoder
from ganvas.nets.latent_layers import ResnetBlock, group_norms


def write(network: Network, out: Path, facts: Mapping[str, object]) -> bool:
    """Write `out`/config.json and the weights beside it.

    The class is AutoencoderKL, or VQModel for an autoencoder with a codebook.

    Returns True: the sides of an input image are free. Raises `CapabilityError` for a
    network that diffusers does not have.
    """
    net = autoencoder_of(network)
    config = _config(net, network.size)
    state = exported_state(net)
    out.mkdir()
    # Not under "ganvas", which marks model files of ganvas.
    text = {"format": "pt", "facts": json.dumps(facts, default=str)}
    save_tensors(state, out / f"{WEIGHTS}.safetensors", text)
    (out / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    return True


def run(file: Path, network: Network, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """The reconstructions of the network that an import of the folder builds."""
    return reconstructions(import_network(file), inputs)


def note(network: Network) -> str:
    """What other programs may have to be told."""
    net = autoencoder_of(network)
    kind = "AutoencoderKL" if isinstance(net, KLAutoencoder) else "VQModel"
    return (
        f"{kind}, {net.multiple} pixels a latent, {net.latent} channels; scaling_factor is 1: "
        "before a diffusion model is trained, set it to 1 / (standard deviation of the latents)"
    )


def autoencoder_of(network: Network) -> KLAutoencoder | VQAutoencoder:
    """The autoencoder of a model. Raises `CapabilityError` if it has none."""
    method = next(network.module.children(), nn.Module())
    net = getattr(method, "AE", None)
    if not isinstance(net, KLAutoencoder | VQAutoencoder):
        raise CapabilityError(
            f"{type(method).__name__} is no autoencoder of latents (recipes autoencoder_kl and "
            "vqgan): export this model to onnx"
        )
    return net


def exported_state(net: nn.Module) -> dict[str, Tensor]:
    """The tensors of an autoencoder that other projects know, in float32 on the CPU."""
    return {
        key: value.detach().float().cpu().clone().contiguous()
        for key, value in net.state_dict().items()
        if key != "quantize.counts"  # only training needs the counts of moving averages
    }


def groups_of(net: nn.Module) -> int:
    """The groups of all norms. Raises `CapabilityError` if they differ."""
    groups = {norm.num_groups for norm in group_norms(net)}
    if len(groups) > 1:
        raise CapabilityError(
            f"its norms have {' and '.join(map(str, sorted(groups)))} groups, and this form has "
            "one number for all: train with AE.groups that divide all AE.widths"
        )
    return groups.pop()


def activation_of(net: nn.Module) -> str:
    """The activation of residual blocks, as diffusers names it."""
    (activation,) = {m.activation for m in net.modules() if isinstance(m, ResnetBlock)}
    return next(name for name, known in ACTIVATIONS.items() if known is activation)


def reconstructions(net: nn.Module, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """The images in [0, 1] of an autoencoder, for images in [0, 1]."""
    with torch.inference_mode():
        return ((net(2 * inputs[0] - 1) + 1) / 2).clamp(0, 1).numpy()


def _config(net: KLAutoencoder | VQAutoencoder, size: tuple[int, int]) -> dict[str, object]:
    levels, up, count = net.levels, net.levels_up, len(net.levels.widths)
    if net.stem != levels.widths[0]:
        raise CapabilityError(
            f"its first convolution has {net.stem} channels and its first level "
            f"{levels.widths[0]}, which are equal in diffusers: export this model to taming"
        )
    if not levels.convolved and count > 1:
        raise CapabilityError(
            "its sizes change without convolutions, which diffusers does not have: export this "
            "model to taming"
        )

    if levels.linear or not levels.blocks or net.decoder.tanh_out:
        raise CapabilityError(
            "it has attention in linear time, an encoder without blocks or images that end in "
            "tanh, which diffusers does not have: export this model to taming"
        )

    def kinds(attention: str, plain: str, with_attention: set[int]) -> list[str]:
        return [attention if i in with_attention else plain for i in range(count)]

    mirrored = {count - 1 - i for i in up.attention}
    config: dict[str, object] = {
        "_class_name": "VQModel",
        "in_channels": net.channels,
        "out_channels": net.channels_out,
        "down_block_types": kinds(
            "AttnDownEncoderBlock2D", "DownEncoderBlock2D", set(levels.attention)
        ),
        "up_block_types": kinds("AttnUpDecoderBlock2D", "UpDecoderBlock2D", mirrored),
        "block_out_channels": list(levels.widths),
        "layers_per_block": levels.blocks,
        "act_fn": activation_of(net),
        "latent_channels": net.features,
        "norm_num_groups": groups_of(net),
        "sample_size": max(size),
        "scaling_factor": 1.0,
        "mid_block_add_attention": levels.middle_attention,
    }
    if isinstance(net, VQAutoencoder):
        if isinstance(net.quantize, GumbelCodebook):
            raise CapabilityError(
                "its codes are drawn (AE.gumbel), which diffusers does not have: export this "
                "model to taming"
            )
        codes = net.quantize.embedding.num_embeddings
        config |= {"norm_type": "spatial" if up.spatial else "group"}
        return {**config, "num_vq_embeddings": codes, "vq_embed_dim": net.latent}
    if net.features != net.latent:
        raise CapabilityError(
            f"it has {net.features} features for {net.latent} channels of latents, which are "
            "equal in diffusers: export this model to taming"
        )
    return {
        **config,
        "_class_name": "AutoencoderKL",
        "use_quant_conv": isinstance(net.quant_conv, nn.Conv2d),
        "use_post_quant_conv": isinstance(net.post_quant_conv, nn.Conv2d),
    }
