"""Attack the command line with damaged files, killed processes and hostile settings.

    python bench/attack.py [--count 40] [--kills 6] [--seed 0] [--only KIND ...]

Every attempt is a process of its own, which runs ganvas's command line in a fork of a
process that has imported it, with EXTRA bytes of address space beyond the program's own
and LIMIT seconds. Right is success (status 0), or a message with status 1. Wrong is a
traceback, a defect (status 70), silence, death by a signal, the time limit, or a file
outside of the working folder. Attempts that are killed on purpose must in addition leave
what the repeated command continues, to the bytes of an undisturbed result.

`--count` files of each kind are damaged at random (images: ten times as many, in folders
of SIXTY, a process for each folder). Writes docs/results/reliability.json, in which
`--only` replaces the named kinds and keeps the others. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import importlib
import io
import itertools
import json
import os
import pkgutil
import random
import resource
import shlex
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from PIL import Image

import ganvas
from ganvas.__main__ import main as command_line
from ganvas.apps.cli import app
from ganvas.core.environment import commit, machine
from ganvas.media import provenance
from ganvas.training import loop, start

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "reliability.json"
EXTRA = 2 << 30
LIMIT = 120.0
SIXTY = 60
IMAGES = 400  # length of the trainings that are disturbed
ARMS = ["--size", "16", "--batch", "4", "--device", "cpu"]
SMALL = [*ARMS, "--set", "G.width=4", "--set", "D.width=4"]
ODD: list[Any] = [
    None, True, 0, -1, 2**31, 2**63, 10**30, 1e308, float("nan"), float("inf"), "", "x",
    "os:system", "builtins:exec", "../../../x", "\0", "\x1b[31m", [], {}, [[]], [1, 2, 3],
    {"$new": "os:system"}, {"$partial": "torch.optim.adam:Adam"}, {"a": {"b": {}}}, "9" * 400,
]  # fmt: skip


class Ended(NamedTuple):
    """How a process ended: status (negative: a signal), messages, whether out of time."""

    status: int
    out: str
    err: str
    late: bool

    @property
    def right(self) -> bool:
        said = bool(self.out.strip() or self.err.strip())
        traced = "Traceback (most recent call last)" in self.err
        return not self.late and not traced and (self.status == 0 or (self.status == 1 and said))


class Attempt:
    """A fork of this process that runs the command line with `words`."""

    def __init__(
        self,
        words: Sequence[object],
        cwd: Path,
        environment: dict[str, str] | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self.files = [tempfile.TemporaryFile("w+b") for _ in range(2)]  # noqa: SIM115
        self.began = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._run([str(w) for w in words], cwd, environment or {}, prepare)

    def _run(
        self,
        words: list[str],
        cwd: Path,
        environment: dict[str, str],
        prepare: Callable[[], object] | None,
    ) -> None:
        status = 70
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for file, descriptor in zip(self.files, (1, 2), strict=True):
                os.dup2(file.fileno(), descriptor)
            sys.stdout, sys.stderr = (open(d, "w", closefd=False) for d in (1, 2))  # noqa: SIM115
            os.chdir(cwd)
            os.environ.update(environment)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            space = pages * resource.getpagesize() + EXTRA
            resource.setrlimit(resource.RLIMIT_AS, (space, space))
            if prepare:
                prepare()
            sys.argv = ["ganvas", *words]
            command_line()
        except SystemExit as e:
            status = e.code if isinstance(e.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(OSError, ValueError, AttributeError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status & 255)

    def end(self, after: float | None = None, sign: int = signal.SIGKILL) -> Ended:
        """Wait for the end; send `sign` after so many seconds."""
        late = sent = False
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            elapsed = time.monotonic() - self.began
            if after is not None and not sent and elapsed >= after:
                sent = True
                os.kill(self.pid, sign)
            if elapsed > LIMIT:
                late = True
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.005)
        out, err = map(_read, self.files)
        return Ended(os.waitstatus_to_exitcode(status), out, err, late)


def _read(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode(errors="replace")


# ---------------------------------------------------------------- damage


def damaged(data: bytes, rng: random.Random, head: int = 256) -> bytes:
    """`data` with bits flipped, numbers replaced, parts removed, repeated or cut off."""
    b = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3, 8, 30])):
        if not b:
            break
        at = rng.randrange(min(len(b), head) if rng.random() < 0.6 else len(b))
        match rng.randrange(6):
            case 0:
                b[at] ^= 1 << rng.randrange(8)
            case 1:
                del b[at:]
            case 2:
                del b[at : at + rng.randrange(1, 20)]
            case 3:
                b[at:at] = rng.randbytes(rng.randrange(1, 20))
            case 4:
                number = rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**16, rng.getrandbits(32)])
                b[at : at + 4] = struct.pack(rng.choice("<>") + "I", number)
            case _:
                to = rng.randrange(len(b))
                b[to:to] = b[at : at + rng.randrange(1, 200)]
    return bytes(b)


def with_checksums(png: bytes) -> bytes:
    """A PNG whose chunks have right checksums, so that decoders read on."""
    out, at = bytearray(png[:8]), 8
    while at + 12 <= len(png):
        length = min(int.from_bytes(png[at : at + 4], "big"), len(png) - at - 12)
        body = png[at + 4 : at + 8 + length]
        out += png[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(out) + png[at:]


def damaged_json(value: Any, rng: random.Random) -> bytes:
    """The JSON text of `value` with parts removed, renamed or replaced by odd ones."""
    whole: dict[str, Any] = {"": copy.deepcopy(value)}
    for _ in range(rng.choice([1, 1, 2, 4])):
        node: Any = whole
        parent: Any = whole
        key: Any = ""
        while isinstance(node, dict | list) and node and (node is whole or rng.random() < 0.75):
            key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
            parent, node = node, node[key]
        if rng.random() < 0.3 and parent is not whole:
            del parent[key]
        else:
            parent[key] = copy.deepcopy(rng.choice(ODD))
    text = json.dumps(whole[""]).encode()
    match rng.randrange(8):
        case 0:
            return damaged(text, rng, len(text))
        case 1:
            return rng.choice([b"", b"null", b"[]", b"\xff\xfe", b"[" * 100_000 + b"]" * 100_000])
        case _:
            return text


# ---------------------------------------------------------------- the laboratory


def picture(seed: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def generator() -> torch.nn.Module:
    """The generator of pytorch/examples/dcgan, narrow."""
    layers: list[torch.nn.Module] = []
    widths = [100, 32, 16, 8, 4]
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        convolution = torch.nn.ConvTranspose2d(
            before, after, 4, 2 if i else 1, 1 if i else 0, bias=False
        )
        layers += [convolution, torch.nn.BatchNorm2d(after), torch.nn.ReLU(True)]
    layers += [torch.nn.ConvTranspose2d(4, 3, 4, 2, 1, bias=False), torch.nn.Tanh()]
    whole = torch.nn.Module()
    whole.main = torch.nn.Sequential(*layers)
    return whole


class Laboratory:
    """Seeds, a working folder for each kind of attack, and the counts of its attempts.

    `root/work` is the only folder that attempts may write to, besides `root/cache`."""

    def __init__(self, root: Path, count: int, kills: int, seed: int) -> None:
        self.root, self.count, self.kills, self.seed = root, count, kills, seed
        self.seeds, self.outside = root / "seeds", root / "outside"
        self.wrong: list[dict[str, str]] = []
        self.tried = self.right = 0
        self.extra: dict[str, Any] = {}
        for folder in (self.seeds, self.outside, root / "cache", root / "home"):
            folder.mkdir()
        os.environ.update(
            GANVAS_CACHE=str(root / "cache"), HOME=str(root / "home"), OMP_NUM_THREADS="1"
        )
        flat = self.seeds / "flat"
        flat.mkdir()
        for i in range(12):
            picture(i).save(flat / f"{i}.png")
        for i, part in enumerate(("trainA", "trainB")):
            (self.seeds / "two" / part).mkdir(parents=True)
            for j in range(6):
                picture(10 * i + j).save(self.seeds / "two" / part / f"{j}.png")
        self.fresh("preparing")
        self.must("train", "dcgan", flat, "--out", self.seeds / "dcgan", "--images", 200, *SMALL)
        self.must(
            "train", "cyclegan", self.seeds / "two", "--out", self.seeds / "cyclegan",
            "--images", 24, *SMALL, "--set", "G.blocks=1", "--set", "D.layers=1",
            "--set", "data.load=18",
        )  # fmt: skip
        self.must(
            "measure", self.seeds / "dcgan", "--against", flat, "-n", 12,
            "--out", self.seeds / "record.json",
        )  # fmt: skip
        torch.save(generator().state_dict(), self.seeds / "netG.pth")

    def fresh(self, kind: str) -> random.Random:
        """An empty working folder and new counts; the kind's own random numbers."""
        self.work = self.root / "work"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        self.kind, self.tried, self.right, self.extra = kind, 0, 0, {}
        self.before = set(self.surroundings())
        return random.Random(f"{kind} {self.seed}")

    def surroundings(self) -> Iterable[str]:
        for folder in (self.root, self.root / "home", self.outside, self.seeds):
            yield from (str(p) for p in folder.iterdir())

    def must(self, *words: object) -> None:
        ended = self.start(*words).end()
        if ended.status:
            raise SystemExit(f"{words} ended with {ended.status}: {ended.err}")

    def start(self, *words: object, **how: Any) -> Attempt:
        return Attempt(words, self.work, **how)

    def note(self, name: str, ended: Ended, also: bool = True, files: int = 1) -> None:
        """Count an attempt, right if it ended so, `also` holds and nothing lies outside."""
        strange = set(self.surroundings()) - self.before
        right = ended.right and also and not strange
        self.tried += files
        self.right += files * right
        if not right:
            lines = (ended.err or ended.out).strip().splitlines()
            found = {"kind": self.kind, "attempt": name, "status": str(ended.status)}
            found |= {
                "late": str(ended.late),
                "as_wanted": str(also),
                "outside": str(strange or ""),
            }
            self.wrong.append(found | {"message": lines[-1][:300] if lines else ""})
            print(f"WRONG {self.wrong[-1]}", flush=True)

    def attempt(self, name: str, *words: object, files: int = 1, **how: Any) -> Ended:
        ended = self.start(*words, **how).end()
        self.note(name, ended, files=files)
        return ended

    def train(self, out: Path) -> list[object]:
        if (out / "run.json").is_file():
            return ["resume", out, "--device", "cpu"]
        return ["train", "dcgan", self.seeds / "flat", "--out", out, "--images", IMAGES,
                *SMALL]  # fmt: skip


# ---------------------------------------------------------------- attacks

PICTURES = [(mode, form) for form, modes in {
    "PNG": ("RGB", "RGBA", "P", "L", "1", "I;16"), "JPEG": ("RGB", "L", "CMYK"), "GIF": ("P",),
    "TIFF": ("RGB", "L", "RGBA", "CMYK"), "WEBP": ("RGB", "RGBA"), "BMP": ("RGB", "P"),
    "PPM": ("RGB",), "TGA": ("RGB", "RGBA"),
}.items() for mode in modes]  # fmt: skip


def damaged_picture(rng: random.Random) -> tuple[str, bytes]:
    mode, form = rng.choice(PICTURES)
    image = picture(0, "L").convert("I").convert("I;16") if mode == "I;16" else picture(0, mode)
    data = damaged(encoded(image, form), rng)
    if form == "PNG" and rng.random() < 0.5:
        data = with_checksums(data)
    return {"JPEG": "jpg", "TIFF": "tif"}.get(form, form.lower()), data


def images(lab: Laboratory, rng: random.Random) -> None:
    for i in range(max(1, 10 * lab.count // SIXTY)):
        folder = lab.work / str(i)
        folder.mkdir()
        for j in range(SIXTY):
            suffix, data = damaged_picture(rng)
            (folder / f"{j}.{suffix}").write_bytes(data)
        lab.attempt(f"folder {i}", "data", "check", folder, files=SIXTY)


def used(lab: Laboratory, rng: random.Random) -> None:
    for i in range(lab.count // 2):
        suffix, data = damaged_picture(rng)
        folder = lab.work / f"in{i}"
        folder.mkdir()
        (folder / f"0.{suffix}").write_bytes(data)
        picture(1).save(folder / "1.png")
        if i % 2:
            lab.attempt("translate", "translate", lab.seeds / "cyclegan", folder, "--out", "out")
        else:
            lab.attempt("pixels", "pixels", folder, lab.seeds / "flat")


def arrays(lab: Laboratory, rng: random.Random) -> None:
    pixels = np.zeros((5, 16, 16, 3), np.uint8)
    npz, npy = io.BytesIO(), io.BytesIO()
    np.savez(npz, x=pixels, y=np.arange(5))
    np.save(npy, pixels)
    idx = struct.pack(">IIII", 0x803, 5, 16, 16) + bytes(5 * 256)
    for i in range(lab.count):
        name, data = [("x.npz", npz.getvalue()), ("train-images-idx3-ubyte", idx)][i % 2]
        folder = lab.work / str(i)
        folder.mkdir()
        (folder / name).write_bytes(damaged(data, rng))
        lab.attempt(name, "data", "check", folder / name if i % 2 == 0 else folder)


def zips(lab: Laboratory, rng: random.Random) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i in range(4):
            archive.writestr(f"{'ab'[i % 2]}/{i}.png", encoded(picture(i), "PNG"))
    for i in range(lab.count):
        at = lab.work / f"{i}.zip"
        data = file.getvalue()
        at.write_bytes(damaged(data, rng, len(data)))
        lab.attempt("zip", "data", "check", at)


def models(lab: Laboratory, rng: random.Random) -> None:
    whole = (lab.seeds / "dcgan" / "model" / "model.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    for i in range(lab.count):
        folder = lab.work / f"model{i}"
        folder.mkdir()
        if i % 2:
            data = damaged(whole, rng, length)
        else:
            text = damaged_json(header, rng)
            data = len(text).to_bytes(8, "little") + text + whole[8 + length :]
        (folder / "model.safetensors").write_bytes(data)
        lab.attempt("model", "sample", folder, "-n", 1, "--out", f"{i}.png")


def runs(lab: Laboratory, rng: random.Random) -> None:
    for i in range(lab.count):
        at = lab.work / "run"
        shutil.rmtree(at, ignore_errors=True)
        shutil.copytree(lab.seeds / "dcgan", at)
        part = rng.choice(["run.json", "run.json", "log.jsonl", "measures.jsonl", "checkpoint"])
        if part == "run.json":
            record = json.loads((at / part).read_text())
            (at / part).write_bytes(damaged_json(record, rng))
        else:
            files = [at / part]
            if part == "checkpoint":
                files = [p for p in (at / "checkpoints").rglob("*") if p.is_file()]
            file = rng.choice(sorted(files))
            file.write_bytes(damaged(file.read_bytes(), rng, 4096))
        words = rng.choice([["resume", at, "--images", 208, "--device", "cpu"],
                            ["monitor", at],
                            ["sample", at, "-n", 1, "--out", f"{i}.png"]])  # fmt: skip
        lab.attempt(f"{words[0]}, {part}", *words)


def records(lab: Laboratory, rng: random.Random) -> None:
    record = json.loads((lab.seeds / "record.json").read_text())
    for i in range(lab.count):
        at = lab.work / f"{i}.json"
        at.write_bytes(damaged_json(record, rng))
        lab.attempt("compare", "compare", at, lab.seeds / "record.json")


def imports(lab: Laboratory, rng: random.Random) -> None:
    whole = (lab.seeds / "netG.pth").read_bytes()
    lab.attempt("undamaged", "import", lab.seeds / "netG.pth", "--out", "undamaged")
    for i in range(lab.count):
        at = lab.work / f"{i}.pth"
        at.write_bytes(damaged(whole, rng, len(whole)))
        lab.attempt("import", "import", at, "--out", f"m{i}")


class Evil:
    """Unpickled, it would make a file outside."""

    def __init__(self, at: Path) -> None:
        self.at = at

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.at),)


def bomb(side: int) -> bytes:
    """A PNG of side x side pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1 << 20), 9)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def crafted(lab: Laboratory, rng: random.Random) -> None:
    def folder(name: str) -> Path:
        at = lab.work / name
        at.mkdir()
        picture(0).save(at / "a.png")
        return at

    check = ("data", "check")
    for name in ("../../outside/x.png", "/tmp/ganvas-attack.png", "a/../../../outside/y.png"):
        at = lab.work / "names.zip"
        with zipfile.ZipFile(at, "w") as archive:
            archive.writestr(name, encoded(picture(0), "PNG"))
        lab.attempt(f"zip with {name}", *check, at)
    with zipfile.ZipFile(lab.work / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(300 << 20))
    lab.attempt("zip whose member unpacks to 300 MiB", *check, lab.work / "bomb.zip")
    for side in (30_000, 65_535, 2**31 - 1):
        at = folder(f"bomb{side}")
        (at / "bomb.png").write_bytes(bomb(side))
        lab.attempt(f"image that announces {side} pixels a side", *check, at)
        lab.attempt(
            "the same, translated", "translate", lab.seeds / "cyclegan", at, "--out", f"o{side}"
        )
    for name in (b"\xff\xfe.png", b"\x1b[2J.png", b"a\nb.png", b"x" * 245 + b".png", b"-rf.png"):
        at = folder(f"names{len(list(lab.work.iterdir()))}")
        Path(os.fsdecode(os.fsencode(at) + b"/" + name)).write_bytes(encoded(picture(0), "PNG"))
        lab.attempt(f"image named {name[:20]!r}", *check, at)
        lab.attempt(
            "the same, translated", "translate", lab.seeds / "cyclegan", at, "--out", at / "o"
        )
    at = folder("places")
    os.mkfifo(at / "pipe.png")
    (at / "zero.png").symlink_to("/dev/zero")
    (at / "loop.png").symlink_to("loop.png")
    (at / "gone.png").symlink_to("nowhere.png")
    (at / "folder.png").mkdir()
    (at / "text.png").write_text("no image")
    (at / "empty.png").touch()
    (at / "around").symlink_to(at)
    lab.attempt("pipe, device, links, folder, text and nothing as images", *check, at)
    for name in ("pipe.png", "zero.png", "loop.png", "folder.png", "text.png", "empty.png"):
        for verb in (check, ("compare", lab.seeds / "record.json"), ("import", "--out", "m")):
            lab.attempt(f"{name} for {verb[0]}", *verb, at / name)
    for i, value in enumerate((Evil(lab.outside / "evil"), {"x": Evil(lab.outside / "evil")})):
        torch.save(value, lab.work / f"evil{i}.pth")
        lab.attempt("pickle that runs code", "import", lab.work / f"evil{i}.pth", "--out", f"e{i}")
    np.save(lab.work / "o.npy", np.array([Evil(lab.outside / "evil")], dtype=object))
    np.savez(lab.work / "o.npz", x=np.array([Evil(lab.outside / "evil")], dtype=object))
    lab.attempt("npz that runs code", *check, lab.work / "o.npz")
    for length in (2**63, 2**40, 10**8, 0):
        at = folder(f"header{length}")
        (at / "model.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")
        lab.attempt(f"header of {length} bytes", "sample", at, "-n", 1, "--out", "x.png")
    for name in ("os:system", "builtins:exec", "subprocess:run", "posix:system", "shutil:rmtree"):
        at = lab.work / "named"
        shutil.rmtree(at, ignore_errors=True)
        shutil.copytree(lab.seeds / "dcgan", at)
        record = json.loads((at / "run.json").read_text())
        text = json.dumps(record).replace("ganvas.methods.dcgan:DCGAN", name)
        (at / "run.json").write_text(text)
        lab.note(f"run of {name}", ended := lab.start("resume", at, "--images", 400).end(),
                 name not in json.dumps(record) and ended.status == 1)  # fmt: skip


def bits(lab: Laboratory, rng: random.Random) -> None:
    """A flipped bit is reported, or an older checkpoint is used, or it changes nothing."""
    folder = lab.seeds / "dcgan"
    shutil.copytree(folder, lab.work / "whole")
    lab.must("resume", lab.work / "whole", "--images", 240, "--device", "cpu")
    whole = digests(lab.work / "whole")
    lab.extra["as_undisturbed"] = 0
    for _ in range(lab.count):
        at = lab.work / "run"
        shutil.rmtree(at, ignore_errors=True)
        shutil.copytree(folder, at)
        last = max((at / "checkpoints").iterdir())
        file = rng.choice(sorted(p for p in last.iterdir() if p.is_file()))
        data = bytearray(file.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
        ended = lab.start("resume", at, "--images", 240, "--device", "cpu").end()
        same = ended.status != 0 or digests(at) == whole
        lab.extra["as_undisturbed"] += ended.status == 0 and same
        lab.note(f"a bit of {file.name}", ended, same)


def digests(run: Path) -> dict[str, str]:
    """Hashes of what a resumed run must have in common with an undisturbed one."""
    files = [run / "model" / "model.safetensors", run / "log.jsonl"]
    files += [p for p in max((run / "checkpoints").iterdir()).iterdir() if p.suffix != ".json"]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.is_file()}


def differing(one: dict[str, str], other: dict[str, str]) -> str:
    return ", ".join(n for n in sorted(one | other) if one.get(n) != other.get(n))


def save_often() -> None:
    loop.SAVE_SECONDS = 0.05  # so that many deaths fall into a save


def kills(lab: Laboratory, rng: random.Random) -> None:
    """SIGKILL in training; the same command then completes the run, to the last bit."""
    seconds = measured(lab, "whole")
    whole = digests(lab.work / "whole")
    lab.extra["with_a_checkpoint"] = 0
    for i in range(3 * lab.kills):
        out = lab.work / f"run{i}"
        attempt = lab.start(*lab.train(out), prepare=save_often)
        killed = attempt.end(after=rng.uniform(0.1, 0.7) * seconds)
        if killed.status != -signal.SIGKILL:  # it was complete before
            continue
        lab.extra["with_a_checkpoint"] += any((out / "checkpoints").glob("*/state.json"))
        ended = lab.start(*lab.train(out)).end()
        if "is complete" in ended.err:  # all was written before the signal
            ended = ended._replace(status=0)
        other = differing(digests(out), whole) if ended.status == 0 else ""
        lab.note(f"SIGKILL in training {other}".strip(), ended, ended.status == 0 and not other)
        if lab.tried == lab.kills:
            break


def measured(lab: Laboratory, name: str) -> float:
    """Seconds of a training that nothing disturbs."""
    began = time.monotonic()
    lab.must(*lab.train(lab.work / name))
    return time.monotonic() - began


def ctrl_c(lab: Laboratory, rng: random.Random) -> None:
    """SIGINT: status 130 with a message, or the whole result if the work was done."""
    seconds = measured(lab, "whole")
    for i in range(lab.kills):
        out = lab.work / f"run{i}"
        ended = lab.start(*lab.train(out)).end(rng.uniform(0.05, 1) * seconds, signal.SIGINT)
        right = ended.status == 0 or (ended.status == 130 and bool(ended.err.strip()))
        if ended.status == 130:
            ended = ended._replace(status=1)
        lab.note("Ctrl-C in training", ended, right)
        if (out / "run.json").is_file():
            lab.must(*lab.train(out))


def interrupts(lab: Laboratory, rng: random.Random) -> None:
    """SIGKILL to `translate`: every file that has its final name is whole, and the same
    command continues to the pixels of an undisturbed one."""
    source = lab.work / "photos"
    source.mkdir()
    for i in range(60):
        picture(i).resize((96, 96)).save(source / f"{i}.png")

    def results(at: Path) -> dict[str, bytes]:
        found = {}
        for file in at.glob("*.png"):
            if not file.name.startswith("."):
                with Image.open(file) as image:
                    found[file.name] = image.tobytes()
        return found

    words = ["translate", lab.seeds / "cyclegan", source, "--out"]
    began = time.monotonic()
    lab.must(*words, lab.work / "whole")
    seconds, whole = time.monotonic() - began, results(lab.work / "whole")
    for i in range(lab.kills):
        out = lab.work / f"out{i}"
        lab.start(*words, out).end(after=rng.uniform(0.05, 0.9) * seconds)
        partial = results(out) if out.is_dir() else {}
        ended = lab.start(*words, out).end()
        same = partial.items() <= whole.items() and results(out) == whole
        lab.note("SIGKILL in translate", ended, same)


def diverging(lab: Laboratory, rng: random.Random) -> None:
    """Settings that diverge or that nothing can be built with."""
    settings = [
        "optim.G.lr=1e30", "optim.D.lr=1e30", "optim.G.lr=nan", "optim.G.lr=-1", "optim.G.lr=inf",
        "G.width=0", "G.width=-1", "D.width=0", "G.width=1000000", "G.latent=0", "G.latent=-5",
        "batch=0", "seed=-1", "ema.images=0", "G.width=x", "nothing=1", "G.nothing=1", "G=1",
    ]  # fmt: skip
    for i, setting in enumerate(settings):
        words = ["train", "dcgan", lab.seeds / "flat", "--out", f"run{i}", "--images", 80, *ARMS]
        ended = lab.start(*words, "--set", "D.width=4", "--set", setting).end()
        if ended.status == 2 and ended.err.strip():  # a wrong command line
            ended = ended._replace(status=1)
        lab.note(setting, ended)


def disks(lab: Laboratory, rng: random.Random) -> None:
    """No file may grow beyond a limit, as on a full disk; then the run continues."""
    lab.must(*lab.train(lab.work / "whole"))
    whole = digests(lab.work / "whole")
    largest = max(p.stat().st_size for p in (lab.work / "whole").rglob("*") if p.is_file())
    for i in range(lab.kills):
        size = int(largest * (i + 0.5) / lab.kills)

        def limited(size: int = size) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        out = lab.work / f"run{i}"
        ended = lab.start(*lab.train(out), prepare=limited).end()
        lab.must(*lab.train(out))
        lab.note(f"files of at most {size} bytes", ended, digests(out) == whole)


def surroundings(lab: Laboratory, rng: random.Random) -> None:
    def handles(n: int) -> Callable[[], None]:
        return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))

    sample = ["sample", lab.seeds / "dcgan", "-n", 1, "--out"]
    for n in (8, 16, 24, 40, 64):
        lab.attempt(f"{n} file handles", *sample, f"{n}.png", prepare=handles(n))
    for home in ("/nowhere", "", str(lab.work / "run.json"), "/proc"):
        places = {"HOME": home, "GANVAS_CACHE": f"{home}/cache"}
        lab.attempt(f"HOME={home!r}", *sample, "h.png", environment=places)
        lab.attempt(f"HOME={home!r}", "data", "check", lab.seeds / "flat", environment=places)
    for where in ("COLUMNS=1", "COLUMNS=x", "TERM=", "TMPDIR=/nowhere", "LC_ALL=xx", "TZ=x/y"):
        name, _, value = where.partition("=")
        for words in (sample[:1] + sample[1:] + ["e.png"], ["data", "check", lab.seeds / "flat"]):
            lab.attempt(where, *words, environment={name: value})

    def closed(descriptor: int) -> None:
        """As Python starts without it."""
        os.close(descriptor)
        setattr(sys, ("stdin", "stdout", "stderr")[descriptor], None)

    for descriptor in (0, 1, 2):
        ended = lab.start(*sample, "c.png", prepare=lambda d=descriptor: closed(d)).end()
        lab.note(f"descriptor {descriptor} closed", ended._replace(out=ended.out or "closed"))


def two_at_once(lab: Laboratory, rng: random.Random) -> None:
    """Two processes in one run folder: one trains, the other is refused, and the result is
    that of one."""
    lab.must(*lab.train(lab.work / "whole"))
    whole = digests(lab.work / "whole")
    for i in range(lab.kills):
        out = lab.work / f"run{i}"
        words = lab.train(out)
        ended = [attempt.end() for attempt in [lab.start(*words), lab.start(*words)]]
        done = [e for e in ended if e.status == 0]
        for one in ended:
            lab.note("two trainings", one, len(done) == 1 and digests(out) == whole)


def marks(lab: Laboratory, rng: random.Random) -> None:
    """Every file with generated images says so; Pillow, which saves it again, drops it."""
    resaved = kept = 0
    for suffix in ("png", "jpg", "webp", "tif"):
        for words in (["sample", lab.seeds / "dcgan", "-n", 2], ["walk", lab.seeds / "dcgan"]):
            if words[0] == "walk":
                suffix = {"jpg": "gif"}.get(suffix, "png")
            at = lab.work / f"{words[0]}.{suffix}"
            ended = lab.start(*words, "--out", at).end()
            marked = ended.status == 0 and bool(provenance.read(at)["generated"])
            lab.note(f"{words[0]} to .{suffix}", ended, marked)
            again = lab.work / f"again.{suffix}"
            with Image.open(at) as image:
                image.copy().save(again)
            resaved += 1
            kept += bool(provenance.read(again)["generated"])
    lab.extra |= {"resaved": resaved, "resaved_marked": kept}


ATTACKS = {
    "images": images, "used": used, "arrays": arrays, "zips": zips, "models": models,
    "runs": runs, "records": records, "imports": imports, "crafted": crafted, "bits": bits,
    "kills": kills, "ctrl_c": ctrl_c, "interrupts": interrupts, "diverging": diverging,
    "disks": disks, "surroundings": surroundings, "two_at_once": two_at_once, "marks": marks,
}  # fmt: skip


def warm() -> None:
    """Import here what forks would each import."""
    for module in pkgutil.walk_packages(ganvas.__path__, "ganvas."):
        if not module.name.startswith(("ganvas.apps.s", "ganvas.claims", "ganvas.__main__")):
            with suppress(ImportError):
                importlib.import_module(module.name)
    importlib.import_module("torch._dynamo")  # torch's optimizers import it
    with suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        app(["--help"], prog_name="ganvas")


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=40, help="damaged files of each kind")
    parser.add_argument("--kills", type=int, default=6, help="attempts of each kind of signal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    source = commit()  # of the code that runs below
    kept = json.loads(args.out.read_text()) if args.out.is_file() else {}
    attacks: dict[str, Any] = kept.get("attacks", {}) if args.only != list(ATTACKS) else {}
    torch.set_num_threads(1)
    warm()
    start.commit = lambda: source  # model files name it; it may change while this runs
    with tempfile.TemporaryDirectory(prefix="ganvas-attack-") as root:
        lab = Laboratory(Path(root), args.count, args.kills, args.seed)
        for kind in args.only:
            began, lab.wrong = time.monotonic(), []
            ATTACKS[kind](lab, lab.fresh(kind))
            counts = {"tried": lab.tried, "right": lab.right, "wrong": lab.tried - lab.right}
            words = shlex.join(["python", "bench/attack.py", *arguments])
            attacks[kind] = {**counts, **lab.extra, "wrong_attempts": lab.wrong,
                             "seconds": round(time.monotonic() - began, 1),
                             "command": words, "commit": source}  # fmt: skip
            print(f"{kind}: {counts}, {attacks[kind]['seconds']} s", flush=True)
            record = {
                "command": "python bench/attack.py",
                "commit": source,
                "machine": machine(),
                "extra_bytes": EXTRA,
                "limit_seconds": LIMIT,
                "attacks": {name: attacks[name] for name in ATTACKS if name in attacks},
            }
            args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
