"""Autoencoders of huggingface/diffusers, a file or a folder with its config.json.

ganvas' own networks have the same names of layers. `autoencoder` also builds them for
projects with other names, which a function gives.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import UserError, printable
from ganvas.core.json_files import read_json
from ganvas.inference.importers.formats import Format, Found, Misfit, Setting, State
from ganvas.nets.latent_autoencoder import KLAutoencoder, VQAutoencoder
from ganvas.nets.latent_layers import ResnetBlock, group_norms

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model"
SUFFIXES = (".safetensors", ".bin", ".fp16.safetensors", ".fp16.bin")
CLASSES = ("AutoencoderKL", "VQModel")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "swish": F.silu,
    "relu": F.relu,
    "gelu": F.gelu,
    "mish": F.mish,
}
NORMS = ("group", "spatial")  # which of them, the weights show
GROUPS = 32  # of norms, in all published configurations
MAX_GROUPS = 512

# The name of a layer of ganvas in another project, by the number of levels.
Names = Callable[[str, int], str]


def opened(path: Path) -> tuple[Path, dict[str, str]]:
    """(file of weights, settings that config.json beside it holds) of a folder or file.

    Other paths are returned as they are, without settings. Raises `UserError` for a
    folder whose config.json describes another network, or that has no weights.
    """
    folder = path.parent if path.name.startswith(f"{WEIGHTS}.") else path
    if not (folder / CONFIG).is_file():
        if (path / "vae" / CONFIG).is_file():
            raise UserError(
                f"{printable(path)} is a pipeline of several networks; give that of its "
                f"autoencoder: {printable(path / 'vae')}"
            )
        return path, {}
    config = read_json(folder / CONFIG, "description of an autoencoder")
    where, kind = printable(folder / CONFIG), config.get("_class_name")
    if kind not in CLASSES:
        raise UserError(
            f"{where} describes {printable(kind)[:100]!r}; expected {' or '.join(CLASSES)}"
        )
    for name, known in (("act_fn", tuple(ACTIVATIONS)), ("norm_type", NORMS)):
        if (value := config.get(name, known[0])) not in known:
            raise UserError(
                f"{where}: {name} is {printable(value)[:100]!r}; supported are {', '.join(known)}"
            )
    settings = {
        "norm_num_groups": str(config.get("norm_num_groups", GROUPS)),
        "act_fn": config.get("act_fn", "silu"),
    }
    if path != folder:
        return path, settings
    files = [folder / f"{WEIGHTS}{suffix}" for suffix in SUFFIXES]
    for file in files:
        if file.is_file():
            return file, settings
    raise UserError(f"{printable(folder)} has no {files[0].name}; it holds {CONFIG} alone")


def autoencoder(state: State, named: Names, setting: str, announced: bool) -> Found:
    """The autoencoder of `state`, with a codebook or a Gaussian.

    setting: the project's name for the number of groups of norms
    announced: whether to say which is assumed

    Raises `Misfit` for tensors that are missing.
    """
    down = (named(f"encoder.down_blocks.{i}.resnets.0.conv1.weight", 0) for i in count())
    widths = [shape[0] for shape in _shapes(state, down)]
    widths_up: list[int] | None = None
    if not widths:
        # Without residual blocks in the encoder all its levels have one width.
        widths_up = _decoder_widths(state, named)
        stem = state.get(named("encoder.conv_in.weight", 0))
        if not widths_up or stem is None:
            raise Misfit("its encoder has no levels")
        widths = [len(stem)] * len(widths_up)
    levels = len(widths)

    def has(key: str) -> bool:
        return named(key, levels) in state

    def shape(key: str) -> list[int]:
        if (name := named(key, levels)) not in state:
            raise Misfit(f"{name} is missing")
        return list(state[name].shape)

    first = "encoder.down_blocks.0.resnets"
    blocks = (named(f"{first}.{j}.conv1.weight", levels) for j in count())
    linear = any(k.endswith(".to_qkv.weight") for k in state)
    attends = f"attentions.0.{'to_qkv' if linear else 'to_q'}.weight"
    up = [i for i in range(levels) if has(f"decoder.up_blocks.{levels - 1 - i}.{attends}")]
    settings: dict[str, Any] = {
        "channels": shape("encoder.conv_in.weight")[1],
        "channels_out": shape("decoder.conv_out.weight")[0],
        "stem": shape("encoder.conv_in.weight")[0],
        "features": shape("decoder.conv_in.weight")[1],
        "widths": widths,
        "blocks": len(_shapes(state, blocks)),
        "groups": GROUPS,
        "attention": [i for i in range(levels) if has(f"encoder.down_blocks.{i}.{attends}")],
        "attention_up": up,
        "middle_attention": has(f"encoder.mid_block.{attends}"),
        "linear": linear,
        "widths_up": widths_up,
        "convolved": levels == 1 or has("encoder.down_blocks.0.downsamplers.0.conv.weight"),
    }
    gumbel = has("quantize.embed.weight")
    if gumbel or has("quantize.embedding.weight"):
        codes, latent = shape(f"quantize.{'embed' if gumbel else 'embedding'}.weight")
        spatial = has("decoder.conv_norm_out.norm_layer.weight")
        net: nn.Module = VQAutoencoder(
            latent=latent, codes=codes, gumbel=gumbel, spatial=spatial, **settings
        )
    else:
        quant, post = has("quant_conv.weight"), has("post_quant_conv.weight")
        latent = settings["features"]
        if post:
            latent = shape("post_quant_conv.weight")[1]
        net = KLAutoencoder(latent=latent, quant_conv=quant, post_quant_conv=post, **settings)
    theirs = {named(key, levels): (key, own) for key, own in net.state_dict().items()}
    weights = {}
    for key, value in state.items():
        ours, own = theirs.get(key, (key, value))
        weights[ours] = _linear(value) if own.dim() == 2 else value
    return Found(net, weights, settings={setting: _groups(net, announced)})


def _decoder_widths(state: State, named: Names) -> list[int]:
    """The widths of the decoder's levels, from the full size down."""
    found: list[int] = []
    for levels in count(1):
        blocks = (f"decoder.up_blocks.{i}.resnets.0" for i in range(levels))
        keys = [named(f"{block}.conv1.weight", levels) for block in blocks]
        if not all(key in state for key in keys):
            return found
        found = [len(state[key]) for key in reversed(keys)]
    return found


def _shapes(state: State, names: Any) -> list[list[int]]:
    """The shapes of the tensors with `names`, up to the first name that has none."""
    shapes = []
    for name in names:
        if name not in state:
            return shapes
        shapes.append(list(state[name].shape))
    return shapes


def _linear(weight: Tensor) -> Tensor:
    """The weight of a 1x1 convolution as that of a linear layer."""
    return weight[:, :, 0, 0] if tuple(weight.shape[2:]) == (1, 1) else weight


def _groups(net: nn.Module, announced: bool) -> Setting:
    """The groups of norms: any number that divides all widths."""
    common = math.gcd(*(norm.num_channels for norm in group_norms(net)))

    def regroup(net: nn.Module, groups: int) -> None:
        for norm in group_norms(net):
            norm.num_groups = groups

    divisors = [n for n in range(1, min(common, MAX_GROUPS) + 1) if common % n == 0]
    readings = {str(n): partial(regroup, groups=n) for n in divisors}
    return Setting(readings, str(GROUPS) if GROUPS in divisors else None, announced)


def _same(key: str, levels: int) -> str:
    return key


# Names of attention before diffusers 0.14.
OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def _found(state: State) -> Found | None:
    if (
        not {
            "encoder.down_blocks.0.resnets.0.conv1.weight",
            "decoder.up_blocks.0.resnets.0.conv1.weight",
        }
        <= state.keys()
    ):
        return None
    pattern = rf"(\.attentions\.\d+)\.({'|'.join(OLD)})\."
    new = {re.sub(pattern, lambda m: f"{m[1]}.{OLD[m[2]]}.", k): v for k, v in state.items()}
    found = autoencoder(new, _same, "norm_num_groups", announced=True)
    activations = {k: partial(_activate, activation=f) for k, f in ACTIVATIONS.items()}
    return found._replace(settings={**found.settings, "act_fn": Setting(activations, "silu")})


def _activate(net: nn.Module, activation: Callable[[Tensor], Tensor]) -> None:
    """Set the activation in residual blocks; the last layers have SiLU in any case."""
    for block in net.modules():
        if isinstance(block, ResnetBlock):
            block.activation = activation


def _kl(state: State) -> Found | None:
    return None if "quantize.embedding.weight" in state else _found(state)


def _vq(state: State) -> Found | None:
    return _found(state) if "quantize.embedding.weight" in state else None


FORMATS: dict[str, Format] = {
    "AutoencoderKL (huggingface/diffusers)": _kl,
    "VQModel (huggingface/diffusers)": _vq,
}
