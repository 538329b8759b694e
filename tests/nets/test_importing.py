"""Files that cannot be imported, and exported networks of any shape, imported again."""

from __future__ import annotations

import os
import warnings
import zipfile
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import nn

from ganvas.core import meta_device
from ganvas.core.errors import UserError
from ganvas.inference.importers import import_network
from ganvas.nets import dcgan, image_to_image, patchgan, super_resolution
from ganvas.nets.layers import Blur
from ganvas.nets.norm import InstanceNorm2d, Norm


@pytest.mark.parametrize(
    "make",
    [
        lambda: dcgan.Generator(latent=7, width=3, size=(16, 24), channels=4),
        lambda: dcgan.Generator(latent=7, width=3, size=8, channels=1),
        lambda: image_to_image.ResNetGenerator(
            1, 4, width=3, blocks=6, norm="instance", dropout=True
        ),
        lambda: image_to_image.ResNetGenerator(4, 1, width=3, blocks=2, norm="batch"),
        lambda: image_to_image.UNetGenerator(2, 1, width=2, depth=5, norm="batch"),
        lambda: image_to_image.UNetGenerator(1, 2, width=2, depth=6, norm="instance"),
        lambda: patchgan.PatchDiscriminator(2, width=3, layers=1),
        lambda: patchgan.PatchDiscriminator(6, width=3, layers=5, norm="batch"),
        lambda: patchgan.PixelDiscriminator(2, width=3),
    ],
)
def test_recognises_every_shape(make, tmp_path: Path) -> None:
    net = make()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    random = torch.get_rng_state()
    again = import_network(tmp_path / "net.pth")
    assert torch.equal(torch.get_rng_state(), random), (
        "importing must not disturb the run's randomness"
    )
    assert str(again) == str(net)
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.state_dict().values(), net.state_dict().values(), strict=True)
    )


NORMS: tuple[Norm, ...] = ("batch", "instance", "none")


@pytest.mark.parametrize("norm", NORMS)
def test_translators_in_every_combination(norm: Norm, tmp_path: Path) -> None:
    """Files of junyanz's project: from nn.DataParallel, and from before torch 0.4."""
    nets: list[nn.Module] = [
        image_to_image.ResNetGenerator(
            *channels, width=width, blocks=blocks, norm=norm, dropout=dropout, **blur
        )
        for channels, width in (((3, 3), 2), ((1, 4), 3))
        for blocks in (1, 6, 9)
        for dropout in (False, True)
        for blur in (
            {},
            {"blur_down": True},
            {"blur_up": True},
            {"blur_down": True, "blur_up": True},
        )
    ]
    nets += [
        image_to_image.UNetGenerator(*channels, width=width, depth=depth, norm=norm)
        for channels, width in (((3, 3), 2), ((1, 2), 3))
        for depth in (2, 5, 8)
    ]
    for net in nets:
        state = dict(net.state_dict())
        for at, module in net.named_modules():
            if isinstance(module, InstanceNorm2d):  # as torch 0.3 saved it
                state |= {f"{at}.running_mean": torch.zeros(2), f"{at}.running_var": torch.ones(2)}
            if isinstance(module, Blur):
                taps = module.taps
                state[at.removesuffix(".1") + ".filt"] = taps.repeat(7, 1, 1, 1)
            if isinstance(module, nn.Upsample):
                row = torch.tensor([1.0, 3.0, 3.0, 1.0])
                state[f"{at}.filt"] = (row.outer(row) / 16).repeat(7, 1, 1, 1)
        state = {
            f"module.{k}": v for k, v in state.items() if not k.endswith("num_batches_tracked")
        }
        torch.save(state, tmp_path / "latest_net_G.pth")
        again = import_network(tmp_path / "latest_net_G.pth")
        assert str(again) == str(net)
        ours, theirs = again.state_dict(), net.state_dict()
        assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


def test_another_blur_is_refused(tmp_path: Path) -> None:
    state = image_to_image.ResNetGenerator(width=2, blocks=1, blur_down=True).state_dict()
    state["model.7.filt"] = state["model.11.filt"] = torch.ones(1, 1, 3, 3) / 9
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(
        UserError, match=r"anti-aliased ResNet .*model\.7\.filt is not the filter \[1, 2, 1\]"
    ):
        import_network(tmp_path / "net.pth")


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("size", [(8, 12), (32, 32)])
def test_discriminator_gives_probabilities(
    size: tuple[int, int], norm: bool, tmp_path: Path
) -> None:
    net = dcgan.Discriminator(width=3, size=size, channels=1, norm=norm).eval()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    x = torch.randn(2, 1, *size)
    torch.testing.assert_close(import_network(tmp_path / "net.pth")(x), net(x).sigmoid())


def _text(file: Path) -> None:
    file.write_text("Not Found\n")


def _half(file: Path) -> None:
    torch.save(dcgan.Generator(width=2, size=8).state_dict(), file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _objects(file: Path) -> None:
    torch.save({"netG": {"a": torch.zeros(1)}, "config": Fraction(1, 2)}, file)


def _other(file: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 3)).state_dict(), file)


def _several(file: Path) -> None:
    torch.save({"a": {"w": torch.zeros(1)}, "b": {"w": torch.zeros(1)}}, file)


def _numbers(file: Path) -> None:
    torch.save({"step": 3}, file)


def _cut_short(file: Path) -> None:
    state = dcgan.Generator(width=2, size=16).state_dict()
    del state["main.4.bias"]
    torch.save(state, file)


def _safetensors_header(file: Path) -> None:
    file.write_bytes(b"\x10\0\0\0\0\0\0\0{" + b"\0" * 20)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (_text, "not a checkpoint"),
        (_half, "only a piece"),
        (_safetensors_header, "not a checkpoint"),
        (_objects, "Python objects besides tensors"),
        (_other, r"among them 0\.bias \[3\], 0\.weight \[3, 2\]\. .*docs/methods"),
        (_several, "choose one with `part`: a, b"),
        (_numbers, "holds no weights"),
        (_cut_short, r"looks like a DCGAN generator .*main\.4\.bias"),
        (lambda file: None, "cannot be read: No such file"),
        (lambda file: file.mkdir(), "cannot be read"),
    ],
)
def test_files_that_cannot_be_imported_are_explained(write, says: str, tmp_path: Path) -> None:
    write(tmp_path / "file.pth")
    with pytest.raises(UserError, match=f"file.pth .*{says}"):
        import_network(tmp_path / "file.pth")


def test_unknown_part(tmp_path: Path) -> None:
    _several(tmp_path / "file.pth")
    torch.save({"netG": {"w": torch.zeros(1)}}, tmp_path / "file.pth")
    with pytest.raises(UserError, match=r"no part 'netg'. Did you mean 'netG'"):
        import_network(tmp_path / "file.pth", part="netg")


# ---------------------------------------------------------------- prefixes and parts


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."]
)
def test_wrappers_leave_prefixes(prefix: str, tmp_path: Path) -> None:
    """Prefixes of nn.DataParallel and torch.compile, in any order."""
    for net in (
        dcgan.Generator(width=2, size=8),
        image_to_image.UNetGenerator(2, 1, width=2, depth=3),
        patchgan.PatchDiscriminator(2, width=3),
    ):
        torch.save({f"{prefix}{k}": v for k, v in net.state_dict().items()}, tmp_path / "net.pth")
        again = import_network(tmp_path / "net.pth").state_dict()
        assert all(torch.equal(again[k], v) for k, v in net.state_dict().items())


def _lightning(parts: dict[str, nn.Module], **more: object) -> dict:
    state = {f"{name}.{k}": v for name, net in parts.items() for k, v in net.state_dict().items()}
    return {
        "epoch": 3,
        "state_dict": {**state, "counter": torch.zeros(())},
        "optimizer_states": [],
        **more,
    }


@pytest.mark.parametrize(
    "name", ["generator", "netG", "G", "gen", "_orig_mod.generator", "model.generator", "net"]
)
def test_lightning_checkpoints(name: str, tmp_path: Path) -> None:
    net = dcgan.Generator(width=2, size=8)
    parts: dict[str, nn.Module] = {name: net, "features": nn.Linear(2, 2)}
    if "model" in name:
        parts = {name: net}
    if name != "net":
        parts[f"{name.rpartition('.')[0]}.discriminator".lstrip(".")] = dcgan.Discriminator(
            width=2, size=8
        )
    torch.save(_lightning(parts), tmp_path / "last.ckpt")
    again = import_network(tmp_path / "last.ckpt").state_dict()
    assert all(torch.equal(again[k], v) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("g", "d"),
    [("model.net_g._orig_mod", "model.net_d._orig_mod"), ("module.net_g", "module.net_d")],
)
def test_lightning_of_compiled_and_parallel_parts(g: str, d: str, tmp_path: Path) -> None:
    net = dcgan.Generator(width=2, size=8)
    parts = {g: net, d: dcgan.Discriminator(width=2, size=8)}
    torch.save(_lightning(parts), tmp_path / "last.ckpt")
    again = import_network(tmp_path / "last.ckpt").state_dict()
    assert all(torch.equal(again[k], v) for k, v in net.state_dict().items())


def test_parts_of_a_lightning_checkpoint(tmp_path: Path) -> None:
    D, nets = (
        dcgan.Discriminator(width=2, size=8),
        {n: dcgan.Generator(width=2, size=8) for n in ("one", "two")},
    )
    torch.save(_lightning({**nets, "discriminator": D}), tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="choose one with `part`: discriminator, one, two"):
        import_network(tmp_path / "last.ckpt")
    again = import_network(tmp_path / "last.ckpt", part="two").state_dict()
    assert all(torch.equal(again[k], v) for k, v in nets["two"].state_dict().items())
    with pytest.raises(UserError, match="Did you mean 'two'"):
        import_network(tmp_path / "last.ckpt", part="twu")


# ---------------------------------------------------------------- super-resolution


def _old_esrgan(net: super_resolution.RRDBNet) -> tuple[dict[str, torch.Tensor], nn.Sequential]:
    """Weights under the names of ESRGAN's old code, and its layers after the body."""
    ups = len(net.ups)
    at = {"conv_first": "model.0", "conv_body": f"model.1.sub.{len(net.body)}"}
    at |= {f"conv_up{i + 1}": f"model.{3 * i + 3}" for i in range(ups)}
    at |= {"conv_hr": f"model.{3 * ups + 2}", "conv_last": f"model.{3 * ups + 4}"}
    state = {}
    for key, value in net.state_dict().items():
        layer, _, name = key.rpartition(".")
        if layer.startswith("body."):
            _, block, dense, conv = layer.split(".")
            state[f"model.1.sub.{block}.{dense.upper()}.{conv}.0.{name}"] = value
        else:
            state[f"{at[layer]}.{name}"] = value
    tail: list[nn.Module] = []
    for name in net.ups:
        tail += [
            nn.Upsample(scale_factor=2, mode="nearest"),
            net.get_submodule(name),
            nn.LeakyReLU(0.2),
        ]
    return state, nn.Sequential(*tail, net.conv_hr, nn.LeakyReLU(0.2), net.conv_last)


@pytest.mark.parametrize("doublings", [0, 1, 2, 3])
def test_old_names_of_esrgan(doublings: int, tmp_path: Path) -> None:
    net = super_resolution.RRDBNet(
        width=4, blocks=2, growth=2, scale=1 << doublings, doublings=doublings
    )
    state, tail = _old_esrgan(net)
    torch.save(state, tmp_path / "old.pth")
    x = torch.rand(1, 3, 7, 9)
    with torch.no_grad():
        first = net.conv_first(x)
        want = tail(first + net.conv_body(net.body(first)))
        assert torch.equal(import_network(tmp_path / "old.pth")(x), want)
    assert want.shape[2:] == (7 << doublings, 9 << doublings)
    state["model.20.weight"] = state["model.0.weight"]
    torch.save(state, tmp_path / "old.pth")
    with pytest.raises(UserError, match=r"looks like a RRDBNet .*20"):
        import_network(tmp_path / "old.pth")


def _leftthomas(net: super_resolution.SRResNet, blocks: int) -> dict[str, torch.Tensor]:
    layers = ["conv1", "bn1", "prelu", "conv2", "bn2"]
    state = {}
    for key, value in net.state_dict().items():
        place, *rest = key.split(".")
        name = rest[-1]
        if place == "first":
            new = f"block1.{rest[0]}"
        elif place == "body":
            new = f"block{int(rest[0]) + 2}.{layers[int(rest[2])]}"
        elif place == "after":
            new = f"block{blocks + 2}.{rest[0]}"
        elif place == "up":
            new = f"block{blocks + 3}.{int(rest[0]) // 3}.{'prelu' if int(rest[0]) % 3 else 'conv'}"
        else:
            new = f"block{blocks + 3}.{net.scale.bit_length() - 1}"
        state[f"{new}.{name}"] = value
    return state


def test_weights_are_floating_point(tmp_path: Path) -> None:
    state = dcgan.Generator(width=2, size=8).state_dict()
    state["main.0.weight"] = state["main.0.weight"].to(torch.int8)
    torch.save(state, tmp_path / "g.pth")
    with pytest.raises(UserError, match=r"main\.0\.weight is int8, expected floating point"):
        import_network(tmp_path / "g.pth")


@pytest.mark.parametrize("activated", [False, True])
@pytest.mark.parametrize(("scale", "blocks"), [(2, 5), (4, 9), (8, 1)])
def test_both_forms_of_leftthomas_srgan(
    scale: int, blocks: int, activated: bool, tmp_path: Path
) -> None:
    net = super_resolution.SRResNet(3, 4, blocks, scale, bounded=True, activated=activated).eval()
    for buffer in net.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    state = _leftthomas(net, blocks)
    torch.save(state, tmp_path / "netG.pth")
    x = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        assert torch.equal(import_network(tmp_path / "netG.pth")(x), net(x))
    # What does not fit is named as the file names it.
    block = f"block{blocks + 2}.1"
    torch.save({**state, f"{block}.more": torch.zeros(1)}, tmp_path / "netG.pth")
    with pytest.raises(UserError, match=rf"SRGAN generator .*: {block}\.more has no place") as e:
        import_network(tmp_path / "netG.pth")
    assert "after" not in str(e.value)
    del state[f"block{blocks + 2}.0.bias"]
    torch.save(state, tmp_path / "netG.pth")
    with pytest.raises(UserError, match=rf"block{blocks + 2}\.0\.bias is missing"):
        import_network(tmp_path / "netG.pth")
    state["block1.0.bias"] = torch.zeros(9)
    torch.save(state, tmp_path / "netG.pth")
    with pytest.raises(UserError, match=r"block1\.0\.bias is \[9\], expected \[4\]"):
        import_network(tmp_path / "netG.pth")


# ---------------------------------------------------------------- files that hold no weights


def _torchscript(file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())), str(file))


def _zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (
            lambda f: f.write_text(
                "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 6\n"
            ),
            "git lfs pull",
        ),
        (
            lambda f: f.write_text("<!DOCTYPE html><html></html>"),
            "web page, not the file: download it again",
        ),
        (lambda f: f.write_text("\n <HTML lang='en'>"), "web page"),
        (_torchscript, r"TorchScript archive: .*torch\.jit\.load\(FILE\)\.state_dict\(\)"),
        (_zip, "zip archive"),
        (lambda f: f.write_bytes(b""), "an empty file"),
        (lambda f: f.write_bytes(b"%PDF-1.7\n%\xff"), "a PDF document"),
        (lambda f: f.write_bytes(b"\x89PNG\r\n\x1a\n"), "an image"),
        (lambda f: f.write_bytes(b"\x1f\x8b\x08\0"), "gzip"),
        (lambda f: f.write_bytes(b"\x89HDF\r\n\x1a\n"), "HDF5"),
        (lambda f: f.write_text('{"epoch": 3}'), "text file"),
        (os.mkfifo, "not a regular file"),
        (lambda f: f.symlink_to("/dev/zero"), "not a regular file"),
        (
            lambda f: torch.save(
                {f"layer{i}\x1b[31m.weight": torch.zeros(1) for i in range(500)}, f
            ),
            "500 tensors",
        ),
    ],
)
def test_files_without_weights_are_named(write, says: str, tmp_path: Path) -> None:
    write(tmp_path / "file.pth")
    with pytest.raises(UserError, match=f"file.pth .*{says}") as e:
        import_network(tmp_path / "file.pth")
    assert str(e.value).isprintable()
    assert len(str(e.value)) < 600


def test_numbers_in_names_do_not_decide_how_much_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block numbered 10**9 does not lead to as many blocks."""
    monkeypatch.setattr(meta_device, "MAX_CALLS", 2000)
    for key in ("a.enc.model.1000000000.conv.weight", "a.enc.model." + "9" * 5000 + ".conv.weight"):
        state = {f"{d}.enc.model.0.conv.weight": torch.zeros(4, 3, 7, 7) for d in "ab"}
        torch.save({**state, key: torch.zeros(4, 4, 4, 4)}, tmp_path / "unit.pt")
        with pytest.raises(UserError, match="looks like a UNIT"):
            import_network(tmp_path / "unit.pt")
