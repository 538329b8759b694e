"""Units against concepts in closed form; concepts by rules, classifiers and labels."""

from __future__ import annotations

import math

import pytest
import torch

from ganvas.core.errors import ConfigError, UserError
from ganvas.metrics.classifiers import Classifier
from ganvas.metrics.concepts import RULES, Concepts, class_maps, joined, labels_of, rules
from ganvas.metrics.dissection import (
    UnitCounts,
    standardized_difference,
    unit_thresholds,
)


def test_thresholds_are_quantiles() -> None:
    values = torch.stack([torch.arange(101.0), -torch.arange(101.0)])
    found = unit_thresholds(values, (0.9, 0.5, 0.1))
    torch.testing.assert_close(found, torch.tensor([[10.0, 50, 90], [-90, -50, -10]]).double())


def counted(active: list[int], concept: list[int]) -> UnitCounts:
    """One unit of 0 and 1 with one concept, in an image of one row."""
    counts = UnitCounts(torch.tensor([[0.5]]), 1)
    counts.add(
        torch.tensor(active).float().view(1, 1, 1, -1),
        torch.tensor(concept).bool().view(1, 1, 1, -1),
    )
    return counts


def test_closed_form() -> None:
    counts = counted([1, 1, 1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0, 0, 0])
    assert float(counts.iou()) == pytest.approx(2 / 4)
    assert float(counts.agreement()) == pytest.approx(6 / 8)

    def h(*p: float) -> float:
        return -sum(x * math.log(x) for x in p if x)

    joint = h(2 / 8, 1 / 8, 1 / 8, 4 / 8)
    assert float(counts.information()) == pytest.approx((2 * h(3 / 8, 5 / 8) - joint) / joint)
    same = counted([1, 0, 0, 1], [1, 0, 0, 1])
    assert float(same.iou()) == 1
    assert float(same.information()) == pytest.approx(1)
    assert float(counted([1, 1, 0, 0], [1, 0, 1, 0]).information()) == pytest.approx(0, abs=1e-9)
    nothing = counted([0, 0], [0, 0])
    assert float(nothing.iou()) == float(nothing.information()) == 0


def test_counts_do_not_depend_on_batches_and_enlarge_maps() -> None:
    f, maps = torch.randn(6, 3, 2, 2), torch.rand(6, 2, 8, 8) > 0.7
    thresholds = unit_thresholds(f.movedim(1, 0).flatten(1), (0.8, 0.4))
    whole, parts = UnitCounts(thresholds, 2), UnitCounts(thresholds, 2)
    whole.add(f, maps)
    for i in range(0, 6, 4):
        parts.add(f[i : i + 4], maps[i : i + 4])
    torch.testing.assert_close(whole.iou(), parts.iou())
    large = torch.nn.functional.interpolate(f.double(), (8, 8), mode="bilinear")
    active = large[:, 1] > thresholds[1, 0]
    wanted = (active & maps[:, 1]).sum() / (active | maps[:, 1]).sum()
    assert float(whole.iou()[1, 0, 1]) == pytest.approx(float(wanted))


def test_the_threshold_that_tells_most_is_chosen() -> None:
    """A concept where the activation is above 0.75 is matched there, and wholly."""
    f = torch.linspace(0, 1, 400).view(1, 1, 20, 20)
    counts = UnitCounts(unit_thresholds(f.flatten()[None]), 2)
    counts.add(f, torch.cat([f > 0.75, torch.zeros_like(f).bool()], 1))
    found = counts.matches()
    assert float(found.iou[0, 0]) > 0.95
    assert float(found.threshold[0, 0]) == pytest.approx(0.75, abs=0.02)
    assert found.matched().tolist() == [[True, False]]


def test_effects() -> None:
    values = torch.tensor([[0.0, 1], [2, 1], [10, 1], [12, 1]])
    found = standardized_difference(values, torch.tensor([False, False, True, True]))
    assert found.tolist() == pytest.approx([10 / math.sqrt(2), 0])


def ring() -> torch.Tensor:
    """A white frame of 4x4 on black, around a hole of 2x2."""
    x = -torch.ones(1, 1, 8, 8)
    x[..., 2:6, 2:6] = 1
    x[..., 3:5, 3:5] = -1
    return x


def test_rules() -> None:
    x = ring()
    found = dict(zip(RULES, rules(list(RULES)).maps(x)[0], strict=True))
    assert torch.equal(found["ink"], x[0, 0] > 0)
    assert torch.equal(found["background"], x[0, 0] < 0)
    hole = torch.zeros(8, 8, dtype=torch.bool)
    hole[3:5, 3:5] = True
    assert torch.equal(found["hole"], hole)
    assert torch.equal(found["bright"], found["white"])
    assert not any(found[c].any() for c in ("red", "green", "blue", "yellow", "cyan", "magenta"))
    assert found["edge"][2, 4]
    assert not found["edge"][0, 0]
    dark_on_light = rules(["ink"]).maps(-x)[0, 0]
    assert torch.equal(dark_on_light, found["ink"])
    for name, channels in {"red": [0], "yellow": [0, 1], "magenta": [0, 2]}.items():
        flat = -torch.ones(1, 3, 4, 4)
        flat[:, channels] = 1
        hues = [c for c in list(RULES)[8:] if bool(rules([c]).maps(flat).all())]
        assert hues == [name]
    top, center = rules(["ink@top", "ink@center"]).maps(x)[0]
    assert torch.equal(top, found["ink"] & (torch.arange(8) < 4)[:, None])
    assert torch.equal(center, found["ink"])


@pytest.mark.parametrize(
    ("name", "said"),
    [("inc", "Did you mean 'ink'"), ("ink@to", "Did you mean 'top'"), ("", "Known: ")],
)
def test_unknown_rules(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        rules([name])


def test_concepts_of_a_classifier() -> None:
    """Where the map has at least half of its largest evidence, in images that it tells."""
    heat = torch.tensor([[4.0, 1.0], [0.0, 0.0]])

    def look(image: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor([9.0, 0.0]) * (1 if image.mean() > 0 else -1), heat

    found = class_maps(Classifier("toy", "", look, ["cat", "dog"]), ["cat"])
    x = torch.stack([torch.ones(3, 2, 2), -torch.ones(3, 2, 2)])
    assert found.maps(x)[:, 0].tolist() == [[[True, False], [False, False]], [[False] * 2] * 2]
    with pytest.raises(UserError, match="no class"):
        class_maps(Classifier("toy", "", look, ["cat", "dog"]), ["cow"])


def test_concepts_of_a_segmenter() -> None:
    """Every pixel has the nearest color of the palette."""
    sky = torch.tensor([-0.9, 0.1, 0.9]).view(1, 3, 1, 1).expand(1, 3, 2, 2).clone()
    sky[..., 1, :] = -1
    found = labels_of(lambda x: x, [0x0080FF, 0x000000], ["sky", "earth"]).maps(sky)
    assert found[0].tolist() == [[[True, True], [False, False]], [[False, False], [True, True]]]


def test_concepts_of_any_function_are_checked() -> None:
    both = joined(rules(["ink"]), Concepts(["odd"], lambda x: x[:, :1] > 2))
    assert both.maps(ring()).shape == (1, 2, 8, 8)
    with pytest.raises(UserError, match="different names"):
        joined(rules(["ink"]), rules(["ink"]))
    with pytest.raises(UserError, match=r"found as \[1, 8, 8\]; expected \[1, 1, 8, 8\]"):
        Concepts(["flat"], lambda x: x[:, 0]).maps(ring())
