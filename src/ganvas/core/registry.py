"""The classes and functions that run.json and the header of a model file may name."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ganvas.core.errors import ConfigError, printable

# All names that a description (run.json, the header of a model file) may have, by
# module. A new network, method, schedule or data opener works in descriptions once it
# is listed here. Each entry is called with arguments from the file, so none may have
# side effects beyond opening the data set that its arguments name. tests/test_config.py
# holds the list.
ALLOWED: dict[str, tuple[str, ...]] = {
    "ganvas.core.schedules": (
        "Constant",
        "Cosine",
        "ExponentialDecay",
        "GrowingHalfLife",
        "HalfLife",
        "InverseDecay",
        "LinearDecay",
        "PerStep",
        "Ramp",
        "StepDecay",
        "WarmupCosine",
    ),
    "ganvas.core.types": ("Run",),
    "ganvas.data": ("derived", "domains", "images", "label_maps", "pairs", "super_resolution"),
    "ganvas.data.degradation_chain": ("Chain",),
    "ganvas.data.degradation_steps": (
        "Blur",
        "JPEG",
        "Noise",
        "Resize",
        "Sharpen",
        "Sinc",
        "Swap",
    ),
    "ganvas.data.real_degradation": ("Pass", "RealDegradation"),
    "ganvas.data.stacked": ("stacks",),
    "ganvas.data.toy": ("gaussian_grid_feed", "gaussian_ring_feed", "languages"),
    "ganvas.methods.autoencoder_kl": ("AutoencoderKL",),
    "ganvas.methods.biggan": ("BigGAN",),
    "ganvas.methods.cgan": ("CGAN",),
    "ganvas.methods.cogan": ("CoGAN",),
    "ganvas.methods.cut": ("CUT",),
    "ganvas.methods.cyclegan": ("CycleGAN",),
    "ganvas.methods.dcgan": ("DCGAN",),
    "ganvas.methods.deoldify": ("DeOldify",),
    "ganvas.methods.discogan": ("DiscoGAN",),
    "ganvas.methods.dong2017": ("Dong2017",),
    "ganvas.methods.dual_learning": ("DualLearning",),
    "ganvas.methods.dualgan": ("DualGAN",),
    "ganvas.methods.esrgan": ("ESRGAN",),
    "ganvas.methods.fastgan": ("FastGAN",),
    "ganvas.methods.gan": ("GAN",),
    "ganvas.methods.infogan": ("InfoGAN",),
    "ganvas.methods.lsgan": ("LSGAN",),
    "ganvas.methods.multiscale_patch": ("MultiscalePatch",),
    "ganvas.methods.pacgan": ("PacGAN",),
    "ganvas.methods.pix2pix": ("Pix2Pix",),
    "ganvas.methods.pix2pixhd": ("Pix2PixHD",),
    "ganvas.methods.progan": ("ProGAN",),
    "ganvas.methods.r3gan": ("R3GAN",),
    "ganvas.methods.realesrgan": ("RealESRGAN",),
    "ganvas.methods.s3gan": ("S3GAN",),
    "ganvas.methods.sagan": ("SAGAN",),
    "ganvas.methods.singan": ("SinGAN",),
    "ganvas.methods.sngan": ("SNGAN",),
    "ganvas.methods.spade": ("SPADE",),
    "ganvas.methods.sparse_transformer": ("SparseTransformer",),
    "ganvas.methods.srgan": ("SRGAN",),
    "ganvas.methods.srresnet": ("SRResNet",),
    "ganvas.methods.stylegan": ("StyleGAN",),
    "ganvas.methods.stylegan2": ("StyleGAN2",),
    "ganvas.methods.stylegan3": ("StyleGAN3",),
    "ganvas.methods.unit": ("UNIT",),
    "ganvas.methods.vae": ("VAE",),
    "ganvas.methods.vaegan": ("VAEGAN",),
    "ganvas.methods.vqgan": ("VQGAN",),
    "ganvas.methods.wgan": ("WGAN",),
    "ganvas.methods.wgan_gp": ("WGANGP",),
    "ganvas.nets.augment": ("ADA", "DiffAugment"),
    "ganvas.nets.autoencoder": (
        "Decoder",
        "Encoder",
        "FeatureDiscriminator",
        "MLPDecoder",
        "MLPEncoder",
    ),
    "ganvas.nets.biggan": ("Discriminator", "Generator"),
    "ganvas.nets.biggan_deep": ("DeepDiscriminator", "DeepGenerator"),
    "ganvas.nets.cogan": ("Discriminators", "Generators"),
    "ganvas.nets.colorization": ("Colouring",),
    "ganvas.nets.cut": ("PatchMLP",),
    "ganvas.nets.dcgan": ("Discriminator", "Generator"),
    "ganvas.nets.deoldify": ("Critic", "UNet"),
    "ganvas.nets.discogan": ("Discriminator", "Generator"),
    "ganvas.nets.dong2017": ("Discriminator", "Encoder", "Generator"),
    "ganvas.nets.dualgan": ("Critic",),
    "ganvas.nets.fastgan": ("Discriminator", "Generator"),
    "ganvas.nets.image_to_image": ("ResNetGenerator", "UNetGenerator"),
    "ganvas.nets.infogan": ("Discriminator", "Generator"),
    "ganvas.nets.latent_autoencoder": ("KLAutoencoder", "VQAutoencoder"),
    "ganvas.nets.mlp": (
        "ConditionalMLPGenerator",
        "ConditionalMaxoutDiscriminator",
        "MLPGenerator",
        "MaxoutDiscriminator",
    ),
    "ganvas.nets.multiscale": ("MultiscaleDiscriminator",),
    "ganvas.nets.multiscale_patch": ("Discriminators", "Generators"),
    "ganvas.nets.patchgan": ("PatchDiscriminator", "PixelDiscriminator"),
    "ganvas.nets.pix2pixhd": ("LocalEnhancer",),
    "ganvas.nets.progan": ("ProgressiveDiscriminator", "ProgressiveGenerator"),
    "ganvas.nets.r3gan": ("Discriminator", "Generator"),
    "ganvas.nets.resnet": ("Discriminator", "Generator"),
    "ganvas.nets.restoration": ("Corrected",),
    "ganvas.nets.s3gan": ("Classifier", "Discriminator"),
    "ganvas.nets.singan": ("Discriminators", "Generators"),
    "ganvas.nets.sngan": ("Discriminator", "Generator"),
    "ganvas.nets.spade": ("Generator", "StyleEncoder"),
    "ganvas.nets.sparse_transformer": ("SparseTransformer",),
    "ganvas.nets.stylegan": ("Generator",),
    "ganvas.nets.stylegan2": ("Discriminator", "Generator"),
    "ganvas.nets.stylegan3": ("Generator",),
    "ganvas.nets.super_resolution": (
        "CompactNet",
        "MSRResNet",
        "RRDBNet",
        "SRDiscriminator",
        "SRResNet",
        "UNetDiscriminator",
        "VGGStyleDiscriminator",
    ),
    "ganvas.nets.toy_language": ("Bigram", "Translator"),
    "ganvas.nets.toy_points": ("Discriminator", "Generator"),
    "ganvas.nets.unit": ("Decoders", "Encoders", "MultiscaleDiscriminator"),
    "torch.optim.adagrad": ("Adagrad",),
    "torch.optim.adam": ("Adam",),
    "torch.optim.adamw": ("AdamW",),
    "torch.optim.rmsprop": ("RMSprop",),
    "torch.optim.sgd": ("SGD",),
}
# Modules, and classes as "module:class", that descriptions written by version 0.1 name,
# and where they are now.
MOVED: dict[str, str] = {
    "ganvas.core": "ganvas.core.types",
    "ganvas.nets.biggan:DeepDiscriminator": "ganvas.nets.biggan_deep:DeepDiscriminator",
    "ganvas.nets.biggan:DeepGenerator": "ganvas.nets.biggan_deep:DeepGenerator",
    "ganvas.nets.cnn": "ganvas.nets.sngan",
    "ganvas.nets.colouring": "ganvas.nets.colorization",
    "ganvas.nets.dong": "ganvas.nets.dong2017",
    "ganvas.nets.patch": "ganvas.nets.patchgan",
    "ganvas.nets.points": "ganvas.nets.toy_points",
    "ganvas.nets.progressive": "ganvas.nets.progan",
    "ganvas.nets.style": "ganvas.nets.stylegan",
    "ganvas.nets.style2": "ganvas.nets.stylegan2",
    "ganvas.nets.superres": "ganvas.nets.super_resolution",
    "ganvas.nets.translate": "ganvas.nets.image_to_image",
    "ganvas.nets.words": "ganvas.nets.toy_language",
    "ganvas.schedules": "ganvas.core.schedules",
}
# Packages whose classes never count as those of the user's own program.
NOT_THE_USERS = {"ganvas", *sys.stdlib_module_names} - {"__main__"}
# Folders of installed packages, whose classes are not the user's either.
INSTALLED = tuple(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib"))
LARGEST = 1 << 53  # integer in a description; beyond it JSON's readers disagree


def find(name: str) -> Callable[..., object]:
    """The class or function of a name "module:thing" in a description.

    Allowed are the entries of `ALLOWED`; networks and optimizers of the user's own
    program, that is, of modules that it has imported itself and that lie outside
    installed packages; and those of installed packages that registered recipes with
    ganvas.

    Raises `ConfigError` for all else.
    """
    module, _, thing = MOVED.get(name, name).partition(":")
    module = MOVED.get(module, module)
    if thing in ALLOWED.get(module, ()):
        return getattr(importlib.import_module(module), thing)
    package = module.partition(".")[0]
    own = package not in NOT_THE_USERS
    if own and module not in sys.modules:
        _load_registered(package)
    if own and module not in sys.modules:
        raise ConfigError(
            f"the description uses {shorten(name)}, which is not part of ganvas: import the module "
            f"{shorten(module)} in your program first, if you trust it, and load it from there"
        )
    names: dict[str, Any] = getattr(sys.modules[module], "__dict__", {}) if own else {}
    found = names.get(thing)
    # A module's own public classes, not what it has imported. `isinstance` would ask
    # the object for its class, which deprecated objects of torch answer with a warning.
    if (
        found is not None
        and issubclass(type(found), type)
        and (found.__module__, found.__qualname__) == (module, thing)
        and not thing.startswith("_")
    ):
        part = issubclass(found, nn.Module | torch.optim.Optimizer)
        users = not _is_installed(sys.modules[module])
        if part and users:
            return found
        record = dataclasses.is_dataclass(found)
        if (part or record) and _load_registered(package):
            return found
    raise ConfigError(
        f"the description names {shorten(name)}, which is not an allowed class or function; "
        "nothing was loaded"
    )


def recipes_of_packages() -> tuple[importlib.metadata.EntryPoint, ...]:
    """Recipes of installed packages: entry points of the group `ganvas.recipes`."""
    return _recipes_on(tuple(sys.path))


@functools.cache  # reads the metadata of every installed package
def _recipes_on(path: tuple[str, ...]) -> tuple[importlib.metadata.EntryPoint, ...]:
    """The entry points while `path` is `sys.path`, on which they depend."""
    return tuple(importlib.metadata.entry_points(group="ganvas.recipes"))


def _is_installed(module: ModuleType) -> bool:
    """Whether a module belongs to an installed package, not to the user's program."""
    file = getattr(module, "__file__", None)
    return file is not None and any(Path(file).is_relative_to(folder) for folder in INSTALLED)


def _load_registered(package: str) -> bool:
    """Whether an installed package has recipes as entry points; they are imported.

    Only the modules that the package itself registers are imported, never one that a
    description names.
    """
    own = [entry for entry in recipes_of_packages() if entry.module.partition(".")[0] == package]
    for entry in own:
        try:
            entry.load()
        except Exception as e:
            raise ConfigError(
                f"the recipe {entry.name} of the package {package} cannot be loaded: {printable(e)}"
            ) from e
    return bool(own)


def shorten(value: object) -> str:
    """The printable representation of a value, at most 80 characters."""
    text = printable(repr(value))
    return text if len(text) <= 80 else f"{text[:77]}..."
