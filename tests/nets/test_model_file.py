"""Model files: a damaged or hostile one ends with one line."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import ganvas
from ganvas.core import Run, Shape, allocator, meta_device
from ganvas.core.errors import CapabilityError, UserError
from ganvas.data import images
from ganvas.inference import model_file
from ganvas.methods import DCGAN, SRGAN
from ganvas.nets import dcgan, super_resolution

SHAPE = Shape(3, 16, 16, 3)


def _run(method: Callable[..., Any]) -> Run:
    return Run(method=method, data=partial(images, source="x"), optim={}, batch=1, images=1)


def _save(folder: Path, **more: Any) -> Path:
    """A DCGAN of three classes."""
    build = partial(
        DCGAN,
        G=partial(dcgan.Generator, width=4, latent=5),
        D=partial(dcgan.Discriminator, width=4),
        **more,
    )
    facts = {
        "recipe": "dcgan",
        "task": "images",
        "data": {"source": "x", "classes": ["cat", "dog", "1"]},
    }
    model_file.save(folder, build(SHAPE), _run(build), SHAPE, facts)
    return folder / "model.safetensors"


def _rewritten(
    file: Path, change: Callable[[dict[str, Any]], Any], *, sum_of_its_own: bool = True
) -> Path:
    """Write `file` with a changed header and its checksum.

    change: returns the new header, or changes the old one in place"""
    with safe_open(file, "pt") as f:
        header = json.loads(f.metadata()["ganvas"])
        tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118
    changed = change(header)
    text = changed if isinstance(changed, str) else json.dumps(header)
    metadata = {"ganvas": text} | (
        {"blake2b": model_file.checksum(text, tensors)} if sum_of_its_own else {}
    )
    other = file.with_name("other.safetensors")
    save_file(tensors, other, metadata=metadata)
    return other


def _network(**settings: Any) -> Callable[[dict[str, Any]], None]:
    return lambda h: h["method"]["G"].update(settings)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda h: "[]", "expected a JSON object, got a list"),
        (lambda h: "null", "got null"),
        (lambda h: "[" * 100_000, "nested too deeply"),
        (lambda h: '{"format": ' + "9" * 5000 + "}", "broken"),
        (lambda h: h.clear(), "format: field required"),
        (lambda h: h.update(format="2"), "format: "),
        (lambda h: h.update(format=3), "reads up to 2: upgrade"),
        (lambda h: h.pop("method"), "either 'method' or 'imported'"),
        (lambda h: h.update(method="x"), "method: "),
        (lambda h: h.update(method={}), "expected"),
        (lambda h: h.update(method={"$partial": "ganvas.nets.dcgan:Generator"}), "returns Method"),
        (lambda h: h.update(method={"$new": "ganvas.core.schedules:Constant"}), "returns Method"),
        (lambda h: h.pop("shape"), "shape: field required"),
        (lambda h: h.pop("stage"), "stage: field required"),
        (lambda h: h.update(imported="x"), "either 'method' or 'imported'"),
        (lambda h: (h.pop("method"), h.update(imported="x")), "no known format|looks like"),
        (lambda h: h["shape"].update(height="16"), "shape.height: "),
        (lambda h: h["shape"].update(height=-16), "shape.height: "),
        (lambda h: h["shape"].update(height=0), "shape.height: "),
        (
            lambda h: h["shape"].update(height=1 << 16, width=1 << 16),
            "does not fit its own description",
        ),
        (lambda h: h["shape"].update(height=1 << 40), "shape.height: "),
        (lambda h: h["shape"].update(depth=16), "shape.depth: "),
        (lambda h: h["shape"].update(channels=17), "shape.channels: "),
        (lambda h: h["shape"].update(classes=10**9), "shape.classes: "),
        (lambda h: h["stage"].update(resolution=10**6), "stage.resolution: "),
        (lambda h: h["stage"].update(resolution=64), "larger than the shape"),
        (lambda h: h["stage"].update(alpha=float("nan")), "stage.alpha: "),
        (lambda h: h["data"].update(classes=5), "data.classes: "),
        (lambda h: h["method"].update(bogus=1), "takes no 'bogus'"),
        (lambda h: h["method"].update(r1_every="often"), "r1_every: got 'often', expected int"),
        (lambda h: h["method"].update(G=5), "G: got 5"),
        (_network(width="wide"), "G.width: got 'wide', expected int"),
        (_network(width=5), r"G\.main\.\S+ is float32 \[\d+.*\] in the file, and float32 \[\d+"),
        (_network(width=10**5), "does not fit its own description"),
        (_network(width=10**9), "a setting is larger"),
        (_network(width=-4), "cannot be built"),
        (_network(latent=10**10), "a setting is larger"),
        (_network(latent=10**400), "a setting is larger"),
        (lambda h: h["method"].update(G=_blocks(10**9)), "a setting is larger"),
        (lambda h: h["method"].update(G=_blocks(10**6)), "this many layers"),
    ],
)
def test_a_header_that_lies_is_one_line(
    change: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meta_device, "MAX_CALLS", 2000)
    file = _rewritten(_save(tmp_path / "m"), change)
    with pytest.raises(UserError, match=says) as e:
        ganvas.load(file)
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 900


def _blocks(blocks: int) -> dict[str, Any]:
    return {"$partial": "ganvas.nets.r3gan:Generator", "blocks": blocks}


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_flipped_bit_is_noticed(name: str, tmp_path: Path) -> None:
    file = _save(tmp_path / "m").with_name(name)
    whole, draw = file.read_bytes(), random.Random(0)
    header = 8 + struct.unpack("<Q", whole[:8])[0] if name == "model.safetensors" else len(whole)
    bits = [draw.randrange(8 * header) for _ in range(150)] + [
        draw.randrange(8 * len(whole)) for _ in range(150)
    ]
    for bit in bits:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        with pytest.raises(UserError) as e:
            ganvas.load(tmp_path / "m")
        assert "\n" not in str(e.value), bit
    file.write_bytes(whole)
    ganvas.load(tmp_path / "m")


def test_files_of_format_1_have_no_checksum(tmp_path: Path) -> None:
    file = _save(tmp_path / "m")
    old = _rewritten(file, lambda h: h.update(format=1), sum_of_its_own=False)
    assert torch.equal(
        ganvas.load(old).sample(2, output="torch"), ganvas.load(file).sample(2, output="torch")
    )
    new = _rewritten(file, lambda h: None, sum_of_its_own=False)
    with pytest.raises(UserError, match="damaged"):
        ganvas.load(new)


def test_shape_and_type_of_every_tensor_are_compared(tmp_path: Path) -> None:
    file = _save(tmp_path / "m")
    with safe_open(file, "pt") as f:
        text = f.metadata()["ganvas"]
        tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118
    name = next(iter(tensors))
    more = {"D.main.0.weight": torch.zeros(1), "pl_mean": torch.zeros(())}
    for changed in (
        {k: v for k, v in tensors.items() if k != name},
        {**tensors, **more},
        {**tensors, name: tensors[name].double()},
        {**tensors, name: tensors[name][:1].contiguous()},
    ):
        save_file(
            changed,
            file.with_name("o"),
            {"ganvas": text, "blake2b": model_file.checksum(text, changed)},
        )
        with pytest.raises(UserError, match="does not fit its own description"):
            ganvas.load(file.with_name("o"))


def test_weights_that_only_training_needs_are_left_out(tmp_path: Path) -> None:
    """The discriminator, and the file of the network of SRGAN's content loss."""
    model = ganvas.load(_save(tmp_path / "m"))
    assert isinstance(model.method.D, nn.Identity)
    build = partial(
        SRGAN,
        G=partial(super_resolution.SRResNet, width=4, blocks=1),
        D=partial(super_resolution.SRDiscriminator, width=4),
    )
    shape = Shape(3, 32, 32)
    method = build(shape)
    model_file.save(
        tmp_path / "s",
        method,
        _run(partial(build, vgg="/a/path/of/mine")),
        shape,
        {"task": "pairs"},
    )
    assert "of/mine" not in (tmp_path / "s" / "model.json").read_text()
    old = _rewritten(
        tmp_path / "s" / "model.safetensors", lambda h: h["method"].update(vgg="/a/path/of/mine")
    )
    x = torch.rand(1, 3, 8, 8)
    made = [ganvas.load(f).translate(x, output="torch") for f in (old, tmp_path / "s")]
    assert torch.equal(*made)


def test_other_files_are_not_opened_as_models(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a regular file"):
        ganvas.load(tmp_path / "pipe")
    (tmp_path / "m").write_bytes(b"")
    for name, says in (("m", "is an empty file"), ("nowhere", "there is no model")):
        with pytest.raises(UserError, match=says):
            ganvas.load(tmp_path / name)
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="not a ganvas model"):
        ganvas.load(tmp_path / "other.safetensors")


# ---------------------------------------------------------------- Python


def test_equal_models_are_equal_files(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = _save(tmp_path / "m", labels=True).read_bytes()
    for _ in range(8):
        torch.manual_seed(0)
        assert _save(tmp_path / "m", labels=True).read_bytes() == first


def test_repr_of_a_model(tmp_path: Path) -> None:
    assert {"Model", "load", "train", "measure", "resume", "import_network", "UserError"} <= set(
        dir(ganvas)
    )
    text = repr(ganvas.load(_save(tmp_path / "m", labels=True)))
    for part in ("DCGAN", "16x16x3", "3 classes: cat, dog, 1", str(tmp_path / "m")):
        assert part in text
    assert "classes" not in repr(ganvas.load(_save(tmp_path / "n")))


def test_labels_are_names_or_numbers(tmp_path: Path) -> None:
    model = ganvas.load(_save(tmp_path / "m", labels=True))
    want = model.sample(3, labels=[1, 0, 2], output="torch")
    several: tuple[Any, ...] = (
        ["dog", "cat", "1"],
        ["dog", 0, 2],
        np.array([1, 0, 2]),
        torch.tensor([1, 0, 2]),
        ("dog", np.int64(0), 2),
    )
    for labels in several:
        assert torch.equal(model.sample(3, labels=labels, output="torch"), want)
    assert torch.equal(
        model.walk(2, frames=2, label="dog", output="torch"),
        model.walk(2, frames=2, label=1, output="torch"),
    )
    for labels, says in (
        (["cow"], "no class 'cow'"),
        ([3], "from 0 to 2"),
        ([0.5], "a list of"),
        ([None], "a list of"),
        ("dog", "list"),
        ([0, 1], "must be 1 numbers"),
    ):
        with pytest.raises(UserError, match=says):
            model.sample(1, labels=labels)  # pyright: ignore[reportArgumentType]
    with pytest.raises(CapabilityError, match="without labels"):
        ganvas.load(_save(tmp_path / "n")).sample(1, labels=["cat"])


def test_python_keeps_its_allocator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError("the process's allocator was changed")

    monkeypatch.setattr(allocator.ctypes, "CDLL", refused)
    ganvas.load(_save(tmp_path / "m")).sample(1)
    settings = ["G.width=2", "D.width=2", "data.size=16", "batch=8"]
    ganvas.train(
        "dcgan", "digits", out=tmp_path / "run", size=16, images=8, set=settings, device="cpu"
    )


def test_asdict_equals_the_header(tmp_path: Path) -> None:
    info: Any = ganvas.load(_save(tmp_path / "m")).info
    assert info["shape"] | {"ids": False} == json.loads(json.dumps(asdict(SHAPE)))
    assert json.loads((tmp_path / "m" / "model.json").read_text()) == info
