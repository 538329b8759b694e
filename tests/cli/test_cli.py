"""The command line in real processes, with real files and readable errors."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from processes import ENVIRONMENT, LIMIT, completed, ganvas, wait_for
from safetensors.torch import load_file
from toys import SMALL, toy_data, toy_images
from typer.testing import CliRunner

from ganvas.apps.cli import app
from ganvas.engine import checkpoint
from ganvas.media import provenance


def small(recipe: str) -> list[str]:
    settings = [s for s in SMALL[recipe] if not s.startswith(("data.", "batch"))]
    return [x for s in settings for x in ("--set", s)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_images(tmp_path_factory.mktemp("photos"), 24)


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a toy DCGAN."""
    out = tmp_path_factory.mktemp("runs") / "p"
    ganvas(
        "train",
        "dcgan",
        photos,
        "--out",
        out,
        "--size",
        16,
        "--batch",
        8,
        "--images",
        160,
        *small("dcgan"),
    )
    return out


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)


def state(run: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.all_of(run / "checkpoints")[-1] / "shared.safetensors")


# ---------------------------------------------------------------- results of commands


COMMANDS = {
    "attention",
    "dissect",
    "edit",
    "export",
    "push",
    "serve",
    "verify",
    "studio",
    "spectra",
    "list",
    "train",
    "resume",
    "status",
    "monitor",
    "sample",
    "blend",
    "walk",
    "mix",
    "sweep",
    "project",
    "neighbours",
    "import",
    "translate",
    "measure",
    "compare",
    "bench",
    "pixels",
    "report",
    "claim",
    "data",
}


def test_help_shows_an_example_for_every_command() -> None:
    top = ganvas("--help").stdout
    listed = re.findall(rf"^[ │|]+({'|'.join(COMMANDS)}) ", top, re.MULTILINE)
    assert set(listed) == COMMANDS
    assert len(re.findall(r"^[ │|]+[a-z]+ {2,}\w", top, re.MULTILINE)) == len(COMMANDS), (
        "a command is not in COMMANDS"
    )
    groups = {"data": ["check"], "claim": ["list", "run", "report"]}
    for command in COMMANDS:
        for arguments in [[command, sub] for sub in groups.get(command, ())] or [[command]]:
            shown = CliRunner().invoke(app, [*arguments, "--help"]).stdout
            assert "Example: ganvas " in re.sub(r"\s+", " ", shown), arguments


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys; sys.argv = ['ganvas', '--help']\n"
        "from ganvas.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    done = completed([sys.executable, "-c", code])
    assert done.stdout.strip().endswith("False")


def test_a_model_is_loaded_without_torchs_compiler(run: Path) -> None:
    """Importing the compiler takes longer than the first image."""
    code = (
        f"import sys, ganvas; ganvas.load({str(run)!r}).sample(1); "
        "print('torch._dynamo' in sys.modules)"
    )
    done = completed([sys.executable, "-c", code])
    assert done.stdout.strip() == "False"


def test_list_names_every_method_with_its_paper() -> None:
    rows = json.loads(ganvas("list", "--json").stdout)
    assert {"gan", "dcgan", "wgan_gp", "cyclegan", "progan"} <= {r["recipe"] for r in rows}
    assert all(re.search(r"arXiv:|github\.com/", r["paper"]) and r["data"] for r in rows)
    assert "WGAN" in ganvas("list").stdout or "Wasserstein" in ganvas("list").stdout


def test_a_run_folder_explains_itself(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    assert record["run"]["method"]["$partial"] == "ganvas.methods.dcgan:DCGAN"
    assert record["run"]["method"]["G"]["width"] == 4
    assert record["data"]["count"] == 24
    assert record["command"].startswith("ganvas train dcgan ")
    lines = [json.loads(x) for x in (run / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["images"] == 160
    assert {"step", "images", "D/loss", "D/accuracy", "G/loss"} <= lines[0].keys()
    assert len(checkpoint.all_of(run / "checkpoints")) in (2, 3)  # the newest two, and the best
    assert (run / "samples" / "000000160.png").is_file()
    html = (run / "report.html").read_text()
    assert "generated" in html
    loaded = re.search(
        r'<(img|script|link|iframe|source|object)[^>]*(src|href|data)="(?!data:)|@import|url\((?!["\']?(data:|#))',
        html,
    )
    assert not loaded, "the report must need no other file and no network"
    assert {p.name for p in (run / "model").iterdir()} == {
        "model.safetensors",
        "model.json",
        "README.md",
    }


def test_sampling_is_repeatable_and_marked_as_generated(run: Path, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        ganvas("sample", run, "-n", 6, "--seed", 3, "--out", tmp_path / name)
    assert (pixels(tmp_path / "one.png") == pixels(tmp_path / "two.png")).all()
    assert provenance.read(tmp_path / "one.png")["generated"]
    ganvas("sample", run, "-n", 3, "--seed", 3, "--out", tmp_path / "folder")
    files = sorted((tmp_path / "folder").iterdir())
    assert [pixels(f).shape[:2] for f in files] == [(16, 16)] * 3
    assert all(provenance.read(f)["generated"] for f in files)
    assert (
        "already has files" in ganvas("sample", run, "--out", tmp_path / "folder", ok=False).stderr
    )


def test_a_run_is_walked_through_and_projected_onto(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    assert (
        "6 frames"
        in ganvas("walk", run, "--through", 2, "--frames", 3, "--out", tmp_path / "w.gif").stdout
    )
    assert (
        "psnr"
        in ganvas(
            "project", run, photos / "000.png", "--steps", 5, "--out", tmp_path / "found"
        ).stdout
    )
    assert {p.name for p in (tmp_path / "found").iterdir()} == {
        "000.png",
        "000.safetensors",
        "projections.json",
    }
    ganvas("neighbours", run, "--against", photos, "-n", 2, "--out", tmp_path / "n.png")
    assert all(
        provenance.read(p)["generated"]
        for p in (tmp_path / "w.gif", tmp_path / "found/000.png", tmp_path / "n.png")
    )
    assert (
        "has no truncation"
        in ganvas("sample", run, "--truncation", 0.5, "--out", tmp_path / "s.png", ok=False).stderr
    )


def test_the_model_folder_loads_without_the_run(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "elsewhere")
    for source, name in ((run, "a.png"), (tmp_path / "elsewhere", "b.png")):
        ganvas("sample", source, "-n", 4, "--seed", 1, "--out", tmp_path / name)
    assert np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_measure_reports_its_protocol(run: Path, photos: Path) -> None:
    record = json.loads(ganvas("measure", run, "--against", photos, "-n", 32, "--json").stdout)
    text = json.dumps(record)
    assert "random-conv-v1" in text
    assert "2,048" in text, "few samples: the bias of the Frechet distance is stated"
    assert record["images_trained"] == 160
    assert json.loads((run / "measure.json").read_text()) == record


# The contract tests interrupt every recipe at every step. These test the processes and
# files: with averaged weights and augmentation, growing, with an image pool, and
# in stages.
# Their schedules, which otherwise follow the length of the first command.
KINDS = {
    "dcgan_digits": ["--set", "lr.start=12", "--set", "lr.end=48"],
    "progan": [],
    "cyclegan": ["--set", "lr.start=12", "--set", "lr.end=48"],
    "srgan": [],
}


@pytest.mark.parametrize("recipe", KINDS)
def test_stopping_early_and_resuming_is_the_whole_run(recipe: str, tmp_path: Path) -> None:
    """N images = k images + resume + the rest, through the command line."""
    data = toy_data(recipe, tmp_path / "data")
    size = next(s.split("=")[1] for s in SMALL[recipe] if s.startswith("data.size"))
    batch = next(s.split("=")[1] for s in SMALL[recipe] if s.startswith("batch"))
    common = [recipe, data, "--size", size, "--batch", batch, *small(recipe), *KINDS[recipe]]
    ganvas("train", *common, "--images", 48, "--out", tmp_path / "whole")
    ganvas("train", *common, "--images", 24, "--out", tmp_path / "parts")
    ganvas("resume", tmp_path / "parts", "--images", 48)
    a, b = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert a.keys() == b.keys()
    assert not [k for k in a if not torch.equal(a[k], b[k])]
    assert (tmp_path / "whole" / "log.jsonl").read_text() == (
        tmp_path / "parts" / "log.jsonl"
    ).read_text()


def test_translate_keeps_sizes_and_names(tmp_path: Path) -> None:
    data = toy_data("cyclegan", tmp_path / "data")
    ganvas(
        "train",
        "cyclegan",
        data,
        "--size",
        16,
        "--images",
        8,
        "--out",
        tmp_path / "run",
        *small("cyclegan"),
    )
    garden = toy_images(tmp_path / "garden", 2, side=21)
    Image.fromarray(np.full((30, 17), 90, np.uint8)).save(garden / "gray.jpg")
    (garden / "broken.png").write_text("not an image")
    translate = ("translate", tmp_path / "run", garden, "--out")
    done = ganvas(*translate, tmp_path / "made", "--to", "a", ok=False)
    assert done.returncode == 1  # an image was skipped
    assert "broken.png" in done.stderr
    assert "3 images" in done.stdout
    assert pixels(tmp_path / "made" / "gray.png").shape[:2] == (30, 17)
    assert pixels(tmp_path / "made" / "000.png").shape[:2] == (21, 21)
    again = ganvas(*translate, tmp_path / "made", "--to", "a", ok=False)
    assert "0 images" in again.stdout  # nothing is overwritten
    other = ganvas(*translate, tmp_path / "made", ok=False)
    assert "is the result of another model, input or options" in other.stderr
    assert (
        "to b or a"
        in ganvas(
            "translate", tmp_path / "run", garden, "--out", tmp_path / "x", "--to", "c", ok=False
        ).stderr
    )


def test_the_best_checkpoint_can_be_used(run: Path, tmp_path: Path) -> None:
    ganvas("sample", run, "-n", 2, "--checkpoint", "best", "--out", tmp_path / "best.png")
    message = ganvas(
        "sample", run, "-n", 2, "--checkpoint", "7", "--out", tmp_path / "x.png", ok=False
    ).stderr
    assert "it has last, best and:" in message


def test_ctrl_c_saves_and_names_the_command_to_continue(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "ganvas",
        "train",
        "dcgan",
        str(photos),
        "--out",
        str(out),
        "--size",
        "16",
    ]
    process = subprocess.Popen(
        [*command, "--batch", "8", "--images", "10000000", *small("dcgan")],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    log = out / "log.jsonl"
    wait_for(lambda: log.is_file() and len(log.read_text().splitlines()) >= 12, process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, error
    assert f"Continue: ganvas resume {out}" in error
    assert "Traceback" not in error
    images = int(checkpoint.all_of(out / "checkpoints")[-1].name)
    ganvas("resume", out, "--images", images + 8)


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "dcgam", "digits"], "Did you mean 'dcgan'?"),
        (["train", "dcgan", "no/such/folder"], "no/such/folder"),
        (["train", "dcgan", "digits", "--set", "G.widht=3"], "Did you mean 'width'?"),
        (["train", "dcgan", "digits", "--set", "G.width=wide"], "expected int"),
        (["train", "dcgan", "digits", "--set", "G"], "--set takes path=value"),
        (["train", "dcgan", "digits", "--set", "optim.G.lrr=1"], "Did you mean 'lr'?"),
        (["train", "dcgan", "digits", "--size", "63"], "63"),
        (["train", "dcgan", "digits", "--size", "big"], "size takes pixels"),
        (["train", "dcgan", "digits", "--precision", "fp8"], "fp32, tf32 or bf16"),
        (["train", "dcgan", "digits", "--device", "cudda"], "no device 'cudda'"),
        (["train", "dcgan", "digits", "--device", "gpu"], "Did you mean 'cuda'?"),
        (["train", "dcgan", "digits", "--images", "0"], "at least 1"),
        (["train", "cyclegan", "digits"], "digits"),
    ],
)
def test_mistakes_before_training(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = ganvas(*arguments, "--out", tmp_path / "run", ok=False)
    assert message in done.stderr
    assert len(done.stderr) < 1500


def test_an_unknown_option_or_command_is_named() -> None:
    assert (
        "--batch"
        in ganvas("train", "dcgan", "digits", "--out", "x", "--bach", "3", ok=False).stderr
    )
    assert "No such command" in ganvas("trian", ok=False).stderr


def test_folders_that_hold_something_are_left_alone(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    assert f"ganvas resume {run}" in ganvas("train", "dcgan", photos, "--out", run, ok=False).stderr
    before = sorted(photos.iterdir())
    assert (
        "not an empty folder" in ganvas("train", "dcgan", photos, "--out", photos, ok=False).stderr
    )
    assert sorted(photos.iterdir()) == before
    assert "no run" in ganvas("resume", tmp_path, ok=False).stderr
    assert "complete" in ganvas("resume", run, ok=False).stderr
    assert "no model" in ganvas("sample", tmp_path, "--out", tmp_path / "x.png", ok=False).stderr
    for command in ("sample", run.parent, "--out", tmp_path / "x.png"), ("resume", run.parent):
        assert f"there is: {run}" in ganvas(*command, ok=False).stderr
    assert ".png" in ganvas("sample", run, "--out", tmp_path / "x.xyz", ok=False).stderr
    assert (
        "use sample" in ganvas("translate", run, photos, "--out", tmp_path / "t", ok=False).stderr
    )


def test_a_checkpoint_cut_short_falls_back_to_the_one_before(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "run"
    shutil.copytree(run, broken)
    newest = checkpoint.all_of(broken / "checkpoints")[-1]
    file = newest / "shared.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    done = ganvas("resume", broken, "--images", 200)
    assert "bytes where" in done.stderr
    assert "falling back to the checkpoint before it" in done.stderr
    ganvas(
        "train",
        "dcgan",
        photos,
        "--out",
        tmp_path / "straight",
        "--size",
        16,
        "--batch",
        8,
        "--images",
        200,
        *small("dcgan"),
    )
    a, b = state(broken), state(tmp_path / "straight")
    assert not [k for k in a if not torch.equal(a[k], b[k])]
    for path in checkpoint.all_of(broken / "checkpoints"):
        (path / "state.json").write_text("{")
    assert "no checkpoint" in ganvas("resume", broken, "--images", 400, ok=False).stderr


def test_a_checkpoint_of_another_method_is_refused(run: Path, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    ganvas(
        "train",
        "wgan_gp",
        photos,
        "--out",
        other,
        "--size",
        16,
        "--batch",
        8,
        "--images",
        16,
        *small("wgan_gp"),
    )
    shutil.rmtree(other / "checkpoints")
    shutil.copytree(run / "checkpoints", other / "checkpoints")
    assert "another method" in ganvas("resume", other, "--images", 400, ok=False).stderr


def test_changed_data_is_noticed(tmp_path: Path) -> None:
    photos = toy_images(tmp_path / "photos")
    ganvas(
        "train",
        "dcgan",
        photos,
        "--out",
        tmp_path / "run",
        "--size",
        16,
        "--batch",
        8,
        "--images",
        16,
        *small("dcgan"),
    )
    (photos / "000.png").unlink()
    assert "has changed" in ganvas("resume", tmp_path / "run", "--images", 32, ok=False).stderr


def test_nan_stops_names_the_term_and_keeps_the_last_good_checkpoint(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    common = ["--size", 16, "--batch", 8, *small("wgan_gp"), "--set", "lr.end=6400"]
    ganvas("train", "wgan_gp", photos, "--out", out, "--images", 64, *common)
    done = ganvas("resume", out, "--images", 6400, "--set", "optim.D.lr=1e30", ok=False)
    assert re.search(r"D/\w+.* became (nan|inf|-inf) at step \d+, image \d+", done.stderr)
    assert "the last good checkpoint, at 64 images, is kept" in done.stderr
    assert ".. " not in done.stderr
    ganvas("sample", out, "-n", 2, "--out", tmp_path / "still.png")


def test_a_read_only_folder_is_named(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("here a folder is needed")
    assert str(target) in ganvas("train", "dcgan", photos, "--out", target / "run", ok=False).stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tiny disk needs root")
def test_a_full_disk_loses_nothing(photos: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)],
        check=False,
        capture_output=True,
    ).returncode:
        pytest.skip("this system does not let the tests mount a tiny disk")
    try:
        out = disk / "run"
        ganvas(
            "train",
            "dcgan",
            photos,
            "--out",
            out,
            "--size",
            16,
            "--batch",
            8,
            "--images",
            16,
            *small("dcgan"),
        )
        before = state(out)
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as f:
            while f.write(b"\0" * 4096):
                pass
        done = ganvas("resume", out, "--images", 32, ok=False)
        assert re.search(r"could not be written|No space", done.stderr), done.stderr
        after = state(out)
        assert not [k for k in before if not torch.equal(before[k], after[k])]
        filler.unlink()
        ganvas("resume", out, "--images", 32)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.parametrize("recipe", ["dcgan_digits", "pix2pix", "cyclegan"])
def test_bench_times_steps_of_any_kind_of_data(recipe: str) -> None:
    sizes = [s for s in SMALL[recipe] if s.startswith("data.")]
    found = json.loads(
        ganvas(
            "bench",
            recipe,
            "--batch",
            2,
            "--steps",
            2,
            "--json",
            *small(recipe),
            *(x for s in sizes for x in ("--set", s)),
        ).stdout
    )
    assert found["seconds_per_step"]["memory"] > 0
    assert found["images_per_second"]["memory"] == pytest.approx(
        2 / found["seconds_per_step"]["memory"]
    )
    assert 0 < found["products"]["share"] < 1
    assert found["products"]["operations"] > 1e5
    assert found["peak_mib"] >= 0
