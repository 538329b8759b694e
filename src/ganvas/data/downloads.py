"""Data sets by name, downloaded once from their official addresses, checked by SHA-256.

Checksums and sizes are those that TensorFlow Datasets records for the same addresses
(its url_checksums/ mnist, fashion_mnist, cifar10 and cycle_gan). LeCun's own server no
longer serves MNIST to programs, so its files come from the mirror that TensorFlow
Datasets uses. Facades is CycleGAN's edition (400 + 106, photographs A and label maps B,
of the same name but for the ending), whose checksum is known; pix2pix's own archive has
none on record.

A set that a package of the system has installed is opened there instead.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import tarfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ganvas.core.errors import UserError, printable
from ganvas.core.guards import abandoned, open_regular, reason

SLOWEST = 1024  # bytes per second, averaged over a minute, below which a download is given up


@dataclass(frozen=True)
class File:
    """A file to download.

    size: in bytes
    urls: addresses, tried in this order
    """

    name: str
    size: int
    sha256: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Official:
    """An official data set: its format, files and class names.

    installed: (Debian package, folder of the same idx files that it installs), or None.
        It packs them anew, so that only their contents equal the downloaded ones
    """

    kind: Literal["idx", "cifar", "zip"]
    files: tuple[File, ...]
    classes: tuple[str, ...] | None = None
    installed: tuple[str, Path] | None = None


def _idx(base: str, sums: dict[str, tuple[int, str]]) -> tuple[File, ...]:
    return tuple(File(n, size, sha, (base + n,)) for n, (size, sha) in sums.items())


def _cyclegan(name: str, size: int, sha256: str) -> Official:
    addresses = (
        f"http://efrosgans.eecs.berkeley.edu/cyclegan/datasets/{name}.zip",
        f"https://people.eecs.berkeley.edu/~taesung_park/CycleGAN/datasets/{name}.zip",
    )
    return Official("zip", (File(f"{name}.zip", size, sha256, addresses),))


SETS: dict[str, Official] = {
    "mnist": Official(
        "idx",
        _idx(
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            {
                "train-images-idx3-ubyte.gz": (
                    9912422,
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                ),
                "train-labels-idx1-ubyte.gz": (
                    28881,
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                ),
                "t10k-images-idx3-ubyte.gz": (
                    1648877,
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                ),
                "t10k-labels-idx1-ubyte.gz": (
                    4542,
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                ),
            },
        ),
        tuple("0123456789"),
    ),
    "fashion-mnist": Official(
        "idx",
        _idx(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            {
                "train-images-idx3-ubyte.gz": (
                    26421880,
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                ),
                "train-labels-idx1-ubyte.gz": (
                    29515,
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                ),
                "t10k-images-idx3-ubyte.gz": (
                    4422102,
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                ),
                "t10k-labels-idx1-ubyte.gz": (
                    5148,
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
            },
        ),
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        ("dataset-fashion-mnist", Path("/usr/share/datasets/fashion-mnist")),
    ),
    "cifar10": Official(
        "cifar",
        (
            File(
                "cifar-10-binary.tar.gz",
                170052171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            ),
        ),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "facades": _cyclegan(
        "facades", 35135868, "9a31ebf3a31b9b5cd195dd5bf62e9308e00cb94604d1019e3889ac84248695c0"
    ),
    "horse2zebra": _cyclegan(
        "horse2zebra", 116867962, "a74d9d392eecca9966b51287a76ca126af473d9de4f3e8fc0e9cda08fa1730a1"
    ),
}


def cache_dir() -> Path:
    """Folder of downloaded and decoded data: $GANVAS_CACHE, or ~/.cache/ganvas.

    Raises `UserError` for a home folder that is not known.
    """
    given = os.environ.get("GANVAS_CACHE")
    try:
        return Path(given).expanduser() if given else Path.home() / ".cache" / "ganvas"
    except RuntimeError:
        problem = (
            f"GANVAS_CACHE={printable(given)} names a home folder that is not known"
            if given
            else "there is no home folder"
        )
        raise UserError(
            f"{problem}, so there is no place for decoded images: set GANVAS_CACHE to a folder"
        ) from None


def fetch(name: str) -> tuple[str, Path]:
    """Find an official set where a package installed it, or download the missing files.

    Returns (kind, path of its file or, for idx, of its folder).
    """
    official = SETS[name]
    if official.installed is not None:
        _, there = official.installed
        if all((there / file.name).is_file() for file in official.files):
            return official.kind, there
    folder = cache_dir() / "downloads" / name
    paths = [fetch_file(name, file, folder) for file in official.files]
    return official.kind, folder if official.kind == "idx" else paths[0]


def fetch_file(name: str, file: File, folder: Path) -> Path:
    """Path of `file` in `folder`, after download and check if it is missing.

    name: of its data set, for messages
    """
    # a download has been checked by its checksum: its size tells whether it is complete
    path = folder / file.name
    if not path.exists() or path.stat().st_size != file.size:
        _download(name, file, path)
    elif not path.with_name(path.name + ".sha256").exists():
        _check(name, file, path)  # put there by hand
    return path


def _download(name: str, file: File, path: Path) -> None:
    shown = printable(path)
    by_hand = f"download {file.urls[0]} by other means and put the file at {shown}"
    official = SETS.get(name)
    if official is not None and official.installed is not None:
        by_hand += f", or install Debian's package {official.installed[0]}"
    if path.exists():
        raise UserError(
            f"{shown} has {path.stat().st_size} bytes, expected {file.size}: remove it, or "
            f"{by_hand}"
        )
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    failures = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(
            f"{printable(path.parent)} cannot be created ({reason(e)}): set GANVAS_CACHE to a "
            "folder that can"
        ) from None
    for old in abandoned(path.parent):
        old.unlink(missing_ok=True)
    try:
        for url in file.urls:
            try:
                _receive(url, partial, f"{name}: {file.name}", file.size)
            except DownloadError as e:
                failures.append(f"{url}: {e}")
                continue
            _check(name, file, partial)
            os.replace(partial, path)
            path.with_name(path.name + ".sha256").write_text(file.sha256 + "\n")
            return
    except OSError as e:
        raise UserError(
            f"{printable(path.parent)} cannot be written ({reason(e)}): make room, or set "
            "GANVAS_CACHE"
        ) from None
    finally:
        partial.unlink(missing_ok=True)
    raise UserError(
        f"{name} cannot be downloaded ({'; '.join(failures)}). Is there a network? Otherwise "
        f"{by_hand}"
    )


class DownloadError(Exception):
    """An address does not serve the file. The message is the reason."""


class Missing(DownloadError):
    """The server says that there is no such file."""


def _receive(url: str, to: Path, title: str, size: int) -> None:
    """Download `url` to a file of `size` bytes.

    Raises `DownloadError` as `blocks`, and `OSError` if the file cannot be written.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    got = 0
    with open(to, "wb") as out, bar, closing(blocks(url, size)) as received:
        task = bar.add_task(title, total=size)
        for block in received:
            out.write(block)
            got += len(block)
            bar.advance(task, len(block))
    if got < size:
        raise DownloadError(f"it sent {got} bytes of {size}")


def blocks(url: str, most: int) -> Generator[bytes]:
    """Blocks of the file at `url`, of at most `most` bytes.

    Raises `DownloadError` for any failure of the server or the network, also for more
    bytes and for next to nothing within a minute, and `Missing` if there is no file.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "ganvas"})
    got, minute, at_minute = 0, time.monotonic(), 0
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            http_response = isinstance(response, http.client.HTTPResponse)
            announced = response.length if http_response else None
            while block := response.read1(1 << 16):
                got += len(block)
                if got > most:
                    raise DownloadError(f"it sends more than the file's {most} bytes")
                yield block
                if (now := time.monotonic()) - minute >= 60:
                    if got - at_minute < 60 * SLOWEST:
                        raise DownloadError(
                            f"it sent {got - at_minute} bytes within a minute, of {most} in all"
                        )
                    minute, at_minute = now, got
        if announced is not None and got < announced:
            raise DownloadError(f"it sent {got} bytes of {announced}")
    except (DownloadError, GeneratorExit):
        raise
    except urllib.error.HTTPError as e:
        e.close()
        kind = Missing if e.code in (403, 404, 410) else DownloadError
        raise kind(f"{e.code} {printable(e.reason)}") from None
    except Exception as e:  # of the network, the protocol, an odd address of a redirection
        why = getattr(e, "reason", e)  # URLError's own text is in brackets
        raise DownloadError(reason(why if isinstance(why, Exception) else e)) from None


def _check(name: str, file: File, path: Path) -> None:
    """Raise `UserError` for a wrong SHA-256."""
    with open_regular(path) as f:
        got = hashlib.file_digest(f, "sha256").hexdigest()
    if got != file.sha256:
        raise UserError(
            f"{file.name} of {name} has the SHA-256 {got}, expected {file.sha256}: it is damaged "
            "or another file, and was not used. Try again later, or give your own copy by its path "
            f"instead of the name {name!r}."
        )


def tar_members(path: Path, prefix: str) -> bytes:
    """Contents of the files of a tar archive with a prefix, in order of their names.

    Raises `UserError` for an unreadable archive.
    """
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file) as tar:
            members = [
                m for m in tar.getmembers() if m.isfile() and Path(m.name).name.startswith(prefix)
            ]
            files = [tar.extractfile(m) for m in sorted(members, key=lambda m: m.name)]
            return b"".join(f.read() for f in files if f)
    except Exception as e:
        raise UserError(
            f"{printable(path)} cannot be read ({reason(e)}): remove it, so that it is downloaded "
            "again"
        ) from None
