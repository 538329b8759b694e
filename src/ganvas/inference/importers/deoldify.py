"""DeOldify's U-Nets and critic (jantic/DeOldify), as fastai saved them."""

from __future__ import annotations

import re

from torch import nn

from ganvas.inference.importers.formats import Format, Found, Numbers, Setting, State
from ganvas.inference.importers.spectral import with_fixed_sigma
from ganvas.nets import deoldify


def _unet(state: State) -> Found | None:
    if (
        not {"layers.0.0.weight", "layers.3.0.0.weight_orig", "layers.11.0.weight_orig"}
        <= state.keys()
    ):
        return None
    deep = "layers.4.conv1.0.weight_orig" in state
    stages = [
        {int(k.split(".")[3]) for k in state if k.startswith(f"layers.0.{i}.")} for i in range(4, 8)
    ]
    basic = "layers.0.4.0.conv3.weight" not in state
    widths = [state[f"layers.0.{i}.0.conv1.weight"].shape[0] for i in range(4, 8)]
    conv = "conv1" if deep else "conv"
    net = deoldify.UNet(
        kind="deep" if deep else "wide",
        encoder="resnet34" if basic else "resnet101",
        stem=state["layers.0.0.weight"].shape[0],
        widths=widths,
        blocks=[len(stage) for stage in stages],
        decoder=[len(state[f"layers.{i}.{conv}.0.weight_orig"]) for i in range(4, 8)],
        attention=f"layers.5.conv{'2' if deep else ''}.3.gamma" in state,
        normalized=False,
    )
    g, v = (state[f"layers.8.conv.0.weight_{name}"] for name in "gv")
    plain = {k: x for k, x in with_fixed_sigma(state).items() if not k.endswith(".weight_g")}
    plain["layers.8.conv.0.weight"] = g * v / v.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    # (-limit, limit); `unet_learner_wide` and `unet_learner_deep` have none by default.
    ends = Numbers(_limit, above=True, words={"none": _unlimited})
    y_range = Setting(ends, f"{deoldify.RANGE:g}", announced=False)
    return Found(net, plain, settings={"y_range": y_range})


def _limit(net: nn.Module, limit: float | None) -> None:
    assert isinstance(net, deoldify.UNet)
    net.limit = limit


def _unlimited(net: nn.Module) -> None:
    _limit(net, None)


def _critic(state: State) -> Found | None:
    if not {"0.0.weight_orig", "4.2.gamma", "4.2.query.weight_orig"} <= state.keys():
        return None
    width, channels = state["0.0.weight_orig"].shape[:2]
    last = max(int(k.partition(".")[0]) for k in state if re.match(r"\d+\.", k))
    net = deoldify.Critic(channels, width, (last - 3) // 3, normalized=False)
    return Found(net, with_fixed_sigma(state))


FORMATS: dict[str, Format] = {
    "DeOldify U-Net (jantic/DeOldify)": _unet,
    "DeOldify critic (jantic/DeOldify)": _critic,
}
