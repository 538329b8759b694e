"""Experiment trackers: TensorBoard, Weights & Biases, Trackio and MLflow.

Each is an optional package (an extra of ganvas of the same name) behind one class.
A tracker shows a run; the run folder stays the record.
"""

from __future__ import annotations

import hashlib
import importlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

import numpy as np
from PIL import Image

from ganvas.core.errors import UserError, did_you_mean
from ganvas.engine.records import RunRecord

PROJECT = "ganvas"  # the name under which wandb, trackio and mlflow group runs


class Tracker(Protocol):
    """Receives the log of one run."""

    def scalars(self, values: Mapping[str, float], images: int) -> None:
        """Add values by name, after `images` real images."""

    def image(self, name: str, image: Image.Image, images: int) -> None:
        """Add an image (RGB), after `images` real images."""

    def close(self) -> None:
        """Send what is left."""


def complete(tracker: Tracker | None) -> Tracker | None:
    """The tracker. Raises `UserError` for an object that lacks a function of one."""
    names = ("scalars", "image", "close")
    lacking = [n for n in names if not callable(getattr(tracker, n, None))]
    if tracker is not None and lacking:
        raise UserError(
            f"log is an object without {' and '.join(lacking)}; a tracker has "
            "scalars(values, images), image(name, image, images) and close()"
        )
    return tracker


class TensorBoard:
    """Event files in the run folder's `tensorboard/`."""

    def __init__(self, out: Path, record: RunRecord) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            board = _imported("tensorboard", "torch.utils.tensorboard")
        self._writer = board.SummaryWriter(str(out / "tensorboard"))

    def scalars(self, values: Mapping[str, float], images: int) -> None:
        """As of `Tracker`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, images)

    def image(self, name: str, image: Image.Image, images: int) -> None:
        """As of `Tracker`."""
        self._writer.add_image(name, np.asarray(image), images, dataformats="HWC")

    def close(self) -> None:
        """As of `Tracker`."""
        self._writer.close()


class Wandb:
    """A run of wandb, or of trackio, which has the same functions.

    A resumed run continues under the name of its folder. Where it is sent, their own
    environment variables say (WANDB_MODE=offline: nowhere).
    """

    def __init__(self, out: Path, record: RunRecord, package: str = "wandb") -> None:
        self._module = _imported(package, package)
        settings = {"recipe": record["recipe"], "seed": record["seed"], "run": record["run"]}
        more = {"dir": str(out), "id": _identity(out)} if package == "wandb" else {}
        self._run = self._module.init(
            project=PROJECT, name=out.name, config=settings, resume="allow", **more
        )

    def scalars(self, values: Mapping[str, float], images: int) -> None:
        """As of `Tracker`."""
        self._run.log({**values, "images": images})

    def image(self, name: str, image: Image.Image, images: int) -> None:
        """As of `Tracker`."""
        self._run.log({name: self._module.Image(image), "images": images})

    def close(self) -> None:
        """As of `Tracker`."""
        self._run.finish()


class Trackio(Wandb):
    """A run of trackio."""

    def __init__(self, out: Path, record: RunRecord) -> None:
        super().__init__(out, record, "trackio")


class MLflow:
    """A run of MLflow, in the place that MLFLOW_TRACKING_URI names."""

    def __init__(self, out: Path, record: RunRecord) -> None:
        self._module = _imported("mlflow", "mlflow")
        self._module.set_experiment(PROJECT)
        place = out / "mlflow.txt"
        known = place.read_text(encoding="utf-8").strip() if place.is_file() else None
        run = self._module.start_run(run_id=known, run_name=None if known else out.name)
        place.write_text(run.info.run_id, encoding="utf-8")
        if known is None:
            self._module.log_params({"recipe": record["recipe"], "seed": record["seed"]})

    def scalars(self, values: Mapping[str, float], images: int) -> None:
        """As of `Tracker`."""
        self._module.log_metrics(dict(values), step=images)

    def image(self, name: str, image: Image.Image, images: int) -> None:
        """As of `Tracker`."""
        self._module.log_image(image, key=name, step=images)

    def close(self) -> None:
        """As of `Tracker`."""
        self._module.end_run()


TRACKERS: dict[str, Callable[[Path, RunRecord], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
    "mlflow": MLflow,
}


def checked(name: str) -> str:
    """The name of a tracker whose package is installed.

    Raises `UserError` for any other.
    """
    if name not in TRACKERS:
        raise UserError(f"there is no tracker {name!r} (--log). {did_you_mean(name, TRACKERS)}")
    _imported(name, name)
    return name


def opened(name: str, out: Path, record: RunRecord) -> Tracker:
    """A tracker of `TRACKERS` for the run in `out`.

    Raises `UserError` if its package is not installed.
    """
    return TRACKERS[checked(name)](out, record)


def _imported(extra: str, module: str) -> ModuleType:
    try:
        return cast(ModuleType, importlib.import_module(module))
    except ImportError:
        raise UserError(
            f"the tracker {extra} needs its package. Install it: pip install 'ganvas[{extra}]'"
        ) from None


def _identity(out: Path) -> str:
    """A name for wandb, which a resumed run has again: it takes letters and digits."""
    return hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]
