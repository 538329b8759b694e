"""Remove the checkpoints of a run that are no longer needed."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ganvas.core.errors import ConfigError, printable
from ganvas.engine.checkpoint import all_of

DEFAULT = "2"  # `--keep` of runs that do not say
UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
FORM = "keep takes NEWEST,every=IMAGES,size=BYTES or some of them, as in 3,every=50000,size=20GB"


@dataclass(frozen=True)
class Retention:
    """Which checkpoints stay: the best, and those that the fields name.

    newest: number of the newest ones; with one alone, damage to it ends the run
    every: also the first one at or after each multiple of this number of images
    size: bytes that all may take together, without the one being written; the oldest go
        first, then the best, and the newest never
    """

    newest: int = 2
    every: int | None = None
    size: int | None = None

    @classmethod
    def parse(cls, text: str) -> Retention:
        """Read the text of `--keep`, e.g. "3,every=50000,size=20GB".

        Raises `ConfigError` for any other text.
        """
        found: dict[str, int] = {}
        for part in text.split(","):
            name, equals, value = part.strip().rpartition("=")
            name = name if equals else "newest"
            number = _bytes(value) if name == "size" else _count(value)
            if number is None or name not in ("newest", "every", "size") or name in found:
                raise ConfigError(f"{FORM}; got {printable(repr(text))}")
            found[name] = number
        return cls(**found)

    def prune(self, folder: Path, best: str | None) -> None:
        """Remove the other checkpoints of a folder.

        best: the name of the best one
        """
        paths = all_of(folder)
        kept = {*paths[-self.newest :], *(p for p in paths if p.name == best)}
        if self.every:
            first: dict[int, Path] = {}
            for path in paths:
                first.setdefault(int(path.name) // self.every, path)
            kept |= {path for multiple, path in first.items() if multiple}
        for path in paths:
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)
        if self.size is not None:
            self._shrink([p for p in paths if p in kept], best)

    def _shrink(self, paths: list[Path], best: str | None) -> None:
        """Remove checkpoints, of which the last is the newest, down to the size."""
        sizes = {p: sum(f.stat().st_size for f in p.iterdir()) for p in paths}
        total = sum(sizes.values())
        for path in sorted(paths[:-1], key=lambda p: (p.name == best, int(p.name))):
            if self.size is None or total <= self.size:
                return
            shutil.rmtree(path, ignore_errors=True)
            total -= sizes[path]


def _count(text: str) -> int | None:
    """A number of at least 1; None for any other text."""
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,17}", text) else None


def _bytes(text: str) -> int | None:
    """A size as "500MB" or "1.5TB" in bytes; None for any other text."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?(kB|MB|GB|TB)", text)
    return round(float(match[1]) * UNITS[match[2]]) or None if match else None
