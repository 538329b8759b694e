"""Decode images with a pool of threads, in their order, with a progress bar."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from ganvas.data.arrays import Arrays
from ganvas.data.measured import Measured
from ganvas.data.pictures import ImageSet

BLOCK = 16  # images per task of a thread
FEW = 64  # images up to which one thread does it all
PROGRESS_FROM = 2000  # images from which on a progress bar is shown

T = TypeVar("T")


def decoding_threads(sets: Sequence[ImageSet]) -> int:
    """Number of threads that decode `sets`.

    Decoding releases Python's lock. Images that lie in memory already are not worth
    the threads, and the pages of a stack are read from one open file.
    """
    return 1 if isinstance(sets[0], Arrays | Measured) else min(8, os.cpu_count() or 1)


def map_in_order(
    function: Callable[[int], T], items: range | np.ndarray, title: str, threads: int
) -> Iterator[T]:
    """Yield `function` of every item, in the order of the items.

    At most 2 x `threads` blocks of results wait. A terminal on stderr shows a progress
    bar named `title` for more than `PROGRESS_FROM` items.
    """
    blocks = (list(map(int, items[i : i + BLOCK])) for i in range(0, len(items), BLOCK))
    with _progress(title, len(items)) as advance:
        if threads == 1 or len(items) <= FEW:
            for block in blocks:
                yield from map(function, block)
                advance(len(block))
            return
        pool = ThreadPoolExecutor(threads)
        try:
            waiting: deque[Future[list[T]]] = deque()
            for block in blocks:
                waiting.append(pool.submit(lambda block: [function(i) for i in block], block))
                if len(waiting) > 2 * threads:
                    results = waiting.popleft().result()
                    yield from results
                    advance(len(results))
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _progress(title: str, count: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if count <= PROGRESS_FROM or not console.is_terminal:
        yield lambda n: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=count)
        yield lambda n: bar.advance(task, n)
