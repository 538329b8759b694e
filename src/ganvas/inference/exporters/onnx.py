"""Export to ONNX, checked by onnxruntime (extra `onnx`)."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.core.errors import CapabilityError, UserError
from ganvas.core.guards import reason
from ganvas.inference.exporters.network import Network

RESULT = "result"
MOST = 1 << 14  # of an axis: pixels, images


def write(network: Network, out: Path, facts: Mapping[str, object]) -> bool:
    """Write an ONNX file with the opset of the installed torch.

    facts: metadata of the file, as JSON under "ganvas"

    Returns whether the sides of an input image are free; else they are those of the
    training images. Raises `CapabilityError` for a network that has no ONNX form.
    """
    import_onnxruntime()
    free, last = network.multiple > 0, ""
    for sizes in (True, False) if free else (False,):
        try:
            program = _exported(network, sizes)
        except Exception as e:  # torch's exporter raises whatever its passes raise
            last = reason(e.__cause__ or e)
            continue
        program.model.metadata_props["ganvas"] = json.dumps(facts, default=str)
        program.save(out, external_data=False)
        return sizes
    raise CapabilityError(f"this network has no ONNX form ({last})")


def run(file: Path, network: Network, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """The result of an ONNX file by onnxruntime on the processor."""
    runtime: Any = import_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    named = {i.name: x.numpy() for i, x in zip(network.inputs, inputs, strict=True)}
    return session.run([RESULT], named)[0]


def import_onnxruntime() -> ModuleType:
    """The package. Raises `UserError` if one of the extra's packages is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as e:
        raise UserError(
            f"the export needs the package {e.name}: pip install 'ganvas[onnx]'"
        ) from None
    return onnxruntime


def _exported(network: Network, sizes: bool) -> Any:
    dims: dict[str, Any] = {"batch": torch.export.Dim("batch", min=1, max=MOST)}
    if sizes:
        least = max(2, -(-16 // network.multiple))
        for axis in ("height", "width"):
            dim = torch.export.Dim(axis, min=least, max=MOST // network.multiple)
            dims[axis] = network.multiple * dim if network.multiple > 1 else dim
    shapes = [
        {axis: dims[name] for axis, name in one.axes.items() if name in dims}
        for one in network.inputs
    ]
    # A batch of 1, and equal sides, could be taken for constants.
    example = network.examples(sizes)[1]
    with quiet(), torch.no_grad():
        return torch.onnx.export(
            network.module,
            example,
            dynamo=True,
            input_names=[one.name for one in network.inputs],
            output_names=[RESULT],
            dynamic_shapes=(tuple(shapes),),
            external_data=False,
            verbose=False,
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what an exporter reports, and the graphs that it prints if it fails."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
