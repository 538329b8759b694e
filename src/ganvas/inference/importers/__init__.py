"""Import other projects' checkpoints, recognized by keys and shapes alone.

Each module knows the layouts of one project. A format is a function (`formats.Format`);
each module lists its formats as `FORMATS`, and `FORMATS` here joins them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ganvas.core.errors import UserError, did_you_mean, printable
from ganvas.core.guards import plural
from ganvas.core.meta_device import on_meta
from ganvas.inference.importers import (
    basicsr,
    biggan,
    biggan_deep,
    by_spandrel,
    cogan,
    cut_stylegan2,
    dcgan,
    deoldify,
    diffusers,
    discogan,
    fastgan,
    mimicry,
    pgan,
    pix2pixhd,
    projected_gan,
    r3gan,
    resnet_cat,
    rosinality,
    singan,
    spade,
    stargan,
    stylegan,
    stylegan2,
    stylegan3,
    taming,
    translation,
    unit,
)
from ganvas.inference.importers.formats import Format, Found, State
from ganvas.inference.importers.instance_statistics import separated, with_statistics
from ganvas.inference.importers.options import Options, announce, apply
from ganvas.inference.importers.reading import read

FORMATS: dict[str, Format] = {
    **diffusers.FORMATS,
    **taming.FORMATS,
    **biggan.FORMATS,
    **biggan_deep.FORMATS,
    **cogan.FORMATS,
    **cut_stylegan2.FORMATS,
    **stargan.FORMATS,  # before DCGAN, whose names its generator without blocks has
    **dcgan.FORMATS,
    **deoldify.FORMATS,
    **discogan.FORMATS,
    **projected_gan.FORMATS,
    **fastgan.FORMATS,
    **mimicry.FORMATS,
    **pgan.FORMATS,
    **r3gan.FORMATS,
    **rosinality.FORMATS,
    **stylegan.FORMATS,
    **stylegan2.FORMATS,
    **stylegan3.FORMATS,
    **singan.FORMATS,
    **spade.FORMATS,
    **pix2pixhd.FORMATS,
    **resnet_cat.FORMATS,
    **translation.FORMATS,
    **unit.FORMATS,
    **basicsr.FORMATS,
}

LOG = logging.getLogger(__name__)
Result = Tensor | tuple[object, ...]  # of a network


class SeveralNetworks(UserError):
    """A file holds several networks, and none was chosen.

    parts: their names
    """

    def __init__(self, file: str, parts: Sequence[str]) -> None:
        super().__init__(f"{file} holds several networks; choose one with `part`: {_few(parts)}.")
        self.parts = parts


class Adapted(nn.Module):
    """A network with the input and output ranges of its own project."""

    def __init__(
        self,
        net: nn.Module,
        output_map: Callable[..., Result],
        input_map: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.output_map, self.input_map = output_map, input_map

    def forward(self, x: Tensor, *args: object, **kwargs: object) -> Result:
        """Call the network as in its own project, with the ranges of ganvas."""
        x = x if self.input_map is None else self.input_map(x)
        return self.output_map(self.net(x, *args, **kwargs))


def import_network(
    file: str | Path, part: str | None = None, options: Options | None = None
) -> nn.Module:
    """Import the network in another project's checkpoint (.pth, .pt or safetensors).

    file: may also be a folder with config.json: an autoencoder of diffusers, or a
        BigGAN-deep of pytorch-pretrained-BigGAN

    The network is in float32 on the CPU, in evaluation mode, and is called as in its
    own project. Only tensors are read, never code.

    part: which network, if the file holds several (`netG`, `avgG`, `params`, ...); by
        default the averaged one
    options: settings of the network that names and shapes do not show, by name. What
        is assumed instead is logged; what cannot be assumed must be given

    Progressive networks take `alpha`, the weight of the newest resolution, 1 by
    default; style-based generators take `truncation` (1), `noise` (one map per layer;
    by default constant) and labels as numbers or weights.

    Raises `UserError` with the file's contents if it is not a checkpoint, or not in one
    of the `FORMATS`; for unknown options and for those that are needed.
    """
    weights, settings = described(Path(file))
    options = {**settings, **(options or {})}
    name, found = recognized(read_state(weights, part), str(file))
    found, _ = apply(found, options, name, str(file))
    announce(found, options, name, str(file))
    net = found.net.float()
    if found.output_map is not None:
        net = Adapted(net, found.output_map, found.input_map)
    return net.eval()


def described(path: Path) -> tuple[Path, dict[str, str]]:
    """(file of weights, settings that config.json beside it holds) of a folder or file.

    A file without a description has no settings. Raises `UserError` for a folder whose
    description is of another network, or that has no weights.
    """
    return biggan_deep.opened(path) or diffusers.opened(path)


def read_state(file: str | Path, part: str | None = None, discriminator: bool = False) -> State:
    """The tensors that `import_network` imports, by their names in the file.

    discriminator: those of a discriminator, if the file has one beside its autoencoder
    """
    tensors = _part(read(Path(file)), part, file)
    if discriminator:
        tensors = _inner(tensors, taming.DISCRIMINATOR) or tensors
    state = _clean(tensors)
    if _is_known(state):
        return state
    return _prefixed(state, file) or state


def recognized(state: State, file: str) -> tuple[str, Found]:
    """(format, network with its weights) of tensors.

    The extra `spandrel` is asked after the `FORMATS`. Raises `UserError`, with the name
    `file`, for tensors that neither knows, and for tensors that resemble a format and
    do not fit it.
    """
    file = printable(file)
    state, statistics = separated(_clean(state))  # a file may be in another order
    for name, recognize in FORMATS.items():
        found = _recognize(recognize, state)
        if found is None:
            continue
        why = found if isinstance(found, str) else _filled(found, state)
        if isinstance(found, str) or why is not None:
            raise UserError(f"{file} looks like a {name}, but its layers do not fit: {why}")
        return name, with_statistics(found, statistics)
    if (other := by_spandrel.recognized(state)) is not None:
        return other
    beginning = ", ".join(
        f"{printable(k)[:100]} {list(v.shape)}" for k, v in list(state.items())[:4]
    )
    raise UserError(
        f"{file} holds {plural(len(state), 'tensor')} in no known format, among them {beginning}. "
        "The pages in docs/methods name the projects whose weights are known. "
        f"{by_spandrel.unavailable() or 'spandrel does not know it either.'}"
    )


def _is_known(state: State) -> bool:
    """Whether tensors resemble a format."""
    tensors, _ = separated(state)
    return bool(tensors) and any(_recognize(recognize, tensors) for recognize in FORMATS.values())


def _recognize(recognize: Format, state: State) -> Found | str | None:
    """Apply a format: a network, why the tensors do not fit, or None."""
    try:
        with on_meta():  # no memory or random numbers for weights that are replaced
            return recognize(state)
    except Exception as e:  # tensors of any shape may have a format's names
        LOG.debug("a format failed", exc_info=e)
        if isinstance(e, UserError):
            return printable(e)[:200]
        return "their names, numbers or shapes are those of no form of it that is known"


def _filled(found: Found, state: State) -> str | None:
    """Load the weights. Returns why they do not fit, in the file's names, or None."""
    theirs = {id(v): k for k, v in state.items()}
    names = {ours: theirs[id(v)] for ours, v in found.state.items() if id(v) in theirs}
    layers = {ours.rpartition(".")[0]: key.rpartition(".")[0] for ours, key in names.items()}

    def named(ours: str) -> str:
        layer, _, last = ours.rpartition(".")
        return printable(names.get(ours) or f"{layers.get(layer, layer)}.{last}")[:150]

    own = found.net.state_dict()
    faults = [
        f"{named(k)} is {list(v.shape)}, expected {list(own[k].shape)}"
        for k, v in found.state.items()
        if k in own and own[k].shape != v.shape
    ]
    faults += [
        f"{named(k)} is {str(v.dtype).removeprefix('torch.')}, expected floating point"
        for k, v in found.state.items()
        if k in own and own[k].is_floating_point() and not v.is_floating_point()
    ]
    if not faults:
        missing, unexpected = found.net.load_state_dict(found.state, strict=False, assign=True)
        faults = [f"{named(k)} is missing" for k in missing] + [
            f"{named(k)} has no place" for k in unexpected
        ]
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    return ", ".join(faults[:3]) + more if faults else None


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def _part(loaded: Any, part: str | None, file: str | Path) -> Mapping[str, Tensor]:
    """Select a state dict from a bare one or from a checkpoint with several."""
    if part is None and _is_state(loaded):
        return loaded
    file = printable(file)
    parts = (
        rosinality.with_mean_style(
            {str(k): v for k, v in loaded.items() if _is_state(v)}, loaded.get("latent_avg")
        )
        if isinstance(loaded, Mapping)
        else {}
    )
    if part is not None:
        whole = loaded if _is_state(loaded) else parts.get("state_dict", {})
        parts = {**_groups(whole), **parts}
        if part not in parts and (below := _inner(whole, part)):
            return below
        if part not in parts:
            has = did_you_mean(part, map(printable, parts)) if parts else "It has no parts."
            raise UserError(f"{file} has no part {part!r}. {has[:500]}")
        return parts[part]
    if not parts:
        raise UserError(
            f"{file} holds no weights: expected tensors by name, got {type(loaded).__name__}."
        )
    if len(parts) == 1:
        return next(iter(parts.values()))
    for averaged in ("avgG", "G_ema", "g_ema", "params_ema"):
        if averaged in parts:
            return parts[averaged]
    if parts.keys() == {"a", "b"} and all(unit.is_autoencoder(p) for p in parts.values()):
        return {
            f"{part}.{k}": v for part, state in parts.items() for k, v in state.items()
        }  # UNIT's two are one translator
    raise SeveralNetworks(file, [*parts])


def _few(names: Iterable[str]) -> str:
    names = [printable(n)[:100] for n in names]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _groups(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Split a module's state dict by the names of its children.

    "generator.conv.weight" belongs to "generator".
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        child, dot, rest = _stripped(key).partition(".")
        if dot:
            groups.setdefault(child, {})[rest] = value
    return groups


def _inner(state: Mapping[str, Tensor], module: str) -> dict[str, Tensor]:
    """The tensors of a module, such as "loss.discriminator", by their names in it."""
    prefix = f"{module}."
    return {
        key.removeprefix(prefix): value
        for name, value in state.items()
        if (key := _stripped(name)).startswith(prefix)
    }


def _prefixed(state: State, file: str | Path) -> State | None:
    """Find a known network in the state dict of a larger module.

    For Lightning's checkpoints. Prefers generators. None if no known network is
    found.
    """
    for _ in range(3):  # children of children
        groups = {name: _clean(group) for name, group in _groups(state).items()}
        known = [n for n, g in groups.items() if _is_known(g)]
        generators = [
            n
            for n in known
            if re.search(r"^(net_?)?g(en)?\d?(_|$)|generator|ema", n, re.IGNORECASE)
        ]
        averaged = [n for n in generators if "ema" in n.lower()]
        for choice in (averaged, generators, known):
            if len(choice) == 1:
                return groups[choice[0]]
        if known:
            raise SeveralNetworks(printable(file), known)
        if len(groups) != 1:
            return None
        state = next(iter(groups.values()))
    return None


def _stripped(key: str) -> str:
    """Strip the prefixes of nn.DataParallel and torch.compile, in any order."""
    return re.sub(r"^(module\.|_orig_mod\.)+", "", key)


def _clean(state: Mapping[str, Tensor]) -> State:
    """Strip prefixes and sort tensors in natural order, which safetensors changes."""
    if all(_stripped(k) != k for k in state):
        state = {_stripped(k): v for k, v in state.items()}
    state = taming.network_of(state)

    def natural(key: str) -> list[str | tuple[int, str]]:
        """Sort key with numbers by value: length first, int() rejects long numbers."""
        parts = re.split(r"([0-9]+)", key)
        return [(len(s.lstrip("0")), s.lstrip("0")) if i % 2 else s for i, s in enumerate(parts)]

    return {k: state[k] for k in sorted(state, key=natural)}
