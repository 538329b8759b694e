"""Fixtures for every test.

Real data and reference outputs lie in a folder beside the checkout (`../shared`, or the
value of GANVAS_SHARED). The project works without it, and the tests that need it name
it when they skip. CI must have it.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from processes import CONFIG

from ganvas.training import probe

SHARED = Path(os.environ.get("GANVAS_SHARED", Path(__file__).resolve().parents[2] / "shared"))

settings.register_profile("ganvas", deadline=None)  # a busy machine is no failure
settings.load_profile("ganvas")
os.environ["GANVAS_CONFIG"] = CONFIG  # tests never use the user's signing key
os.environ["GANVAS_MARK"] = "0"  # tests compare pixels; those of the invisible mark set it
for variable in ("GANVAS_SIGNER", "GANVAS_TOKEN"):
    os.environ.pop(variable, None)
probe.OBJECTIVE = 16
probe.IMAGES = 64  # samples at each snapshot; a thousand take longer than a toy's training
torch.set_num_threads(1)  # the tests' networks are tiny, and two workers share two cores
gc.set_threshold(700, 10, 50)  # full collections look through all that was imported


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the browser's tests first.

    At the end, two workers would share them: each would start a studio, and wait for it."""
    items.sort(key=lambda item: "web" not in item.path.parts)


def pytest_collection_finish() -> None:
    """Let no garbage collection look through modules and tests, which live to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and golden outputs."""
    if not (SHARED / "golden").is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"CI must have the shared data, and {SHARED} is not there")
        pytest.skip(f"needs the shared data folder ({SHARED}), which is absent; set GANVAS_SHARED")
    return SHARED


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Fix torch's global seed, so that the order of the tests changes nothing."""
    torch.default_generator.manual_seed(0)  # torch's own formats the stack for each absent GPU


@pytest.fixture(scope="session", autouse=True)
def _own_cache_of_shared_fixtures(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The cache of fixtures of a module or of the session, which begin before `_own_cache`."""
    os.environ["GANVAS_CACHE"] = str(tmp_path_factory.getbasetemp() / "cache")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never read or fill the user's cache."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("GANVAS_SIGN", "1")  # --no-sign sets it for the rest of the process
    monkeypatch.setenv("GANVAS_MARK", "0")  # and so does --no-mark
