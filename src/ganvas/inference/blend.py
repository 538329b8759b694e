"""Blend the weights of two models.

ESRGAN, Wang et al., 2018, arXiv:1809.00219, section 3.4 (network interpolation):
between a network that was trained by pixels and one that continued from it with a game
lie networks between fidelity and detail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor

from ganvas.core import Method
from ganvas.core.errors import UserError, printable
from ganvas.core.files import require_new_folder
from ganvas.core.guards import plural
from ganvas.inference import model_file
from ganvas.inference.load import contents, load, located
from ganvas.inference.runtime import Description
from ganvas.inference.settings_of import differences


class _Operand(NamedTuple):
    """A model to blend.

    tensors: under the names of its file
    """

    name: str
    method: Method
    header: dict[str, object]
    tensors: dict[str, Tensor]

    @property
    def imported(self) -> bool:
        return self.header.get("imported") is not None


def blend(
    a: str | Path,
    b: str | Path,
    weight: float,
    out: str | Path,
    checkpoint: str | Sequence[str] = "last",
) -> Description:
    """Write the model whose weights are (1 - weight) a + weight b.

    a, b: models as of `ganvas.load`, of the same networks
    weight: of b, 0 to 1
    out: a new or empty folder
    checkpoint: which of the runs, as of `ganvas.load`; or two, a's and b's

    A network of another project and one that was trained from it are blended under the
    latter's names. Returns the new model's description: b's, with `blend`. Raises
    `UserError` if the networks differ, for other weights, and if `out` is not empty.
    """
    if not 0 <= weight <= 1:
        raise UserError(f"the share of the second model is {weight}; expected 0 to 1")
    which = [checkpoint] * 2 if isinstance(checkpoint, str) else list(checkpoint)
    if len(which) not in (1, 2):
        raise UserError(f"got {len(which)} checkpoints; expected one for both, or one for each")
    out = Path(out)
    require_new_folder(out)
    first, second = _operand(a, which[0]), _operand(b, which[-1])
    described = second
    if first.imported != second.imported:  # the file of one has names of its own
        described = first if second.imported else second
        first, second = (o._replace(tensors=_named(o.method)) for o in (first, second))
    _require_same(first, second)
    names = [o.name for o in (first, second)]
    header = {**described.header, "blend": {"models": names, "weight": weight}}
    tensors = {
        name: _between(first.tensors[name], second.tensors[name], weight)
        for name in described.tensors
    }
    model_file.write(out, tensors, header)
    return cast(Description, header)


def _operand(path: str | Path, checkpoint: str) -> _Operand:
    """Read one of the models."""
    place = located(path)
    model = load(place, checkpoint=checkpoint)
    header, tensors = contents(place)
    name = Path(path).name
    if checkpoint != "last":
        if not (place / "run.json").is_file():
            raise UserError(
                f"{printable(path)} is a model, which has no checkpoints (got --checkpoint "
                f"{printable(checkpoint)}): give the run, or last"
            )
        name = f"{name}, checkpoint {checkpoint}"
        tensors = _named(model.method)
        header |= {
            "stage": asdict(model.method.current_stage),
            "images_trained": model.info["images_trained"],
        }
    return _Operand(name, model.method, header, tensors)


def _named(method: Method) -> dict[str, Tensor]:
    """The tensors of a model under our names."""
    return {k: v.detach().cpu() for k, v in model_file.stored_tensors(method).items()}


def _require_same(a: _Operand, b: _Operand) -> None:
    """Raise `UserError` if the networks of two models differ."""
    different = f"{printable(a.name)} and {printable(b.name)} have different networks"
    names = sorted(a.tensors.keys() | b.tensors.keys())
    differ = [
        name
        for name in names
        if name not in a.tensors
        or name not in b.tensors
        or a.tensors[name].shape != b.tensors[name].shape
    ]
    if differ:
        raise UserError(
            f"{different}: {plural(len(differ), 'tensor')} differ, the first is "
            f"{printable(differ[0])}"
        )
    for name, net in a.method.named_children():
        other = dict(b.method.named_children()).get(name)
        if name not in a.method.ema_networks or other is None:
            continue
        for d in differences(net, other):
            setting = ".".join(filter(None, (name, d.module, d.setting)))
            raise UserError(
                f"{different}: {printable(setting)} is {printable(d.here)} and {printable(d.there)}"
            )


def _between(a: Tensor, b: Tensor, weight: float) -> Tensor:
    """(1 - weight) a + weight b; whole numbers are b's."""
    if not b.is_floating_point():
        return b
    return torch.lerp(a.double(), b.double(), weight).to(b.dtype)
