"""Export to OpenVINO's own form (an .xml and a .bin), by way of ONNX."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from ganvas.inference.exporters import onnx
from ganvas.inference.exporters.network import Network
from ganvas.inference.openvino import import_openvino


def write(network: Network, out: Path, facts: Mapping[str, object]) -> bool:
    """Write a network with float32 weights; see `onnx.write`, whose file stays."""
    import_openvino()
    file = out.with_suffix(".onnx")
    free = onnx.write(network, file, facts)
    convert(file, out, facts)
    return free


def convert(file: Path, out: Path, facts: Mapping[str, object]) -> None:
    """Write an ONNX file in OpenVINO's form."""
    openvino = import_openvino()
    converted = openvino.convert_model(file)
    converted.set_rt_info(json.dumps(facts, default=str), ["ganvas"])
    openvino.save_model(converted, str(out), compress_to_fp16=False)


def run(file: Path, network: Network, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """The result of a file by OpenVINO on the processor, in float32."""
    openvino = import_openvino()
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(file), "CPU", hint)
    named = {i.name: x.numpy() for i, x in zip(network.inputs, inputs, strict=True)}
    return compiled(named)[onnx.RESULT]
