"""bench/quality.py at toy size: two sides, the same data, the same processor time."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gallery
import gallery_figures
import peers
import pytest
import quality
import torch
from gallery import Data, Training
from torch import Tensor
from toys import SMALL, toy_images

import docs
from ganvas.core import Batch

SIZE = 16
COST = {"reference": 3.0, "ganvas": 2.0}  # seconds of a step, by the clock of these tests
RECIPES = {"noise": "dcgan", "pairs": "pix2pix", "domains": "cyclegan"}
MEASURES = {"noise": ("frechet",), "pairs": ("lpips",), "domains": ("frechet_a", "frechet_b")}
# A reference that is laid out as pytorch/examples: its classes and the body of its loop
# are run, and nothing else of it. It notes the first image of every batch.
MAIN = """
import torchvision.datasets  # is not installed

class Generator(nn.Module):
    def __init__(self, ngpu):
        super().__init__()
        self.main = nn.Sequential(nn.ConvTranspose2d(nz, nc, 64), nn.Tanh())

    def forward(self, z):
        return self.main(z)

class Discriminator(nn.Module):
    def __init__(self, ngpu):
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(nc, 1, 64), nn.Sigmoid())

    def forward(self, x):
        return self.main(x).flatten()

def weights_init(m):
    pass

for i, data in enumerate(dataloader):
    netD.zero_grad()
    fake = netG(torch.randn(len(data[0]), nz, 1, 1))
    errD = criterion(netD(data[0]), torch.ones(len(fake)))
    errG = criterion(netD(fake), torch.ones(len(fake)))
    (errD + errG).backward()
    optimizerG.step()
    optimizerD.step()
    with open("FILE", "a") as file:
        file.write(f"{data[0][0].mean().item()}\\n")
    if i % 100 == 0:
        raise SystemExit("this is not part of the step")
"""


class Toy(peers.Peer):
    """A reference that notes its batches and returns gray images."""

    seen: list[Tensor]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen = []

    def step(self) -> dict[str, float]:
        return {}

    def load(self, batch: Batch) -> None:
        x = batch.x if "x" in batch else batch.a
        assert x.is_contiguous()
        self.seen.append(x)

    def sample(self, n: int) -> Tensor:
        return torch.rand(n, self.channels, SIZE, SIZE) - 0.5

    def translate(self, x: Tensor, to: str) -> Tensor:
        return x / 2

    def feed(self) -> peers.Fixed:
        raise NotImplementedError


class Here:
    """A side in this process, with a clock of its own."""

    def __init__(self, name: str, args: argparse.Namespace, clock: Any, turns: list[str]) -> None:
        args = argparse.Namespace(**{**vars(args), "images": args.images or 100})
        self.name, self.clock, self.turns = name, clock, turns
        self.side = {"reference": quality.Reference, "ganvas": quality.Ganvas}[name](args)
        self.ready = json.loads(json.dumps(self.side.facts))
        plain = self.side.step

        def step(share: float) -> None:
            plain(share)
            clock.now += COST[name]

        self.side.step = step

    def ask(self, request: str) -> dict[str, Any]:
        name, arguments = json.loads(request)
        self.turns += [self.name] if name == "train" else []
        answer = getattr(self.side, name)(**arguments)
        self.clock.now += 1000 if name == "write" else 0  # does not count
        return answer

    def close(self) -> None:
        pass


class Bench:
    """The toy case `toy` of a task in this process."""

    def __init__(self, task: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small = SMALL[RECIPES[task]]
        for i, part in enumerate(("train", "test")):
            for side in ("A", "B"):  # with one domain: labels
                toy_images(folder / "source" / part / side, 12, channels=1, seed=i)
        row = Training(RECIPES[task], 1, "toys", SIZE, tuple(small))
        monkeypatch.setitem(gallery.DATA, "toys", Data("toys", True, "Blobs.", source="none"))
        monkeypatch.setitem(gallery.TABLE, "toy", row)
        case = quality.Case(Toy, "toy/toy", task, "toy", MEASURES[task], 4)
        monkeypatch.setitem(quality.CASES, "toy", case)
        monkeypatch.setattr(gallery_figures, "lpips", lambda *_: lambda a, b: (a - b).abs().mean(1))
        self.clock, self.turns, self.workers = SimpleNamespace(now=0.0), [], {}
        monkeypatch.setattr(quality, "time", SimpleNamespace(process_time=lambda: self.clock.now))
        monkeypatch.setattr(quality, "start", self.start)
        self.changed: dict[str, dict[str, Any]] = {}  # arguments of one side
        self.folder, self.out = folder, folder / "quality.json"
        self.weights = ["--weights", str(folder)] if task == "pairs" else []

    def start(self, side: str, args: argparse.Namespace, _: Any) -> Here:
        mine = argparse.Namespace(**{**vars(args), **self.changed.get(side, {})})
        self.workers[side] = Here(side, mine, self.clock, self.turns)
        return self.workers[side]

    def run(self, *more: str) -> dict[str, Any]:
        quality.main([
            "toy", "--peer", str(self.folder), "--data", f"toys={self.folder / 'source'}",
            "--minutes", "0.2,0.5", "--slice", "6", "--images", "96", *self.weights,
            "--runs", str(self.folder / "runs"), "--out", str(self.out), *more,
        ])  # fmt: skip
        return json.loads(self.out.read_text())["toy"]


@pytest.mark.parametrize("task", RECIPES)
def test_both_sides_get_the_same_time_and_data(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(task, tmp_path, monkeypatch)
    entry = bench.run()
    for side in quality.SIDES:
        marks = entry["sides"][side]["marks"]
        assert [marks[m]["seconds"] for m in ("0.2", "0.5")] == [12, 30]  # 0.2 and 0.5 minutes
        assert marks["0.5"]["steps"] == 30 / COST[side]
    assert bench.turns == ["reference", "ganvas"] * 5  # 6, 12; 18, 24, 30 seconds
    assert entry["turns"] == 5
    reference, ganvas = (bench.workers[side].side for side in quality.SIDES)
    assert reference.feed.info.fingerprint == ganvas.feed.info.fingerprint
    for i, x in enumerate(reference.peer.seen):
        drawn = ganvas.feed.draw(4 * i, 4, seed=0)
        assert torch.equal(x, drawn.x if task != "domains" else drawn.a)
    for side in quality.SIDES:
        for m, ratio in entry["ratios"].items():
            mark = entry["sides"][side]["marks"][m]
            values = [mark["figures"][name] for name in MEASURES[task]]
            assert mark["distance"] == pytest.approx(sum(values) / len(values))
            both = [entry["sides"][s]["marks"][m]["distance"] for s in quality.SIDES]
            assert ratio == pytest.approx(both[1] / both[0])
        assert entry["sides"][side]["untrained"] > 0
    assert entry["real"]["real"]["distance"] > 0
    assert entry["data"]["training"]["part"] == "train"
    assert entry["data"]["test"]["part"] == "test"


def test_sides_with_other_data_or_minutes_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench("noise", tmp_path, monkeypatch)
    other = tmp_path / "other"
    for part in ("train", "test"):
        toy_images(other / part / "A", 12, channels=1, seed=9)
    for changed in ({"source": str(other)}, {"minutes": [0.2, 1.0]}):
        bench.changed["reference"] = changed
        word = "data" if "source" in changed else "minutes"
        with pytest.raises(SystemExit, match=f"{word} of the reference are .*, of ganvas "):
            bench.run()
    assert not bench.out.exists()


def test_a_case_is_kept_and_a_training_is_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench("noise", tmp_path, monkeypatch)
    entry = bench.run()
    monkeypatch.setattr(quality, "start", None)  # nothing may be trained
    monkeypatch.setattr(quality, "Judge", None)
    assert bench.run() == entry
    monkeypatch.undo()
    bench = Bench("noise", tmp_path, monkeypatch)
    bench.out.write_text(json.dumps({"other": {}}))  # as if the judging had been interrupted
    monkeypatch.setattr(quality, "start", None)
    again = bench.run()
    assert again["sides"] == entry["sides"]
    assert "other" in json.loads(bench.out.read_text())


def test_gray_images_are_shown_to_networks_for_color(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench("noise", tmp_path, monkeypatch)
    case = quality.replace(quality.CASES["toy"], channels=3)
    monkeypatch.setitem(quality.CASES, "toy", case)
    entry = bench.run()
    assert entry["sides"]["reference"]["channels"] == 3
    seen = bench.workers["reference"].side.peer.seen[0]
    assert seen.shape == (4, 3, SIZE, SIZE)
    assert torch.equal(seen[:, :1], seen[:, 2:])
    assert bench.workers["reference"].side.sampled(2).shape == (2, 1, SIZE, SIZE)


def test_processes_train_and_the_page_shows_their_record(tmp_path: Path) -> None:
    """The real thing with a small stand-in for a checkout: three processes."""
    source, notes, checkout = tmp_path / "source", tmp_path / "notes", tmp_path / "checkout"
    for i, part in enumerate(("train", "test")):
        for label in ("one", "two"):
            toy_images(source / part / label, 8, channels=1, seed=i)
    (checkout / "dcgan").mkdir(parents=True)
    (checkout / "dcgan" / "main.py").write_text(MAIN.replace("FILE", str(notes)))
    out = tmp_path / "bench" / "results" / "quality.json"
    quality.main([
        "dcgan", "--peer", str(checkout), "--peer-commit", "c0ffee", "--images", "200",
        "--data", f"fashion={source}", "--minutes", "0.005,0.01", "--slice", "0.2",
        "--set", "G.width=2", "D.width=2", "batch=8",
        "--runs", str(tmp_path / "runs"), "--out", str(out),
    ])  # fmt: skip
    entry = json.loads(out.read_text())["dcgan"]
    assert entry["reference"] == {"repository": "pytorch/examples", "commit": "c0ffee"}
    for side in quality.SIDES:
        first, last = (entry["sides"][side]["marks"][m] for m in ("0.005", "0.01"))
        assert 0.3 <= first["seconds"] < last["seconds"]
        assert last["seconds"] >= 0.6
        assert last["images"] == entry["sides"][side]["batch"] * last["steps"]
    assert entry["sides"]["ganvas"]["settings"][-4:-2] == ["ema.images=16", "G.width=2"]
    means = [float(line) for line in notes.read_text().split()]
    assert len(means) == entry["sides"]["reference"]["marks"]["0.01"]["steps"]
    feed = gallery.run_of(
        quality.replace(gallery.TABLE["dcgan_fashion"], size=64), str(source), 1
    ).data()
    for i, mean in enumerate(means[:3]):
        drawn = feed.draw(64 * i, 1, seed=0).x
        assert mean == pytest.approx(float(drawn.mean()), abs=1e-6)

    for changed in ("0.005", "0.01"):  # names of a record have no points, as minutes have
        text = out.read_text().replace(f'"{changed}"', json.dumps(changed[2:]))
        out.write_text(text)
    page = tmp_path / "page.md.in"
    page.write_text(f"# Performance\n\nBefore.\n\n{quality.NEXT}\n\nAfter.\n")
    for _ in range(2):  # the second replaces the section of the first
        quality.report(out, page)
    template = page.read_text(encoding="utf-8")
    assert template.count(quality.HEADING) == 1
    assert docs.problems(template, True, tmp_path) == []
    shown = docs.render(template, tmp_path)
    ratio = json.loads(out.read_text())["dcgan"]["ratios"]["01"]
    assert f"| {ratio:.2f} |" in shown
    assert str(tmp_path) not in shown


def test_wrong_calls_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    calls = {
        ("dcgan",): "give a case and --peer",
        ("dcgan", "--peer", ".", "--minutes", "15,5"): "--minutes are above 0 and increase",
        ("dcgan", "--peer", ".", "--data", "cats=."): "--data takes NAME=PATH for letters",
        ("pix2pix", "--peer", "."): "measured by LPIPS: give --weights",
        ("cyclegan", "--peer", ".", "--without-labels"): "uses no labels",
    }
    for call, reason in calls.items():
        with pytest.raises(SystemExit):
            quality.main(call)
        assert reason in capsys.readouterr().err
    with pytest.raises(SystemExit, match="there is no record"):
        quality.report(Path("none.json"), Path("none.md.in"))


def test_every_case_trains_a_row_of_the_gallery_that_can_be_built() -> None:
    for name, case in quality.CASES.items():
        args = quality.parsed([name, "--peer", ".", "--weights", "."])
        row = quality.row_of(args)
        settings = gallery.settings_of(row, 90_000)
        assert not any("{" in setting for setting in settings)
        run = gallery.run_of(row, "data", 90_000)
        assert run.batch > 0
        assert case.minutes[:2] == (5, 15)
