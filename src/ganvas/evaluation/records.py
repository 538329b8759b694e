"""The JSON that evaluation returns and writes, as types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired, TypeAlias, TypedDict

# A JSON object of which some names depend on options. The function that returns it
# lists its contents.
Record: TypeAlias = dict[str, Any]


class Diagnostic(TypedDict):
    """The result of a diagnostic.

    values: numbers by name; None: none, or infinite
    intervals: [low, high] of some of them
    class_shares: fraction of the samples by class, 0 to 1
    protocol: the settings that must be equal for two results to compare
    source: paper of the diagnostic
    """

    values: Record
    intervals: NotRequired[dict[str, list[float | None]]]
    class_shares: NotRequired[dict[str, float]]
    protocol: Record
    source: str


class Column(TypedDict):
    """A measurement in a table. `intervals` are [low, high] of some of its values."""

    name: str
    values: dict[str, float | None]
    intervals: dict[str, Sequence[float] | None] | None
    seed: int | None
    commit: str | None


class Table(TypedDict):
    """Measurements of one protocol."""

    protocol: Record
    columns: list[Column]
