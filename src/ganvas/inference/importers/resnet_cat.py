"""The `resnet_cat` generator of taesungp/contrastive-unpaired-translation."""

from __future__ import annotations

import re

from ganvas.inference.importers.formats import Format, Found, State
from ganvas.nets import resnet_cat

FIRST = "enc_content.model.0.conv.weight"
NAMES = re.compile(r"enc_content\.model\.|dec\.(model|resnet_block|block_\d+)\.")


def _generator(state: State) -> Found | None:
    ends = [k for k in state if re.fullmatch(r"dec\.(model\.\d+|block_\d+)\.conv\.weight", k)]
    if FIRST not in state or not ends or not all(NAMES.match(k) for k in state):
        return None  # MUNIT's have an encoder of styles, too
    width, channels = state[FIRST].shape[:2]
    convs = [k for k in state if re.fullmatch(r"enc_content\.model\.\d+\.conv\.weight", k)]
    halvings = len(convs) - 1
    inner = rf"enc_content\.model\.{halvings + 1}\.model"
    blocks = len({m[1] for k in state if (m := re.match(rf"{inner}\.(\d+)\.", k))})
    last = state[ends[-1]]
    net = resnet_cat.Generator(
        channels, len(last), width, halvings, blocks, style=last.shape[1] - width
    )
    places = {
        rf"{inner}\.(\d+)\.model\.(\d)\.conv\.(\w+)": "blocks.{}.convs.{}.{}",
        r"enc_content\.model\.(\d+)\.conv\.(\w+)": "down.{}.{}",
        r"dec\.(?:model\.0|resnet_block)\.model\.(\d+)\.model\.(\d)\.conv\.(\w+)": (
            "styled.{}.convs.{}.{}"
        ),
    }

    def ours(key: str) -> str:
        for pattern, place in places.items():
            if found := re.fullmatch(pattern, key):
                return place.format(*found.groups())
        # Without a style an enlargement is a layer of its own before each convolution.
        found = re.fullmatch(r"dec\.(?:model\.(\d+)|block_(\d+)(?:\.1)?)\.(conv|norm)\.(\w+)", key)
        if not found:
            return key
        number = int(found[2]) if found[2] else (int(found[1]) - 1) // 2
        name = {"gamma": "gain", "beta": "bias"}.get(found[4], found[4])
        if found[3] == "norm":
            return f"up_norms.{number}.{name}"
        return f"up.{number}.{name}" if number < halvings else f"output.{name}"

    return Found(net, {ours(k): v for k, v in state.items()})


FORMATS: dict[str, Format] = {
    "resnet_cat generator (taesungp/contrastive-unpaired-translation)": _generator
}
