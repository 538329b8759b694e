"""StarGAN's networks under the names of yunjey/stargan, in every form."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from renaming import lively
from torch import Tensor
from torch.nn import functional as F

from ganvas.core.errors import UserError
from ganvas.inference.importers import as_method, import_network
from ganvas.nets import dcgan, stargan


def normalized(x: Tensor, state: dict[str, Tensor], layer: str, running: bool) -> Tensor:
    """Instance norm by its formula."""
    mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
    if running:
        mean, var = (state[f"{layer}.running_{k}"].view(1, -1, 1, 1) for k in ("mean", "var"))
    gain, bias = (state[f"{layer}.{k}"].view(1, -1, 1, 1) for k in ("weight", "bias"))
    return (x - mean) / (var + 1e-5).sqrt() * gain + bias


def translated(
    x: Tensor, c: Tensor, state: dict[str, Tensor], blocks: int, running: bool
) -> Tensor:
    """The generator's output, computed from the tensors of the file."""
    planes = c[:, :, None, None].expand(-1, -1, *x.shape[2:])
    x, at = torch.cat([x, planes], 1), 0
    for stride, padding in ((1, 3), (2, 1), (2, 1)):
        x = F.conv2d(x, state[f"main.{at}.weight"], None, stride, padding)
        x = normalized(x, state, f"main.{at + 1}", running).relu()
        at += 3
    for _ in range(blocks):
        h = F.conv2d(x, state[f"main.{at}.main.0.weight"], padding=1)
        h = normalized(h, state, f"main.{at}.main.1", running).relu()
        h = F.conv2d(h, state[f"main.{at}.main.3.weight"], padding=1)
        x = x + normalized(h, state, f"main.{at}.main.4", running)
        at += 1
    for _ in range(2):
        x = F.conv_transpose2d(x, state[f"main.{at}.weight"], None, 2, 1)
        x = normalized(x, state, f"main.{at + 1}", running).relu()
        at += 3
    return F.conv2d(x, state[f"main.{at}.weight"], padding=3).tanh()


@torch.no_grad()
@pytest.mark.parametrize(("channels", "labels", "blocks"), [(3, 5, 2), (3, 1, 0), (1, 8, 1)])
def test_generators(
    channels: int, labels: int, blocks: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = dict(lively(stargan.Generator(channels, labels, 4, blocks)).state_dict())
    for name, value in list(state.items()):
        if value.dim() == 4:
            state[name] = torch.randn_like(value) / value[0].numel() ** 0.5
        if name.endswith("running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
    x, c = torch.randn(2, channels, 16, 12), torch.rand(2, labels)
    file = tmp_path / "200000-G.ckpt"
    torch.save(state, file)
    for running, name in ((False, "image"), (True, "running")):
        with caplog.at_level(logging.WARNING):
            got = import_network(file, options={"statistics": name})(x, c)
        torch.testing.assert_close(got, translated(x, c, state, blocks, running))
    assert not caplog.messages
    with caplog.at_level(logging.WARNING):
        net = import_network(file)
    assert "assumed: statistics=image (else --option statistics=running)" in caplog.text
    torch.testing.assert_close(net(x, c), translated(x, c, state, blocks, running=False))
    of_class = F.one_hot(torch.tensor([0, labels - 1]), labels)
    torch.testing.assert_close(net(x, of_class), net(x, torch.tensor([0, labels - 1])))
    with pytest.raises(UserError, match=rf"labels of shape \[2, 9\] for 2 images; .*\[2, {labels}"):
        net(x, torch.zeros(2, 9))
    with pytest.raises(UserError, match="multiples of 4"):
        net(torch.randn(2, channels, 16, 13), c)
    with pytest.raises(UserError, match=r"StarGAN generator .* from Python only"):
        as_method.import_model(file, tmp_path / "model")


@torch.no_grad()
def test_norms_that_track_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without running statistics only each image's own remain, and nothing is assumed."""
    state = lively(stargan.Generator(3, 2, 4, 1)).state_dict()
    state = {k: v for k, v in state.items() if ".running_" not in k}
    torch.save(state, tmp_path / "g.pth")
    with caplog.at_level(logging.WARNING):
        net = import_network(tmp_path / "g.pth")
    assert not caplog.messages
    x, c = torch.randn(1, 3, 8, 8), torch.rand(1, 2)
    torch.testing.assert_close(net(x, c), translated(x, c, state, 1, running=False))
    with pytest.raises(UserError, match="has no option 'statistics'"):
        import_network(tmp_path / "g.pth", options={"statistics": "running"})


@torch.no_grad()
@pytest.mark.parametrize(("side", "layers", "labels"), [(32, 4, 5), (100, 5, 1), (8, 1, 3)])
def test_discriminators(side: int, layers: int, labels: int, tmp_path: Path) -> None:
    state = lively(stargan.Discriminator(side, 3, labels, 2, layers)).state_dict()
    torch.save(state, tmp_path / "200000-D.ckpt")
    net = import_network(tmp_path / "200000-D.ckpt")
    x = h = torch.randn(2, 3, side, side)
    for i in range(layers):
        weight, bias = (state[f"main.{2 * i}.{k}"] for k in ("weight", "bias"))
        h = F.leaky_relu(F.conv2d(h, weight, bias, 2, 1), 0.01)
    scores, logits = net(x)
    torch.testing.assert_close(scores, F.conv2d(h, state["conv1.weight"], padding=1))
    torch.testing.assert_close(logits, F.conv2d(h, state["conv2.weight"]).flatten(1))
    least = side >> layers << layers
    with pytest.raises(UserError, match=f"takes images of {least}x{least} .* up to"):
        net(torch.randn(2, 3, 2 * side, side))


def test_dcgans_are_still_dcgans(tmp_path: Path) -> None:
    net = dcgan.Generator(5, 8, 32, 3)
    torch.save(net.state_dict(), tmp_path / "g.pth")
    assert isinstance(import_network(tmp_path / "g.pth"), dcgan.Generator)


def test_running_statistics_follow_the_images() -> None:
    """As torch's own layer."""
    ours, theirs = (
        stargan.TrackedInstanceNorm2d(3),
        torch.nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
    )
    x = torch.empty(0)
    for _ in range(2):
        x = torch.randn(2, 3, 4, 5) * 3 + 1
        torch.testing.assert_close(ours(x), theirs(x))
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(ours.state_dict()[name], theirs.state_dict()[name])
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
