"""Projected GAN of autonomousvision/projected-gan, with FastGAN's generators.

Its StyleGAN2 generator has the layout of `stylegan`. The network whose features are
projected is that of timm and is not read.
"""

from __future__ import annotations

import re

import torch

from ganvas.core.errors import UserError
from ganvas.inference.importers.formats import Format, Found, State
from ganvas.inference.importers.spectral import with_fixed_sigma
from ganvas.nets import projected_gan

LITE = {"1": "convs.0", "2": "norms.0"}
NOISY = {
    "1": "convs.0", "2": "noises.0", "3": "norms.0", "5": "convs.1", "6": "noises.1", "7": "norms.1"
}  # fmt: skip
CONDITIONAL = {"conv": "convs.0", "conv1": "convs.0", "conv2": "convs.1", "noise": "noise"}
NORMS = {"bn": "norms.0", "bn1": "norms.0", "bn2": "norms.1"}
STATISTICS = {"stored_mean": "norm.running_mean", "stored_var": "norm.running_var"}


def _generator(state: State) -> Found | None:
    if not {"init.init.0.weight_orig", "to_big.bias", "to_big.weight_orig"} <= state.keys():
        return None
    latent, features = state["init.init.0.weight_orig"].shape[:2]
    width = features // 32
    channels, last = state["to_big.weight_orig"].shape[:2]
    classes = len(state["embed.weight"]) if "embed.weight" in state else 0
    side = _side(state, width, last)
    lite = not any(k in state for k in ("feat_8.5.weight_orig", "feat_8.conv2.weight_orig"))
    net = projected_gan.Generator(latent, width, side, channels, lite, classes)
    layers = LITE if lite else NOISY

    def ours(key: str) -> str:
        head, _, rest = key.partition(".")
        layer, _, name = rest.rpartition(".")
        if head == "init":
            return f"{'start' if layer == 'init.0' else 'start_norm'}.{name}"
        if head.startswith("se_"):
            part = {"main.1": "squeeze", "main.3": "weight"}.get(layer, layer)
            return f"excitations.{head[3:]}.{part}.{name}"
        if not head.startswith("feat_"):
            return f"{'to_image' if head == 'to_big' else head}.{rest}"
        first, _, inner = layer.partition(".")
        if not classes:
            place = layers.get(layer, layer)
        elif first in NORMS:
            place, name = f"{NORMS[first]}.{inner}".rstrip("."), STATISTICS.get(name, name)
        else:
            place = CONDITIONAL.get(layer, layer)
        return f"blocks.{head[5:]}.{place}.{name}"

    unused = tuple(f"{kind}_{s}." for s in (256, 512, 1024) if s > side for kind in ("feat", "se"))
    state = {k: v for k, v in state.items() if not k.startswith(unused)}
    weights = {ours(k): v for k, v in with_fixed_sigma(state, ("init.init.0",)).items()}
    for name, _ in net.named_buffers():
        if classes and name.endswith("num_batches_tracked"):  # not followed there
            weights.setdefault(name, torch.zeros((), dtype=torch.int64, device="cpu"))
    return Found(net, weights)


def _side(state: State, width: int, last: int) -> int:
    """The side of the images; `last`: channels before them.

    Up to 256 px that project builds the same layers, of which a smaller image takes
    some.
    """
    for side in (1024, 512):
        if f"feat_{side}.1.weight_orig" in state:
            return side
    wanted = {int(projected_gan.WIDTHS[side] * width): side for side in (128, 256)}
    if last not in wanted:
        raise UserError(
            f"to_big.weight_orig takes {last} channels; expected "
            f"{' or '.join(f'{n} ({side} px)' for n, side in wanted.items())}. That project "
            "builds generators of smaller images, and cannot run them"
        )
    return wanted[last]


def _discriminator(state: State) -> Found | None:
    if not all(re.match(r"mini_discs\.\d+\.(main|cls|embed|embed_proj)\.", k) for k in state):
        return None
    separable = any(".depthwise." in k for k in state)
    patch = any(re.match(r"mini_discs\.\d+\.main\.\d+\.main\.0\.main\.", k) for k in state)
    parts: dict[str, State] = {}
    for key, value in with_fixed_sigma(state).items():
        _, number, rest = key.split(".", 2)
        parts.setdefault(number, {})[rest] = value
    if list(parts) != [str(i) for i in range(len(parts))]:
        raise UserError(f"mini_discs are {', '.join(parts)[:100]}, not numbered from 0")
    nets, weights = [], {}
    for number, part in parts.items():
        renamed = {_in_map(k, separable, patch): v for k, v in part.items()}
        nets.append(_map_discriminator(renamed, separable, patch))
        weights |= {f"discriminators.{number}.{k}": v for k, v in renamed.items()}
    return Found(projected_gan.Discriminator(nets), weights)


def _in_map(key: str, separable: bool, patch: bool) -> str:
    """The name of a tensor in `MapDiscriminator`."""
    layer, _, name = key.rpartition(".")
    ends = {"cls": "head", "embed": "embed", "embed_proj.0": "project"}
    if layer in ends:
        return f"{ends[layer]}.{name}"
    _, block, *inner = layer.split(".")
    if not inner:  # the last layer
        return f"head.{name}"
    layers = (
        {"main.0.depthwise": 0, "main.0.pointwise": 1, "main.1": 2}
        if separable
        else {"main.0": 0, "main.1": 1}
    )
    if patch:
        size = 5 if separable else 3  # layers of a halving
        layers = {f"main.0.{k}": i for k, i in layers.items()}
        layers |= {"main.1": size, "main.2": size + 1}
    place = ".".join(inner)
    return f"blocks.{block}.{layers.get(place, place)}.{name}"


def _map_discriminator(
    weights: State, separable: bool, patch: bool
) -> projected_gan.MapDiscriminator:
    """The network that has these weights, by their names in it."""
    kernel = rf"blocks\.\d+\.{int(separable)}\.weight"
    kernels = [v for k, v in weights.items() if re.fullmatch(kernel, k)]
    head, embed = weights.get("head.weight"), weights.get("embed.weight")
    if head is None:
        raise UserError("a discriminator's last convolution is missing")
    widths = [k.shape[1] for k in (*kernels, head)]
    classes, embedding = (0, 0) if embed is None else embed.shape
    return projected_gan.MapDiscriminator(widths, separable, patch, classes, embedding, len(head))


def _projection(state: State) -> Found | None:
    names = r"layer\d_(ccm|csm\.out_conv)\.(weight|bias)"
    if "layer0_ccm.weight" not in state or not all(re.fullmatch(names, k) for k in state):
        return None
    kernels = [v for k, v in state.items() if k.endswith("_ccm.weight")]
    net = projected_gan.RandomProjection(
        [k.shape[1] for k in kernels],
        len(kernels[0]),
        expand=len(kernels[-1]) != len(kernels[0]),
        scales=any("_csm." in k for k in state),
    )
    kinds = {"ccm": "mix", "csm": "fuse"}

    def ours(key: str) -> str:
        return f"{kinds[key[7:10]]}.{key[5]}.{key.rpartition('.')[2]}"

    return Found(net, {ours(k): v for k, v in state.items()})


FORMATS: dict[str, Format] = {
    "FastGAN generator (autonomousvision/projected-gan)": _generator,
    "projected GAN discriminator (autonomousvision/projected-gan)": _discriminator,
    "projected GAN random projection (autonomousvision/projected-gan)": _projection,
}
