"""The hub, by a stub of its HTTP interface that stores what is committed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from ganvas import load
from ganvas.inference import hub

SHA = "1234567890" * 4


class Stub(ThreadingHTTPServer):
    """files: what the repository me/roses holds; asked: paths of all requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Stub  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value: object, status: int = 200, **headers: str) -> None:
        self.answer(json.dumps(value).encode(), status, content_type="application/json", **headers)

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path == "/api/repos/create":
            self.json({"url": f"{self.server.url}/me/roses"})
        elif self.path.startswith("/api/models/me/roses/preupload/"):
            names = [f["path"] for f in json.loads(body)["files"]]
            kinds = [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]
            self.json({"files": kinds})
        elif self.path.startswith("/api/models/me/roses/commit/"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.files[line["value"]["path"]] = content
            self.json(
                {
                    "commitUrl": f"{self.server.url}/me/roses/commit/{SHA}",
                    "commitOid": SHA,
                    "success": True,
                }
            )
        elif self.path == "/api/validate-yaml":
            self.json({"errors": [], "warnings": []})
        else:
            self.json({"error": "not here"}, 404)

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        files = self.server.files
        found = re.fullmatch(rf"/me/roses/resolve/({SHA}|main)/(.+)", self.path)
        if self.path.startswith("/api/models/me/roses/tree/"):
            self.json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": SHA}
                    for name, data in files.items()
                ]
            )
        elif self.path.startswith("/api/models/me/roses") and files:
            siblings = [{"rfilename": name} for name in files]
            self.json({"id": "me/roses", "sha": SHA, "siblings": siblings, "private": False})
        elif found and found[2] in files:
            data = files[found[2]]
            self.answer(data, etag=f'"{hashlib.sha1(data).hexdigest()}"', x_repo_commit=SHA)
        else:
            self.json({"error": "Repository not found"}, 404, x_error_code="RepoNotFound")

    do_HEAD = do_GET


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_model_goes_to_the_hub_and_comes_back(
    stub: Stub, toy: Any, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", stub.url)
    template = stub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    run, out = toy("noise").run, tmp_path / "grid.png"
    ended = command("sample", "hub:me/roses", "--out", out)
    assert ended.status == 1
    assert "error: hub:me/roses could not be read (" in ended.err

    ended = command("push", run, "me/roses")
    assert (ended.status, f"{stub.url}/me/roses" in ended.out) == (0, True)
    card = stub.files.pop("README.md").decode()
    assert card.startswith("---\nlibrary_name: ganvas\n")
    for text in (
        'ganvas.load("hub:me/roses")',
        "| best | 8 |",
        "It is not FID",
        "arXiv:1511.06434",
    ):
        assert text in card
    for name, data in stub.files.items():
        assert data == (run / "model" / name).read_bytes()
    assert stub.files.keys() == {"model.safetensors", "model.json"}

    stub.files["evil.pkl"] = b"never asked for"
    assert command("sample", "hub:me/roses", "-n", 4, "--out", out).status == 0
    assert out.is_file()
    assert not any("evil" in path for path in stub.asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    stub.asked.clear()
    assert repr(load("hub:me/roses")).startswith("<ganvas.Model DCGAN")
    assert not stub.asked, "what is there needs no network"


def test_what_cannot_be_pushed(command: Any, toy: Any, tmp_path: Path) -> None:
    for run, name, message in (
        (tmp_path, "me/roses", "there is no model in"),
        (toy("noise").run, "a name", "check the name"),
    ):
        ended = command("push", run, name)
        assert ended.status == 1
        assert message in ended.err.splitlines()[-1]


def test_the_card_of_a_damaged_quality_curve(tmp_path: Path) -> None:
    lines = [
        '{"images": 8, "frechet": 5.0, "extractor": "x"}',
        '{"images": 16, "frechet": NaN, "extractor": "x"}',
        '{"images": Infinity, "frechet": 3.0}',
        '{"images": "many", "frechet": 1.0}',
        "cut off",
    ]
    (tmp_path / "measures.jsonl").write_text("\n".join(lines))
    card = hub._measures(tmp_path / "measures.jsonl")
    assert "| last | 8 | 5 | x |\n| best | 8 | 5 | x |" in card
