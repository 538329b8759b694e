"""One scale of SinGAN (tamarott/SinGAN); the files of whole models are pickled code."""

from __future__ import annotations

from functools import partial
from itertools import count, takewhile

from torch import nn

from ganvas.inference.importers.formats import Format, Found, Setting, State
from ganvas.nets import singan


def _scale(state: State) -> Found | None:
    tail = next((t for t in ("tail.0", "tail") if f"{t}.weight" in state), None)
    if not {"head.conv.weight", "head.norm.weight"} <= state.keys() or tail is None:
        return None
    names = (f"body.block{i}.conv.weight" for i in count(1))
    layers = [state[k] for k in ("head.conv.weight", *takewhile(state.__contains__, names))]
    channels, kernel = layers[0].shape[1:3]
    widths = [len(w) for w in layers]
    if tail == "tail.0":
        net = singan.ScaleGenerator(channels, widths, kernel)
    else:
        net = singan.ScaleNet(channels, len(state["tail.weight"]), widths, kernel)
    named = {k.replace("tail.0.", "tail."): v for k, v in state.items()}
    pads = {str(n): partial(_pad, pad=n) for n in range(kernel // 2 + 1)}
    return Found(net, named, settings={"padd_size": Setting(pads, "0")})


def _pad(net: nn.Module, pad: int) -> None:
    """Set the zeros around the input of every convolution, in pixels."""
    assert isinstance(net, singan.ScaleGenerator | singan.ScaleNet)
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    for conv in convs:
        conv.padding = (pad, pad)
    net.border = (convs[0].kernel_size[0] - 1 - 2 * pad) * len(convs) // 2


FORMATS: dict[str, Format] = {"SinGAN scale (tamarott/SinGAN)": _scale}
