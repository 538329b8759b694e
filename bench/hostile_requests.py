"""Hostile uploads: requests to a service that no honest client would send.

`uploads` makes them, every kind of `KINDS` equally often, each with the statuses that are
right for it. bench/hostile_uploads.py sends thousands of them, the tests send a few.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import pickle
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")
CLOSED = 0  # in place of a status: the connection was closed without an answer
PAYLOAD = b"<script>alert(document.domain)</script>"


class Upload(NamedTuple):
    """A request, as bytes of HTTP.

    kind: of `KINDS`
    statuses: the right ones
    leaves: the client closes its side after the last byte; otherwise it waits
    """

    kind: str
    data: bytes
    statuses: frozenset[int]
    leaves: bool = False


class Limits(NamedTuple):
    """Limits of the service that the uploads exceed."""

    pixels: int = 1 << 14
    size: int = 1 << 20


def uploads(count: int, limits: Limits, seed: int = 0) -> Iterator[Upload]:
    """Hostile uploads, of every kind equally many; upload i does not depend on `count`."""
    for i in range(count):
        draw = random.Random(f"{seed} {i}")
        kind = list(KINDS)[i % len(KINDS)]
        yield KINDS[kind](draw, limits)._replace(kind=kind)


def request(
    body: bytes,
    *statuses: int,
    type: str = "image/png",
    query: str = "?model=domains",
    more: bytes = b"",
) -> Upload:
    """An upload to /v1/translate, for the model `domains`.

    more: further header lines
    """
    head = (
        f"POST /v1/translate{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        f"content-type: {type}\r\ncontent-length: {len(body)}\r\n"
    )
    return Upload("", head.encode() + more + b"\r\n" + body, frozenset(statuses))


def picture(draw: random.Random, kind: str) -> bytes:
    """A small image file with noise, so that no part of it can be missed."""
    size = (draw.randint(20, 32), draw.randint(20, 32), 3)
    pixels = np.frombuffer(draw.randbytes(size[0] * size[1] * 3), np.uint8).reshape(size)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def png(width: int, height: int, data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of gray pixels.

    data: compressed rows
    chunks: (name, content) between header and pixels
    """
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )


@cache
def zeros() -> bytes:
    """64 MiB of zeros in 64 KiB."""
    return zlib.compress(bytes(1 << 26), 9)


def truncated(draw: random.Random, limits: Limits) -> Upload:
    """A file of which the end is missing."""
    data = picture(draw, draw.choice(FORMATS))
    return request(data[: draw.randrange(1, len(data) * 3 // 4)], 415)


def corrupted(draw: random.Random, limits: Limits) -> Upload:
    """A file with changed bytes, often in its header; it may still be an image."""
    data = bytearray(picture(draw, draw.choice(FORMATS)))
    for _ in range(draw.randint(1, 8)):
        data[draw.randrange(draw.choice((64, len(data))))] = draw.randrange(256)
    return request(bytes(data), 200, 413, 415)


def large_bomb(draw: random.Random, limits: Limits) -> Upload:
    """A small file whose header announces more pixels than the service permits."""
    side = draw.randint(int(limits.pixels**0.5) + 1, 60_000)
    tags = ((256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (279, 8))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    bmp = struct.pack("<IiiHHIIIIII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    gif = picture(draw, "GIF")
    files = (
        png(side, side, zeros()),
        gif[:6] + struct.pack("<HH", side, side) + gif[10:],
        b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4),
        b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + bmp,
    )
    return request(draw.choice(files), 413)


def hidden_bomb(draw: random.Random, limits: Limits) -> Upload:
    """A small image with 64 MiB in its pixels, text or profile, or with many frames."""
    rows = zlib.compress(b"".join(b"\0" + draw.randbytes(8) for _ in range(8)))
    frames = [Image.new("P", (8, 8), i % 256) for i in range(500)]
    gif = io.BytesIO()
    frames[0].save(gif, "GIF", save_all=True, append_images=frames[1:], optimize=False)
    files = (
        png(8, 8, zeros()),
        png(8, 8, rows, (b"zTXt", b"Comment\0\0" + zeros())),
        png(8, 8, rows, (b"iCCP", b"profile\0\0" + zeros())),
        png(8, 8, rows, (b"iTXt", b"Comment\0\1\0\0\0" + zeros())),
        png(8, 8, rows, (b"acTL", struct.pack(">II", 1 << 30, 0))),
        gif.getvalue(),
    )
    return request(draw.choice(files), 200, 415)


def polyglot(draw: random.Random, limits: Limits) -> Upload:
    """An image that is something else as well; the answer must not hold the rest."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("run.sh", PAYLOAD)
    tail = draw.choice(
        (archive.getvalue(), b"%PDF-1.7\n" + PAYLOAD, PAYLOAD, b"PK\5\6" + bytes(18))
    )
    data = picture(draw, draw.choice(FORMATS))
    rows = zlib.compress(bytes(9 * 8))
    files = (
        data + tail,
        data + picture(draw, draw.choice(FORMATS)),
        png(8, 8, rows, (b"tEXt", b"Title\0" + PAYLOAD), (b"eXIf", b"II*\0" + PAYLOAD)),
    )
    return request(draw.choice(files), 200)


def disguised(draw: random.Random, limits: Limits) -> Upload:
    """Something else that begins like an image."""
    start = draw.choice(
        (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a/*", b"II*\0", b"BM", b"RIFF")
    )
    rest = draw.choice((b"%!PS-Adobe-3.0 EPSF", PAYLOAD, b"*/=1;alert(1)", draw.randbytes(200)))
    return request(start + rest, 413, 415)  # random bytes may announce a large image


def wrong_type(draw: random.Random, limits: Limits) -> Upload:
    """No image, or one that is announced as another thing."""
    image, buffer = picture(draw, "PNG"), io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, draw.choice(("PPM", "TGA", "ICO", "PCX", "EPS")))
    bodies = (
        b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"{}", b"\x7fELF" + bytes(60),
        pickle.dumps({"image": image}), gzip.compress(image), b"http://localhost/image.png",
        b"/etc/passwd", b"\0" * draw.randint(1, 1000), buffer.getvalue(),
    )  # fmt: skip
    if draw.random() < 0.7:
        return request(draw.choice(bodies), 415)
    types = ("text/html", "multipart/form-data; boundary=x", "text/plain", "video/mp4", "x")
    return request(image, 415, type=draw.choice(types))


def too_many_bytes(draw: random.Random, limits: Limits) -> Upload:
    """A body beyond the limit: announced, or in parts."""
    size = limits.size + draw.randint(1, limits.size)
    one = request(b"", 413, CLOSED)  # the answer is lost if the client still sends
    head = one.data.partition(b"content-length")[0]
    if draw.random() < 0.5:
        announced, status = draw.choice(((size, 413), (10**12, 413), (10**30, 400)))
        data = head + b"content-length: %d\r\n\r\n\x89PNG" % announced
        return one._replace(data=data, statuses=frozenset({status}))
    part = b"%x\r\n" % 65536 + bytes(65536) + b"\r\n"
    parts = part * (size // 65536 + 1) + b"0\r\n\r\n"
    return one._replace(data=head + b"transfer-encoding: chunked\r\n\r\n" + parts)


def bad_question(draw: random.Random, limits: Limits) -> Upload:
    """A model, target or number that does not exist, or another name of the host."""
    image = picture(draw, "PNG")
    queries = {
        "?model=../../etc/passwd": 404, "?model=http://localhost/x": 404, "/../x": 404,
        "?model=" + "a" * 201: 422, "?to=%00": 422, "?to=" + "b" * 101: 422,
        "?seed=-1": 422, "?seed=1e999": 422, "?format=svg": 422,
    }  # fmt: skip
    if draw.random() < 0.1:
        data = request(image).data.replace(b"host: localhost", b"host: attacker.test")
        return Upload("", data, frozenset({421}))
    query = draw.choice(list(queries))
    more = "" if "model" in query or query.startswith("/") else "&model=domains"
    return request(image, queries[query], query=query + more)


def bad_headers(draw: random.Random, limits: Limits) -> Upload:
    """Headers that are huge, many, contradictory or malformed."""
    many = b"".join(b"x-%d: %s\r\n" % (i, b"a" * 90) for i in range(draw.randint(3000, 6000)))
    lines = (
        b"x: " + b"a" * draw.randint(300_000, 600_000) + b"\r\n", many, b"x: \0\r\n", b": x\r\n",
        b"x : y\r\n", b"content-length: 1\r\n", b"content-length: -1\r\n",
        b"transfer-encoding: gzip\r\n", b"host: second\r\n",
    )  # fmt: skip
    statuses = (400, 431, 501, CLOSED)
    return request(picture(draw, "PNG"), *statuses, more=draw.choice(lines))


def no_http(draw: random.Random, limits: Limits) -> Upload:
    """Bytes that are no request, or one that ends too early."""
    image = request(picture(draw, "PNG")).data
    cut = image[: draw.randrange(image.index(b"\r\n\r\n") + 4, len(image))]
    data = (
        draw.randbytes(300),
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"PRI * HTTP/2.0",
        cut,
    )
    return Upload("", draw.choice(data), frozenset({400, CLOSED}), leaves=True)


def slow(draw: random.Random, limits: Limits) -> Upload:
    """A client that stops in the middle and waits for the service to lose patience."""
    one = request(picture(draw, "PNG"))
    end = one.data.index(b"\r\n\r\n") + 4
    if draw.random() < 0.2:  # half a minute each
        return one._replace(data=one.data[: end - 3], statuses=frozenset({CLOSED}))
    return one._replace(data=one.data[: end + 9], statuses=frozenset({408}))


KINDS: dict[str, Callable[[random.Random, Limits], Upload]] = {
    make.__name__: make
    for make in (
        truncated, corrupted, large_bomb, hidden_bomb, polyglot, disguised, wrong_type,
        too_many_bytes, bad_question, bad_headers, no_http, slow,
    )
}  # fmt: skip


async def answer(port: int, upload: Upload) -> tuple[int, bytes]:
    """(status, body) that an upload gets; (`CLOSED`, b"") without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        try:
            writer.write(upload.data)
            await writer.drain()
            if upload.leaves:
                writer.write_eof()
        except OSError:  # the service has answered and closed already
            pass

    sending, found = asyncio.ensure_future(send()), b""
    try:
        while part := await reader.read(1 << 16):
            found += part
    except OSError:
        pass
    await sending
    writer.close()
    head, _, body = found.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1.1 (\d{3}) ", head)
    return (int(status[1]), body) if status else (CLOSED, b"")
