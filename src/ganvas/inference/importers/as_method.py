"""Another project's network as a model to use: as the method of the paper that it belongs to.

The model's file keeps the other project's tensors under their own names. They say by themselves what they are, so it is
recognised again when it is loaded, and needs no description of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from ganvas import __version__, methods
from ganvas.core import Method, Shape, Stage, rng
from ganvas.core.errors import UserError, printable
from ganvas.core.meta_device import Bounded
from ganvas.inference import importers, model_file
from ganvas.inference.importers.biggan import StoredStatistics
from ganvas.inference.importers.unit import Translator
from ganvas.nets import (
    biggan,
    cogan,
    dcgan,
    discogan,
    image_to_image,
    progan,
    r3gan,
    resnet,
    stylegan,
    stylegan2,
    super_resolution,
)

MAX_ELEMENTS = 1 << 31  # of one tensor, while one image is generated


@final
class StoredBigGAN(Method):
    """BigGAN-deep as huggingface/pytorch-pretrained-BigGAN publishes it, to use and not to train: z is `truncation` times a
    normal distribution cut to [-2, 2], and batch norm has the statistics stored for that truncation, of 0 to 1."""

    G: Any

    def __init__(self, shape: Shape, G: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.classes, self.G = shape.classes, G()

    def latent(self, n: int) -> Tensor:
        return rng.normal(n, self.G.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        return self.truncated(self.latent(n) if z is None else z, 1.0, y)

    def truncated(self, z: Tensor, truncation: float, y: Tensor | None = None) -> Tensor:
        if not 0 < truncation <= 1:
            raise UserError(f"truncation is {truncation}; this model has statistics for those above 0 and up to 1")
        y = rng.integers(len(z), self.classes, device=self.device) if y is None else y
        return self.G(truncation * rng.truncated(z, 2.0), y, truncation=truncation)


def _noise(net: Any) -> Shape:
    """The shape that a network makes from noise, found without computing or allocating it."""
    from torch._subclasses import FakeTensorMode  # takes long to import

    classes = getattr(getattr(net, "mapping", net), "classes", 0)
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True) as mode, Bounded(MAX_ELEMENTS):
        weights = {k: mode.from_tensor(v) for k, v in (*net.named_parameters(), *net.named_buffers())}
        inputs = (torch.zeros(1, net.latent), *([torch.zeros(1, dtype=torch.int64)] if classes else []))
        made = torch.func.functional_call(net, weights, inputs)
    made = made if isinstance(made, Tensor) else made[0]  # of coupled ones the first
    channels, height, width = made.shape[1:]
    return Shape(channels, height, width, classes)


def _picture(net: Any, side: int = 256) -> Shape:
    """What a network that starts from pictures of any size is measured at: a side that is usual for its kind."""
    channels = getattr(net, "channels", None)
    channels = channels or next(m.in_channels for m in net.modules() if isinstance(m, nn.Conv2d))
    return Shape(channels, side, side)


# By a generator's class: the method that it is played by, with what that method must be told, and what it makes. Networks of
# the same class are one method's, whatever they were trained by.
METHODS: dict[type[nn.Module], tuple[Callable[..., Method], Callable[[Any], Shape]]] = {
    dcgan.Generator: (methods.DCGAN, _noise),
    resnet.Generator: (methods.WGANGP, _noise),
    progan.ProgressiveGenerator: (methods.ProGAN, _noise),
    stylegan.Generator: (methods.StyleGAN, _noise),
    stylegan2.Generator: (methods.StyleGAN2, _noise),
    r3gan.Generator: (partial(methods.R3GAN, gamma=lambda clock: 0.0), _noise),
    biggan.Generator: (partial(methods.BigGAN, standing=0), _noise),  # its file has the statistics that it is used with
    StoredStatistics: (lambda shape, G, D: StoredBigGAN(shape, G), _noise),
    cogan.Generators: (methods.CoGAN, _noise),
    Translator: (lambda shape, G, D: methods.UNIT(shape, lambda **_: G().E, lambda **_: G().G, D), _picture),
    image_to_image.UNetGenerator: (methods.Pix2Pix, lambda net: _picture(net, net.multiple)),
    image_to_image.ResNetGenerator: (methods.CycleGAN, _picture),
    discogan.Generator: (methods.DiscoGAN, lambda net: _picture(net, 64)),
    **{
        enlarging: (lambda shape, G, D: methods.SRResNet(shape, G), partial(_picture, side=96))
        for enlarging in (
            super_resolution.SRResNet,
            super_resolution.MSRResNet,
            super_resolution.RRDBNet,
            super_resolution.CompactNet,
        )
    },
}
LABELLED = (methods.StyleGAN, methods.StyleGAN2, methods.R3GAN, methods.BigGAN)  # these are told whether labels are


def import_model(file: str | Path, out: str | Path, part: str | None = None) -> dict[str, Any]:
    """Write the generator in another project's checkpoint into `out` as a model's folder, for `ganvas sample` and `ganvas
    translate`; returns its header. `part`: which network, where the file holds several.

    Raises `UserError` where the file is not recognised (saying what does not fit), where it holds no generator, and where
    `out` has files in it."""
    file, out = Path(file), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"{printable(out)} exists and is not an empty folder; nothing was written. Choose another --out"
        )
    state = importers.read_state(file, part)
    name, found = importers.recognised(state, str(file))
    header: dict[str, Any] = {
        "imported": name,
        "recipe": f"imported {name}",
        "source": {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "part": part},
        "ganvas": __version__,
    }
    method, shape = as_method(found.net, name)
    task = "images" if not hasattr(method, "translate") else "pairs" if method.upscale > 1 else "domains"
    header |= {"task": task, "scale": method.upscale, "shape": asdict(shape), "stage": asdict(method.current_stage)}
    model_file.write(out, dict(state), header)
    return header


def as_method(net: nn.Module, name: str, shape: Shape | None = None) -> tuple[Method, Shape]:
    """(the method that `net` is the generator of, what it makes: `shape`, where that is known). Raises `UserError` for a
    network that makes no pictures."""
    if type(net) not in METHODS:
        raise UserError(
            f"this is a {name}, which makes no pictures by itself or belongs to no method known here. It can be used from "
            "Python only: ganvas.import_network(FILE)"
        )
    kind, shown = METHODS[type(net)]
    known: Any = net.float().eval()
    try:
        found = shown(known) if shape is None or shown is _noise else shape
    except Exception as e:  # layers that fit one by one, and not one another
        raise UserError(f"this {name} cannot be run: {printable(e)[:200]} ({type(e).__name__})") from None
    classes = found.classes if shown is _noise else 0
    if shape is not None and shape.classes != classes:
        raise UserError(f"this {name} has {classes} classes, and its description says {shape.classes}")
    if shape is not None and shape != found:
        raise UserError(f"this {name} generates {found}, and its description says {shape}")
    shape = found
    told = {"labels": bool(shape.classes)} if getattr(kind, "func", kind) in LABELLED else {}
    made = kind(shape, G=lambda **_: net, D=lambda **_: nn.Identity(), **told)
    if hasattr(known, "resolutions"):  # grown
        made.current_stage = Stage(index=len(known.resolutions) - 1, resolution=known.resolutions[-1])
    if isinstance(made, methods.CycleGAN | methods.DiscoGAN):
        made.directions = ("b",)  # one generator, one direction
    return made, shape


def method_of(tensors: dict[str, Tensor], file: str, shape: Shape) -> Method:
    """The method of a model's file that `import_model` wrote, which makes `shape`."""
    name, found = importers.recognised(tensors, file)
    return as_method(found.net, name, shape)[0]
