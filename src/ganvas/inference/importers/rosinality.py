"""StyleGAN2 of rosinality/stylegan2-pytorch.

The networks are those of configuration F. That project follows no mean style: it takes
the mean of a few thousand when it truncates, or that of a converted file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.inference.importers.formats import (
    Format,
    Found,
    Setting,
    State,
    column,
    separable,
    unchanged,
)
from ganvas.nets import stylegan2
from ganvas.nets.layers import Blur, EqualizedLinear, MinibatchStdDev

STYLES = 4096  # that project's number, of which a mean is taken
STATE = ("input.input", "conv1.conv.weight", "conv1.conv.modulation.weight", "to_rgb1.conv.weight")


def _generator(state: State) -> Found | None:
    if not state.keys() >= set(STATE):
        return None
    flat = [state["conv1.conv.weight"]]
    flat += [v for k, v in state.items() if re.fullmatch(r"convs\.\d*[13579]\.conv\.weight", k)]
    style = state["conv1.conv.modulation.weight"].shape[1]
    net = stylegan2.Generator(
        latent=style,
        style=style,
        mapping=sum(bool(re.fullmatch(r"style\.\d+\.weight", k)) for k in state),
        size=4 << len(flat) - 1,
        channels=state["to_rgb1.conv.weight"].shape[1],
        widths=[v.shape[1] for v in flat],
        taps=taps(state, "convs", gain=4.0),
    )
    # Images are doubled by the usual filter, whatever that of the layers is.
    filter = taps(state, "to_rgbs", gain=4.0)
    net.synthesis.enlarge = Blur(filter, pad=len(filter) // 2 - 1, gain=4.0, up=True)
    weights: State = {}
    for key, value in state.items():
        if not key.endswith(".kernel"):
            name = _in_generator(key)
            weights[name] = _converted(name, value)
    for name, value in net.state_dict().items():
        if name.endswith(".noise.fixed") and name not in weights:  # of an early version
            generator = torch.Generator().manual_seed(value.shape[-1])
            weights[name] = torch.randn(value.shape, generator=generator, device="cpu")
    followed = "w_avg" in weights
    if not followed:
        weights["w_avg"] = torch.zeros(style, device="cpu")
        net.register_load_state_dict_post_hook(lambda net, _: _mean_style(net))
    # That project's programs leave its rate of the mapping network's layers as it is.
    rates = {str(lr): partial(_set_rate, lr=lr, follow=not followed) for lr in (0.01, 0.1, 1)}
    rate = Setting({**rates, "0.01": unchanged}, "0.01", announced=False)
    return Found(net, weights, settings={"lr_mlp": rate} if len(net.mapping.layers) else {})


def with_mean_style(parts: dict[str, State], mean: object) -> dict[str, State]:
    """Put the mean style of a converted file, which lies beside its parts, into them.

    mean: what the file has as its `latent_avg`
    """
    if not isinstance(mean, Tensor):
        return parts
    return {k: {**v, "latent_avg": mean} if "input.input" in v else v for k, v in parts.items()}


def _in_generator(key: str) -> str:
    """The name of a tensor in `stylegan2.Generator`."""
    if found := re.fullmatch(r"style\.(\d+)\.(\w+)", key):
        return f"mapping.layers.{int(found[1]) - 1}.{found[2]}"
    if found := re.fullmatch(r"noises\.noise_(\d+)", key):
        return f"synthesis.{_layer(int(found[1]) - 1)}.noise.fixed"
    head, _, rest = key.partition(".")
    number, _, inner = rest.partition(".")
    if head == "to_rgb1":
        place, rest = "to_rgb.0", rest
    elif head == "to_rgbs" and number.isdecimal():
        place, rest = f"to_rgb.{int(number) + 1}", inner
    elif head == "conv1":
        place = _layer(-1)
    elif head == "convs" and number.isdecimal():
        place, rest = _layer(int(number)), inner
    else:
        return {"input.input": "synthesis.const", "latent_avg": "w_avg"}.get(key, key)
    rest = rest.replace("conv.modulation.", "conv.style.").replace("activate.bias", "conv.bias")
    return f"synthesis.{place}.{rest.removeprefix('conv.') if place.startswith('to_rgb') else rest}"


def _layer(number: int) -> str:
    """The layer of that project's `convs`; -1: the first, before them."""
    return f"up.{number // 2}" if number >= 0 and number % 2 == 0 else f"flat.{(number + 1) // 2}"


def _converted(name: str, value: Tensor) -> Tensor:
    """Shapes and scales: there weights of demodulated layers are scaled, too."""
    if name.endswith((".conv.weight", "synthesis.const")) or ".to_rgb." in name:
        value = value[0] if value.dim() > 3 and len(value) == 1 else value
    if name.endswith(".conv.weight"):
        return value / math.sqrt(value[0].numel())
    if name.endswith(".noise.fixed"):
        return value.reshape(value.shape[-2:])
    if name.endswith(".noise.weight"):
        return value.reshape(())
    return value.flatten() if name.endswith(".bias") or name == "w_avg" else value


def _set_rate(net: nn.Module, lr: float, follow: bool) -> None:
    """Set the factor of the mapping network's weights and biases.

    follow: the mean style, too
    """
    assert isinstance(net, stylegan2.Generator)
    for layer in net.mapping.layers:
        assert isinstance(layer, EqualizedLinear)
        layer.scale *= lr / layer.lr
        layer.lr = lr
    if follow:
        _mean_style(net)


@torch.no_grad()
def _mean_style(net: nn.Module) -> None:
    """Take the mean of the styles of many latents, the same every time."""
    assert isinstance(net, stylegan2.Generator)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(STYLES, net.latent, generator=generator)
    net.w_avg.copy_(net.mapping.float()(z).mean(0))


def taps(state: State, layers: str, gain: float) -> Sequence[float]:
    """The filter of some layers: an even number of taps, the same from both ends.

    gain: its stored sum
    """
    filters = [v for k, v in state.items() if k.startswith(layers) and k.endswith(".kernel")]
    if not filters:
        return stylegan2.TAPS
    found = separable(filters, stylegan2.TAPS, f"{layers}' kernel")
    total = float(filters[0].sum())
    if abs(total - gain) > 1e-4:
        raise UserError(f"{layers}' kernel has a sum of {total:g}, expected {gain:g}")
    if len(found) % 2 or any(
        abs(a - b) > 1e-5 for a, b in zip(found, reversed(found), strict=True)
    ):
        raise UserError(
            f"{layers}' kernel has {len(found)} taps, expected an even number, the same from both "
            "ends"
        )
    return found


def _discriminator(state: State) -> Found | None:
    if not {"convs.0.0.weight", "final_conv.0.weight", "final_linear.1.weight"} <= state.keys():
        return None
    first, last = state["convs.0.0.weight"], state["final_conv.0.weight"]
    outs = [v for k, v in state.items() if re.fullmatch(r"convs\.\d+\.conv2\.1\.weight", k)]
    widths = [len(v) for v in (first, *outs)]
    net = stylegan2.Discriminator(
        size=4 << len(outs),
        channels=first.shape[1],
        widths=widths[::-1],
        taps=taps(state, "convs", gain=1.0),
        spread=last.shape[1] - widths[-1],
    )
    if isinstance(net.spread, MinibatchStdDev):
        net.spread.interleaved = True
    ends = {
        "convs.0.0": "from_rgb",
        "convs.0.1": "from_rgb",
        "final_conv.0": "last",
        "final_conv.1": "last",
        "final_linear.0": "dense",
        "final_linear.1": "output",
    }

    def ours(key: str) -> str:
        layer, _, name = key.rpartition(".")
        found = re.fullmatch(r"convs\.(\d+)\.(conv\d|skip)\.\d", layer)
        if found:
            return f"blocks.{int(found[1]) - 1}.{found[2]}.{name}"
        return f"{ends.get(layer, layer)}.{name}"

    weights = {
        ours(k): v.flatten() if k.endswith(".bias") else v  # CUT's are [1, C, 1, 1]
        for k, v in state.items()
        if not k.endswith(".kernel")
    }
    return Found(net, weights, column)


FORMATS: dict[str, Format] = {
    "StyleGAN2 generator (rosinality/stylegan2-pytorch)": _generator,
    "StyleGAN2 discriminator (rosinality/stylegan2-pytorch)": _discriminator,  # CUT's, too
}
