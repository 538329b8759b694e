"""Export to the weights of XPixelGroup/BasicSR, which upscaling programs open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ganvas.core.errors import CapabilityError
from ganvas.inference.exporters.network import Network
from ganvas.inference.importers import import_network
from ganvas.nets.super_resolution import CompactNet, MSRResNet, RRDBNet

# Networks whose weights have BasicSR's names -> its class, and recipes that train one.
CLASSES = {
    RRDBNet: ("RRDBNet", "esrgan and realesrgan"),
    CompactNet: ("SRVGGNetCompact", "compact"),
    MSRResNet: ("MSRResNet", "srgan_basicsr"),
}
GROWTH = 32  # of an RRDBNet, to which upscaling programs are fixed
# The same weights under both names: programs look for one or the other.
PARTS = ("params_ema", "params")


def write(network: Network, out: Path, facts: Mapping[str, object]) -> bool:
    """Write the weights: with `PARTS` in a .pth, bare in a .safetensors.

    Returns True: the sides of an input image are free. Raises `CapabilityError` for a
    network that BasicSR does not have.
    """
    net = _generator(network)
    state = {k: v.detach().float().cpu().clone().contiguous() for k, v in net.state_dict().items()}
    if out.suffix == ".safetensors":
        # Not under "ganvas", which marks model files of ganvas.
        save_file(state, out, {"facts": json.dumps(facts, default=str)})
    else:
        torch.save(dict.fromkeys(PARTS, state), out)
    return True


def run(file: Path, network: Network, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """The result of the network that an import of the file builds."""
    options = {}
    net = _generator(network)
    if isinstance(net, RRDBNet):
        options["scale"] = str(net.scale)
    elif isinstance(net, CompactNet):
        options["act_type"] = _activation(net)
    with torch.inference_mode():
        return import_network(file, options=options)(*inputs).clamp(0, 1).numpy()


def note(network: Network) -> str:
    """What other programs may have to be told."""
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
    return net


def _activation(net: CompactNet) -> str:
    kinds = {nn.PReLU: "prelu", nn.ReLU: "relu", nn.LeakyReLU: "leakyrelu"}
    return kinds[type(net.body[1])]
