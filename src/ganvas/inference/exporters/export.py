"""Export a model for other programs, and compare the file with torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ganvas.core.errors import CapabilityError, OutputError, UserError, did_you_mean, printable
from ganvas.core.files import replacing
from ganvas.core.guards import reason
from ganvas.inference.exporters import basicsr, int8, ncnn, onnx, openvino, torchscript
from ganvas.inference.exporters.int8 import Calibration, Cost
from ganvas.inference.exporters.network import Input, Network, network
from ganvas.inference.load import load

# Form -> (suffixes of its files, the module that writes and runs it).
FORMS = {
    "onnx": ((".onnx",), onnx),
    "openvino": ((".xml",), openvino),
    "torchscript": ((".pt",), torchscript),
    "ncnn": ((".param",), ncnn),
    "basicsr": ((".pth", ".safetensors"), basicsr),
}
Run = Callable[[Path, Network, tuple[Tensor, ...]], np.ndarray]
TOLERANCE = 1e-4  # of images in [0, 1]


class Compared(NamedTuple):
    """A comparison of an exported file with torch.

    sizes: of the inputs
    difference: the largest, of images in [0, 1]
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
    quantized: bool = False,
    calibrate: str | Path | None = None,
) -> Export:
    """Write a model as a file for other programs, and run that file beside torch.

    Images are float32 [N, C, H, W] in [0, 1]. The file takes its name after the
    comparison: if its images differ from torch's by more than 1e-4, nothing is written,
    and an older file of that name stays.

    form: "onnx", "openvino", "torchscript", "ncnn" (models that take images), or
        "basicsr" (weights of super-resolution networks under the names that upscaling
        programs read)
    to: domain of a translation; None: the method's first
    truncation: fixed in the file, for BigGAN; other methods take it as an input
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
    suffixes, module = FORMS[form]
    if out.suffix not in suffixes:
        raise UserError(f"a file of {form} ends in {' or '.join(suffixes)}; got {printable(out)}")
    if quantized and form not in int8.FORMS:
        raise UserError(f"files of 8 bits are {' or '.join(int8.FORMS)}; got {form}")
    if calibrate is not None and not quantized:
        raise UserError("calibration images are for files of 8 bits: ask for those (--int8), too")
    model = load(run, checkpoint=checkpoint)
    exported = network(model, to, truncation)
    inputs = int8.calibration(exported, calibrate) if quantized else None
    facts = {**model.facts, "inputs": {i.name: i.text for i in exported.inputs}}
    try:
        with replacing(out) as file:
            free = module.write(exported, file, facts)
            compared = [_compared(module.run, file, exported, x) for x in exported.examples(free)]
            worst = max(one.difference for one in compared)
            if not worst <= TOLERANCE:
                raise CapabilityError(
                    f"the images of the exported network differ from torch's by {worst:.2g}, of at "
                    f"most {TOLERANCE:g}: it draws random numbers, or branches on its input. "
                    "Nothing was written"
                )
            cost = _quantized(file, module.run, exported, facts, inputs, free) if inputs else None
            weights = file.with_suffix(".bin")
            if weights.exists():  # of OpenVINO and ncnn
                os.replace(weights, out.with_suffix(".bin"))
    except OSError as e:
        raise OutputError(
            f"{printable(out)} could not be written ({reason(e)}): free some space, or choose a "
            "folder that you may write to"
        ) from None
    notes = (basicsr.note(exported),) if module is basicsr else ()
    notes = (ncnn.NOTE,) if module is ncnn else notes
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
    return Compared(sizes, float(np.abs(result - expected).max()))
