"""Models found in folders: runs, model folders, single files; other files are left out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from toys import SMALL, toy_data

from ganvas.inference.library import find_models, open_model
from ganvas.training import snapshot
from ganvas.training.trainer import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("library")
    for recipe in ("dcgan", "cyclegan"):
        data = toy_data(recipe, place / "data" / recipe)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(snapshot, "write_report", lambda run, **_: None)
            patch.setenv("GANVAS_CACHE", str(place / "cache"))
            train(recipe, str(data), out=place / recipe, images=1, set=SMALL[recipe], device="cpu")
    return place


def test_models_are_found_in_all_their_forms(folder: Path, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    shutil.copytree(folder / "dcgan", zoo / "run <1>")
    shutil.copytree(folder / "cyclegan" / "model", zoo / "group" / "model-folder")
    shutil.copy(folder / "dcgan" / "model" / "model.safetensors", zoo / "single.safetensors")
    (zoo / "damaged").mkdir()
    (zoo / "damaged" / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    (zoo / "empty.safetensors").touch()
    os.utime(zoo / "single.safetensors", (2e9, 2e9))
    found = {entry.name: entry for entry in find_models(zoo, tmp_path / "none")}
    assert found.keys() == {"run <1>", "group/model-folder", "single.safetensors"}
    assert next(iter(found)) == "single.safetensors"  # the newest
    assert found["run <1>"].title == "run <1> (dcgan, 16x16)"
    abilities = {name: (entry.generates, entry.translates) for name, entry in found.items()}
    assert abilities["run <1>"] == (True, False)
    assert abilities["group/model-folder"] == (False, True)
    for entry in found.values():
        assert open_model(entry.path) is open_model(entry.path)


def test_a_folder_that_is_a_run_holds_its_model(folder: Path) -> None:
    (entry,) = find_models(folder / "dcgan")
    assert (entry.name, entry.path) == ("dcgan", folder / "dcgan")


def test_a_newer_file_is_loaded_again(folder: Path, tmp_path: Path) -> None:
    file = shutil.copy(folder / "dcgan" / "model" / "model.safetensors", tmp_path / "m.safetensors")
    first = open_model(Path(file))
    os.utime(file, (2e9, 2e9))
    assert open_model(Path(file)) is not first
