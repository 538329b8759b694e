from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from ganvas.core.errors import UserError
from ganvas.evaluation.report import neighbour_sheet, write_report
from ganvas.media import encode, provenance
from ganvas.media import grid as media

RUN = {
    "recipe": "dcgan",
    "paper": "Unsupervised Representation Learning. Radford et al., 2015, arXiv:1511.06434.",
    "command": "ganvas train dcgan 'my <photos>' --out runs/p --set D.width=32",
    "images": 6400,
    "batch": 64,
    "seed": 0,
    "shape": {"channels": 1, "height": 8, "width": 8, "classes": 2},
    "parameters": {"G": 1200, "D": 3400},
    "data": {"source": "/data/my <photos>", "count": 1797, "classes": 2, "fingerprint": "0123abcd"},
    "run": {"optim": {"D": {"lr": 0.0002, "betas": [0.5, 0.999]}}},
    "versions": {"torch": "2.13.0"},
    "machine": {"processor": "a processor", "cores": 2},
    "commit": None,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "samples").mkdir()
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    with (tmp_path / "log.jsonl").open("w") as log, (tmp_path / "timing.jsonl").open("w") as timing:
        for step in range(1, 101):
            line = {
                "step": step,
                "images": step * 64,
                "D/loss": 1 / step,
                "G/loss": step / 50,
                "D/penalty <b>": 0.1,
            }
            print(json.dumps(line), file=log)
            print(
                json.dumps(
                    {"images": step * 64, "seconds": step * 37.0, "images_per_second": 512.3}
                ),
                file=timing,
            )
    with (tmp_path / "measures.jsonl").open("w") as measures:
        for images, value in ((640, 9.0), (3200, 0.125), (6400, 0.5)):
            print(
                json.dumps({"images": images, "frechet": value, "extractor": "random-conv-v1"}),
                file=measures,
            )
    for images in (640, 3200, 6400):
        grid = media.grid(torch.rand(16, 1, 8, 8) * 2 - 1)
        encode.save(grid, tmp_path / "samples" / f"{images:09d}.png", images_trained=images)
    sheet = neighbour_sheet(
        torch.zeros(4, 1, 8, 8), torch.ones(9, 1, 8, 8), torch.tensor([[0, 1, 2]] * 4)
    )
    encode.save(sheet, tmp_path / "neighbours.png")
    record = {
        "values": {"frechet": 0.375, "kernel": 2e-4, "precision": 0.75},
        "intervals": {"kernel": [1e-4, 3e-4]},
        "protocol": {"extractor": "random-conv-v1", "fake": {"count": 500}},
        "notes": ["Only <500> images."],
    }
    shares = {"0": 0.375, "1": 0.5}
    record["judge"] = {
        "real_confident": 0.8,
        "fake_confident": 0.6,
        "ratio": 0.75,
        "class_shares": shares,
    }
    (tmp_path / "measure.json").write_text(json.dumps(record))
    return tmp_path


class Page(HTMLParser):
    """The content that a browser would load and show; rejects unbalanced tags."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []
        self.loaded: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            self.pictures.append(given["src"] or "")
            assert given.get("alt")
        self.loaded += [given[k] or "" for k in ("src", "data", "poster", "srcset") if k in given]
        self.loaded += (
            [given["href"] or ""] if tag in ("link", "image", "use") and "href" in given else []
        )
        assert tag != "script"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_shows_the_run(run: Path) -> None:
    shown = page(run)
    for words in (
        "dcgan",
        "Radford et al., 2015",
        "1 h 01 min",
        "512",
        "1,797",
        "8×8",
        "0.125",  # the best of the quality curve
        "at 3.2k images",
        "After 6,400 images",
        "penalty <b>",  # escaped in the source
        "ganvas train dcgan 'my <photos>' --out runs/p --set D.width=32",
        "0.375",
        "1.00e-04 to 3.00e-04",
        "Only <500> images.",
        "60.0%",
        "80.0%",
        "run.optim.D.betas",
        "0.5, 0.999",
        "0123abcd",
        "generated by a machine-learning model, not a photograph",
    ):
        assert words in shown.text, words


def test_needs_no_network(run: Path) -> None:
    shown = page(run)
    source = (run / "report.html").read_text(encoding="utf-8")
    assert len(shown.pictures) == 5  # the newest grid, three over time, neighbors
    assert all(address.startswith("data:image/png;base64,") for address in shown.pictures)
    assert all(address.startswith(("data:", "#")) for address in shown.loaded)
    assert "url(http" not in source
    assert "@import" not in source
    assert str(run) not in source


def test_embedded_images_keep_their_label(run: Path, tmp_path: Path) -> None:
    big = media.grid(torch.rand(400, 3, 100, 100) * 2 - 1)  # embedded smaller than it is
    encode.save(big, run / "samples" / "000009999.png")
    for i, address in enumerate(page(run).pictures):
        copy = tmp_path / f"copy{i}.png"
        copy.write_bytes(base64.b64decode(address.split(",", 1)[1]))
        assert provenance.read(copy)["generated"]


def test_curves_take_the_pages_colors(run: Path) -> None:
    write_report(run)
    source = (run / "report.html").read_text(encoding="utf-8")
    assert source.count("<svg") == 3  # quality, loss, penalty
    assert "currentColor" in source
    assert "#010101" not in source
    assert "#020202" not in source
    ids = re.findall(r'<clipPath id="([^"]+)"', source)
    assert all(f"url(#{name})" in source for name in ids)


def test_is_repeatable(run: Path) -> None:
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


@pytest.mark.parametrize(
    "missing",
    [
        "log.jsonl",
        "timing.jsonl",
        "measures.jsonl",
        "samples",
        "neighbours.png",
        "measure.json",
        "everything",
    ],
)
def test_leaves_out_missing_parts(run: Path, missing: str) -> None:
    for path in list(run.iterdir()):
        if path.name == missing or (missing == "everything" and path.name != "run.json"):
            path.rename(path.with_name(f".gone-{path.name}"))
    text = page(run).text
    heading = {
        "log.jsonl": "Objectives",
        "measures.jsonl": "Quality over the run",
        "samples": "Samples over training",
        "neighbours.png": "Memorization",
        "measure.json": "Measurements",
    }
    for file, words in heading.items():
        assert (words in text) == (file != missing and missing != "everything")


def test_skips_damaged_files(run: Path) -> None:
    for name in ("log.jsonl", "timing.jsonl", "measures.jsonl"):
        with (run / name).open("ab") as f:
            f.write(
                b'\n\xff\xfe\nnull\n[1]\n"text"\n{"images": "many"}\n{"images": true}\n'
                b'{"images": NaN}\n'
            )
            f.write(
                b'{"images": 6464, "seconds": null, "frechet": "low", "D/loss": null, '
                b'"G/loss": Infinity}\n{"ima'
            )
    (run / "samples" / "000006464.png").write_bytes(
        (run / "samples" / "000006400.png").read_bytes()[:200]
    )
    (run / "samples" / "notes.png").write_text("no image")
    (run / "neighbours.png").write_bytes(b"")
    (run / "measure.json").write_text('{"values": [], "notes": 3, "judge": {"ratio": null}}')
    (run / "judge.json").write_text("{")
    text = page(run).text
    assert "After 6,400 images" in text
    assert "Memorization" not in text


@pytest.mark.parametrize(
    "record",
    [
        {"recipe": None},
        {
            "recipe": 3,
            "paper": 4,
            "command": ["a", "b c"],
            "images": "x",
            "data": [],
            "shape": 1,
            "parameters": {"G": None},
        },
        {
            "data": {"count": None, "classes": ["a", "b"], "source": None},
            "shape": {"height": 1, "width": None},
        },
        {"machine": "a string", "versions": [], "parameters": {}},
        {"recipe": "\udcff", "command": ["\udcff"], "data": {"source": "\udcff"}},  # not UTF-8
    ],
)
def test_accepts_any_run_json(run: Path, record: dict) -> None:
    (run / "run.json").write_text(json.dumps(record))
    assert "Samples" in page(run).text


def test_names_are_shown_escaped(run: Path) -> None:
    odd = "\udcff \x1b]0;title\x07 \u202e"  # not UTF-8, a terminal's sequence, right to left
    record = {**RUN, "recipe": odd, "command": odd, "data": {"source": odd, "classes": [odd]}}
    (run / "run.json").write_text(json.dumps(record))
    (run / "measure.json").write_text(json.dumps({"values": {"frechet": 1.0}, "notes": [odd]}))
    page = write_report(run).read_text(encoding="utf-8")
    assert r"\udcff \x1b]0;title\x07 \u202e" in page
    assert not any(c in page for c in "\x1b\x07\u202e")


def test_a_translations_measure_has_two_tables(run: Path) -> None:
    values = {"values": {"frechet": 1.5}, "notes": []}
    (run / "measure.json").write_text(json.dumps({"seed": 0, "to a": values, "to b": values}))
    text = page(run).text
    assert "to a" in text
    assert "to b" in text


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        write_report(tmp_path)


def test_neighbor_sheet() -> None:
    samples, real = (
        torch.full((2, 1, 70, 70), -1.0),
        torch.linspace(-1, 1, 10).view(10, 1, 1, 1).expand(10, 3, 70, 70),
    )
    sheet = neighbour_sheet(samples, real, torch.tensor([[9, 0], [4, 9]]))
    assert sheet.mode == "RGB"
    bottom = sheet.height - 1
    row = [sheet.getpixel((x, bottom)) for x in (35, 73 + 35, 146 + 35)]
    assert row == [(0, 0, 0), (255, 255, 255), (0, 0, 0)]
