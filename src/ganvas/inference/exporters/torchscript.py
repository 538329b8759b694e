"""Export to TorchScript, which libtorch runs without Python."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganvas.core.errors import CapabilityError
from ganvas.core.guards import reason
from ganvas.inference.exporters.network import Network

FACTS = "ganvas.json"  # a file inside the archive


def write(network: Network, out: Path, facts: Mapping[str, object]) -> bool:
    """Write a traced network.

    Returns whether the sides of an input image are free. Raises `CapabilityError` for a
    network that cannot be traced.
    """
    out.write_bytes(traced(network, network.examples()[1], facts))
    return network.multiple > 0


def traced(network: Network, example: tuple[Tensor, ...], facts: Mapping[str, object]) -> bytes:
    """A network as a TorchScript file, traced with the inputs `example`.

    Raises `CapabilityError` for a network that cannot be traced.
    """
    buffer = io.BytesIO()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # checks become constants; the result is compared
            module = torch.jit.trace(network.module, example, check_trace=False)
            extra = {FACTS: json.dumps(facts, default=str)}
            torch.jit.save(module, buffer, _extra_files=extra)
    except Exception as e:  # whatever a network raises while it is traced
        raise CapabilityError(f"this network cannot be traced ({reason(e)})") from None
    return buffer.getvalue()


def run(file: Path, network: Network, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """The result of a TorchScript file on the processor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers its own new form
        loaded = torch.jit.load(str(file), "cpu")
    with torch.inference_mode():
        return loaded(*inputs).numpy()
