"""Files from untrusted sources: reading them succeeds or ends with a `UserError`."""

from __future__ import annotations

import copy
import json
import os
import random
import resource
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, safe_open, save_file
from torch import nn
from toys import toy_images

from ganvas import data
from ganvas.core import config
from ganvas.core.errors import UserError
from ganvas.data.prepare import mosaic_pairs
from ganvas.engine.build import check_numbers
from ganvas.engine.restore import weights_of
from ganvas.engine.run_dir import read_lines, read_record, run_of
from ganvas.evaluation import paired
from ganvas.evaluation.compare import compare
from ganvas.evaluation.real_features import data_settings
from ganvas.evaluation.report import write_report
from ganvas.inference import model_file
from ganvas.inference.importers import as_method
from ganvas.inference.latent import naming
from ganvas.inference.load import load
from ganvas.media import decode, provenance
from ganvas.media.samples import Broken
from ganvas.metrics.features import transformer
from ganvas.training.trainer import resume, train

SETTINGS: dict[str, Any] = {
    "size": 16,
    "batch": 8,
    "device": "cpu",
    "images": 16,
    "set": ["G.width=4", "D.width=4"],
}
EXAMPLES = settings(max_examples=60)
SEEDS = st.integers(0, 1 << 32)
ODD: list[Any] = [
    None, True, 0, -1, 2**31, 2**63, 10**30, 1e308, float("nan"), float("inf"), "", "x",
    "os:system", "\0", "\x1b[31m", "\udcff", [], {}, [[]], [1, 2, 3], {"$new": "os:system"},
    {"$partial": "torch.optim.adam:Adam"}, {"a": {"b": {}}}, "9" * 400,
]  # fmt: skip


def mutated(value: Any, rng: random.Random) -> Any:
    """`value` with one to three of its parts removed, renamed or replaced."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 2, 3])):
        node: Any = value
        parent: Any = None
        key: Any = None
        while isinstance(node, dict | list) and node and (parent is None or rng.random() < 0.75):
            parent, key = (
                node,
                rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node)),
            )
            node = node[key]
        if parent is None:
            return copy.deepcopy(rng.choice(ODD))
        what = rng.randrange(4)
        if what == 0:
            del parent[key]
        elif what == 1 and isinstance(parent, dict):
            parent[rng.choice(["$new", "$partial", "x", f"{key}_"])] = parent.pop(key)
        elif what == 2 and isinstance(node, int | float) and not isinstance(node, bool):
            parent[key] = rng.choice(
                [-node, node * 10**6, node + 1, 0, str(node), [node], node / 2]
            )
        else:
            parent[key] = copy.deepcopy(rng.choice(ODD))
    return value


def text_of(value: Any, rng: random.Random) -> bytes:
    """The JSON text of a value; sometimes cut, nested deeply, or in another encoding."""
    text = json.dumps(value)
    what = rng.randrange(10)
    if what == 0:
        return text[: rng.randrange(len(text) + 1)].encode()
    if what == 1:
        return b"[" * 100_000
    return text.encode("utf-16") if what == 2 else text.encode()


def endures(*calls: Callable[[], Any]) -> None:
    for call in calls:
        message = ""
        try:
            call()
        except UserError as e:
            message = str(e)
        assert message.isprintable()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    train("dcgan", toy_images(folder / "data", count=8), out=folder / "run", **SETTINGS)
    return folder / "run"


@pytest.fixture(scope="module")
def run(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(finished, tmp_path_factory.mktemp("copy") / "run")


# ---------------------------------------------------------------- any content


@EXAMPLES
@given(SEEDS)
def test_any_run_json(run: Path, finished: Path, seed: int) -> None:
    rng = random.Random(seed)
    record = json.loads((finished / "run.json").read_text())
    (run / "run.json").write_bytes(text_of(mutated(record, rng), rng))
    endures(
        lambda: run_of(run, read_record(run)),
        lambda: weights_of(run),
        lambda: load(run, checkpoint="best"),
        lambda: data_settings(run),
    )


@EXAMPLES
@given(SEEDS)
def test_any_line_of_a_log(run: Path, finished: Path, seed: int) -> None:
    rng = random.Random(seed)
    for name in ("log.jsonl", "timing.jsonl", "measures.jsonl"):
        lines: list[Any] = (finished / name).read_bytes().splitlines() or [b"{}"]
        at = rng.randrange(len(lines))
        lines[at] = text_of(mutated(json.loads(lines[at]), rng), rng)
        (run / name).write_bytes(b"\n".join(lines))
        endures(lambda name=name: read_lines(run / name))


@settings(max_examples=12)
@given(SEEDS)
def test_any_run_is_reported(run: Path, finished: Path, seed: int) -> None:
    rng = random.Random(seed)
    for name in ("run.json", "log.jsonl", "measures.jsonl"):
        shutil.copy(finished / name, run / name)
    name = rng.choice(["run.json", "log.jsonl", "measures.jsonl"])
    text = (finished / name).read_text()
    value = json.loads(text if name == "run.json" else text.splitlines()[0])
    (run / name).write_bytes(text_of(mutated(value, rng), rng) + b"\n")
    endures(lambda: write_report(run))


@EXAMPLES
@given(SEEDS)
def test_any_model_header(
    finished: Path, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rng = random.Random(seed)
    source = finished / "model" / "model.safetensors"
    with safe_open(source, "pt") as f:
        header = json.loads(f.metadata()["ganvas"])
    tensors = load_file(source)
    text = text_of(mutated(header, rng), rng).decode("utf-8", "replace")
    at = tmp_path_factory.getbasetemp() / "hostile.safetensors"
    save_file(tensors, at, metadata={"ganvas": text, "blake2b": model_file.checksum(text, tensors)})
    endures(lambda: load(at).sample(1))


@EXAMPLES
@given(SEEDS)
def test_any_record(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = random.Random(seed)
    record = {
        "protocol": {"extractor": "e", "real": {"count": 3, "part": "train"}, "image": [3, 16, 16]},
        "values": {"frechet": 1.5, "recall": None},
        "intervals": {"frechet": [1.0, 2.0]},
        "seed": 0,
        "commit": "abc",
    }
    folder = tmp_path_factory.getbasetemp()
    (folder / "sound.json").write_text(json.dumps(record))
    (folder / "hostile.json").write_bytes(text_of(mutated(record, rng), rng))
    endures(lambda: compare([folder / "sound.json", folder / "hostile.json"]))


@settings(max_examples=30)
@given(SEEDS)
def test_any_dataset_json(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = random.Random(seed)
    folder = tmp_path_factory.getbasetemp() / "labelled"
    if not folder.exists():
        toy_images(folder, count=4)
    labels = {"labels": [[f"{i:03d}.png", i % 2] for i in range(4)]}
    (folder / "dataset.json").write_bytes(text_of(mutated(labels, rng), rng))
    endures(lambda: data.images(folder, size=8))


@EXAMPLES
@given(SEEDS)
def test_any_settings_of_a_mosaic(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = random.Random(seed)
    folder = tmp_path_factory.getbasetemp() / "mosaic"
    folder.mkdir(exist_ok=True)
    settings = {"class": "cat", "blocks": [8, 16], "threshold": 0.3}
    (folder / mosaic_pairs.SETTINGS).write_bytes(text_of(mutated(settings, rng), rng))
    endures(lambda: mosaic_pairs._create_out_dir(folder, settings))


@EXAMPLES
@given(SEEDS)
def test_any_preprocessor(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = random.Random(seed)
    folder = tmp_path_factory.getbasetemp()
    settings = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 224}}
    text = text_of(mutated(settings, rng), rng)
    (folder / "preprocessor_config.json").write_bytes(text)
    endures(lambda: transformer.preprocessing(folder))


@EXAMPLES
@given(SEEDS)
def test_any_facts_of_a_generated_image(seed: int) -> None:
    rng = random.Random(seed)
    before, empty, after = provenance.packet({}).partition(b'facts="{}"')
    assert empty
    facts = text_of(mutated({"recipe": "dcgan", "seed": 1}, rng), rng).decode("latin-1")
    packet = before + b"facts=" + quoteattr(facts).encode() + after
    assert isinstance(provenance._parse(packet)["facts"], dict)


# ---------------------------------------------------------------- pipes


@pytest.mark.parametrize("reader", [decode.read, decode.decode, decode.deep, provenance.read])
def test_a_pipe_is_no_image(tmp_path: Path, reader: Callable[[str], Any]) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises((Broken, UserError), match="is a pipe, not a file"):
        reader(str(tmp_path / "x.png"))


def test_a_pipe_is_no_image_to_compare(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"x\.png cannot be read: is a pipe, not a file"):
        paired.compare(tmp_path, tmp_path)


def test_a_pipe_among_the_grids_of_a_run_is_left_out(run: Path, finished: Path) -> None:
    shutil.copy(finished / "run.json", run / "run.json")
    os.mkfifo(run / "samples" / "000000099.png")
    assert "After 99 images" not in write_report(run).read_text()


# ---------------------------------------------------------------- numbers that are too large


@pytest.mark.parametrize(
    "assignment",
    [
        "micro=-1",
        "micro=0",
        "images=-5",
        "images=0",
        f"seed={2**70}",
        "seed=-1",
        "batch=1000000000",
        f"images={2**60}",
    ],
)
def test_numbers_that_no_run_can_have(finished: Path, tmp_path: Path, assignment: str) -> None:
    changed = config.override(run_of(finished, read_record(finished)), assignment)
    with pytest.raises(UserError, match=assignment.partition("=")[0]):
        check_numbers(changed)
    with pytest.raises(UserError, match=assignment.partition("=")[0]):
        train("dcgan", "nowhere", out=tmp_path / "run", size=16, set=[assignment])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("width", [50_000, 10**12])
def test_a_run_of_huge_networks_takes_no_memory(finished: Path, tmp_path: Path, width: int) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    record["run"]["method"]["G"]["width"] = width
    (run / "run.json").write_text(json.dumps(record))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for call in (lambda: resume(run, images=32, device="cpu"), lambda: weights_of(run)):
        with pytest.raises(UserError, match="networks"):
            call()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19  # KiB


@pytest.mark.parametrize(
    "text", ["0-999999999", "0:0-99999999", "9" * 5000, "0-" + "9" * 30, "\N{SUPERSCRIPT TWO}"]
)
def test_images_are_named_in_bounded_numbers(text: str) -> None:
    with pytest.raises(UserError):
        naming.sample_names(text)


@pytest.mark.parametrize("text", ["99999999", "9" * 5000, "\N{SUPERSCRIPT TWO}", "0-999999999"])
def test_a_walk_is_of_bounded_length(text: str) -> None:
    with pytest.raises(UserError):
        naming.count_or_names(text)


class _Enlarging(nn.Module):
    """A network of few weights and one huge image."""

    latent = 4

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return F.interpolate(z[:, :3, None, None], scale_factor=1 << 15)


def test_a_small_network_of_a_huge_image_takes_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="too large"):
        as_method._shape_from_noise(_Enlarging())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19


def test_a_member_of_a_zip_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    sound = toy_images(tmp_path / "data", count=1) / "000.png"
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sound.png", sound.read_bytes())
        archive.writestr("bomb.png", sound.read_bytes() + bytes(1 << 27))
    info = data.images(tmp_path / "x.zip", size=8).info
    assert (info.count, info.skipped_count) == (1, 1)
    assert "possible bomb" in info.skipped[0]


def test_an_imported_model_is_no_other_shape_than_it_generates(
    shared: Path, tmp_path: Path
) -> None:
    as_method.import_model(shared / "golden" / "dcgan" / "generator.pth", tmp_path / "m")
    source = tmp_path / "m" / "model.safetensors"
    with safe_open(source, "pt") as f:
        header = json.loads(f.metadata()["ganvas"])
    header["shape"]["height"] = 2 * header["shape"]["height"]
    tensors, text = load_file(source), json.dumps(header)
    save_file(
        tensors,
        tmp_path / "x.safetensors",
        metadata={"ganvas": text, "blake2b": model_file.checksum(text, tensors)},
    )
    with pytest.raises(UserError, match="its description says"):
        load(tmp_path / "x.safetensors")
