"""`--precision auto`: bf16 only where the processor multiplies in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganvas.core.environment import auto_precision


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ("flags : fpu avx512f avx512_bf16 amx_tile", "bf16"),
        ("flags : fpu amx_bf16 amx_tile", "bf16"),
        ("Features : fp asimd bf16 i8mm", "bf16"),
        ("flags : fpu avx2 avx512f avx512_vnni", "fp32"),
    ],
)
def test_it_follows_the_processors_flags(
    monkeypatch: pytest.MonkeyPatch, flags: str, precision: str
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, **_: f"processor : 0\n{flags}\n")
    assert auto_precision("cpu") == precision


def test_without_cpuinfo_it_is_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Path, **_: str) -> str:
        raise FileNotFoundError(str(self))

    monkeypatch.setattr(Path, "read_text", missing)
    assert auto_precision("cpu") == "fp32"
