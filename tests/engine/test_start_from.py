"""Runs that start from weights, frozen layers, and runs whose data change."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toys import SMALL, toy_data, toy_images, toy_run

import ganvas
from ganvas.core import config
from ganvas.core.errors import UserError
from ganvas.engine.engine import Engine
from ganvas.engine.freezing import layers_of
from ganvas.engine.restore import restore
from ganvas.engine.run_dir import read_record, run_of
from ganvas.inference import importers
from ganvas.nets.progan import ProgressiveDiscriminator
from ganvas.training.initial import start_from

DCGAN = {"size": 16, "batch": 8, "images": 16, "set": ("G.width=4", "D.width=4")}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_images(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def old(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of StyleGAN2, which averages its weights."""
    out = tmp_path_factory.mktemp("old") / "run"
    ganvas.train("stylegan2", photos, out=out, size=16, batch=8, images=16, set=SMALL["stylegan2"])
    return out


def weights(run: Path, images: int) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"{images:09d}" / "shared.safetensors")


def engine_like(run: Path, photos: Path, *more: str) -> Engine:
    """A new engine of the settings of `run`."""
    described = run_of(run, read_record(run))
    for setting in more:
        described = config.override(described, setting)
    return Engine(described, described.data(), "cpu")


def test_weights_and_averages_are_those_of_the_run(old: Path, photos: Path):
    """Trained and averaged weights go each to their own."""
    engine = engine_like(old, photos, "seed=5")
    records = start_from(engine, [old])
    saved = weights(old, 16)
    state = engine.state()[1]
    for name, value in saved.items():
        if name.startswith(("method/G.", "method/D.", "ema/G.")):
            assert torch.equal(state[name], value), name
    assert {r["network"] for r in records} == {"G", "D"}
    assert all(not r["new"] and not r["unused"] for r in records)


def test_a_model_gives_its_generator_to_training_and_to_the_average(old: Path, photos: Path):
    """A model folder has the averaged generator."""
    engine = engine_like(old, photos, "seed=5")
    start_from(engine, [f"G={old / 'model'}"])
    saved = weights(old, 16)
    average = {k.removeprefix("ema/"): v for k, v in saved.items() if k.startswith("ema/")}
    state = engine.state()[1]
    for name, value in average.items():
        assert torch.equal(state[f"method/{name}"], value), name
        assert torch.equal(state[f"ema/{name}"], value), name


def test_a_larger_network_takes_what_fits(old: Path, photos: Path):
    """G keeps the blocks of its small images, D those before its end."""
    sets = ("data.size=32", "G.widths=[4,4,4,4]", "D.widths=[4,4,4,4]", "seed=5")
    engine = engine_like(old, photos, *sets)
    with pytest.raises(UserError, match=r"does not fit G: .*--partial"):
        start_from(engine, [old])
    saved = weights(old, 16)
    records = start_from(engine, [old], partial=True)
    state = engine.state()[1]
    constant = next(k for k in saved if k.startswith("method/G.") and "const" in k)
    for name in (constant, "method/D.last.weight", "method/D.dense.weight"):
        assert torch.equal(state[name], saved[name]), name
    old_blocks = [k for k in saved if k.startswith("method/D.blocks.1.")]
    assert old_blocks
    for name in old_blocks:  # the last of two is the last of three
        assert torch.equal(state[name.replace("blocks.1.", "blocks.2.")], saved[name]), name
    assert all(r["new"] for r in records)


def test_another_setting_without_tensors_is_refused(old: Path, photos: Path):
    engine = engine_like(old, photos, "D.group=2")
    why = (
        r"fit D: all \d+ tensors do, but spread\.group is 4, here 2\. It fits with --set D.group=4"
    )
    with pytest.raises(UserError, match=why):
        start_from(engine, [old])
    with pytest.raises(UserError, match="a part is that of another project's file"):
        start_from(engine, [f"{old}#G"])


def test_frozen_layers_stay_and_the_others_move(old: Path, photos: Path):
    engine = engine_like(old, photos, 'frozen=["D:2", "G:mapping"]')
    before = {k: v.clone() for k, v in engine.method.named_parameters()}
    for _ in range(2):
        engine.step()
    moved = {k for k, v in engine.method.named_parameters() if not torch.equal(v, before[k])}
    still = before.keys() - moved
    assert {k for k in still if k.startswith("D.")} == {
        k for k in before if k.startswith(("D.from_rgb.", "D.blocks.0."))
    }
    assert {k for k in before if k.startswith("G.mapping.")} <= still


@pytest.mark.parametrize(
    "recipe",
    ["dcgan", "biggan", "progan", "pix2pix", "cyclegan", "unit", "srgan", "vaegan", "spade"],
)
def test_every_kind_of_network_freezes(recipe: str, tmp_path: Path):
    """The first layer of each stays, and some of the rest moves."""
    run = toy_run(recipe, toy_data(recipe, tmp_path))
    feed = run.data()
    engine = Engine(run, feed)
    names = [name for name, _ in engine.method.named_children()]
    names = [n for n in names if len(layers_of(engine.method.get_submodule(n))) > 1]
    engine = Engine(replace(run, frozen=tuple(f"{name}:1" for name in names)), feed)
    first = {n: layers_of(engine.method.get_submodule(n))[0] for n in names}
    before = {k: v.clone() for k, v in engine.method.named_parameters()}
    engine.step()
    moved = {k for k, v in engine.method.named_parameters() if not torch.equal(v, before[k])}
    assert first
    assert moved
    for name, layer in first.items():
        assert not any(k.startswith(f"{name}.{layer}.") for k in moved)


def test_a_stage_of_frozen_layers_alone_is_refused(tmp_path: Path):
    """SinGAN trains one scale at a time."""
    run = toy_run("singan", toy_data("singan", tmp_path), 'frozen=["G:1"]')
    with pytest.raises(UserError, match="depends on frozen layers alone"):
        Engine(run, run.data()).step()


@pytest.mark.parametrize(
    ("frozen", "message"),
    [
        ("E", "there is no network 'E'"),
        ("G:maping", "Did you mean 'mapping'"),
        ("D:99", "D has 6 layers: from_rgb"),
        ("D:0", "D has 6 layers"),
        ("D", "all weights of D are frozen"),
    ],
)
def test_impossible_layers_are_refused_before_anything_is_written(
    photos: Path, tmp_path: Path, frozen: str, message: str
):
    with pytest.raises(UserError, match=message):
        ganvas.train("stylegan2", photos, out=tmp_path / "run", size=16, freeze=frozen)
    assert not (tmp_path / "run").exists()


def test_layers_of_a_growing_discriminator_begin_at_the_largest_images():
    net = ProgressiveDiscriminator(width=4, size=16)
    assert layers_of(net) == [
        *("from_rgb.2", "blocks.1", "from_rgb.1", "blocks.0", "from_rgb.0"),
        *("last", "dense", "output"),
    ]


def test_a_run_from_weights_resumes_exactly_without_them(photos: Path, tmp_path: Path):
    """The first checkpoint is of image 0: the run needs its source no more."""
    ganvas.train("dcgan", photos, out=tmp_path / "old", **DCGAN)
    settings = {**DCGAN, "start_from": tmp_path / "old", "freeze": "D:1", "images": 8}
    ganvas.train("dcgan", photos, out=tmp_path / "new", **settings)
    shutil.copytree(tmp_path / "new", tmp_path / "killed")
    shutil.rmtree(tmp_path / "old")
    for path in (tmp_path / "killed" / "checkpoints").iterdir():
        if int(path.name):
            shutil.rmtree(path)
    ganvas.resume(tmp_path / "killed")
    expected, got = weights(tmp_path / "new", 8), weights(tmp_path / "killed", 8)
    assert all(torch.equal(got[k], v) for k, v in expected.items())
    record = json.loads((tmp_path / "new" / "run.json").read_text())
    assert [r["network"] for r in record["initial"]] == ["G", "D"]
    assert record["initial"][0]["source"] == "old"
    assert "Initial weights of G" in (tmp_path / "new" / "report.html").read_text()
    shutil.rmtree(tmp_path / "killed" / "checkpoints")
    with pytest.raises(UserError, match="before the weights that it started from were saved"):
        ganvas.resume(tmp_path / "killed")


def test_what_does_not_fit_is_refused_and_leaves_nothing(old: Path, photos: Path, tmp_path: Path):
    cases = {
        str(old): r"does not fit G: \d+ tensors differ: .* expected",
        f"Q={old}": "no network 'Q' to start",
        f"D={old / 'model' / 'model.json'}": "model.json",
        str(tmp_path / "absent.pth"): "absent.pth",
    }
    for source, message in cases.items():
        with pytest.raises(UserError, match=message):
            ganvas.train("dcgan", photos, out=tmp_path / "run", start_from=source, **DCGAN)
    with pytest.raises(UserError, match="partial is for weights"):
        ganvas.train("dcgan", photos, out=tmp_path / "run", partial=True, **DCGAN)
    with pytest.raises(UserError, match="would come from two sources"):
        start_from(engine_like(old, photos), [old, f"G={old}"])
    with pytest.raises(UserError, match="no network 'G' to start"):
        start_from(engine_like(old, photos), (), [f"G={old}"])
    assert not (tmp_path / "run").exists()


def test_networks_of_other_projects_start_a_run(shared: Path, tmp_path: Path):
    """The two files of pytorch/examples' DCGAN find G and D by their classes."""
    golden = shared / "golden" / "dcgan"
    files = [golden / "generator.pth", golden / "discriminator.pth"]
    state = importers.read_state(files[0])
    latent, width = state["main.0.weight"].shape[0], state["main.0.weight"].shape[1] // 8
    photos = toy_images(tmp_path / "photos", side=64)
    sets = (f"G.latent={latent}", f"G.width={width}", f"D.width={width}")
    ganvas.train(
        "dcgan",
        photos,
        out=tmp_path / "run",
        size=64,
        batch=4,
        images=4,
        start_from=files[0],
        discriminator_from=files[1],
        set=sets,
    )
    saved = weights(tmp_path / "run", 0)
    for name, value in state.items():
        assert torch.equal(saved[f"method/G.{name}"], value), name
    with pytest.raises(UserError, match="holds a Generator; the method's networks are D"):
        ganvas.train("dcgan", photos, out=tmp_path / "no", discriminator_from=files[0], **DCGAN)


def test_other_data_are_recorded_even_before_the_first_checkpoint(tmp_path: Path):
    """Else the next resume would not know them."""
    few, many = toy_images(tmp_path / "few", count=8), toy_images(tmp_path / "many", count=20)
    run = tmp_path / "run"
    ganvas.train("dcgan", few, out=run, **DCGAN)
    for path in (run / "checkpoints").iterdir():
        shutil.rmtree(path)
    _, record, _ = restore(run, data=str(many))
    assert record["data"]["count"] == 20
    assert [change["images"] for change in record.get("data_changes", [])] == [0]


def test_a_run_goes_on_with_more_images_where_the_user_says_so(tmp_path: Path):
    """The change is recorded; other classes or channels are refused."""
    few, many = toy_images(tmp_path / "few", count=8), toy_images(tmp_path / "many", count=20)
    run = tmp_path / "run"
    ganvas.train("dcgan", few, out=run, **DCGAN)
    toy_images(few, count=20)
    with pytest.raises(UserError, match="go on with the data as they are now"):
        ganvas.resume(run, images=32)
    ganvas.resume(run, images=32, data=many)
    record = json.loads((run / "run.json").read_text())
    [change] = record["data_changes"]
    assert (change["images"], change["before"]["count"], record["data"]["count"]) == (16, 8, 20)
    assert "images; before, 8 of few" in (run / "report.html").read_text()
    ganvas.resume(run, images=48)  # as any other run
    gray = toy_images(tmp_path / "gray", channels=1)
    with pytest.raises(UserError, match="not like this run's"):
        ganvas.resume(run, images=64, data=gray)
