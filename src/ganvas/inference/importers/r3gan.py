"""brownvc/R3GAN's networks, with or without labels."""

from __future__ import annotations

import re

from ganvas.inference.importers.formats import Format, Found, State
from ganvas.nets import r3gan

STAGE = re.compile(r"Model\.MainLayers\.(\d+)\.Layers\.(\d+)\.(.+)")
BLOCK = {
    "LinearLayer1.Layer.weight": "conv1.weight",
    "LinearLayer2.Layer.weight": "conv2.weight",
    "LinearLayer3.Layer.weight": "conv3.weight",
    "NonLinearity1.Bias": "bias1",
    "NonLinearity2.Bias": "bias2",
}


def _generator(state: State) -> Found | None:
    if (
        not {"Model.MainLayers.0.Layers.0.Basis", "Model.AggregationLayer.Layer.weight"}
        <= state.keys()
    ):
        return None
    embedding, classes = (
        state["Model.EmbeddingLayer.weight"].shape
        if "Model.EmbeddingLayer.weight" in state
        else (0, 0)
    )
    facts = _facts(state, first=1)
    net = r3gan.Generator(
        latent=state["Model.MainLayers.0.Layers.0.LinearLayer.weight"].shape[1] - embedding,
        size=_size(state["Model.MainLayers.0.Layers.0.Basis"].shape[1:], len(facts["widths"])),
        channels=len(state["Model.AggregationLayer.Layer.weight"]),
        classes=classes,
        embedding=embedding,
        **facts,
    )
    names = {"AggregationLayer.Layer": "output", "MainLayers.0.Layers.0.LinearLayer": "input"}
    names |= {"MainLayers.0.Layers.0.Basis": "basis"}
    return Found(net, _ours(state, names, first=1, transition="resample.{before}.0.weight"))


def _discriminator(state: State) -> Found | None:
    if "Model.ExtractionLayer.Layer.weight" not in state:
        return None
    last = max(int(m[1]) for k in state if (m := STAGE.fullmatch(k)))
    facts = _facts(state, first=0)
    end = f"MainLayers.{last}.Layers.{facts['blocks']}"
    embedding, classes = (
        state["Model.EmbeddingLayer.weight"].shape
        if "Model.EmbeddingLayer.weight" in state
        else (0, 0)
    )
    net = r3gan.Discriminator(
        size=_size(state[f"Model.{end}.Basis.weight"].shape[2:], len(facts["widths"])),
        channels=state["Model.ExtractionLayer.Layer.weight"].shape[1],
        classes=classes,
        embedding=embedding,
        **{**facts, "widths": facts["widths"][::-1]},
    )
    names = {
        "ExtractionLayer.Layer": "input",
        f"{end}.Basis": "basis",
        f"{end}.LinearLayer": "output",
    }
    return Found(net, _ours(state, names, first=0, transition="resample.{at}.1.weight"))


def _facts(state: State, first: int) -> dict:
    """Settings of the blocks; `first`: the index of a stage's first block."""
    inner = [
        (m, v)
        for k, v in state.items()
        if (m := STAGE.fullmatch(k)) and m[3] == "LinearLayer2.Layer.weight"
    ]
    return {
        "widths": [v.shape[0] // r3gan.EXPANSION for m, v in inner if int(m[2]) == first],
        "group": inner[0][1].shape[1],
        "blocks": sum(int(m[1]) == 0 for m, _ in inner),
    }


def _size(grid: tuple[int, ...], levels: int) -> tuple[int, int]:
    return grid[0] << levels - 1, grid[1] << levels - 1


def _ours(state: State, names: dict[str, str], first: int, transition: str) -> State:
    """Rename to our names; `transition`: the place of a change of width."""
    renamed: State = {}
    for key, value in state.items():
        if key.endswith("Resampler.Kernel"):  # the same in every network
            continue
        layer, _, kind = key.removeprefix("Model.").rpartition(".")
        if layer in names:
            renamed[f"{names[layer]}.{kind}"] = value
        elif f"{layer}.{kind}" in names:
            renamed[names[f"{layer}.{kind}"]] = value
        elif layer == "EmbeddingLayer":
            renamed["embed.weight"] = value
        elif match := STAGE.fullmatch(key):
            at, place, what = int(match[1]), int(match[2]), match[3]
            inside = f"stages.{at}.{place - first}.{BLOCK[what]}" if what in BLOCK else None
            renamed[inside or transition.format(at=at, before=at - 1)] = value
        else:
            raise LookupError(f"{key} has no place")
    return renamed


FORMATS: dict[str, Format] = {
    "R3GAN generator (brownvc/R3GAN)": _generator,
    "R3GAN discriminator (brownvc/R3GAN)": _discriminator,
}
