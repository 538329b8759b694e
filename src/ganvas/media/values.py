"""The values of measured images: one range for a data set, never one per image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from ganvas.core.errors import DataError, UserError

Span = Sequence[float] | Literal["type"]
INTEGERS = ("uint8", "uint16", "int8", "int16")  # their range is that of the type
TypeName = Literal[
    "uint8", "uint16", "int8", "int16", "uint32", "int32", "float16", "float32", "float64"
]
TYPES: tuple[str, ...] = get_args(TypeName)


class Values(NamedTuple):
    """Type and range of the values of a data set.

    low, high: the values that become -1 and 1; values beyond them are clipped
    type: of the files, a name of numpy's
    """

    low: float
    high: float
    type: str

    @classmethod
    def of(cls, type: str, span: Span) -> Values:
        """The range for files of a type.

        span: (low, high), or "type": the range of integers of 8 or 16 bits

        Raises `DataError` for types that have no range of their own, and for others
        than numbers.
        """
        if type not in TYPES:
            raise DataError(f"the images hold {type}; expected one of {', '.join(TYPES)}")
        if span != "type":
            low, high = map(float, span)
            return cls(low, high, type)
        if type not in INTEGERS:
            raise DataError(
                f"the images hold {type}, which has no range of its own: name the values that "
                "become black and white, as in --set 'data.window=[-1000,1000]'"
            )
        info = np.iinfo(type)
        return cls(float(info.min), float(info.max), type)

    @property
    def dtype(self) -> np.dtype:
        """Of the files that a model of such data writes: float64 becomes float32."""
        return np.dtype("float32" if self.type == "float64" else self.type)

    @property
    def stored(self) -> np.dtype:
        """The type in which a data set keeps its values.

        uint8 and uint16 lose no integer of at most 16 bits; others are float32 in
        [-1, 1].
        """
        if self.type not in INTEGERS or self.high - self.low > 65535:
            return np.dtype("float32")
        own = (self.low, self.high, self.type) == (0, 255, "uint8")
        return np.dtype("uint8" if own else "uint16")

    @property
    def steps(self) -> float | None:
        """Steps from low to high, to which files of integers round; None for floats.

        None as well for more steps than float32 tells apart.
        """
        steps = self.high - self.low
        return steps if self.dtype.kind in "iu" and steps < 1 << 24 else None

    def to_stored(self, values: np.ndarray) -> np.ndarray:
        """Values as a data set keeps them. Raises `DataError` as `to_unit`."""
        unit, kind = self.to_unit(values), self.stored
        if kind.kind == "f":
            return unit
        half = np.float32(np.iinfo(kind).max / 2)
        return np.rint((unit + 1) * half).astype(kind)

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """Values as float32 in [-1, 1], clipped.

        Raises `DataError` for NaN and infinite values.
        """
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DataError("has NaN or infinite values: replace them")
        wide = np.float32 if values.dtype.itemsize < 4 else np.float64
        unit = values.astype(wide)
        unit -= wide((self.low + self.high) / 2)
        unit /= wide((self.high - self.low) / 2)
        return unit.clip(-1, 1, out=unit).astype(np.float32, copy=False)

    def from_unit(self, unit: np.ndarray) -> np.ndarray:
        """The inverse of `to_unit`, in the type of the files; integers are rounded."""
        kind = self.dtype
        wide = np.float32 if kind.itemsize < 4 else np.float64
        values = unit.astype(wide).clip(-1, 1)
        values *= wide((self.high - self.low) / 2)
        values += wide((self.low + self.high) / 2)
        if kind.kind == "f":
            return values.astype(kind)
        info = np.iinfo(kind)
        return np.rint(values).clip(info.min, info.max).astype(kind)


def checked_window(window: Span | None) -> Span | None:
    """`window`, if it is valid. Raises `UserError` otherwise."""
    if window is None or window == "type":
        return window
    if isinstance(window, str) or len(window) != 2 or not window[0] < window[1]:
        got = window if isinstance(window, str) else list(window)
        raise UserError(
            f"got window={got}; expected the values that become black and white, as in --set "
            "'data.window=[-1000,1000]', or "
            "--set data.window=type for the range of 8 or 16 bits"
        )
    return window
