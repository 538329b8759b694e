"""Metrics of the service, in the format of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Monitor:
    """The metrics of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ganvas_requests",
            "Requests, by path and status.",
            ("path", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "ganvas_request_seconds",
            "From the end of the headers to the end of the answer.",
            ("path",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.images = Counter(
            "ganvas_images", "Generated images.", ("model",), registry=self.registry
        )
        self.batches = Histogram(
            "ganvas_batch_images",
            "Images per batch.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.waiting = Gauge(
            "ganvas_waiting_images",
            "Images in the queue or being computed.",
            registry=self.registry,
        )

    def text(self) -> bytes:
        """All metrics."""
        return generate_latest(self.registry)
