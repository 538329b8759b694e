"""Run requests on the models in one thread, in batches that change no answer.

torch's global random state and the models' buffers belong to one thread. Images that
wait for the same model are computed in one batch. Batches of different sizes may be
rounded differently, so only sizes are used at which the model gave bitwise equal images
when it was loaded (`ServedModel`); a batch between two of them is padded.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch

from ganvas.apps.service.limits import Limits, Refusal
from ganvas.apps.service.monitoring import Monitor
from ganvas.core import Samples, Translates
from ganvas.inference.latent.naming import SampleName
from ganvas.inference.model import Model
from ganvas.inference.sampler import Sampler
from ganvas.inference.translator import Translator
from ganvas.media import grid

T = TypeVar("T")
BATCH_PIXELS = 1 << 17  # of the largest batch
BATCH = 32  # images, at most


class ServedModel:
    """A model of the service.

    name: how clients name it
    sizes: the sizes of its batches, ascending; () for a model that only translates
    """

    def __init__(self, name: str, model: Model) -> None:
        self.name, self.model = name, model
        self.sampler = Sampler(model.runtime)
        self.translator = Translator(model.runtime)
        self.samples = isinstance(model.method, Samples)
        self.translates = isinstance(model.method, Translates)
        self.sizes: tuple[int, ...] = self._equal_sizes() if self.samples else ()

    def images(self, wanted: Sequence[QueuedImage]) -> list[np.ndarray]:
        """Generated images, uint8 [H, W, C] each, all of one truncation."""
        size = next(size for size in self.sizes if size >= len(wanted))
        filled = [*wanted, *[wanted[-1]] * (size - len(wanted))]
        labels = [one.label for one in filled if one.label is not None]
        with torch.inference_mode():
            names = [one.name for one in filled]
            x = self.sampler.images(names, labels or None, wanted[0].truncation)
        return list(grid.to_uint8(x[: len(wanted)]))

    def _equal_sizes(self) -> tuple[int, ...]:
        """Batch sizes at which an image is the same in all and at every place.

        The largest is the largest power of two whose rows do not depend on their place.
        """
        height, width = self.model.training_size
        most = max(1, min(BATCH, self.sampler.batch_size(), BATCH_PIXELS // (height * width)))
        largest = 1 << (most.bit_length() - 1)
        names, labels = self.sampler.named(largest, seed=0)

        def rows(order: Sequence[int]) -> torch.Tensor:
            with torch.inference_mode():
                y = None if labels is None else [labels[i] for i in order]
                return self.sampler.images([names[i] for i in order], y, None)

        while True:
            expected, backwards = rows(range(largest)), list(reversed(range(largest)))
            if largest == 1 or torch.equal(expected[backwards], rows(backwards)):
                break
            largest //= 2
        smaller = (1 << i for i in range(largest.bit_length() - 1))
        equal = [n for n in smaller if torch.equal(rows(range(n)), expected[:n])]
        return (*equal, largest)


@dataclass(eq=False)
class QueuedImage:
    """An image that a client waits for."""

    served: ServedModel
    name: SampleName
    label: int | None
    truncation: float | None
    future: Future[np.ndarray] = field(default_factory=Future)

    def shares_batch(self, other: QueuedImage) -> bool:
        """Whether both can be in one batch."""
        return self.served is other.served and self.truncation == other.truncation


@dataclass(eq=False)
class Job:
    """Other work on a model: a translation."""

    work: Callable[[], object]
    future: Future[object] = field(default_factory=Future)


class Worker:
    """The thread that runs the models, with one queue for all of them."""

    def __init__(self, limits: Limits, monitor: Monitor) -> None:
        self.limits, self.monitor = limits, monitor
        self._waiting: deque[QueuedImage | Job] = deque()
        self._unfinished = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._thread.start()

    async def images(self, wanted: Sequence[QueuedImage]) -> list[np.ndarray]:
        """The images, once they are computed. Raises `Refusal` if too many wait."""
        self._submit(wanted)
        return list(await _results([one.future for one in wanted]))

    async def run(self, work: Callable[[], T]) -> T:
        """The result of a function that uses a model. Raises `Refusal` as `images`."""
        future: Future[T] = Future()
        self._submit([Job(work, future)])  # pyright: ignore[reportArgumentType] (invariance)
        return (await _results([future]))[0]

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _submit(self, wanted: Sequence[QueuedImage | Job]) -> None:
        with self._changed:
            if self._unfinished + len(wanted) > self.limits.queue:
                self._forget_cancelled()
            if self._unfinished + len(wanted) > self.limits.queue:
                raise Refusal(
                    429,
                    "busy",
                    f"{self._unfinished} images wait already, of {self.limits.queue} at most: try "
                    "again later",
                    retry=True,
                )
            self._unfinished += len(wanted)
            self._waiting.extend(wanted)
            self.monitor.waiting.set(self._unfinished)
            self._changed.notify()

    def _forget_cancelled(self) -> None:
        """Free the room of those whose clients have left before their turn."""
        left = deque(one for one in self._waiting if not one.future.cancelled())
        self._unfinished -= len(self._waiting) - len(left)
        self._waiting = left

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                first = batch[0]
                if isinstance(first, Job):
                    results: list[object] = [first.work()]
                else:
                    images = [one for one in batch if isinstance(one, QueuedImage)]
                    results = [*first.served.images(images)]
                    self.monitor.batches.observe(len(images))
                    self.monitor.images.labels(first.served.name).inc(len(images))
                for one, result in zip(batch, results, strict=True):
                    one.future.set_result(result)  # pyright: ignore[reportArgumentType]
            except BaseException as e:  # whatever a network raises belongs to its clients
                for one in batch:
                    if not one.future.done():
                        one.future.set_exception(e)
            with self._changed:
                self._unfinished -= len(batch)
                self.monitor.waiting.set(self._unfinished)

    def _next(self) -> list[QueuedImage | Job] | None:
        """The request that waits longest, with its batch; None: closed."""
        with self._changed:
            while True:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return None
                first = self._waiting.popleft()
                if self._starts(first):
                    break
            batch: list[QueuedImage | Job] = [first]
            if isinstance(first, QueuedImage):
                left: deque[QueuedImage | Job] = deque()
                while self._waiting and len(batch) < first.served.sizes[-1]:
                    one = self._waiting.popleft()
                    if not (isinstance(one, QueuedImage) and one.shares_batch(first)):
                        left.append(one)
                    elif self._starts(one):
                        batch.append(one)
                self._waiting.extendleft(reversed(left))
            return batch

    def _starts(self, one: QueuedImage | Job) -> bool:
        """Whether a client still waits for it."""
        if one.future.set_running_or_notify_cancel():
            return True
        self._unfinished -= 1
        return False


async def _results(futures: Sequence[Future[T]]) -> list[T]:
    """The results of all futures; the rest is cancelled if this is, or if one fails."""
    try:
        return [await asyncio.wrap_future(future) for future in futures]
    finally:
        for future in futures:
            future.cancel()
