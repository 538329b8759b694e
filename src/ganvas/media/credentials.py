"""Sign generated files with Content Credentials, and check such signatures.

Content Credentials (C2PA 2.2; spec.c2pa.org) are a signed statement inside the file:
who says that it was generated, with which facts, and a hash of everything else in it. A
changed byte is detected; saving the pixels as another file removes the statement. The
package c2pa-python does the work (extra `provenance`); without it, files carry the mark
of `provenance.py` only. Signatures are unique: two files of one image differ. Nothing
is sent anywhere: no timestamp server, no lists of revoked certificates, no remote
statements.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import MappingProxyType, ModuleType
from typing import IO, NamedTuple, cast

from ganvas import __version__
from ganvas.core.environment import memory
from ganvas.core.errors import UserError
from ganvas.core.guards import open_regular, reason, warn
from ganvas.core.json_files import Json
from ganvas.media.provenance import Label
from ganvas.media.signing_key import SIGNER_VARIABLE, Signer, signer

SIGN_VARIABLE = "GANVAS_SIGN"  # "0": do not sign
FACTS = "ganvas.facts"  # the assertion that holds the facts
LOST = "Files carry the XMP mark, which anyone can copy or change, and no signature"
INSTALL = "signatures need the package c2pa-python: pip install 'ganvas[provenance]'"
MIME = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
}
_IN_MEMORY = 1 << 26  # bytes; longer unsigned files wait on the disk


class Credentials(NamedTuple):
    """The Content Credentials of a file.

    state: "whole"; "changed" since it was signed; "unreliable": unchanged, but the
        certificate may not sign (it has expired, say)
    known: whether the key is this user's, or its certificate comes from the same issuer
    signer: names in the certificate
    problems: C2PA's codes of what is wrong
    """

    state: str
    known: bool = False
    signer: str | None = None
    generated: bool = False
    software: str | None = None
    facts: Mapping[str, Json] = MappingProxyType({})
    problems: tuple[str, ...] = ()


def write_signed(
    write: Callable[[IO[bytes]], object],
    file: IO[bytes],
    suffix: str,
    label: Label,
    folder: Path | None = None,
    most: int | None = None,
) -> None:
    """Write a file with Content Credentials; without them if it cannot be signed.

    Reasons for the latter are printed once.

    write: writes the file without them
    file: where the result goes, from its beginning; open for reading, too
    folder: for a temporary file; None: the system's
    most: bytes of a file that is signed; None: what memory has room for

    Raises `UserError` for a key of the user's own that cannot be used.
    """
    c2pa = _library() if os.environ.get(SIGN_VARIABLE, "1") != "0" else None
    key = _signer() if c2pa else None
    if c2pa is None or key is None:
        write(file)
        return
    with SpooledTemporaryFile(max_size=_IN_MEMORY, dir=folder and str(folder)) as plain:
        write(cast(IO[bytes], plain))
        size = plain.tell()
        plain.seek(0)
        if 3 * size > memory() // 2 or (
            most is not None and size > most
        ):  # c2pa holds the file twice
            _say_once(f"files of {size / 2**30:.1f} GiB are not signed: that needs more memory")
        else:
            try:
                info = c2pa.C2paSignerInfo(key.algorithm, key.chain, key.key, None)  # no server
                with (
                    c2pa.Builder.from_json(_statement(label), _context(c2pa, key)) as builder,
                    c2pa.Signer.from_info(info) as signs,
                ):
                    builder.sign(signs, MIME[suffix], plain, file)
                return
            except c2pa.C2paError as e:
                _say_once(f"files could not be signed ({reason(e)})")
        file.seek(0)
        file.truncate()
        plain.seek(0)
        shutil.copyfileobj(plain, file)


def read(path: Path) -> Credentials | None:
    """Check the Content Credentials of a file; None if it has none.

    Raises `OSError` if it cannot be read, and `UserError` without c2pa-python.
    """
    c2pa = _library()
    if c2pa is None:
        raise UserError(INSTALL)
    context = _context(c2pa, _signer(make=False))
    with open_regular(path) as file:
        try:
            with c2pa.Reader(None, file, context=context) as found:
                text, state = found.json(), found.get_validation_state()
        except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
            return None
        except c2pa.C2paError as e:
            if "type is unsupported" in str(e) or "InvalidAsset" in str(e):
                return None  # not a file that can hold a statement
            return Credentials("changed", problems=(reason(e),))
    return _parsed(json.loads(text), state)


def _parsed(document: dict[str, Json], state: str) -> Credentials:
    """The credentials in c2pa's report of a file."""
    manifest = _object(_object(document.get("manifests")).get(str(document.get("active_manifest"))))
    signature, facts, generated = _object(manifest.get("signature_info")), {}, False
    for assertion in map(_object, _list(manifest.get("assertions"))):
        data = _object(assertion.get("data"))
        if assertion.get("label") == FACTS:
            facts = data
        for action in map(_object, _list(data.get("actions"))):
            kind = str(action.get("digitalSourceType"))
            generated |= kind.endswith("rainedAlgorithmicMedia")
    software = _object(next(iter(_list(manifest.get("claim_generator_info"))), None))
    problems = tuple(
        str(_object(status).get("code")) for status in _list(document.get("validation_status"))
    )
    bad = [code for code in problems if code != "signingCredential.untrusted"]
    if not bad and state in ("Valid", "Trusted"):
        verdict = "whole"
    elif bad and all(code.startswith("signingCredential.") for code in bad):
        verdict = "unreliable"
    else:
        verdict = "changed"
    names = [signature.get(name) for name in ("common_name", "issuer")]
    return Credentials(
        state=verdict,
        known=state == "Trusted",
        signer=", ".join(str(name) for name in names if name) or None,
        generated=generated,
        software=f"{software.get('name')} {software.get('version') or ''}".strip()
        if software
        else None,
        facts=facts,
        problems=tuple(bad),
    )


def _object(value: Json | object) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _list(value: Json | object) -> list[Json]:
    return value if isinstance(value, list) else []


@cache
def _library() -> ModuleType | None:
    """The package c2pa, or None, with a message."""
    try:
        import c2pa
    except ModuleNotFoundError as e:
        if e.name != "c2pa":
            _say_once(f"c2pa-python cannot be imported ({reason(e)})")
        return None
    except Exception as e:  # a broken installation raises anything
        _say_once(f"c2pa-python cannot be imported ({reason(e)})")
        return None
    return c2pa


def _signer(make: bool = True) -> Signer | None:
    """The key that signs, or None, with a message.

    make: make the local key if there is none
    """
    from ganvas.media.signing_key import key_file

    try:
        return signer() if make or key_file().exists() else None
    except UserError as e:
        if make and os.environ.get(SIGNER_VARIABLE):
            raise
        _say_once(str(e))
        return None


@cache
def _context(c2pa: ModuleType, key: Signer | None) -> object:
    """C2PA's settings: no thumbnails, no network, and this user's root as an anchor."""
    settings: dict[str, object] = {
        "version": 1,
        "verify": {
            "remote_manifest_fetch": False,
            "ocsp_fetch": False,
            "verify_after_sign": False,
        },
        "builder": {"thumbnail": {"enabled": False}},
    }
    if key is not None:
        settings["trust"] = {"user_anchors": key.root.decode()}
    return c2pa.Context(c2pa.Settings.from_dict(settings))


@cache
def _say_once(problem: str) -> None:
    warn(f"{problem}. {LOST}")


def _statement(label: Label) -> dict[str, object]:
    """The unsigned statement about a file (C2PA 2.2, sections 10 and 18.15)."""
    software = {"name": "ganvas", "version": __version__}
    created = {
        "action": "c2pa.created",
        "digitalSourceType": label.source_type,
        "softwareAgent": software,
    }
    facts = {str(name): _plain(value) for name, value in label.facts.items()}
    return {
        "claim_generator_info": [software],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": FACTS, "data": facts},
        ],
    }


def _plain(value: object) -> Json:
    """A fact as JSON that every program reads: no infinity, no NaN, no big numbers."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value).encode(errors="backslashreplace").decode()
