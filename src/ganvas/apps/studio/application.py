"""The page as an application of the web server."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import gradio as gr
from fastapi import FastAPI, Request, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ganvas.apps.studio import page, parts
from ganvas.apps.studio.server import LARGEST, POLICY
from ganvas.training.jobs import Jobs


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

    @app.middleware("http")
    async def _policy(
        request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await answer(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

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
