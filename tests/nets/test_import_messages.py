"""Why a file does not fit a format: in the importer's own words, in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from renaming import lively
from torch import Tensor

from ganvas.core.errors import UserError
from ganvas.inference import importers
from ganvas.inference.importers import as_method, import_network
from ganvas.inference.importers.formats import Found, Misfit, Tensors
from ganvas.nets import cogan, dcgan, image_to_image, patchgan, pix2pixhd, super_resolution

State = dict[str, Tensor]
NO_FORM = "their names, numbers or shapes are those of no form of it that is known"
# What Python and torch say of themselves.
RAW = r"Error\b|invalid literal|tuple\.index|empty sequence|NoneType|subscript|traceback|'\w+'$"


def refusal(state: State, file: Path) -> str:
    torch.save(state, file)
    with pytest.raises(UserError) as caught:
        import_network(file)
    message = str(caught.value)
    assert message.isprintable()
    assert not re.search(RAW, message), message
    return message


def pair() -> State:
    """CoGAN's generators under their own names."""
    net, state = cogan.Generators(latent=3, widths=(4, 4, 4, 4)), {}
    for key, value in net.state_dict().items():
        kind, number, *rest = key.split(".")
        if kind == "own":
            state[f"dconv4_{'ab'[int(number)]}.{rest[-1]}"] = value
        else:
            state[f"{('dconv', 'bn', 'prelu')[int(rest[0])]}{number}.{rest[1]}"] = value
    return state


def enhancer() -> State:
    names = {"coarse": "model", "down": "model1_1", "up": "model1_2"}
    net = pix2pixhd.LocalEnhancer(width=2, downs=1, blocks=1, local_blocks=1)
    named = (key.partition(".") for key in net.state_dict())
    values = net.state_dict().values()
    return {f"{names[a]}.{c}": v for (a, _, c), v in zip(named, values, strict=True)}


MAKES: dict[str, Callable[[], State]] = {
    "CoGAN": pair,
    "enhancer": enhancer,
    "ResNet": lambda: image_to_image.ResNetGenerator(width=2, blocks=1).state_dict(),
    "U-Net": lambda: image_to_image.UNetGenerator(width=2, depth=3).state_dict(),
    "PatchGAN": lambda: patchgan.PatchDiscriminator(3, 2).state_dict(),
    "RRDBNet": lambda: super_resolution.RRDBNet(width=4, blocks=1, growth=2).state_dict(),
    "DCGAN": lambda: dcgan.Generator(width=2, size=16).state_dict(),
}


def scalar(state: State, key: str) -> None:
    state[key] = torch.zeros(())


def empty(state: State, key: str) -> None:
    state[key] = torch.zeros(0)


def numbered(state: State, key: str) -> None:
    state[re.sub(r"\d+", "9" * 30, key)] = state.pop(key)


def lettered(state: State, key: str) -> None:
    state[re.sub(r"\d+", "x", key)] = state.pop(key)


def deeper(state: State, key: str) -> None:
    state[f"{key}.more"] = state.pop(key)


def removed(state: State, key: str) -> None:
    del state[key]


@pytest.mark.parametrize("change", [scalar, empty, numbered, lettered, deeper, removed])
@pytest.mark.parametrize("name", MAKES)
def test_no_message_is_another_exceptions(
    name: str, change: Callable[[State, str], None], tmp_path: Path
) -> None:
    """Each of the first and last tensors is changed, alone."""
    whole = MAKES[name]()
    weights = [k for k, v in whole.items() if v.is_floating_point() and v.numel() > 1]
    for key in (*weights[:3], weights[-2], weights[-1]):
        state = dict(whole)
        change(state, key)
        if state.keys() == whole.keys() and change in (numbered, lettered):
            continue  # without a number
        message = refusal(state, tmp_path / "x.pth")
        assert re.search(r"looks like a|in no known format", message)


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    state = pair()
    del state["dconv2.weight"]
    message = refusal(state, tmp_path / "x.pth")
    assert message.endswith("looks like a CoGAN generators (mingyuliutw/CoGAN), but its layers "
                            "do not fit: dconv2.weight is missing")  # fmt: skip
    with pytest.raises(Misfit, match=r"^a\\x1b is missing$"):
        Tensors()["a\x1b"]


@pytest.mark.parametrize(
    "error",
    [KeyError("model2_1"), AssertionError("key"), IndexError("list index out of range"),
     RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ZeroDivisionError("division")],
)  # fmt: skip
def test_foreign_exceptions_have_one_message(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(state: State) -> Found | None:
        raise error

    monkeypatch.setattr(importers, "FORMATS", {"network (someone)": failing})
    message = refusal({"w": torch.zeros(1)}, tmp_path / "x.pth")
    assert message.endswith(f"looks like a network (someone), but its layers do not fit: {NO_FORM}")


def test_layers_that_fit_singly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "g.pth"
    torch.save(dcgan.Generator(width=2, size=16).state_dict(), file)

    def failing(self: Any, *args: Any) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x8 and 4x4)")

    monkeypatch.setattr(dcgan.Generator, "forward", failing)
    with pytest.raises(UserError, match=r"cannot be run: its layers do not fit together$"):
        as_method.import_model(file, tmp_path / "model")


def test_good_files_still_open(tmp_path: Path) -> None:
    for name, make in MAKES.items():
        torch.save(make(), tmp_path / f"{name}.pth")
        assert lively(import_network(tmp_path / f"{name}.pth")) is not None
