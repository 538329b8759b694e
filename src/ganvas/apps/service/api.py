"""The HTTP interface: models, samples, translations, health, metrics."""

from __future__ import annotations

import asyncio
import base64
import io
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from ganvas import __version__
from ganvas.apps.service.batching import QueuedImage, ServedModel, Worker
from ganvas.apps.service.limits import Limits, Refusal
from ganvas.apps.service.monitoring import Monitor
from ganvas.apps.service.page import HEADERS, page
from ganvas.core.errors import UserError, did_you_mean, printable
from ganvas.media import decode
from ganvas.media.credentials import MIME
from ganvas.media.generated import Generated, generated
from ganvas.media.samples import Broken, TooLarge

Format = Literal["png", "jpg", "webp"]
# First bytes of images that are opened; other formats do not reach Pillow.
KINDS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"BM", b"RIFF")
TRUNCATIONS = 20  # values per unit: BigGAN computes and keeps statistics for each value
Seed = Annotated[int, Field(ge=0, lt=1 << 63, description="Random seed.")]


class Problem(BaseModel):
    """An error: a message for people and a code for programs."""

    code: str
    message: str


class Failure(BaseModel):
    """The body of every error."""

    error: Problem


class Card(BaseModel):
    """Description of a model."""

    name: str
    recipe: str | None = Field(description="Recipe that trained it.")
    weights: str = Field(description="Hash of its weights.")
    images_trained: int | None
    samples: bool = Field(description="Generates images from noise.")
    translates: bool = Field(description="Translates or enlarges images.")
    height: int = Field(description="Height of the training images in pixels.")
    width: int
    channels: int
    classes: list[str] = Field(description="Names for `labels`; empty if trained without.")
    directions: list[str] = Field(description="Values of `to`; empty if it does not translate.")
    upscale: int = Field(description="Upscaling factor of a translation.")


class Models(BaseModel):
    """The models of this service."""

    models: list[Card]


class SampleRequest(BaseModel):
    """Which images to generate."""

    model_config = ConfigDict(extra="forbid")
    model: str | None = Field(None, max_length=200, description="Default: the first one.")
    n: int = Field(1, ge=1, le=1_000_000, description="Number of images.")
    seed: Seed = 0
    labels: list[str | Annotated[int, Field(ge=0, lt=1 << 31)]] | None = Field(
        None, max_length=100_000, description="One class per image, by name or number."
    )
    truncation: float | None = Field(
        None, gt=0, le=2, description="Multiple of 0.05, e.g. 0.7, for models that support it."
    )
    format: Format = "png"


class GeneratedImage(BaseModel):
    """A generated image."""

    index: int
    media_type: str
    data: str = Field(description="The file, base64.")


class GeneratedImages(BaseModel):
    """Generated images."""

    model: str
    seed: int
    images: list[GeneratedImage]


def application(
    served: Mapping[str, ServedModel], worker: Worker, limits: Limits, monitor: Monitor
) -> FastAPI:
    """The FastAPI application, without the checks of `gate.Gate`."""
    failures: dict[int | str, dict[str, Any]] = {
        status: {"model": Failure, "description": text}
        for status, text in (
            (400, "The body cannot be parsed."),
            (401, "No token, or a wrong one."),
            (404, "No such model."),
            (408, "The upload took too long."),
            (413, "Too many bytes or pixels."),
            (415, "Not an image of a known format."),
            (421, "Another host name than those of this computer."),
            (422, "The request cannot be fulfilled; see `error.code`."),
            (429, "The queue is full."),
            (500, "A defect of the service."),
            (503, "The computation took too long, or there are too many uploads."),
        )
    }
    app = FastAPI(title="ganvas", version=__version__, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="encode")
    first = next(iter(served))

    def find(name: str | None) -> ServedModel:
        if (name or first) not in served:
            known = did_you_mean(printable(name)[:200], served)
            raise Refusal(404, "unknown-model", f"there is no such model. {known}")
        return served[name or first]

    def fits(pixels: int) -> None:
        if pixels > limits.pixels:
            raise Refusal(
                413, "too-large", f"the answer has {pixels:,} pixels, of {limits.pixels:,} at most"
            )

    @app.get("/v1/models", responses={401: failures[401]})
    async def models() -> Models:
        """List the models."""
        return Models(models=[_card(one) for one in served.values()])

    @app.post(
        "/v1/sample",
        response_model=GeneratedImages,
        responses={
            **failures,
            200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
        },
    )
    async def sample(
        request: SampleRequest, accept: Annotated[str, Header(max_length=1000)] = "*/*"
    ) -> Response:
        """Generate images.

        Image i of a seed is the same for every n. With the header `Accept: image/*` and
        n = 1, the answer is the image itself.
        """
        one, n = find(request.model), request.n
        alone = accept.strip().startswith("image/")
        if alone and n > 1:
            raise Refusal(422, "user", f"Accept: image/* is for one image; n is {n}")
        if n > limits.images:
            raise Refusal(413, "too-large", f"n is {n}, of {limits.images} at most")
        height, width = one.model.training_size
        fits(n * height * width)
        truncation = request.truncation
        if truncation is not None:
            steps = truncation * TRUNCATIONS
            if abs(steps - round(steps)) > 1e-6 or not round(steps):
                raise Refusal(422, "user", f"truncation is {truncation}: give a multiple of 0.05")
            truncation = round(steps) / TRUNCATIONS
        one.sampler.generator(truncation)
        names, labels = one.sampler.named(n, seed=request.seed, labels=request.labels)
        wanted = [
            QueuedImage(one, name, None if labels is None else labels[i], truncation)
            for i, name in enumerate(names)
        ]
        pixels = await worker.images(wanted)
        facts = {**one.model.facts, "seed": request.seed, "truncation": truncation}
        loop = asyncio.get_running_loop()

        def file(i: int) -> bytes:
            image = generated(pixels[i], index=i, label=wanted[i].label, **facts)
            return encoded(image, request.format)

        files = await asyncio.gather(*(loop.run_in_executor(pool, file, i) for i in range(n)))
        media = MIME[f".{request.format}"]
        if alone:
            return Response(files[0], media_type=media)
        pictures = [
            GeneratedImage(index=i, media_type=media, data=base64.b64encode(data).decode())
            for i, data in enumerate(files)
        ]
        answer = GeneratedImages(model=one.name, seed=request.seed, images=pictures)
        return Response(answer.model_dump_json(), media_type="application/json")

    @app.post(
        "/v1/translate",
        response_class=Response,
        responses={
            **failures,
            200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
        },
    )
    async def translate(
        image: Annotated[bytes, Body(media_type="application/octet-stream")],
        content_type: Annotated[str, Header(max_length=200)],
        model: Annotated[str | None, Query(max_length=200)] = None,
        to: Annotated[str | None, Query(max_length=100, description="Target domain.")] = None,
        seed: Annotated[Seed, Query()] = 0,
        format: Format = "png",
    ) -> Response:
        """Translate or enlarge an image, which is the body of the request.

        PNG, JPEG, WebP, TIFF, GIF and BMP. Size, alpha, 16 bits and color profile are
        kept if the format of the answer has room for them.
        """
        if not content_type.lower().startswith(("image/", "application/octet-stream")):
            raise Refusal(
                415, "data", "send the image itself, with a Content-Type such as image/png"
            )
        if not image.startswith(KINDS):
            raise Refusal(415, "data", "the body is no PNG, JPEG, WebP, TIFF, GIF or BMP")
        one = find(model)
        options = one.translator.options(to, None, seed, False)

        def work() -> Generated:
            decoded = decode.decode(io.BytesIO(image), limits.pixels)
            fits(decoded.height * decoded.width * one.translator.upscale**2)
            result = one.translator.translate_image(decoded, options, "pil")
            assert isinstance(result, Generated)
            return result

        try:
            result = await worker.run(work)
        except TooLarge as e:
            raise Refusal(413, "too-large", str(e)) from None
        except Broken as e:
            raise Refusal(415, "data", str(e)) from None
        loop = asyncio.get_running_loop()
        file = await loop.run_in_executor(pool, encoded, result, format)
        return Response(file, media_type=MIME[f".{format}"])

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the service is ready."""
        return {"status": "ok", "version": __version__}

    @app.get("/metrics", response_class=Response, responses={401: failures[401]})
    async def metrics() -> Response:
        """Metrics in the format of Prometheus."""
        return Response(monitor.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @cache
    def html() -> str:
        return page(app.openapi(), limits.images)

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return HTMLResponse(html(), headers=HEADERS)

    @app.exception_handler(Refusal)
    async def refused(_: Request, e: Refusal) -> Response:
        return JSONResponse(e.body, e.status, e.headers)

    @app.exception_handler(UserError)
    async def user_error(_: Request, e: UserError) -> Response:
        refusal = Refusal.of(e)
        return JSONResponse(refusal.body, refusal.status)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, e: RequestValidationError) -> Response:
        problem = e.errors()[0]
        no_json = problem["type"] == "json_invalid"  # its place is a number
        where = "" if no_json else ".".join(str(part) for part in problem["loc"][1:])
        where = where or "the body"
        message = printable(f"{where}: {problem['msg']}")[:300]
        return JSONResponse(Refusal(422, "user", message).body, 422)

    @app.exception_handler(HTTPException)
    async def http(_: Request, e: HTTPException) -> Response:
        code = {404: "not-found", 405: "method"}.get(e.status_code, "user")
        refusal = Refusal(e.status_code, code, printable(e.detail))
        return JSONResponse(refusal.body, e.status_code, e.headers)

    @app.exception_handler(Exception)
    async def defect(_: Request, __: Exception) -> Response:  # the gate writes the log
        return JSONResponse(Refusal.defect().body, 500)

    return app


def _card(one: ServedModel) -> Card:
    facts, method = one.model.facts, one.model.method
    height, width = one.model.training_size
    return Card(
        name=one.name,
        **facts,
        samples=one.samples,
        translates=one.translates,
        height=height,
        width=width,
        channels=one.model.runtime.channels,
        classes=list(one.model.classes) if one.samples and method.classes else [],
        directions=list(getattr(method, "directions", ())) if one.translates else [],
        upscale=method.upscale,
    )


def encoded(image: Generated, format: str) -> bytes:
    """The file of a generated image, marked and signed."""
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()
