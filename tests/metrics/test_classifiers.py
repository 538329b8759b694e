"""Class maps of classifiers against their definitions, and names of classes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.core.errors import UserError
from ganvas.media.mosaic import strongest
from ganvas.metrics.classifiers import IMAGENET, Classifier, classifier, gradient_activation
from ganvas.metrics.features import MobileNetV2, SqueezeNet

LABELS = ["crane, bird", "crane", "daisy", "hip, rose hip, rosehip", "a, b"]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("network", [SqueezeNet, MobileNetV2])
def test_class_maps_average_to_the_logits(network: Any) -> None:
    net = network().eval()
    x = torch.rand(1, 3, 96, 96, generator=seeded()) * 2 - 1
    with torch.no_grad():
        maps, logits = net.class_maps(x), net.with_logits(x)[1]
    assert maps.shape[1] == net.classes
    torch.testing.assert_close(maps.mean((2, 3)), logits)


def test_grad_cam_of_an_averaging_network_is_its_class_activation_map() -> None:
    """Selvaraju et al., section 3.1: equal up to a factor, where positive."""
    features = torch.randn(5, 4, 6, generator=seeded()).requires_grad_()
    weights = torch.randn(5, generator=seeded())
    score = (features.mean((1, 2)) * weights).sum()
    (gradient,) = torch.autograd.grad(score, features)
    cam = torch.einsum("c,chw->hw", weights, features.detach())
    torch.testing.assert_close(gradient_activation(features.detach(), gradient) * 24, cam.relu())


def test_a_class_by_name_or_number() -> None:
    c = Classifier("net", "", lambda x, k: (x, x), LABELS)
    assert [c.number(n) for n in ("daisy", "Rose Hip", "3", "crane")] == [
        2,
        3,
        3,
        1,
    ]  # the last is a whole label
    with pytest.raises(UserError, match=r"no class 'rose'\. Near: rose hip \(3\)"):
        c.number("rose")
    with pytest.raises(UserError, match=r"Near: daisy \(2\)"):
        c.number("daysy")
    with pytest.raises(
        UserError, match=r"2 classes of net are called 'x': 0 \(x, one\); 1 \(x, two\)"
    ):
        Classifier("net", "", c.look, ["x, one", "x, two"]).number("x")
    with pytest.raises(UserError, match="classes 0 to 4, and no 5"):
        c.number("5")
    with pytest.raises(UserError, match="without the names of its classes"):
        Classifier("net", "", c.look).number("daisy")


@pytest.mark.parametrize("name", ["squeezenet", "mobilenet-v2"])
def test_classes_and_regions_of_photographs(name: str, shared: Path) -> None:
    c = classifier(name, shared / "data" / "weights")
    animals = {  # class; left, top, right, bottom of the animal, as shares
        "parrot.jpg": ("macaw", (0.15, 0.1, 0.95, 0.7)),
        "cat.bmp": ("Egyptian cat", (0.1, 0.1, 0.7, 1)),
        "bird.bmp": ("chickadee", (0.1, 0.25, 0.65, 0.8)),
    }
    for file, (wanted, (left, top, right, bottom)) in animals.items():
        with Image.open(shared / "data" / "photos" / file) as image:
            x = (
                torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float()
                / 127.5
                - 1
            )
        probability, heat = c.find(x, c.number(wanted))
        assert probability > 0.5
        part = strongest(heat, (x.shape[2], x.shape[3]), 0.5)
        y, x = (axis.mean() / side for axis, side in zip(np.nonzero(part), part.shape))
        assert top < y < bottom
        assert left < x < right


def test_unknown_classifiers_and_missing_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="Did you mean 'squeezenet'"):
        classifier("squezenet")
    with pytest.raises(UserError, match="holds no model of transformers"):
        classifier(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"pip install 'ganvas\[features\]'"):
        classifier(str(tmp_path))
    (tmp_path / "net.onnx").write_bytes(b"no network")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=r"pip install 'ganvas\[openvino\]'"):
        classifier(str(tmp_path))
    monkeypatch.undo()
    pytest.importorskip("openvino")
    with pytest.raises(UserError, match=r"net\.onnx cannot be read"):
        classifier(str(tmp_path))
    (tmp_path / "other.onnx").write_bytes(b"")
    with pytest.raises(UserError, match=r"2 \.onnx files"):
        classifier(str(tmp_path))


@pytest.mark.parametrize("kind", ["ViT", "ResNet"])
def test_a_classifier_of_transformers(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    if kind == "ViT":
        sizes: dict[str, int] = {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        }
        config = transformers.ViTConfig(
            **sizes, intermediate_size=16, image_size=32, patch_size=8, num_labels=3
        )
    else:
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=3
        )
    config.id2label = {0: "ash", 1: "oak", 2: "elm"}
    getattr(transformers, f"{kind}ForImageClassification")(config).save_pretrained(tmp_path / "net")
    (tmp_path / "net" / "preprocessor_config.json").write_text(json.dumps({"size": 32}))
    c = classifier(str(tmp_path / "net"))
    probability, heat = c.find(
        torch.rand(1, 3, 20, 30, generator=seeded()) * 2 - 1, c.number("oak")
    )
    assert 0 < probability < 1
    assert kind != "ViT" or heat.shape == (4, 4), "the class token has no place"
    assert (heat >= 0).all()


def onnx_that_averages(weight: np.ndarray, side: int) -> bytes:
    """A 1x1 convolution [K, 3] and the mean over positions, as ONNX protocol buffers."""

    def varint(n: int) -> bytes:
        return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])

    def field(number: int, *values: bytes | int | str) -> bytes:
        out = b""
        for value in values:
            if isinstance(value, int):
                out += varint(number << 3) + varint(value)
            else:
                data = value.encode() if isinstance(value, str) else value
                out += varint(number << 3 | 2) + varint(len(data)) + data
        return out

    def tensor(name: str, *dims: int) -> bytes:
        shape = field(2, b"".join(field(1, field(1, d)) for d in dims))
        return field(1, name) + field(2, field(1, field(1, 1) + shape))

    def node(kind: str, inputs: Sequence[str], output: str) -> bytes:
        return field(1, *inputs) + field(2, output) + field(4, kind)

    k = len(weight)
    numbers = (
        field(1, k, 3, 1, 1)
        + field(2, 1)
        + field(8, "w")
        + field(9, weight.astype("<f4").tobytes())
    )
    nodes = field(1, node("Conv", ["x", "w"], "maps"), node("GlobalAveragePool", ["maps"], "y"))
    graph = nodes + field(2, "net") + field(5, numbers)
    graph += field(11, tensor("x", 1, 3, side, side)) + field(12, tensor("y", 1, k, 1, 1))
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


def test_an_onnx_classifier_is_covered_part_by_part(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    weight = np.array([[0, 0, 0], [4, -2, -2]])
    (tmp_path / "red.onnx").write_bytes(onnx_that_averages(weight, 32))
    (tmp_path / "labels.txt").write_text("gray\nred\n")
    c = classifier(str(tmp_path))
    assert (c.name, c.labels) == ("red", ["gray", "red"])
    x = torch.zeros(1, 3, 40, 64)
    x[:, 0, 20:30, 8:24] = 1  # rows 4 and 5 of 8, columns 1 and 2
    probability, heat = c.find(x, c.number("red"))
    normal = ((x[0] + 1) / 2 - torch.tensor(IMAGENET[0]).view(3, 1, 1)) / torch.tensor(
        IMAGENET[1]
    ).view(3, 1, 1)
    logits = torch.tensor(weight).float() @ normal.mean((1, 2))
    assert probability == pytest.approx(float(logits.softmax(0)[1]), abs=1e-3)
    assert heat.shape == (8, 8)
    assert set(map(tuple, (heat > 0.99 * heat.max()).nonzero().tolist())) <= {
        (4, 1),
        (4, 2),
        (5, 1),
        (5, 2),
    }
    assert heat[0].max() < 0.1 * heat.max()
