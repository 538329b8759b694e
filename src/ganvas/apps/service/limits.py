"""Limits of a request, and its refusal."""

from __future__ import annotations

from typing import NamedTuple

from ganvas.core.errors import ConfigError, UserError

# Kind of user error (`core.errors`) -> HTTP status; others are the server's own fault.
STATUS = {"user": 422, "data": 422, "config": 422, "capability": 422}
RETRY = 1  # seconds after which a client that was turned away may try again


class Limits(NamedTuple):
    """Limits of a service.

    pixels: of an uploaded image, of its translation, and of all images of one answer
    size: bytes of a request's body
    images: of one request for samples
    queue: images that may wait or be computed at the same time; further requests are
        turned away
    seconds: from the end of the upload to the end of the answer; and for the upload
    connections: open at the same time
    idle: seconds that a connection may wait without a complete request
    """

    pixels: int = 1 << 22
    size: int = 1 << 24
    images: int = 64
    queue: int = 256
    seconds: float = 60.0
    connections: int = 512
    idle: float = 15.0

    def check(self) -> Limits:
        """These limits. Raises `ConfigError` if they contradict each other."""
        if self.images > self.queue:
            raise ConfigError(
                f"a request may ask for {self.images} images and the queue holds {self.queue}: "
                "make --max-queue larger or --max-images smaller"
            )
        return self


class Refusal(Exception):
    """A request that gets an error for an answer.

    status: of HTTP
    code: a short, stable name for programs
    retry: whether the same request may succeed later
    """

    def __init__(self, status: int, code: str, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.status, self.code, self.retry = status, code, retry

    @classmethod
    def of(cls, error: UserError) -> Refusal:
        """The refusal that stands for an error of ganvas."""
        return cls(STATUS.get(error.code, 500), error.code, str(error))

    @classmethod
    def defect(cls) -> Refusal:
        """The answer to an unexpected error."""
        return cls(500, "defect", "the service failed; its log says why")

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {"retry-after": str(RETRY)} if self.retry else {}

    @property
    def body(self) -> dict[str, dict[str, str]]:
        """The answer, for JSON."""
        return {"error": {"code": self.code, "message": str(self)}}
