"""Every command on every kind of model, with any value, works or ends with one line."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from toys import SMALL

from ganvas.apps.cli.common import app, usage_of
from ganvas.evaluation import causal, evaluate
from ganvas.media import provenance
from ganvas.metrics import suite
from ganvas.training import benchmark, snapshot, watch

KINDS = [
    "noise",
    "labels",
    "attention",
    "styles",
    "encoder",
    "coupled",
    "domains",
    "pairs",
    "upscaling",
    "sentences",
]
# Commands that no model changes: asked once, of the first kind.
ANY_MODEL = {"list", "studio", "pixels", "push", "data letters", "data emoji", "data instances"}
ANY_MODEL |= {"data mosaic", "claim list", "claim run", "claim report"}
GENERATES = {"noise", "labels", "attention", "styles", "encoder", "coupled"}


def calls(toy: Any, out: Path) -> dict[str, list[Any]]:
    """Command -> arguments that are valid for some kind of model."""
    run, data, image = toy.run, toy.data, out / "image.png"
    Image.fromarray(np.full((24, 20, 3), 90, np.uint8)).save(image)
    small = [x for s in SMALL[toy.recipe] if not s.startswith("batch") for x in ("--set", s)]
    return {
        "list": [],
        "train": [toy.recipe, data, "--out", out / "new", "--images", 1, "--batch", 4, *small],
        "resume": [run],
        "status": [run],
        "sample": [run, "-n", 3, "--out", out / "s.png"],
        "blend": [run, run, 0.5, "--out", out / "blended"],
        "walk": [run, "--through", 2, "--frames", 2, "--out", out / "w.gif"],
        "mix": [run, "--rows", "0-1", "--columns", "2", "--out", out / "m.png"],
        "sweep": [
            run,
            "--against",
            data,
            "-n",
            10,
            "--truncations",
            "0.5",
            "--out",
            out / "sweep.png",
        ],
        "project": [run, image, "--steps", 1, "--out", out / "projected"],
        "neighbours": [run, "--against", data, "-n", 2, "--out", out / "n.png"],
        "import": [run / "model" / "model.safetensors", "--out", out / "imported"],
        "studio": [out / "none"],
        "translate": [run, image, "--out", out / "translated"],
        "measure": [run, "--against", data, "-n", 12],
        "compare": [run, run],
        "bench": [toy.recipe, "--steps", 1, "--batch", 2, *small],
        "report": [run],
        "monitor": [run],
        "attention": [run, "-n", 2, "--out", out / "a.png"],
        "spectra": [run, "--out", out / "spectra.png"],
        "dissect": [run, "-n", 16, "--out", out / "units.html"],
        "edit": [run, "--units", out / "units.json", "--remove", "ink", "--out", out / "e.png"],
        "data check": [data],
        "data pack": [data, "--out", out / "shards"],
        "data degrade": [data, "--out", out / "degraded.png", "--size", 32],
        "data letters": [out / "letters", "--pairs", "none"],
        "data emoji": [out / "emoji", "--font", out / "none.ttf"],
        "data instances": [data, out / "none", "--out", out / "shades"],
        "data mosaic": [
            data,
            "--out",
            out / "pairs",
            "--classifier",
            out / "none",
            "--class",
            "daisy",
        ],
        "pixels": [image, image],
        "push": [out / "none", "me/model"],
        "export": [run, "--to", "torchscript", "--out", out / "model.pt"],
        "serve": [run, "--host", "0.0.0.0"],  # refused without a token
        "verify": [out / "s.png"],  # which `sample` writes
        "claim list": [],
        "claim run": ["no-such-claim"],
        "claim report": ["--from", out / "none"],
    }


def commands() -> Iterator[tuple[str, Any]]:
    """(name, command) of every command."""
    top: Any = typer.main.get_command(app)
    for name, found in top.commands.items():
        inner = getattr(found, "commands", None)
        yield from ((f"{name} {sub}", c) for sub, c in inner.items()) if inner else [(name, found)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without slow parts: reports in training, many halves and units, the machine's rate."""
    for module in (snapshot, evaluate, watch):
        monkeypatch.setattr(module, "write_report", lambda run, **_: None)
    monkeypatch.setattr(suite, "HALVES", 2)
    monkeypatch.setattr(causal, "RANDOM", 1)
    monkeypatch.setattr(causal, "TOP", 4)
    monkeypatch.setattr(benchmark, "matmul_flops", lambda *_: 1e9)


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_works_or_ends_with_one_line(
    kind: str, toy: Any, command: Any, well: Any, tmp_path: Path
) -> None:
    found = toy(kind)
    run = shutil.copytree(found.run, tmp_path / "run")
    ended = {}
    asked = calls(found._replace(run=run), tmp_path)
    assert asked.keys() == {name for name, _ in commands()}, "a command is not in `calls`"
    for name in sorted(ANY_MODEL) if kind != KINDS[0] else ():
        del asked[name]
    for name, arguments in asked.items():
        ended[name] = command(*name.split(), *arguments)
        well(ended[name], name)
    works = {name for name, e in ended.items() if e.status == 0}
    assert {"train", "report"} <= works
    assert ({"list", "pixels", "claim list"} <= works) == (kind == KINDS[0])
    assert ("sample" in works) == (kind in GENERATES)
    assert ("attention" in works) == (kind == "attention")
    assert ("mix" in works) == (kind == "styles")
    # The toy of an encoder has as few channels as its images: none of them is a unit.
    assert ("dissect" in works) == (kind in GENERATES - {"encoder"})
    assert not works & {
        "data letters",
        "data emoji",
        "data instances",
        "data mosaic",
        "claim run",
        "claim report",
        "resume",
        "studio",
    }


@pytest.mark.parametrize("columns", ["20", "80"])
def test_help_renders_at_any_width(
    columns: str, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    # typer reads its own variable once, at import: setting it would last for other tests
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", int(columns))
    wrong = {}
    for name, _ in commands():
        ended = command(*name.split(), "--help")
        widest = max(map(len, ended.out.splitlines()), default=0)
        if ended.status or ended.err or "Usage" not in ended.out or widest > int(columns) + 1:
            wrong[name] = ended
    assert not wrong


ODD = [
    "-1", "0", "1", "-9223372036854775809", "1e3", "nan", "-inf", "", " ", "0x10", "\x1b[31m",
    "a\nb", "\udcff", "--", "-", "/", "none", "last", "best", "..", "9-1", "2,2", "0.5,", "cpu",
    "meta", "cpu:7", "64x", "0x0", "é",
]  # fmt: skip
HUGE = ["99999999999999999999", "9223372036854775807", "1e308"]
# Options that may cause much work, or that name a place to write to.
PATIENCE = {"images", "through", "rows", "columns", "steps", "n", "frames", "seeds", "size"}
PLACES = {"out", "help", "everything", "log", "device"}


@st.composite
def calls_with_odd_options(draw: st.DrawFn) -> tuple[str, list[str]]:
    name, found = draw(
        st.sampled_from([c for c in commands() if c[0] not in ("claim run", "bench", "import")])
    )
    options = [p for p in found.params if p.param_type_name == "option" and p.name not in PLACES]
    arguments: list[str] = []
    for option in (
        draw(st.lists(st.sampled_from(options), min_size=1, max_size=2, unique_by=id))
        if options
        else []
    ):
        word = draw(st.sampled_from(option.opts))
        if option.is_flag:
            arguments.append(word)
        elif option.name == "set":
            path = draw(
                st.sampled_from(
                    [
                        "optim.D.lr",
                        "optim.D.betas",
                        "G.width",
                        "batch",
                        "images",
                        "micro",
                        "seed",
                        "x",
                    ]
                )
            )
            value = draw(
                st.sampled_from([*ODD, "[1,1]", "1000000000", "-4", "[" * 99, "{", "null"])
            )
            arguments += [word, f"{path}={value}"]
        else:
            arguments += [
                word,
                draw(st.sampled_from(ODD if option.name in PATIENCE else ODD + HUGE)),
            ]
    return name, arguments


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(call=calls_with_odd_options(), kind=st.sampled_from(["noise", "styles", "domains"]))
def test_any_values_of_options_work_or_are_refused_in_one_line(
    call: tuple[str, list[str]], kind: str, toy: Any, command: Any, well: Any, tmp_path: Path
) -> None:
    name, odd = call
    work = tmp_path / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    ended = command(*name.split(), *calls(toy(kind), work)[name], *odd)
    well(ended, [name, odd])
    assert "\x1b" not in ended.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["work"]


def test_suggested_commands_are_quoted_and_fit_the_model(
    command: Any, toy: Any, tmp_path: Path
) -> None:
    """A folder named `x; touch PWNED #` stays a folder in suggested commands."""
    folder = tmp_path / "x; touch 'PWNED' #\n\x1b]0;title\x07error: all is well"
    run = shutil.copytree(toy("noise").run, folder / "run")
    data = shutil.copytree(toy("noise").data, folder / "data")
    for arguments in (
        ["resume", run],
        ["train", "dcgan", data, "--out", run],
        ["resume", folder / "none"],
        ["sample", folder, "--out", tmp_path / "x.png"],
        ["compare", folder / "none"],
        ["report", run],
    ):
        _, out, err = command(*arguments)
        lines = (out + err).splitlines()
        assert "\x1b" not in out + err
        assert not [line for line in lines if line.startswith("error: all is well")]
        for line in lines:
            for suggested in re.findall(r"ganvas (?:resume|train|sample|measure) .*touch .*", line):
                words = shlex.split(re.split(r"\. Or|\)", suggested)[0])
                assert any("touch 'PWNED' #" in word for word in words), line
    assert usage_of(Path("a b"), {"task": "images"}) == "ganvas sample 'a b' -n 64 --out grid.png"
    assert "drawings/" in usage_of(Path("r"), {"task": "pairs", "recipe": "edges"})
    assert "small/" in usage_of(Path("r"), {"task": "pairs", "recipe": "srgan", "scale": 4})


@pytest.mark.parametrize(("n", "columns"), [(16, 4), (64, 8), (2, 2), (9, 4)])
def test_grids_of_two_classes_are_nearly_square(
    n: int, columns: int, command: Any, toy: Any, tmp_path: Path
) -> None:
    """Rows hold whole groups of classes."""
    out = tmp_path / "grid.png"
    assert command("sample", toy("labels").run, "-n", n, "--out", out).status == 0
    with Image.open(out) as grid:
        assert grid.size == (columns * 18 - 2, -(-n // columns) * 18 - 2)
    assert provenance.read(out)["generated"]
