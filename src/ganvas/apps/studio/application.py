"""The page as an application of the web server."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ganvas.apps.studio import page, parts
from ganvas.apps.studio.server import LARGEST, POLICY
from ganvas.training.jobs import Jobs

READING = ("GET", "HEAD", "OPTIONS")  # methods that change nothing


class _Policy:
    """ASGI middleware that adds the security policy to every response.

    It refuses what a page of another site sends: without a password, such a page could
    fill the disk with uploads.
    """

    # The framework's own base class of middleware reports an error if the browser
    # disconnects during a response.

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["method"] not in READING and _is_foreign(Headers(scope=scope)):
            refusal = PlainTextResponse("this request comes from another site", 403)
            await refusal(scope, receive, answered)
        else:
            await self.app(scope, receive, answered)


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser sends the request for a page of another site."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")  # absent: no browser
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def application(
    folders: Sequence[Path], jobs: Jobs, host: str | None, password: str | None
) -> FastAPI:
    """The studio of some folders.

    jobs: the trainings that the page starts
    host: None: loopback, which no foreign name may lead to
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if host is None:  # else a page of another host could reach the studio by DNS rebinding
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]"])

    app.add_middleware(_Policy)

    def allowed(_: str, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (password or "").encode())

    return gr.mount_gradio_app(
        app,
        page.build(folders, jobs),
        "/",
        server_name=host or "127.0.0.1",
        auth=allowed if password else None,
        footer_links=[],
        run_history=False,
        max_file_size=LARGEST,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=page.theme(),
        # As `css`, gradio would rewrite its selectors.
        head=f"<style>{parts.asset('studio.css')}</style><script>{parts.asset('studio.js')}</script>",
    )
