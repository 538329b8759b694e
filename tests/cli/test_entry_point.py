"""Any failure ends with one line and an exit status."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import ENVIRONMENT, LIMIT, ganvas
from toys import toy_images

from ganvas import __version__
from ganvas.__main__ import DEFECT
from ganvas.core import progress
from ganvas.core.errors import UserError
from ganvas.recipes import catalog


def _torch() -> None:
    torch.nn.Linear(2, 3)(torch.zeros(2, 3))


def _raising(error: BaseException) -> Any:
    def rows() -> None:
        raise error

    return rows


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("two\nlines \x1b[31m[bold]"), 1, "error: two\\nlines \\x1b[31m[bold]\n"),
        (MemoryError(), 1, "error: memory ran out (MemoryError). Try smaller or fewer images\n"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            1,
            "error: memory ran out (CUDA out of memory. Tried)",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you"),
            1,
            "error: memory ran out",
        ),
        (
            RuntimeError("Storage size calculation overflowed with sizes=[9]"),
            1,
            "error: memory ran out",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "error: No space left on device. Free some space",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/a\nb"),
            1,
            "error: /a\\nb: Read-only file system. Write",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", b"/a"),
            1,
            "error: /a: Permission denied\n",
        ),
        (
            OSError(errno.EMFILE, "Too many open files"),
            1,
            "error: too many files are open at the same time (the limit",
        ),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ""),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (SystemExit(143), 143, ""),
        (SystemExit("text"), 1, "text\n"),
        (
            ZeroDivisionError("division by zero"),
            DEFECT,
            "error: ZeroDivisionError: division by zero. This is a defect",
        ),
    ],
    ids=repr,
)
def test_any_failure_is_one_line_and_a_status(
    error: BaseException, status: int, message: str, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GANVAS_TRACEBACK")
    monkeypatch.setattr(catalog, "rows", _raising(error))
    ended = command("list")
    assert ended.status == status, ended.err
    assert ended.err.startswith(message) if message else not ended.err, ended.err
    assert ended.err.count("\n") <= 1


def test_the_traceback_of_a_defect_is_printed_on_request(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "rows", _raising(ZeroDivisionError("no")))
    assert "in rows" in command("list").err
    monkeypatch.setattr(catalog, "rows", _raising(UserError("no")))
    assert command("list").err == "error: no\n"


def test_a_setting_that_torch_refuses_is_named(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GANVAS_TRACEBACK")
    monkeypatch.setattr("ganvas.training.trainer.train", lambda *_, **__: _torch())
    ended = command("train", "dcgan", "digits", "--out", "x", "--set", "G.width=0")
    assert ended.status == 1
    assert ended.err.startswith(
        "error: torch does not accept these settings (--set G.width=0): mat1 and mat2"
    )
    assert command("train", "dcgan", "digits", "--out", "x").status == DEFECT


def test_a_wrong_command_line_is_one_line(command: Any) -> None:
    for arguments, part in (
        (["trian"], "Did you mean 'train'? See: ganvas --help"),
        (["train", "a", "b", "--out", "x", "--bach", "3"], "--batch"),
        (["sample", "r", "--out", "x", "-n", "\x1b[31m\n"], "See: ganvas sample --help"),
        (["sample", "r", "--out", "x", "y\x1b]0;title\x07"], "unexpected extra argument"),
        (["data", "check", ""], "an argument is empty, as where a variable"),  # not: here
        (["sample", "r", "--out="], "an argument is empty"),
    ):
        ended = command(*arguments)
        assert ended.status == 2
        assert ended.err.startswith("error: ")
        assert part in ended.err
        assert ended.err.count("\n") == 1
        assert "\x1b" not in ended.err


def test_warnings_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import warnings\nfrom ganvas.recipes import catalog\nfrom ganvas.__main__ import main\n"
        "catalog.rows = lambda: warnings.warn('a\\nb') or []\nmain()\n"
    )
    env = {**ENVIRONMENT, "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, "-c", code, "list", "--json"], capture_output=True, text=True, env=env
    )
    assert (done.returncode, done.stderr) == (0, "warning: a\\nb\n")


def test_version(command: Any) -> None:
    assert command("--version") == (0, f"ganvas {__version__}\n", "")


def test_completion_can_be_installed(command: Any) -> None:
    assert "--install-completion" in command("--help").out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_standard_output_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ganvas", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("error: No space left on device")


def test_a_closed_pipe_is_quiet() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ganvas", "list", "--json"],
            stdout=write,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        )
    finally:
        os.close(write)
    assert done.stderr == b""
    assert done.returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_few_file_handles_name_the_limit() -> None:
    done = subprocess.run(
        [
            "sh",
            "-c",
            'ulimit -n 8; exec "$@"',
            "sh",
            sys.executable,
            "-m",
            "ganvas",
            "train",
            "dcgan",
            "d",
            "--out",
            "x",
        ],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: this process may open only 8 files at the same time; ganvas needs 16 at least. "
        "Raise the limit: ulimit -n 1024\n"
    )


@pytest.mark.parametrize("encoding", ["latin-1", "ascii:strict"])
def test_any_encoding_of_the_streams_will_do(encoding: str, tmp_path: Path) -> None:
    folder = toy_images(tmp_path / "猫", 3)
    (folder / os.fsdecode(b"\xff\x1b[31m.png")).write_text("no image")
    env = {**ENVIRONMENT, "PYTHONIOENCODING": encoding}
    done = ganvas("data", "check", folder, env=env, ok=None)
    assert "Traceback" not in done.stderr
    assert "\\u732b" in done.stdout or "猫" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one encoding of names")
def test_names_are_found_whatever_encoding_the_system_says_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in ("é", os.fsdecode(b"\xff")):
        toy_images(folder / name, 3)
        (folder / name / "000.png").rename(folder / name / f"{name}.png")
    ascii_names = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = ganvas("data", "check", folder, env={**ENVIRONMENT, **ascii_names})
    assert "6 images" in done.stdout


@pytest.mark.parametrize("where", ["~no-such-user/x", "~no-such-user"])
def test_a_home_that_is_not_there_is_named(
    where: str, command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", where)
    ended = command(
        "train", "dcgan", toy_images(tmp_path / "d", 2), "--out", tmp_path / "r", "--size", 16
    )
    assert ended.status == 1
    assert "set GANVAS_CACHE to a folder" in ended.err
    assert command("data", "check", where).err.count("Traceback") == 0


def test_progress_ends_at_its_total(capsys: pytest.CaptureFixture[str]) -> None:
    """The last batch may exceed the requested number of images."""
    with progress.Progress(8) as bar:
        bar.update(20, {"D/loss": 1.0})
    assert capsys.readouterr().err.startswith("8 of 8 images, ")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "passive"),
        ({"OMP_WAIT_POLICY": "active"}, "active"),
        ({"GOMP_SPINCOUNT": "1000"}, None),
    ],
)
def test_threads_that_wait_sleep(given: dict[str, str], expected: str | None) -> None:
    """Beside one busy core, threads that loop make a step many times as long."""
    code = (
        "import os, sys\nfrom ganvas.__main__ import main\nassert 'torch' not in sys.modules\n"
        "try:\n    main()\nfinally:\n    print(os.environ.get('OMP_WAIT_POLICY'))"
    )
    variables = {k: v for k, v in ENVIRONMENT.items() if k not in {"OMP_WAIT_POLICY"}}
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        env=variables | given,
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT,
    )
    assert done.stdout.splitlines()[-1] == str(expected)


def test_rows_of_tables_stay_whole_where_no_person_reads(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from ganvas.apps.cli.common import print_table

    print_table(["name", "text"], [["a-" * 60, "b " * 90]])
    assert ("a-" * 60) in capsys.readouterr().out.splitlines()[1]
