"""Progress on stderr: a live bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import MappingProxyType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress


class Progress:
    """Show images done, images per second, the time left and the current losses.

    total: images at the end
    start: images at the start
    what: the activity
    """

    LINE_SECONDS = 10.0

    def __init__(
        self, total: int, start: int = 0, quiet: bool = False, what: str = "training"
    ) -> None:
        self.total, self.start, self.quiet = total, start, quiet
        self._started = self._printed = time.monotonic()
        self._bar: RichProgress | None = None
        if not quiet and sys.stderr.isatty():
            self._bar = RichProgress(
                TextColumn(f"[bold]{what}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]} images/s"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[losses]}", markup=False),
                console=Console(stderr=True),
                refresh_per_second=4,
            )
            self._task = self._bar.add_task(what, total=total, completed=start, rate="0", losses="")
            self._bar.start()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, images: float, scalars: Mapping[str, float] = MappingProxyType({})) -> None:
        """Show the state after `images` images; nothing if `quiet`.

        images: with a fraction for one that is not finished
        scalars: means by name; those of "<player>/loss" are shown
        """
        if self.quiet:
            return
        images, now = min(images, self.total), time.monotonic()  # the last batch may go beyond
        rate = (images - self.start) / max(now - self._started, 1e-9)
        shown = f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"
        losses = "  ".join(
            f"{k.removesuffix('/loss')} {v:.3g}" for k, v in scalars.items() if k.endswith("/loss")
        )
        if self._bar is not None:
            self._bar.update(self._task, completed=images, rate=shown, losses=losses)
        elif now - self._printed > self.LINE_SECONDS or images >= self.total:
            left = (self.total - images) / max(rate, 1e-9)
            print(
                f"{int(images):,} of {self.total:,} images, {shown} images/s, {left:.0f} s left"
                + (f", losses: {losses}" if losses else ""),
                file=sys.stderr,
                flush=True,
            )
            self._printed = now

    def close(self) -> None:
        """Remove the bar from the terminal. It may be called more than once."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
