"""Use another project's network as a model: wrap it in the method of its paper.

The model file keeps the other project's tensors under their own names. They identify
the network, so it is recognized again at loading, and needs no description of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import torch
from torch import Tensor, nn

from ganvas import __version__, methods
from ganvas.core import Method, Shape, Stage, Translates, rng
from ganvas.core.errors import UserError, printable
from ganvas.core.files import require_new_folder, sha256_of
from ganvas.core.meta_device import Bounded
from ganvas.engine.records import shape_record
from ganvas.inference import importers, model_file
from ganvas.inference.importers.biggan_deep import StoredStatistics
from ganvas.inference.importers.by_spandrel import Upscaler
from ganvas.inference.importers.formats import Misfit
from ganvas.inference.importers.options import Options, announce, apply
from ganvas.inference.importers.unit import Translator
from ganvas.inference.runtime import Description
from ganvas.methods.base import NoiseToImage
from ganvas.nets import (
    biggan,
    biggan_deep,
    cogan,
    dcgan,
    discogan,
    fastgan,
    image_to_image,
    latent_autoencoder,
    pix2pixhd,
    progan,
    projected_gan,
    r3gan,
    resnet,
    stylegan,
    stylegan2,
    stylegan2_translator,
    stylegan3,
    super_resolution,
)
from ganvas.nets.shuffled_rrdb import ShuffledRRDBNet

LOG = logging.getLogger(__name__)
MAX_ELEMENTS = 1 << 31  # of one tensor, while one image is generated


@runtime_checkable
class Progressive(Protocol):
    """A generator that has grown.

    resolutions: longer sides of its images in pixels, smallest first
    """

    resolutions: Sequence[int]


@final
class StoredBigGAN(Method):
    """BigGAN-deep of huggingface/pytorch-pretrained-BigGAN, for sampling only.

    z is `truncation` times a normal distribution truncated to [-2, 2]; batch norm uses
    the statistics stored for that truncation, in (0, 1].
    """

    G: Any

    def __init__(self, shape: Shape, G: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.classes, self.G = shape.classes, G()

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]; `truncated` limits it to [-2, 2]."""
        return rng.normal(n, self.G.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Images by the statistics of truncation 1."""
        return self.truncated(self.latent(n) if z is None else z, 1.0, y)

    def truncated(self, z: Tensor, truncation: float, y: Tensor | None = None) -> Tensor:
        """Images of truncation z [n, latent]; `truncation` above 0, at most 1."""
        if not 0 < truncation <= 1:
            raise UserError(
                f"truncation is {truncation}; this model has statistics for those above 0 and up "
                "to 1"
            )
        y = rng.integers(len(z), self.classes, device=self.device) if y is None else y
        return self.G(truncation * rng.truncated(z, 2.0), y, truncation=truncation)


@final
class StoredProjectedGAN(NoiseToImage):
    """Projected GANs Converge Faster, for sampling only.

    Sauer et al., 2021, arXiv:2111.01007. The generator is FastGAN's as it is in
    autonomousvision/projected-gan, and may have classes.
    """

    def __init__(self, shape: Shape, G: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.classes, self.G = shape.classes, G()


def _shape_from_noise(net: Any) -> Shape:
    """The output shape of a network that starts from noise, on the meta device.

    Fake tensors have shapes and no memory, so that a hostile file cannot fill it.
    """
    from torch._subclasses import FakeTensorMode  # takes long to import

    classes = getattr(getattr(net, "mapping", net), "classes", 0)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.no_grad(), fake as mode, Bounded(MAX_ELEMENTS):
        named = (*net.named_parameters(), *net.named_buffers())
        weights: dict[str, Tensor] = {k: mode.from_tensor(v) for k, v in named}
        labels = [torch.zeros(1, dtype=torch.int64)] if classes else []
        inputs = (torch.zeros(1, net.latent), *labels)
        images = torch.func.functional_call(net, weights, inputs)
    images = images if isinstance(images, Tensor) else images[0]  # the first of coupled domains
    channels, height, width = images.shape[1:]
    return Shape(channels, height, width, classes)


def _shape_of_images(net: Any, side: int = 256) -> Shape:
    """The shape at which a network for images of any size is measured: a usual side."""
    channels = getattr(net, "channels", None)
    channels = channels or next(m.in_channels for m in net.modules() if isinstance(m, nn.Conv2d))
    return Shape(channels, side, side)


def _shape_of_translator(net: Any) -> Shape:
    """As `_shape_of_images`. Raises `Misfit` if the domains' channels differ."""
    if net.channels != net.channels_b:
        raise Misfit(f"its domains have {net.channels} and {net.channels_b} channels")
    return _shape_of_images(net)


def _shape_of_autoencoder(net: Any) -> Shape:
    """As `_shape_of_images`. Raises `Misfit` if it gives no such images."""
    if net.decoder.give_pre_end:
        raise Misfit("it gives features in place of images (give_pre_end)")
    if net.channels != net.channels_out:
        raise Misfit(f"it takes {net.channels} channels and gives {net.channels_out}")
    return _shape_of_images(net, min(256, 32 * net.multiple))


# Generator class -> (method, function that returns the output shape). Networks of one
# class belong to one method, however they were trained.
METHODS: dict[type[nn.Module], tuple[Callable[..., Method], Callable[[Any], Shape]]] = {
    dcgan.Generator: (methods.DCGAN, _shape_from_noise),
    resnet.Generator: (
        lambda shape, G, D: (
            methods.SNGAN(shape, G, D, labels=True)
            if shape.classes
            else methods.WGANGP(shape, G, D)
        ),
        _shape_from_noise,
    ),
    progan.ProgressiveGenerator: (methods.ProGAN, _shape_from_noise),
    stylegan.Generator: (methods.StyleGAN, _shape_from_noise),
    stylegan2.Generator: (methods.StyleGAN2, _shape_from_noise),
    stylegan3.Generator: (methods.StyleGAN3, _shape_from_noise),
    r3gan.Generator: (partial(methods.R3GAN, gamma=lambda clock: 0.0), _shape_from_noise),
    fastgan.Generator: (methods.FastGAN, _shape_from_noise),
    projected_gan.Generator: (lambda shape, G, D: StoredProjectedGAN(shape, G), _shape_from_noise),
    # The file has the statistics of batch norm.
    biggan.Generator: (partial(methods.BigGAN, standing=0), _shape_from_noise),
    biggan_deep.DeepGenerator: (partial(methods.BigGAN, standing=0), _shape_from_noise),
    StoredStatistics: (lambda shape, G, D: StoredBigGAN(shape, G), _shape_from_noise),
    cogan.Generators: (methods.CoGAN, _shape_from_noise),
    cogan.Generator: (methods.DCGAN, _shape_from_noise),
    Translator: (
        lambda shape, G, D: methods.UNIT(shape, lambda **_: G().E, lambda **_: G().G, D),
        _shape_of_translator,
    ),
    image_to_image.UNetGenerator: (
        methods.Pix2Pix,
        lambda net: _shape_of_images(net, net.multiple),
    ),
    image_to_image.ResNetGenerator: (methods.CycleGAN, _shape_of_images),
    stylegan2_translator.Generator: (methods.CycleGAN, _shape_of_images),
    pix2pixhd.FeatureEncoder: (methods.CycleGAN, _shape_of_images),  # without instances
    latent_autoencoder.KLAutoencoder: (
        lambda shape, G, D: methods.AutoencoderKL(shape, G, D),
        _shape_of_autoencoder,
    ),
    latent_autoencoder.VQAutoencoder: (
        lambda shape, G, D: methods.VQGAN(shape, G, D),
        _shape_of_autoencoder,
    ),
    discogan.Generator: (methods.DiscoGAN, lambda net: _shape_of_images(net, 64)),
    **{
        network: (
            lambda shape, G, D: methods.SRResNet(shape, G),
            partial(_shape_of_images, side=96),
        )
        for network in (
            super_resolution.SRResNet,
            super_resolution.MSRResNet,
            super_resolution.RRDBNet,
            ShuffledRRDBNet,
            super_resolution.CompactNet,
            Upscaler,
        )
    },
}
# These take `labels`: whether there are labels.
LABELED = (
    methods.StyleGAN,
    methods.StyleGAN2,
    methods.StyleGAN3,
    methods.R3GAN,
    methods.BigGAN,
)


def import_model(
    file: str | Path,
    out: str | Path,
    part: str | None = None,
    options: Options | None = None,
) -> Description:
    """Convert the generator in another project's checkpoint to a model folder.

    The folder is for `ganvas sample` and `ganvas translate`.

    out: a new or empty folder
    part: which network, if the file holds several
    options: settings that names and shapes do not show, by name

    Returns the header, whose `options` are all such settings. Raises `UserError` if the
    file is not recognized (with the reason), if it holds no generator, and if `out` is
    not empty.
    """
    file, out = Path(file), Path(out)
    require_new_folder(out)
    weights, known = importers.described(file)
    options = {**known, **(options or {})}
    state = importers.read_state(weights, part)
    name, found = importers.recognized(state, str(file))
    found, settings = apply(found, options, name, str(file))
    announce(found, options, name, str(file))
    method, shape = as_method(found.net, name)
    task = "images"
    if isinstance(method, Translates):
        task = "pairs" if method.upscale > 1 else "domains"
    header: Description = {
        "imported": name,
        "options": settings,
        "recipe": f"imported {name}",
        "source": {
            "file": file.name,
            "sha256": sha256_of(weights),
            "part": part,
        },
        "ganvas": __version__,
        "task": task,
        "scale": method.upscale,
        "shape": shape_record(shape),
        "stage": asdict(method.current_stage),
    }
    model_file.write(out, dict(state), header)
    return header


def as_method(net: nn.Module, name: str, shape: Shape | None = None) -> tuple[Method, Shape]:
    """(method that `net` is the generator of, its output shape).

    shape: if known; None: found by `METHODS`

    Raises `UserError` for a network that generates no images.
    """
    if type(net) not in METHODS:
        raise UserError(
            f"this is a {name}, which generates no images by itself or belongs to no method of "
            "ganvas. It can be used from Python only: ganvas.import_network(FILE)"
        )
    factory, shape_of = METHODS[type(net)]
    known = net.float().eval()
    try:
        from_noise = shape_of is _shape_from_noise
        own = shape_of(known) if shape is None or from_noise else shape
    except Exception as e:  # layers may fit singly and not together
        LOG.debug("%s failed", name, exc_info=e)
        why = printable(e)[:200] if isinstance(e, UserError) else "its layers do not fit together"
        raise UserError(f"this {name} cannot be run: {why}") from None
    classes = own.classes if from_noise else 0
    if shape is not None and shape.classes != classes:
        raise UserError(
            f"this {name} has {classes} classes, and its description says {shape.classes}"
        )
    if shape is not None and shape != own:
        raise UserError(f"this {name} generates {own}, and its description says {shape}")
    shape = own
    labels = {"labels": bool(shape.classes)} if getattr(factory, "func", factory) in LABELED else {}
    method = factory(shape, G=lambda **_: net, D=lambda **_: nn.Identity(), **labels)
    if isinstance(known, Progressive):
        method.current_stage = Stage(
            index=len(known.resolutions) - 1, resolution=known.resolutions[-1]
        )
    if isinstance(method, methods.CycleGAN | methods.DiscoGAN):
        method.directions = ("b",)  # one generator, one direction
    return method, shape


def method_of(
    tensors: dict[str, Tensor], file: str, shape: Shape, options: Mapping[str, str]
) -> Method:
    """The method of a model file that `import_model` wrote.

    shape: of its output
    options: settings that its tensors do not show
    """
    name, found = importers.recognized(tensors, file)
    found, _ = apply(found, options, name, file)
    return as_method(found.net, name, shape)[0]
