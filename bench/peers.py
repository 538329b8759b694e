"""Compare the speed of a training step with that of the reference code.

    python bench/peers.py dcgan --peer PATH       a checkout of pytorch/examples
    python bench/peers.py cyclegan --peer PATH
                          a checkout of junyanz/pytorch-CycleGAN-and-pix2pix
    python bench/peers.py pix2pix --peer PATH     the same
    python bench/peers.py biggan --peer PATH      a checkout of ajbrock/BigGAN-PyTorch
    python bench/peers.py srgan --peer PATH       a checkout of XPixelGroup/BasicSR
    python bench/peers.py stylegan2 --peer PATH
                          a checkout of NVlabs/stylegan2-ada-pytorch
        [--size 64] [--batch 64] [--precision fp32] [--compile MODE] [--rounds 7]
        [--threads 2] [--device cpu]

Runs the reference's own step, from its own files, and ganvas's step of the same recipe,
on the same images from the same weights, each in its own process. First it checks that
one step gives the same losses. Then the two alternate (A B A B ...). Records the median
of the paired ratios, and the largest memory of each, less that of its process before
the first step. bench/results/peers.json has one entry per case. Nothing of a peer is
copied: its code is read from the checkout.

The rounding of fp32 depends on the processor, so that there is no fixed tolerance if
the reference can also run in float64 (dcgan): both take the same step in float64, where
they must agree to half of its digits. The distance of each fp32 result from its own
float64 result is then rounding alone, and the two together bound the difference in
fp32.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import io
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import types
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor

from ganvas import recipes
from ganvas.core import Batch, Shape
from ganvas.core.allocator import retain_heap
from ganvas.core.config import override
from ganvas.core.environment import commit, machine
from ganvas.core.schedules import Constant
from ganvas.engine.engine import Engine
from ganvas.inference.importers import FORMATS

RESULTS = Path(__file__).parent / "results" / "peers.json"
# Relative tolerances of one step's losses: same mathematics, other order of operations.
# Used in fp32 only if the reference cannot run in float64.
TOLERANCE = {"fp32": 1e-5, "tf32": 2e-2, "bf16": 0.1}
# Half of a type's digits, which is what long sums and differences may cost: 1.5e-8 and 3.5e-4.
HALF = {name: torch.finfo(getattr(torch, name)).eps ** 0.5 for name in ("float64", "float32")}


class Fixed:
    """A feed that always gives the same images, channels last as ganvas's feeds."""

    def __init__(self, shape: Shape, **fields: Tensor) -> None:
        self.info: Any = types.SimpleNamespace(shape=shape)
        last = torch.channels_last
        self.fields = {
            k: v.contiguous(memory_format=last) if v.ndim == 4 else v for k, v in fields.items()
        }

    def draw(self, *_: Any, device: Any = None, **__: Any) -> Batch:
        return Batch(**{k: v.to(device) for k, v in self.fields.items()})


class Peer(ABC):
    """One reference's training step.

    `step()` performs it and returns its losses by ganvas's names. `networks` are its
    networks by ganvas's names. `draws` are the random numbers of its first step, by the
    names of ganvas's methods that draw the same, since each would draw in its own way.
    `settings` are further settings for ganvas.

    The step repeats on random images until `load` gives it others, and the results of
    the training are `sample(n)` (images from noise) or `translate(x, to)`: see
    bench/quality.py."""

    networks: dict[str, torch.nn.Module]
    draws: Mapping[str, list[Tensor]] = MappingProxyType({})
    settings: tuple[str, ...] = ()
    # Whether the networks stay as they are in the first step, since rounding changes some
    # signs of Adam's first updates.
    still = False

    def __init__(
        self, checkout: Path, size: int, batch: int, device: str, channels: int = 3
    ) -> None:
        self.checkout, self.size, self.batch, self.device = checkout, size, batch, device
        self.channels = channels

    @abstractmethod
    def step(self) -> dict[str, float]: ...

    @property
    def images(self) -> int:
        """Images that a step takes."""
        return self.batch

    def progress(self, share: float) -> None:
        """Prepare the next step after this share of the training's time."""
        return

    def load(self, batch: Batch) -> None:
        """Set the images of the next step: `images` of a feed, in [-1, 1]."""
        raise NotImplementedError(f"{type(self).__name__} repeats its random images")

    def sample(self, n: int) -> Tensor:
        """Images [n, C, H, W] in [-1, 1], generated as the reference does."""
        raise NotImplementedError(f"{type(self).__name__} has no sample")

    def translate(self, x: Tensor, to: str) -> Tensor:
        """Images [n, C, H, W] in [-1, 1] of domain `to`, as the reference does."""
        raise NotImplementedError(f"{type(self).__name__} has no translate to {to}")

    def first(self) -> dict[str, float]:
        """Perform the first step, with the random numbers that ganvas gets."""
        return self.step()

    def widen(self) -> bool:
        """Continue in float64 from the same weights; False if the reference cannot."""
        return False

    @abstractmethod
    def feed(self) -> Fixed: ...


class DCGAN(Peer):
    """pytorch/examples/dcgan/main.py, which trains when it is imported.

    Its classes and the body of its loop are taken out of its syntax tree and run
    unchanged, without the printing and the images."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        assert self.size == 64, "this reference makes images of 64x64"
        tree = ast.parse((self.checkout / "dcgan" / "main.py").read_text())
        wanted = [n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
        self.names: dict[str, Any] = {
            "torch": torch, "nn": torch.nn, "nz": 100, "ngf": 64, "ndf": 64, "nc": self.channels,
            "device": torch.device(self.device), "criterion": torch.nn.BCELoss(),
            "real_label": 1, "fake_label": 0,
        }  # fmt: skip
        run(wanted, self.names)
        for name, network in (("netG", "Generator"), ("netD", "Discriminator")):
            self.names[name] = (
                self.names[network](1).to(self.device).apply(self.names["weights_init"])
            )
            self.names[f"optimizer{name[-1]}"] = torch.optim.Adam(
                self.names[name].parameters(), lr=2e-4, betas=(0.5, 0.999)
            )
        loop = next(
            n
            for n in ast.walk(tree)
            if isinstance(n, ast.For) and "dataloader" in ast.unparse(n.iter)
        )
        body = [
            n for n in loop.body if not isinstance(n, ast.If) and "print(" not in ast.unparse(n)
        ]
        self.body = compile(ast.Module(body, []), "dcgan/main.py", "exec")
        self.networks = {"G": self.names["netG"], "D": self.names["netD"]}
        self.real = torch.rand(self.batch, self.channels, 64, 64) * 2 - 1
        self.names["data"] = (self.real,)
        self.draws = {"latent": [torch.randn(self.batch, 100, device=self.device)]}

    def load(self, batch: Batch) -> None:
        self.real = batch.x
        self.names["data"] = (self.real,)

    def sample(self, n: int) -> Tensor:
        """In batches as in training, since the reference never calls `eval`."""
        parts = torch.randn(n, 100, 1, 1, device=self.device).split(self.batch)
        with torch.no_grad():
            return torch.cat([self.names["netG"](z) for z in parts])

    def first(self) -> dict[str, float]:
        (noise,) = self.draws["latent"]
        plain, torch.randn = torch.randn, lambda *_, **__: noise[:, :, None, None]
        found = self.step()
        torch.randn = plain
        return found

    def widen(self) -> bool:
        for network in self.networks.values():
            network.double()
        self.real = self.real.double()
        self.names["data"] = (self.real,)
        self.draws = {"latent": [z.double() for z in self.draws["latent"]]}
        return True

    def step(self) -> dict[str, float]:
        exec(self.body, self.names)
        # The reference prints these after every step, and to print them it reads them.
        return {"D/loss": self.names["errD"].item(), "G/loss": self.names["errG"].item()}

    def feed(self) -> Fixed:
        return Fixed(Shape(self.channels, 64, 64), x=self.real)


class Junyanz(Peer):
    """A model of pytorch-CycleGAN-and-pix2pix: its options and `optimize_parameters`."""

    model = ""
    options: tuple[str, ...] = ()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        sys.path.insert(0, str(self.checkout))
        absent("torchvision")  # its data loading imports it, and nothing here loads data with it
        create_model = importlib.import_module("models").create_model
        TrainOptions = importlib.import_module("options.train_options").TrainOptions

        sys.argv = [
            "train.py", "--dataroot", ".", "--name", "bench", "--model", self.model,
            "--checkpoints_dir", os.environ.get("TMPDIR", "/tmp"),
            "--batch_size", str(self.batch), "--input_nc", str(self.channels),
            "--output_nc", str(self.channels), *self.options,
        ]  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()):
            parser = TrainOptions()
            opt = parser.gather_options()
            # Since August 2025 there is `device`, and `setup` initializes the weights.
            before = "gpu_ids" in opt
            opt.isTrain, opt.gpu_ids = True, [] if self.device == "cpu" else [0]
            opt.device = torch.device(self.device)
            self.theirs = create_model(opt)
            if not before:
                self.theirs.setup(opt)
        shape = self.batch, self.channels, self.size, self.size
        self.a, self.b = (torch.rand(shape) * 2 - 1 for _ in range(2))

    def load(self, batch: Batch) -> None:
        self.a, self.b = batch.a, batch.b

    def translate(self, x: Tensor, to: str) -> Tensor:
        """One image at a time and without `eval`, as its test.py does by default."""
        with torch.no_grad():
            return torch.cat([self.generator(to)(one) for one in x.split(1)])

    @abstractmethod
    def generator(self, to: str) -> torch.nn.Module: ...

    def step(self) -> dict[str, float]:
        self.theirs.set_input({"A": self.a, "B": self.b, "A_paths": [], "B_paths": []})
        self.theirs.optimize_parameters()
        return self.losses(
            {k: getattr(self.theirs, f"loss_{k}").item() for k in self.theirs.loss_names}
        )

    @abstractmethod
    def losses(self, theirs: dict[str, float]) -> dict[str, float]: ...


class CycleGAN(Junyanz):
    model = "cycle_gan"

    def __init__(self, *args: Any) -> None:
        self.options = ("--netG", f"resnet_{9 if args[1] >= 256 else 6}blocks")
        super().__init__(*args)
        t = self.theirs  # its netD_A is the discriminator of b
        self.networks = {"G_ab": t.netG_A, "G_ba": t.netG_B, "D_a": t.netD_B, "D_b": t.netD_A}

    def generator(self, to: str) -> torch.nn.Module:
        return self.networks[{"a": "G_ba", "b": "G_ab"}[to]]

    def losses(self, theirs: dict[str, float]) -> dict[str, float]:
        g = sum(theirs[k] for k in ("G_A", "G_B", "cycle_A", "cycle_B", "idt_A", "idt_B"))
        return {"G/loss": g, "D/loss": theirs["D_A"] + theirs["D_B"]}

    def feed(self) -> Fixed:
        return Fixed(Shape(self.channels, self.size, self.size), a=self.a, b=self.b)


class Pix2Pix(Junyanz):
    model = "pix2pix"
    dropout = False  # each side draws its masks in its own way

    def __init__(self, *args: Any) -> None:
        self.options = ("--netG", f"unet_{args[1]}", *(() if self.dropout else ("--no_dropout",)))
        super().__init__(*args)
        self.networks = {"G": self.theirs.netG, "D": self.theirs.netD}

    def generator(self, to: str) -> torch.nn.Module:
        assert to == "b"
        return self.theirs.netG

    def losses(self, theirs: dict[str, float]) -> dict[str, float]:
        return {
            "G/loss": theirs["G_GAN"] + theirs["G_L1"],
            "D/loss": (theirs["D_real"] + theirs["D_fake"]) / 2,
        }

    def feed(self) -> Fixed:
        return Fixed(Shape(self.channels, self.size, self.size), x=self.a, y=self.b)


class BigGAN(Peer):
    """ajbrock/BigGAN-PyTorch's CIFAR-10 script.

    Its own networks and its own `GAN_training_function`, with four updates of D."""

    N_CRITIC = 4
    # Four updates of D come before G's, and with beta1 0 each moves every weight by its
    # rate in either direction.
    still = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        assert self.size == 32, "this reference's script makes images of 32x32"
        absent("torchvision", "h5py", "tqdm")
        sys.path.insert(0, str(self.checkout))
        model, training, utils = (
            importlib.import_module(m) for m in ("BigGAN", "train_fns", "utils")
        )
        losses: Any = importlib.import_module("losses")
        size = {"resolution": 32, "n_classes": 10}
        how = {"SN_eps": 1e-8, "BN_eps": 1e-5, "adam_eps": 1e-8, "skip_init": False}
        activation = torch.nn.ReLU(inplace=False)
        with contextlib.redirect_stdout(io.StringIO()):
            self.G = model.Generator(
                G_ch=64, dim_z=128, G_attn="0", G_lr=2e-4, G_B1=0.0, G_B2=0.999, G_init="N02",
                G_shared=False, hier=False, G_activation=activation, **size, **how,
            )  # fmt: skip
            how.pop("BN_eps")
            self.D = model.Discriminator(
                D_ch=64,
                D_attn="0",
                D_lr=2e-4,
                D_B1=0.0,
                D_B2=0.999,
                D_init="N02",
                D_activation=activation,
                **size,
                **how,
            )
        self.G.to(self.device)
        self.D.to(self.device)
        # Until its singular vectors settle: it moves them in every pass, ganvas with every
        # update.
        with torch.no_grad():
            for m in [*self.G.modules(), *self.D.modules()]:
                for _ in range(300 if hasattr(m, "W_") else 0):
                    m.W_()
        self.networks = {"G": self.G, "D": self.D}
        average = utils.ema(self.G, copy.deepcopy(self.G), 0.9999, 1000)
        config = {
            "batch_size": self.batch, "num_D_steps": self.N_CRITIC, "toggle_grads": True,
            "num_D_accumulations": 1, "num_G_accumulations": 1,
            "split_D": False, "D_ortho": 0.0, "G_ortho": 0.0, "ema": True,
        }  # fmt: skip
        self.state = {"itr": 0}
        self.z, self.y = utils.prepare_z_y(self.batch, 128, 10, device=self.device)
        together = model.G_D(self.G, self.D)
        self.train = training.GAN_training_function(
            self.G, self.D, together, self.z, self.y, average, self.state, config
        )
        self.d_losses: list[Tensor] = []
        plain = losses.discriminator_loss

        def noted(fake: Tensor, real: Tensor) -> Any:
            found = plain(fake, real)
            self.d_losses.append((found[0] + found[1]).detach())
            return found

        losses.discriminator_loss = noted
        self.x, self.labels = (
            torch.rand(self.batch, 3, 32, 32, device=self.device) * 2 - 1,
            torch.randint(10, (self.batch,), device=self.device),
        )
        self.draws = {
            "latent": [torch.randn(self.batch, 128) for _ in range(self.N_CRITIC + 1)],
            "drawn": [torch.randint(10, (self.batch,)) for _ in range(self.N_CRITIC + 1)],
        }

    def first(self) -> dict[str, float]:
        draws = {self.z: iter(self.draws["latent"]), self.y: iter(self.draws["drawn"])}
        for held, values in draws.items():
            held.sample_ = lambda held=held, values=values: held.data.copy_(next(values))
        with unmoved(self.G.optim, self.D.optim):
            found = self.step()
        for held in draws:
            del held.sample_
        return found

    def step(self) -> dict[str, float]:
        self.d_losses.clear()
        self.G.train()
        self.D.train()
        out = self.train(self.x.repeat(self.N_CRITIC, 1, 1, 1), self.labels.repeat(self.N_CRITIC))
        self.state["itr"] += 1
        return {"D/loss": float(torch.stack(self.d_losses).mean()), "G/loss": out["G_loss"]}

    def feed(self) -> Fixed:
        return Fixed(Shape(3, 32, 32, 10), x=self.x, y=self.labels)


class SRGAN(Peer):
    """XPixelGroup/BasicSR's SRGANModel with its options for MSRGAN x4.

    Without the file of its weight average. VGG19 has random weights on both sides,
    since torchvision's are not needed for timing."""

    pixel_weight, perceptual = 1e-2, True
    vgg: Path | None = None  # torchvision's weights; None: random ones

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        assert self.size == 128, "this reference's discriminator takes images of 128x128"
        absent(
            "torchvision", "cv2", "lmdb", "scipy", "requests", "tqdm", "yaml", "skimage",
            "basicsr.version", "basicsr.data", "basicsr.metrics", "basicsr.ops", "basicsr.test",
            "basicsr.train",
        )  # fmt: skip
        sys.path.insert(0, str(self.checkout))
        vgg = vgg19(self.vgg)
        models: Any = importlib.import_module("torchvision.models")
        models.vgg = types.SimpleNamespace(vgg19=lambda **_: types.SimpleNamespace(features=vgg))
        if folder := os.environ.get("GANVAS_BENCH_FOLDER"):
            file = Path(folder) / "vgg19.pth"
            torch.save({f"features.{k}": v for k, v in vgg.state_dict().items()}, file)
            self.settings = (f"vgg={file}", "pretrain=0")
        model = importlib.import_module("basicsr.models.srgan_model").SRGANModel
        adam = {"type": "Adam", "lr": 1e-4, "weight_decay": 0, "betas": [0.9, 0.99]}
        options: dict[str, Any] = {
            "num_gpu": int(self.device != "cpu"), "dist": False, "is_train": True, "path": {},
            "network_g": {
                "type": "MSRResNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 64,
                "num_block": 16, "upscale": 4,
            },
            "network_d": {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 64},
            "train": {
                "ema_decay": 0.999, "optim_g": dict(adam), "optim_d": dict(adam),
                "scheduler": {"type": "MultiStepLR", "milestones": [10**9], "gamma": 0.5},
                "pixel_opt": {
                    "type": "L1Loss", "loss_weight": self.pixel_weight, "reduction": "mean",
                },
                "perceptual_opt": {
                    "type": "PerceptualLoss", "layer_weights": {"conv5_4": 1},
                    "vgg_type": "vgg19", "use_input_norm": True, "range_norm": False,
                    "perceptual_weight": 1.0, "style_weight": 0, "criterion": "l1",
                },
                "gan_opt": {
                    "type": "GANLoss", "gan_type": "vanilla", "real_label_val": 1.0,
                    "fake_label_val": 0.0, "loss_weight": 5e-3,
                },
                "net_d_iters": 1, "net_d_init_iters": 0,
            },
        }  # fmt: skip
        if not self.perceptual:
            del options["train"]["perceptual_opt"]
        self.model = model(options)
        self.networks = {"G": self.model.net_g, "D": self.model.net_d}
        self.high, self.low = (torch.rand(self.batch, 3, side, side) for side in (128, 32))

    def step(self) -> dict[str, float]:
        self.model.feed_data({"lq": self.low, "gt": self.high})
        self.model.optimize_parameters(1)
        log = self.model.log_dict
        g = log["l_g_pix"] + log.get("l_g_percep", 0) + log["l_g_gan"]
        return {"G/loss": float(g), "D/loss": float(log["l_d_real"] + log["l_d_fake"])}

    def load(self, batch: Batch) -> None:
        self.low, self.high = batch.x / 2 + 0.5, batch.y / 2 + 0.5

    def translate(self, x: Tensor, to: str) -> Tensor:
        """By the network itself: in so few updates its average is mostly the start."""
        assert to == "b"
        with torch.no_grad():
            parts = [self.model.net_g(part / 2 + 0.5) for part in x.split(self.batch)]
        return torch.cat(parts) * 2 - 1

    def feed(self) -> Fixed:
        low, high = self.low * 2 - 1, self.high * 2 - 1
        return Fixed(Shape(3, 128, 128), x=low, y=high)


class StyleGAN2(Peer):
    """NVlabs/stylegan2-ada-pytorch's networks and `StyleGAN2Loss`, reference path.

    Set as by `--cfg=cifar`: no path lengths, no style mixing; without labels and
    augmentation. R1 is part of every 16th step: of the first, which is compared, and
    rarely of one whose median is taken."""

    R1_EVERY = 16
    # R1 sees D after its first update, and with beta1 0 that moves every weight by its rate
    # in either direction.
    still = True
    settings = ("labels=false",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        absent("requests")
        sys.path.insert(0, str(self.checkout))
        networks, loss = (importlib.import_module(f"training.{m}") for m in ("networks", "loss"))
        shape = {"c_dim": 0, "img_resolution": self.size, "img_channels": 3}
        width = {"channel_base": 32768, "channel_max": 512, "num_fp16_res": 0}
        self.G = networks.Generator(
            z_dim=512, w_dim=512, mapping_kwargs={"num_layers": 2}, synthesis_kwargs=width, **shape
        )
        self.D = networks.Discriminator(
            architecture="orig", epilogue_kwargs={"mbstd_group_size": 32}, **width, **shape
        )
        self.G.to(self.device)
        self.D.to(self.device)
        self.networks = {"G": self.G, "D": self.D}
        self.average = copy.deepcopy(self.G).eval()
        self.seen: dict[str, float] = {}
        loss.training_stats.report = lambda name, value: self.seen.__setitem__(
            name, float(value.detach().mean())
        )
        self.loss = loss.StyleGAN2Loss(
            self.device,
            self.G.mapping,
            self.G.synthesis,
            self.D,
            style_mixing_prob=0,
            r1_gamma=0.01,
            pl_weight=0,
        )
        self.optimizers = {}
        for net, every in ((self.G, 4), (self.D, self.R1_EVERY)):
            share = every / (every + 1)
            self.optimizers[net] = torch.optim.Adam(
                net.parameters(), lr=2.5e-3 * share, betas=(0.0, 0.99**share), eps=1e-8
            )
        self.x, self.steps = torch.rand(self.batch, 3, self.size, self.size) * 2 - 1, 0
        self.x = self.x.to(self.device)
        self.draws = {"latent": [torch.randn(self.batch, 512) for _ in range(2)]}

    def first(self) -> dict[str, float]:
        with unmoved(*self.optimizers.values()):
            return self.step(*self.draws["latent"])

    def step(self, *z: Tensor) -> dict[str, float]:
        every = self.R1_EVERY
        phases = [(self.G, "Gmain", 1), (self.D, "Dmain", 1), (self.D, "Dreg", every)]
        if self.steps % every:
            phases.pop()
        none = torch.zeros(self.batch, 0, device=self.device)
        for i, (net, phase, gain) in enumerate(phases):
            drawn = z[i] if i < len(z) else torch.randn(self.batch, 512)
            drawn = drawn.to(self.device)
            self.optimizers[net].zero_grad(set_to_none=True)
            net.requires_grad_(True)
            self.loss.accumulate_gradients(phase, self.x, none, drawn, none, True, gain)
            net.requires_grad_(False)
            for weight in net.parameters():
                if weight.grad is not None:
                    torch.nan_to_num(weight.grad, nan=0, posinf=1e5, neginf=-1e5, out=weight.grad)
            self.optimizers[net].step()
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.G.parameters(), strict=True):
                mean.copy_(weight.lerp(mean, 0.999))
            for mean, buffer in zip(self.average.buffers(), self.G.buffers(), strict=True):
                mean.copy_(buffer)
        self.steps += 1
        d = [
            self.seen["Loss/D/loss"],
            *([every * self.seen["Loss/D/reg"]] if len(phases) == 3 else []),
        ]
        return {"G/loss": self.seen["Loss/G/loss"], "D/loss": statistics.mean(d)}

    def feed(self) -> Fixed:
        return Fixed(Shape(3, self.size, self.size), x=self.x)


@contextlib.contextmanager
def unmoved(*optimizers: torch.optim.Optimizer) -> Iterator[None]:
    """Within the context, rates are 0, so that steps change nothing."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [group["lr"] for group in groups]
    for group in groups:
        group["lr"] = 0.0
    yield
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate


def vgg19(weights: Path | None = None) -> torch.nn.Sequential:
    """torchvision's VGG19 layers.

    weights: torchvision's file; None: random weights that keep the features' scale"""
    layers: list[torch.nn.Module] = []
    before = 3
    for width, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(count):
            conv = torch.nn.Conv2d(before, width, 3, padding=1)
            torch.nn.init.kaiming_normal_(conv.weight)
            layers += [conv, torch.nn.ReLU(inplace=True)]
            before = width
        layers.append(torch.nn.MaxPool2d(2))
    network = torch.nn.Sequential(*layers)
    if weights is not None:
        state = torch.load(weights, weights_only=True)
        first = "features."
        own = {k.removeprefix(first): v for k, v in state.items() if k.startswith(first)}
        network.load_state_dict(own)
    return network


class Absent(MetaPathFinder, Loader):
    """Stand-ins for packages that a reference imports and that its step does not use."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        inside = any(name == n or name.startswith(f"{n}.") for n in self.names)
        return ModuleSpec(name, self, is_package=True) if inside else None

    def create_module(self, spec: ModuleSpec) -> Any:
        return MagicMock(__name__=spec.name, __spec__=spec, __path__=[])

    def exec_module(self, module: Any) -> None:
        pass


def absent(*names: str) -> None:
    sys.meta_path.insert(0, Absent(*names))


PEERS: dict[str, type[Peer]] = {
    "dcgan": DCGAN,
    "cyclegan": CycleGAN,
    "pix2pix": Pix2Pix,
    "biggan": BigGAN,
    "srgan": SRGAN,
    "stylegan2": StyleGAN2,
}
RECIPES = {"biggan": "biggan_cifar", "srgan": "srgan_basicsr", "stylegan2": "stylegan2_ada_cifar"}


def run(statements: Sequence[ast.stmt], names: dict[str, Any]) -> None:
    exec(compile(ast.Module(list(statements), []), "reference", "exec"), names)


def ours(case: argparse.Namespace, feed: Fixed, settings: Sequence[str]) -> Engine:
    """ganvas's engine on the same images."""
    method, size = case.method, case.size
    settings = [f"batch={case.batch}", *settings]
    if method == "cyclegan":
        settings.append(f"G.blocks={9 if size >= 256 else 6}")
    if method == "pix2pix":
        settings += [f"G.depth={size.bit_length() - 1}", "G.dropout=false"]
    if method == "biggan":
        settings.append("sigma_every=0")  # the reference logs it only on request
    recipe = recipes.find(RECIPES.get(method, method))(1)
    for setting in settings:
        recipe = override(recipe, setting)
    return Engine(
        replace(recipe, precision=case.precision, compile=case.compile, lr=None), feed, case.device
    )


def named(state: dict[str, Tensor], net: torch.nn.Module) -> dict[str, Tensor]:
    """The reference's weights under ganvas's names.

    `ganvas.import_network` renames them if they differ."""
    if state.keys() == net.state_dict().keys():
        return state
    return next(
        found for found in (recognise(state) for recognise in FORMATS.values()) if found is not None
    ).state


def compared(
    losses: Mapping[str, Mapping[str, float]],
    tolerance: float,
    exact: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, dict[str, Any]]:
    """One step's losses of both sides by name, with difference and tolerance.

    exact: the same in float64; None: `tolerance` is used"""
    found: dict[str, dict[str, Any]] = {}
    for name, reference in losses["reference"].items():
        mine = losses["ganvas"][name]
        scale = abs(exact["reference"][name] if exact else reference)
        entry: dict[str, Any] = {
            "reference": reference,
            "ganvas": mine,
            "difference": abs(reference - mine) / scale,
        }
        entry["allowed"] = tolerance
        if exact:
            entry["float64_difference"] = (
                abs(exact["reference"][name] - exact["ganvas"][name]) / scale
            )
            rounding = {
                side: abs(losses[side][name] - exact[side][name]) / scale
                for side in ("reference", "ganvas")
            }
            entry["rounding"] = rounding
            entry["allowed"] = sum(rounding.values()) + HALF["float64"]
        found[name] = entry
    return found


def disagreements(losses: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Reasons why `compared` losses differ by more than rounding; empty if they do not."""
    found = []
    for name, loss in losses.items():
        if not loss["difference"] <= loss["allowed"]:  # NaN is a disagreement, too
            found.append(
                f"{name} differs by {loss['difference']:.2g}, and {loss['allowed']:.2g} is allowed"
            )
        if not loss.get("float64_difference", 0.0) <= HALF["float64"]:
            found.append(
                f"{name} differs by {loss['float64_difference']:.2g} in float64: the steps differ"
            )
        for side, rounding in loss.get("rounding", {}).items():
            if not rounding <= HALF["float32"]:
                found.append(
                    f"{name} of {side} is {rounding:.2g} from its own float64: this is no fp32"
                )
    return found


class Worker:
    """One side in its own process, which answers requests in JSON, one a line."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ready = self._answer()

    def step(self) -> dict[str, Any]:
        return self.ask("step")

    def ask(self, request: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{request}\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a side's process has ended; its last words are above")
        return json.loads(line)


def side_of(side: str, arguments: list[str], folder: str, *more: str) -> Worker:
    """The process of one side of this script."""
    script = [sys.executable, __file__, *arguments]
    return Worker([*script, "--side", side, "--folder", folder, *more])


def work(case: argparse.Namespace) -> None:
    """The process of one side.

    The reference writes its weights, images and the random numbers of its first step
    for ganvas to read."""
    answers, sys.stdout = sys.stdout, sys.stderr  # references print as they go
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    shared = Path(case.folder) / "start.pt"
    os.environ["GANVAS_BENCH_FOLDER"] = case.folder
    if case.side == "reference":
        if case.precision == "fp32":  # otherwise as torch does by default, TF32 included
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        peer = PEERS[case.method](case.peer, case.size, case.batch, case.device)
        if case.wide and not peer.widen():
            print(json.dumps({"ready": False}), file=answers, flush=True)
            return
        fields = peer.feed().fields
        weights = {name: net.state_dict() for name, net in peer.networks.items()}
        start = {
            "weights": weights,
            "fields": fields,
            "draws": dict(peer.draws),
            "settings": peer.settings,
            "still": peer.still,
        }
        start["shape"] = astuple(peer.feed().info.shape)
        torch.save(start, shared)
        first, step = peer.first, peer.step
    else:
        if case.device == "cpu":
            retain_heap()
        start = torch.load(shared, map_location=case.device, weights_only=True)
        if case.wide:
            torch.set_default_dtype(
                torch.float64
            )  # since the engine changes the memory format of the weights
        engine = ours(case, Fixed(Shape(*start["shape"]), **start["fields"]), start["settings"])
        for name, weights in start["weights"].items():
            net = engine.method.get_submodule(name)
            net.load_state_dict(named(weights, net))

        def step() -> dict[str, float]:
            return {k: float(v) for k, v in engine.step().items()}

        def first() -> dict[str, float]:
            for name, values in start["draws"].items():
                given = iter(values if name == "latent" else [(v,) for v in values])
                setattr(engine.method, name, lambda *_, given=given: next(given))
            engine.run = replace(engine.run, lr=Constant(0.0)) if start["still"] else engine.run
            found = step()
            engine.run = replace(engine.run, lr=None)
            for name in start["draws"]:
                delattr(engine.method, name)
            return found

    print(json.dumps({"ready": True}), file=answers, flush=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i, _ in enumerate(sys.stdin):
        began = time.perf_counter()
        losses = step() if i else first()
        if case.device != "cpu":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        mib = held / 1024 if case.device == "cpu" else torch.cuda.max_memory_allocated() / 2**20
        print(
            json.dumps({"seconds": seconds, "losses": losses, "mib": mib}), file=answers, flush=True
        )


def in_float64(arguments: list[str]) -> dict[str, dict[str, float]] | None:
    """Both sides' losses of the first step in float64, from the same weights.

    None if the reference does not support float64."""
    with tempfile.TemporaryDirectory() as folder:
        peer = side_of("reference", arguments, folder, "--wide")
        found = None
        if peer.ready["ready"]:
            mine = side_of("ganvas", arguments, folder, "--wide")
            found = {"reference": peer.step()["losses"], "ganvas": mine.step()["losses"]}
            mine.close()
        peer.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Training steps, next to the reference code's.")
    parser.add_argument("method", choices=sorted(PEERS))
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--compile")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--side", choices=("reference", "ganvas"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--wide", action="store_true", help=argparse.SUPPRESS)
    case = parser.parse_args()
    if case.side:
        work(case)
        return
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        peer, mine = (side_of(side, arguments, folder) for side in ("reference", "ganvas"))
        first = {"reference": peer.step()["losses"], "ganvas": mine.step()["losses"]}
        losses = compared(
            first,
            TOLERANCE[case.precision],
            in_float64(arguments) if case.precision == "fp32" else None,
        )
        if reasons := disagreements(losses):
            told = f"{'; '.join(reasons)}\n{json.dumps(losses, indent=1)}"
            raise SystemExit(f"one step from the same start gives other losses: {told}")
        for side in (peer, mine):
            side.step()
        pairs = [(peer.step(), mine.step()) for _ in range(case.rounds)]
        peer.close()
        mine.close()
    ratios = sorted(a["seconds"] / b["seconds"] for a, b in pairs)
    mib = {side: pairs[-1][i]["mib"] for i, side in enumerate(("reference", "ganvas"))}
    shown = shlex.join("PATH" if a == str(case.peer) else a for a in arguments)
    found = {
        "command": f"python bench/peers.py {shown}",
        "machine": machine(),
        "device": case.device if case.device == "cpu" else torch.cuda.get_device_name(),
        "threads": case.threads,
        "torch": torch.__version__,
        "commit": commit(),
        "load_average": round(os.getloadavg()[0], 1),
        "losses": losses,
        "seconds": {
            s: statistics.median(p[i]["seconds"] for p in pairs)
            for i, s in enumerate(("reference", "ganvas"))
        },
        "ratios": ratios,
        "times_as_fast": statistics.median(ratios),
        "mib": mib,
        "share_of_memory": mib["ganvas"] / mib["reference"],
    }
    case_name = f"{case.method} {case.size} px batch {case.batch} {case.precision}"
    case_name += (f" compile {case.compile}" if case.compile else "") + (
        f" {found['device']}" if case.device != "cpu" else ""
    )
    case.out.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(case.out.read_text()) if case.out.is_file() else {}
    case.out.write_text(
        json.dumps(dict(sorted({**kept, case_name: found}.items())), indent=1) + "\n"
    )
    print(
        f"{case_name}: {found['times_as_fast']:.2f} times as fast, "
        f"{found['share_of_memory']:.2f} of the memory"
    )


if __name__ == "__main__":
    main()
