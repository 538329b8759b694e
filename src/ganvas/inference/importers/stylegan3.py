"""StyleGAN3 of NVlabs/stylegan3, whose layers' names carry sizes and widths."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from ganvas.inference.importers.formats import (
    MAX_TAPS,
    Format,
    Found,
    Misfit,
    Numbers,
    Setting,
    State,
)
from ganvas.inference.importers.stylegan2 import clamps, rates
from ganvas.nets import stylegan3
from ganvas.nets.stylegan3 import Geometry

LAYER = re.compile(r"synthesis\.L(\d+)_(\d+)_(\d+)\.(.+)")
FIRST_CUTOFF = 2.0  # of their first layer, in cycles per image


class _Layer(NamedTuple):
    """A layer by its name and tensors; `taps`: of its filters, 1 if it has none."""

    size: int
    channels: int
    name: str
    taps: tuple[int, int]
    radial: bool


def _generator(state: State) -> Found | None:
    if not {"synthesis.input.freqs", "mapping.w_avg"} <= state.keys():
        return None
    layers = _layers(state)
    style, last = len(state["mapping.w_avg"]), layers[-1]
    fc, embed = state.get("mapping.fc0.weight"), state.get("mapping.embed.weight")
    depth = len(layers) - 1
    rates_, product = _rates(layers)
    oversampling, cutoff = _first_filter(state, layers, rates_, product)
    radial = [i for i, layer in enumerate(layers) if layer.radial]
    net = stylegan3.Generator(
        latent=(style if fc is None else fc.shape[1]) - (0 if embed is None else len(embed)),
        style=style,
        mapping=sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", k)) for k in state),
        radial=bool(radial),
        kernel=state[f"{layers[0].name}.weight"].shape[-1],
        critical=depth - 1 - max(radial, default=depth),
        size=last.size,
        channels=last.channels,
        classes=0 if embed is None else embed.shape[1],
        filter_size=product // oversampling,
        lrelu_upsampling=oversampling,
        plan=[
            # The filters are those of the file, whatever these frequencies are.
            Geometry(rate / 4 if i else cutoff, rate / 2, rate, layer.size, layer.channels)
            for i, (rate, layer) in enumerate(zip(rates_, layers, strict=True))
        ],
    )
    own = net.state_dict()

    def ours(key: str) -> str:
        if m := LAYER.fullmatch(key):
            return f"synthesis.blocks.{m[1]}.{m[4].replace('magnitude_ema', 'magnitude')}"
        key = re.sub(r"^mapping\.fc(\d+)", r"mapping.layers.\1", key)
        return "w_avg" if key == "mapping.w_avg" else key

    renamed = {ours(k): v for k, v in state.items()}
    missing = {k: v for k, v in own.items() if k.endswith("_filter") and k not in renamed}
    renamed |= {k: v.new_ones(1, device="cpu") for k, v in missing.items()}
    settings = {
        "conv_clamp": clamps(_clamp, stylegan3.CLAMP),
        "output_scale": Setting(
            Numbers(_scale, above=True), f"{stylegan3.OUTPUT_SCALE:g}", announced=False
        ),
    }
    return Found(net, renamed, settings=settings | rates(state))


def _layers(state: State) -> list[_Layer]:
    """The layers in order, the one to RGB last.

    Raises `Misfit` if some are missing.
    """
    named = sorted({(int(m[1]), int(m[2]), int(m[3])) for k in state if (m := LAYER.fullmatch(k))})
    if [i for i, _, _ in named] != list(range(max(len(named), 3))):
        raise Misfit("the layers are not numbered from 0, or fewer than 3")
    found = []
    for i, size, channels in named:
        name = f"synthesis.L{i}_{size}_{channels}"
        up, down = (state.get(f"{name}.{kind}_filter") for kind in ("up", "down"))
        taps = (1 if up is None else len(up)), (1 if down is None else len(down))
        radial = down is not None and down.dim() == 2
        found.append(_Layer(size, channels, name, taps, radial))
    return found


def _rates(layers: Sequence[_Layer]) -> tuple[list[int], int]:
    """(sampling rate of every layer, filter_size times lrelu_upsampling).

    Sizes are powers of two, the rates, with the same margin on both sides; the last two
    are the image's. Filters have as many taps for each rate that they change by.
    """
    side = layers[-1].size
    most = 1 << max(side - 1, 1).bit_length()
    inner = [layer.size for layer in layers[:-2]]
    powers = [1 << n for n in range(most.bit_length())]
    # Of one size alone, any rate is possible: theirs is 16.
    for first in sorted(powers, key=lambda rate: (rate != 16, rate)):
        rates = [size - inner[0] + first for size in inner]
        margin = inner[0] - first
        if margin < 0 or margin % 2 or not set(rates) <= set(powers):
            continue
        for last in reversed([p for p in powers if p >= rates[-1]]):
            found = [*rates, last, most]
            if (product := _product(layers, found)) is not None:
                return found, product
    raise Misfit("the layers' sizes and filters follow no known rule")


def _product(layers: Sequence[_Layer], rates: Sequence[int]) -> int | None:
    """filter_size times lrelu_upsampling, or None if the filters have other lengths."""
    pairs = list(zip([rates[0], *rates], rates, layers[:-1], strict=False))
    same = next((layer.taps[0] for a, b, layer in pairs if a == b), 1)
    if same > 1:
        product, alone = same, same
    else:  # nothing is sampled higher for the nonlinearity alone
        doubled = next((layer.taps[0] * a // b for a, b, layer in pairs if a < b), stylegan3.TAPS)
        product, alone = max(doubled, 1), 1

    def taps(factor: int) -> int:
        return product * factor if factor > 1 else alone

    expected = [(taps(max(a, b) // a), taps(max(a, b) // b)) for a, b, _ in pairs]
    fits = expected == [layer.taps for *_, layer in pairs] and layers[-1].taps == (1, 1)
    return product if fits else None


def _first_filter(
    state: State, layers: Sequence[_Layer], rates: Sequence[int], product: int
) -> tuple[int, float]:
    """(lrelu_upsampling, cutoff of the input), which the first filter shows."""
    freqs = state["synthesis.input.freqs"].float()
    widest = float(freqs.norm(dim=1).max()) if freqs.numel() else 0.0
    usual = max(FIRST_CUTOFF, widest)
    taps = layers[0].taps[0]
    if taps == 1:
        return 1, usual
    if not 1 < taps <= MAX_TAPS:
        raise Misfit(f"{layers[0].name}.up_filter has {taps} taps, expected up to {MAX_TAPS}")
    stored, rate = state[f"{layers[0].name}.up_filter"].float(), rates[0]
    # Usual numbers first; a filter's cutoff is at least the input's largest frequency.
    possible = sorted((n for n in range(2, product + 1) if product % n == 0), key=lambda n: n != 2)
    for cutoff in (usual, None):
        for oversampling in possible:
            found = _cutoff(stored, oversampling, rate, widest) if cutoff is None else cutoff
            if found < rate / 2 and _distance(stored, found, oversampling, rate) < 1e-3:
                return oversampling, max(found, widest)
    return possible[0], usual


def _distance(stored: Tensor, cutoff: float, oversampling: int, rate: int) -> float:
    """The largest difference of a filter from that of a cutoff."""
    from scipy.signal import firwin

    width = 2 * (rate / 2 - cutoff)
    made = firwin(len(stored), cutoff, width=width, fs=rate * oversampling)
    return float(np.abs(made - stored.numpy()).max())


def _cutoff(stored: Tensor, oversampling: int, rate: int, least: float) -> float:
    """The cutoff of a filter."""
    from scipy.optimize import minimize_scalar

    def distance(cutoff: float) -> float:
        return _distance(stored, float(cutoff), oversampling, rate)

    low, high = max(least, rate / 100), rate / 2 * 0.99
    if low >= high:
        return math.inf
    step = (high - low) / 64
    near = min((low + step * i for i in range(65)), key=distance)
    bounds = max(low, near - step), min(high, near + step)
    found: Any = minimize_scalar(distance, bounds=bounds, method="bounded")
    return float(found.x)


def _clamp(net: nn.Module, clamp: float | None) -> None:
    for module in net.modules():
        if isinstance(module, stylegan3.SynthesisLayer):
            module.conv_clamp = clamp


def _scale(net: nn.Module, scale: float) -> None:
    for module in net.modules():
        if isinstance(module, stylegan3.Synthesis):
            module.output_scale = scale


FORMATS: dict[str, Format] = {"StyleGAN3 generator (NVlabs/stylegan3)": _generator}
