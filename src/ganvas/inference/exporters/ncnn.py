"""Export to ncnn (a .param and a .bin) by way of TorchScript and pnnx (extra `ncnn`).

ncnn runs single images, on phones as well; programs that enlarge images read its files.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from ganvas.core.errors import CapabilityError, UserError
from ganvas.core.guards import reason
from ganvas.inference.exporters import torchscript
from ganvas.inference.exporters.network import Network

INPUT, OUTPUT = "in0", "out0"  # as pnnx names them


def note(network: Network) -> str:
    """What programs must know of the file."""
    files = f"takes one image at a time, as {INPUT}, and gives {OUTPUT}"
    return f"ncnn {files}; its files hold no metadata"


def write(network: Network, out: Path, facts: Mapping[str, object]) -> bool:
    """Write a .param and, beside it, a .bin with float32 weights.

    Returns whether the sides of an input image are free; else they are those of the
    training images. Raises `CapabilityError` for generators and for a network with an
    operation that ncnn does not have; `UserError` if a package is missing.
    """
    _, pnnx = import_ncnn()
    if not network.multiple:
        raise CapabilityError(
            "files of ncnn are for models that translate or enlarge images, and this model "
            "generates them from noise: export it to onnx"
        )
    script = out.with_suffix(".pt")
    one = network.examples()[0]  # a batch of 1
    script.write_bytes(torchscript.traced(network, one, facts))
    missing: set[str] = set()
    for free in (True, False):
        _convert(str(pnnx.EXEC_PATH), script, out, network, free)
        missing = _missing(out)
        if not missing:
            return free
    raise CapabilityError(f"ncnn has no {', '.join(sorted(missing))}, which this network needs")


def run(file: Path, network: Network, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """The result of a file by ncnn on the processor, in float32, image by image."""
    package, _ = import_ncnn()
    ncnn: Any = package
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    for narrow in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{narrow}", False)
    if net.load_param(str(file)) or net.load_model(str(file.with_suffix(".bin"))):
        raise RuntimeError("ncnn does not load the file")
    results = []
    for image in inputs[0].numpy():
        extractor = net.create_extractor()
        extractor.input(INPUT, ncnn.Mat(image).clone())
        status, result = extractor.extract(OUTPUT)
        if status:
            raise RuntimeError("ncnn does not run the file")
        results.append(np.array(result))
    return np.stack(results)


def import_ncnn() -> tuple[ModuleType, ModuleType]:
    """The packages ncnn and pnnx. Raises `UserError` if one is missing."""
    try:
        import ncnn
        import pnnx
    except ImportError as e:
        raise UserError(
            f"the export needs the package {e.name}: pip install 'ganvas[ncnn]'"
        ) from None
    return ncnn, pnnx


def _convert(pnnx: str, script: Path, out: Path, network: Network, free: bool) -> None:
    """Run pnnx, which writes a lot of other files beside."""
    height, width = network.size
    sizes = [(height, width), (2 * height, width + network.multiple)]  # both sides differ
    shapes = [
        f"inputshape{name}=[1,{network.channels},{size[0]},{size[1]}]f32"
        for name, size in zip(("", "2"), sizes, strict=True)
    ]
    names = [f"ncnnparam={out.name}", f"ncnnbin={out.with_suffix('.bin').name}", "fp16=0"]
    out.unlink(missing_ok=True)
    command = [pnnx, script.name, *shapes[: 1 + free], *names]
    try:
        ended = subprocess.run(command, cwd=out.parent, capture_output=True, check=False)
    except OSError as e:
        raise CapabilityError(f"pnnx cannot be run ({reason(e)})") from None
    if ended.returncode or not out.is_file():
        raise CapabilityError(
            f"pnnx cannot convert this network (exit status {ended.returncode}). Nothing was "
            "written"
        )


def _missing(param: Path) -> set[str]:
    """The operations of a .param that ncnn does not have; those have dotted names."""
    lines = param.read_text().splitlines()[2:]
    kinds = {line.split()[0] for line in lines if line.strip()}
    return {kind for kind in kinds if not kind.isidentifier()}
