"""Networks from other projects' checkpoints, recognised by their keys and shapes alone: nobody types an architecture.

A file of this folder knows one project's layouts. A format is a function (`formats.Format`); each file lists its own as
`FORMATS`, and a new one joins below."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.errors import UserError, did_you_mean
from ganvas.importing import basicsr, biggan, cogan, dcgan, discogan, mimicry, pgan, r3gan, stylegan, translation, unit
from ganvas.importing.formats import Format, Found, State

FORMATS: dict[str, Format] = {
    **biggan.FORMATS,
    **cogan.FORMATS,
    **dcgan.FORMATS,
    **discogan.FORMATS,
    **mimicry.FORMATS,
    **pgan.FORMATS,
    **r3gan.FORMATS,
    **stylegan.FORMATS,
    **translation.FORMATS,
    **unit.FORMATS,
    **basicsr.FORMATS,
}


class Answering(nn.Module):
    """A network of ours that answers as its origin does: called like it, output in the origin's shape and range."""

    def __init__(
        self, net: nn.Module, answer: Callable[[Any], Any], ask: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.net = net
        self.answer, self.ask = answer, ask

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return self.answer(self.net(x if self.ask is None else self.ask(x), *args, **kwargs))


def import_network(file: str | Path, part: str | None = None) -> nn.Module:
    """The network in another project's checkpoint (.pth, .pt or safetensors), in float32 on the CPU, in evaluation
    mode, to be called as its own project calls it. Only tensors are read, never code.

    `part`: which network, where the file holds several (`netG`, `avgG`, `params`, ...); by default the averaged one.
    Progressive networks take `alpha`, the newest resolution's weight, 1 by default; style-based generators `truncation` (1),
    `noise` (one map a layer; by default fixed ones) and labels as numbers or weights. A `UserError` says what the file
    holds where it is no checkpoint, or none of the `FORMATS`."""
    _, found = recognised(read_state(file, part), str(file))
    net = found.net.float()
    return (net if found.answer is None else Answering(net, found.answer, found.ask)).eval()


def read_state(file: str | Path, part: str | None = None) -> State:
    """The tensors of the network that `import_network` would take, by their names in the file."""
    return _clean(_part(_read(Path(file)), part, file))


def recognised(state: State, file: str) -> tuple[str, Found]:
    """(format, the network with its weights) of tensors. Raises `UserError`, which names `file`, where they are none of the
    `FORMATS`, or look like one and do not fit it."""
    state = _clean(state)  # the order of a saved file may be another
    for name, recognise in FORMATS.items():
        try:
            with torch.device("meta"):  # neither memory nor random numbers for weights that are replaced at once
                found = recognise(state)
            if found is None:
                continue
            found.net.load_state_dict(found.state, assign=True)
            return name, found
        except (LookupError, ValueError, RuntimeError) as e:
            why = " ".join(str(e).split())[:400]
            raise UserError(f"{file} looks like a {name}, but its layers do not fit one: {why}") from None
    beginning = ", ".join(f"{k} {list(v.shape)}" for k, v in list(state.items())[:4])
    raise UserError(
        f"{file} holds {len(state)} tensors in no format known here; they begin {beginning}. "
        f"Known: {'; '.join(FORMATS)}."
    )


def _read(file: Path) -> Any:
    try:
        with file.open("rb") as f:
            head = f.read(9)
    except OSError as e:
        raise UserError(f"{file} cannot be read: {e.strerror or e}.") from None
    try:
        if head[8:9] == b"{":  # safetensors: eight bytes of length, then JSON
            from safetensors.torch import load_file

            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as e:  # a broken file may fail in any way inside the readers
        if isinstance(e, pickle.UnpicklingError) and re.search("Unsupported (global|class)", str(e)):
            raise UserError(
                f"{file} holds Python objects besides tensors, which are not loaded because they could run code. Where "
                "you trust it, load it in its own project and save only the state dict: "
                "torch.save(network.state_dict(), 'weights.pth')."
            ) from None
        raise UserError(
            f"{file} is not a checkpoint, or only a piece of one ({type(e).__name__}). Expected a state dict saved by "
            "torch.save or safetensors; download or copy it again if it should be one."
        ) from None


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def _part(loaded: Any, part: str | None, file: str | Path) -> Mapping[str, Tensor]:
    """The state dict asked for, out of a bare one or a checkpoint that names several."""
    if part is None and _is_state(loaded):
        return loaded
    parts = {str(k): v for k, v in loaded.items() if _is_state(v)} if isinstance(loaded, Mapping) else {}
    if part is not None:
        if part not in parts:
            raise UserError(
                f"{file} has no part {part!r}. {did_you_mean(part, parts) if parts else 'It has no parts.'}"
            )
        return parts[part]
    if not parts:
        raise UserError(f"{file} holds no weights: expected tensors by name, got {type(loaded).__name__}.")
    if len(parts) == 1:
        return next(iter(parts.values()))
    for averaged in ("avgG", "G_ema", "params_ema"):
        if averaged in parts:
            return parts[averaged]
    if parts.keys() == {"a", "b"} and all("enc.model.0.conv.weight" in p for p in parts.values()):
        return {
            f"{part}.{k}": v for part, state in parts.items() for k, v in state.items()
        }  # UNIT's two are one translator
    raise UserError(f"{file} holds several networks; say which with `part`: {', '.join(parts)}.")


def _clean(state: Mapping[str, Tensor]) -> State:
    """In natural order (safetensors has its own), without the prefix of nn.DataParallel, and without the running
    statistics that instance norms had before torch 0.4 (they have no weight beside them, and their networks never use
    them; batch norms without weights go by the name of bn)."""
    if all(k.startswith("module.") for k in state):
        state = {k.removeprefix("module."): v for k, v in state.items()}
    stats = ("running_mean", "running_var", "num_batches_tracked")

    def used(key: str) -> bool:
        layer, _, name = key.rpartition(".")
        return name not in stats or f"{layer}.weight" in state or layer.rpartition(".")[2].startswith("bn")

    def natural(key: str) -> list[str | int]:
        return [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", key)]

    return {k: state[k] for k in sorted(state, key=natural) if used(k)}
