"""Measures of a run on held-out pairs, at every snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import fmean

import torch
from torch import Tensor

from ganvas.core import Method, Run, Translates
from ganvas.core.environment import say
from ganvas.core.errors import ConfigError, DataError, UserError, sentence
from ganvas.core.guards import plural
from ganvas.data.held_out import TEST_PARTS, HeldOut, held_out
from ganvas.data.info import Info
from ganvas.engine.records import HeldOutRecord
from ganvas.inference.model import Model
from ganvas.metrics.lpips import LPIPS, available_lpips, lpips
from ganvas.metrics.psnr_ssim import PROTOCOLS, WINDOW, Protocol, psnr, ssim

MOST_DB = 100.0  # counts as the PSNR of equal images, which is infinite


@dataclass(frozen=True)
class Validation:
    """PSNR, SSIM and LPIPS of a model on held-out pairs.

    protocol: of PSNR and SSIM
    perceptual: None: its weights are not there, or the images are too small for it
    """

    images: HeldOut
    protocol: Protocol
    perceptual: LPIPS | None

    def __call__(self, model: Model) -> dict[str, float]:
        """Means over images; outputs are rounded as they are when saved."""
        found: dict[str, list[float]] = {"psnr": [], "ssim": []}
        for x, target in self.images.pairs():
            y = model.translate(x, to="b", output="torch").cpu()
            a, b = (self._saved(image) for image in (y, target))
            found["psnr"].append(min(float(psnr(a, b, self.protocol.name).mean()), MOST_DB))
            found["ssim"].append(float(ssim(a, b, self.protocol.name).mean()))
            if self.perceptual is not None:
                distance = self.perceptual(2 * a.float() - 1, 2 * b.float() - 1)
                found.setdefault("lpips", []).append(float(distance))
        return {name: fmean(values) for name, values in found.items()}

    def _saved(self, x: Tensor) -> Tensor:
        """Images in [0, 1] as files hold them; channels that are no colors, singly."""
        steps, values = self.images.steps, self.images.values
        if values is not None:  # rounds in float32, as `ganvas translate` does
            x = torch.from_numpy(values.to_unit(values.from_unit(x.float().numpy())))
        x = (x.double().clamp(-1, 1) + 1) / 2
        x = x if steps is None else (x * steps).round() / steps
        return x if self.colors else x.transpose(0, 1)

    @property
    def colors(self) -> bool:
        """Whether three channels are colors, which have a luma; not of measurements."""
        channels, luma = self.images.channels, self.protocol.channels == "y"
        return channels == 1 or (channels == 3 and not (luma and self.images.values))

    def record(self) -> HeldOutRecord:
        """What is measured, and how."""
        gray = self.images.channels == 1 or not self.colors
        return {
            "source": self.images.source,
            "part": self.images.part,
            "pairs": self.images.count,
            "of": self.images.total,
            "protocol": self.protocol.name.replace("y-", "gray-") if gray else self.protocol.name,
            "lpips": None if self.perceptual is None else self.perceptual.name,
        }

    def line(self) -> str:
        """One line for the user."""
        record = self.record()
        of = "" if record["pairs"] == record["of"] else f" of {record['of']}"
        part = f", {record['part']}" if record["part"] in TEST_PARTS else ""
        names = f"psnr and ssim ({record['protocol']})"
        names += f", {record['lpips']}" if record["lpips"] else ""
        return (
            f"measured at every snapshot: {names} of {plural(record['pairs'], 'pair')}{of} in "
            f"{record['source']}{part}"
        )


def validation_of(run: Run, method: Method, trained: Info) -> Validation | None:
    """The validation that a run asks for, or that the test part of its data permits.

    trained: describes the data that it trains on

    Raises `UserError` for held-out data that cannot be used, and if the run's best
    checkpoint depends on a measure that is not taken.
    """
    scale = method.upscale
    assert isinstance(run.data, partial)
    protocol = PROTOCOLS.get(f"y-crop{scale}" if scale > 1 else "rgb", PROTOCOLS["rgb"])
    images = None
    if isinstance(method, Translates) and "b" in method.directions:
        try:
            images = held_out(run.data, trained, run.test, WINDOW + 2 * protocol.shave)
        except UserError as e:
            if run.test is not None:
                raise DataError(
                    f"{sentence(e)} These are the pairs to measure (--test; of an older run: --set "
                    "test=PATH, or --set test=null)"
                ) from None
            say(f"note: the test part of the data cannot be measured: {e}")
    if images is None:
        if run.best != "frechet":
            raise ConfigError(
                f"best={run.best} needs held-out pairs, and there are none: give test images, or "
                "data with a folder train/ and a folder test/"
            )
        return None
    perceptual = _perceptual(images, needed=run.best == "lpips")
    return Validation(images, protocol, perceptual)


def _perceptual(images: HeldOut, needed: bool) -> LPIPS | None:
    """LPIPS over the first backbone whose weights are there.

    Raises `UserError` if it is needed and cannot be measured.
    """
    try:
        if images.channels not in (1, 3):
            raise ConfigError(f"LPIPS takes 1 or 3 channels; the data has {images.channels}")
        measure = available_lpips() or lpips()  # which says what is missing
        if images.least < measure.least:
            raise ConfigError(
                f"{measure.name} needs sides of at least {measure.least} pixels; the held-out "
                f"images have {images.least}"
            )
        return measure
    except UserError:
        if needed:
            raise
        return None
