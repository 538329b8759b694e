"""Verify a file's origin: its signature, the mark beside it, the one in its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ganvas.core.errors import DataError, UserError, printable
from ganvas.core.guards import open_regular, reason
from ganvas.core.json_files import Json
from ganvas.media import credentials, invisible_mark, provenance

# State -> (exit status of `ganvas verify`, what it means), from the best to the worst.
STATES = {
    "signed": (0, "signed with this user's key, and whole"),
    "signed-by-others": (3, "whole, and signed with a key that is not this user's"),
    "marked": (4, "marked only: no signature"),
    "pixels": (4, "marked in its pixels only: saved by another program since"),
    "unknown": (5, "unknown: neither a signature nor a mark"),
    "changed": (6, "changed since it was signed"),
}
# Of `Verdict.pixels`.
PIXELS = {
    True: "marked invisibly",
    False: f"no invisible mark; images with a side below {invisible_mark.SIDE} px carry none",
    None: "not searched for an invisible mark: too small, or no image",
}


class Verdict(NamedTuple):
    """What was found in a file.

    state: a name of `STATES`
    generated: whether it says that a model generated it, wholly or in part
    software: what wrote it, by its own words
    signer: names in the certificate; anybody can make a certificate of any name
    facts: what else it says: recipe, hash of the weights, seed, ...
    note: what limits the verdict
    pixels: whether they hold the invisible mark; None: too small to tell, or no image
    """

    state: str
    generated: bool
    software: str | None = None
    signer: str | None = None
    facts: Mapping[str, Json] = MappingProxyType({})
    note: str | None = None
    pixels: bool | None = None


def verify(path: str | Path) -> Verdict:
    """Verify an image or a clip.

    "changed" also stands for a signature that is damaged. What a changed or only marked
    file says about itself may be false.

    Raises `DataError` if the file cannot be read.
    """
    path, note, signed = Path(path), None, None
    try:
        open_regular(path).close()
        signed = credentials.read(path)
    except OSError as e:
        raise DataError(f"{printable(path)} cannot be read: {reason(e)}") from None
    except UserError as e:
        note = f"a signature would not be seen: {e}"
    pixels = invisible_mark.found(path)
    if signed is None:
        return _marked(path, note, pixels)
    state = {"whole": "signed" if signed.known else "signed-by-others"}.get(signed.state, "changed")
    if signed.state == "unreliable":
        state = "signed-by-others"
    if signed.problems:
        note = f"C2PA: {', '.join(map(printable, signed.problems))}"
    said = (signed.generated, signed.software, signed.signer, signed.facts)
    return Verdict(state, *said, note, pixels)


def _marked(path: Path, note: str | None, pixels: bool | None) -> Verdict:
    """The verdict on a file without a signature."""
    try:
        mark = provenance.read(path)
    except DataError:
        return Verdict("unknown", False, note=note or "it is no image of a known format")
    state = "marked" if mark["generated"] else "pixels" if pixels else "unknown"
    generated = mark["generated"] or bool(pixels)
    return Verdict(state, generated, mark["software"], None, mark["facts"], note, pixels)
