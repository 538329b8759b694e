"""Random degradations: kernels by number, draws by seed."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toys import SMALL, toy_data, toy_images

import ganvas
from ganvas.core import config, rng
from ganvas.core.errors import UserError
from ganvas.data import super_resolution
from ganvas.data.degradation_chain import Chain
from ganvas.data.degradation_steps import JPEG
from ganvas.data.degradations import reduced
from ganvas.data.real_degradation import Degradation, Pass, RealDegradation
from ganvas.evaluation.real_features import RealFeatures
from ganvas.media import blur_kernels
from ganvas.media.blur_kernels import Profile
from ganvas.metrics.features import extractor
from ganvas.recipes import find

PROFILES: dict[str, Profile] = {"generalized": "generalized", "plateau": "plateau"}
NOTHING = Pass(blur=0, resize=(0, 0, 1), noise=(0, 0), gaussian=1, jpeg=(100, 100))


def test_kernels_and_filters_are_those_of_the_authors(shared: Path):
    folder = shared / "golden" / "realesrgan"
    told = json.loads((folder / "kernels_21.json").read_text())["args"]
    expected = load_file(folder / "kernels_21.safetensors")
    for i, k in enumerate(told["kernels"]):
        profile = PROFILES.get(k["type"].split("_")[0], "gaussian")
        spread = (k["sigma_x"], k["sigma_y"], k["theta"])
        got = blur_kernels.gaussian(21, *spread, profile, k["beta"] or 1.0)
        torch.testing.assert_close(got, expected[f"kernel_{i}"], rtol=0, atol=1e-6)
    for i, k in enumerate(told["sinc"]):
        got = blur_kernels.sinc(k["kernel_size"], k["cutoff"], k["pad_to"] or None)
        torch.testing.assert_close(got, expected[f"sinc_{i}"], rtol=0, atol=1e-6)
    x = expected["input"]
    for chosen, name in (([1], "filtered_kernel_1"), ([0, 2], "filtered_kernels_0_2")):
        kernels = torch.stack([expected[f"kernel_{i}"] for i in chosen])
        torch.testing.assert_close(blur_kernels.filtered(x, kernels), expected[name])
    sharp = load_file(folder / "usm_sharp.safetensors")
    torch.testing.assert_close(blur_kernels.sharpened(sharp["input"]), sharp["output"])


def test_each_image_has_draws_of_its_own(tmp_path: Path):
    """Equal in any batch, by ranks and in another order; other seeds, other images."""
    photos = toy_images(tmp_path, 6, side=48)
    feed = super_resolution(photos, size=32, scale=4, degrade=RealDegradation())
    whole = feed.draw(0, 6, seed=1)
    assert whole.x.shape == (6, 3, 8, 8)
    assert torch.equal(feed.draw(4, 2, seed=1).x, whole.x[4:])
    part = feed.draw(0, 6, seed=1, rows=rng.Rows(3, 6, 6))
    assert torch.equal(part.x, whole.x[3:])
    assert not torch.equal(feed.draw(0, 6, seed=2).x, whole.x)
    assert torch.equal(feed.fixed(3).x, feed.fixed(3).x)
    levels = (whole.x + 1) * 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-4)


def test_the_default_chain_draws_what_it_always_drew():
    """Levels from before there were chains: the runs of then go on bitwise."""
    ramp = torch.linspace(-1, 1, 32)[None, :, None] * torch.linspace(0.2, 1, 48)[None, None, :]
    x = torch.stack([ramp, ramp.flip(1), -ramp], 1).expand(4, -1, -1, -1)
    got = RealDegradation(sharpen=True)(x, np.array([1, 2, 3, 4], np.uint64), 4)
    levels = ((got + 1) * 127.5).round()
    expected = {(0, 3, 5): [120, 135, 134, 125], (1, 6, 10): [42, 89, 60, 43]}
    expected |= {(2, 0, 0): [164, 187, 168, 170]}
    for place, values in expected.items():
        found = levels[(slice(None), *place)]
        assert (found - torch.tensor(values)).abs().max() <= 2, place


def test_steps_are_chosen_and_ordered_by_their_names():
    """Each alone, at a size of its own; what is not reduced by a step is reduced last."""
    x = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seeds = np.array([1, 2], np.uint64)
    assert torch.equal(Chain(())(x, seeds, 2), reduced(x, 2))
    assert torch.equal(Chain(())(x, seeds, 1), reduced(x, 1))
    tables: list[dict[str, object]] = [
        {"step": "sharpen", "radius": 9},
        {"step": "blur", "sigma": [2, 2], "sides": [7, 7], "kernels": [1, 0, 0, 0, 0, 0]},
        {"step": "sinc", "chance": 1, "cutoff": [1.2, 1.2]},
        {"step": "resize", "factors": [0.3, 0.4], "modes": ["nearest"]},
        {"step": "noise", "gaussian": 1, "noise": [20, 20]},
        {"step": "jpeg", "quality": [5, 5]},
    ]
    alone = [Chain.of([table])(x, seeds, 1) for table in tables]
    assert all(not torch.equal(image, reduced(x, 1)) for image in alone)
    assert all(image.shape == x.shape for image in alone)
    chain = Chain.of(tables)
    assert Chain.of(chain.tables()) == chain
    assert not torch.equal(chain(x, seeds, 2), Chain.of(tables[::-1])(x, seeds, 2))
    never = [{**table, "chance": 0} for table in (tables[1], tables[2], *tables[4:])]
    assert torch.equal(Chain.of(never)(x, seeds, 2), reduced(x, 2))
    both = [
        {"step": "swap", "first": tables[:1], "second": tables[5:], "chance": p} for p in (0, 1)
    ]
    one, other = (Chain.of([swap])(x, seeds, 1) for swap in both)
    assert torch.equal(one, Chain.of([tables[5], tables[0]])(x, seeds, 1))
    assert torch.equal(other, Chain.of([tables[0], tables[5]])(x, seeds, 1))


def test_a_chain_of_nothing_reduces_only():
    """Without blur and noise an even image stays as it is."""
    degrade = RealDegradation(NOTHING, NOTHING, ringing=0)
    x = torch.full((2, 3, 32, 48), 0.25)
    got = degrade(x, np.array([1, 2], np.uint64), 4)
    assert got.shape == (2, 3, 8, 12)
    assert (got - 0.25).abs().max() <= 2 / 127.5


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("data.degrade.ringing=0", RealDegradation(ringing=0, sharpen=True)),
        ('data.degrade=[{"step":"jpeg"}]', Chain((JPEG(),))),
    ],
)
def test_a_run_is_measured_on_images_degraded_as_its_own(
    setting: str, expected: Degradation, tmp_path: Path
):
    """At a scale of 1, too, where the images alone would be no pairs."""
    photos, out = toy_data("realesrgan", tmp_path / "photos"), tmp_path / "run"
    sets = [*SMALL["realesrgan"], "data.scale=1", "G.scale=1", setting]
    model = ganvas.train("realesrgan", photos, out=out, images=2, set=sets)
    extract = extractor("random-conv-v1")
    feed = RealFeatures(model, out, str(photos), "train", extract).feed
    assert isinstance(feed.degrade, partial)
    assert feed.degrade.func == expected


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_channels_and_small_crops(channels: int):
    x = torch.rand(3, channels, 16, 16) * 2 - 1
    got = RealDegradation()(x, np.arange(3, dtype=np.uint64), 4)
    assert got.shape == (3, channels, 4, 4)
    assert torch.isfinite(got).all()
    assert got.abs().max() <= 1


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("jpeg", (95.0, 60.0), r"jpeg is \[95, 60\]; it must be a least and a greatest value"),
        ("jpeg", (-5.0, 600.0), "from 0 to 100"),
        ("noise", (30.0, 1.0), r"noise is \[30, 1\]"),
        ("factors", (0.0, 1.0), "from 0.01 to 10"),
        ("sigma", (float("nan"), 1.0), "sigma is"),
        ("blur", 1.5, "blur has the probability 1.5; it must be 0 to 1"),
        ("resize", (0.5, 0.5, 0.5), "their sum must be 1"),
    ],
)
def test_settings_out_of_range_are_refused_when_they_are_read(
    name: str, value: object, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        Pass(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="ringing has the probability 2"):
        RealDegradation(ringing=2)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("real!", 'expected "real" or a list of steps'),
        ([{"step": "blurr"}], "step 1: there is no step 'blurr'. Did you mean 'blur'"),
        (["blur"], "step 1: expected a table with the name of a step"),
        ([{"step": "jpeg"}, {"step": "blur", "sgima": 2}], r"step 2 \(blur\): sgima: .*'sigma'"),
        ([{"step": "jpeg", "quality": [90, 40]}], r"step 1 \(jpeg\): quality is \[90, 40\]"),
        ([{"step": "resize", "factors": [0.1, 0.5], "kinds": [1, 0, 0]}], "1 must lie between"),
        ([{"step": "blur", "sides": [4, 9]}], "sides of kernels are odd"),
        (
            [{"step": "swap", "second": [{"step": "noise", "gray": 2}]}],
            "step 1 of second in step 1",
        ),
    ],
)
def test_steps_that_are_none_are_named(value: object, said: str) -> None:
    run = find("compact")(1)
    with pytest.raises(UserError, match=said):
        config.override(run, f"data.degrade={json.dumps(value)}")


def test_a_sheet_does_not_replace_an_image_of_its_data(tmp_path: Path) -> None:
    photos = toy_images(tmp_path / "photos", 4)
    image = sorted(photos.rglob("*.png"))[0]
    before = image.read_bytes()
    with pytest.raises(UserError, match="would be among the images of"):
        ganvas.degradation_sheet(photos, image, size=16)
    assert image.read_bytes() == before
