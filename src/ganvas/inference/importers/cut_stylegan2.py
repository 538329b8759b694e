"""CUT's generators of StyleGAN2's layers (taesungp/contrastive-unpaired-translation).

Its discriminator of that kind (--netD stylegan2, tilestylegan2) is rosinality's without
the minibatch standard deviation.
"""

from __future__ import annotations

import re

from ganvas.inference.importers.formats import Format, Found, State
from ganvas.inference.importers.rosinality import taps
from ganvas.nets import stylegan2_translator

FIRST = "encoder.convs.1.0.weight"
KERNEL = ".kernel"


def _generator(state: State) -> Found | None:
    """Encoder: convolution, halvings, flat blocks; decoder: flat blocks, doublings."""
    if FIRST not in state or not all(k.startswith(("encoder.", "decoder.")) for k in state):
        return None
    width, channels = state[FIRST].shape[:2]
    halving = r"encoder\.convs\.(\d+)\.conv2\.1\.weight"
    down = [int(m[1]) for k in state if (m := re.fullmatch(halving, k))]
    flat = r"\.convs\.(\d+)\.conv2\.0\.weight"
    blocks = [
        (side, int(m[1]))
        for side in ("encoder", "decoder")
        for k in state
        if (m := re.fullmatch(side + flat, k))
    ]
    doubling = r"decoder\.convs\.(\d+)\.conv\.weight"
    up = [int(m[1]) for k in state if (m := re.fullmatch(doubling, k))]
    end = r"decoder\.convs\.(\d+)\.0\.weight"
    [last] = [m[1] for k in state if (m := re.fullmatch(end, k))]
    net = stylegan2_translator.Generator(
        channels,
        len(state[f"decoder.convs.{last}.0.weight"]),
        [width, *(len(state[f"encoder.convs.{i}.conv2.1.weight"]) for i in down)],
        len(blocks),
        taps(state, "encoder", gain=1.0),
    )
    places = {f"encoder.convs.{n}": f"down.{i}" for i, n in enumerate(down)}
    places |= {f"{side}.convs.{n}": f"blocks.{i}" for i, (side, n) in enumerate(blocks)}
    places |= {f"decoder.convs.{n}": f"up.{i}" for i, n in enumerate(up)}
    places |= {"encoder.convs.1": "first", f"decoder.convs.{last}": "last"}

    def ours(key: str) -> str:
        head, _, rest = re.fullmatch(r"(\w+\.convs\.(\d+))\.(.+)", key).groups()  # type: ignore[union-attr]
        layer, _, name = rest.rpartition(".")
        place = places[head]
        if place.startswith("up."):
            name = {"noise": "strength"}.get(layer, name)
            return f"{place}.{name}"
        part = layer.partition(".")[0]  # conv1, conv2 or skip of a block
        return f"{place}.{name}" if part.isdecimal() else f"{place}.{part}.{name}"

    named: State = {}
    for key, value in state.items():
        if key.endswith(KERNEL):
            continue
        name = ours(key)
        if name.endswith(".bias"):
            value = value.flatten()
        elif name.endswith(".strength"):
            value = value.reshape(())
        elif name.startswith("up."):
            value = value[0]
        named[name] = value
    return Found(net, named)


FORMATS: dict[str, Format] = {
    "stylegan2 generator of CUT (taesungp/contrastive-unpaired-translation)": _generator
}
