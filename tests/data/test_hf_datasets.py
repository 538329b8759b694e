"""Folders and files of Hugging Face's datasets give the images of the same files."""

from __future__ import annotations

import json
import socket
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sample_images import noise_image

from ganvas import data
from ganvas.core.errors import DataError, UserError

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refused)


def png(i: int) -> bytes:
    buffer = BytesIO()
    Image.fromarray(noise_image(i)).save(buffer, "PNG")
    return buffer.getvalue()


def rows(count: int = 12, first: int = 0) -> Any:
    """A data set of noise images with labels "cat" and "dog"."""
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    images = [{"bytes": png(first + i), "path": None} for i in range(count)]
    return datasets.Dataset.from_dict(
        {"image": images, "label": [i % 2 for i in range(count)]}, features=features
    )


def expect(source: Path, count: int = 12, first: int = 0, **options: Any) -> data.Feed:
    feed = data.images(source, **options)
    (batch,) = feed.batches(64)
    pixels = ((batch.x.permute(0, 2, 3, 1) + 1) * 127.5).round().to(torch.uint8)
    assert len(pixels) == count
    assert all((pixels[i].numpy() == noise_image(first + i)).all() for i in range(count))
    return feed


def test_a_saved_data_set(tmp_path: Path) -> None:
    rows().save_to_disk(tmp_path / "saved", num_shards=2)
    feed = expect(tmp_path / "saved")
    assert feed.info.classes == ("cat", "dog")
    assert next(feed.batches(64)).y.tolist() == [0, 1] * 6
    report = data.check(tmp_path / "saved")
    assert report.ok
    assert report.classes == {"cat": 6, "dog": 6}


def test_a_saved_dictionary_of_splits(tmp_path: Path) -> None:
    parts = {"train": rows(), "validation": rows(3, 20), "extra": rows(2)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    feed = expect(tmp_path / "saved")
    assert "splits that are not used: extra" in feed.info.notes
    expect(tmp_path / "saved", 3, 20, part="test")


def test_parquet_files(tmp_path: Path) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    rows().to_parquet(tmp_path / "set" / "data" / "train-00000-of-00001.parquet")
    rows(4, 30).to_parquet(tmp_path / "set" / "data" / "test-00000-of-00001.parquet")
    expect(tmp_path / "set")
    expect(tmp_path / "set", 4, 30, part="test")
    plain = {"img": [png(i) for i in range(12)], "label": ["x", "y", None] * 4}
    datasets.Dataset.from_dict(plain).to_parquet(tmp_path / "plain.parquet")
    feed = expect(tmp_path / "plain.parquet")
    assert feed.info.classes == ("x", "y")
    assert next(feed.batches(64)).y.tolist() == [0, 1, -1] * 4


def test_a_path_in_place_of_bytes_is_not_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(3))
    images = [{"bytes": png(0), "path": None}, {"bytes": None, "path": str(secret)}]
    features = datasets.Features({"image": datasets.Image()})
    one = datasets.Dataset.from_dict({"image": images}, features=features)
    one.to_parquet(tmp_path / "paths.parquet")  # save_to_disk would read the file
    feed = data.images(tmp_path / "paths.parquet")
    assert feed.info.count == 1
    assert "is a path (secret.png), which is not opened" in feed.info.skipped[0]


def test_hostile_and_damaged_folders_are_refused(tmp_path: Path) -> None:
    rows(4).save_to_disk(tmp_path / "outside")
    rows(4).save_to_disk(tmp_path / "saved")
    state = json.loads((tmp_path / "saved" / "state.json").read_text())
    for name in ("../outside/data-00000-of-00001.arrow", "/etc/passwd", "", None, "https://x/y"):
        state["_data_files"] = [{"filename": name}]
        (tmp_path / "saved" / "state.json").write_text(json.dumps(state))
        with pytest.raises(DataError, match="does not lie beside it: refused"):
            data.images(tmp_path / "saved")
    state["_data_files"] = [{"filename": "data-00000-of-00001.arrow"}]
    (tmp_path / "saved" / "state.json").write_text(json.dumps(state))
    (tmp_path / "saved" / "data-00000-of-00001.arrow").write_bytes(b"no arrow" * 9)
    (tmp_path / "bad.parquet").write_bytes(b"no parquet" * 9)
    for source in (tmp_path / "saved", tmp_path / "bad.parquet"):
        with pytest.raises(DataError, match="cannot be read"):
            data.images(source)
    datasets.Dataset.from_dict({"text": ["a", "b"]}).to_parquet(tmp_path / "text.parquet")
    with pytest.raises(UserError, match="has the columns text; expected one of images"):
        data.images(tmp_path / "text.parquet")
