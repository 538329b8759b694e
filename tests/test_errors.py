"""Text from outside becomes one safe line; what cannot be written is a message with advice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ganvas.core import files
from ganvas.core.errors import OutputError, printable
from ganvas.engine import checkpoint
from ganvas.engine.lock import run_lock
from ganvas.inference import model_file, translate_files
from ganvas.media import encode


@given(st.text(st.characters()))
def test_any_text_becomes_one_printable_utf8_line(text: str) -> None:
    safe = printable(text)
    assert safe.isprintable()
    safe.encode()  # surrogates would raise


def test_ordinary_names_stay_and_control_sequences_are_escaped() -> None:
    assert printable("Größe 7 – 猫.png") == "Größe 7 – 猫.png"
    assert printable("a\x1b]0;title\x07\nb") == "a\\x1b]0;title\\x07\\nb"
    assert printable(b"caf\xe9".decode(errors="surrogateescape")) == "caf\\udce9"


def test_a_name_that_is_not_utf8_can_stand_in_any_text(tmp_path: Path) -> None:
    files.write(tmp_path / "a.txt", "é \udcff")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "é \\udcff"


def _locked(folder: Path) -> None:
    with run_lock(folder):
        pass


_STATE: Any = {"clock": {"images": 8}}
WRITERS = {
    "a file": lambda folder: files.write(folder / "a.txt", "text"),
    "an image": lambda folder: encode.save(Image.new("L", (4, 4)), folder / "a.png"),
    "a model": lambda folder: model_file.write(folder, {"w": torch.zeros(1)}, {}),
    "a checkpoint": lambda folder: checkpoint.save(folder, _STATE, {}, {}),
    "a lock": _locked,
    "translations": translate_files._prepare,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_what_cannot_be_written_is_a_message_that_says_what_to_do(tmp_path: Path, write) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"(?s)/file.*\b(writable|may write|another)\b") as e:
        write(tmp_path / "file" / "folder")
    assert "\n" not in str(e.value)
