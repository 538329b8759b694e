"""CUT: patches of the same place against others of the same image."""

import math
from pathlib import Path

import pytest
import torch
from toys import toy_data, toy_run

from ganvas.core import Batch
from ganvas.core.errors import UserError
from ganvas.engine.engine import Engine
from ganvas.methods import CUT
from ganvas.objectives.contrastive import patch_nce


def engine(tmp_path: Path, *settings: str) -> Engine:
    run = toy_run("cut", toy_data("cut", tmp_path), *settings)
    return Engine(run, run.data())


def method_of(engine: Engine) -> CUT:
    assert isinstance(engine.method, CUT)
    return engine.method


def test_patch_nce_of_equal_patches_is_chance():
    """With all keys alike no patch can be told from the others: log P."""
    vectors = torch.zeros(2, 7, 3)
    vectors[..., 0] = 1
    loss = patch_nce(vectors, vectors)
    assert torch.allclose(loss, torch.full((2, 7), math.log(7)))


def test_patch_nce_ignores_other_images():
    """Another image in the batch changes nothing."""
    q, k = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0)).unbind()
    assert torch.allclose(patch_nce(q, k)[:1], patch_nce(q[:1], k[:1]))


def test_mirrored_images_are_compared_mirrored_back(tmp_path: Path):
    """At the layer of the image itself the mirrored image is a perfect translation."""
    method = method_of(engine(tmp_path, "taps=[0]"))
    images = torch.randn(2, 3, 16, 16)
    mirror = torch.tensor([True, False])
    made = torch.stack([images[0].flip(2), images[1]])
    torch.manual_seed(1)
    mirrored = method.contrast(images, made, Batch(a=images, mirror=mirror))
    torch.manual_seed(1)
    straight = method.contrast(images, images, Batch(a=images))
    assert torch.allclose(mirrored, straight)
    torch.manual_seed(1)
    assert method.contrast(images, made, Batch(a=images)) > straight + 0.1


def test_the_generator_learns_from_its_queries_alone(tmp_path: Path):
    """Keys take no gradient, neither in the images nor in the projections."""
    method = method_of(engine(tmp_path))
    source = torch.randn(2, 3, 16, 16, requires_grad=True)
    made = torch.randn(2, 3, 16, 16, requires_grad=True)
    method.contrast(source, made, Batch(a=source)).backward()
    assert source.grad is None
    assert made.grad is not None
    assert made.grad.abs().sum() > 0
    assert all(w.grad is not None for w in method.F.parameters())


def test_a_step_moves_all_networks(tmp_path: Path):
    run = engine(tmp_path)
    before = {k: v.clone() for k, v in run.method.named_parameters()}
    log = run.step()
    assert {"G/nce", "G/identity", "G/adversarial"} <= log.keys()
    after = dict(run.method.named_parameters())
    for network in "GFD":
        assert any(not torch.equal(v, after[k]) for k, v in before.items() if k[0] == network)


@pytest.mark.parametrize("taps", ["[]", "[4,0]", "[0,99]", "[-1]"])
def test_impossible_layers_are_refused(tmp_path: Path, taps: str):
    with pytest.raises(UserError, match="expected numbers of layers of the generator's encoder"):
        engine(tmp_path, f"taps={taps}")
