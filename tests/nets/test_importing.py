"""Files that cannot be imported, and networks of ours that come back whatever their shape."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import nn

from ganvas.errors import UserError
from ganvas.importing import import_network
from ganvas.nets import dcgan, patch, translate
from ganvas.nets.layers import Blur, InstanceNorm2d, Norm


@pytest.mark.parametrize(
    "make",
    [
        lambda: dcgan.Generator(latent=7, width=3, size=(16, 24), channels=4),
        lambda: dcgan.Generator(latent=7, width=3, size=8, channels=1),
        lambda: translate.ResNetGenerator(1, 4, width=3, blocks=6, norm="instance", dropout=True),
        lambda: translate.ResNetGenerator(4, 1, width=3, blocks=2, norm="batch"),
        lambda: translate.UNetGenerator(2, 1, width=2, depth=5, norm="batch"),
        lambda: translate.UNetGenerator(1, 2, width=2, depth=6, norm="instance"),
        lambda: patch.PatchDiscriminator(2, width=3, layers=1),
        lambda: patch.PatchDiscriminator(6, width=3, layers=5, norm="batch"),
        lambda: patch.PixelDiscriminator(2, width=3),
    ],
)
def test_recognises_every_shape(make, tmp_path: Path) -> None:
    net = make()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    random = torch.get_rng_state()
    again = import_network(tmp_path / "net.pth")
    assert torch.equal(torch.get_rng_state(), random), "importing must not disturb the run's randomness"
    assert str(again) == str(net)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), net.state_dict().values(), strict=True))


NORMS: tuple[Norm, ...] = ("batch", "instance", "none")


@pytest.mark.parametrize("norm", NORMS)
def test_translators_in_every_combination(norm: Norm, tmp_path: Path) -> None:
    """As junyanz's project saves them, through nn.DataParallel, and before torch 0.4: nobody says what they are."""
    nets: list[nn.Module] = [
        translate.ResNetGenerator(*channels, width=width, blocks=blocks, norm=norm, dropout=dropout, **blur)
        for channels, width in (((3, 3), 2), ((1, 4), 3))
        for blocks in (1, 6, 9)
        for dropout in (False, True)
        for blur in ({}, {"blur_down": True}, {"blur_up": True}, {"blur_down": True, "blur_up": True})
    ]
    nets += [
        translate.UNetGenerator(*channels, width=width, depth=depth, norm=norm)
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
        state = {f"module.{k}": v for k, v in state.items() if not k.endswith("num_batches_tracked")}
        torch.save(state, tmp_path / "latest_net_G.pth")
        again = import_network(tmp_path / "latest_net_G.pth")
        assert str(again) == str(net)
        ours, theirs = again.state_dict(), net.state_dict()
        assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


def test_another_blur_is_refused(tmp_path: Path) -> None:
    state = translate.ResNetGenerator(width=2, blocks=1, blur_down=True).state_dict()
    state["model.7.filt"] = state["model.11.filt"] = torch.ones(1, 1, 3, 3) / 9
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"anti-aliased ResNet .*model\.7\.filt is another filter than \[1, 2, 1\]"):
        import_network(tmp_path / "net.pth")


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("size", [(8, 12), (32, 32)])
def test_discriminator_gives_probabilities(size: tuple[int, int], norm: bool, tmp_path: Path) -> None:
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
        (_other, r"begin 0\.bias \[3\], 0\.weight \[3, 2\]\. .*docs/methods"),
        (_several, "say which with `part`: a, b"),
        (_numbers, "holds no weights"),
        (_cut_short, r"looks like a DCGAN generator .*main\.4\.bias"),
        (lambda file: None, "cannot be read: No such file"),
        (lambda file: file.mkdir(), "cannot be read"),
    ],
)
def test_what_cannot_be_imported_is_explained(write, says: str, tmp_path: Path) -> None:
    write(tmp_path / "file.pth")
    with pytest.raises(UserError, match=f"file.pth .*{says}"):
        import_network(tmp_path / "file.pth")


def test_unknown_part(tmp_path: Path) -> None:
    _several(tmp_path / "file.pth")
    torch.save({"netG": {"w": torch.zeros(1)}}, tmp_path / "file.pth")
    with pytest.raises(UserError, match=r"no part 'netg'. Did you mean 'netG'"):
        import_network(tmp_path / "file.pth", part="netg")
