"""ganvas: train, evaluate and use generative adversarial networks.

import ganvas
ganvas.train("dcgan", "photos/", out="runs/p")
model = ganvas.load("runs/p")
model.sample(16, seed=7)  # PIL images; output="numpy" or "torch" for other forms
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from ganvas.core.errors import UserError
    from ganvas.evaluation.compare import compare
    from ganvas.evaluation.degraded_sheet import degradation_sheet
    from ganvas.evaluation.evaluate import measure
    from ganvas.inference.blend import blend
    from ganvas.inference.exporters.export import export
    from ganvas.inference.importers import import_network
    from ganvas.inference.importers.as_method import import_model
    from ganvas.inference.load import load
    from ganvas.inference.model import Model
    from ganvas.inference.translate_video import translate_video
    from ganvas.media.verify import verify
    from ganvas.training.snapshot import Snapshot
    from ganvas.training.testing import check_method
    from ganvas.training.trainer import resume, train

# Imported at first use, so that `ganvas --help` does not wait for torch.
_MODULES = {
    "Model": "inference.model",
    "load": "inference.load",
    "Snapshot": "training.snapshot",
    "UserError": "core.errors",
    "blend": "inference.blend",
    "check_method": "training.testing",
    "compare": "evaluation.compare",
    "degradation_sheet": "evaluation.degraded_sheet",
    "export": "inference.exporters.export",
    "import_model": "inference.importers.as_method",
    "import_network": "inference.importers",
    "measure": "evaluation.evaluate",
    "resume": "training.trainer",
    "train": "training.trainer",
    "translate_video": "inference.translate_video",
    "verify": "media.verify",
}

__all__ = [
    "Model",
    "Snapshot",
    "UserError",
    "__version__",
    "blend",
    "check_method",
    "compare",
    "degradation_sheet",
    "export",
    "import_model",
    "import_network",
    "load",
    "measure",
    "resume",
    "train",
    "translate_video",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"ganvas.{_MODULES[name]}"), name)
    try:
        return import_module(f"ganvas.{name}")
    except ModuleNotFoundError as e:
        if e.name != f"ganvas.{name}":
            raise
        raise AttributeError(f"module 'ganvas' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
