"""Autoencoders of CompVis/taming-transformers and CompVis/latent-diffusion.

VQGANs, KL autoencoders (also those of Stable Diffusion), and the discriminator that a
checkpoint has beside one, under `loss.discriminator`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from ganvas.inference.importers import translation
from ganvas.inference.importers.diffusers import autoencoder
from ganvas.inference.importers.formats import (
    Format,
    Found,
    Misfit,
    Setting,
    State,
    numbered,
    unchanged,
)
from ganvas.nets.norm import Norm

DISCRIMINATOR = "loss.discriminator"  # the part of a checkpoint
# Of training, or of other views of the codes: no part of the network.
UNUSED = r"(loss|model_ema)\..*|colorize|quantize\.(used|embedding\.(cluster_size|embed_avg))"
CODES = {"quantize.embedding.weight", "quantize.embed.weight"}  # of VQModel, of GumbelVQ
PATTERNS = (
    (r"down_blocks\.(\d+)\.resnets", r"down.\1.block"),
    (r"down_blocks\.(\d+)\.attentions", r"down.\1.attn"),
    (r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d+)\.resnets", r"up.\1.block"),
    (r"up_blocks\.(\d+)\.attentions", r"up.\1.attn"),
    (r"up_blocks\.(\d+)\.upsamplers\.0", r"up.\1.upsample"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"group_norm", "norm"),
    (r"to_out\.0", "proj_out"),
    (r"\.to_([qkv])\.", r".\1."),
)


def named(key: str, levels: int) -> str:
    """The name of a layer of ganvas' autoencoders in the authors' code.

    levels: of the network; the decoder's are numbered from the full size down there
    """
    for ours, theirs in PATTERNS:
        key = re.sub(ours, theirs, key)
    return re.sub(r"\.up\.(\d+)", lambda m: f".up.{levels - 1 - int(m[1])}", key)


def network_of(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The autoencoder among a checkpoint's tensors; others are returned as they are.

    Averaged weights take the place of the trained ones: latent-diffusion keeps them in
    `model_ema`, by names without dots.
    """
    if not {"encoder.conv_in.weight", "decoder.conv_in.weight"} <= state.keys():
        return state
    return {
        key: state.get(f"model_ema.{key.replace('.', '')}", value)
        for key, value in state.items()
        if not re.fullmatch(UNUSED, key)
    }


def _found(state: State) -> Found | None:
    if not {"encoder.mid.block_1.conv1.weight", "decoder.conv_in.weight"} <= state.keys():
        return None
    found = autoencoder(state, named, "num_groups", announced=False)  # fixed there
    # No configuration of the projects has these.
    ends = {
        name: Setting({"false": unchanged, "true": partial(_end, name=name)}, "false", False)
        for name in ("tanh_out", "give_pre_end")
    }
    return found._replace(settings={**found.settings, **ends})


def _end(net: nn.Module, name: str) -> None:
    """Set how the decoder ends."""
    setattr(net.get_submodule("decoder"), name, True)


def _has_codes(state: State) -> bool:
    return not CODES.isdisjoint(state)


def _kl(state: State) -> Found | None:
    return None if _has_codes(state) else _found(state)


def _vq(state: State) -> Found | None:
    return _found(state) if _has_codes(state) else None


def _discriminator(state: State) -> Found | None:
    if not numbered(state, "main") or "main.0.bias" not in state:
        return None
    if not {"main.3.loc", "main.3.running_mean"} & state.keys():
        return None
    norm: Norm = "none" if "main.3.loc" in state else "batch"
    if norm == "none":
        state = _without_actnorm(state)
    ours = {key.replace("main.", "model.", 1): value for key, value in state.items()}
    return translation.patch_discriminator(ours, norm)


def _without_actnorm(state: State) -> dict[str, Tensor]:
    """The same function without ActNorm: each is folded into the convolution before it.

    scale * (conv(x) + loc) is a convolution, too. Raises `Misfit` for tensors that
    are missing.
    """

    def tensor(name: str) -> Tensor:
        if name not in state:
            raise Misfit(f"{name} is missing")
        return state[name]

    found = {k: v for k, v in state.items() if not k.endswith((".loc", ".scale", ".initialized"))}
    for key in [k for k in state if k.endswith(".loc")]:
        norm = key.removesuffix(".loc")
        conv = f"main.{int(norm.removeprefix('main.')) - 1}"
        loc, scale = tensor(key).flatten(), tensor(f"{norm}.scale").flatten()
        found[f"{conv}.weight"] = scale[:, None, None, None] * tensor(f"{conv}.weight")
        found[f"{conv}.bias"] = scale * (tensor(f"{conv}.bias") + loc)
    return found


FORMATS: dict[str, Format] = {
    "VQGAN (CompVis/taming-transformers)": _vq,
    "KL autoencoder (CompVis/latent-diffusion)": _kl,
    "PatchGAN (CompVis/taming-transformers)": _discriminator,
}
