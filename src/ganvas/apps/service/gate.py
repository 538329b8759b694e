"""ASGI middleware that checks every request before it reaches the application.

It checks host name and bearer token, reads the whole body within limits of bytes and
time, and cancels the work when the client has left or the time is over.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from ganvas.apps.service.limits import Limits, Refusal
from ganvas.apps.service.monitoring import Monitor
from ganvas.core.environment import say
from ganvas.core.guards import reason

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN = ("/", "/health", "/openapi.json")  # paths without a token; they reveal nothing
UPLOADS = 16  # bodies of the largest size that memory holds at the same time


class Gate:
    """Checks in front of an application.

    paths: that the application has; others are counted together
    token: that clients must send; None: none
    hosts: names that the service may be called by; None: any. A page of another site
        that has its name point to this computer sends that name
    """

    def __init__(
        self,
        app: Application,
        limits: Limits,
        monitor: Monitor,
        paths: frozenset[str],
        token: str | None = None,
        hosts: frozenset[str] | None = None,
    ) -> None:
        self.app, self.limits, self.monitor, self.paths = app, limits, monitor, paths
        self.token, self.hosts = token, hosts
        self._held = 0  # bytes of all bodies in memory

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = scope["path"] if scope["path"] in self.paths else "other"
        answer, start = _Answer(send), time.monotonic()
        try:
            await self._answer(scope, receive, answer)
        except Refusal as e:
            await answer.refuse(e)
        except Exception as e:
            say(f"error: {scope['method']} {path}: {type(e).__name__}: {reason(e)}")
            await answer.refuse(Refusal.defect())
        finally:
            self.monitor.requests.labels(path, str(answer.status or "gone")).inc()
            self.monitor.seconds.labels(path).observe(time.monotonic() - start)

    async def _answer(self, scope: Message, receive: Receive, answer: _Answer) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        self._admit(scope["path"], headers)
        parts: list[bytes] = []
        try:
            if scope["method"] not in ("GET", "HEAD"):
                await self._read(receive, parts, headers.get(b"content-length", b""))
            await self._work(scope, receive, answer, b"".join(parts))
        except _Gone:
            return
        finally:
            self._held -= sum(map(len, parts))

    async def _work(self, scope: Message, receive: Receive, answer: _Answer, body: bytes) -> None:
        """Run the application until it ends, the client leaves or the time is over."""
        work = asyncio.ensure_future(self.app(scope, _replay(body), answer))
        gone = asyncio.ensure_future(_disconnection(receive))
        try:
            await asyncio.wait(
                {work, gone}, timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not work.done() and not gone.done():
                raise Refusal(
                    503,
                    "timeout",
                    f"it took longer than {self.limits.seconds:g} s: ask for less, or try again "
                    "later",
                    retry=True,
                )
            if work.done():
                work.result()
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.wait({work, gone})

    def _admit(self, path: str, headers: dict[bytes, bytes]) -> None:
        """Raise `Refusal` for another host name and for a missing token."""
        host = headers.get(b"host", b"").decode("latin-1").rpartition("@")[2]
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        if self.hosts is not None and name.lower() not in self.hosts:
            raise Refusal(421, "host", "this service answers to the names of this computer only")
        if self.token is None or path in OPEN:
            return
        given = headers.get(b"authorization", b"")
        if not secrets.compare_digest(given, f"Bearer {self.token}".encode()):
            raise Refusal(401, "unauthorized", "send the header Authorization: Bearer TOKEN")

    async def _read(self, receive: Receive, parts: list[bytes], length: bytes) -> None:
        """Append the body of a request to `parts`.

        length: as the client announced it

        Raises `_Gone` if the client leaves before the end.
        """
        limits, size = self.limits, 0
        too_large = Refusal(413, "too-large", f"the body has at most {limits.size:,} bytes")
        if length.isdigit() and (len(length) > 18 or int(length) > limits.size):
            raise too_large
        try:
            async with asyncio.timeout(limits.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    self._held += len(parts[-1])
                    if size > limits.size:
                        raise too_large
                    if self._held > UPLOADS * limits.size:
                        raise Refusal(503, "busy", "too many uploads: try again later", retry=True)
                    if not message.get("more_body"):
                        return
        except TimeoutError:
            raise Refusal(
                408, "timeout", f"the upload took longer than {limits.seconds:g} s"
            ) from None


class _Gone(Exception):
    """The client has closed the connection."""


class _Answer:
    """`send` of ASGI that knows how far the answer is."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self.send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error, unless an answer has begun."""
        if self.status is not None:
            return
        body = json.dumps(refusal.body).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        if refusal.status == 408:
            # Not after a 413: uvicorn discards the rest of that body. A client whose
            # connection is closed while it sends may never see the answer.
            headers["connection"] = "close"
        if refusal.status == 401:
            headers["www-authenticate"] = "Bearer"
        pairs = [(k.encode(), v.encode()) for k, v in (headers | refusal.headers).items()]
        await self({"type": "http.response.start", "status": refusal.status, "headers": pairs})
        await self({"type": "http.response.body", "body": body})


def _replay(body: bytes) -> Receive:
    """`receive` of ASGI for a body that was read."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        return await asyncio.get_running_loop().create_future()  # until it is cancelled

    return receive


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
