"""The run folder: one writer, damage noticed, no paths, inference without data."""

from __future__ import annotations

import inspect
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import forks
from toys import toy_images

import ganvas
from ganvas.core.errors import UserError
from ganvas.core.files import write
from ganvas.engine import checkpoint, lock, run_dir
from ganvas.engine.engine import Engine
from ganvas.engine.restore import restore, weights_of
from ganvas.engine.retention import Retention
from ganvas.evaluation import report
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.training import start, trainer
from ganvas.training.command import command_of
from ganvas.training.trainer import resume

SMALL = ["G.width=4", "D.width=4"]
HOW: dict[str, Any] = {"size": 16, "batch": 8, "device": "cpu"}


def train(out: Path, data: Path, images: int = 48, **more: Any) -> None:
    trainer.train(
        "dcgan", data, out=out, images=images, set=[*SMALL, *more.pop("set", [])], **HOW, **more
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps, with two checkpoints."""
    folder = tmp_path_factory.mktemp("finished")
    train(folder / "run", toy_images(folder / "home-of-alice" / "photos"))
    return folder / "run"


@pytest.fixture(scope="module")
def whole(finished: Path) -> Model:
    """What an undamaged copy of it becomes."""
    return resumed(shutil.copytree(finished, finished.with_name("whole")))


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def resumed(run: Path, **more: Any) -> Model:
    return resume(run, images=64, device="cpu", **more)


# ---------------------------------------------------------------- one writer


def _hold(run: Path, held: Any, go_on: Any) -> None:
    with lock.run_lock(run):
        held.set()
        go_on.wait(300)


@pytest.mark.skipif(lock.fcntl is None, reason="this system has no flock")
def test_a_second_writer_is_refused_by_name_and_readers_are_not(run: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, go_on = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(run, held, go_on))
    holder.start()
    try:
        assert held.wait(300)
        with pytest.raises(
            UserError, match=rf"is being written by process {holder.pid} on \S+ since \d{{4}}-"
        ):
            resumed(run)
        assert load(run, checkpoint="best").sample(1)
        report.write_report(run)
    finally:
        go_on.set()
        holder.join(300)
    resumed(run)
    assert (run / ".lock").read_text() == ""


@pytest.mark.skipif(lock.fcntl is None, reason="this system has no flock")
def test_the_lock_of_a_killed_writer_is_free(run: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, go_on = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(run, held, go_on))
    holder.start()
    assert held.wait(300)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(300)
    resumed(run)


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
@pytest.mark.parametrize("what", ["model", "checkpoint", "text"])
def test_nothing_stays_of_what_was_being_written_when_a_process_was_killed(
    tmp_path: Path, what: str
) -> None:
    """The system kills the process in the middle of a file: it exceeds the limit of sizes."""
    writer = {
        "model": "model_file.write(run / 'model', {'w': torch.zeros(9999)}, {})",
        "checkpoint": "checkpoint.save(run / 'checkpoints', {'clock': {'images': 8}}, "
        "{'w': torch.zeros(9999)}, {})",
        "text": "files.write(run / 'report.html', ' ' * 9999)",
    }[what]
    script = (
        "import resource, signal, sys; from pathlib import Path; import torch; "
        "from ganvas.core import files; from ganvas.engine import checkpoint; "
        "from ganvas.inference import model_file; run = Path(sys.argv[1]); "
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); {writer}"
    )
    (tmp_path / "run.json").write_text("{}")
    file = tmp_path / "writer.py"
    file.write_text(script)
    with forks([tmp_path], file) as process:
        [killed] = process.ended()
    file.unlink()
    assert killed.returncode == -signal.SIGXFSZ
    left = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "run.json"]
    assert left, "nothing was being written"
    checkpoint.sweep(tmp_path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["run.json"]


def test_without_locks_a_run_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    resumed(run)


def test_a_folder_that_cannot_be_written_is_one_message(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / ".lock").unlink(missing_ok=True)
    (run / ".lock").mkdir()  # opening it for writing fails, for the superuser too
    with pytest.raises(UserError, match="cannot be written"):
        resumed(run)

    def full(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "open", full)
    monkeypatch.setattr(Path, "unlink", full)
    with pytest.raises(UserError, match=r"could not be written: .*Read-only"):
        write(run / "run.json", "{}")


# ---------------------------------------------------------------- killed or refused starts


def test_a_start_killed_before_run_json_can_be_repeated(tmp_path: Path) -> None:
    data, out = toy_images(tmp_path / "data"), tmp_path / "run"
    for name in ("samples", "checkpoints"):
        (out / name).mkdir(parents=True)
    (out / ".run.json.123.tmp").write_text("{")
    (out / ".lock").write_text("process 123 on somewhere")
    with pytest.raises(UserError, match=r"there is no run in .* Start one: ganvas train"):
        resume(out)
    train(out, data, images=8)
    assert run_dir.read_record(out)["images"] == 8


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    data = toy_images(tmp_path / "data")
    for name in ("samples/mine.png", "notes.txt"):
        other = tmp_path / f"with-{Path(name).name}" / name
        other.parent.mkdir(parents=True, exist_ok=True)
        other.touch()
        folder = tmp_path / f"with-{Path(name).name}"
        with pytest.raises(UserError, match="is not an empty folder"):
            train(folder, data)
        assert [p for p in folder.rglob("*") if p.is_file()] == [other]


REFUSED = {
    "--set optim.D.lr=-1": {"set": ["optim.D.lr=-1"]},
    "--set optim.D.lr=NaN": {"set": ["optim.D.lr=NaN"]},
    "--set optim.D.betas=[1,1]": {"set": ["optim.D.betas=[1,1]"]},
    "--set G.width=0": {"set": ["G.width=0"]},
    "--set G.width=-4": {"set": ["seed=1", "G.width=-4"]},
    "--set G.width=1000000000": {"set": ["G.width=1000000000"]},
    "--batch 1000000000": {"batch": 10**9},
    "--size 1048576": {"size": 2**20},
    "--precision fp8": {"precision": "fp8"},
    "--compile fast": {"compile": "fast"},
    "--images 0": {"images": 0},
}


@pytest.mark.parametrize("setting", REFUSED)
def test_a_setting_that_cannot_be_used_is_refused_before_data_are_opened(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "Prefetch", None)
    how = {**HOW, "images": 8, **REFUSED[setting]}
    with pytest.raises(UserError) as refused:
        trainer.train("dcgan", tmp_path / "there-are-no-data-here", out=tmp_path / "run", **how)
    name = setting.removeprefix("--set ").split("=")[0].split(" ")[0].removeprefix("--")
    assert name in str(refused.value) or name.removesuffix(".lr").removesuffix(".betas") in str(
        refused.value
    )
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("recipe", "size", "advice"),
    [
        ("pix2pix", 64, "--set G.depth=6"),
        ("pix2pix", (128, 192), "--set G.depth=6"),
        ("cyclegan", 30, "--size 32"),
        ("dcgan", 30, "Nearest: 32x32"),
        ("cyclegan", 20, "at least 24 pixels"),
    ],
)
def test_sides_that_networks_cannot_take_are_refused_with_advice(
    recipe: str, size: int | tuple[int, int], advice: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=advice):
        trainer.train(
            recipe, tmp_path / "none", out=tmp_path / "run", size=size, images=8, device="cpu"
        )
    assert not (tmp_path / "run").exists()


def test_an_out_folder_made_for_a_run_that_never_began_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Engine) -> Any:
        raise UserError("too small")

    monkeypatch.setattr(Engine, "step", refused)
    with pytest.raises(UserError, match="too small"):
        train(tmp_path / "run", toy_images(tmp_path / "data"))
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- damage


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["shared.safetensors", "rank0.safetensors", "state.json"])
def test_one_flipped_bit_is_noticed_and_the_checkpoint_before_it_is_used(
    run: Path, whole: Model, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = checkpoint.all_of(run / "checkpoints")[-1]
    content = (newest / name).read_bytes()
    for at in range(0, len(content), max(len(content) // 20, 1)):
        flip(newest / name, at)
        with pytest.raises(UserError, match=r"damaged|not a checkpoint's state"):
            checkpoint.load(newest)
        (newest / name).write_bytes(content)
    flip(newest / name, len(content) // 2)
    capsys.readouterr()
    again = resumed(run)
    assert "falling back to the checkpoint before it" in capsys.readouterr().err
    for k, v in whole.method.state_dict().items():
        assert torch.equal(again.method.state_dict()[k], v), k


def test_checkpoints_of_versions_without_sums_are_read(run: Path) -> None:
    for folder in checkpoint.all_of(run / "checkpoints"):
        state = json.loads((folder / "state.json").read_text())
        del state["sums"], state["own_sum"]
        (folder / "state.json").write_text(json.dumps(state))
    resumed(run)


def test_checkpoint_names_are_sorted_as_numbers(tmp_path: Path) -> None:
    numbers = [999_999_000, 999_999_500, 1_000_000_000, 1_000_000_500]
    for n in numbers:
        (tmp_path / f"{n:09d}").mkdir()
    (tmp_path / "1²").mkdir()  # no number
    assert [int(p.name) for p in checkpoint.all_of(tmp_path)] == numbers
    Retention().prune(tmp_path, None)
    assert [int(p.name) for p in checkpoint.all_of(tmp_path)] == numbers[-2:]


def test_an_optimizer_state_that_is_not_finite_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Engine.step

    def with_a_huge_gradient(self: Engine) -> Any:
        found = step(self)
        if self.clock.step == 4:
            [state] = [s for w, s in self.optim["D"].state.items() if w is self._views["D"][0]]
            state["exp_avg_sq"].fill_(float("inf"))
        return found

    monkeypatch.setattr(Engine, "step", with_a_huge_gradient)
    with pytest.raises(start.Stopped, match=r"exp_avg_sq of D\.\S+\) is no longer finite"):
        train(tmp_path / "run", toy_images(tmp_path / "data"))
    kept = checkpoint.all_of(tmp_path / "run" / "checkpoints")
    assert int(kept[-1].name) == 24


DAMAGE: dict[str, Callable[[str], str]] = {
    "not JSON": lambda text: text[: len(text) // 2],
    "no object": lambda _: "[1, 2]",
    "deep": lambda _: '{"a":' * 5000 + "1" + "}" * 5000,
    "a long number": lambda text: text.replace("{", '{"images": ' + "1" * 5000 + ",", 1),
    "text for a number": lambda text: text.replace('"images": ', '"images": "x", "other": '),
    "nothing in it": lambda _: "{}",
    "not UTF-8": lambda text: text.replace("{", '{"x": "\udcff",', 1),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_description_is_one_message(run: Path, how: str) -> None:
    path = run / "run.json"
    path.write_bytes(DAMAGE[how](path.read_text()).encode(errors="surrogateescape"))
    for use in (lambda: resumed(run), lambda: weights_of(run), lambda: run_dir.read_record(run)):
        with pytest.raises(UserError, match=r"run\.json") as e:
            use()
        assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "how", ["not JSON", "no object", "deep", "text for a number", "nothing in it", "not UTF-8"]
)
def test_damaged_lines_are_named_and_the_run_goes_on(
    run: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {}
    for name in ("log", "timing", "measures"):
        path = run / f"{name}.jsonl"
        first, *rest = path.read_text().splitlines(keepends=True)
        damaged = DAMAGE[how](first.rstrip()).encode(errors="surrogateescape") + b"\n"
        path.write_bytes("".join(rest).encode() + damaged)
        kept[path] = rest
    capsys.readouterr()
    resumed(run)
    told = capsys.readouterr().err
    for path, rest in kept.items():
        assert f"{path.name}, line {len(rest) + 1}" in told
        assert path.read_text().startswith("".join(rest))
        json.loads(path.read_text().splitlines()[-1])


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s["clock"].update(images="many"),
        lambda s: s.pop("optim"),
        lambda s: s["optim"].update(D=[{}, {}]),
        lambda s: s["optim"]["D"][0].update(lr="fast"),
        lambda s: s.update(stage=-1),
        lambda s: s.update(log=3),
    ],
)
def test_a_state_that_does_not_fit_is_one_message(
    run: Path, damage: Callable[[dict[str, Any]], Any]
) -> None:
    for folder in checkpoint.all_of(run / "checkpoints"):
        state = json.loads((folder / "state.json").read_text())
        damage(state)
        del state["sums"], state["own_sum"]
        (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match=r"damaged|belongs to another method"):
        resumed(run)


# ---------------------------------------------------------------- files that are shared


def test_no_path_and_no_user_name_in_shared_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home-of-alice"
    data, out = toy_images(home / "photos"), home / "runs" / "first"
    (data / "broken.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    # 44 images end inside a batch of 8.
    train(out, data, images=44, minutes=None, set=["optim.D.lr=1e-4"], log=None)
    settings = "--size 16 --batch 8 --images 44 --device cpu --set G.width=4 --set D.width=4"
    local = json.loads((out / "local.json").read_text())
    command = f"ganvas train dcgan {data} --out {out} {settings} --set optim.D.lr=1e-4"
    assert local["command"] == command
    assert local["paths"] == {"data.source": str(data)}
    record = json.loads((out / "run.json").read_text())
    assert record["command"] == (
        f"ganvas train dcgan photos --out first {settings} --set optim.D.lr=1e-4"
    )
    assert (record["images"], record["run"]["images"], record["fitted"]) == (48, 48, 44)
    assert record["run"]["data"]["source"] == "photos"
    for file in (p for p in out.rglob("*") if p.is_file() and p.name != "local.json"):
        content = file.read_bytes()
        for secret in (str(tmp_path), "home-of-alice"):
            assert secret.encode() not in content, f"{file.name} tells {secret}"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("d photos --out runs/p", "d photos --out runs/p"),
        ("d ../a,/home/b --out=/tmp/x/p/", "d ../a,b --out=p/"),
        (
            """--from G=/a/b --set 'vgg="/a b/c.pth"' --x [/a/b,1]""",
            """--from G=b --set 'vgg="c.pth"' --x '[b,1]'""",
        ),
        ("transformers:/a/b s3://bucket/key / 1/2", "transformers:b s3://bucket/key / 1/2"),
    ],
)
def test_absolute_paths_lose_their_folders(given: str, kept: str) -> None:
    assert run_dir._without_folders(given) == kept


def test_a_command_repeats_a_call() -> None:
    given: dict[str, Any] = {
        name: p.default for name, p in inspect.signature(trainer.train).parameters.items()
    }
    given |= {"recipe": "dcgan", "data": "my photos", "out": Path("runs/p"), "size": (48, 64)}
    given |= {
        "start_from": ["G=a", Path("b")],
        "set": {"G.width": 4, "ema": None},
        "log": [].append,
    }
    assert command_of(trainer.train, {**given, "partial": True, "minutes": 0.5}) == (
        "ganvas train dcgan 'my photos' --out runs/p --size 48x64 --minutes 0.5 --from G=a "
        "--from b --partial --set G.width=4 --set ema=null"
    )


def test_a_group_reads_what_its_umask_lets_it_read(finished: Path, tmp_path: Path) -> None:
    """safetensors itself lets nobody but the owner read its files."""
    before = os.umask(0o027)
    try:
        resumed(shutil.copytree(finished, tmp_path / "run"))
    finally:
        os.umask(before)
    folders = (checkpoint.all_of(tmp_path / "run" / "checkpoints")[-1], tmp_path / "run" / "model")
    modes = {f.name: f.stat().st_mode & 0o777 for folder in folders for f in folder.iterdir()}
    assert set(modes.values()) == {0o640}, modes
    writes = r"safetensors\S* import .*\bsave_file\b"
    found = [
        f.name
        for f in Path(ganvas.__file__).parent.rglob("*.py")
        if re.search(writes, f.read_text())
    ]
    assert found == ["files.py"], "use core.files.save_tensors"


def test_a_copy_without_local_json_is_used_and_goes_on_where_the_data_are_named(
    finished: Path, run: Path, tmp_path: Path
) -> None:
    (run / "local.json").unlink()
    for which in ("last", "best"):
        assert load(run, checkpoint=which).sample(1)
    report.write_report(run)
    with pytest.raises(
        UserError, match=r"'photos' \(24 images\), say where they are: ganvas resume .* --data PATH"
    ):
        resumed(run)
    with pytest.raises(UserError, match="not like this run's"):
        resumed(run, data=toy_images(tmp_path / "others", channels=1))
    moved = toy_images(tmp_path / "moved")
    resumed(run, data=moved)
    assert json.loads((run / "local.json").read_text())["paths"] == {"data.source": str(moved)}
    resume(run, images=72, device="cpu")


def test_a_run_of_a_version_that_wrote_the_path_into_run_json_goes_on(run: Path) -> None:
    path = json.loads((run / "local.json").read_text())["paths"]["data.source"]
    record = json.loads((run / "run.json").read_text())
    record["run"]["data"]["source"] = path
    (run / "run.json").write_text(json.dumps(record))
    (run / "local.json").unlink()
    resumed(run)
    assert path not in (run / "run.json").read_text()


def test_a_checkpoint_is_used_without_data_and_optimizers(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _, _ = restore(run, "best", "cpu")
    expected = Model(engine.model(), run_dir.read_record(run)).sample(4, seed=3, output="torch")
    monkeypatch.setattr(torch.optim.Optimizer, "__init__", None)
    monkeypatch.setattr("ganvas.engine.restore.Prefetch", None)
    (run / "local.json").unlink()
    model = load(run, checkpoint="best")
    assert torch.equal(model.sample(4, seed=3, output="torch"), expected)
    assert model.info["images_trained"] == engine.clock.images


# ---------------------------------------------------------------- the report


def test_the_report_of_a_stopped_run_shows_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, out = Engine.step, tmp_path / "run"
    seen: list[str] = []

    def watched(self: Engine) -> Any:
        seen.append((out / "report.html").read_text())
        if self.clock.step == 12:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self)

    monkeypatch.setattr(Engine, "step", watched)
    data = toy_images(tmp_path / "data")
    with pytest.raises(SystemExit) as stopped:
        train(out, data, images=4000)
    assert stopped.value.code == 128 + signal.SIGTERM
    refresh = '<meta http-equiv="refresh"'
    assert all(refresh in page for page in seen)
    page = (out / "report.html").read_text()
    assert refresh not in page
    assert ">104<" in page.replace("\n", "").replace(" ", "")
    assert [p.name for p in (out / "samples").iterdir()] == ["stopped-000000104.png"]
    assert "data:image/png" in page
    monkeypatch.setattr(Engine, "step", step)
    resume(out, images=112, device="cpu")
    assert [p.name for p in (out / "samples").iterdir()] == ["000000112.png"]
