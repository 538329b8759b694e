"""Another project's network as a model to use: as the method of the paper that it belongs to.

The model's file keeps the other project's tensors under their own names. They say by themselves what they are, so it is
recognised again when it is loaded, and needs no description of its own."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ganvas import __version__, bundle, importing, methods
from ganvas.core import Method, Shape, Stage
from ganvas.errors import UserError
from ganvas.nets import dcgan, progressive, resnet, translate

# The method whose generator a network is. Networks of the same class are one method's, whatever they were trained by.
METHODS: dict[type[nn.Module], type[Method]] = {
    dcgan.Generator: methods.DCGAN,
    resnet.Generator: methods.WGANGP,
    progressive.ProgressiveGenerator: methods.ProGAN,
    translate.UNetGenerator: methods.Pix2Pix,
    translate.ResNetGenerator: methods.CycleGAN,
}


def import_model(file: str | Path, out: str | Path, part: str | None = None) -> dict[str, Any]:
    """Write the generator in another project's checkpoint into `out` as a model's folder, for `ganvas sample` and `ganvas
    translate`; returns its header. `part`: which network, where the file holds several.

    Raises `UserError` where the file is not recognised (saying what does not fit), where it holds no generator, and where
    `out` has files in it."""
    file, out = Path(file), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; nothing was written. Choose another --out")
    state = importing.read_state(file, part)
    name, found = importing.recognised(state, str(file))
    header: dict[str, Any] = {
        "imported": name,
        "recipe": f"imported {name}",
        "source": {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "part": part},
        "ganvas": __version__,
    }
    method, shape = as_method(found.net, name)
    translating = hasattr(method, "translate")
    header |= {"task": "domains" if translating else "images", "shape": asdict(shape), "stage": asdict(method.now)}
    bundle.write(out, dict(state), header)
    return header


def as_method(net: nn.Module, name: str) -> tuple[Method, Shape]:
    """(the method that `net` is the generator of, what it makes). Raises `UserError` for a network that makes no pictures."""
    kind = METHODS.get(type(net))
    if kind is None:
        raise UserError(
            f"this is a {name}, which makes no pictures by itself or belongs to no method known here. It can be used from "
            "Python only: ganvas.import_network(FILE)"
        )
    known: Any = net.float().eval()
    with torch.no_grad():
        if hasattr(net, "latent"):
            channels, height, width = known(torch.zeros(1, known.latent)).shape[1:]
        else:
            channels, height, width = _channels_in(net), known.multiple, known.multiple
    shape = Shape(channels, height, width)
    made = cast(Any, kind)(shape, G=lambda **_: net, D=lambda **_: nn.Identity())
    if hasattr(known, "resolutions"):  # grown
        made.now = Stage(resolution=known.resolutions[-1])
    if kind is methods.CycleGAN:
        made.directions = ("b",)  # one generator, one direction
    return made, shape


def _channels_in(net: nn.Module) -> int:
    return next(m.in_channels for m in net.modules() if isinstance(m, nn.Conv2d))


def method_of(tensors: dict[str, Tensor], file: str) -> Method:
    """The method of a model's file that `import_model` wrote."""
    name, found = importing.recognised(tensors, file)
    return as_method(found.net, name)[0]
