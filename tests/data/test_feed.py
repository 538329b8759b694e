"""Draws are a pure function of a cursor, and a cache entry is complete or absent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganvas import data
from ganvas.core import Batch, guards
from ganvas.core.errors import UserError
from ganvas.core.rng import Rows
from ganvas.data import cache
from ganvas.data.feed import Feed
from ganvas.data.info import Info, Task
from ganvas.data.prefetch import Prefetch

Make = Callable[..., Path]


def numbered(count: int, *, flip: bool = False, room: int = 0, task: Task = "images") -> Feed:
    """Images 4x6 whose pixels are all the image's number."""
    sides = {
        "images": {"x": count},
        "domains": {"a": count, "b": count + 3},
        "pairs": {"ab": count},
    }[task]
    pixels = {}
    for k, n in sides.items():
        one = np.arange(n, dtype=np.uint8)[:, None, None, None]
        pixels[k] = np.broadcast_to(one, (n, 4 + room, 6 + room, 2 if k == "ab" else 1)).copy()
    info = Info(task, "numbers", "", "all", 1, 4, 6, max(sides.values()), "")
    return Feed(info, pixels, np.arange(count) if task == "images" else None, flip=flip)


def noise(task: Task = "images") -> Feed:
    """Noise 12x12, crops 8x8, flips: every part of a draw shows in the result."""
    feed = numbered(11, flip=True, task=task)
    rng = np.random.default_rng(0)
    pixels = {
        k: rng.integers(0, 256, (len(p), 12, 12, p.shape[3]), dtype=np.uint8)
        for k, p in feed._pixels.items()
    }
    info = Info(task, "noise", "", "all", 1, 8, 8, 11, "")
    return Feed(info, pixels, feed._labels, flip=True)


def stored(feed: Feed, stream: str = "x") -> np.ndarray:
    """The feed's own pixels, to be changed."""
    pixels = feed._pixels[stream]
    assert isinstance(pixels, np.ndarray)
    return pixels


def which(batch: Batch, name: str = "x") -> list[int]:
    return ((getattr(batch, name)[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def equal(one: Batch, other: Batch) -> bool:
    names = one._fields.keys()
    return names == other._fields.keys() and all(
        torch.equal(getattr(one, k), getattr(other, k)) for k in names
    )


TASKS: list[Task] = ["images", "pairs", "domains"]


# ---------------------------------------------------------------- drawing


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=20, deadline=None)
@given(
    cursor=st.integers(0, 10**12),
    n=st.integers(1, 30),
    cut=st.integers(0, 30),
    seed=st.integers(0, 2**40),
)
def test_a_draw_is_pure_and_splits_into_rows(task: Task, cursor: int, n: int, cut: int, seed: int):
    feed, cut = noise(task), min(cut, n)
    whole = feed.draw(cursor, n, seed=seed)
    assert equal(whole, feed.draw(cursor, n, seed=seed))
    for start, stop in ((0, cut), (cut, n)):
        if start < stop:
            assert equal(
                feed.draw(cursor, n, seed=seed, rows=Rows(start, stop, n)), whole[start:stop]
            )
    if cut < n:
        assert equal(feed.draw(cursor + cut, n - cut, seed=seed), whole[cut:]), (
            "positions count, not calls"
        )


def test_every_epoch_holds_every_image_once():
    feed = numbered(10)
    stream = which(feed.draw(0, 40, seed=3))
    epochs = [stream[i : i + 10] for i in range(0, 40, 10)]
    assert all(sorted(e) == list(range(10)) for e in epochs)
    assert len({tuple(e) for e in epochs}) == 4, "each in an order of its own"
    assert which(feed.draw(0, 10, seed=4)) != epochs[0]
    odd = [i for part in (which(feed.draw(c, 7, seed=3)) for c in range(0, 35, 7)) for i in part]
    assert odd == stream[:35], "batches may cross from one epoch into the next"


def test_domains_of_different_lengths_are_both_used():
    feed = numbered(4, task="domains")  # a: 4, b: 7
    batch = feed.draw(0, 28, seed=0)
    a, b = which(batch, "a"), which(batch, "b")
    assert all(sorted(a[i : i + 4]) == [0, 1, 2, 3] for i in range(0, 28, 4))
    assert all(sorted(b[i : i + 7]) == list(range(7)) for i in range(0, 28, 7))
    assert len(set(zip(a, b))) > 12, "every image meets others"


def test_labels_go_with_their_images():
    batch = numbered(10).draw(5, 20, seed=1)
    assert batch.y.tolist() == which(batch)
    assert batch.y.dtype == torch.int64


def test_range_and_shape():
    feed = numbered(256)
    x = feed.draw(0, 256, seed=0).x
    assert x.shape == (256, 1, 4, 6)
    assert x.dtype == torch.float32
    assert (x.min(), x.max()) == (-1, 1)


def test_flips_are_fair_and_drawn_anew():
    feed = numbered(4, flip=True)
    stored(feed)[:, :, 0] = 255  # the left edge is white
    x = feed.draw(0, 4000, seed=0).x
    left = x[:, 0, 0, 0] == 1
    assert ((x[:, 0, 0, 5] == 1) == ~left).all()
    assert 0.46 < left.float().mean() < 0.54
    assert not (feed.draw(0, 40, seed=0).x == feed.draw(4, 40, seed=0).x).all()
    assert (feed.fixed(4).x[:, 0, 0, 0] == 1).all(), "evaluation has no flips"


def test_turns_are_fair_and_reach_every_orientation():
    feed = noise()
    feed.turn, plain = True, noise()
    counts = torch.zeros(4)
    for one, other in zip(feed.draw(0, 800, seed=0).x, plain.draw(0, 800, seed=0).x, strict=True):
        same = [torch.equal(one, torch.rot90(other, k, (1, 2))) for k in range(4)]
        counts += torch.tensor(same)
    assert counts.sum() == 800
    assert counts.min() > 160
    assert equal(feed.fixed(4), plain.fixed(4)), "evaluation has no turns"


def test_crops_reach_every_place():
    feed = numbered(3, room=2)
    grid = np.arange(48, dtype=np.uint8).reshape(6, 8)
    stored(feed)[:] = grid[None, :, :, None]
    x = feed.draw(0, 900, seed=0).x
    corners, counts = np.unique(which(Batch(x=x)), return_counts=True)
    assert corners.tolist() == [0, 1, 2, 8, 9, 10, 16, 17, 18]
    assert counts.min() > 60
    assert which(feed.fixed(3)) == [9, 9, 9], "evaluation crops the center"
    assert feed.raw()["x"].shape == (3, 4, 6, 1)
    assert feed.raw()["x"][0, 0, 0, 0] == 9


def test_pairs_share_crop_and_flip():
    feed = noise("pairs")
    stored(feed, "ab")[..., 1] = 255 - stored(feed, "ab")[..., 0]
    batch = feed.draw(0, 40, seed=0)
    assert torch.allclose(batch.a, -batch.b, atol=1e-6)


def test_resolution_is_an_average_over_areas():
    feed = numbered(5)
    stored(feed)[:] = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 1), dtype=np.uint8)
    full, half = feed.draw(0, 5, seed=0).x, feed.draw(0, 5, seed=0, resolution=3).x
    assert half.shape == (5, 1, 2, 3)
    assert torch.allclose(half, full.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)), atol=1e-6)
    assert torch.equal(feed.draw(0, 5, seed=0, resolution=6).x, full)


def test_fixed_is_fixed_and_without_repeats():
    feed = numbered(50)
    got = which(feed.fixed(30))
    assert len(set(got)) == 30
    assert got == which(feed.fixed(30))
    assert got != which(feed.fixed(30, seed=1))
    assert sorted(which(feed.fixed(99))) == list(range(50))


def test_batches_pass_through_once():
    feed = numbered(10)
    assert [which(b) for b in feed.batches(4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [which(b) for b in feed.batches(4, 6)] == [[0, 1, 2, 3], [4, 5]]
    two = numbered(4, task="domains")
    assert [i for part in (which(b, "b") for b in two.batches(3, side="b")) for i in part] == list(
        range(7)
    )
    assert [i for part in (which(b, "b") for b in two.batches(3)) for i in part] == list(range(4))


# ---------------------------------------------------------------- prefetch


@pytest.mark.parametrize("worth", [0.0, 1e9], ids=["by a thread", "at once"])
@pytest.mark.parametrize("task", TASKS)
def test_prefetch_changes_nothing(task: Task, worth: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ganvas.data.prefetch.WORTH_A_THREAD", worth)
    plain, ahead = noise(task), Prefetch(noise(task))
    calls = [
        (0, 4, {}),
        (4, 4, {}),
        (8, 4, {}),
        (8, 4, {}),
        (12, 5, {}),
        (3, 5, {"resolution": 4}),
        (8, 5, {"resolution": 4}),
    ]
    calls += [(13, 4, {"rows": Rows(1, 3, 4)}), (17, 4, {"rows": Rows(1, 3, 4)})]
    for cursor, n, more in calls:
        assert equal(plain.draw(cursor, n, seed=1, **more), ahead.draw(cursor, n, seed=1, **more))
    assert ahead.info is ahead.feed.info
    ahead.close()


def test_prefetch_draws_ahead_and_errors_reach_the_caller(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ganvas.data.prefetch.WORTH_A_THREAD", 0.0)
    feed = noise()
    calls = []
    pick = feed.pick

    def spy(cursor: int, n: int, **more):
        calls.append(cursor)
        if cursor == 8:
            raise OSError("the disk went away")
        return pick(cursor, n, **more)

    feed.pick = spy  # type: ignore[method-assign]
    ahead = Prefetch(feed)
    for cursor in (0, 4):
        ahead.draw(cursor, 4, seed=0)
    with pytest.raises(OSError, match="went away"):
        ahead.draw(8, 4, seed=0)
    ahead.close()
    assert calls == [0, 4, 8], "every draw was made once, before it was asked for"


# ---------------------------------------------------------------- the cache


def entries(folder: Path) -> list[str]:
    return sorted(f.name for f in (folder / "decoded").iterdir())


def test_decoded_once(make: Make, cache_folder: Path, monkeypatch: pytest.MonkeyPatch):
    folder = make("cat/1.png", "dog/2.png")
    first = data.images(folder)
    monkeypatch.setattr(cache, "_build", lambda *_: pytest.fail("decoded again"))
    again = data.images(folder)
    assert again.info == first.info
    assert equal(again.fixed(2), first.fixed(2))


def test_the_cache_follows_the_files_and_the_options(make: Make, cache_folder: Path):
    folder = make("cat/1.png", "dog/2.png")
    prints = {data.images(folder).info.fingerprint}
    prints.add(data.images(folder, size=8).info.fingerprint)
    prints.add(data.images(folder, channels=1).info.fingerprint)
    make("cat/1.png", "dog/2.png", "cat/3.png")
    prints.add(data.images(folder).info.fingerprint)
    (folder / "cat/3.png").rename(folder / "dog/3.png")
    prints.add(data.images(folder).info.fingerprint)
    os.utime(folder / "dog/3.png", ns=(1, 1))
    prints.add(data.images(folder).info.fingerprint)
    assert len(prints) == 5, "all differ, but for the touched file's, whose pixels are the same"
    assert len(entries(cache_folder)) == 6


def test_the_fingerprint_is_of_the_pixels_not_the_place(make: Make):
    one, other = make("1.png", "2.png", root="one"), make("1.png", "2.png", root="other")
    assert data.images(one).info.fingerprint == data.images(other).info.fingerprint


def test_large_sets_are_mapped(make: Make, monkeypatch: pytest.MonkeyPatch):
    folder = make("1.png", "2.png", "3.png")
    held = data.images(folder)
    monkeypatch.setattr(cache, "IN_MEMORY", 100)
    mapped = data.images(folder)
    assert isinstance(mapped.raw()["x"].base, np.memmap) or isinstance(
        mapped._pixels["x"], np.memmap
    )
    assert not isinstance(held._pixels["x"], np.memmap)
    assert equal(held.draw(0, 7, seed=0), mapped.draw(0, 7, seed=0))


def test_damaged_entries_are_built_again(make: Make, cache_folder: Path):
    folder = make("1.png", "2.png")
    good = data.images(folder)
    (entry,) = (cache_folder / "decoded").iterdir()
    whole = (entry / "x.npy").read_bytes()
    (entry / "x.npy").write_bytes(whole[: len(whole) // 2])
    assert equal(data.images(folder).fixed(2), good.fixed(2))
    assert (entry / "x.npy").read_bytes() == whole
    (entry / "entry.json").unlink()
    assert equal(data.images(folder).fixed(2), good.fixed(2))
    assert len(entries(cache_folder)) == 1


def test_leftovers_are_ignored_and_old_ones_removed(make: Make, cache_folder: Path):
    for name, age in (("new.tmp", 10), ("old.tmp", 90_000)):
        left = cache_folder / "decoded" / name
        left.mkdir(parents=True)
        (left / "x.npy").write_bytes(b"half")
        os.utime(left, (time.time() - age, time.time() - age))
    assert data.images(make("1.png")).info.count == 1
    assert [e for e in entries(cache_folder) if e.endswith(".tmp")] == ["new.tmp"]


def test_two_builders_do_not_meet(make: Make, cache_folder: Path, monkeypatch: pytest.MonkeyPatch):
    folder = make("1.png", "2.png")
    build = cache._build

    def slow(*args):
        monkeypatch.setattr(cache, "_build", build)
        inner.append(data.images(folder))  # another process is faster
        return build(*args)

    inner: list[Feed] = []
    monkeypatch.setattr(cache, "_build", slow)
    outer = data.images(folder)
    assert equal(outer.fixed(2), inner[0].fixed(2))
    assert len(entries(cache_folder)) == 1


def test_killed_while_building(make: Make, cache_folder: Path):
    folder = make(*[f"{i:03}.png" for i in range(60)], width=64, height=64)
    code = (
        "import sys, threading\nfrom ganvas import data\nfrom ganvas.data.trees import Folder\n"
        "load = Folder.load\n"
        "def stuck(self, name):\n"
        "    if '030' in name:\n        print(flush=True); threading.Event().wait()\n"
        "    return load(self, name)\n"
        "Folder.load = stuck\ndata.images(sys.argv[1])\n"
    )
    source = Path(data.__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(source)}
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, env=env, text=True
    )
    assert child.stdout
    assert child.stdout.readline() == "\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert all(e.endswith(".tmp") for e in entries(cache_folder)), "nothing looks finished"
    assert entries(cache_folder)
    assert data.images(folder).info.count == 60


def test_a_cache_that_cannot_be_written(
    make: Make, cache_folder: Path, capsys: pytest.CaptureFixture[str]
):
    cache_folder.write_text("a file where the folder should be")
    feed = data.images(make("1.png", "2.png"))
    assert feed.info.count == 2
    warning = capsys.readouterr().err
    assert "cannot be written (Not a directory)" in warning
    assert warning.count("\n") == 1, "one plain line, without a path and a line of the program"
    cache_folder.unlink()
    assert equal(feed.fixed(2), data.images(make()).fixed(2))
    assert feed.info == data.images(make()).info


def test_a_full_disk_costs_the_cache_only(
    make: Make,
    cache_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    add = cache._Writer.add

    def full(self: cache._Writer, row: np.ndarray) -> bytes:
        if self.file:
            raise OSError(28, "No space left on device")
        return add(self, row)

    with monkeypatch.context() as m:
        m.setattr(cache._Writer, "add", full)
        feed = data.images(make("1.png"))
    assert "No space left" in capsys.readouterr().err
    assert entries(cache_folder) == []
    assert equal(feed.fixed(1), data.images(make()).fixed(1))


def test_data_larger_than_memory_are_refused(
    make: Make, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    cache_folder.write_text("a file where the folder should be")
    folder = make("1.png")
    monkeypatch.setattr(guards, "memory", lambda: 1000)
    with pytest.raises(UserError, match="more than half of this machine's memory"):
        data.images(folder)


@pytest.mark.parametrize("file", ["x.npy", "x.labels.npy", "entry.json"])
def test_one_flipped_bit_in_the_cache_is_noticed(
    make: Make,
    cache_folder: Path,
    file: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    folder = make("cat/1.png", "dog/2.png", width=4, height=4)
    (folder / "dog" / "3.png").write_text("x")
    good = data.images(folder)
    (entry,) = (cache_folder / "decoded").iterdir()
    whole = (entry / file).read_bytes()
    places = range(0, 8 * len(whole), 61)
    if file == "x.npy":  # mapped arrays are checked, too
        monkeypatch.setattr(cache, "IN_MEMORY", 0)
    for at in places:
        hurt = bytearray(whole)
        hurt[at // 8] ^= 1 << at % 8
        (entry / file).write_bytes(hurt)
        again = data.images(folder)
        assert again.info == good.info
        assert equal(again.fixed(2), good.fixed(2))
        if (
            "are decoded again" not in capsys.readouterr().err
        ):  # numpy passes over the padding of its header
            assert hurt[:128] != whole[:128]
            assert file != "entry.json"


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "3", '{"streams": 3}', '{"streams": {"../x": 1}}', "[" * 3000]
)
def test_an_entry_of_another_form_is_built_again(
    make: Make, cache_folder: Path, text: str, capsys: pytest.CaptureFixture[str]
):
    good = data.images(make("1.png"))
    (entry,) = (cache_folder / "decoded").iterdir()
    (entry / "entry.json").write_text(text)
    assert data.images(make()).info == good.info
    assert "are damaged" in capsys.readouterr().err


def test_fingerprints_are_those_of_earlier_versions(make: Make):
    """Runs of earlier versions resume: fingerprints must stay the recorded ones."""
    folder = make("cat/1.png", "dog/2.png", width=4, height=4)
    assert data.images(folder).info.fingerprint == "9283618cdd5e343ceed190bbdb3ac028"
    pair = make("A/1.png", "B/1.png", width=8, height=8, root="pairs")
    assert data.pairs(pair, size=4, load=6).info.fingerprint == "daefffe35997ac583cc0ca660d9e5326"
    assert data.images(pair).info.fingerprint == "c7220d469e16cd63bd56ead6842862c2"
    assert data.images("digits", size=32).info.fingerprint == "95f9959802f32614cf1dc8e984d191db"


@pytest.mark.parametrize("home", ["~nobody-of-this-name/x", None])
def test_no_home_for_the_cache_is_one_line(monkeypatch: pytest.MonkeyPatch, home: str | None):
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    monkeypatch.setenv("GANVAS_CACHE", home) if home else monkeypatch.delenv("GANVAS_CACHE")
    with pytest.raises(UserError, match="set GANVAS_CACHE to a folder"):
        data.images("digits")


def test_many_images_by_threads_keep_their_order(make: Make):
    names = [f"{i:03}.png" for i in range(150)]
    folder = make(*names, width=8, height=8)
    (folder / "070.png").write_text("x")
    feed = data.images(folder)
    kept = [i for i in range(150) if i != 70]
    expected = np.stack(
        [np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8) for i in kept]
    )
    assert (feed.raw()["x"] == expected).all()


def test_no_warnings_on_the_way(make: Make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        feed = data.domains(make("A/1.png", "B/1.png", "B/2.png"), size=8, load=10)
        feed.draw(0, 3, seed=0)


@pytest.mark.parametrize("task", TASKS)
def test_a_device_draws_what_the_processor_draws(task: Task, monkeypatch: pytest.MonkeyPatch):
    """The path of accelerators, on the CPU: the device gathers, crops, mirrors and turns."""
    plain, there = noise(task), noise(task)
    plain.turn = there.turn = True
    monkeypatch.setattr(there, "_lies_on", lambda device: True)
    for cursor in (0, 5, 17):
        assert equal(plain.draw(cursor, 9, seed=2), there.draw(cursor, 9, seed=2))


def test_only_data_that_fit_lie_on_a_device(monkeypatch: pytest.MonkeyPatch):
    feed = noise()
    assert [feed._lies_on(d) for d in (None, "cpu", "cuda", "mps")] == [False, False, True, True]
    assert feed._on_device("x", "meta") is feed._on_device("x", "meta"), "copied once"
    monkeypatch.setattr("ganvas.data.feed.ON_DEVICE", 100)
    assert not feed._lies_on("cuda")
