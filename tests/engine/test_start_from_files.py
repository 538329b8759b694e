"""Runs that start from other projects' files: settings, spectral norms, parts."""

import logging
from pathlib import Path

import pytest
import torch
from toys import toy_data, toy_images, toy_run

from ganvas import recipes
from ganvas.core import Shape, config
from ganvas.core.errors import UserError
from ganvas.engine.build import without_weights
from ganvas.engine.engine import Engine
from ganvas.engine.freezing import played_networks
from ganvas.inference import importers
from ganvas.inference.importers.as_method import import_model
from ganvas.inference.importers.options import Options
from ganvas.nets.super_resolution import CompactNet
from ganvas.training.fitting import fit, refusal
from ganvas.training.initial import lines, start_from
from ganvas.training.sources import chosen, read


def engine_of(recipe: str, folder: Path, *settings: str) -> Engine:
    run = toy_run(recipe, toy_data(recipe, folder), *settings)
    return Engine(run, run.data())


@pytest.fixture(scope="module")
def leftthomas(shared: Path) -> Path:
    return shared / "data" / "weights" / "srgan_x4_leftthomas.pth"


SRGAN = ("G.width=64", "G.blocks=5", "G.activated=true")


def test_an_output_range_without_tensors_is_compared(leftthomas: Path, tmp_path: Path):
    """The tanh of that project's generator is a setting, which the message names."""
    engine = engine_of("srgan", tmp_path, *SRGAN)
    with pytest.raises(UserError, match=r"bounded is True, here False.*--set G\.bounded=true"):
        start_from(engine, [leftthomas])
    records = start_from(engine, [leftthomas], partial=True)
    assert "other settings there: bounded is True, here False" in lines(records)[0]
    fitting = engine_of("srgan", tmp_path, *SRGAN, "G.bounded=true")
    import_model(leftthomas, tmp_path / "model")
    for source in (leftthomas, tmp_path / "model"):
        [record] = start_from(fitting, [source])
        assert "differs" not in record
    images = torch.rand(1, 3, 8, 8)
    known = importers.import_network(leftthomas)
    generator = fitting.method.get_submodule("G").eval()
    torch.testing.assert_close(generator(images), known(images))


def test_settings_are_named_in_place_of_tensors(leftthomas: Path, tmp_path: Path):
    engine = engine_of("srgan", tmp_path)
    names = [f"G.{setting}" for setting in ("width=64", "blocks=5", "bounded=true")]
    settings = " ".join(f"--set {name}" for name in [*names, "G.activated=true"])
    with pytest.raises(UserError, match=f"other settings. It fits with {settings}. To take"):
        start_from(engine, [leftthomas])


def test_a_file_with_an_open_reading_takes_options(tmp_path: Path):
    """As in `ganvas import`; a slope that the method has not is refused."""
    file = tmp_path / "relu.pth"
    torch.save(CompactNet(width=4, layers=2, prelu=False).state_dict(), file)
    engine = engine_of("compact", tmp_path / "photos", "G.prelu=false")
    cases: list[tuple[Options, str]] = [
        ({}, r"--option act_type=relu\|leakyrelu"),
        ({"act_type": "leakyrelu"}, r"all 8 tensors do, but body\.1 is LeakyReLU"),
        ({"act_type": "relu", "x": "1"}, "--option x: no file has this option"),
    ]
    for options, message in cases:
        with pytest.raises(UserError, match=message):
            start_from(engine, [file], options=options)
    start_from(engine, [file], options={"act_type": "relu"})


def test_assumed_readings_are_said(shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = shared / "golden" / "basicsr" / "unet_discriminator_sn.pth"
    with caplog.at_level(logging.WARNING):
        start_from(engine_of("realesrgan", tmp_path, "D.width=8"), (), [file])
    assert "assumed: skip_connection=true" in caplog.text


# File, recipe, shape, its settings: networks under spectral normalization.
NORMALIZED = [
    ("fastgan/generator_256", "fastgan", 256, "G.latent=16 G.width=4 G.tanh=false"),
    ("fastgan/discriminator_256", "fastgan", 256, "D.width=4 D.decoder_width=2"),
    ("spade/conv_encoder", "spade_style", 256, "E.width=2"),
    ("spade/generator_vae_nhidden8", "spade_style", 64, "G.width=2 E.latent=16 G.hidden=8"),
    ("spade/multiscale_discriminator", "spade", 64, "D.width=8"),
    ("deoldify/critic", "deoldify", 64, "D.width=8"),
    (
        "deoldify/unet_wide",
        "deoldify",
        64,
        "G.encoder=resnet34 G.stem=8 G.widths=[8,12,16,24] G.blocks=[1,1,1,1] G.decoder=[8,8,8,4]",
    ),
    (
        "mimicry/sngan_discriminator_32",
        "sngan",
        32,
        "D.rectified=true D.widths=[16,16,16,16] D.shrinking=2",
    ),
    ("basicsr/unet_discriminator_sn", "realesrgan", 32, "D.width=8"),
]


@pytest.mark.parametrize(("file", "recipe", "side", "settings"), NORMALIZED)
def test_normalized_networks_take_weights_before_normalization(
    shared: Path, file: str, recipe: str, side: int, settings: str
):
    """And the vectors of the power iteration; without the settings they are suggested."""
    path = shared / "golden" / f"{file}.pth"
    labels = 4 if "multiscale" in file else 5
    shape = Shape(3, side, side, palette=tuple(range(labels)) if "spade" in recipe else ())
    run = recipes.find(recipe)(1000)
    for setting in settings.split():
        run = config.override(run, setting)
    method = without_weights(run, shape)
    networks = played_networks(method)
    source = read(str(path), None, {}, [type(n) for n in networks.values()], discriminator=False)
    [(network, origin)] = chosen(source, None, list(networks), method).items()
    found = fit(source, origin, method.get_submodule(network), from_end=False)
    assert found.whole, refusal(source, {network: (origin, found)}, method, run, shape)
    state = importers.read_state(path)
    stored = [v for k, v in state.items() if k.endswith(("_orig", ".sn_u")) and v.numel()]
    taken = [found.tensors[k] for k in found.names.values() if k.endswith(".original")]
    assert len(taken) == len(stored)
    if "mimicry" not in file:
        assert all(any(torch.equal(v, w) for w in stored) for v in taken)


def test_suggestions_follow_settings_to_their_networks(shared: Path):
    """SPADE's generator has its latent from the encoder."""
    run = toy_run("spade_style", Path("none"), "E.side=64")
    shape = Shape(3, 32, 32, palette=tuple(range(5)))
    method = without_weights(run, shape)
    classes = [type(net) for net in played_networks(method).values()]
    file = shared / "golden" / "spade" / "generator_vae_nhidden8.pth"
    source = read(str(file), None, {}, classes, discriminator=False)
    found = fit(source, "", method.get_submodule("G"), from_end=False)
    message = refusal(source, {"G": ("", found)}, method, run, shape)
    assert "--size 64 --set G.width=2 --set E.latent=16 --set G.hidden=8." in message


def test_pairs_and_parts_of_a_file_start_networks(shared: Path, tmp_path: Path):
    """Whatever they are called in their project: CoGAN's pair, UNIT's translator."""
    golden = shared / "golden"
    for domain in ("trainA", "trainB"):
        toy_images(tmp_path / "gray" / domain, 2, channels=1)
    run = toy_run("cogan", tmp_path / "gray", "D.widths=[10,14,40]", "data.size=28")
    cogan = Engine(run, run.data())
    [record] = start_from(cogan, (), [golden / "cogan" / "discriminator_pair.pth"])
    assert (record["network"], record["new"]) == ("D", [])
    unit = golden / "unit"
    sets = ("E.width=6", "shared=0", "E.blocks=4", "G.blocks=4")
    engine = engine_of("unit", tmp_path / "b", *sets)
    records = start_from(engine, [unit / "vaegen.pth"])
    assert [r["network"] for r in records] == ["E", "G"]
    images = torch.rand(1, 3, 16, 16)
    known = importers.import_network(unit / "vaegen.pth")
    E, G = (engine.method.get_submodule(name) for name in "EG")
    torch.testing.assert_close(G(E(images, 0), 1), known(images))
    with pytest.raises(UserError, match=r"several networks: a, b\. Say which .*\.pth#a"):
        start_from(engine, (), [unit / "discriminator.pth"])


def test_each_discriminator_takes_a_part_of_a_file(shared: Path, tmp_path: Path):
    file = shared / "golden" / "unit" / "discriminator.pth"
    whole = importers.import_network(file, "b")
    sets = ("D.width=6", "D.layers=4", "D.scales=3", "data.size=64")
    engine = engine_of("unit", tmp_path, *sets)
    records = start_from(engine, [f"D_a={file}#a", f"D_b={file}#b"])
    assert [r["source"] for r in records] == ["discriminator.pth#a", "discriminator.pth#b"]
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(engine.method.get_submodule("D_b")(images), whole(images))
