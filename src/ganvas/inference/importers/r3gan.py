"""brownvc/R3GAN's networks, with or without labels."""

from __future__ import annotations

import re
from typing import Any

from ganvas.inference.importers.formats import Format, Found, Misfit, State, separable
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
    stages = _stages(state)
    embedding, classes = _labels(state)
    basis = state["Model.MainLayers.0.Layers.0.Basis"]
    widths = [len(basis)]
    for stage in stages[1:]:
        change = stage.get("0.LinearLayer.Layer.weight")
        widths.append(widths[-1] if change is None else len(change))
    net = r3gan.Generator(
        latent=state["Model.MainLayers.0.Layers.0.LinearLayer.weight"].shape[1] - embedding,
        size=_size(basis.shape[1:], len(stages)),
        channels=len(state["Model.AggregationLayer.Layer.weight"]),
        classes=classes,
        embedding=embedding,
        widths=widths,
        **_facts(stages, state),
    )
    names = {"AggregationLayer.Layer": "output", "MainLayers.0.Layers.0.LinearLayer": "input"}
    names |= {"MainLayers.0.Layers.0.Basis": "basis"}
    return Found(net, _ours(state, names, first=1, transition="resample.{before}.0.weight"))


def _discriminator(state: State) -> Found | None:
    if "Model.ExtractionLayer.Layer.weight" not in state:
        return None
    stages = _stages(state)
    facts = _facts(stages, state)
    end = f"MainLayers.{len(stages) - 1}.Layers.{facts['blocks'][-1]}"
    embedding, classes = _labels(state)
    widths = [len(state["Model.ExtractionLayer.Layer.weight"])]
    for stage, blocks in zip(stages[:-1], facts["blocks"], strict=False):
        change = stage.get(f"{blocks}.LinearLayer.Layer.weight")
        widths.append(widths[-1] if change is None else len(change))
    settings: dict[str, Any] = {  # those of a stage each, from 4x4 up
        k: v[::-1] if k in ("group", "blocks") else v for k, v in facts.items()
    }
    net = r3gan.Discriminator(
        size=_size(state[f"Model.{end}.Basis.weight"].shape[2:], len(stages)),
        channels=state["Model.ExtractionLayer.Layer.weight"].shape[1],
        classes=classes,
        embedding=embedding,
        widths=widths[::-1],
        **settings,
    )
    names = {
        "ExtractionLayer.Layer": "input",
        f"{end}.Basis": "basis",
        f"{end}.LinearLayer": "output",
    }
    return Found(net, _ours(state, names, first=0, transition="resample.{at}.1.weight"))


def _labels(state: State) -> tuple[int, int]:
    """(length of the classes' vectors, number of classes)."""
    table = state.get("Model.EmbeddingLayer.weight")
    return (0, 0) if table is None else (table.shape[0], table.shape[1])


def _stages(state: State) -> list[State]:
    """The tensors of each stage, by names that begin with the layer's number."""
    stages: dict[int, State] = {}
    for key, value in state.items():
        if m := STAGE.fullmatch(key):
            stages.setdefault(int(m[1]), {})[f"{m[2]}.{m[3]}"] = value
    if sorted(stages) != list(range(len(stages))):
        raise Misfit("the stages are not numbered from 0")
    return [stages[i] for i in range(len(stages))]


def _facts(stages: list[State], state: State) -> dict[str, Any]:
    """Settings of the blocks; those that may differ by stage as lists, in order."""
    grouped = [
        [v for k, v in stage.items() if k.endswith(".LinearLayer2.Layer.weight")]
        for stage in stages
    ]
    facts: dict[str, Any] = {
        "group": [inner[0].shape[1] if inner else 1 for inner in grouped],
        "blocks": [len(inner) for inner in grouped],
    }
    first = next((v for k, v in state.items() if k.endswith(".LinearLayer1.Layer.weight")), None)
    if first is not None:
        facts["expansion"] = first.shape[0] // first.shape[1]
        facts["kernel"] = next(inner for inner in grouped if inner)[0].shape[-1]
    filters = [v for k, v in state.items() if k.endswith(".Resampler.Kernel")]
    if filters:
        facts["taps"] = separable(filters, r3gan.SMOOTH, "Resampler.Kernel")
    return facts


def _size(grid: tuple[int, ...], levels: int) -> tuple[int, int]:
    return grid[0] << levels - 1, grid[1] << levels - 1


def _ours(state: State, names: dict[str, str], first: int, transition: str) -> State:
    """Rename to our names; `transition`: the place of a change of width."""
    renamed: State = {}
    for key, value in state.items():
        if key.endswith("Resampler.Kernel"):  # not a weight
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
