"""Compare the quality that ganvas and reference code reach in the same processor time.

    python bench/quality.py dcgan --peer PATH --weights DIR
                          a checkout of pytorch/examples
    python bench/quality.py sngan --peer PATH --weights DIR       of kwotsin/mimicry
    python bench/quality.py pix2pix --peer PATH --weights DIR
                          of junyanz/pytorch-CycleGAN-and-pix2pix
    python bench/quality.py cyclegan --peer PATH --weights DIR    the same
    python bench/quality.py srgan --peer PATH --weights DIR       of XPixelGroup/BasicSR
        [--data NAME=PATH] [--minutes 5,15] [--threads 1] [--slice 30] [--seed 0]
        [--without-labels] [--set SETTING ...] [--images N] [--vgg FILE]
    python bench/quality.py --report    # the table in docs/src/performance.md.in

Both sides train on the same data, each in its own process, on --threads threads. They
alternate in slices of --slice seconds (reference, ganvas, reference, ...), so that
other work on the machine affects both. Minutes are processor minutes of the training
steps, the drawing of their batches included; building, measuring and the measurement
of ganvas's rate are excluded. A step is never cut: `seconds` is the time used. At each
of --minutes both sides write images, and the training continues. The images of both
are 8-bit and judged by the same code (gallery_figures.py) with weights in DIR:

* dcgan, sngan: Fréchet distance of samples over SqueezeNet
* pix2pix, srgan: LPIPS to the truth of the test part
* cyclegan: Fréchet distance of translations of one domain's test part to the test part
  of the other, the mean of both directions

The same figures of real images and of both untrained networks are recorded.

The aim, set before any measurement: at 15 minutes at most half of the reference's
distance, and the reference's quality at 15 minutes within 5 minutes (of other
--minutes: the second and the first). What comes out is recorded, whatever it is.

**ganvas** trains as it would be used: the recipe and settings of a row of
bench/gallery.toml, in bf16 if the processor has its instructions, with schedules that
fit the last of --minutes (--images gives their length if the rate is known). Rows for
images from noise train on the labels, which the references do not read;
--without-labels leaves them out.

**The reference** is its own step, networks, losses, optimizers, initialization and way
of sampling from its own files (peers.py), with its published settings for this size of
images, in fp32. Its schedules are far longer than the minutes, so that its rates are
constant. What is not the reference's:

* its batches come from the same feed as ganvas's, with the crops and mirroring of the
  row, in the memory format of its own loader; its range of values is its own
* dcgan: one channel for gray data, as it has for MNIST
* sngan: its networks make color images; gray data are repeated, and its images averaged
* pix2pix, cyclegan: its U-Net for 128 px, at 128 px; 6 residual blocks below 256 px, as
  in the paper; one channel for gray data
* srgan: its pretraining (MSRResNet) takes the first 60% of the time, in place of a
  million steps, as in ganvas's row. The network is tested, not its average, which is
  mostly the start after so few steps. The published perceptual loss needs --vgg
  (torchvision's vgg19-dcbb9e9d.pth), which ganvas then uses as well; without it both
  compare pixels: the reference with weight 1, as in its pretraining. ganvas's batches
  are 9, so that an update has as many pixels as in the row, of 96 px

bench/results/quality.json has one entry per case. A complete case is passed over until
its settings change. An interrupted training starts again; if the judging was
interrupted, the images in --runs are judged.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import math
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import gallery
import gallery_figures as figures
import peers
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ganvas.core import Batch, Run
from ganvas.core.allocator import retain_heap
from ganvas.core.environment import auto_precision, commit, machine
from ganvas.core.files import write
from ganvas.data import Prefetch
from ganvas.engine.engine import Engine
from ganvas.evaluation.real_features import extractor_named
from ganvas.inference import model_file
from ganvas.inference.load import load
from ganvas.media.resize import bicubic
from ganvas.metrics.features import Extractor

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "quality.json"
PAGE = ROOT / "docs" / "src" / "performance.md.in"
SIDES = ("reference", "ganvas")  # in this order they take turns
HALF = 0.5  # the aim: ganvas's distance at most, as a share of the reference's
PRETRAINED = 0.6  # share of the time, as in the gallery's row `srgan`


class SNGAN(peers.Peer):
    """kwotsin/mimicry's SNGAN for 32 px, as its README trains it for CIFAR-10.

    Its networks' `train_step`s and its rate schedule, in the order of its `Trainer`,
    without logs and checkpoints."""

    N_DIS, STEPS = 5, 100_000

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        assert self.size == 32, "these networks make images of 32x32"
        assert self.channels == 3, "these networks make color images"
        peers.absent(
            "torchvision", "skimage", "torch_mimicry.metrics", "torch_mimicry.datasets",
            "torch_mimicry.training.logger",
        )  # fmt: skip
        sys.path.insert(0, str(self.checkout))
        sngan = importlib.import_module("torch_mimicry.nets.sngan")
        training = importlib.import_module("torch_mimicry.training")
        self.log = importlib.import_module("torch_mimicry.training.metric_log").MetricLog
        self.G, self.D = sngan.SNGANGenerator32(), sngan.SNGANDiscriminator32()
        self.networks = {"G": self.G, "D": self.D}
        self.optimizers = {
            name: torch.optim.Adam(net.parameters(), 2e-4, betas=(0.0, 0.9))
            for name, net in self.networks.items()
        }
        self.schedule = training.LRScheduler(
            lr_decay="linear",
            optD=self.optimizers["D"],
            optG=self.optimizers["G"],
            num_steps=self.STEPS,
        )
        self.steps, self.x = 0, torch.rand(self.images, 3, 32, 32) * 2 - 1

    @property
    def images(self) -> int:
        return self.N_DIS * self.batch

    def load(self, batch: Batch) -> None:
        self.x = batch.x

    def step(self) -> dict[str, float]:
        log, parts = self.log(), [(x, torch.zeros(len(x))) for x in self.x.split(self.batch)]
        common = {"global_step": self.steps, "device": self.device}
        for real in parts:
            log = self.D.train_step(
                real_batch=real, netG=self.G, optD=self.optimizers["D"], log_data=log, **common
            )
        log = self.G.train_step(
            real_batch=parts[-1], netD=self.D, optG=self.optimizers["G"], log_data=log, **common
        )
        self.steps += 1
        log = self.schedule.step(log_data=log, global_step=self.steps)
        return {"D/loss": log["errD"], "G/loss": log["errG"]}

    def sample(self, n: int) -> Tensor:
        """With batch norm's standing statistics, as its measures take samples."""
        self.G.eval()
        sizes = [min(self.batch, n - i) for i in range(0, n, self.batch)]
        with torch.no_grad():
            parts = [self.G.generate_images(size, device=self.device) for size in sizes]
        self.G.train()
        return torch.cat(parts)

    def feed(self) -> peers.Fixed:
        return peers.Fixed(peers.Shape(3, 32, 32), x=self.x)


class Pix2Pix(peers.Pix2Pix):
    """As published: with dropout, also when it translates."""

    dropout = True


class SRGAN(peers.SRGAN):
    """Pretraining by BasicSR's SRModel with its options for MSRResNet x4, then SRGAN."""

    def __init__(self, *args: Any) -> None:
        file = os.environ.get("GANVAS_BENCH_VGG")
        self.vgg, self.perceptual = (Path(file) if file else None), bool(file)
        self.pixel_weight = 1e-2 if file else 1.0
        super().__init__(*args)
        options = copy.deepcopy({"network_g": self.model.opt["network_g"]})
        adam = {"type": "Adam", "lr": 2e-4, "weight_decay": 0, "betas": [0.9, 0.99]}
        self.pretrainer = importlib.import_module("basicsr.models.sr_model").SRModel({
            "num_gpu": 0, "dist": False, "is_train": True, "path": {}, **options,
            "train": {
                "ema_decay": 0.999, "optim_g": adam,
                "scheduler": {"type": "MultiStepLR", "milestones": [10**9], "gamma": 0.5},
                "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
            },
        })  # fmt: skip
        self.model.net_g.load_state_dict(self.pretrainer.net_g.state_dict())
        self.pretraining = True

    def progress(self, share: float) -> None:
        if self.pretraining and share >= PRETRAINED:
            self.model.net_g.load_state_dict(self.pretrainer.net_g.state_dict())
            self.model.model_ema(0)
            self.pretraining = False

    def step(self) -> dict[str, float]:
        if not self.pretraining:
            return super().step()
        self.pretrainer.feed_data({"lq": self.low, "gt": self.high})
        self.pretrainer.optimize_parameters(1)
        return {"G/loss": float(self.pretrainer.log_dict["l_pix"])}

    def translate(self, x: Tensor, to: str) -> Tensor:
        if self.pretraining:
            self.model.net_g.load_state_dict(self.pretrainer.net_g.state_dict())
        return super().translate(x, to)


@dataclass(frozen=True)
class Case:
    """A comparison.

    row: of bench/gallery.toml: ganvas's recipe, its settings, and the data
    measures: the figures whose mean is the distance
    batch: the reference's
    size: in pixels, of both sides; None: the row's
    settings: further ones of ganvas
    channels: that the reference's networks are fixed to
    upscale: of the translation
    """

    peer: type[peers.Peer]
    repository: str
    task: Literal["noise", "pairs", "domains"]
    row: str
    measures: tuple[str, ...]
    batch: int
    size: int | None = None
    settings: tuple[str, ...] = ()
    channels: int | None = None
    upscale: int = 1
    minutes: tuple[float, ...] = (5, 15)


JUNYANZ = "junyanz/pytorch-CycleGAN-and-pix2pix"
CASES = {
    "dcgan": Case(
        peers.DCGAN, "pytorch/examples", "noise", "dcgan_fashion", ("frechet",), 64, size=64,
        settings=("ema.images={images/12}",),
    ),
    "sngan": Case(
        SNGAN, "kwotsin/mimicry", "noise", "sngan_projection_fashion", ("frechet",), 64, channels=3
    ),
    "pix2pix": Case(Pix2Pix, JUNYANZ, "pairs", "pix2pix_facades", ("lpips",), 1),
    "cyclegan": Case(
        peers.CycleGAN, JUNYANZ, "domains", "cyclegan", ("frechet_a", "frechet_b"), 1,
        minutes=(5, 15, 30),
    ),
    "srgan": Case(
        SRGAN, "XPixelGroup/BasicSR", "pairs", "srgan", ("lpips",), 16, size=128,
        settings=("batch=9",), upscale=4,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """name: shown; source: what ganvas opens; against: part that images are judged by."""

    name: str
    source: str
    against: str


def row_of(args: argparse.Namespace) -> gallery.Training:
    """The gallery's row with the size and settings of this call."""
    case = CASES[args.case]
    row = gallery.TABLE[case.row]
    more = ("labels=false",) if args.without_labels else ()
    more += (f"vgg={args.vgg}", "adversarial_weight=1e-3") if args.vgg else ()
    settings = (*row.settings, *case.settings, *more, *args.set)
    return replace(row, size=case.size or row.size, settings=settings)


def data_of(args: argparse.Namespace) -> Data:
    """The data set that was given, or that of the row, which is made if it can be."""
    name, _, path = (args.data or "").partition("=")
    known = gallery.DATA[name or gallery.TABLE[CASES[args.case].row].data]
    if path:
        return Data(known.name, path, known.against)
    source = gallery.prepared(known, args.runs, {})
    if source is None:
        raise SystemExit(1)  # it has said why
    return Data(known.name, source, known.against)


class Side(ABC):
    """One side's training in its own process.

    feed: its training data; judged: what its images are judged by, as it opens it
    """

    def __init__(self, args: argparse.Namespace, run: Run) -> None:
        self.args, self.case, self.run = args, CASES[args.case], run
        self.seconds, self.images, self.steps = 0.0, 0, 0
        self.feed = run.data()
        self.judged = figures.part_of(run, args.against, None, self.case.upscale)
        self.drawn = Prefetch(self.feed)  # as in `ganvas train`

    @property
    def facts(self) -> dict[str, Any]:
        """What both sides must agree on, then what describes this one."""
        return {
            "data": {"training": described(self.feed), "test": described(self.judged)},
            "minutes": self.args.minutes,
            "threads": torch.get_num_threads(),
            **self.description(),
        }

    def train(self, until: float) -> dict[str, Any]:
        """Continue until `until` seconds of processor time have been used in all."""
        last = 60 * self.args.minutes[-1]
        while self.seconds < until:
            before = time.process_time()
            self.step(self.seconds / last)
            self.seconds += time.process_time() - before
            self.steps += 1
        return {"seconds": self.seconds, "images": self.images, "steps": self.steps}

    def write(self, path: str, n: int) -> dict[str, Any]:
        """Write images to judge: n from noise, or all translations of the test part."""
        if self.case.task == "noise":
            images = {"x": self.sampled(n)}
        else:
            targets = ("a", "b") if self.case.task == "domains" else ("b",)
            images = {to: self.translated(inputs_of(self.case, self.judged, to), to)
                      for to in targets}  # fmt: skip
        pixels = {k: ((x + 1) * 127.5).round().clamp(0, 255).byte() for k, x in images.items()}
        save_file({k: x.contiguous() for k, x in pixels.items()}, path)
        return {}

    @abstractmethod
    def description(self) -> dict[str, Any]: ...

    @abstractmethod
    def step(self, share: float) -> None: ...

    @abstractmethod
    def sampled(self, n: int) -> Tensor: ...

    @abstractmethod
    def translated(self, x: Tensor, to: str) -> Tensor: ...


def described(feed: Any) -> dict[str, Any]:
    info = feed.info
    facts = {name: getattr(info, name) for name in ("fingerprint", "part", "count", "channels")}
    return {**facts, "size": [info.height, info.width]}


class Reference(Side):
    def __init__(self, args: argparse.Namespace) -> None:
        row = row_of(args)
        super().__init__(args, gallery.run_of(row, args.source, 1))
        torch.manual_seed(args.seed)
        own = self.feed.info.channels
        self.channels = self.case.channels or own
        self.repeated = self.channels // own  # gray images as color images
        batch = self.case.batch
        self.peer = self.case.peer(args.peer, row.size, batch, "cpu", self.channels)

    def description(self) -> dict[str, Any]:
        return {"batch": self.case.batch, "precision": "fp32", "channels": self.channels}

    def step(self, share: float) -> None:
        self.peer.progress(share)
        batch = self.drawn.draw(self.images, self.peer.images, seed=self.args.seed)
        self.peer.load(batch.map(self._prepared))
        self.peer.step()
        self.images += self.peer.images

    def sampled(self, n: int) -> Tensor:
        x = self.peer.sample(n)
        return x if self.repeated == 1 else x.mean(1, keepdim=True)

    def translated(self, x: Tensor, to: str) -> Tensor:
        return self.peer.translate(x.contiguous(), to)

    def _prepared(self, x: Tensor) -> Tensor:
        """In its own memory format, and with its number of channels."""
        repeat = x.ndim == 4 and self.repeated > 1
        return x.repeat(1, self.repeated, 1, 1) if repeat else x.contiguous()


class Ganvas(Side):
    def __init__(self, args: argparse.Namespace) -> None:
        retain_heap()
        self.row = row_of(args)
        precision = auto_precision("cpu") if self.row.precision == "auto" else self.row.precision
        run = gallery.run_of(self.row, args.source, args.images, (f"precision={precision}",))
        super().__init__(args, replace(run, seed=args.seed))
        self.engine = Engine(self.run, self.drawn)

    def description(self) -> dict[str, Any]:
        return {
            "batch": self.run.batch,
            "precision": self.run.precision,
            "channels": self.feed.info.channels,
            "recipe": self.row.recipe,
            "settings": gallery.settings_of(self.row, self.args.images),
            "augment": self.row.augment,
            "planned": self.args.images,
        }

    def step(self, share: float) -> None:
        self.engine.step()
        self.images = self.engine.clock.images

    def sampled(self, n: int) -> Tensor:
        return torch.cat(list(self._model().batches(n, seed=0)))

    def translated(self, x: Tensor, to: str) -> Tensor:
        return figures.translated(self._model(), x, to)

    def _model(self) -> Any:
        info, engine = self.feed.info, self.engine
        facts = {"shape": asdict(info.shape), "task": info.task, "recipe": self.row.recipe}
        facts |= {"images_trained": engine.clock.images}
        facts |= {"data": {"fingerprint": info.fingerprint, "classes": info.classes}}
        with tempfile.TemporaryDirectory() as folder:
            model_file.save(Path(folder), engine.model(), self.run, info.shape, facts)
            return load(folder)


def inputs_of(case: Case, feed: Any, to: str) -> Tensor:
    """The images of the judged part that are translated to `to`."""
    if case.task == "pairs":
        return feed.fixed(figures.PAIRS).a
    return figures.all_of(feed, "a" if to == "b" else "b")


class Judge:
    """Measures both sides' images by the same code against the same real images."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.case, self.weights = CASES[args.case], args.weights
        run = gallery.run_of(row_of(args), args.source, 1)
        other = {"train": "test", "test": "train"}[args.against]
        self.feed, self.other = (
            figures.part_of(run, part, None, self.case.upscale) for part in (args.against, other)
        )
        self._real: dict[str, Any] = {}

    @cached_property
    def extractor(self) -> Extractor:
        name = "squeezenet" if self.weights else "random-conv-v1"
        return extractor_named(name, self.weights, None)

    @property
    def count(self) -> int:
        """Number of samples: of the images that real ones are judged by."""
        return min(figures.SAMPLES, self.other.info.count)

    def real(self) -> figures.Figures:
        """Of real images, and of the input of translations."""
        found: figures.Figures = {}
        if self.case.task == "noise":
            return self.judged({"real": {"x": self.other.fixed(self.count).x}})
        if self.case.task == "pairs":
            batch = self.feed.fixed(figures.PAIRS)
            enlarged = bicubic(batch.a, self.case.upscale) if self.case.upscale > 1 else batch.a
            images = {"real": {"b": batch.b.roll(1, 0)}, "input": {"b": enlarged.clamp(-1, 1)}}
            return self.judged(images)
        for to in ("a", "b"):
            other = figures.some(figures.all_of(self.other, to), figures.SAMPLES)
            found |= self.judged({
                "real": {to: other}, "input": {to: inputs_of(self.case, self.feed, to)}
            })  # fmt: skip
        return found

    def judged(self, images: Mapping[str, Mapping[str, Tensor]]) -> figures.Figures:
        """name -> stream -> images in [-1, 1] -> figure -> name -> value."""
        streams = list(next(iter(images.values())))
        if self.case.task == "pairs":
            truth = self.feed.fixed(figures.PAIRS).b
            return figures.to_truth({w: x["b"] for w, x in images.items()}, truth, self.weights)
        found: figures.Figures = {}
        for stream in streams:
            of = {which: x[stream].split(256) for which, x in images.items()}
            values = figures.distances(of, self._features(stream), self.extractor)
            if stream == "x":
                return values
            found[f"frechet_{stream}"] = values["frechet"]
        return found

    def _features(self, stream: str) -> Any:
        if stream not in self._real:
            self._real[stream] = figures.features_of(self.feed, stream, self.extractor)
        return self._real[stream]


def read_images(path: Path) -> dict[str, Tensor]:
    return {k: x.float() / 127.5 - 1 for k, x in load_file(path).items()}


def distance(values: Mapping[str, float], case: Case) -> float:
    """The figure that is compared; less is better."""
    return statistics.fmean(values[name] for name in case.measures)


def folder_of(args: argparse.Namespace) -> Path:
    return args.runs / key_of(args).replace(", ", "-").replace(" ", "_")


def key_of(args: argparse.Namespace) -> str:
    """Name of a case in the record."""
    own = gallery.TABLE[CASES[args.case].row].data
    key = args.case if args.name in ("", own) else f"{args.case} {args.name}"
    return key + ", without labels" * args.without_labels + ", VGG19" * bool(args.vgg)


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that a recorded case must have to be kept."""
    return {
        "minutes": args.minutes,
        "threads": args.threads,
        "slice": args.slice,
        "seed": args.seed,
        "set": args.set,
        "images": args.images,
        "measured_with": "squeezenet" if args.weights else "random-conv-v1",
    }


def start(side: str, args: argparse.Namespace, data: Data) -> peers.Worker:
    """Start one side's process."""
    command = [sys.executable, __file__, args.case, "--peer", str(args.peer), "--side", side]
    command += ["--against", data.against, "--source", data.source]
    command += ["--minutes", ",".join(map(str, args.minutes)), "--threads", str(args.threads)]
    command += ["--seed", str(args.seed)]
    command += [] if args.images is None else ["--images", str(args.images)]
    command += ["--without-labels"] * args.without_labels
    command += ["--vgg", str(args.vgg)] if args.vgg else []
    command += [word for setting in args.set for word in ("--set", setting)]
    return peers.Worker(command)


def ask(worker: Any, name: str, **arguments: Any) -> dict[str, Any]:
    return worker.ask(json.dumps([name, arguments]))


def work(args: argparse.Namespace) -> None:
    """The process of one side, which answers requests until its input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # references print as they go
    if args.side == "rate":
        rate = gallery.rate(row_of(args), args.source)
        print(json.dumps({"rate": rate}), file=answers, flush=True)
        return
    side = {"reference": Reference, "ganvas": Ganvas}[args.side](args)
    print(json.dumps(side.facts), file=answers, flush=True)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(side, name)(**arguments)), file=answers, flush=True)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Reasons why two sides' facts make no comparison; empty if they do."""
    return [
        f"{name} of the reference are {one[name]}, of ganvas {other[name]}"
        for name in ("data", "minutes", "threads")
        if one[name] != other[name]
    ]


def trained(args: argparse.Namespace, data: Data, judge: Judge) -> dict[str, Any]:
    """Train both sides in turn, which write their images to the folder of the case.

    Returns what describes the sides and what they used up to each mark."""
    folder = folder_of(args)
    note = folder / "trained.json"
    same = {"asked": asked(args), "source": data.source, "peer": str(args.peer)}
    same |= {"commit": commit(), "peer_commit": args.peer_commit, "machine": machine()}
    if note.is_file():
        before = json.loads(note.read_text())
        if {**before, **same} == before:
            return before
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found: dict[str, Any] = {**same, "load_average": round(os.getloadavg()[0], 1)}
    planned = args
    if args.images is None:
        measured = start("rate", planned, data)
        measured.close()
        images = measured.ready["rate"] * args.minutes[-1] * 60 / gallery.TICKS
        planned = argparse.Namespace(**{**vars(args), "images": math.ceil(images / 100) * 100})
        print(f"{key_of(args)}: {measured.ready['rate']:.1f} images/s by ganvas", flush=True)
    workers = {side: start(side, planned, data) for side in SIDES}
    try:
        if wrong := differences(*(workers[side].ready for side in SIDES)):
            raise SystemExit("; ".join(wrong))
        found["sides"] = {side: worker.ready for side, worker in workers.items()}
        found["marks"] = {side: {} for side in SIDES}
        found["turns"], done = 0, 0.0
        for mark in (0.0, *args.minutes):
            used: dict[str, Any] = {side: {} for side in SIDES}
            while done < 60 * mark:
                done = min(done + args.slice, 60 * mark)
                used = {side: ask(workers[side], "train", until=done) for side in SIDES}
                found["turns"] += 1
            for side in SIDES:
                file = folder / f"{side}-{mark:g}.safetensors"
                ask(workers[side], "write", path=str(file), n=judge.count)
                found["marks"][side][f"{mark:g}"] = used[side]
            told = ", ".join(f"{s} {u.get('images', 0):,} images" for s, u in used.items())
            print(f"{key_of(args)}: {mark:g} minutes: {told}", flush=True)
    finally:
        for worker in workers.values():
            worker.close()
    write(note, (json.dumps(found, indent=1) + "\n").encode())
    return found


def compared(args: argparse.Namespace, data: Data) -> dict[str, Any]:
    """Train and judge: the record of a case."""
    case, judge = CASES[args.case], Judge(args)
    used = trained(args, data, judge)
    marks = [f"{minutes:g}" for minutes in args.minutes]
    sides: dict[str, Any] = {}
    for side in SIDES:
        files = {m: folder_of(args) / f"{side}-{m}.safetensors" for m in ("0", *marks)}
        values = judge.judged({m: read_images(file) for m, file in files.items()})
        by_mark = {m: {name: of[m] for name, of in values.items()} for m in files}
        facts = {k: v for k, v in used["sides"][side].items() if k not in ("data", "minutes")}
        sides[side] = facts | {"untrained": distance(by_mark["0"], case)}
        sides[side]["marks"] = {
            m: {**used["marks"][side][m], "figures": by_mark[m],
                "distance": distance(by_mark[m], case)}
            for m in marks
        }  # fmt: skip
    values = judge.real()
    real = {w: {k: v[w] for k, v in values.items()} for w in next(iter(values.values()))}
    reference, ganvas = (
        {m: mark["distance"] for m, mark in sides[side]["marks"].items()} for side in SIDES
    )
    full = marks[min(1, len(marks) - 1)]
    ratios = {m: ganvas[m] / reference[m] for m in marks}
    early = ganvas[marks[0]] / reference[full]
    return {
        "command": shown_command(args),
        "torch": torch.__version__,
        **{name: used[name] for name in ("machine", "commit", "load_average")},
        "reference": {"repository": case.repository, "commit": args.peer_commit},
        "data": {"name": data.name, "against": data.against, **used["sides"]["ganvas"]["data"]},
        **asked(args),
        "turns": used["turns"],
        "distance": " + ".join(case.measures),
        "extractor": "lpips squeeze-caffe" if case.task == "pairs" else judge.extractor.name,
        "samples": judge.count if case.task == "noise" else None,
        "real": {which: {**v, "distance": distance(v, case)} for which, v in real.items()},
        "sides": sides,
        "ratios": ratios,
        "early_ratio": early,
        "aims": {"half": ratios[full] <= HALF, "early": early <= 1},
    }


def shown_command(args: argparse.Namespace) -> str:
    words = ["python", "bench/quality.py", args.case, "--peer", "PATH"]
    words += ["--weights", "DIR"] if args.weights else []
    words += ["--data", f"{args.name}=PATH"] if args.data else []
    words += ["--minutes", ",".join(f"{m:g}" for m in args.minutes)]
    words += ["--threads", str(args.threads)] if args.threads != 1 else []
    words += ["--seed", str(args.seed)] if args.seed else []
    words += ["--without-labels"] * args.without_labels + ["--vgg", "FILE"] * bool(args.vgg)
    words += ["--set", *args.set] if args.set else []
    return shlex.join(words)


def peer_commit(checkout: Path) -> str | None:
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


# ---------------------------------------------------------------- the table of the page

HEADING, NEXT = "## Quality for the same time", "## Gain of bf16 by recipe"
TEXT = """\
```
{commands}
```

The reference's own step, from its own checkout and with its published settings, and
ganvas's recipe of the gallery train on the same data for the same processor time, on
`{threads}` thread each. They alternate in slices, and the same code judges the images of
both ([record](../bench/results/quality.json); the script says what is the reference's
and what is not). Distances are Fréchet distances over SqueezeNet's features (`dcgan`,
`sngan`, `cyclegan`) or LPIPS to the truth; less is better, and they compare only within
a row. The aims, set before the measurement: at `15` minutes at most `0.5` of the
reference's distance, and at `5` minutes at most the reference's distance at `15`.

**The two sides differ in more than their code**: ganvas trains its own recipe, in
bf16 where the processor has its instructions, and on labels where the row of the
gallery does; the reference trains in fp32 without labels. A ratio says what a user of
each gets in the time, not which part of the difference is due to what.
"""
# What else differs in a case, beside its figures.
NOTES = {
    "dcgan": (
        "`{recipe}` is not the reference's network: its generator has width `32` (the "
        "reference's `64`) and `32` latents, it trains on class labels by projection, its "
        "rate falls to 0, and its averaged weights are sampled. So it takes several times as "
        "many images in the time."
    ),
}


def section(found: Mapping[str, Any]) -> str:
    """Section of docs/performance.md, with a reference to the record for every figure."""
    commands = "\n".join(entry["command"] for entry in found.values())
    threads = ", ".join(sorted({str(entry["threads"]) for entry in found.values()}))
    names = [
        "case", "minutes", "reference", "ganvas", "ratio", "images, reference", "images, ganvas",
        "real images", "untrained, reference", "untrained, ganvas", "ganvas early over reference",
    ]  # fmt: skip
    lines = [HEADING, "", *TEXT.format(commands=commands, threads=threads).splitlines(), ""]
    lines += ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]

    def figure(key: str, names: str, form: str = ".2f") -> str:
        return f"{{{{{form} bench/results/quality.json {key}.{names}}}}}"

    for key, entry in found.items():
        marks = list(entry["ratios"])
        full = marks[min(1, len(marks) - 1)]
        form = ".3f" if CASES[key.split()[0].rstrip(",")].measures == ("lpips",) else ",.0f"
        for m in marks:
            at = [f"sides.{side}.marks.{m}" for side in SIDES]
            cells = [f"`{key}`", f"`{m}`", *(figure(key, f"{x}.distance", form) for x in at)]
            cells += [figure(key, f"ratios.{m}")]
            cells += [figure(key, f"{x}.images", ",.0f") for x in at]
            if m == full:
                cells += [figure(key, "real.real.distance", form)]
                cells += [figure(key, f"sides.{side}.untrained", form) for side in SIDES]
                cells += [figure(key, "early_ratio")]
            else:
                cells += [""] * 4
            lines.append("| " + " | ".join(cells) + " |")
    for key, entry in found.items():
        one, other = (entry["sides"][side] for side in SIDES)
        about = NOTES.get(key.split()[0].rstrip(","), "ganvas trains `{recipe}`.").format(**other)
        load = figure(key, "load_average", ".1f")
        text = (
            f"`{key}`: {about} ganvas is in {other['precision']}, the reference in "
            f"{one['precision']}. Each is trained once (seed `{entry['seed']}`), on a machine "
            f"with other work (load average {load}), with commit `{entry['commit'][:7]}`."
        )
        lines += ["", text]
    met = {aim: [f"`{k}`" for k, e in found.items() if e["aims"][aim]] for aim in ("half", "early")}
    lines += ["", f"The first aim is met by {', '.join(met['half']) or 'none'}, the second by "
              f"{', '.join(met['early']) or 'none'}."]  # fmt: skip
    return "\n".join(lines) + "\n\n"


def report(record: Path, page: Path) -> None:
    """Write the section, or replace it; without a record there is none."""
    if not record.is_file():
        raise SystemExit(f"there is no record {record}: run a case first")
    text = page.read_text(encoding="utf-8")
    start_ = text.find(HEADING)
    end = text.index(NEXT)
    text = (
        text[: end if start_ < 0 else start_] + section(json.loads(record.read_text())) + text[end:]
    )
    page.write_text(text, encoding="utf-8")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", nargs="?", choices=CASES)
    parser.add_argument("--peer", type=Path, help="checkout of the reference")
    parser.add_argument("--peer-commit", help="of a checkout without .git, for the record")
    parser.add_argument("--weights", type=Path, help="folder of SqueezeNet's and LPIPS's weights")
    parser.add_argument("--data", metavar="NAME=PATH", help="a data set of gallery_data.toml")
    parser.add_argument("--minutes", help="processor minutes of the marks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--slice", type=float, default=30.0, help="processor seconds of a turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-labels", action="store_true")
    parser.add_argument("--set", action="extend", nargs="+", default=[], help="of ganvas")
    parser.add_argument("--images", type=int, help="length of ganvas's schedules")
    parser.add_argument("--vgg", type=Path, help="torchvision's vgg19-dcbb9e9d.pth, for srgan")
    parser.add_argument("--runs", type=Path, default=Path("runs/quality"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true")
    for hidden in ("--side", "--source", "--against"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.report:
        return args
    if not args.case or not args.peer:
        parser.error("give a case and --peer")
    case = CASES[args.case]
    marks = args.minutes.split(",") if args.minutes else case.minutes
    args.minutes = [float(minutes) for minutes in marks]
    if args.minutes != sorted({*args.minutes}) or args.minutes[0] <= 0:
        parser.error(f"--minutes are above 0 and increase, as 5,15; got {marks}")
    args.peer, args.name = args.peer.resolve(), (args.data or "").partition("=")[0]
    if args.data and (args.name not in gallery.DATA or "=" not in args.data):
        parser.error(f"--data takes NAME=PATH for {', '.join(gallery.DATA)}; got {args.data}")
    if args.without_labels and case.task != "noise":
        parser.error(f"{args.case} uses no labels")
    if "lpips" in case.measures and not args.weights and not args.side:
        parser.error(f"{args.case} is measured by LPIPS: give --weights")
    args.peer_commit = args.peer_commit or peer_commit(args.peer)
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    args = parsed(arguments)
    if args.report:
        report(args.out, PAGE)
        return
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    torch.set_num_threads(args.threads)
    if args.vgg:
        os.environ["GANVAS_BENCH_VGG"] = str(args.vgg.resolve())
    if args.side:
        work(args)
        return
    kept: dict[str, Any] = json.loads(args.out.read_text()) if args.out.is_file() else {}
    key = key_of(args)
    if {**kept.get(key, {}), **asked(args)} == kept.get(key):
        print(f"{key}: recorded with these settings")
        return
    data = data_of(args)
    args.source, args.against = data.source, data.against
    entry = compared(args, data)
    kept = json.loads(args.out.read_text()) if args.out.is_file() else {}  # others may have ended
    write(
        args.out, (json.dumps(dict(sorted({**kept, key: entry}.items())), indent=1) + "\n").encode()
    )
    for m, ratio in entry["ratios"].items():
        both = (entry["sides"][side]["marks"][m]["distance"] for side in SIDES)
        told = ", ".join(f"{side} {d:.3f}" for side, d in zip(SIDES, both, strict=True))
        print(f"{key}: {m} minutes: {told}, ratio {ratio:.2f}")
    print(f"{key}: early ratio {entry['early_ratio']:.2f}, aims {entry['aims']}")


if __name__ == "__main__":
    main()
