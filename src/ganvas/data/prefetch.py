"""Draw the next batch on a thread while the current one trains."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import torch

from ganvas.core import Batch
from ganvas.core.rng import Rows
from ganvas.data.crops import Crops
from ganvas.data.feed import Feed
from ganvas.data.info import Info

WORTH_A_THREAD = 1e-3  # seconds of a draw below which waking a thread takes longer


class _Position(NamedTuple):
    """The arguments of a draw that decide its crops."""

    cursor: int
    n: int
    seed: int
    rows: Rows | None
    device: torch.device | str | None


class Prefetch:
    """A feed that draws the next batch ahead, on a thread, while the step runs.

    It uses the thread only if a draw takes longer than `WORTH_A_THREAD`. `draw` returns
    the same batches as the feed's; a request other than the next batch only takes
    longer. All other attributes are the feed's.
    """

    info: Info  # the feed's

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self._pool = ThreadPoolExecutor(1, "ganvas-prefetch")
        self._next: tuple[_Position, Future[dict[str, Crops]]] | None = None
        self._seconds = float("inf")  # of the last draw

    def draw(
        self,
        cursor: int,
        n: int,
        *,
        seed: int,
        rows: Rows | None = None,
        resolution: int | None = None,
        device: torch.device | str | None = None,
    ) -> Batch:
        """As `Feed.draw`; errors of the thread are raised here."""
        ready, self._next = self._next, None
        here = _Position(cursor, n, seed, rows, device)
        if ready is not None and ready[0] == here:
            crops = ready[1].result()
        else:
            if ready is not None:
                ready[1].cancel()
            crops = self._pick(here)
        if self._seconds > WORTH_A_THREAD:
            after = here._replace(cursor=cursor + n)
            self._next = after, self._pool.submit(self._pick, after)
        return self.feed.finish(crops, resolution, device)

    def _pick(self, at: _Position) -> dict[str, Crops]:
        start = time.perf_counter()
        crops = self.feed.pick(at.cursor, at.n, seed=at.seed, rows=at.rows, device=at.device)
        self._seconds = time.perf_counter() - start
        return crops

    def close(self) -> None:
        """End the thread, after the draw that it is in."""
        self._next = None
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.feed, name)
