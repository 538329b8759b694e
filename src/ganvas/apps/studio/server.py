"""Serve the page on this machine, without a request to any other."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ganvas.core.errors import UserError

NEEDED = "the studio needs gradio: pip install 'ganvas[ui]'"
LARGEST = "512mb"  # of an uploaded file
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
# The browser itself refuses every request to another host.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'self'"
)


def serve(
    runs: Path | None,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    password: str | None = None,
    ready: Callable[[str], object] = print,
) -> None:
    """Serve the studio until Ctrl-C or SIGTERM.

    runs: folder of runs and models; None: runs/ here, and the models of a checkout's
        zoo/
    host: address to listen on
    port: 0: any free port
    password: that visitors have to give, with any user name; required beyond loopback
    ready: called with the page's address once it can be opened

    Raises `UserError` if gradio is not installed, for an address beyond loopback
    without a password, and if the port is taken.
    """
    if not _is_loopback(host) and not password:
        raise UserError(
            f"{host} can be reached from other machines, and the studio reads folders and starts "
            "trainings: set a password in GANVAS_STUDIO_PASSWORD, or leave --host out"
        )
    with _listening(host, port) as listening, _ended_by_sigterm(), _own_folder():
        try:
            import uvicorn

            from ganvas.apps.studio import application
            from ganvas.inference import zoo
            from ganvas.training.jobs import Jobs
        except ImportError as e:
            raise UserError(f"{NEEDED} ({e})") from None
        folders = [runs] if runs else [Path("runs"), zoo.FOLDER]
        jobs = Jobs(folders[0])
        app = application.application(folders, jobs, None if _is_loopback(host) else host, password)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}/"

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                ready(address)

        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        with closing(jobs):  # trainings end with the studio, saved
            Server(config).run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens; its port stays taken from the first moment on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as e:
            advice = "--port 0 takes any free one" if port else "give another --host"
            raise UserError(f"cannot listen on {host}, port {port}: {e.strerror}; {advice}") from e
        yield listening


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM raises `SystemExit`, so that trainings are saved and uploads removed.

    The web server raises the signal again when it has stopped; by default that would
    end the process at once.
    """

    def end(*_: object) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _own_folder() -> Iterator[None]:
    """Uploads and results lie in a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="ganvas-studio-") as folder:
        wanted = {"GRADIO_TEMP_DIR": folder, **QUIET}
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
