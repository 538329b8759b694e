"""Draw the next batch on a thread while the current one trains."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ganvas.core import Batch
from ganvas.data.feed import Crops, Feed, Info

WORTH_A_THREAD = 1e-3  # seconds of a draw below which waking a thread takes longer


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
        self._next: tuple[Any, Future[dict[str, Crops]]] | None = None
        self._seconds = float("inf")  # of the last draw

    def draw(
        self,
        cursor: int,
        n: int,
        *,
        resolution: int | None = None,
        device: Any = None,
        **options: Any,
    ) -> Batch:
        """As `Feed.draw`; errors of the thread are raised here."""
        options["device"] = device
        ready, self._next = self._next, None
        if ready is not None and ready[0] == (cursor, n, options):
            crops = ready[1].result()  # an error of the thread's is raised here
        else:
            if ready is not None:
                ready[1].cancel()
            crops = self._pick(cursor, n, options)
        if self._seconds > WORTH_A_THREAD:
            self._next = (
                (cursor + n, n, options),
                self._pool.submit(self._pick, cursor + n, n, options),
            )
        return self.feed.finish(crops, resolution, device)

    def _pick(self, cursor: int, n: int, options: dict[str, Any]) -> dict[str, Crops]:
        start = time.perf_counter()
        crops = self.feed.pick(cursor, n, **options)
        self._seconds = time.perf_counter() - start
        return crops

    def close(self) -> None:
        """End the thread, after the draw that it is in."""
        self._next = None
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.feed, name)
