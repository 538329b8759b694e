"""Export a model for other programs, and compare the file with torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ganvas.core.errors import CapabilityError, OutputError, UserError, did_you_mean, printable
from ganvas.core.files import replacing, require_new_folder
from ganvas.core.guards import reason
from ganvas.inference.exporters import basicsr, diffusers, onnx, openvino, taming, torchscript
from ganvas.inference.exporters.network import Input, Network, discriminator
from ganvas.inference.exporters.network import network as generating
from ganvas.inference.load import load, located


class Form(NamedTuple):
    """A form that models are exported to.

    suffixes: of its files; none: a folder
    write: writes a file, and returns whether the sides of an input image are free
    run: the result of a file
    note: what other programs may have to be told
    """

    suffixes: tuple[str, ...]
    write: Callable[[Network, Path, Mapping[str, object]], bool]
    run: Callable[[Path, Network, tuple[Tensor, ...]], np.ndarray]
    note: Callable[[Network], str] | None = None


FORMS = {
    "onnx": Form((".onnx",), onnx.write, onnx.run),
    "openvino": Form((".xml",), openvino.write, openvino.run),
    "torchscript": Form((".pt",), torchscript.write, torchscript.run),
    "basicsr": Form((".pth", ".safetensors"), basicsr.write, basicsr.run, basicsr.note),
    "diffusers": Form((), diffusers.write, diffusers.run, diffusers.note),
    "taming": Form((".safetensors", ".ckpt"), taming.write, taming.run, taming.note),
}
TOLERANCE = 1e-4  # of images in [0, 1]


class Compared(NamedTuple):
    """A comparison of an exported file with torch.

    sizes: of the inputs
    difference: the largest, of images in [0, 1]; of logits, as a share of the largest
    """

    sizes: tuple[tuple[int, ...], ...]
    difference: float


class Export(NamedTuple):
    """An exported file.

    free_sides: whether input images may have any size that its text allows
    notes: how the file differs from the model
    """

    file: Path
    inputs: tuple[Input, ...]
    free_sides: bool
    compared: list[Compared]
    notes: tuple[str, ...]


def export(
    run: str | Path,
    form: str,
    out: str | Path,
    *,
    to: str | None = None,
    truncation: float | None = None,
    checkpoint: str = "last",
    network: str = "G",
) -> Export:
    """Write a model as a file for other programs, and run that file beside torch.

    Images are float32 [N, C, H, W] in [0, 1]. The file takes its name after the
    comparison: if its images differ from torch's by more than 1e-4, nothing is written,
    and an older file of that name stays.

    form: "onnx", "openvino", "torchscript"; or weights under the names of other
        projects: "basicsr" (super-resolution networks, for upscaling programs),
        "diffusers" and "taming" (autoencoders of latents)
    out: for diffusers a new or empty folder
    to: domain of a translation; None: the method's first
    truncation: fixed in the file, for BigGAN; other methods take it as an input
    network: "G", what the model generates with; or "D", the discriminator of a run, for
        "basicsr", to continue training elsewhere

    Raises `UserError` for an unknown form, a wrong suffix, a missing package and a
    model that has no such form; `OutputError` if the file cannot be written.
    """
    out = Path(out)
    if form not in FORMS:
        raise UserError(f"models cannot be exported to {form!r}. {did_you_mean(form, FORMS)}")
    suffixes, write, run_file, note = FORMS[form]
    if not suffixes:
        require_new_folder(out)
    elif out.suffix not in suffixes:
        raise UserError(f"a file of {form} ends in {' or '.join(suffixes)}; got {printable(out)}")
    exported, facts = _ready(run, form, to, truncation, checkpoint, network)
    facts["inputs"] = {i.name: i.text for i in exported.inputs}
    try:
        with replacing(out) as file:
            free = write(exported, file, facts)
            compared = [_compared(run_file, file, exported, x) for x in exported.examples(free)]
            worst = max(one.difference for one in compared)
            if not worst <= TOLERANCE:
                raise CapabilityError(
                    f"the results of the exported network differ from torch's by {worst:.2g}, of "
                    f"at most {TOLERANCE:g}: it draws random numbers, or branches on its input. "
                    "Nothing was written"
                )
            weights = file.with_suffix(".bin")
            if weights.exists():  # OpenVINO's
                os.replace(weights, out.with_suffix(".bin"))
    except OSError as e:
        raise OutputError(
            f"{printable(out)} could not be written ({reason(e)}): free some space, or choose a "
            "folder that you may write to"
        ) from None
    notes = () if note is None else (note(exported),)
    return Export(out, exported.inputs, free, compared, (*exported.notes, *notes))


def _ready(
    run: str | Path,
    form: str,
    to: str | None,
    truncation: float | None,
    checkpoint: str,
    network: str,
) -> tuple[Network, dict[str, object]]:
    """(the network to export, facts of its model)."""
    if network not in ("G", "D"):
        raise UserError(f"got the network {network!r}; expected G or D, the discriminator")
    if network == "G":
        model = load(run, checkpoint=checkpoint)
        return generating(model, to, truncation), {**model.facts}
    if form != "basicsr":
        raise UserError(f"a discriminator is exported to basicsr, not to {form}")
    if to is not None or truncation is not None:
        raise CapabilityError("a discriminator has no direction and no truncation: leave them out")
    return discriminator(located(run), checkpoint), {"network": "discriminator"}


def _compared(
    run: Callable[[Path, Network, tuple[Tensor, ...]], np.ndarray],
    file: Path,
    exported: Network,
    inputs: tuple[Tensor, ...],
) -> Compared:
    expected = exported.reference(inputs).numpy()
    sizes = tuple(tuple(x.shape) for x in inputs)
    try:
        result = run(file, exported, inputs)
    except Exception as e:  # a runtime raises errors of its own
        raise CapabilityError(
            f"the exported network does not take inputs of {list(sizes[0])} ({reason(e)}). Nothing "
            "was written"
        ) from None
    if result.shape != expected.shape:
        raise CapabilityError(
            f"the exported network gives {list(result.shape)} in place of {list(expected.shape)}. "
            "Nothing was written"
        )
    scale = max(1.0, float(np.abs(expected).max()))
    return Compared(sizes, float(np.abs(result - expected).max()) / scale)
