"""Decode the next batches on a thread while the current one trains."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ganvas.core import Batch
from ganvas.data.feed import Feed, Info, Picked

WORTH_A_THREAD = 1e-3  # seconds; less than that is done sooner than a thread is woken


class Prefetch:
    """A feed whose next draw is picked by a thread while the step runs, where that takes long enough to be worth a thread.
    The result of `draw` is the feed's own; a request other than the expected one is answered all the same, only later.
    Everything else is passed on to the feed."""

    info: Info  # the feed's

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self._pool = ThreadPoolExecutor(1, "ganvas-prefetch")
        self._next: tuple[Any, Future[dict[str, Picked]]] | None = None
        self._seconds = float("inf")  # that the last pick took

    def draw(self, cursor: int, n: int, *, resolution: int | None = None, device: Any = None, **options: Any) -> Batch:
        options["device"] = device
        ready, self._next = self._next, None
        if ready is not None and ready[0] == (cursor, n, options):
            picked = ready[1].result()  # an error of the thread's is raised here
        else:
            if ready is not None:
                ready[1].cancel()
            picked = self._pick(cursor, n, options)
        if self._seconds > WORTH_A_THREAD:
            self._next = (cursor + n, n, options), self._pool.submit(self._pick, cursor + n, n, options)
        return self.feed.finish(picked, resolution, device)

    def _pick(self, cursor: int, n: int, options: dict[str, Any]) -> dict[str, Picked]:
        start = time.perf_counter()
        picked = self.feed.pick(cursor, n, **options)
        self._seconds = time.perf_counter() - start
        return picked

    def close(self) -> None:
        self._next = None
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.feed, name)
