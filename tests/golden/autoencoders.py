"""Record names, shapes and results of other projects' autoencoders.

`python tests/golden/autoencoders.py --write` needs the packages diffusers and
taming-transformers; the tests need neither. The weights follow from names and shapes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

RECORD = Path(__file__).with_suffix(".json")
SIDE = 16
LEVELS = {"ch": 32, "num_res_blocks": 1, "resolution": SIDE, "z_channels": 4, "out_ch": 3}
CASES: dict[str, dict[str, Any]] = {
    "VQGAN (CompVis/taming-transformers)": {
        **LEVELS,
        "in_channels": 3,
        "ch_mult": [1, 2],
        "attn_resolutions": [8],
        "double_z": False,
        "embed_dim": 5,
        "n_embed": 7,
    },
    "GumbelVQ (CompVis/taming-transformers)": {
        **LEVELS,
        "in_channels": 3,
        "ch_mult": [1, 2],
        "attn_resolutions": [8],
        "double_z": False,
        "embed_dim": 4,
        "n_embed": 7,
        "gumbel": True,
    },
    "KL autoencoder (CompVis/latent-diffusion)": {
        **LEVELS,
        "in_channels": 3,
        "ch_mult": [2, 1, 3],
        "attn_resolutions": [16],
        "double_z": True,
        "embed_dim": 5,
    },
    "AutoencoderKL (huggingface/diffusers)": {
        "down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
        "block_out_channels": [4, 8],
        "layers_per_block": 2,
        "latent_channels": 3,
        "norm_num_groups": 2,
    },
    "VQModel (huggingface/diffusers)": {
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
        "block_out_channels": [4, 8, 8],
        "norm_num_groups": 4,
        "num_vq_embeddings": 9,
        "vq_embed_dim": 5,
        "mid_block_add_attention": False,
    },
}


def weights(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Weights by name, the same on every machine."""
    state = {}
    for i, (name, shape) in enumerate(sorted(shapes.items())):
        steps = torch.arange(1, 1 + torch.Size(shape).numel(), dtype=torch.float64)
        state[name] = (0.3 * (1.7 * i + steps * steps.sqrt()).sin() + 0.05).float().view(shape)
    for name in ("quantize.proj.weight", "quantize.proj.bias"):
        if name in state:  # taming draws codes in use, too: here one is all but certain
            state[name] *= 1e6
    return state


def images() -> Tensor:
    """One image of `SIDE` pixels."""
    steps = torch.arange(3 * SIDE * SIDE, dtype=torch.float64)
    return (steps * steps.sqrt()).cos().float().view(1, 3, SIDE, SIDE)


def seen(reconstruction: Tensor) -> list[float]:
    """Some of its pixels."""
    return [round(value, 6) for value in reconstruction[0, :, 1::5, 2::5].flatten().tolist()]


class Compressor(nn.Module):
    """taming's parts, put together as its Lightning modules are."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        from taming.modules.diffusionmodules.model import (  # pyright: ignore[reportMissingImports]
            Decoder,
            Encoder,
        )
        from taming.modules.vqvae.quantize import (  # pyright: ignore[reportMissingImports]
            GumbelQuantize,
            VectorQuantizer,
        )

        codes, latent = settings.pop("n_embed", None), settings.pop("embed_dim")
        gumbel = settings.pop("gumbel", False)
        self.encoder, self.decoder = Encoder(**settings), Decoder(**settings)
        features, times = settings["z_channels"], 1 if codes else 2
        self.quant_conv = nn.Conv2d(times * features, times * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, features, 1)
        if gumbel:
            self.quantize = GumbelQuantize(features, latent, codes)
        elif codes:
            self.quantize = VectorQuantizer(codes, latent, beta=0.25)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions."""
        z = self.quant_conv(self.encoder(x))
        z = z.chunk(2, 1)[0] if not hasattr(self, "quantize") else self.quantize(z)[0]
        return self.decoder(self.post_quant_conv(z))


def record() -> dict[str, Any]:
    """Build each case by its own project."""
    import diffusers  # pyright: ignore[reportMissingImports]

    found = {}
    for name, settings in CASES.items():
        theirs: Any = Compressor(**settings) if "CompVis" in name else None
        if theirs is None:
            theirs = getattr(diffusers, name.partition(" ")[0])(**settings)
        shapes = {key: list(value.shape) for key, value in theirs.state_dict().items()}
        theirs.load_state_dict(weights(shapes))
        with torch.no_grad():
            result = theirs.eval()(images())
        pixels = seen(result if isinstance(result, Tensor) else result.sample)
        found[name] = {"settings": settings, "shapes": shapes, "result": pixels}
    return found


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    lines = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in record().items()]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")
