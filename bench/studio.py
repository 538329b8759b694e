"""Measure how long a page of `ganvas studio` takes for 64 images of 64 px.

    python bench/studio.py [--rounds 20]

The model is that of bench/serving.py: DCGAN at 64 px with its usual width and random
weights. A headless Chromium opens the page and presses "New images" again and again; the
time runs from the click until the page holds the new sheet, its signature and the way
through the browser included. The first sheet is timed on its own, from the opening of the
page. Needs `pip install 'ganvas[ui]' playwright` and Debian's chromium. Writes
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
ANOTHER = (
    "([s, b]) => { const e = document.querySelector(s); return e && e.complete && e.src !== b; }"
)
IMAGES, WARM = 64, 2  # of a sheet; clicks that are not counted
LIMIT = 600_000  # milliseconds
REST = 2.0  # seconds before a click


def seconds_of_a_click(page: Page) -> float:
    """Seconds from the click until the page shows another sheet."""
    page.wait_for_timeout(1e3 * REST)
    before = page.locator(SHEET).get_attribute("src")
    start = time.monotonic()
    page.get_by_role("button", name="New images").click()
    page.wait_for_function(ANOTHER, arg=[SHEET, before])
    return time.monotonic() - start


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
        clicks = [seconds_of_a_click(page) for _ in range(WARM + rounds)][WARM:]
        opened.close()
    return {
        "first_ms": 1e3 * first,
        "median_ms": 1e3 * statistics.median(clicks),
        "p95_ms": 1e3 * sorted(clicks)[int(0.95 * (len(clicks) - 1))],
        "clicks_ms": [1e3 * click for click in clicks],
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
