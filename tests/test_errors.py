"""Untrusted text becomes one safe line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ganvas.core.errors import printable


@given(st.text(st.characters()))
def test_any_text_becomes_one_printable_utf8_line(text: str) -> None:
    safe = printable(text)
    assert safe.isprintable()
    safe.encode()  # surrogates would raise


def test_ordinary_names_stay_and_control_sequences_are_escaped() -> None:
    assert printable("Größe 7 – 猫.png") == "Größe 7 – 猫.png"
    assert printable("a\x1b]0;title\x07\nb") == "a\\x1b]0;title\\x07\\nb"
    assert printable(b"caf\xe9".decode(errors="surrogateescape")) == "caf\\udce9"
