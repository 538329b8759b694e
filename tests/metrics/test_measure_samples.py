from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from ganvas.core.errors import UserError
from ganvas.metrics import feature_set
from ganvas.metrics.features import Extractor, extractor
from ganvas.metrics.inception_score import InceptionScore
from ganvas.metrics.recognizability import RecognitionClassifier
from ganvas.metrics.suite import measure_samples, measurements


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, np.ndarray]:
    pixels, labels = map(np.asarray, load_digits(return_X_y=True))
    x = torch.from_numpy(pixels).view(-1, 1, 8, 8).float() / 8 - 1
    x = F.interpolate(x, size=(32, 32), mode="bilinear", antialias=True)
    order = np.random.default_rng(0).permutation(len(x))
    return x[order], np.asarray(labels)[order]


@pytest.fixture(scope="module")
def pixels(digits: tuple[torch.Tensor, np.ndarray]) -> np.ndarray:
    return ((digits[0] + 1) * 127.5).round().to(torch.uint8).movedim(1, -1).numpy()


@pytest.fixture(scope="module")
def classifier(
    pixels: np.ndarray, digits: tuple[torch.Tensor, np.ndarray]
) -> RecognitionClassifier:
    return RecognitionClassifier(pixels, digits[1])


def test_record(digits: tuple[torch.Tensor, np.ndarray]) -> None:
    x, e = digits[0], extractor("random-conv-v1")
    good: dict[str, Any] = measure_samples(x[:400].split(128), x[400:800].split(100), e)
    collapsed: dict[str, Any] = measure_samples(
        x[:4].repeat(100, 1, 1, 1).split(128), x[400:800].split(100), e
    )
    assert json.loads(json.dumps(good)) == good
    g, c = good["values"], collapsed["values"]
    low, high = good["intervals"]["kernel"]
    assert low < 0 < high  # two halves of one set do not differ
    assert collapsed["intervals"]["kernel"][0] > 0
    assert good["intervals"]["frechet"][0] < g["frechet"] < good["intervals"]["frechet"][1]
    assert "fid" not in g
    assert g["frechet"] < c["frechet"] / 5
    assert g["coverage"] > 0.9 > 0.2 > c["coverage"]
    assert g["diversity"] == pytest.approx(1, abs=0.05)
    assert c["diversity"] < 0.9
    # The truth is 0: nearly all that was measured is bias, and the record says so.
    assert g["frechet"] * 0.7 < g["frechet_bias"] <= g["frechet"]
    assert "400 images, fewer than 2,048" in good["notes"][0]
    assert good["protocol"] == {
        "extractor": "random-conv-v1",
        "extractor_hash": e.hash,
        "resizer": "bilinear-antialias-32",
        "image": [1, 32, 32],
        "real": {"count": 400},
        "fake": {"count": 400},
        "neighbours": 5,
    }
    assert measure_samples(x[:400].split(128), x[400:800].split(100), e) == good


class Tiny(torch.nn.Module):
    classes = 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1).flatten(1)

    def with_logits(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self(x), 9 * self(x)[:, :4]


def tiny(distance: str = "frechet") -> Extractor:
    return Extractor("tiny", Tiny(), dim=16, hash="0", side=lambda longer: 4, distance=distance)


def noise(n: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    return (torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * scale


def test_only_the_official_network_gives_a_fid() -> None:
    record: dict[str, Any] = measure_samples(
        [noise(300, 0)], [noise(300, 1)], tiny("fid"), extrapolate=True
    )
    assert {"fid", "fid_bias", "fid_infinity"} <= record["values"].keys()
    assert "fid" in record["intervals"]
    assert not [name for name in record["values"] if name.startswith("frechet")]


def test_infinitely_many_images_have_no_bias() -> None:
    record: dict[str, Any] = measure_samples(
        [noise(600, 0)], [noise(600, 1)], tiny(), extrapolate=True
    )
    values = record["values"]
    assert (
        abs(values["frechet_infinity"]) < 0.3 * values["frechet"]
    )  # one distribution: the truth is 0
    assert not [note for note in record["notes"] if "infinitely" in note]
    few: dict[str, Any] = measure_samples([noise(40, 0)], [noise(40, 1)], tiny(), extrapolate=True)
    assert "Take at least 48 images" in few["notes"][1]


def test_a_score_over_another_network_is_no_inception_score() -> None:
    real, fake = [noise(300, 0)], [noise(300, 1)]
    other: dict[str, Any] = measure_samples(fake, real, tiny())
    official: dict[str, Any] = measure_samples(fake, real, tiny("fid"))
    names = {"inception_score", "inception_score_std"}
    assert not names & other["values"].keys()
    assert names <= official["values"].keys()
    assert measurements(other) == {"": other}
    assert measurements(official) == {"": official}
    score, spread = (other["values"].pop(f"classifier_score{of}") for of in ("", "_std"))
    other["values"] |= {"inception_score": score, "inception_score_std": spread}  # as before
    (read,) = measurements(other).values()
    assert not names & read["values"].keys()
    assert read["values"]["classifier_score"] == score


def test_classifier_score_of_a_stream() -> None:
    x = noise(1000, 0)
    record: dict[str, Any] = measure_samples(x.split(64), [noise(100, 1)], tiny())
    again: dict[str, Any] = measure_samples(x.split(7), [noise(100, 1)], tiny())
    other: dict[str, Any] = measure_samples(x.split(64), [noise(100, 1)], tiny(), seed=1)
    names = ("classifier_score", "classifier_score_std")
    first, same, else_ = ([r["values"][name] for name in names] for r in (record, again, other))
    assert first == pytest.approx(same, rel=1e-9)
    assert first != pytest.approx(else_, rel=1e-9)  # other parts
    whole = InceptionScore(4, splits=1)
    whole.add(tiny().with_logits(x)[1])
    assert first[0] == pytest.approx(whole.score()[0], rel=0.02)
    assert record["protocol"]["inception_score_splits"] == "10 at random"


def test_a_side_is_restored_from_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_set, "KEPT", 50)
    real = feature_set.FeatureSet(tiny(), "real")
    for part in noise(200, 1).split(30):
        real.add(part)
    tensors, facts = real.state()
    again = feature_set.FeatureSet.restored(tiny(), "real", tensors, json.loads(json.dumps(facts)))
    fake = noise(100, 0)
    assert measure_samples([fake], again, tiny()) == measure_samples([fake], real, tiny())
    features, index = again.kept()
    torch.testing.assert_close(features, tiny()(noise(200, 1)[index]).double())


def test_memory_is_bounded_and_batching_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_set, "KEPT", 500)
    x = torch.rand(3000, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x[:1500] *= 0.2  # ordered data: the first images are not like the rest
    one: dict[str, Any] = measure_samples(x[::2].split(1500), x[1::2].split(1500), tiny())
    other: dict[str, Any] = measure_samples(x[::2].split(7), x[1::2].split(64), tiny())
    assert one["details"]["pairs_from"] == {"real": 500, "fake": 500}
    assert one["values"]["frechet"] == pytest.approx(other["values"]["frechet"], rel=1e-6)
    assert one["values"]["coverage"] == other["values"]["coverage"] > 0.9


def test_a_feed_of_batches_is_read_once() -> None:
    def feed() -> Iterator[torch.Tensor]:
        for i in range(5):
            yield torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(i)) * 2 - 1

    record: dict[str, Any] = measure_samples(feed(), feed(), tiny())
    assert record["protocol"]["real"]["count"] == 100


def test_wrong_input() -> None:
    x = torch.zeros(50, 1, 4, 4)
    with pytest.raises(UserError, match="several sizes"):
        measure_samples([x, torch.zeros(50, 1, 8, 8)], [x], tiny())
    with pytest.raises(
        UserError,
        match="real images are 4x4 with 3 channels and generated ones 4x4 with 1 channel:",
    ):
        measure_samples([x], [torch.zeros(50, 3, 4, 4)], tiny())
    with pytest.raises(UserError, match="got 50 real and 4 generated"):
        measure_samples([x[:4]], [x], tiny())
    with pytest.raises(UserError, match="got 50 real and 0 generated"):
        measure_samples([], [x], tiny())
    with pytest.raises(UserError, match="NaN"):
        measure_samples([x * torch.nan], [x], tiny())


def test_constant_images_are_measured() -> None:
    x = torch.zeros(50, 1, 4, 4)
    record: dict[str, Any] = measure_samples([x], [x], tiny())
    values = record["values"]
    assert values["frechet"] == 0
    assert values["diversity"] is None


def test_classifier_is_accurate_and_calibrated(
    classifier: RecognitionClassifier, pixels: np.ndarray
) -> None:
    assert classifier.accuracy > 0.95
    assert classifier.calibration_error < 0.035
    assert classifier.real_confident > 0.8
    report = classifier.report(pixels[:300])
    assert json.loads(json.dumps(report)) == report
    assert 0.9 < report["ratio"] < 1.2
    assert sum(report["class_shares"].values()) + report["unrecognized_share"] == pytest.approx(1)
    assert 0.04 < report["smallest_share"] < report["largest_share"] < 0.2


def test_classifier_sees_a_collapse(
    classifier: RecognitionClassifier, pixels: np.ndarray, digits: tuple[torch.Tensor, np.ndarray]
) -> None:
    report = classifier.report(pixels[digits[1] == 3])
    assert report["class_shares"]["3"] > 0.9
    assert report["smallest_share"] == 0


def test_classifier_is_not_fooled(
    classifier: RecognitionClassifier, pixels: np.ndarray, digits: tuple[torch.Tensor, np.ndarray]
) -> None:
    rng, y = np.random.default_rng(1), digits[1]
    i, j = rng.integers(len(pixels), size=(2, 600))
    unlike = y[i] != y[j]
    blends = ((pixels[i].astype(int) + pixels[j]) // 2).astype(np.uint8)[unlike]
    averages = np.stack([pixels[rng.choice(len(pixels), 20)].mean(0) for _ in range(200)]).astype(
        np.uint8
    )
    blobs = F.interpolate(
        torch.rand(300, 1, 8, 8, generator=torch.Generator().manual_seed(0)), size=(32, 32)
    )
    for what, images, limit in (
        ("white noise", rng.integers(0, 256, (300, 32, 32, 1)).astype(np.uint8), 0.02),
        ("coarse noise", (blobs * 255).to(torch.uint8).movedim(1, -1).numpy(), 0.05),
        ("averages of twenty", averages, 0.02),
        ("blends of two", blends, 0.15),
        (
            "flat",
            np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None, None], (256, 32, 32, 1)),
            0.02,
        ),
        ("inverted", 255 - pixels[:300], 0.02),
    ):
        assert classifier.report(images)["fake_confident"] <= limit, what


def test_classifier_wrong_input(classifier: RecognitionClassifier, pixels: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"uint8 images \[32, 32, 1\]"):
        classifier.report(pixels[:, :16])
    with pytest.raises(UserError, match="no samples"):
        classifier.report(pixels[:0])
    with pytest.raises(UserError, match="at least 2 classes"):
        RecognitionClassifier(pixels[:100], np.zeros(100, dtype=int))
    with pytest.raises(UserError, match="as many labels"):
        RecognitionClassifier(pixels, np.zeros(3, dtype=int))
