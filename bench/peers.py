"""How fast is a training step next to the reference code's own?

    python bench/peers.py dcgan --peer PATH          a checkout of pytorch/examples
    python bench/peers.py cyclegan --peer PATH       a checkout of junyanz/pytorch-CycleGAN-and-pix2pix
    python bench/peers.py pix2pix --peer PATH
        [--size 64] [--batch 64] [--precision fp32] [--compile MODE] [--rounds 7] [--threads 2] [--device cpu]

Runs the reference's own step, out of its own files, and ganvas's step of the same recipe, on the same images from the same
weights, each in a process of its own. First it checks that one step gives the same losses; then the two take turns
(A B A B ...), and what is recorded is the median of the paired ratios, and the largest memory of each, less what its
process held before the first step. One entry for each case in bench/results/peers.json. Nothing of a peer is kept here:
its code is read from the checkout.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas import config, recipes
from ganvas.core import Batch, Shape
from ganvas.engine.engine import Engine
from ganvas.engine.memory import keep_freed_memory
from ganvas.metrics.measure import commit, machine

RESULTS = Path(__file__).parent / "results" / "peers.json"
TOLERANCE = {"fp32": 1e-5, "tf32": 2e-2, "bf16": 0.1}  # of one step's losses, relative: same mathematics, other order


class Fixed:
    """A feed that always gives the same images, channels last as ganvas's feeds give them."""

    def __init__(self, shape: Shape, **fields: Tensor) -> None:
        self.info = types.SimpleNamespace(shape=shape)
        self.fields = {k: v.contiguous(memory_format=torch.channels_last) for k, v in fields.items()}

    def draw(self, *_: Any, device: Any = None, **__: Any) -> Batch:
        return Batch(**{k: v.to(device) for k, v in self.fields.items()})


class Peer(ABC):
    """One reference's step. `step()` performs it and returns its losses by ganvas's names; `networks` are its networks by
    the names of ganvas's."""

    networks: dict[str, torch.nn.Module]

    def __init__(self, checkout: Path, size: int, batch: int, device: str) -> None:
        self.checkout, self.size, self.batch, self.device = checkout, size, batch, device

    @abstractmethod
    def step(self) -> dict[str, float]: ...

    @abstractmethod
    def feed(self) -> Fixed: ...


class DCGAN(Peer):
    """pytorch/examples/dcgan/main.py, which trains as it is imported: its classes and the body of its loop are taken out of
    its syntax tree and run as they are, without the printing and the pictures."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        assert self.size == 64, "this reference makes images of 64x64"
        tree = ast.parse((self.checkout / "dcgan" / "main.py").read_text())
        wanted = [n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
        self.names: dict[str, Any] = {
            "torch": torch, "nn": torch.nn, "nz": 100, "ngf": 64, "ndf": 64, "nc": 3,
            "device": torch.device(self.device), "real_label": 1, "fake_label": 0, "criterion": torch.nn.BCELoss(),
        }  # fmt: skip
        run(wanted, self.names)
        for name, network in (("netG", "Generator"), ("netD", "Discriminator")):
            self.names[name] = self.names[network](1).to(self.device).apply(self.names["weights_init"])
            self.names[f"optimizer{name[-1]}"] = torch.optim.Adam(
                self.names[name].parameters(), lr=2e-4, betas=(0.5, 0.999)
            )
        loop = next(n for n in ast.walk(tree) if isinstance(n, ast.For) and "dataloader" in ast.unparse(n.iter))
        body = [n for n in loop.body if not isinstance(n, ast.If) and "print(" not in ast.unparse(n)]
        self.body = compile(ast.Module(body, []), "dcgan/main.py", "exec")
        self.networks = {"G": self.names["netG"], "D": self.names["netD"]}
        self.real = torch.rand(self.batch, 3, 64, 64) * 2 - 1
        self.names["data"] = (self.real,)

    def step(self) -> dict[str, float]:
        exec(self.body, self.names)
        # The reference prints these after every step, and to print them it reads them.
        return {"D/loss": self.names["errD"].item(), "G/loss": self.names["errG"].item()}

    def feed(self) -> Fixed:
        return Fixed(Shape(3, 64, 64), x=self.real)


class Junyanz(Peer):
    """A model of pytorch-CycleGAN-and-pix2pix: its own option parser, its own `optimize_parameters`."""

    model = ""
    options: tuple[str, ...] = ()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        sys.path.insert(0, str(self.checkout))
        if "torchvision" not in sys.modules:  # its data loading imports it, and nothing here loads data with it
            for name in ("torchvision", "torchvision.transforms"):
                sys.modules[name] = types.ModuleType(name)
            vars(sys.modules["torchvision"])["transforms"] = sys.modules["torchvision.transforms"]
        create_model = importlib.import_module("models").create_model
        TrainOptions = importlib.import_module("options.train_options").TrainOptions

        gpu = "-1" if self.device == "cpu" else "0"
        sys.argv = ["train.py", "--dataroot", ".", "--name", "bench", "--model", self.model, "--gpu_ids", gpu,
                    "--checkpoints_dir", os.environ.get("TMPDIR", "/tmp"), "--batch_size", str(self.batch),
                    *self.options]  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()):
            parser = TrainOptions()
            opt = parser.gather_options()
            opt.isTrain, opt.gpu_ids = True, [] if gpu == "-1" else [0]
            self.theirs = create_model(opt)
        self.a, self.b = (torch.rand(self.batch, 3, self.size, self.size) * 2 - 1 for _ in range(2))

    def step(self) -> dict[str, float]:
        self.theirs.set_input({"A": self.a, "B": self.b, "A_paths": [], "B_paths": []})
        self.theirs.optimize_parameters()
        return self.losses({k: getattr(self.theirs, f"loss_{k}").item() for k in self.theirs.loss_names})

    @abstractmethod
    def losses(self, theirs: dict[str, float]) -> dict[str, float]: ...


class CycleGAN(Junyanz):
    model = "cycle_gan"

    def __init__(self, *args: Any) -> None:
        self.options = ("--netG", f"resnet_{9 if args[1] >= 256 else 6}blocks")
        super().__init__(*args)
        t = self.theirs  # its netD_A judges b
        self.networks = {"G_ab": t.netG_A, "G_ba": t.netG_B, "D_a": t.netD_B, "D_b": t.netD_A}

    def losses(self, theirs: dict[str, float]) -> dict[str, float]:
        g = sum(theirs[k] for k in ("G_A", "G_B", "cycle_A", "cycle_B", "idt_A", "idt_B"))
        return {"G/loss": g, "D/loss": theirs["D_A"] + theirs["D_B"]}

    def feed(self) -> Fixed:
        return Fixed(Shape(3, self.size, self.size), a=self.a, b=self.b)


class Pix2Pix(Junyanz):
    model = "pix2pix"

    def __init__(self, *args: Any) -> None:
        self.options = ("--netG", f"unet_{args[1]}", "--no_dropout")  # each draws its masks in its own way
        super().__init__(*args)
        self.networks = {"G": self.theirs.netG, "D": self.theirs.netD}

    def losses(self, theirs: dict[str, float]) -> dict[str, float]:
        return {"G/loss": theirs["G_GAN"] + theirs["G_L1"], "D/loss": (theirs["D_real"] + theirs["D_fake"]) / 2}

    def feed(self) -> Fixed:
        return Fixed(Shape(3, self.size, self.size), x=self.a, y=self.b)


PEERS: dict[str, type[Peer]] = {"dcgan": DCGAN, "cyclegan": CycleGAN, "pix2pix": Pix2Pix}


def run(statements: Sequence[ast.stmt], names: dict[str, Any]) -> None:
    exec(compile(ast.Module(list(statements), []), "reference", "exec"), names)


def ours(method: str, size: int, batch: int, precision: str, compile: str | None, device: str, feed: Fixed) -> Engine:
    """ganvas's engine for the same images."""
    settings = [f"batch={batch}"]
    if method == "cyclegan":
        settings.append(f"G.blocks={9 if size >= 256 else 6}")
    if method == "pix2pix":
        settings += [f"G.depth={size.bit_length() - 1}", "G.dropout=false"]
    recipe = recipes.find(method)(1)
    for setting in settings:
        recipe = config.override(recipe, setting)
    return Engine(replace(recipe, precision=precision, compile=compile, lr=None), feed, device)


class Worker:
    """One side in a process of its own, which takes a step whenever it is asked to."""

    def __init__(self, side: str, arguments: list[str], folder: str) -> None:
        command = [sys.executable, __file__, *arguments, "--side", side, "--folder", folder]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self._answer()

    def step(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a side's process has ended; its last words are above")
        return json.loads(line)


def work(case: argparse.Namespace) -> None:
    """A side's process. The reference writes its weights, images and (DCGAN's) noise of the first step for ganvas to read:
    each would draw them in its own way."""
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    shared = Path(case.folder) / "start.pt"
    noise: Tensor | None
    if case.side == "reference":
        peer = PEERS[case.method](case.peer, case.size, case.batch, case.device)
        feed = peer.feed()
        noise = torch.randn(case.batch, 100, 1, 1, device=case.device) if case.method == "dcgan" else None
        start = {name: net.state_dict() for name, net in peer.networks.items()}
        torch.save({"weights": start, "fields": feed.fields, "noise": noise}, shared)
        place, name, once = torch, "randn", (lambda *_, **__: noise)
        step = peer.step
    else:
        if case.device == "cpu":
            keep_freed_memory()
        start = torch.load(shared, weights_only=True)
        image = next(iter(start["fields"].values()))
        feed = Fixed(Shape(*image.shape[1:]), **start["fields"])
        engine = ours(case.method, case.size, case.batch, case.precision, case.compile, case.device, feed)
        for name, weights in start["weights"].items():
            engine.method.get_submodule(name).load_state_dict(weights)
        noise = start["noise"]
        place, name, once = engine.method, "latent", (lambda *_: noise.flatten(1))  # pyright: ignore

        def step() -> dict[str, float]:
            return {k: float(v) for k, v in engine.step().items()}

    print(json.dumps({"ready": True}), flush=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plain = getattr(place, name, None)
    if noise is not None:
        setattr(place, name, once)
    for _ in sys.stdin:
        began = time.perf_counter()
        losses = step()
        if case.device != "cpu":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        if noise is not None:
            setattr(place, name, plain)
            noise = None
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        mib = held / 1024 if case.device == "cpu" else torch.cuda.max_memory_allocated() / 2**20
        print(json.dumps({"seconds": seconds, "losses": losses, "mib": mib}), flush=True)


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
    case = parser.parse_args()
    if case.side:
        work(case)
        return
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        peer, mine = (Worker(side, arguments, folder) for side in ("reference", "ganvas"))
        theirs, own = peer.step()["losses"], mine.step()["losses"]
        losses = {
            k: {"reference": v, "ganvas": own[k], "difference": abs(v - own[k]) / abs(v)} for k, v in theirs.items()
        }
        if max(v["difference"] for v in losses.values()) > TOLERANCE[case.precision]:
            raise SystemExit(f"one step from the same start gives other losses: {json.dumps(losses, indent=1)}")
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
            s: statistics.median(p[i]["seconds"] for p in pairs) for i, s in enumerate(("reference", "ganvas"))
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
    case.out.write_text(json.dumps(dict(sorted({**kept, case_name: found}.items())), indent=1) + "\n")
    print(f"{case_name}: {found['times_as_fast']:.2f} times as fast, {found['share_of_memory']:.2f} of the memory")


if __name__ == "__main__":
    main()
