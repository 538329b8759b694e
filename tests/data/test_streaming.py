"""Shards: the same images in an order that the cursor decides, whatever sends them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tarfile
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sample_images import noise_image

from ganvas import data
from ganvas.core import Batch
from ganvas.core.errors import DataError, UserError
from ganvas.core.guards import open_regular
from ganvas.core.rng import Rows
from ganvas.data import downloads
from ganvas.data.feed import Feed
from ganvas.data.order import LaneOrder
from ganvas.data.prefetch import Prefetch
from ganvas.data.prepare.pack import pack
from ganvas.data.streaming import store
from ganvas.data.streaming.index import parsed
from ganvas.data.streaming.members import scan
from ganvas.engine.engine import Engine
from ganvas.media.samples import Broken
from ganvas.training.start import plan_run

Make = Callable[..., Path]
COUNT = 40


def photos(make: Make, *names: str) -> Path:
    return make(*(names or [f"{'ab'[i % 3 == 0]}x/{i:02}.png" for i in range(COUNT)]))


@pytest.fixture
def packed(make: Make, tmp_path: Path) -> tuple[Path, Path]:
    """(a folder of 40 images in two classes, its shards)."""
    folder = photos(make)
    pack(folder, tmp_path / "shards")
    return folder, tmp_path / "shards"


def rows_of(*batches: Batch) -> list[bytes]:
    """Every image of batches with its label, as bytes."""
    out = []
    for batch in batches:
        for i in range(len(batch)):
            fields = (getattr(batch, k)[i].numpy() for k in ("x", "a", "b", "y") if k in batch)
            out.append(b"".join(np.ascontiguousarray(f).tobytes() for f in fields))
    return out


def epoch(feed: Feed, n: int = 8, seed: int = 0) -> list[Batch]:
    return [feed.draw(c, n, seed=seed) for c in range(0, feed.info.count, n)]


def rewritten(shards: Path, name: str, members: list[tarfile.TarInfo], *contents: bytes) -> None:
    """Replace a shard by other members, with a true hash in the index."""
    with tarfile.open(shards / name, "w", format=tarfile.GNU_FORMAT) as tar:
        for member, content in zip(members, contents, strict=True):
            member.size = member.size or len(content)
            tar.addfile(member, BytesIO(content + bytes(max(0, member.size - len(content)))))
    reindexed(shards, name)


def reindexed(shards: Path, name: str) -> None:
    index = json.loads((shards / "shards.json").read_text())
    (one,) = (s for s in index["shards"] if s["name"] == name)
    contents = (shards / name).read_bytes()
    one |= {"bytes": len(contents), "sha256": hashlib.sha256(contents).hexdigest()}
    (shards / "shards.json").write_text(json.dumps(index))


# ---------------------------------------------------------------- order


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=40),
    st.sampled_from([1, 3, 16, 24]),
    st.integers(0, 5),
)
def test_an_epoch_holds_every_image_once_whatever_the_batch(
    counts: list[int], n: int, seed: int
) -> None:
    order = LaneOrder(counts)
    found = np.full(2 * order.total + n, -1)
    for cursor in range(0, 2 * order.total, n):
        positions, index = order.batch(cursor, Rows(0, n, n), seed, "x")
        found[positions.astype(np.int64)] = index
    for start in (0, order.total):
        assert sorted(found[start : start + order.total]) == list(range(order.total))
    whole = order.batch(0, Rows(0, order.total, order.total), seed, "x")
    assert (found[whole[0].astype(np.int64)] == whole[1]).all()


@pytest.mark.parametrize("nodes", [1, 2, 4, 16])
@pytest.mark.parametrize("batch", [16, 64])
def test_each_shard_is_read_by_one_node_in_an_epoch(nodes: int, batch: int) -> None:
    order = LaneOrder([20] * 32)
    for first in (0, order.total):
        readers = defaultdict(set)
        for cursor in range(first, first + order.total, batch):
            for node in range(nodes):
                rows = Rows(node * batch // nodes, (node + 1) * batch // nodes, batch)
                _, index = order.batch(cursor, rows, 7, "x")
                for shard in (index // 20).tolist():
                    readers[shard].add(node)
        assert {len(r) for r in readers.values()} == {1}
        assert len(readers) == 32


def test_a_node_opens_ahead_what_it_reads_itself() -> None:
    """Also from an epoch into the next, which begins in the middle of a batch."""
    order = LaneOrder([5] * 47 + [4])
    for node in range(4):
        rows, read, ahead = Rows(node * 4, node * 4 + 4, 16), [], []
        for cursor in range(0, 3 * order.total, 16):
            positions, index = order.batch(cursor, rows, 7, "x")
            read.append(set((np.searchsorted(order.first, index, "right") - 1).tolist()))
            spans = order.spans(cursor, 16)
            ahead.append(set() if spans else set(order.following(positions, 7, "x")))
        for i in range(len(read) - 14):  # two shards, and a round of fewer than 16 images
            assert ahead[i] <= set.union(*read[i : i + 14])


def test_epochs_seeds_and_streams_have_orders_of_their_own() -> None:
    order = LaneOrder([9] * 20)
    orders = {
        (cursor, seed, stream): tuple(order.batch(cursor, Rows(0, 180, 180), seed, stream)[1])
        for cursor in (0, 180)
        for seed in (0, 1)
        for stream in ("x", "a")
    }
    assert len(set(orders.values())) == len(orders)


# ---------------------------------------------------------------- the same images


def test_shards_hold_the_images_and_labels_of_the_folder(packed: tuple[Path, Path]) -> None:
    folder, shards = packed
    whole, feed = data.images(folder, flip=False), data.images(shards)
    assert feed.info.shape == whole.info.shape
    assert feed.info.classes == whole.info.classes
    expected = sorted(rows_of(*whole.batches(8)))
    assert sorted(rows_of(*feed.batches(8))) == expected
    assert sorted(rows_of(*epoch(feed))) == expected
    some = rows_of(feed.fixed(30))
    assert len(set(some)) == 30
    assert set(some) <= set(expected)
    assert feed.labeled == 1.0
    ahead = Prefetch(feed)
    assert rows_of(ahead.draw(0, 8, seed=0), ahead.draw(8, 8, seed=0)) == rows_of(*epoch(feed)[:2])
    ahead.close()


def test_ranks_draw_parts_of_the_same_batch(packed: tuple[Path, Path]) -> None:
    feed = data.images(packed[1], flip=True, size=12)
    whole = rows_of(feed.draw(32, 16, seed=3))
    parts = [feed.draw(32, 16, seed=3, rows=Rows(r * 4, r * 4 + 4, 16)) for r in range(4)]
    assert rows_of(*parts) == whole
    assert rows_of(data.images(packed[1], flip=True, size=12).draw(32, 16, seed=3)) == whole


def test_packing_is_repeatable_and_sizes_its_shards(make: Make, tmp_path: Path) -> None:
    folder = photos(make)
    for out in ("one", "two"):
        done = pack(folder, tmp_path / out)
        assert (done.images, done.shards, done.skipped) == (COUNT, 16, [])
    texts = [(tmp_path / out / "shards.json").read_text() for out in ("one", "two")]
    assert texts[0] == texts[1]
    assert pack(folder, tmp_path / "small", shard_mb=1e-4).shards == COUNT
    small = pack(folder, tmp_path / "resized", size=(8, 6))
    assert data.images(tmp_path / "resized").info.shape.size == (8, 6)
    assert small.images == COUNT


def test_parts_labels_and_broken_images_are_packed(make: Make, tmp_path: Path) -> None:
    folder = photos(
        make, *(f"{part}/{c}/{i}.png" for part in ("train", "test") for c in "cd" for i in range(9))
    )
    for part in ("train", "test"):
        (folder / part / "unlabeled").mkdir()
        Image.fromarray(noise_image(77)).save(folder / part / "unlabeled" / "1.png")
    (folder / "train" / "c" / "3.png").write_bytes(b"no image")
    done = pack(folder, tmp_path / "shards")
    assert [s.split(":")[0] for s in done.skipped] == ["train/c/3.png"]
    train, test = data.images(tmp_path / "shards"), data.images(tmp_path / "shards", part="test")
    assert (train.info.count, test.info.count) == (18, 19)
    assert (train.info.part, test.info.part) == ("train", "test")
    assert train.labeled == pytest.approx(17 / 18)
    labels = torch.cat([b.y for b in train.batches(32)])
    assert [int((labels == k).sum()) for k in (-1, 0, 1)] == [1, 8, 9]
    report = data.check(tmp_path / "shards")
    assert report.ok
    assert report.classes == {"c": 17, "d": 18}
    with pytest.raises(UserError, match="hides labels, which are not in memory"):
        data.images(tmp_path / "shards", labeled=0.5)


def test_pairs_halves_and_domains(make: Make, tmp_path: Path) -> None:
    folder = make(*(f"{side}/{i}.png" for side in "AB" for i in range(20)))
    assert pack(folder, tmp_path / "pairs").pairs
    whole, feed = (data.pairs(p, size=16, flip=False) for p in (folder, tmp_path / "pairs"))
    assert sorted(rows_of(*epoch(feed, 4))) == sorted(rows_of(*whole.batches(4)))
    assert data.check(tmp_path / "pairs").pairs == 20
    assert len(data.images(tmp_path / "pairs", size=16).info.classes) == 2  # decoded, as two sets

    wide = make(*(f"{i}.png" for i in range(20)), width=32, root="wide")
    pack(wide, tmp_path / "wide-shards")
    whole, feed = (data.pairs(p, size=16, flip=False) for p in (wide, tmp_path / "wide-shards"))
    assert sorted(rows_of(*epoch(feed, 4))) == sorted(rows_of(*whole.batches(4)))

    two = data.domains(f"{tmp_path / 'pairs'},{tmp_path / 'wide-shards'}", size=16)
    assert two.info.counts == {"a": 40, "b": 20}
    alone = make(*(f"{side}/{i}-{side}x.png" for side in "AB" for i in range(3)), root="unpaired")
    with pytest.raises(DataError, match="pack each by itself"):
        pack(alone, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_a_resumed_run_is_bitwise_the_uninterrupted_one(packed: tuple[Path, Path]) -> None:
    """An engine that takes over another's state, in the middle of an epoch."""
    options: dict[str, Any] = {
        "size": 16, "batch": 8, "seed": 5, "set": ["G.width=2", "D.width=2"],
    }  # fmt: skip

    def engine() -> Engine:
        run, feed, *_ = plan_run("dcgan", packed[1], "cpu", **options)
        return Engine(run, Prefetch(feed), "cpu")

    whole, first, second = engine(), engine(), engine()
    logs = [whole.step() for _ in range(8)]
    logs_of_parts = [first.step() for _ in range(4)]
    second.load_state(*first.state())
    logs_of_parts += [second.step() for _ in range(4)]
    assert logs == logs_of_parts
    for one, other in zip(whole.state()[1:], second.state()[1:], strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[k], other[k]) for k in one)
    for e in (whole, first, second):
        e.feed.close()
    shutil.rmtree(packed[1])
    pack(packed[0], packed[1], size=(16, 16))
    assert plan_run("dcgan", packed[1], "cpu", **options).feed.info.fingerprint != (
        whole.feed.info.fingerprint
    )


# ---------------------------------------------------------------- broken and hostile shards


def test_a_broken_shard_is_named_and_replaced_or_refused(
    packed: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, shards = packed
    expected = set(rows_of(*data.images(folder).batches(8)))
    shard = shards / "all-000003.tar"
    contents = bytearray(shard.read_bytes())
    contents[1000] ^= 1
    shard.write_bytes(contents)
    found = [rows_of(*epoch(data.images(shards))) for _ in range(2)]
    assert found[0] == found[1]
    assert set(found[0]) < expected
    assert len(found[0]) == COUNT
    assert capsys.readouterr().err.count("all-000003.tar is broken: it has the SHA-256") == 2
    with pytest.raises(DataError, match=r"all-000003\.tar is broken"):
        epoch(data.images(shards, strict=True))
    shard.unlink()
    feed = data.images(shards)
    assert "1 shard of shards cannot be read" in "".join(feed.info.notes)
    assert rows_of(*epoch(feed)) == found[0]
    with pytest.raises(DataError, match="1 shard of shards cannot be read"):
        data.images(shards, strict=True)
    for other in shards.glob("*.tar"):
        other.unlink()
    with pytest.raises(DataError, match="16 shards of shards cannot be read"):
        data.images(shards)


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, "/etc/passwd"
    return info


PNG = BytesIO()
Image.fromarray(noise_image(5)).save(PNG, "PNG")
HOSTILE: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = {
    "a name outside": [(member("../../../tmp/evil.png"), PNG.getvalue())],
    "an absolute name": [(member("/etc/passwd"), b"x")],
    "a symbolic link": [(member("0.png", kind=tarfile.SYMTYPE), b"")],
    "a hard link": [(member("0.png", kind=tarfile.LNKTYPE), b"")],
    "a device": [(member("0.png", kind=tarfile.CHRTYPE), b"")],
    "a long name": [(member("x" * 300 + ".png"), PNG.getvalue())],
    "a program": [(member("0.py"), b"print()")],
    "a label too many": [(member("0.png"), PNG.getvalue()), (member("0.cls"), b"99")],
    "a label that is no number": [(member("0.png"), PNG.getvalue()), (member("0.cls"), b"x" * 99)],
    "an image twice": [(member("0.png"), PNG.getvalue()), (member("0.jpg"), PNG.getvalue())],
    "no image": [(member("0.cls"), b"0")],
    "too many images": [(member(f"{i}.png"), PNG.getvalue()) for i in range(9)],
    "nothing": [],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_shard_with_a_true_hash_is_refused(
    kind: str, packed: tuple[Path, Path], tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    members = HOSTILE[kind]
    rewritten(packed[1], "all-000000.tar", [m for m, _ in members], *(c for _, c in members))
    with pytest.raises(DataError, match=r"all-000000\.tar is broken: it "):
        epoch(data.images(packed[1], strict=True))
    assert len(epoch(data.images(packed[1]))) == COUNT // 8
    assert sorted(tmp_path.rglob("*")) == before


@settings(max_examples=40)
@given(st.data())
def test_damaged_headers_never_hang_or_escape(draws: st.DataObject) -> None:
    """Bytes of a small shard are changed at random: an answer, or `Broken`."""
    with tarfile.open(fileobj=(memory := BytesIO()), mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("0.png", "0.cls", "1.png"):
            tar.addfile(member(name, 3), BytesIO(b"123"))
    contents = bytearray(memory.getvalue())
    for _ in range(draws.draw(st.integers(1, 4))):
        contents[draws.draw(st.integers(0, 2559))] = draws.draw(st.integers(0, 255))
    with tempfile.NamedTemporaryFile() as written:
        written.write(contents)
        written.flush()
        with open_regular(written.name) as file:
            try:
                found = scan(file, 2, 200, ("",))
            except Broken:
                return
    assert (found.starts + found.sizes <= len(contents)).all()


def test_an_image_that_cannot_be_decoded_is_replaced(packed: tuple[Path, Path]) -> None:
    name = "all-000000.tar"
    bomb = BytesIO()
    Image.new("1", (12000, 12000)).save(bomb, "PNG")  # 144 megapixels in 20 kB
    images = [PNG.getvalue(), bomb.getvalue(), b"no image"]
    rewritten(packed[1], name, [member(f"{i}.png") for i in range(3)], *images)
    assert len(rows_of(*epoch(data.images(packed[1], labels=False)))) == COUNT
    with pytest.raises(DataError, match="cannot be read"):
        epoch(data.images(packed[1], strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i["shards"][0].update(name="../all-000000.tar"), "shards.0.name"),
        (lambda i: i["shards"][0].update(name="/etc/passwd"), "shards.0.name"),
        (lambda i: i["shards"][0].update(images=99), "hold 136 images, not 40"),
        (lambda i: i["shards"].append(i["shards"][0]), "same name"),
        (lambda i: i["parts"]["all"].update(width=[0, 9]), "no possible size"),
        (lambda i: i.update(more=1), "more"),
        (lambda i: i.update(format="other"), "format"),
        (lambda i: i["parts"]["all"].update(labels=[40, 40]), "do not fit"),
    ],
)
def test_a_hostile_index_is_refused(
    change: Callable[[Any], object], message: str, packed: tuple[Path, Path]
) -> None:
    path = packed[1] / "shards.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    with pytest.raises(DataError, match=message):
        data.images(packed[1])
    path.write_text("no json")
    assert "not as `ganvas data pack` writes it" in str(data.check(packed[1]).problem)


# ---------------------------------------------------------------- addresses


class Server(ThreadingHTTPServer):
    """Serves a folder, and misbehaves as it is told to.

    faults: name -> faults of its next requests
    requests: names, in the order of their requests
    seconds: that its slow transfers have taken, by a clock of its own"""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.requests, self.seconds = folder, list[str](), 0.0
        self.faults: dict[str, list[str]] = defaultdict(list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        path, faults = self.server.folder / name, self.server.faults[name]
        if self.command == "GET":
            self.server.requests.append(name)
        fault = faults.pop(0) if faults and self.command == "GET" else ""
        if fault == "error" or not path.is_file():
            self.send_error(503 if fault else 404)
            return
        contents = path.read_bytes()
        sent = {"lie": bytes(len(contents)), "more": contents + b"x" * 99}.get(fault, contents)
        sent = sent[:700] if fault == "short" else sent
        first, last = 0, len(sent) - 1
        if wanted := self.headers.get("Range"):
            a, _, b = wanted.removeprefix("bytes=").partition("-")
            first, last = int(a), min(last, int(b or last))
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(sent)}")
        self.send_header("Last-Modified", "Sun, 01 Nov 2026 00:00:00 GMT")
        self.send_header("ETag", '"1"')
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "cut":
            self.wfile.write(sent[:1000])
            self.close_connection = True
            return
        step = 512 if fault == "slow" else len(sent)
        with contextlib.suppress(OSError):  # the client has given it up
            for at in range(first, last + 1, step):
                self.server.seconds += 61 * (fault == "slow")
                self.wfile.write(sent[at : min(at + step, last + 1)])
                self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(packed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(store, "PAUSES", (0.0, 0.0, 0.0, 0.0))
    with Server(packed[1]) as one:
        thread = threading.Thread(target=one.serve_forever, args=(0.01,))
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def test_an_address_gives_the_batches_of_the_folder(
    packed: tuple[Path, Path], server: Server, cache_folder: Path
) -> None:
    """Through errors, lies, cut and slow transfers; each shard is downloaded once."""
    expected = rows_of(*epoch(data.images(packed[1])))
    name = "all-00000{}.tar".format
    server.faults["shards.json"] = ["error", "error"]
    for i, fault in enumerate(["error", "lie", "more", "short", "cut", "slow"]):
        server.faults[name(i)] = [fault]
    feed = data.images(server.address)
    assert feed.info.source == server.address
    assert rows_of(*epoch(feed)) == expected
    assert rows_of(*epoch(data.images(f"{server.address}/shards.json"))) == expected
    tars = [n for n in server.requests if n.endswith(".tar")]
    assert len(tars) == 16 + 5  # one more for each failure; slow is none
    (damaged,) = list((cache_folder / "shards").glob("*.tar"))[:1]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert rows_of(*epoch(data.images(server.address))) == expected
    assert len([n for n in server.requests if n.endswith(".tar")]) == len(tars) + 1


def test_the_cache_is_bounded(
    make: Make, server: Server, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 shards, and room for 20."""
    shutil.rmtree(server.folder)
    pack(make(), server.folder, shard_mb=1e-4)
    expected = rows_of(*epoch(data.images(server.folder)))
    sizes = [p.stat().st_size for p in server.folder.glob("*.tar")]
    limit = 20 * max(sizes)
    monkeypatch.setenv("GANVAS_SHARD_CACHE", str(limit / 2**30))
    feed = data.images(server.address)
    for cursor in range(0, COUNT, 8):
        assert rows_of(feed.draw(cursor, 8, seed=0)) == expected[cursor : cursor + 8]
        held = [p.stat().st_size for p in (cache_folder / "shards").glob("*.tar")]
        assert 0 < sum(held) <= limit
    assert len(server.requests) == 41
    monkeypatch.setenv("GANVAS_SHARD_CACHE", "much")
    with pytest.raises(UserError, match="GANVAS_SHARD_CACHE=much; expected the GiB"):
        data.images(server.address)


def test_a_lying_server_is_told_from_one_that_does_not_answer(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "all-000002.tar"
    server.faults[name] = ["lie"] * 5
    assert len(rows_of(*epoch(data.images(server.address)))) == COUNT
    assert "all-000002.tar is broken: it has the SHA-256" in capsys.readouterr().err
    shutil.rmtree(store.cache_dir())
    for fault in ("error", "cut"):
        server.faults[name] = [fault] * 50
        with pytest.raises(DataError, match=rf"{name} cannot be read .*, in 5 attempts"):
            epoch(data.images(server.address))
    server.faults.clear()
    (server.folder / name).unlink()
    with pytest.raises(DataError, match=r"is broken: it is missing \(404 "):
        epoch(data.images(server.address, strict=True))
    (server.folder / "shards.json").unlink()
    with pytest.raises(DataError, match=r"there is no http://.*/shards\.json"):
        data.images(server.address)
    with pytest.raises(UserError, match="holds a user name or a password"):
        data.images(server.address.replace("//", "//me:secret@"))


def test_a_server_of_a_few_bytes_a_second_is_given_up_and_corrupts_nothing(
    server: Server, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of 512 bytes a minute are too few, unless the limit is lower."""
    monkeypatch.setattr(downloads, "time", SimpleNamespace(monotonic=lambda: server.seconds))
    remote = store.Remote(server.address)
    shard = parsed(remote.index(), "shards.json").shards[1]
    server.faults[shard.name] = ["slow"] * 5
    with pytest.raises(
        DataError, match=r"cannot be read \(it sent \d+ bytes within a .*5 attempts"
    ):
        remote.open(shard)
    assert [p.suffix for p in (cache_folder / "shards").iterdir()] == [".lock"]
    assert server.requests.count(shard.name) == 5
    monkeypatch.setattr(downloads, "SLOWEST", 1)
    server.faults[shard.name] = ["slow"]
    with remote.open(shard) as file:
        assert file.read() == (server.folder / shard.name).read_bytes()
    assert server.requests.count(shard.name) == 6


def test_an_s3_address_gives_the_batches_of_the_folder(
    packed: tuple[Path, Path], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    expected = rows_of(*epoch(data.images(packed[1])))
    server.faults["all-000001.tar"] = ["lie"]
    assert rows_of(*epoch(data.images("s3://bucket/shards"))) == expected
