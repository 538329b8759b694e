"""`ganvas measure` and `ganvas compare`: the records, the cache and the refusals."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toys import SMALL, toy_data, toy_images

import ganvas
from ganvas import data
from ganvas.__main__ import main
from ganvas.core.errors import UserError
from ganvas.data import cache_dir, downloads
from ganvas.data.prepare.pack import pack
from ganvas.evaluation import evaluate, real_features
from ganvas.evaluation.compare import ProtocolMismatch, compare
from ganvas.evaluation.evaluate import measure
from ganvas.evaluation.report import write_report
from ganvas.inference import load as inference
from ganvas.inference.model import Model
from ganvas.metrics import suite
from ganvas.metrics.features import Extractor, inception
from ganvas.metrics.inception_score import InceptionScore
from ganvas.metrics.suite import measurements
from ganvas.training import loop
from ganvas.training.trainer import train


def trained(recipe: str, data: Path, out: Path, images: int, *more: str) -> Path:
    settings = [s for s in SMALL[recipe] if not s.startswith(("data.", "batch"))] + list(more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "write_report_quietly", lambda *args, **options: None)
        ganvas.train(
            recipe, str(data), out=out, size=16, batch=8, images=images, set=settings, device="cpu"
        )
    return out


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the report and the intervals, which take most of the time at this size."""
    monkeypatch.setattr(evaluate, "write_report", lambda run: None)
    monkeypatch.setattr(suite, "HALVES", 2)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_images(tmp_path_factory.mktemp("photos"), 24)


@pytest.fixture(scope="module")
def runs(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    pairs = toy_data("cyclegan", folder / "pairs")
    return {
        "images": trained("dcgan", photos, folder / "dcgan", 64),
        "domains": trained("cyclegan", pairs, folder / "cyclegan", 8),
        "pairs": pairs,
    }


@pytest.fixture
def run(runs: dict[str, Path], tmp_path: Path) -> Path:
    shutil.copytree(runs["images"], tmp_path / "p")
    return tmp_path / "p"


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run `ganvas …`: (exit code, standard output, standard error)."""

    def called(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ganvas", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return called


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of images per call of an extractor, with an empty cache."""
    shutil.rmtree(cache_dir() / "statistics", ignore_errors=True)
    counts: list[int] = []
    monkeypatch.setattr(Extractor, "_parts", _counted(Extractor._parts, counts))
    return counts


def _counted(parts: Any, counts: list[int]) -> Any:
    def counted(self: Extractor, images: torch.Tensor) -> Any:
        counts.append(len(images))
        return parts(self, images)

    return counted


# ---------------------------------------------------------------- the record


def test_a_record_carries_its_protocol(
    run: Path, photos: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, _ = command(
        "measure", run, "--against", photos, "-n", 32, "--json", "--out", tmp_path / "m.json"
    )
    record = json.loads(out)
    assert code == 0
    assert (
        record
        == json.loads((tmp_path / "m.json").read_text())
        == json.loads((run / "measure.json").read_text())
    )
    protocol = record["protocol"]
    assert (protocol["extractor"], protocol["resizer"]) == (
        "random-conv-v1",
        "bilinear-antialias-32",
    )
    assert protocol["fake"] == {"count": 32}
    assert protocol["real"].items() >= {"count": 24, "part": "all"}.items()
    assert len(protocol["real"]["fingerprint"]) == 32
    assert len(protocol["extractor_hash"]) == 64
    assert (record["checkpoint"], record["images_trained"], record["seed"]) == ("last", 64, 0)
    assert {"machine", "commit", "ganvas", "intervals"} <= record.keys()
    low, high = record["intervals"]["frechet"]
    assert low < record["values"]["frechet"] < high
    with Image.open(run / "neighbours.png") as sheet:
        assert sheet.width > 100
    page = write_report(run).read_text(encoding="utf-8")
    assert "protocol.real.fingerprint" in page
    code, out, _ = command(
        "measure", run, "--against", photos, "-n", 32, "--resizer", "clean", "--extrapolate"
    )
    assert code == 0
    assert "clean-32, 32 generated against 24 real images (all)" in out
    assert "frechet_infinity" in out


def test_last_and_best_side_by_side(run: Path, photos: Path, passes: list[int]) -> None:
    record = ganvas.measure(run, photos, n=16, checkpoint="both")
    assert list(record) == ["last", "best"]
    assert [m["checkpoint"] for m in measurements(record).values()] == ["last", "best"]
    assert record["last"]["protocol"] == record["best"]["protocol"]
    assert passes.count(24) == 1  # the real images were looked at once
    table = compare([run])[0]
    assert [column["name"] for column in table["columns"]] == [f"{run} (last)", f"{run} (best)"]
    assert "<h3>best</h3>" in write_report(run).read_text(encoding="utf-8")


def test_a_translation_has_a_measurement_each_way(runs: dict[str, Path], tmp_path: Path) -> None:
    record = ganvas.measure(runs["domains"], runs["pairs"], n=9, out=tmp_path / "a.json")
    assert set(record) == {"to a", "to b"}
    assert record["to b"]["protocol"]["real"]["count"] == 9
    assert record["to b"]["protocol"]["fake"]["count"] == 9
    assert record["to a"]["protocol"]["real"]["count"] == 12
    tables = compare([tmp_path / "a.json", runs["domains"]])
    assert [len(table["columns"]) for table in tables] == [2, 2]
    assert {table["protocol"]["to"] for table in tables} == {"a", "b"}


def test_classes_too_hard_to_recognize_are_an_error(run: Path, tmp_path: Path) -> None:
    data = tmp_path / "noise"
    rng = np.random.default_rng(0)
    for i in range(60):
        (data / f"class{i % 2}").mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / f"class{i % 2}" / f"{i}.png")
    with pytest.raises(UserError, match="confident of none of the real images"):
        measure(run, str(data), n=16, also=["recognizability"])


def test_pairs_are_measured_from_input_to_target(tmp_path: Path) -> None:
    data = toy_data("pix2pix", tmp_path / "data")
    run = trained("pix2pix", data, tmp_path / "run", 4)
    record = measure(run, str(data), n=8)
    assert record["to b"]["protocol"]["real"]["count"] == 12
    assert list(record) == ["to b"]


def test_recognizability_is_measured_on_request(run: Path, tmp_path: Path) -> None:
    rng, ramp = np.random.default_rng(0), np.linspace(0, 200, 16)
    for name, image in (("left", ramp[::-1]), ("right", ramp)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(40):
            noisy = image[None, :, None] + rng.uniform(0, 55, (16, 16, 3))
            Image.fromarray(noisy.astype(np.uint8)).save(tmp_path / "data" / name / f"{i}.png")
    record = ganvas.measure(run, tmp_path / "data", n=70)
    assert "also" not in record
    record = ganvas.measure(run, tmp_path / "data", n=70, also=["recognizability"])
    found = record["also"]["recognizability"]
    assert found["protocol"]["samples"] == 70
    assert set(found["class_shares"]) == {"0", "1"}
    assert {"real_confident", "fake_confident", "ratio", "unrecognized_share"} <= set(
        found["values"]
    )
    assert record["data"]["source"] == "data"


# ---------------------------------------------------------------- cached features of real images


def test_the_real_side_is_kept(run: Path, photos: Path, passes: list[int]) -> None:
    first = ganvas.measure(run, photos, n=16, seed=5)
    entries = sorted((cache_dir() / "statistics").iterdir())
    del passes[:]
    again = ganvas.measure(run, photos, n=16, seed=5)
    assert again == first
    assert sum(passes) == 16 + 8  # the samples, and those for the nearest neighbors
    assert sorted((cache_dir() / "statistics").iterdir()) == entries
    ganvas.measure(run, photos, n=16, resizer="clean")
    assert len(list((cache_dir() / "statistics").iterdir())) == len(entries) + 1  # other features


def test_a_damaged_entry_is_computed_again(run: Path, photos: Path, passes: list[int]) -> None:
    first = ganvas.measure(run, photos, n=16)
    (entry,) = (cache_dir() / "statistics").iterdir()
    whole = entry.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    for damaged in (whole[: len(whole) // 2], bytes(flipped), b"no"):
        entry.write_bytes(damaged)
        del passes[:]
        assert ganvas.measure(run, photos, n=16) == first
        assert 24 in passes
    del passes[:]
    assert ganvas.measure(run, photos, n=16) == first
    assert 24 not in passes


def test_a_cache_that_cannot_be_written_costs_only_time(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    expected = ganvas.measure(run, photos, n=16)
    shutil.rmtree(cache_dir() / "statistics")
    monkeypatch.setattr(real_features, "save_tensors", full)
    with pytest.warns(UserWarning, match="could not be cached"):
        assert ganvas.measure(run, photos, n=16) == expected


# ---------------------------------------------------------------- compare


def test_like_records_compare(
    run: Path, photos: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    for seed in (1, 2):
        ganvas.measure(run, photos, n=16, seed=seed, out=tmp_path / f"{seed}.json")
    code, out, _ = command("compare", tmp_path / "1.json", tmp_path / "2.json", run, "--json")
    assert code == 0
    columns = json.loads(out)[0]["columns"]
    assert [column["seed"] for column in columns] == [1, 2, 2]
    assert columns[1]["values"] == columns[2]["values"] != columns[0]["values"]
    code, out, _ = command("compare", tmp_path / "1.json", tmp_path / "2.json")
    assert code == 0
    assert "frechet" in out
    assert f"{columns[0]['values']['frechet']:.4g}" in out


UNLIKE: list[tuple[str, Any]] = [
    ("extractor", "squeezenet"),
    ("extractor_hash", "0" * 64),
    ("resizer", "clean-32"),
    ("image", [3, 32, 32]),
    ("neighbours", 3),
    ("real.count", 25),
    ("real.fingerprint", "1" * 32),
    ("real.part", "test"),
    ("fake.count", 17),
]


@pytest.mark.parametrize(("field", "value"), UNLIKE)
def test_records_of_different_protocols_are_refused(
    field: str,
    value: Any,
    record: dict[str, Any],
    tmp_path: Path,
    command: Callable[..., tuple[int, str, str]],
) -> None:
    other = copy.deepcopy(record)
    *path, last = field.split(".")
    place = other["protocol"]
    for name in path:
        place = place[name]
    assert place[last] != value
    place[last] = value
    for name, what in (("a", record), ("b", other)):
        (tmp_path / f"{name}.json").write_text(json.dumps(what))
    code, out, err = command("compare", tmp_path / "a.json", tmp_path / "b.json")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert f"they differ in {field} (" in err
    assert err.count(" and ") == 3  # both files, both verbs, the values of one field


@pytest.fixture(scope="module")
def record(runs: dict[str, Path], photos: Path) -> dict[str, Any]:
    return ganvas.measure(runs["images"], photos, n=16)


def test_other_files_are_no_records(record: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no record"):
        compare([tmp_path / "a.json"])
    old = {k: v for k, v in record.items() if k != "protocol"}
    for text in ("{", "[]", "{}", json.dumps(old)):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(UserError, match="is not a record"):
            compare([tmp_path / "a.json", tmp_path / "a.json"])
    (tmp_path / "a.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="is the only measurement"):
        compare([tmp_path / "a.json"])
    record = copy.deepcopy(record)
    del record["protocol"]["neighbours"]
    (tmp_path / "b.json").write_text(json.dumps(record))
    with pytest.raises(ProtocolMismatch, match="neighbours"):
        compare([tmp_path / "a.json", tmp_path / "b.json"])


# ---------------------------------------------------------------- wrong input


def test_images_that_cannot_be_read_are_not_replaced_by_others(
    run: Path, photos: Path, tmp_path: Path, passes: list[int]
) -> None:
    """A training goes on without a broken shard; a figure would be of other data."""
    pack(photos, tmp_path / "shards")
    shards = sorted((tmp_path / "shards").glob("*.tar"))
    whole = shards[0].read_bytes()
    shards[0].write_bytes(whole[:2000])
    with pytest.raises(UserError, match="is broken"):
        ganvas.measure(run, tmp_path / "shards", n=16)
    shards[0].write_bytes(whole)
    passes.clear()
    ganvas.measure(run, tmp_path / "shards", n=16)
    assert passes[0] == 24, "nothing was kept of the broken set"


def test_a_place_that_cannot_be_written_is_refused_before_the_measurement(
    run: Path, photos: Path, passes: list[int]
) -> None:
    with pytest.raises(UserError, match="is a folder; give the name of a file"):
        ganvas.measure(run, photos, n=16, out=photos)
    assert passes == []


@pytest.mark.parametrize("command_of", ["neighbours", "sweep"])
def test_a_page_does_not_replace_an_image_of_its_data(
    command_of: str, run: Path, photos: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    image = sorted(photos.rglob("*.png"))[0]
    before = image.read_bytes()
    code, _, err = command(command_of, run, "--against", photos, "--out", image)
    assert (code, len(err.splitlines())) == (1, 1)
    assert "would be among the images of" in err
    assert image.read_bytes() == before


def test_mistakes_are_one_line(
    run: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., tuple[int, str, str]],
) -> None:
    monkeypatch.delenv("GANVAS_WEIGHTS", raising=False)
    (tmp_path / "wrong.pth").write_bytes(b"wrong")
    gray = tmp_path / "gray"
    gray.mkdir()
    for i in range(9):
        Image.fromarray(np.full((16, 16), 20 * i, np.uint8)).save(gray / f"{i}.png")
    shutil.copytree(run / "model", tmp_path / "model")
    for arguments, words in (
        ([run, "--against", photos, "-n", 3], "more than 6 images on either side"),
        ([run, "--against", gray, "-n", 9], "are gray and the model's are color"),
        ([run, "--against", photos, "--features", "squeezenet"], "needs the file squeezenet1_0"),
        (
            [
                run,
                "--against",
                photos,
                "--features",
                "squeezenet",
                "--features-file",
                tmp_path / "wrong.pth",
            ],
            "has the SHA-256",
        ),
        ([run, "--against", photos, "--resizer", "lanczos"], "no resizer 'lanczos'"),
        ([run, "--against", photos, "--part", "all"], "'train' or 'test'; got 'all'"),
        ([run, "--against", photos, "--part", "test"], "has no test part"),
        ([run, "--against", photos, "--checkpoint", "7"], "keeps no checkpoint '7'"),
        ([run, "--against", tmp_path / "nowhere"], "nowhere"),
        ([tmp_path / "model", "--against", photos, "--checkpoint", "both"], "without checkpoints"),
    ):
        code, _, err = command("measure", *arguments)
        assert code == 1, arguments
        assert words in err
        assert len(err.splitlines()) == 1, err


def test_a_model_that_generates_nan_is_named(
    run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Model, "batches", lambda self, n, **_: iter([torch.full((n, 3, 16, 16), torch.nan)])
    )
    with pytest.raises(UserError, match="NaN"):
        ganvas.measure(run, photos, n=16)


def test_channels_that_a_run_sets_are_accepted(photos: Path, tmp_path: Path) -> None:
    out = trained("dcgan", photos, tmp_path / "gray", 8, "data.channels=1")
    other = toy_images(tmp_path / "other", 12)
    assert ganvas.measure(out, other, n=16)["protocol"]["image"] == [1, 16, 16]
    assert ganvas.measure(out / "model", photos, n=16)["protocol"]["image"] == [
        1,
        16,
        16,
    ]  # its own data
    with pytest.raises(UserError, match="are color and the model's are gray"):
        ganvas.measure(out / "model", other, n=16)


def test_the_official_network_is_downloaded_where_it_is_missing(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GANVAS_WEIGHTS", raising=False)
    asked: list[str] = []

    def no_network(url: str, *_: Any) -> None:
        asked.append(url)
        raise downloads.DownloadError("no route to host")

    monkeypatch.setattr(downloads, "_receive", no_network)
    with pytest.raises(
        UserError, match=r"cannot be downloaded .* put the file at .*weights.pt_inception"
    ):
        ganvas.measure(run, photos, n=16, features="inception-2015")
    assert asked == list(inception.ADDRESSES)
    monkeypatch.setenv("GANVAS_WEIGHTS", str(tmp_path))
    (tmp_path / inception.FILES[1]).write_bytes(b"wrong")
    with pytest.raises(UserError, match=f"expected {inception.SHA256}"):
        ganvas.measure(run, photos, n=16, features="inception-2015")


def test_a_further_measure_refuses_before_the_measurement(
    run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rejected before the measurement, whose figures would be lost."""
    monkeypatch.setattr(
        evaluate, "measure_samples", lambda *_, **__: pytest.fail("it was measured first")
    )
    with pytest.raises(UserError, match="test part"):
        measure(run, str(photos), n=16, also=["memorisation"])
    with pytest.raises(UserError, match="Did you mean 'accuracy'"):
        measure(run, str(photos), n=16, also=["acuracy"])


def test_further_measures_stand_in_the_record(run: Path, photos: Path) -> None:
    record = measure(run, str(photos), n=16, also=["duplicates"])
    assert set(record["also"]) == {"duplicates"}
    assert record["also"]["duplicates"]["protocol"]["samples"] == 16


def test_path_length_and_modes_of_a_trained_model(
    photos: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real networks get a generator's images in the range that they expect."""
    small = ["G.width=4", "D.width=4"]
    train("dcgan", photos, out=tmp_path / "p", size=32, batch=8, images=32, set=small)
    monkeypatch.setattr("ganvas.evaluation.diagnostics.PATHS", 6)
    monkeypatch.setattr("ganvas.evaluation.diagnostics.STACKED_SAMPLES", 64)
    weights = shared / "data" / "weights"
    found = measure(
        tmp_path / "p", str(photos), n=16, also=["path-length", "stacked-mnist"], weights=weights
    )["also"]
    assert found["path-length"]["values"]["value"] > 0
    assert found["path-length"]["protocol"] == {
        "space": "z",
        "paths": 6,
        "distance": "lpips-squeeze-caffe",
    }
    assert 1 <= found["stacked-mnist"]["values"]["found"] <= 64
    assert found["stacked-mnist"]["values"]["reverse_kl"] > 0


def test_a_network_that_has_not_grown_is_measured_at_the_size_of_the_data(tmp_path: Path) -> None:
    small = ["G.widths=[4,4,4]", "D.widths=[4,4,4]", "G.latent=4", "fade=64", "hold=640"]
    train("progan", "digits", out=tmp_path / "run", size=16, batch=8, images=16, set=small)
    record = measure(tmp_path / "run", "digits", n=16, also=["recognizability"])
    assert record["also"]["recognizability"]["values"]["fake_confident"] >= 0
    assert (tmp_path / "run" / "neighbours.png").is_file()


# ---------------------------------------------------------------- conditional generators


class Nearest(torch.nn.Module):
    """Classifies digits by the nearest mean image of a class."""

    classes = 10

    def __init__(self, means: torch.Tensor) -> None:
        super().__init__()
        self.means = torch.nn.Parameter(means.flatten(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, 2).flatten(1)

    def with_logits(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self(x), -torch.cdist(x.flatten(1), self.means).square() / 2


def test_a_class_conditional_generator_of_real_digits_scores_as_real_digits_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ganvas.measure` samples the classes in turn, which must not change the score."""
    run = trained("cgan_dcgan", Path("digits"), tmp_path / "cgan", 8)
    feed = data.images("digits", size=16)
    real = feed.draw(0, feed.info.count, seed=1)
    assert real.y is not None
    means = torch.stack([real.x[real.y == c].mean(0) for c in range(10)])
    extract = Extractor("nearest", Nearest(means), 64, "0", lambda longer: 16, channels=1)
    for module in (real_features, evaluate):
        monkeypatch.setattr(module, "extractor_named", lambda *_: extract)
    pools = [list(real.x[real.y == c]) for c in range(10)]
    asked: list[int] = []

    def sample(n: int, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        asked.extend(y.tolist())
        return torch.stack([pools[c].pop() for c in y.tolist()])

    load = inference.load

    def loaded(*args: Any, **options: Any) -> Model:
        model = load(*args, **options)
        model.method.sample = sample  # type: ignore[method-assign]
        return model

    monkeypatch.setattr(evaluate, "load", loaded)
    record = ganvas.measure(run, "digits", n=1500)
    assert asked == [i % 10 for i in range(1500)]
    found = []
    for seed in range(4):
        x = real.x[torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))]
        whole = InceptionScore(10, seed)
        whole.add(extract.with_logits(x[:1500])[1])
        found.append(whole.score()[0])
    score, spread = (record["values"][f"classifier_score{of}"] for of in ("", "_std"))
    assert min(found) > 5
    assert score == pytest.approx(np.mean(found), abs=spread)
    # A record of before, without the field, is refused beside it.
    old = copy.deepcopy(record)
    del old["protocol"]["inception_score_splits"]
    for name, one in (("old", old), ("new", record)):
        (tmp_path / f"{name}.json").write_text(json.dumps(one))
    with pytest.raises(ProtocolMismatch, match=r"inception_score_splits \(none and 10 at random\)"):
        compare([tmp_path / "old.json", tmp_path / "new.json"])


def test_a_translation_names_the_size_that_it_was_measured_at(
    runs: dict[str, Path], command: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, _ = command("measure", runs["domains"], "--against", runs["pairs"], "-n", 8)
    assert code == 0
    assert out.count(", all at 16x16 pixels") == 2
    assert out.count("note: The inputs were scaled to the training size") == 2
