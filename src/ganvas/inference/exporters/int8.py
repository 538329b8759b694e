"""Weights and activations of 8 bits: onnxruntime's static quantization, and its cost.

The ranges of activations are those of calibration inputs: a generator's own latents, or
images that are given for a translator.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganvas.core.errors import CapabilityError, UserError, printable
from ganvas.core.guards import plural, reason
from ganvas.data.trees import is_hidden, is_image
from ganvas.inference import image_input
from ganvas.inference.exporters import onnx, openvino
from ganvas.inference.exporters.network import Network
from ganvas.metrics.lpips import available_lpips
from ganvas.metrics.psnr_ssim import psnr

FORMS = ("onnx", "openvino")
OPERATIONS = ["Conv", "ConvTranspose", "Gemm", "MatMul"]  # that are quantized
CALIBRATED, MEASURED = 64, 16  # images, at most
BATCH = 4
SEEDS = (1, 2)  # of the latents that calibrate and that measure

Inputs = tuple[Tensor, ...]


class Cost(NamedTuple):
    """What 8 bits change.

    psnr: mean PSNR in dB, over all channels, of images of the 8-bit file against those
        of torch; the inputs are not those of the calibration
    lpips: mean LPIPS of the same images by `backbone`; None without its weights, and
        for images that are too small
    calibrated, measured: number of images
    bytes_before, bytes_after: sizes of the files with 32 and with 8 bits
    """

    psnr: float
    lpips: float | None
    backbone: str | None
    calibrated: int
    measured: int
    bytes_before: int
    bytes_after: int


class Calibration(NamedTuple):
    """Inputs in batches, for the ranges of activations and for measuring the cost."""

    ranges: list[Inputs]
    others: list[Inputs]


def calibration(network: Network, images: str | Path | None) -> Calibration:
    """The inputs of a calibration.

    images: folder of images for a translator, at least two, of which a fifth measures;
        cropped to the center and scaled to the training size. None for a generator

    Raises `UserError` for missing images, and for those of a generator;
    `CapabilityError` for models of other channels than 1 and 3.
    """
    if network.channels not in (1, 3):
        raise CapabilityError(
            f"images of {network.channels} channels cannot be compared by PSNR, by which files of "
            "8 bits are measured: export without int8 (--int8)"
        )
    if not network.multiple:
        if images is not None:
            raise UserError(
                "a generator is calibrated by its own latents: leave the calibration images out"
            )
        counts = (CALIBRATED, MEASURED)
        return Calibration(
            *(
                [network.latents(BATCH, 1000 * seed + i) for i in range(count // BATCH)]
                for seed, count in zip(SEEDS, counts, strict=True)
            )
        )
    if images is None:
        raise UserError(
            "8 bits need images of the kind that the model translates, for the ranges of its "
            "activations: name their folder with calibrate (--calibrate)"
        )
    files = _files(Path(images))
    apart = min(MEASURED, max(1, len(files) // 5))
    parts = (files[:-apart][:CALIBRATED], files[-apart:])
    return Calibration(*(list(_batches(network, part)) for part in parts))


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"there is no folder of calibration images {printable(folder)}")
    found = sorted(
        f for f in folder.rglob("*") if is_image(f.name) and not is_hidden(f.name) and f.is_file()
    )
    if len(found) < 2:
        raise UserError(
            f"{printable(folder)} holds {plural(len(found), 'image')}; a calibration needs at "
            f"least 2, better {CALIBRATED + MEASURED}"
        )
    step = max(1, len(found) // (CALIBRATED + MEASURED))  # from the whole folder
    return found[::step][: CALIBRATED + MEASURED]


def _batches(network: Network, files: Sequence[Path]) -> Iterator[Inputs]:
    for i in range(0, len(files), BATCH):
        x = image_input.fitted(list(files[i : i + BATCH]), network.size, network.channels)
        yield ((x + 1) / 2,)


def quantize(
    network: Network, file: Path, facts: Mapping[str, object], inputs: Iterable[Inputs]
) -> int:
    """Replace a file of `onnx.write` or `openvino.write` by one of 8 bits.

    Weights have a range for each output channel, activations one for each layer
    (onnxruntime's QDQ form). Beside `file` lie the parts that its form has.

    facts: metadata of the file
    inputs: for the ranges of activations

    Returns the size of the file before, in bytes. Raises `CapabilityError` for a
    network without a layer that can be quantized.
    """
    onnx.import_onnxruntime()
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    before, source = size_of(file), file.with_suffix(".onnx")
    prepared, small = (file.with_name(f"{part}-{source.name}") for part in ("prepared", "int8"))
    feeds = iter(
        [{i.name: x.numpy() for i, x in zip(network.inputs, one, strict=True)} for one in inputs]
    )

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray]:
            return next(feeds, {})  # empty: the end

    try:
        with onnx.quiet():
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(small),
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=OPERATIONS,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
    except Exception as e:  # whatever the quantizer's passes raise
        raise CapabilityError(
            f"onnxruntime cannot quantize this network ({reason(e)}). Nothing was written"
        ) from None
    _describe(small, facts)
    if file.suffix == ".xml":
        openvino.convert(small, file, facts)
    else:
        os.replace(small, file)
    return before


def _describe(file: Path, facts: Mapping[str, object]) -> None:
    """Write the facts into a quantized file. Raises `CapabilityError` if none is."""
    import onnx as package

    model = package.load(file)
    if not any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise CapabilityError(
            "this network has no convolution and no linear layer of fixed weights, which 8 bits "
            "could hold. Nothing was written"
        )
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = "ganvas", json.dumps(facts, default=str)
    package.save(model, file)


def size_of(file: Path) -> int:
    """The bytes of a file, with OpenVINO's weights beside it."""
    parts = (file, file.with_suffix(".bin"))
    return sum(part.stat().st_size for part in parts if part.is_file())


def cost(
    network: Network, results: Iterable[np.ndarray], inputs: Calibration, before: int, after: int
) -> Cost:
    """Compare results of an 8-bit file [N, C, H, W] in [0, 1] with torch's.

    results: for `inputs.others`
    before, after: bytes

    Raises `UserError` for results that are not numbers.
    """
    measure, decibels, distances = None, [], []
    for x, result in zip(inputs.others, results, strict=True):
        found, expected = torch.from_numpy(result), network.reference(x)
        measure = measure or available_lpips(min(found.shape[2:]))
        # 120 dB: equal images would have infinitely many
        decibels.append(psnr(found, expected, "rgb").clamp(max=120))
        if measure is not None:
            distances.append(measure(2 * found - 1, 2 * expected - 1))
    return Cost(
        psnr=float(torch.cat(decibels).mean()),
        lpips=float(torch.cat(distances).mean()) if distances else None,
        backbone=None if measure is None else measure.name,
        calibrated=sum(len(x[0]) for x in inputs.ranges),
        measured=sum(len(x[0]) for x in inputs.others),
        bytes_before=before,
        bytes_after=after,
    )
