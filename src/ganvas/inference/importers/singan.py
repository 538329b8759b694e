"""One scale of SinGAN (tamarott/SinGAN); the files of whole models are pickled code."""

from __future__ import annotations

from ganvas.inference.importers.formats import Format, Found, State
from ganvas.nets import singan


def _scale(state: State) -> Found | None:
    if (
        not {"head.conv.weight", "body.block1.conv.weight", "body.block3.norm.weight"}
        <= state.keys()
    ):
        return None
    width, channels = state["head.conv.weight"].shape[:2]
    if "tail.0.weight" in state:
        generator = singan.ScaleGenerator(channels, width)
        return Found(generator, {k.replace("tail.0.", "tail."): v for k, v in state.items()})
    if "tail.weight" in state:
        return Found(singan.ScaleNet(channels, state["tail.weight"].shape[0], width), state)
    return None


FORMATS: dict[str, Format] = {"SinGAN scale (tamarott/SinGAN)": _scale}
