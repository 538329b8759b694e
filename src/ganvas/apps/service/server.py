"""Run the service: models, socket, signals, connections."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ganvas.apps.service.api import application, encoded
from ganvas.apps.service.batching import ServedModel, Worker
from ganvas.apps.service.gate import Gate
from ganvas.apps.service.limits import Limits, Refusal
from ganvas.apps.service.monitoring import Monitor
from ganvas.core.errors import ConfigError, UserError, printable
from ganvas.core.guards import reason
from ganvas.inference.load import load
from ganvas.media.generated import generated

TOKEN_VARIABLE = "GANVAS_TOKEN"
SHORTEST_TOKEN = 16  # characters
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
MAX_HEADERS = 1 << 14  # bytes


def serve(
    models: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    checkpoint: str = "last",
    device: str = "cpu",
    precision: str = "fp32",
    backend: str = "torch",
    ready: Callable[[str, int], None] = lambda address, models: None,
) -> None:
    """Serve models until SIGTERM or SIGINT; requests in flight are finished.

    models: paths of runs or models, each with an optional name: "NAME=PATH"
    port: 0: any free one
    ready: called with the service's address and the number of models

    Raises `UserError` if a model cannot be loaded, for two of one name, for an address
    that is taken, and beyond loopback without a token in GANVAS_TOKEN.
    """
    limits = (limits or Limits()).check()
    token, local = os.environ.get(TOKEN_VARIABLE) or None, _is_loopback(host)
    _check_token(token, host, local)
    listener = _listener(host, port)
    with listener:
        served = _loaded(models, checkpoint, device, precision, backend)
        monitor = Monitor()
        worker = Worker(limits, monitor)
        app = application(served, worker, limits, monitor)
        paths = frozenset(str(getattr(route, "path", "")) for route in app.routes)
        gate = Gate(app, limits, monitor, paths, token, LOOPBACK if local else None)
        server = _server(gate, limits)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        try:
            asyncio.run(_run(server, listener, lambda: ready(address, len(served))))
        finally:
            worker.close()


def _check_token(token: str | None, host: str, local: bool) -> None:
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii()):
        raise ConfigError(
            f"{TOKEN_VARIABLE} must have at least {SHORTEST_TOKEN} ASCII characters, such as those "
            "of: openssl rand -hex 16"
        )
    if token is None and not local:
        raise ConfigError(
            f"{printable(host)} can be reached from other computers: set {TOKEN_VARIABLE} to a "
            "secret that clients must send (openssl rand -hex 16), or leave --host out"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _loaded(
    models: Sequence[str], checkpoint: str, device: str, precision: str, backend: str
) -> dict[str, ServedModel]:
    served: dict[str, ServedModel] = {}
    for text in models:
        name, equals, path = text.rpartition("=")
        if not equals or Path(text).exists():
            name, path = Path(os.path.abspath(text)).name, text
        name = printable(name)
        if name in served:
            raise ConfigError(
                f"two models have the name {name!r}: give names, as in a=runs/p b=runs/q/model"
            )
        model = load(
            path, checkpoint=checkpoint, device=device, precision=precision, backend=backend
        )
        served[name] = ServedModel(name, model)
    encoded(generated(np.zeros((8, 8, 3), np.uint8)), "png")  # the first signature is slow
    return served


def _listener(host: str, port: int) -> socket.socket:
    """A bound socket, before the models are loaded: a taken port is known at once."""
    found = None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        return found
    except (OSError, OverflowError, UnicodeError) as e:
        if found is not None:
            found.close()
        raise UserError(
            f"the service cannot listen on {printable(host)}, port {port} ({reason(e)}): choose "
            "another --port or --host"
        ) from None


def _server(gate: Gate, limits: Limits) -> _Server:
    class Connection(_Connection):
        """A connection of this service."""

        most, idle = limits.connections, limits.idle

    return _Server(
        uvicorn.Config(
            gate,
            http=Connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            timeout_keep_alive=int(limits.idle) or 1,
            timeout_graceful_shutdown=int(2 * limits.seconds) + 1,
            h11_max_incomplete_event_size=MAX_HEADERS,
        )
    )


class _Server(uvicorn.Server):
    """uvicorn's server. After SIGTERM, the process ends with status 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        handled = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Connection(H11Protocol):
    """A connection that must not idle, one of a limited number.

    most: connections at the same time
    idle: seconds without a complete request
    """

    most: int
    idle: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._seen: object = self  # the last request at the last check; none yet
        if len(self.connections) > self.most:
            refusal = Refusal(503, "busy", "too many connections", retry=True)
            body = json.dumps(refusal.body)
            fields = refusal.headers | {
                "connection": "close",
                "content-type": "application/json",
                "content-length": str(len(body)),
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            transport.write(f"HTTP/1.1 503 Service Unavailable\r\n{head}\r\n{body}".encode())
            transport.close()
        else:
            self.loop.call_later(self.idle, self._check_idle)

    def _check_idle(self) -> None:
        """Close the connection if no request began since the last check."""
        if self.transport.is_closing():
            return
        busy = self.cycle is not None and not self.cycle.response_complete
        if not busy and self.cycle is self._seen:
            self.transport.abort()
            return
        self._seen = self.cycle
        self.loop.call_later(self.idle, self._check_idle)


async def _run(server: _Server, listener: socket.socket, ready: Callable[[], None]) -> None:
    serving = asyncio.ensure_future(server.serve([listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        ready()
    await serving
