"""mingyuliutw/UNIT's networks; a file holds the generators of both domains."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from ganvas.inference.importers.formats import (
    Format,
    Found,
    Setting,
    State,
    convolutions,
    unchanged,
)
from ganvas.nets import munit, unit
from ganvas.nets.norm import BatchNorm2d, InstanceNorm2d


class Translator(nn.Module):
    """Encoders and decoders of domains a and b: images of a -> images of b.

    `E` and `G` take a domain, 0 or 1.

    channels: of images of a, and of images of b
    """

    def __init__(self, channels: Sequence[int], E: nn.Module, G: nn.Module) -> None:
        super().__init__()
        self.E, self.G = E, G
        self.channels, self.channels_b = channels

    def forward(self, x: Tensor, *style: Tensor) -> Tensor:
        """Images of a [N, C, H, W] to images of b, without noise.

        style: [N, d] of the images of b, by default 0, if the decoders take one
        """
        return self.G(self.E(x, 0), 1, *style)


class VAE(nn.Module):
    """The autoencoder of one domain: images -> (reconstructions, latents)."""

    def __init__(self, E: unit.Encoders, G: unit.Decoders) -> None:
        super().__init__()
        self.E, self.G = E, G

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct images x [N, C, H, W], without noise."""
        latents = self.E(x, 0)
        return self.G(latents, 0), latents


def is_autoencoder(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of one domain's generator."""
    return not {"enc.model.0.conv.weight", "enc_content.model.0.conv.weight"}.isdisjoint(state)


def _vae(state: State) -> Found | None:
    """The generators of both domains, or of one."""
    domains = [d for d in ("a.", "b.") if f"{d}enc.model.0.conv.weight" in state]
    if not domains and "enc.model.0.conv.weight" in state:
        domains = [""]
    if domains not in ([""], ["a.", "b."]):
        return None
    prefix = domains[0]
    halvings, blocks = _sizes(state, f"{prefix}enc")
    first = [state[f"{d}enc.model.0.conv.weight"].shape for d in domains]
    width, channels = first[0][0], [shape[1] for shape in first]
    E = unit.Encoders(channels, width, halvings, blocks, shared=0, domains=len(domains))
    G = unit.Decoders(channels, E.latent, halvings, blocks, shared=0, domains=len(domains))

    def ours(key: str) -> str:
        """Convert indices: ours count every padding, norm and activation too."""
        domain, key = ("ab".index(key[0]), key[2:]) if prefix else (0, key)
        side, _, number, *rest = key.split(".")
        layer, name, own = int(number), rest[-1], f"own.{domain}"
        if side == "enc":
            return f"E.{own}.{_encoded(layer, halvings, rest)}.{name}"
        if layer == 0:
            return f"G.{own}.{_in_block(0, rest)}.{name}"
        return f"G.{own}.{_decoded(layer, halvings, blocks, rest)}"

    net = Translator(channels, E, G) if prefix else VAE(E, G)
    if _parametric(state):
        _activate(net, nn.PReLU)
    return Found(net, {ours(k): v for k, v in state.items()}, settings=_settings(state))


def _sizes(state: State, encoder: str) -> tuple[int, int]:
    """(halvings, residual blocks) of an encoder."""
    convs = rf"{re.escape(encoder)}\.model\.(\d+)\.conv\.weight"
    halvings = sum(bool(re.fullmatch(convs, k)) for k in state) - 1
    inner = rf"{re.escape(encoder)}\.model\.{halvings + 1}\.model\.(\d+)\."
    return halvings, len({m[1] for k in state if (m := re.match(inner, k))})


def _in_block(first: int, rest: list[str]) -> str:
    """Convert `model.I.model.J.conv.weight`: residual block I, convolution J."""
    layer = 4 * int(rest[3]) + 1 + 2 * (rest[-2] == "activation")
    return f"{first + int(rest[1])}.main.{layer}"


def _encoded(layer: int, halvings: int, rest: list[str]) -> str:
    """The place of a layer in an encoder: pad, convolution, norm, ReLU take turns."""
    if layer > halvings:
        return _in_block(4 * (halvings + 1), rest)
    return f"{4 * layer + 1 + 2 * (rest[-2] == 'activation')}"


def _decoded(layer: int, doublings: int, blocks: int, rest: list[str]) -> str:
    """The place of a decoder's tensor after its `blocks`.

    Theirs alternate an enlargement and a convolution.
    """
    last = 2 * doublings + 1
    at = blocks + (5 * (layer // 2 - 1) + 2 if layer < last else 5 * doublings + 1)
    if rest[-1] in ("gamma", "beta"):
        return f"{at + 1}.{'gain' if rest[-1] == 'gamma' else 'bias'}"
    return f"{at + 2 * (rest[-2] == 'activation')}.{rest[-1]}"


def _parametric(state: State) -> bool:
    """Whether the activations are PReLU."""
    return any(k.endswith(".activation.weight") for k in state)


def _adain(state: State) -> Found | None:
    """MUNIT's generators of both domains, or of one."""
    first = "enc_content.model.0.conv.weight"
    if all(f"{d}.{first}" in state for d in "ab"):
        nets, named = [], {}
        for domain in "ab":
            net, renamed = _autoencoder(
                {k[2:]: v for k, v in state.items() if k.startswith(f"{domain}.")}
            )
            nets.append(net)
            for side in "EG":  # both hold both autoencoders
                named |= {f"{side}.{domain}.{k}": v for k, v in renamed.items()}
        channels = [state[f"{d}.{first}"].shape[1] for d in "ab"]
        net = Translator(channels, munit.Contents(*nets), munit.Decoders(*nets))
        return Found(net, named, settings=_settings(state))
    if first not in state or "enc_style.model.0.conv.weight" not in state:
        return None
    net, renamed = _autoencoder(state)
    return Found(net, renamed, settings=_settings(state))


def _autoencoder(state: State) -> tuple[munit.Autoencoder, State]:
    halvings, blocks = _sizes(state, "enc_content")
    width, channels = state["enc_content.model.0.conv.weight"].shape[:2]
    style_halvings, _ = _sizes(state, "enc_style")
    hidden, style = state["mlp.model.0.fc.weight"].shape
    net = munit.Autoencoder(channels, width, style, halvings, blocks, hidden, style_halvings)

    def ours(key: str) -> str:
        side, _, number, *rest = key.split(".")
        layer, name = int(number), rest[-1]
        activation = rest[-2:-1] == ["activation"]
        if side == "mlp":
            return f"mlp.{2 * layer + activation}.{name}"
        if side == "enc_style":
            last = 3 * (style_halvings + 1) + 1  # after the mean over pixels
            place = 3 * layer + 1 + activation if layer <= style_halvings else last
            return f"styles.{place}.{name}"
        if side == "enc_content":
            return f"content.own.0.{_encoded(layer, halvings, rest)}.{name}"
        if layer == 0 and activation:
            return f"blocks.{rest[1]}.activation.{name}"
        if layer == 0:
            return f"blocks.{rest[1]}.{'second' if int(rest[3]) else 'first'}.1.{name}"
        return f"decoder.own.0.{_decoded(layer, halvings, 0, rest)}"

    if _parametric(state):
        _activate(net, nn.PReLU)
    return net, {ours(k): v for k, v in state.items()}


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "lrelu": partial(nn.LeakyReLU, 0.2),
    "selu": nn.SELU,
    "tanh": nn.Tanh,
    "none": nn.Identity,
}
PADDINGS: dict[str, Callable[[int], nn.Module]] = {
    "reflect": nn.ReflectionPad2d,
    "replicate": nn.ReplicationPad2d,
    "zero": nn.ZeroPad2d,
}


def _settings(state: State, activation: str = "relu") -> dict[str, Setting]:
    """Activation and padding; those of that project's settings are assumed."""
    readings = {k: partial(_activate, make=make) for k, make in ACTIVATIONS.items()}
    paddings = {k: partial(_pad, make=make) for k, make in PADDINGS.items()}
    settings = {"pad_type": Setting({**paddings, "reflect": unchanged}, "reflect")}
    if not _parametric(state):
        settings["activ"] = Setting({**readings, activation: unchanged}, activation)
    return settings


def _activate(net: nn.Module, make: Callable[[], nn.Module]) -> None:
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU | nn.LeakyReLU):
                module.add_module(name, make())


def _pad(net: nn.Module, make: Callable[[int], nn.Module]) -> None:
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReflectionPad2d):
                module.add_module(name, make(child.padding[0]))


def _discriminator(state: State) -> Found | None:
    if not all(re.fullmatch(r"cnns\.\d+\.\d+(\.(conv|norm|activation))?\.\w+", k) for k in state):
        return None
    scales = len({k.split(".")[1] for k in state})
    kernels = convolutions(state)
    layers = len(kernels) // scales - 1
    width, channels = kernels[0].shape[:2]
    norm = None
    if any(k.endswith(".norm.running_mean") for k in state):
        norm = BatchNorm2d
    elif any(k.endswith(".norm.gamma") for k in state):
        norm = unit.LayerNorm
    net = unit.MultiscaleDiscriminator(channels, width, layers, scales, norm)
    step = 4 if norm else 3

    def ours(key: str) -> str:
        _, scale, number, *rest = key.split(".")
        layer, name = int(number), {"gamma": "gain", "beta": "bias"}.get(rest[-1], rest[-1])
        first = 3 + step * (layer - 1) if layer else 0  # the first has no norm
        after = {"norm": 1, "activation": step - 2 if layer else 1}.get(rest[0], 0)
        return f"scales.{scale}.{first + (layer < layers) + after}.{name}"

    if _parametric(state):
        _activate(net, nn.PReLU)
    settings = _settings(state, "lrelu")
    if norm is None:
        norms = {"none": unchanged, "in": _normalize}
        settings["norm"] = Setting(norms, "none")
    return Found(net, {ours(k): v for k, v in state.items()}, settings=settings)


def _normalize(net: nn.Module) -> None:
    """Add instance norms, which have no weights, after convolutions but the first."""
    assert isinstance(net, unit.MultiscaleDiscriminator)
    for scale in net.scales:
        assert isinstance(scale, nn.Sequential)
        for i, layer in list(enumerate(scale))[4:-1]:
            if isinstance(layer, nn.Conv2d):
                scale[i] = nn.Sequential(layer, InstanceNorm2d(layer.out_channels))


FORMATS: dict[str, Format] = {
    "UNIT generators (mingyuliutw/UNIT)": _vae,
    "AdaIN generators (mingyuliutw/UNIT)": _adain,
    "UNIT discriminator (mingyuliutw/UNIT)": _discriminator,
}
