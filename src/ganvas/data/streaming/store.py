"""The place of shards: a folder, or an address with a bounded cache on this disk.

A shard is read only after its size and its SHA-256 were found equal to those of the
index, whatever a server sent.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from ganvas.core.errors import CapabilityError, DataError, OutputError, UserError, printable
from ganvas.core.guards import abandoned, open_regular, reason
from ganvas.data.downloads import DownloadError, Missing, blocks, cache_dir
from ganvas.data.streaming.index import MOST_BYTES, NAME, Shard
from ganvas.media.samples import Broken

try:
    import fcntl
except ImportError:  # Windows: two processes may download the same shard
    fcntl = None

SCHEMES = ("http", "https", "s3")
LIMIT = "GANVAS_SHARD_CACHE"  # environment variable: GiB of downloaded shards on the disk
DEFAULT_LIMIT = 8.0
T = TypeVar("T")
PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt to download


def is_address(source: str) -> bool:
    """Whether a source is an address of shards rather than a path."""
    return source.partition("://")[0] in SCHEMES and "://" in source


class Store(Protocol):
    """Where shards lie.

    place: for messages, printable
    limit: bytes of shards that may be open at a time
    """

    place: str
    limit: int

    def index(self) -> bytes:
        """The contents of shards.json. Raises `UserError`."""
        ...

    def open(self, shard: Shard) -> BufferedReader:
        """Open a shard whose contents are those of the index.

        Raises `Broken` for a shard that is missing or has other contents, and
        `UserError` for a server that does not answer.
        """
        ...

    def absent(self, shards: Sequence[Shard]) -> list[str]:
        """Names and reasons of shards that a glance shows to be broken."""
        ...


class Folder:
    """Shards in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place, self.limit = folder, printable(folder), 1 << 62

    def index(self) -> bytes:
        """See `Store`."""
        try:
            with open_regular(self.folder / NAME) as file:
                return file.read(MOST_BYTES)
        except OSError as e:
            raise DataError(
                f"{printable(self.folder / NAME)} cannot be read: {reason(e)}"
            ) from None

    def open(self, shard: Shard) -> BufferedReader:
        """See `Store`."""
        try:
            file = open_regular(self.folder / shard.name)
            try:
                _verify(file, shard)
            except BaseException:
                file.close()
                raise
        except OSError as e:
            raise Broken(f"cannot be read ({reason(e)})") from None
        return file

    def absent(self, shards: Sequence[Shard]) -> list[str]:
        """See `Store`."""
        found = []
        for shard in shards:
            try:
                size = (self.folder / shard.name).stat().st_size
            except OSError as e:
                found.append(f"{shard.name}: {reason(e)}")
                continue
            if size != shard.bytes:
                found.append(f"{shard.name}: {_other_size(size, shard)}")
        return found


class Remote:
    """Shards at an address, each downloaded once into a cache on this machine's disk.

    address: "https://…/", "http://…/" or "s3://bucket/…/", with the index below it

    The cache holds at most `GANVAS_SHARD_CACHE` GiB (default 8) for all runs, or the
    shards of one batch (at most 16), if they need more.
    """

    def __init__(self, address: str) -> None:
        if "@" in urlsplit(address).netloc:
            raise UserError(
                "the address of the shards holds a user name or a password, which run.json would "
                "show: leave it out, and give it by the environment (s3: AWS_ACCESS_KEY_ID, ...)"
            )
        self.address = address.removesuffix(NAME).rstrip("/")
        self.place, self.limit = printable(self.address), _limit()
        self.folder = cache_dir() / "shards"
        self._in_use: dict[Path, BufferedReader] = {}
        self._lock = threading.Lock()

    def index(self) -> bytes:
        """See `Store`."""
        try:
            return self._persistently(lambda: b"".join(self._blocks(NAME, MOST_BYTES)), NAME)
        except Missing as e:
            raise DataError(
                f"there is no {self.place}/{NAME} ({e}): give the address of a folder "
                "that `ganvas data pack` wrote"
            ) from None

    def open(self, shard: Shard) -> BufferedReader:
        """See `Store`."""
        path = self.folder / f"{shard.sha256}.tar"
        with self._cache_errors():
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._alone(shard):
                file = self._cached(path, shard)
                if file is None:
                    self._download(shard, path)
                    file = open_regular(path)
            with self._lock:
                self._in_use[path] = file
        return file

    def absent(self, shards: Sequence[Shard]) -> list[str]:
        """Nothing: a server is not asked for every shard."""
        return []

    def _cached(self, path: Path, shard: Shard) -> BufferedReader | None:
        try:
            file = open_regular(path)
        except FileNotFoundError:
            return None
        try:
            _verify(file, shard)
            os.utime(path)  # the shard that was not used for longest goes first
            return file
        except Broken:  # the disk lost it: downloaded again
            file.close()
            path.unlink(missing_ok=True)
            return None

    def _download(self, shard: Shard, path: Path) -> None:
        """Put a shard into the cache, after its size and hash were checked."""
        self._make_room(shard.bytes)
        partial = path.with_name(f"{uuid.uuid4().hex}.tmp")

        def attempt() -> None:
            digest, size = hashlib.sha256(), 0
            with partial.open("wb") as out:
                for block in self._blocks(shard.name, shard.bytes + 1):
                    out.write(block)
                    digest.update(block)
                    size += len(block)
            if wrong := _difference(size, digest.hexdigest(), shard):
                raise _OtherContents(wrong)
            os.replace(partial, path)

        try:
            self._persistently(attempt, shard.name)
        except Missing as e:
            raise Broken(f"is missing ({e})") from None
        except _OtherContents as e:
            raise Broken(f"{e}, in {len(PAUSES) + 1} downloads") from None
        finally:
            partial.unlink(missing_ok=True)

    def _blocks(self, name: str, most: int) -> Iterator[bytes]:
        url = f"{self.address}/{name}"
        return blocks(url, most) if url.startswith("http") else _by_fsspec(url, most)

    def _persistently(self, attempt: Callable[[], T], name: str) -> T:
        """The result of an attempt to download, which is made up to five times.

        Raises `Missing`, `_OtherContents`, and `DataError` for all other failures: what
        a slow or absent server sends tells nothing about the data.
        """
        for pause in (*PAUSES, None):
            try:
                return attempt()
            except Missing:
                raise
            except DownloadError as e:
                if pause is not None:
                    time.sleep(pause)
                elif isinstance(e, _OtherContents):
                    raise
                else:
                    raise DataError(
                        f"{self.place}/{name} cannot be read ({e}), in "
                        f"{len(PAUSES) + 1} attempts. When it can, a run goes on from its last "
                        "checkpoint: ganvas resume"
                    ) from None
        raise AssertionError("the last attempt returns or raises")

    def _make_room(self, needed: int) -> None:
        """Remove the shards that were not used for longest, but none open here."""
        for old in abandoned(self.folder):
            old.unlink(missing_ok=True)
        with self._lock:
            self._in_use = {p: f for p, f in self._in_use.items() if not f.closed}
            files = []
            for path in self.folder.glob("*.tar"):
                with suppress(FileNotFoundError):  # another process removes, too
                    s = path.stat()
                    files.append((s.st_mtime_ns, s.st_size, path))
            total = sum(size for _, size, _ in files)
            for _, size, path in sorted(files):
                if total + needed <= self.limit:
                    break
                if path not in self._in_use:
                    path.unlink(missing_ok=True)
                    total -= size

    @contextmanager
    def _alone(self, shard: Shard) -> Iterator[None]:
        """Let one process of this machine download a shard, for which others wait."""
        if fcntl is None:
            yield
            return
        with (self.folder / f"{shard.sha256[0]}.lock").open("ab") as file:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _cache_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            raise OutputError(
                f"{printable(self.folder)} cannot be written ({reason(e)}): make room, set "
                f"{LIMIT} to fewer GiB, or GANVAS_CACHE to another folder"
            ) from None


class _OtherContents(DownloadError):
    """A whole download differs from the index."""


def _by_fsspec(url: str, most: int) -> Iterator[bytes]:
    """As `downloads.blocks`, by fsspec."""
    try:
        import fsspec
        import s3fs  # noqa: F401, which fsspec would import
    except ImportError:
        raise CapabilityError(
            f"{printable(url)} needs fsspec and s3fs: pip install 'ganvas[s3]'"
        ) from None
    got = 0
    try:
        fs, path = fsspec.core.url_to_fs(url)
        with fs.open(path, "rb", cache_type="readahead", block_size=1 << 23) as file:
            while block := file.read(1 << 20):
                got += len(block)
                if got > most:
                    raise DownloadError(f"it sends more than the file's {most} bytes")
                yield block
    except (DownloadError, GeneratorExit):
        raise
    except FileNotFoundError as e:
        raise Missing(reason(e)) from None
    except Exception as e:  # of the network, of the protocol, of missing credentials
        raise DownloadError(reason(e)) from None


def _verify(file: BufferedReader, shard: Shard) -> None:
    """Raise `Broken` unless a file's size and hash are those of the index."""
    size = os.fstat(file.fileno()).st_size
    if size != shard.bytes:  # before it is read whole
        raise Broken(_other_size(size, shard))
    if wrong := _difference(size, hashlib.file_digest(file, "sha256").hexdigest(), shard):
        raise Broken(wrong)


def _difference(size: int, sha256: str, shard: Shard) -> str:
    """How contents differ from those of the index; "" if they do not."""
    if size != shard.bytes:
        return _other_size(size, shard)
    if sha256 != shard.sha256:
        return f"has the SHA-256 {sha256[:16]}…, expected {shard.sha256[:16]}…"
    return ""


def _other_size(size: int, shard: Shard) -> str:
    return f"has {size:,} bytes, expected {shard.bytes:,}"


def _limit() -> int:
    """Bytes that downloaded shards may take. Raises `UserError`."""
    text = os.environ.get(LIMIT, "")
    try:
        limit = float(text) if text else DEFAULT_LIMIT
        if not 0 <= limit < 1e9:
            raise ValueError
    except ValueError:
        raise UserError(
            f"{LIMIT}={printable(text)}; expected the GiB of downloaded shards that this machine's "
            f"disk may hold, as in {LIMIT}=20"
        ) from None
    return int(limit * 2**30)
