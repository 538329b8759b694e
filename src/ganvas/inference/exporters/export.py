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
from ganvas.inference.exporters import (
    basicsr,
    diffusers,
    int8,
    ncnn,
    onnx,
    openvino,
    taming,
    torchscript,
)
from ganvas.inference.exporters.int8 import Calibration, Cost
from ganvas.inference.exporters.network import Input, Network, discriminator
from ganvas.inference.exporters.network import network as generating
from ganvas.inference.load import load, located

Run = Callable[[Path, Network, tuple[Tensor, ...]], np.ndarray]


class Form(NamedTuple):
    """A form that models are exported to.

    suffixes: of its files; none: a folder
    write: writes a file, and returns whether the sides of an input image are free
    run: the result of a file
    note: what other programs may have to be told
    """

    suffixes: tuple[str, ...]
    write: Callable[[Network, Path, Mapping[str, object]], bool]
    run: Run
    note: Callable[[Network], str] | None = None


FORMS = {
    "onnx": Form((".onnx",), onnx.write, onnx.run),
    "openvino": Form((".xml",), openvino.write, openvino.run),
    "torchscript": Form((".pt",), torchscript.write, torchscript.run),
    "ncnn": Form((".param",), ncnn.write, ncnn.run, ncnn.note),
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
    cost: of 8 bits; None: the file has 32
    """

    file: Path
    inputs: tuple[Input, ...]
    free_sides: bool
    compared: list[Compared]
    notes: tuple[str, ...]
    cost: Cost | None = None


def export(
    run: str | Path,
    form: str,
    out: str | Path,
    *,
    to: str | None = None,
    truncation: float | None = None,
    checkpoint: str = "last",
    network: str = "G",
    quantized: bool = False,
    calibrate: str | Path | None = None,
) -> Export:
    """Write a model as a file for other programs, and run that file beside torch.

    Images are float32 [N, C, H, W] in [0, 1]. The file takes its name after the
    comparison: if its images differ from torch's by more than 1e-4, nothing is written,
    and an older file of that name stays.

    form: "onnx", "openvino", "torchscript", "ncnn" (models that take images); or
        weights under the names of other projects: "basicsr" (super-resolution networks,
        for upscaling programs), "diffusers" and "taming" (autoencoders of latents)
    out: for diffusers a new or empty folder
    to: domain of a translation; None: the method's first
    truncation: fixed in the file, for BigGAN; other methods take it as an input
    network: "G", what the model generates with; or "D", the discriminator of a run, for
        "basicsr", to continue training elsewhere
    quantized: weights and activations of 8 bits, for onnx and openvino. The file with
        32 bits is compared with torch first; `Export.cost` says how far the images of
        the one with 8 bits are from it
    calibrate: folder of images for the ranges of a translator's activations

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
    if quantized and form not in int8.FORMS:
        raise UserError(f"files of 8 bits are {' or '.join(int8.FORMS)}; got {form}")
    if calibrate is not None and not quantized:
        raise UserError("calibration images are for files of 8 bits: ask for those (--int8), too")
    exported, facts = _ready(run, form, to, truncation, checkpoint, network)
    facts["inputs"] = {i.name: i.text for i in exported.inputs}
    inputs = int8.calibration(exported, calibrate) if quantized else None
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
            cost = _quantized(file, run_file, exported, facts, inputs, free) if inputs else None
            weights = file.with_suffix(".bin")
            if weights.exists():  # of OpenVINO and ncnn
                os.replace(weights, out.with_suffix(".bin"))
    except OSError as e:
        raise OutputError(
            f"{printable(out)} could not be written ({reason(e)}): free some space, or choose a "
            "folder that you may write to"
        ) from None
    notes = () if note is None else (note(exported),)
    return Export(out, exported.inputs, free, compared, (*exported.notes, *notes), cost)


def _quantized(
    file: Path,
    run: Run,
    exported: Network,
    facts: Mapping[str, object],
    inputs: Calibration,
    free: bool,
) -> Cost:
    """Replace a file by one of 8 bits that takes inputs of the same sizes."""
    before = int8.quantize(exported, file, {**facts, "bits": 8}, inputs.ranges)
    for x in exported.examples(free):
        _compared(run, file, exported, x)
    results = [run(file, exported, x) for x in inputs.others]
    return int8.cost(exported, results, inputs, before, int8.size_of(file))


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
    run: Run,
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
