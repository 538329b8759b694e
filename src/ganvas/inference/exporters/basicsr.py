"""Export to the weights of XPixelGroup/BasicSR, which upscaling programs open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import CapabilityError
from ganvas.core.files import save_tensors
from ganvas.inference.exporters.network import Network, Scores
from ganvas.inference.importers import import_network
from ganvas.nets.spectral import as_matrix
from ganvas.nets.super_resolution import (
    CompactNet,
    MSRResNet,
    RRDBNet,
    UNetDiscriminator,
    VGGStyleDiscriminator,
)

# Networks whose weights have BasicSR's names -> its class, and recipes that train one.
CLASSES = {
    RRDBNet: ("RRDBNet", "esrgan and realesrgan"),
    CompactNet: ("SRVGGNetCompact", "compact, realesrgan_compact and srgan_compact"),
    MSRResNet: ("MSRResNet", "srgan_basicsr"),
}
# Discriminators whose weights have BasicSR's names -> its class, and recipes.
DISCRIMINATORS = {
    UNetDiscriminator: ("UNetDiscriminatorSN", "realesrgan"),
    VGGStyleDiscriminator: ("VGGStyleDiscriminator", "esrgan, srgan_basicsr and srgan_compact"),
}
GROWTH = 32  # of an RRDBNet, to which upscaling programs are fixed
# The same weights under both names: programs look for one or the other.
PARTS = ("params_ema", "params")


def write(network: Network, out: Path, facts: Mapping[str, object]) -> bool:
    """Write the weights: with `PARTS` in a .pth, bare in a .safetensors.

    Returns whether the sides of an input image are free. Raises `CapabilityError` for a
    network that BasicSR does not have.
    """
    scores = isinstance(network.module, Scores)
    net = _discriminator(network) if scores else _generator(network)
    state = {k: v.detach().cpu().clone().contiguous() for k, v in net.state_dict().items()}
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    if scores:
        state = _with_vectors(state)
    if out.suffix == ".safetensors":
        # Not under "ganvas", which marks model files of ganvas.
        save_tensors(state, out, {"facts": json.dumps(facts, default=str)})
    else:
        torch.save(dict.fromkeys(PARTS[-1:] if scores else PARTS, state), out)
    return not isinstance(net, VGGStyleDiscriminator)


def run(file: Path, network: Network, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """The result of the network that an import of the file builds."""
    options = {}
    if isinstance(network.module, Scores):
        net = _discriminator(network)
        if isinstance(net, UNetDiscriminator):
            options["skip_connection"] = str(net.skip).lower()
        with torch.inference_mode():
            return import_network(file, options=options)(*inputs).numpy()
    net = _generator(network)
    if isinstance(net, RRDBNet):
        options["scale"] = str(net.scale)
    elif isinstance(net, CompactNet):
        options["act_type"] = _activation(net)
    with torch.inference_mode():
        return import_network(file, options=options)(*inputs).clamp(0, 1).numpy()


def note(network: Network) -> str:
    """What other programs may have to be told."""
    if isinstance(network.module, Scores):
        net = _discriminator(network)
        first = net.get_submodule("conv0" if isinstance(net, UNetDiscriminator) else "conv0_0")
        width, channels = first.get_parameter("weight").shape[:2]
        text = f"{DISCRIMINATORS[type(net)][0]}, num_in_ch {channels}, num_feat {width}"
        if isinstance(net, UNetDiscriminator):
            return text if net.skip else f"{text}, skip_connection false"
        return f"{text}, input_size {network.size[0]}"
    net = _generator(network)
    name, _ = CLASSES[type(net)]
    text = f"{name}, {net.scale} times, {net.channels} channels"
    if isinstance(net, CompactNet) and _activation(net) != "prelu":
        text += f"; act_type is {_activation(net)}, which its weights do not show"
    growth = len(net.state_dict().get("body.0.rdb1.conv1.bias", range(GROWTH)))
    if growth != GROWTH:
        text += f"; upscaling programs expect growth {GROWTH}, and it has {growth}"
    return text


def _generator(network: Network) -> RRDBNet | CompactNet | MSRResNet:
    method = next(network.module.children(), nn.Module())
    net = getattr(method, "G", None)
    if not isinstance(net, RRDBNet | CompactNet | MSRResNet):
        known = ", ".join(f"{name} ({recipes})" for name, recipes in CLASSES.values())
        raise CapabilityError(
            f"BasicSR has no {type(net or method).__name__}; it has {known}. Export this model to "
            "onnx"
        )
    if isinstance(net, RRDBNet) and (type(net) is not RRDBNet or net.step != 2):
        raise CapabilityError(
            "BasicSR's RRDBNet doubles by repeating pixels; this one enlarges otherwise. Export "
            "this model to onnx"
        )
    return net


def _discriminator(network: Network) -> UNetDiscriminator | VGGStyleDiscriminator:
    assert isinstance(network.module, Scores)
    net = network.module.D
    if not isinstance(net, UNetDiscriminator | VGGStyleDiscriminator):
        known = " and ".join(f"{name} ({recipes})" for name, recipes in DISCRIMINATORS.values())
        raise CapabilityError(
            f"BasicSR has no {type(net).__name__}; of discriminators it has {known}"
        )
    return net


def _with_vectors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name spectrally normalized layers as `torch.nn.utils.spectral_norm` does.

    Its evaluation divides by u^T W v of the stored vectors. Ours divides by |W v|, v
    being W^T u at length 1; with u = W v at length 1 the two are equal.
    """
    theirs: dict[str, Tensor] = {}
    for key, value in state.items():
        layer, found, name = key.partition(".parametrizations.weight.")
        if not found:
            theirs[key] = value
        elif name == "original":
            matrix = as_matrix(value)
            v = F.normalize(matrix.T @ state[f"{layer}{found}0.u"], dim=0)
            theirs[f"{layer}.weight_orig"] = value
            theirs[f"{layer}.weight_u"] = F.normalize(matrix @ v, dim=0)
            theirs[f"{layer}.weight_v"] = v
    return theirs


def _activation(net: CompactNet) -> str:
    kinds = {nn.PReLU: "prelu", nn.ReLU: "relu", nn.LeakyReLU: "leakyrelu"}
    return kinds[type(net.body[1])]
