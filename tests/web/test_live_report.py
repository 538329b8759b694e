"""report.html of a run in progress, in a real browser whose clock the test moves."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ganvas.evaluation import report

RUN = {"recipe": "dcgan", "images": 1000, "run": {f"setting{i}": i for i in range(60)}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    return tmp_path


def trained(run: Path, images: int) -> None:
    (run / "log.jsonl").write_text(json.dumps({"images": images, "G/loss": 1.0}) + "\n")


def test_it_follows_the_run_and_stops_with_it(browser: Any, run: Path, tmp_path: Path) -> None:
    trained(run, 100)
    address = report.write_report(run, running=True).as_uri()
    context = browser.new_context(viewport={"width": 600, "height": 400})
    page, problems = context.new_page(), []
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.clock.install()
    page.goto(address)
    assert "Running." in page.locator("#live").inner_text()
    page.locator("summary").click()
    page.evaluate("scrollTo(0, 700)")

    trained(run, 640)
    report.write_report(run, running=True)
    with page.expect_navigation():
        page.clock.run_for(1000 * report.RELOAD)
    page.locator("dd").get_by_text("640", exact=True).wait_for()
    assert page.evaluate("scrollY") == 700
    assert page.locator("details").get_attribute("open") is not None
    shots = Path(os.environ.get("GANVAS_SCREENSHOTS", tmp_path))
    shots.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=shots / "live_report.png", full_page=True)

    report.write_report(run)
    with page.expect_navigation():
        page.clock.run_for(1000 * report.RELOAD)
    assert page.locator("#live").count() == 0
    assert page.locator("script").count() == 0
    context.close()
    assert not problems


def test_a_page_that_is_no_longer_written_says_so(
    browser: Any, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(report.time, "time", lambda: now - report.STALE - 60)
    context = browser.new_context()
    page, loads = context.new_page(), []
    page.on("load", lambda _: loads.append(1))
    page.clock.install()
    page.goto(report.write_report(run, running=True).as_uri())
    page.clock.run_for(3000 * report.RELOAD)
    assert page.locator("#live").inner_text().startswith("Not updated since ")
    assert loads == [1]
    context.close()
