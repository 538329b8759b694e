"""Measure how long a page of `ganvas studio` takes for 64 images of 64 px.

    python bench/studio.py [--rounds 20]

The model is that of bench/serving.py: DCGAN at 64 px with its usual width and random
weights. A headless Chromium opens the page and presses "New images" again and again. The
page's own clock runs from the click's event until the frame after the one in which the
new sheet is decoded and shown: what a person waits for, without the driver of the
browser, which needs tens of milliseconds to find and press the button. The signature and
the way through the browser are included. The first sheet is timed on its own, from the
opening of the page. Needs `pip install 'ganvas[ui]' playwright` and Debian's chromium. Writes
bench/results/studio.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from serving import make_model

from ganvas.core.environment import commit, machine

RESULTS = Path(__file__).parent / "results" / "studio.json"
SHEET = "#images img"
WATCH = """
(sheet) => {
  const before = document.querySelector(sheet).src;
  window.waited = null;
  let clicked = null;
  const once = { capture: true, once: true };
  document.addEventListener("click", (event) => { clicked = event.timeStamp; }, once);
  const seen = new MutationObserver(async () => {
    const image = document.querySelector(sheet);
    if (!image || image.src === before) return;
    seen.disconnect();
    await image.decode();
    const shown = (now) => { window.waited = now - clicked; };
    requestAnimationFrame(() => requestAnimationFrame(shown));
  });
  const whole = { attributes: true, childList: true, subtree: true };
  seen.observe(document.querySelector("#images"), whole);
}
"""
IMAGES, WARM = 64, 2  # of a sheet; clicks that are not counted
LIMIT = 600_000  # milliseconds
REST = 2.0  # seconds before a click


def wait_of_a_click(page: Page) -> float:
    """Milliseconds from the click until another sheet is on the screen."""
    page.wait_for_timeout(1e3 * REST)
    page.evaluate(WATCH, SHEET)
    page.get_by_role("button", name="New images").click()
    return page.wait_for_function("() => window.waited").json_value()


def measure(address: str, rounds: int) -> dict[str, Any]:
    """Milliseconds of the first sheet and of the following ones."""
    browser = shutil.which("chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = opened.new_page()
        page.set_default_timeout(LIMIT)
        start = time.monotonic()
        page.goto(address)
        page.locator(SHEET).wait_for()
        first = time.monotonic() - start
        images = page.locator("#images .cells button").count()
        assert images == IMAGES, f"a sheet of {images} images, expected {IMAGES}"
        clicks = [wait_of_a_click(page) for _ in range(WARM + rounds)][WARM:]
        opened.close()
    return {
        "first_ms": 1e3 * first,
        "median_ms": statistics.median(clicks),
        "p95_ms": sorted(clicks)[int(0.95 * (len(clicks) - 1))],
        "clicks_ms": clicks,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder) / "dcgan")
        studio = subprocess.Popen(
            [sys.executable, "-m", "ganvas", "studio", folder, "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert studio.stdout is not None
        found = re.search(r"http://\S+", studio.stdout.readline())
        assert found
        figures = measure(found[0], options.rounds)
        studio.send_signal(signal.SIGINT)
        studio.wait()
    record = {
        "command": "python bench/studio.py",
        "commit": commit(),
        "machine": machine() | {"threads": os.environ.get("OMP_NUM_THREADS")},
        "images": IMAGES,
        **figures,
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({k: v for k, v in record.items() if k != "clicks_ms"}, indent=1))


if __name__ == "__main__":
    main()
