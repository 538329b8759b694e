"""`ganvas verify` and --no-sign, on files that the command line wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ganvas import load
from ganvas.media.verify import verify


def test_verify_says_what_it_found_by_words_and_status(
    command: Any, toy: Any, tmp_path: Path
) -> None:
    run = toy("noise").run
    grid, plain = tmp_path / "grid.png", tmp_path / "plain.png"
    assert command("sample", run, "-n", 4, "--seed", 5, "--out", grid).status == 0
    ended = command("verify", grid)
    assert ended.status == 0
    for fact in ("signed with this user's key, and whole", "recipe dcgan", "seed 5", "by ganvas"):
        assert fact in ended.out
    assert f"weights {load(run).facts['weights']}" in ended.out

    with Image.open(grid) as image:
        image.save(plain)
    changed, marked = tmp_path / "changed.png", tmp_path / "marked.png"
    data = bytearray(grid.read_bytes())
    data[-60] ^= 1
    changed.write_bytes(data)
    ended = command("sample", run, "-n", 4, "--no-sign", "--out", marked)
    assert ended.status == 0
    assert "note: --no-sign" in ended.err
    assert [command("verify", f).status for f in (marked, plain, changed)] == [4, 5, 6]
    ended = command("verify", "--json", grid, marked, changed, plain)
    states = [v["state"] for v in json.loads(ended.out).values()]
    assert (ended.status, states) == (6, ["signed", "marked", "changed", "unknown"])

    ended = command("verify", grid, tmp_path / "none.png")
    assert (ended.status, "None" in ended.out) == (1, False)
    assert "1 of 2 files could not be read" in ended.err


@pytest.mark.parametrize(
    ("kind", "arguments", "made", "composite"),
    [
        ("noise", ["sample", "RUN", "-n", "2", "--out", "OUT/x"], "x/0.png", False),
        ("noise", ["walk", "RUN", "--through", "2", "--frames", "2", "--out", "OUT/w.gif"],
         "w.gif", False),
        ("styles", ["mix", "RUN", "--out", "OUT/m.png"], "m.png", False),
        ("noise", ["neighbours", "RUN", "--against", "DATA", "--out", "OUT/n.png"], "n.png", True),
        ("noise", ["project", "RUN", "IMAGE", "--steps", "1", "--out", "OUT/p"], "p/in.png", True),
        ("domains", ["translate", "RUN", "IMAGE", "--out", "OUT/t"], "t/in.png", True),
    ],
)  # fmt: skip
def test_every_command_signs(
    kind: str, arguments: list[str], made: str, composite: bool,
    command: Any, toy: Any, tmp_path: Path,
) -> None:  # fmt: skip
    found = toy(kind)
    Image.new("RGB", (20, 20)).save(tmp_path / "in.png")
    names = {"RUN": found.run, "DATA": found.data, "IMAGE": tmp_path / "in.png"}
    call = [names.get(a) or a.replace("OUT", str(tmp_path)) for a in arguments]
    assert command(*call).status == 0
    verdict = verify(tmp_path / made)
    assert (verdict.state, verdict.generated) == ("signed", True)
    assert verdict.facts["recipe"] == found.recipe
    assert verdict.facts["weights"] == load(found.run).facts["weights"]
    kind_of_source = b"/compositeWithTrained" if composite else b"/trainedAlgorithmic"
    assert kind_of_source in (tmp_path / made).read_bytes()


@pytest.mark.parametrize(("kind", "composite"), [("noise", False), ("domains", True)])
def test_training_signs_its_grids(kind: str, composite: bool, toy: Any) -> None:
    grid = sorted((toy(kind).run / "samples").iterdir())[-1]
    assert verify(grid).state == "signed"
    assert (b"/compositeWithTrained" in grid.read_bytes()) == composite
