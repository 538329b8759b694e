"""Untrusted JSON: every malformed file is one line, and pipes are not waited for."""

import json
import os
from contextlib import suppress
from xml.sax.saxutils import quoteattr

import pytest
from PIL import Image

from ganvas import recipes
from ganvas.claims import runner
from ganvas.core.config import override
from ganvas.core.errors import UserError
from ganvas.core.json_files import MAX_DEPTH, parse_json, read_json
from ganvas.data.prepare import mosaic_pairs
from ganvas.evaluation import real_features, report
from ganvas.media import provenance
from ganvas.metrics.features import transformer
from ganvas.training import config_file


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


BEYOND = {  # JSON that Python's parser rejects by another error than `JSONDecodeError`, or accepts
    "number": "9" * 5000,
    "list": "[" * 100_000,
    "object": '{"a": ' * 100_000,
    "sound, deep": "[" * 5000 + "]" * 5000,
    "no object": "[[1, 2]]",
    "null": "null",
}


def _mark(file, text):
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<r:Description xmlns:g="urn:ganvas:facts#" g:facts={quoteattr(text)}/>'
        "</r:RDF></x:xmpmeta>"
    )
    Image.new("L", (4, 4)).save(file, "WEBP", xmp=packet.encode())
    return provenance.read(file)["facts"]


def _written(read):
    def reader(file, text):
        file.write_text(text)
        return read(file)

    return reader


READERS = {
    "a setting": lambda _, text: override(recipes.find("dcgan")(8), f"G.width={text}"),
    "a settings file": _written(config_file.read),
    "a setting in a settings file": lambda _, text: config_file._toml(text),
    "a mark": _mark,
    "settings of mosaics": lambda file, text: _written(
        lambda _: mosaic_pairs._create_out_dir(file.parent, {"block": 4})
    )(file.with_name(mosaic_pairs.SETTINGS), text),
    "a run": lambda file, text: _written(lambda f: real_features.data_settings(f.parent))(
        file.with_name("run.json"), text
    ),
    "a run's report": lambda file, text: [
        _written(report._object)(file, text),
        report._lines(file),
    ],
    "preprocessing": lambda file, text: _written(lambda f: transformer.preprocessing(f.parent))(
        file.with_name("preprocessor_config.json"), text
    ),
    "a claim's record": _written(runner._parsed),
}


@pytest.mark.parametrize("text", BEYOND.values(), ids=BEYOND)
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_json_beyond_the_parser_is_a_message_or_nothing(tmp_path, reader, text):
    with suppress(UserError):
        reader(tmp_path / "file", text)
