"""The studio in a process of its own, and a real Chromium that drives it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import ENVIRONMENT, LIMIT
from toys import SMALL, toy_data

from ganvas import load
from ganvas.engine.lock import is_locked
from ganvas.inference import editing
from ganvas.inference.units import layers
from ganvas.training import snapshot
from ganvas.training.trainer import train

NAMES = ("chromium", "chromium-browser", "google-chrome")
RECIPES = {"letters": "stylegan2_digits", "domains": "cyclegan", "maps": "spade_small"}


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's Chromium."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Debian's chromium, which .ci/run installs")
        pytest.skip("needs a browser: apt-get install chromium")
    return found


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of toy runs: one that generates, with units, two that translate."""
    folder = tmp_path_factory.mktemp("studio")
    for name, recipe in RECIPES.items():
        data = toy_data(recipe, folder / "data" / name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(snapshot, "write_report", lambda run, **_: None)
            patch.setenv("GANVAS_CACHE", str(folder / "cache"))
            out = folder / "runs" / name
            train(recipe, str(data), out=out, images=1, set=SMALL[recipe], device="cpu")
    (folder / "runs" / "letters" / editing.RECORD).write_text(units(folder / "runs" / "letters"))
    return folder / "runs"


def units(run: Path) -> str:
    """A record of `ganvas dissect`: all units of a layer, as two concepts."""
    model = load(run)
    layer = layers(model)[-1]
    every = list(range(layer.units))
    found = [
        editing.ConceptUnits(
            concept="ink <b>", layer=layer.name, units=every, values=[3.0] * len(every)
        ),
        editing.ConceptUnits(concept="artifacts", layer=layer.name, units=every),
    ]
    return editing.Units(
        format=editing.FORMAT,
        sizes={layer.name: (layer.units, layer.height, layer.width)},
        edits=found,
        weights=model.facts["weights"],
    ).model_dump_json()


@pytest.fixture(scope="session")
def studio(runs: Path, chromium: str) -> Iterator[str]:
    """The address of a studio that serves `runs`. It must end well at Ctrl-C."""
    environment = {k: v for k, v in ENVIRONMENT.items() if k != "PYTHONWARNINGS"}
    environment |= {"GANVAS_CACHE": str(runs.parent / "cache"), "TMPDIR": str(runs.parent)}
    process = subprocess.Popen(
        [sys.executable, "-m", "ganvas", "studio", runs, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=runs.parent,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/", first)
    assert found, (first, process.poll(), process.communicate()[1] if not first else "")
    yield found[0]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=LIMIT)
    assert (process.returncode, errors.strip()) == (130, "stopped"), errors[-3000:]
    assert not list(runs.parent.glob("ganvas-studio-*"))
    assert not [run for run in runs.iterdir() if is_locked(run)], "a training goes on"


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """A browser that ends with its module: Playwright keeps an event loop running in this thread,
    beside which no later test could run its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def page(
    browser: Any, studio: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Any]:
    """The opened studio. It must ask no other host for anything, and report no error.

    A screenshot is kept in the test's folder, or in GANVAS_SCREENSHOTS."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    opened, outside, problems = context.new_page(), [], []
    opened.set_default_timeout(300_000)  # ms; a page that never answers must not take half an hour
    opened.on(
        "request", lambda r: r.url.startswith((studio, "data:", "blob:")) or outside.append(r.url)
    )
    opened.on("console", lambda m: m.type == "error" and problems.append(m.text))
    opened.on("pageerror", lambda e: problems.append(str(e)))
    opened.goto(studio)
    yield opened
    shots = Path(os.environ.get("GANVAS_SCREENSHOTS", tmp_path))
    shots.mkdir(parents=True, exist_ok=True)
    opened.screenshot(path=shots / f"{request.node.name}.png", full_page=True)
    context.close()
    assert (outside, problems) == ([], [])
