"""Export to OpenVINO's own form (an .xml and a .bin), by way of ONNX."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
from torch import Tensor

from ganvas.core.errors import UserError
from ganvas.inference.exporters import onnx
from ganvas.inference.exporters.network import Network


def write(network: Network, out: Path, facts: Mapping[str, object]) -> bool:
    """Write a network with float32 weights; see `onnx.write`."""
    openvino = import_openvino()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        free = onnx.write(network, file, facts)
        converted = openvino.convert_model(file)
        converted.set_rt_info(json.dumps(facts, default=str), ["ganvas"])
        openvino.save_model(converted, str(out), compress_to_fp16=False)
    return free


def run(file: Path, network: Network, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """The result of a file by OpenVINO on the processor, in float32."""
    openvino = import_openvino()
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(file), "CPU", hint)
    named = {i.name: x.numpy() for i, x in zip(network.inputs, inputs, strict=True)}
    return compiled(named)[onnx.RESULT]


def import_openvino() -> ModuleType:
    """The package. Raises `UserError` if it is missing."""
    try:
        import openvino
    except Exception as e:  # a broken installation raises anything
        raise UserError(
            f"openvino cannot be imported ({e}): pip install 'ganvas[openvino]'"
        ) from None
    return openvino
