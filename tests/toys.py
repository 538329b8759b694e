"""Every recipe at toy size, and toy data, for the contract tests."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from ganvas import recipes
from ganvas.core import Run, config
from ganvas.data import domains, label_maps, pairs, super_resolution, toy
from ganvas.methods import CGAN

# Settings by recipe, separated by spaces, with which a few steps take a second.
SETTINGS: dict[str, str] = {
    "gan": "G.hidden=[16,16] D.units=8 data.size=8 batch=8",
    "gan_adam": "G.hidden=[16,16] D.units=8 data.size=8 batch=8",
    "cgan": (
        "G.noise_units=8 G.label_units=8 G.joint_units=16 D.units=8 D.label_units=4 "
        "data.size=8 batch=8"
    ),
    "cgan_dcgan": "G.width=4 D.width=4 data.size=16 batch=8",
    "dcgan": "G.width=4 D.width=4 data.size=16 batch=8",
    "dcgan_digits": "G.width=4 D.width=4 data.size=16 batch=8 r1_every=2",
    "dcgan_letters": "G.width=4 D.width=4 data.size=16 batch=8 r1_every=2",
    "wgan": "G.width=4 D.width=4 data.size=16 batch=8 n_critic=2 long=3 first=1",
    "r3gan": "G.width=8 D.width=8 data.size=16 batch=8",
    "r3gan_64": "G.width=8 D.width=8 data.size=16 batch=8",
    "r3gan_256": "G.width=8 D.width=8 data.size=16 batch=8",
    "r3gan_small": "G.width=8 D.width=8 data.size=16 batch=8",
    "vae": "Enc.hidden=8 Dec.hidden=8 latent=4 data.size=8 batch=8",
    "vae_conv": "Enc.width=2 Dec.width=2 latent=4 data.size=16 batch=8",
    "vae_small": "Enc.width=2 Dec.width=2 latent=4 data.size=16 batch=8",
    "vaegan": "Enc.width=2 Dec.width=2 Dis.width=2 latent=4 data.size=16 batch=8",
    "vaegan_small": "Enc.width=2 Dec.width=2 Dis.width=2 latent=4 data.size=16 batch=8",
    "wgan_gp_dcgan": "G.width=4 D.width=4 data.size=16 batch=8 n_critic=2",
    "wgan_gp": "G.width=8 D.width=8 data.size=16 batch=8 n_critic=2",
    "sngan": "G.width=8 D.width=8 data.size=16 batch=8 n_critic=2 sigma_every=2",
    "sngan_projection": "G.width=8 D.width=8 data.size=16 batch=8 n_critic=2 sigma_every=2",
    "sngan_cnn": "G.width=4 D.width=4 data.size=16 batch=8 sigma_every=2",
    "sagan": (
        "G.width=2 D.width=2 G.attention=[8] D.attention=[8] data.size=16 batch=8 sigma_every=2"
    ),
    "sagan_official": (
        "G.width=2 D.width=2 G.attention=[8] D.attention=[8] data.size=16 batch=8 sigma_every=2"
    ),
    "sagan_digits": "G.width=2 D.width=2 G.attention=[8] D.attention=[8] data.size=16 batch=8",
    "biggan": (
        "G.width=2 D.width=2 G.attention=[8] D.attention=[8] data.size=16 batch=8 "
        "sigma_every=2 ema.start=1"
    ),
    "biggan_deep": "G.width=2 D.width=2 G.attention=[8] D.attention=[8] data.size=16 batch=8",
    "biggan_cifar": "G.width=2 D.width=2 data.size=16 batch=8 n_critic=2 ema.start=1",
    "biggan_digits": "G.width=2 D.width=2 G.attention=[8] D.attention=[8] data.size=16 batch=8",
    "cut": (
        "G.width=2 G.blocks=2 F.width=4 D.width=2 D.layers=2 taps=[0,4,8,12] patches=8 "
        "data.size=16 data.load=18 batch=2"
    ),
    "fastcut": (
        "G.width=2 G.blocks=2 F.width=4 D.width=2 D.layers=2 taps=[0,4,8,12] patches=8 "
        "data.size=16 data.load=18 batch=2"
    ),
    "s3gan": (
        "G.width=2 D.width=2 C.width=2 G.attention=[8] D.attention=[8] C.attention=[] "
        "data.size=16 data.labeled=0.5 batch=8 pretrain=16 ema.start=1"
    ),
    "s3gan_cotrained": (
        "G.width=2 D.width=2 G.attention=[8] D.attention=[8] data.size=16 data.labeled=0.5 "
        "batch=8 n_critic=1 guess=soft ema.start=1"
    ),
    "s3gan_small": (
        "G.width=2 D.width=2 C.width=2 data.size=16 data.labeled=0.5 batch=8 pretrain=16"
    ),
    "progan": "G.widths=[8,8,8] D.widths=[8,8,8] G.latent=8 data.size=16 batch=8 fade=16 hold=16",
    "progan_labels": (
        "G.widths=[8,8,8] D.widths=[8,8,8] G.latent=8 data.size=16 batch=8 fade=16 hold=16"
    ),
    "multiscale_patch": (
        "G.width=2 G.blocks=1 D.width=2 side=8 method.images=8 data.size=32 batch=4"
    ),
    "multiscale_patch_small": (
        "G.width=2 G.blocks=1 D.width=2 side=8 method.images=8 data.size=16 batch=4"
    ),
    "fastgan": "G.width=2 D.width=2 G.latent=4 D.decoder_width=2 data.size=32 batch=4",
    "fastgan_small": "G.width=2 D.width=2 G.latent=4 D.decoder_width=2 data.size=32 batch=4",
    "infogan": (
        "G.width=2 G.hidden=8 D.width=2 D.hidden=8 D.code_units=4 noise=4 data.size=8 batch=8"
    ),
    "pacgan": "G.width=4 D.width=4 data.size=16 batch=8",
    "lsgan": "G.width=4 D.width=4 data.size=16 batch=8",
    "spade": "G.width=1 G.hidden=4 D.width=4 D.layers=2 data.size=32 data.load=34 batch=2",
    "spade_style": (
        "G.width=1 G.hidden=4 D.width=4 D.layers=2 E.width=2 E.latent=4 E.side=16 data.size=32 "
        "data.load=34 batch=2"
    ),
    "spade_small": "G.width=1 G.hidden=4 D.width=4 D.layers=2 data.size=32 data.load=34 batch=2",
    "pix2pixhd": "G.width=2 G.blocks=1 G.downs=2 D.width=4 D.layers=2 data.size=16 batch=2",
    "pix2pixhd_local": (
        "G.width=2 G.blocks=1 G.local_blocks=1 G.downs=1 D.width=4 D.layers=2 D.scales=2 "
        "data.size=16 batch=2 G.head=false coarse=0"
    ),
    "stylegan3": (
        "G.width=4 G.base=64 G.depth=4 G.latent=8 G.style=8 D.widths=[4,4,4] data.size=16 batch=8 "
        "r1_every=2"
    ),
    "stylegan3_small": (
        "G.width=4 G.base=64 G.depth=4 D.widths=[4,4,4] data.size=16 batch=8 r1_every=2"
    ),
    "autoencoder_kl": (
        "AE.widths=[4,4] AE.blocks=1 D.width=4 D.layers=1 data.size=16 batch=2 start=6"
    ),
    "autoencoder_kl_small": "AE.widths=[4,4] D.width=4 D.layers=1 data.size=16 batch=2 start=6",
    "vqgan": (
        "AE.widths=[4,4] AE.blocks=1 AE.codes=8 D.width=4 D.layers=1 data.size=16 batch=2 start=6"
    ),
    "vqgan_small": "AE.widths=[4,4] AE.codes=8 D.width=4 D.layers=1 data.size=16 batch=2 start=6",
    "sparse_transformer": ("T.levels=8 T.width=8 T.layers=4 T.summary=2 data.size=4 batch=8"),
    "sparse_transformer_small": ("T.levels=8 T.width=8 T.layers=2 T.summary=2 data.size=4 batch=8"),
    "deoldify": (
        "G.kind=deep G.encoder=resnet34 G.factor=1 G.stem=4 G.blocks=[1,1,1,1] D.width=8 "
        "D.blocks=1 data.size=64 batch=2 pretrain=4 critic=4"
    ),
    "deoldify_artistic": (
        "G.stem=4 G.blocks=[1,1,1,1] D.width=8 D.blocks=1 data.size=64 batch=2 pretrain=4 critic=2"
    ),
    "deoldify_small": (
        "G.stem=4 G.blocks=[1,1,1,1] D.width=8 D.blocks=1 data.size=64 batch=2 pretrain=4 critic=2"
    ),
    "singan": "G.width=4 D.width=4 data.size=20 batch=1 coarsest=12 images=3",
    "srresnet": "G.width=4 G.blocks=1 data.size=16 batch=2",
    "srgan": "G.width=4 G.blocks=1 D.width=4 data.size=16 batch=2 pretrain=2 slow=6",
    "compact": "G.width=4 G.layers=2 data.size=16 batch=2",
    "esrgan": (
        "G.width=4 G.blocks=1 G.growth=2 D.width=2 data.size=128 batch=2 pretrain=2 "
        "halve_pretrain=2 halve_game=[2]"
    ),
    "realesrgan": ("G.width=4 G.blocks=1 G.growth=2 D.width=2 data.size=32 batch=2 pretrain=2"),
    "realesrgan_compact": "G.width=4 G.layers=2 D.width=2 data.size=32 batch=2 pretrain=2",
    "srgan_basicsr": "G.width=4 G.blocks=1 D.width=2 data.size=128 batch=2 pretrain=0",
    "srgan_compact": "G.width=4 G.layers=2 D.width=2 data.size=128 batch=2 pretrain=0",
    "stylegan": (
        "G.widths=[8,8,8] D.widths=[8,8,8] G.latent=8 G.style=8 data.size=16 batch=8 fade=16 "
        "hold=16 batches={} start=4"
    ),
    "stylegan_digits": (
        "G.widths=[4,4,4] D.widths=[4,4,4] data.size=16 batch=8 fade=16 hold=16 start=4"
    ),
    "stylegan2": (
        "G.widths=[4,4,4] D.widths=[4,4,4] G.latent=8 G.style=8 data.size=16 batch=8 pl_every=2"
    ),
    "stylegan2_ada_cifar": (
        "G.widths=[4,4,4] D.widths=[4,4,4] D.group=4 G.latent=8 G.style=8 data.size=16 "
        "batch=8 r1_every=2"
    ),
    "stylegan2_digits": "G.widths=[4,4,4] D.widths=[4,4,4] data.size=16 batch=8 r1_every=3",
    "cogan": "G.widths=[8,8,4,4] D.widths=[4,8,8] G.latent=8 data.size=20 batch=4",
    "unit": "E.width=4 E.blocks=2 G.blocks=2 D.width=4 D.layers=2 D.scales=2 data.size=16 batch=2",
    "unit_official": (
        "E.width=4 E.blocks=2 G.blocks=2 D.width=4 D.layers=2 D.scales=2 data.size=16 batch=2 "
        "lr.every=4"
    ),
    "dong2017": "G.width=4 D.width=4 E.width=4 data.size=16 batch=4 game=12",
    "dong2017_official": "G.width=4 D.width=4 E.width=4 data.size=16 data.load=18 batch=4 game=12",
    "dual_learning": "data.size=5 data.words=4 data.count=50 batch=8 pretrain=24",
    "pix2pix": "G.width=4 G.depth=3 D.width=4 D.layers=1 data.size=16 data.load=18 batch=2",
    "pix2pix_pixel": "G.width=4 G.depth=3 D.width=4 data.size=16 data.load=18 batch=2",
    "restore": "G.net.width=4 G.net.depth=3 D.width=4 D.layers=1 data.size=16 batch=2",
    "colour": "G.net.width=4 G.net.depth=3 D.width=4 D.layers=1 data.size=16 batch=2",
    "edges": "G.width=4 G.depth=3 D.width=4 D.layers=1 data.size=16 data.load=18 batch=2",
    "cyclegan": (
        "G.width=4 G.blocks=1 D.width=4 D.layers=1 data.size=16 data.load=18 batch=2 pool=4"
    ),
    "discogan": "G.width=4 G.depth=2 D.width=4 data.size=16 batch=8 curriculum=4",
    "dualgan": "G.width=4 G.depth=3 D.width=4 D.layers=1 data.size=16 batch=2 n_critic=2",
    "dualgan_official": "G.width=4 G.depth=3 G.dropout=2 D.width=4 D.layers=2 data.size=16 batch=2",
}
SMALL = {recipe: settings.split() for recipe, settings in SETTINGS.items()}


def toy_images(
    folder: Path, count: int = 24, channels: int = 3, side: int = 20, seed: int = 0
) -> Path:
    """PNG files with a blob of random position and color each."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:side, :side]
    for i in range(count):
        cy, cx, r = [*rng.uniform(4, side - 4, 2).tolist(), rng.uniform(2, 6)]
        blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / r**2)[..., None] * rng.uniform(
            60, 255, channels
        )
        pixels = blob.astype(np.uint8)
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(folder / f"{i:03d}.png")
    return folder


def toy_label_maps(folder: Path, count: int = 12, side: int = 20) -> Path:
    """PNG files in three colors, each with a rectangle of two of them."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = np.zeros((side, side, 3), np.uint8)
        for color in ((255, 0, 0), (0, 0, 255)):
            top, left = rng.integers(0, side - 6, 2)
            pixels[top : top + 6, left : left + 6] = color
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    return folder


def toy_data(recipe: str, folder: Path) -> Path:
    """Toy data for `recipe`, written to `folder`."""
    run: Any = recipes.find(recipe)(1)
    if run.data.func is pairs:
        toy_images(folder / "A", 12)
        toy_images(folder / "B", 12, seed=1)
        return folder
    if run.data.func is label_maps:
        toy_images(folder / "B", 12, seed=1)
        toy_label_maps(folder / "A", 12)
        return folder
    if run.data.func is domains:
        toy_images(folder / "trainA", 12)
        toy_images(folder / "trainB", 9)
        return folder
    if run.data.func is toy.languages:
        return Path("distinct")
    if run.data.func is super_resolution:
        sides = {"srgan_basicsr": 180, "srgan_compact": 180, "esrgan": 180}
        sides |= {"realesrgan": 48, "realesrgan_compact": 48}
        return toy_images(folder, 6, side=sides.get(recipe, 30))
    if run.method.keywords.get("labels") or run.method.func is CGAN:
        for i, name in enumerate(("dark", "light")):
            toy_images(folder / name, 12 + i)
        return folder
    return toy_images(folder)


def toy_run(recipe: str, data: Path, *more: str) -> Run:
    """The recipe at toy size on `data`.

    more: further path=value settings"""
    run = recipes.find(recipe)(12)
    for assignment in [f"data.source={data}", *SMALL[recipe], *more]:
        run = config.override(run, assignment)
    return run


def distinct_recipes() -> list[str]:
    """One recipe for each method, choice of networks and of switches; sorted.

    The others differ in numbers only, most of which are the same at toy size."""
    found: dict[object, str] = {}
    for name, recipe in sorted(recipes.all_recipes().items()):
        method: Any = recipe(12).method
        parts = {k: v.func if isinstance(v, partial) else v for k, v in method.keywords.items()}
        chosen = {
            k: str(v)
            for k, v in parts.items()
            if isinstance(v, type | FunctionType | bool | str)  # schedules are numbers
        }
        found.setdefault((method.func, tuple(sorted(chosen.items()))), name)
    return sorted(found.values())


def lively(net: nn.Module) -> nn.Module:
    """Give `net` weights and statistics with which all pixels of its output differ."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(m.weight, std=(2 / m.weight[0].numel()) ** 0.5)
        elif isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_()  # type: ignore[union-attr]
            m.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return net.eval()
