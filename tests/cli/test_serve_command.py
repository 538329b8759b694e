"""`ganvas serve` as a process of its own, with real sockets."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import hostile_requests
import httpx
import numpy as np
import pytest
from PIL import Image
from processes import ENVIRONMENT, LIMIT

from ganvas import load
from ganvas.apps.service.limits import Limits
from ganvas.apps.service.server import serve
from ganvas.media.generated import generated
from ganvas.media.verify import verify


class Service(NamedTuple):
    process: subprocess.Popen[str]
    http: httpx.Client
    port: int

    def raw(self, data: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)
        connection.sendall(data)
        return connection

    def memory(self) -> int:
        """Resident bytes of the process."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def started(*arguments: object, **environment: str) -> Service:
    command = [sys.executable, "-m", "ganvas", "serve", *map(str, arguments), "--port", "0"]
    process = subprocess.Popen(
        command,
        env={**ENVIRONMENT, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"serving \d models? at (http://127.0.0.1:(\d+))$", line)
    assert found, line + process.communicate()[1]
    return Service(process, httpx.Client(base_url=found[1], timeout=LIMIT), int(found[2]))


def ended(service: Service) -> tuple[int, str]:
    """(exit status, standard error) after SIGTERM."""
    service.http.close()
    service.process.send_signal(signal.SIGTERM)
    _, err = service.process.communicate(timeout=LIMIT)
    return service.process.returncode, err


@pytest.fixture(scope="module")
def service(toy: Any) -> Iterator[Service]:
    made = started(
        f"noise={toy('noise').run}", f"domains={toy('domains').run}", "--max-images", 8,
        "--max-queue", 16, "--max-pixels", 4096, "--max-bytes", 100_000,
    )  # fmt: skip
    yield made
    status, err = ended(made)
    assert status == 0
    unexpected = [line for line in err.splitlines() if "Invalid HTTP request" not in line]
    assert not unexpected, err


def opened(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image).astype(int)


def test_samples_are_the_librarys_and_signed(service: Service, toy: Any, tmp_path: Path) -> None:
    library = load(toy("noise").run)
    expected = library.sample(3, seed=7, output="numpy").astype(int)
    answer = service.http.post("/v1/sample", json={"seed": 7, "n": 3})
    assert answer.status_code == 200
    files = [base64.b64decode(image["data"]) for image in answer.json()["images"]]
    assert abs(np.stack([opened(f) for f in files]) - expected).max() <= 1
    headers = {"accept": "image/webp"}
    one = service.http.post("/v1/sample", json={"seed": 7, "format": "webp"}, headers=headers)
    assert one.headers["content-type"] == "image/webp"
    for name, data in {"a.png": files[0], "b.webp": one.content}.items():
        (tmp_path / name).write_bytes(data)
        verdict = verify(tmp_path / name)
        assert verdict.state == "signed"
        facts = {**library.facts, "seed": 7, "index": 0}
        assert {k: verdict.facts[k] for k in facts} == facts


def test_translations_are_the_librarys_and_signed(
    service: Service, toy: Any, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (20, 24, 3), dtype=np.uint16)
    generated(pixels).save(tmp_path / "in.png")
    data = (tmp_path / "in.png").read_bytes()
    url, headers = "/v1/translate?model=domains&to=a", {"content-type": "image/png"}
    answer = service.http.post(url, content=data, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    (tmp_path / "out.png").write_bytes(answer.content)
    load(toy("domains").run).translate(tmp_path / "in.png", to="a").save(tmp_path / "library.png")
    with Image.open(tmp_path / "out.png") as one, Image.open(tmp_path / "library.png") as two:
        assert one.size == (24, 20)
        assert np.array_equal(np.asarray(one), np.asarray(two))
    assert verify(tmp_path / "out.png").state == "signed"
    assert b"compositeWithTrainedAlgorithmicMedia" in answer.content


def png(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


JSON, IMAGE = {"content-type": "application/json"}, {"content-type": "image/png"}
REFUSED: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("/v1/sample", b'{"model": "../../etc/passwd"}', JSON, 404, "unknown-model"),
    ("/v1/sample", b'{"model": "http://localhost/x"}', JSON, 404, "unknown-model"),
    ("/v1/sample", b'{"n": 9}', JSON, 413, "too-large"),
    ("/v1/sample", b'{"n": 0}', JSON, 422, "user"),
    ("/v1/sample", b'{"seed": 1e999}', JSON, 422, "user"),
    ("/v1/sample", b'{"nn": 1}', JSON, 422, "user"),
    ("/v1/sample", b'{"truncation": 0.5}', JSON, 422, "capability"),
    ("/v1/sample", b'{"truncation": 0.123}', JSON, 422, "user"),
    ("/v1/sample", b'{"labels": ["a"]}', JSON, 422, "capability"),
    ("/v1/sample", b'{"model": "domains"}', JSON, 422, "capability"),
    ("/v1/sample", b"[" * 20_000, JSON, 400, "user"),
    ("/v1/sample", b"\xff\xfe", JSON, 422, "user"),
    ("/v1/sample", b"{}", {"content-type": "text/plain"}, 422, "user"),
    ("/v1/sample", b"0" * 100_001, JSON, 413, "too-large"),
    ("/v1/translate?model=noise", png(8, 8), IMAGE, 422, "capability"),
    ("/v1/translate?model=domains&to=c", png(8, 8), IMAGE, 422, "capability"),
    ("/v1/translate?model=domains", png(65, 64), IMAGE, 413, "too-large"),
    ("/v1/translate?model=domains", b"%!PS-Adobe-3.0 EPSF", IMAGE, 415, "data"),
    ("/v1/translate?model=domains", png(8, 8)[:40], IMAGE, 415, "data"),
    ("/v1/translate?model=domains", png(8, 8), {"content-type": "text/plain"}, 415, "data"),
    ("/v1/nothing", b"", {}, 404, "not-found"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "headers", "status", "code"), REFUSED)
def test_what_cannot_be_done_has_a_status_and_a_code(
    path: str, body: bytes, headers: dict[str, str], status: int, code: str, service: Service
) -> None:
    answer = service.http.post(path, content=body, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code), error
    assert "\n" not in error["message"]


def test_a_crowd_is_served_or_turned_away(service: Service) -> None:
    """Four times as many requests as there is room for, again and again."""

    def asked(i: int) -> tuple[int, int, list[bytes]]:
        answer = service.http.post("/v1/sample", json={"seed": i % 5, "n": 1 + i % 3})
        images = answer.json().get("images", [])
        return (
            answer.status_code,
            i % 5,
            [opened(base64.b64decode(m["data"])).tobytes() for m in images],
        )

    alone = {seed: asked(seed)[2][0] for seed in range(5)}
    before = 0
    for repeat in range(3):
        with ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(asked, range(192)))
        assert {status for status, _, _ in answers} <= {200, 429, 503}
        served = [(seed, images) for status, seed, images in answers if status == 200]
        assert served
        assert all(images[0] == alone[seed] for seed, images in served)
        if repeat == 0:
            before = service.memory()
    assert service.memory() < before + (64 << 20)
    assert service.http.get("/health").json()["status"] == "ok"
    assert "ganvas_batch_images_count" in service.http.get("/metrics").text


def test_hanging_and_malformed_clients_harm_nobody(service: Service) -> None:
    draw = random.Random(0)
    hanging = [service.raw(b"") for _ in range(20)]
    hanging += [
        service.raw(b"POST /v1/sample HTTP/1.1\r\nhost: localhost\r\nx: ") for _ in range(20)
    ]
    head = b"POST /v1/translate HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\n"
    hanging += [service.raw(head + b"content-length: 9000\r\n\r\n\x89PNG") for _ in range(20)]
    for data in (
        b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 100_000,
        b"POST /v1/sample HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        *(draw.randbytes(200) for _ in range(10)),
    ):  # fmt: skip
        with service.raw(data) as connection:
            connection.shutdown(socket.SHUT_WR)
            try:
                answer = connection.recv(1 << 16)
            except ConnectionError:
                continue
            assert re.match(rb"$|HTTP/1.1 4", answer), answer[:100]
    assert service.http.post("/v1/sample", json={}).status_code == 200
    for connection in hanging:
        connection.close()


def test_a_client_that_still_sends_sees_why_its_body_is_refused(service: Service) -> None:
    head = b"POST /v1/sample HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    size = 1 << 20
    with service.raw(head + b"content-length: %d\r\n\r\n" % size) as connection:
        connection.settimeout(LIMIT)
        answer = connection.recv(1 << 16)
        assert b" 413 " in answer, answer
        connection.sendall(bytes(size))  # would fail if the service had closed the connection
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        while b" 200 " not in answer:
            part = connection.recv(1 << 16)
            assert part, answer
            answer += part


def test_hostile_uploads_get_the_right_status(service: Service) -> None:
    """The uploads of bench/hostile_requests.py; clients that wait for a timeout hang up."""
    limits, wrong = hostile_requests.Limits(pixels=4096, size=100_000), []

    async def send() -> None:
        for upload in hostile_requests.uploads(240, limits):
            if upload.kind == "slow":
                upload = upload._replace(leaves=True, statuses=frozenset({0}))
            status, body = await hostile_requests.answer(service.port, upload)
            if status not in upload.statuses or hostile_requests.PAYLOAD in body:
                wrong.append((upload.kind, status, body[:200]))

    asyncio.run(send())
    assert not wrong
    for kind in hostile_requests.FORMATS:
        file = hostile_requests.picture(random.Random(0), kind)
        answer = service.http.post("/v1/translate?model=domains", content=file, headers=IMAGE)
        assert answer.status_code == 200


def test_the_page_works_in_a_browser(service: Service, tmp_path: Path) -> None:
    """Its script fills the lists of models: the policy of the page lets it."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs chromium, which is not installed")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    page = ["--virtual-time-budget=10000", "--dump-dom", f"http://127.0.0.1:{service.port}/"]
    command = [browser, *options, *page]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT).stdout
    assert re.findall(r"<option>(\w+)</option>", shown) == ["noise", "domains"]
    assert re.search(r'id="problem"></p>', shown)


def test_a_stop_finishes_what_is_in_flight(toy: Any) -> None:
    """A request whose upload ends after SIGTERM is answered; new connections are not."""
    service, body = started(toy("domains").run), png(16, 16)
    head = b"POST /v1/translate HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\n"
    with service.raw(head + b"content-length: %d\r\n\r\n" % len(body) + body[:20]) as connection:
        assert service.http.get("/health").status_code == 200  # so the upload has begun
        service.http.close()
        service.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                service.raw(b"").close()
            except ConnectionError:
                break
            time.sleep(0.01)
        connection.sendall(body[20:])
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200")
    assert opened(answer.partition(b"\r\n\r\n")[2]).shape == (16, 16, 3)
    out, err = service.process.communicate(timeout=LIMIT)
    assert (service.process.returncode, out, err) == (0, "", "")


def test_connections_are_limited_and_must_not_idle(toy: Any) -> None:
    answers: list[bytes] = []

    def clients(port: int) -> None:
        try:
            hanging = [socket.create_connection(("127.0.0.1", port), LIMIT) for _ in range(3)]
            hanging[0].sendall(b"GET / HTTP/1.1\r\nx: ")
            with socket.create_connection(("127.0.0.1", port), LIMIT) as one_more:
                answers.append(one_more.recv(1 << 16))
            for connection in hanging:
                with connection:
                    try:
                        answers.append(connection.recv(1))
                    except ConnectionResetError:
                        answers.append(b"")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def ready(address: str, count: int) -> None:
        port = int(address.rpartition(":")[2])
        threading.Thread(target=clients, args=(port,)).start()

    limits = Limits(connections=3, idle=0.3)
    serve([str(toy("noise").run)], port=0, limits=limits, ready=ready)
    assert answers[0].startswith(b"HTTP/1.1 503")
    assert answers[1:] == [b"", b"", b""], "they were closed"


def test_what_cannot_be_served(
    toy: Any, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = toy("noise").run
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for arguments, token, message in (
            ([run, "--host", "0.0.0.0"], "", "set GANVAS_TOKEN"),
            ([run, "--max-queue", 8], "", "make --max-queue larger"),
            ([run, "--port", 0], "short", "at least 16"),
            ([run, "--port", taken.getsockname()[1]], "", "choose another --port"),
            ([run, "--host", "none.invalid"], "x" * 16, "choose another --port or --host"),
            ([run, run, "--port", 0], "", "two models have the name"),
            ([tmp_path, "--port", 0], "", "there is no model"),
        ):
            monkeypatch.setenv("GANVAS_TOKEN", token)
            ended = command("serve", *arguments)
            assert ended.status == 1
            assert message in ended.err.splitlines()[-1]
