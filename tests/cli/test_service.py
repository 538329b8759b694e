"""The service in this process: batches, queue, limits, the interface's description."""

from __future__ import annotations

import asyncio
import random
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import schemathesis
import torch
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from ganvas import load
from ganvas.apps.service.api import application
from ganvas.apps.service.batching import QueuedImage, ServedModel, Worker
from ganvas.apps.service.gate import Gate
from ganvas.apps.service.limits import Limits, Refusal
from ganvas.apps.service.monitoring import Monitor
from ganvas.core.errors import ConfigError

PATHS = frozenset({"/v1/models", "/v1/sample", "/v1/translate", "/health"})


@pytest.fixture
def start() -> Iterator[Callable[..., Gate]]:
    """Make a service of models; their threads end with the test."""
    workers: list[Worker] = []

    def started(*served: ServedModel, limits: Limits | None = None, **options: Any) -> Gate:
        monitor, limits = Monitor(), limits or Limits()
        workers.append(Worker(limits, monitor))
        app = application({one.name: one for one in served}, workers[-1], limits, monitor)
        return Gate(app, limits, monitor, PATHS, **options)

    yield started
    for worker in workers:
        worker.close()


def client(gate: Gate) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://localhost")


def ask(gate: Gate, method: str, path: str, **options: Any) -> httpx.Response:
    async def asked() -> httpx.Response:
        async with client(gate) as http:
            return await http.request(method, path, **options)

    return asyncio.run(asked())


@pytest.mark.parametrize("kind", ["labels", "styles", "coupled"])
def test_an_image_does_not_depend_on_its_batch(kind: str, toy: Any) -> None:
    model = load(toy(kind).run)
    served = ServedModel(kind, model)
    names, labels = served.sampler.named(6, seed=5)
    wanted = [
        QueuedImage(served, name, None if labels is None else labels[i], None)
        for i, name in enumerate(names)
    ]
    alone = [served.images([one])[0] for one in wanted]
    draw = random.Random(0)
    for _ in range(8):
        group = draw.choices(range(6), k=draw.randint(1, served.sizes[-1]))
        for i, image in zip(group, served.images([wanted[i] for i in group]), strict=True):
            assert np.array_equal(image, alone[i])
    library = model.sample(6, seed=5, output="numpy").astype(int)
    assert abs(library - np.stack(alone)).max() <= 1


def test_a_model_whose_images_depend_on_their_place_runs_them_one_by_one(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ganvas.inference.sampler.Sampler.images",
        lambda self, names, labels, truncation: torch.arange(len(names)).view(-1, 1, 1, 1) * 0.01,
    )
    assert ServedModel("noise", load(toy("noise").run)).sizes == (1,)


def test_requests_ride_together_and_a_full_queue_turns_away(
    toy: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the model computes one image, the queue fills; what has room in it is one batch.

    The room of a client that has left is free for others.
    """
    served = ServedModel("noise", load(toy("noise").run))
    monkeypatch.setattr(served, "sizes", (16,))
    gate = start(served, limits=Limits(images=4, queue=5))
    computes, go = threading.Event(), threading.Event()
    images, sizes = served.images, []

    def slow(wanted: Any) -> Any:
        sizes.append(len(wanted))
        computes.set()
        go.wait()
        return images(wanted)

    monkeypatch.setattr(served, "images", slow)

    async def crowd() -> list[httpx.Response]:
        async with client(gate) as http:
            first = asyncio.ensure_future(http.post("/v1/sample", json={"seed": 0}))
            while not computes.is_set():
                await asyncio.sleep(0)
            left = asyncio.ensure_future(http.post("/v1/sample", json={"n": 4, "seed": 9}))
            while gate.monitor.waiting._value.get() < 5:
                await asyncio.sleep(0)
            left.cancel()  # a client that does not wait
            await asyncio.wait({left})
            others = [
                asyncio.ensure_future(http.post("/v1/sample", json={"n": 2, "seed": seed}))
                for seed in range(1, 5)
            ]
            turned_away = await asyncio.gather(*others[2:])
            go.set()
            return [await first, *await asyncio.gather(*others[:2]), *turned_away]

    answers = asyncio.run(crowd())
    assert [r.status_code for r in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].headers["retry-after"] == "1"
    assert answers[-1].json()["error"]["code"] == "busy"
    assert sizes == [1, 4], "who has left is not computed"
    assert ask(gate, "GET", "/health").status_code == 200


def test_time_is_limited(toy: Any, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    served, go = ServedModel("noise", load(toy("noise").run)), threading.Event()
    monkeypatch.setattr(served, "images", lambda wanted: go.wait() and [])
    answer = ask(start(served, limits=Limits(seconds=0.2)), "POST", "/v1/sample", json={})
    go.set()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "timeout")

    async def never(*_: Any) -> Any:
        return await asyncio.get_running_loop().create_future()

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    gate = start(served, limits=Limits(seconds=0.1))
    scope = {"type": "http", "method": "POST", "path": "/v1/sample", "headers": [(b"host", b"x")]}
    asyncio.run(gate(scope, never, send))
    assert sent[0]["status"] == 408


def test_a_defect_is_an_answer_and_a_line_in_the_log(
    toy: Any, start: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    served = ServedModel("noise", load(toy("noise").run))

    def broken(_: Any) -> Any:
        raise RuntimeError("secret\nsecond line")

    gate = start(served)
    monkeypatch.setattr(served, "images", broken)
    answer = ask(gate, "POST", "/v1/sample", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "defect")
    assert "secret" not in answer.text
    (line,) = capfd.readouterr().err.splitlines()
    assert line == "error: POST /v1/sample: RuntimeError: secret"


def test_tokens_and_names_of_hosts(toy: Any, start: Any) -> None:
    served = ServedModel("noise", load(toy("noise").run))
    gate = start(served, token="0123456789abcdef")
    for value in (None, "Bearer x", "Bearer 0123456789abcdef ", "0123456789abcdef", "Bearer é"):
        headers = {} if value is None else {"authorization": value.encode()}
        answer = ask(gate, "GET", "/v1/models", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    right = {"authorization": "Bearer 0123456789abcdef"}
    assert ask(gate, "GET", "/v1/models", headers=right).status_code == 200
    assert ask(gate, "GET", "/metrics").status_code == 401
    for path in ("/", "/health", "/openapi.json"):
        assert ask(gate, "GET", path).status_code == 200
    gate = start(served, hosts=frozenset({"localhost", "[::1]"}))
    for host, status in {"localhost:80": 200, "[::1]:1": 200, "LOCALHOST": 200, "evil.test": 421,
                         "localhost.evil.test": 421, "": 421}.items():  # fmt: skip
        assert ask(gate, "GET", "/health", headers={"host": host}).status_code == status, host


def test_limits_that_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="make --max-queue larger"):
        Limits(images=9, queue=8).check()
    assert Refusal.of(ConfigError("x")).status == 422


def test_the_page_needs_no_other_server(toy: Any, start: Any) -> None:
    gate = start(ServedModel("noise", load(toy("noise").run)))
    page = ask(gate, "GET", "/")
    assert not re.search(r"""(src|href|url\(|@import)\s*=?\s*["']?\s*(https?:)?//""", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for text in ("POST /v1/sample", "POST /v1/translate", "truncation", "The queue is full"):
        assert text in page.text


def test_any_request_gets_the_answer_that_is_described(toy: Any, start: Any) -> None:
    """Requests that schemathesis makes of the interface's description."""
    served = [ServedModel(kind, load(toy(kind).run)) for kind in ("noise", "domains")]
    gate = start(*served, limits=Limits(images=4, pixels=1 << 14, size=1 << 14))
    schema = schemathesis.openapi.from_asgi("/openapi.json", gate)
    operations: list[Any] = list(schema.get_all_operations())
    assert len(operations) == 5
    for operation in operations:

        @settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
        @given(case=operation.ok().as_strategy())
        def answered(case: Any) -> None:
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        answered()
