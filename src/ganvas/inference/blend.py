"""Blend the weights of two models.

ESRGAN, Wang et al., 2018, arXiv:1809.00219, section 3.4 (network interpolation):
between a network that was trained by pixels and one that continued from it with a game
lie networks between fidelity and detail.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from ganvas.core.errors import UserError, printable
from ganvas.core.files import require_new_folder
from ganvas.core.guards import plural
from ganvas.inference import model_file
from ganvas.inference.load import contents
from ganvas.inference.runtime import Description


def blend(a: str | Path, b: str | Path, weight: float, out: str | Path) -> Description:
    """Write the model whose weights are (1 - weight) a + weight b.

    a, b: models as of `ganvas.load`, of the same networks
    weight: of b, 0 to 1
    out: a new or empty folder

    Returns the new model's description: b's, with `blend`. Raises `UserError` if the
    networks differ, for other weights, and if `out` is not empty.
    """
    if not 0 <= weight <= 1:
        raise UserError(f"the share of the second model is {weight}; expected 0 to 1")
    out = Path(out)
    require_new_folder(out)
    (_, first), (header, second) = contents(a), contents(b)
    differ = [
        name
        for name in sorted(first.keys() | second.keys())
        if name not in first or name not in second or first[name].shape != second[name].shape
    ]
    if differ:
        raise UserError(
            f"{printable(a)} and {printable(b)} have different networks: "
            f"{plural(len(differ), 'tensor')} differ, the first is {printable(differ[0])}"
        )
    header = {**header, "blend": {"models": [Path(a).name, Path(b).name], "weight": weight}}
    tensors = {name: _between(first[name], second[name], weight) for name in second}
    model_file.write(out, tensors, header)
    return cast(Description, header)


def _between(a: Tensor, b: Tensor, weight: float) -> Tensor:
    """(1 - weight) a + weight b; whole numbers are b's."""
    if not b.is_floating_point():
        return b
    return torch.lerp(a.double(), b.double(), weight).to(b.dtype)
