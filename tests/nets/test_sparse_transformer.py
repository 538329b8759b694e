"""Sparse attention: the patterns, their fast forms, and drawing with stored keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ganvas.core.protocols import returned
from ganvas.nets import sparse_transformer as nets


@pytest.mark.parametrize("name", ["local", "strided", "fixed_1vert", "fixed_4verts"])
def test_masks_are_the_references(name: str, shared: Path) -> None:
    base = shared / "golden" / "sparse_attention" / name
    args = json.loads(Path(f"{base}.json").read_text())["args"]
    tensors = load_file(f"{base}.safetensors")
    wanted = tensors.get("mask_original_order", tensors["mask"]).bool()
    summary = args.get("vertsize", 1) * args["blocksize"]
    for head, mask in enumerate(wanted):
        got = nets.pattern_mask(
            args["attn_mode"],
            args["n_ctx"],
            args["local_attn_ctx"],
            summary,
            head,
            args.get("num_verts", 1),
        )
        assert torch.equal(got, mask)


@pytest.mark.parametrize("pattern", ["local", "strided", "dense"])
def test_fast_forms_are_the_masked_attention(pattern: nets.Pattern) -> None:
    q, k, v = torch.randn(3, 2, 2, 24, 4).unbind(0)
    mask = nets.pattern_mask(pattern, 24, 6)
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(nets.attend(q, k, v, pattern, 6), wanted)


def test_a_value_depends_on_earlier_ones_alone() -> None:
    net = _net()
    values = torch.randint(0, 8, (1, 32))
    changed = values.clone()
    changed[0, 20] = (values[0, 20] + 1) % 8
    same = (net(values) == net(changed)).all(-1)[0]
    assert same[:21].all(), "values up to the changed one are predicted from others"
    assert not same[21:].all()


def test_drawing_with_stored_keys_is_the_inverse_of_the_cumulative_probabilities() -> None:
    net, noise = _net(), torch.rand(3, 32)
    done: list[float] = []
    values = returned(net.draw(noise), done.append)
    assert done == [t / 32 for t in range(1, 33)]
    p = net(values).softmax(-1)
    below = p.cumsum(-1).gather(-1, values[..., None])[..., 0]
    above = below - p.gather(-1, values[..., None])[..., 0]
    assert ((above - 1e-5 <= noise) & (noise <= below + 1e-5)).all()


def _net() -> nets.SparseTransformer:
    torch.manual_seed(0)
    patterns = ["strided", "local", "fixed"]
    net = nets.SparseTransformer(4, 2, 8, 8, 3, patterns=patterns, summary=2, dropout=0.0)
    torch.nn.init.normal_(net.logits.weight)
    return net.eval()
