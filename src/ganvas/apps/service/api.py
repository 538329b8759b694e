"""The HTTP interface: models, samples, translations, health, counters."""

from __future__ import annotations

import asyncio
import base64
import io
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from ganvas import __version__
from ganvas.apps.service.batching import Served, Wanted, Worker
from ganvas.apps.service.limits import Limits, Refusal
from ganvas.apps.service.monitoring import Monitor
from ganvas.apps.service.page import page
from ganvas.core.errors import CapabilityError, UserError, did_you_mean, printable
from ganvas.media import decode
from ganvas.media.decode import Broken
from ganvas.media.generated import generated

Format = Literal["png", "jpg", "webp"]
MEDIA = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
# First bytes of images that are opened: not every format of Pillow is for strangers.
KINDS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"BM", b"RIFF")
TRUNCATIONS = 20  # steps of 1: some models compute statistics for every value, and keep them
Seed = Annotated[int, Field(ge=0, lt=1 << 63, description="Random seed.")]


class Problem(BaseModel):
    """What was wrong, for people, and its code, for programs."""

    code: str
    message: str


class Failure(BaseModel):
    """The body of every error."""

    error: Problem


class Card(BaseModel):
    """What a model is and what it can do."""

    name: str
    recipe: str | None = Field(description="Recipe that trained it.")
    weights: str = Field(description="Hash of its weights.")
    images_trained: int | None
    samples: bool = Field(description="Generates images from noise.")
    translates: bool = Field(description="Translates or enlarges images.")
    height: int = Field(description="Height of the training images in pixels.")
    width: int
    channels: int
    classes: list[str] = Field(description="Names for `labels`; empty: trained without.")
    directions: list[str] = Field(description="Values of `to`; empty: does not translate.")
    upscale: int = Field(description="Size of a translation over the size of its input.")


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
        None, max_length=100_000, description="One class a image, by name or number."
    )
    truncation: float | None = Field(
        None, gt=0, le=2, description="Multiple of 0.05, e.g. 0.7, for models that support it."
    )
    format: Format = "png"


class Picture(BaseModel):
    """A generated image."""

    index: int
    media_type: str
    data: str = Field(description="The file, base64.")


class Pictures(BaseModel):
    """Generated images."""

    model: str
    seed: int
    images: list[Picture]


def application(
    served: Mapping[str, Served], worker: Worker, limits: Limits, monitor: Monitor
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
            (422, "The request cannot be fulfilled; `error.code` says of which kind it is."),
            (429, "The queue is full."),
            (500, "A defect of the service."),
            (503, "It took too long, or there are too many uploads."),
        )
    }
    app = FastAPI(title="ganvas", version=__version__, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="encode")
    first = next(iter(served))

    def find(name: str | None) -> Served:
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
        response_model=Pictures,
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
            raise Refusal(422, "user", f"one image has room in the answer; n is {n}")
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
            Wanted(one, name, None if labels is None else labels[i], truncation)
            for i, name in enumerate(names)
        ]
        pixels = await worker.images(wanted)
        facts = {**one.model.facts, "seed": request.seed, "truncation": truncation}
        loop = asyncio.get_running_loop()

        def file(i: int) -> bytes:
            image = generated(pixels[i], index=i, label=wanted[i].label, **facts)
            return encoded(image, request.format)

        files = await asyncio.gather(*(loop.run_in_executor(pool, file, i) for i in range(n)))
        media = MEDIA[request.format]
        if alone:
            return Response(files[0], media_type=media)
        pictures = [
            Picture(index=i, media_type=media, data=base64.b64encode(data).decode())
            for i, data in enumerate(files)
        ]
        answer = Pictures(model=one.name, seed=request.seed, images=pictures)
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
            raise Refusal(415, "data", "send the image itself, with Content-Type: image/png or so")
        if not image.startswith(KINDS):
            raise Refusal(415, "data", "the body is no PNG, JPEG, WebP, TIFF, GIF or BMP")
        one = find(model)
        options = one.translator.options(to, None, seed, False)

        def work() -> Image.Image:
            decoded = decode.decode(io.BytesIO(image), limits.pixels)
            fits(decoded.height * decoded.width * one.translator.upscale**2)
            result = one.translator.translate_image(decoded, options, "pil")
            assert isinstance(result, Image.Image)
            return result

        try:
            result = await worker.run(work)
        except Broken as e:
            large = "refused as a possible bomb" in str(e)
            raise Refusal(413 if large else 415, "too-large" if large else "data", str(e)) from None
        loop = asyncio.get_running_loop()
        file = await loop.run_in_executor(pool, encoded, result, format)
        return Response(file, media_type=MEDIA[format])

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the service is ready."""
        return {"status": "ok", "version": __version__}

    @app.get("/metrics", response_class=Response, responses={401: failures[401]})
    async def metrics() -> Response:
        """Counters in the format of Prometheus."""
        return Response(monitor.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return page(app.openapi())

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


def _card(one: Served) -> Card:
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
        classes=one.sampler.class_names() if one.samples and method.classes else [],
        directions=list(getattr(method, "directions", ())) if one.translates else [],
        upscale=method.upscale,
    )


def encoded(image: Image.Image, format: str) -> bytes:
    """The file of a generated image, marked and signed."""
    if format == "jpg" and image.mode not in ("L", "RGB"):
        raise CapabilityError("JPEG has no transparency: ask for png or webp")
    buffer = io.BytesIO()
    image.save(buffer, {"jpg": "JPEG"}.get(format, format.upper()))
    return buffer.getvalue()
