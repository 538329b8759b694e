"""StyleGAN3 of NVlabs/stylegan3, whose layers' names carry sizes and widths."""

from __future__ import annotations

import re

from ganvas.inference.importers.formats import Format, Found, Misfit, State
from ganvas.nets import stylegan3

LAYER = re.compile(r"synthesis\.L(\d+)_(\d+)_(\d+)\.(.+)")


def _generator(state: State) -> Found | None:
    if not {"synthesis.input.freqs", "mapping.w_avg", "mapping.fc0.weight"} <= state.keys():
        return None
    layers = sorted({(int(m[1]), int(m[2]), int(m[3])) for k in state if (m := LAYER.fullmatch(k))})
    length, inputs = state["mapping.fc0.weight"].shape
    embed = state.get("mapping.embed.weight")
    _, side, channels = layers[-1]
    first = state[f"synthesis.L0_{layers[0][1]}_{layers[0][2]}.weight"]
    net = stylegan3.Generator(
        latent=inputs - (0 if embed is None else len(embed)),
        style=length,
        mapping=sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", k)) for k in state),
        depth=len(layers) - 1,
        base=_base(side, layers),
        width=layers[0][2],
        radial=first.shape[-1] == 1,
        size=side,
        channels=channels,
        classes=0 if embed is None else embed.shape[1],
    )
    own = net.state_dict()

    def ours(key: str) -> str:
        if m := LAYER.fullmatch(key):
            return f"synthesis.blocks.{m[1]}.{m[4].replace('magnitude_ema', 'magnitude')}"
        key = re.sub(r"^mapping\.fc(\d+)", r"mapping.layers.\1", key)
        return "w_avg" if key == "mapping.w_avg" else key

    renamed = {ours(k): v for k, v in state.items()}
    missing = {k: v for k, v in own.items() if k.endswith("_filter") and k not in renamed}
    return Found(net, renamed | {k: v.new_ones(1, device="cpu") for k, v in missing.items()})


def _base(side: int, layers: list[tuple[int, int, int]]) -> int:
    """The width at frequency 1 of which the layers' widths are made.

    It shows in those narrower than the widest: c = rint(base / 2 / cutoff).
    """
    depth, widest = len(layers) - 1, layers[0][2]
    for base in (1 << n for n in range(4, 20)):
        plan = stylegan3.geometry(side, layers[-1][2], depth, base, widest)
        if [g.channels for g in plan] == [channels for _, _, channels in layers]:
            return base
    raise Misfit("the layers' widths follow no known rule")


FORMATS: dict[str, Format] = {"StyleGAN3 generator (NVlabs/stylegan3)": _generator}
