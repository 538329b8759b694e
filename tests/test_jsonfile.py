"""Untrusted JSON: every malformed file is one line, and pipes are not waited for."""

import json
import os

import pytest

from ganvas.core.errors import UserError
from ganvas.core.json_files import MAX_DEPTH, parse_json, read_json


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "broken"),
        (b"{", "broken"),
        (b"[1, 2]", "got a list"),
        (b"null", "got null"),
        (b"3", "got a number"),
        (b'"x"', "got text"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "broken"),
        (b'{"a": ' * 100_000, "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "nested too deeply"),
        (b'{"a": "' + b"x" * 200 + b'"}', "larger than 100 bytes"),
    ],
)
def test_malformed_json_is_one_line(tmp_path, content, message):
    file = tmp_path / "thing.json"
    file.write_bytes(content)
    most = 100 if "larger" in message else 1 << 26
    with pytest.raises(UserError, match=message) as e:
        read_json(file, "run description", most)
    assert "thing.json" in str(e.value)
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 400


def test_an_object_within_the_bounds_is_read(tmp_path):
    value = {"a": [1, {"b": None}], "naïve": "é"}
    (tmp_path / "a.json").write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    assert read_json(tmp_path / "a.json", "record") == value
    deep = '{"a": ' * MAX_DEPTH + "1" + "}" * MAX_DEPTH
    assert parse_json(deep, "here", "record")


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(UserError, match="not a regular file"):
        read_json(tmp_path / "run.json", "run description")
    with pytest.raises(UserError, match="not a regular file"):
        read_json(tmp_path, "run description")
    with pytest.raises(UserError, match="there is no record"):
        read_json(tmp_path / "none.json", "record")
    with pytest.raises(UserError, match="cannot be read"):
        read_json("a\0b", "record")
