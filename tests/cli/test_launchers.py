"""The files in launchers/: commands that exist, statuses that agree, signals passed on."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from processes import LIMIT

from ganvas.apps.cli import app
from ganvas.training.continuation import INCOMPLETE

LAUNCHERS = Path(__file__).parents[2] / "launchers"


def words(name: str) -> list[str]:
    """The command line after `ganvas` in a launcher."""
    text = (LAUNCHERS / name).read_text()
    if name == "kubernetes.yaml":
        [container] = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
        return container["args"][container["args"].index("ganvas") + 1 :]
    if name == "skypilot.yaml":
        text = yaml.safe_load(text)["run"]
    lines = re.sub(r"\\\n(#)?", "", text).splitlines()
    [line] = [line for line in lines if re.search(r"\bganvas train\b.*--resume", line)]
    return shlex.split(line.split("ganvas train")[1].join(["train", ""]))


@pytest.mark.parametrize("name", ["slurm.sbatch", "skypilot.yaml", "kubernetes.yaml", "Dockerfile"])
def test_commands_in_launchers_start_or_continue(name: str) -> None:
    command, *arguments = words(name)
    group: Any = typer.main.get_command(app)
    context = group.commands[command].make_context(command, arguments)
    assert context.params["resume"] == "auto"
    assert context.params["out"]


def test_launchers_repeat_what_is_saved_and_nothing_else() -> None:
    pod = yaml.safe_load((LAUNCHERS / "kubernetes.yaml").read_text())["spec"]
    first = pod["podFailurePolicy"]["rules"][0]
    assert (first["action"], first["onExitCodes"]["values"]) == ("Ignore", [INCOMPLETE])
    assert first["onExitCodes"]["containerName"] == pod["template"]["spec"]["containers"][0]["name"]
    sky = yaml.safe_load((LAUNCHERS / "skypilot.yaml").read_text())
    assert sky["resources"]["job_recovery"]["recover_on_exit_codes"] == [INCOMPLETE]
    assert f'"$status" -eq {INCOMPLETE}' in (LAUNCHERS / "train.sh").read_text()


@pytest.mark.parametrize("name", ["train.sh", "slurm.sbatch"])
def test_scripts_are_shell(name: str) -> None:
    subprocess.run(["bash", "-n", LAUNCHERS / name], check=True)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Stand-ins for `ganvas status`, which ends with $SAYS, and for scontrol."""
    for name, body in {"ganvas": 'echo "$@"; exit "$SAYS"', "scontrol": 'echo "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("ends", "says", "status"), [(0, INCOMPLETE, INCOMPLETE), (0, 0, 0), (3, INCOMPLETE, 3)]
)
def test_the_status_of_a_training_that_ended(
    ends: int, says: int, status: int, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [LAUNCHERS / "train.sh", "run", "sh", "-c", f"exit {ends}"],
        env={**environment, "SAYS": str(says)},
        capture_output=True,
    )
    assert done.returncode == status


def test_termination_reaches_the_training_and_requeues_the_job(
    environment: dict[str, str],
) -> None:
    training = "trap 'echo saved; exit 1' TERM; echo began; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        [LAUNCHERS / "train.sh", "run", "sh", "-c", training],
        env={**environment, "SAYS": str(INCOMPLETE), "SLURM_JOB_ID": "7"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "began\n"
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=LIMIT)
    assert rest.splitlines() == ["saved", "status run", "requeue 7"]
    assert process.returncode == INCOMPLETE
