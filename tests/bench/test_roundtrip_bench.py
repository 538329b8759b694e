"""bench/roundtrip.py on synthetic images: it finds no change, and it finds one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import roundtrip

from ganvas.media.values import Span, Values


@pytest.mark.parametrize(
    ("kind", "channels", "window", "options"),
    [
        ("uint8", 1, "type", []),
        ("uint16", 3, "type", []),
        ("uint16", 1, (0, 4095), ["--tile", 32]),
        ("int16", 5, (-1024, 3071), ["--tile", 32]),
    ],
)
def test_an_identity_returns_every_value(
    kind: str, channels: int, window: Span, options: list[object], tmp_path: Path
) -> None:
    low, high, _ = Values.of(kind, window)
    shape = (2, 40, 70, channels)
    stack = np.random.default_rng(0).integers(int(low), int(high) + 1, shape).astype(kind)
    stack.flat[:2] = low, high
    assert roundtrip.changed(stack, tmp_path, *options, window=window) == 0


def test_a_change_is_counted(tmp_path: Path) -> None:
    """What lies beyond the window is clipped."""
    stack = np.full((1, 16, 16, 1), 4095, np.uint16)
    stack[0, :2, :3] = 4096
    assert roundtrip.changed(stack, tmp_path, window=(0, 4095)) == 6
