"""The key and certificate that sign generated files.

A local key is made at first use. It has one file, readable by its owner only, with the
private key, its certificate and the root that issued it; the root's private key is not
kept. The environment variable GANVAS_SIGNER names a file of the same form with the
user's own key and certificate chain.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ganvas.core.errors import UserError, printable
from ganvas.core.guards import open_regular, reason

SIGNER_VARIABLE, CONFIG_VARIABLE = "GANVAS_SIGNER", "GANVAS_CONFIG"
LIFETIME = timedelta(days=365 * 30)  # no timestamp server says when a file was signed
MAX_PEM = 1 << 20  # bytes
ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----\s*", re.DOTALL)


class Signer(NamedTuple):
    """A private key with its certificates.

    algorithm: C2PA's name, e.g. "es256"
    key, chain, root: PEM; the chain begins with the key's certificate, and the root is
        the last known certificate above it
    """

    algorithm: str
    key: bytes
    chain: bytes
    root: bytes


def config_dir() -> Path:
    """Folder of the user's settings: $GANVAS_CONFIG, or ganvas in ~/.config.

    Raises `UserError` for a home folder that is not known.
    """
    given, xdg = os.environ.get(CONFIG_VARIABLE), os.environ.get("XDG_CONFIG_HOME")
    try:
        if given:
            return Path(given).expanduser()
        return Path(xdg) / "ganvas" if xdg else Path.home() / ".config" / "ganvas"
    except RuntimeError:
        raise UserError(
            f"there is no home folder for the signing key: set {CONFIG_VARIABLE} to a folder"
        ) from None


def key_file() -> Path:
    """The file of the key that signs; the local one need not exist yet."""
    own = os.environ.get(SIGNER_VARIABLE)
    return Path(own) if own else config_dir() / "signing-key.pem"


def signer() -> Signer:
    """The key that signs. The local one is made if it does not exist.

    Raises `UserError` if the key can be neither read nor made. Needs the package
    cryptography, which c2pa-python brings.
    """
    path = key_file()
    if not os.environ.get(SIGNER_VARIABLE) and not path.exists():
        _make(path)
    return read(path)


def read(path: Path) -> Signer:
    """Read a file of a private key and its certificates in PEM.

    Raises `UserError` if it is not one.
    """
    try:
        with open_regular(path) as file:
            return _parsed(file.read(MAX_PEM))
    except (OSError, ValueError, TypeError) as e:  # TypeError: it has a password
        own = os.environ.get(SIGNER_VARIABLE)
        advice = f"correct {SIGNER_VARIABLE}" if own else "delete it, and a new one is made"
        raise UserError(
            f"the signing key {printable(path)} cannot be used ({reason(e)}): {advice}"
        ) from None


@lru_cache(maxsize=4)  # every image that is written asks for it
def _parsed(data: bytes) -> Signer:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    blocks = [(m[1], m[0]) for m in _BLOCK.finditer(data)]
    keys = [block for kind, block in blocks if kind.endswith(b"PRIVATE KEY")]
    chain = [block for kind, block in blocks if kind == b"CERTIFICATE"]
    if len(keys) != 1 or not chain:
        raise ValueError(
            f"expected one private key and its certificates in PEM; got {len(keys)} keys and "
            f"{len(chain)} certificates"
        )
    key = serialization.load_pem_private_key(keys[0], None)
    leaf = x509.load_pem_x509_certificate(chain[0])
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise ValueError("the first certificate belongs to another key")
    pkcs8 = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    algorithm = _algorithm(key)
    # A root is not part of the chain that a file carries (C2PA 2.2, section 14.5).
    above = chain[:-1] if len(chain) > 1 and _self_issued(chain[-1]) else chain
    return Signer(algorithm, pkcs8, b"".join(above), chain[-1])


def _algorithm(key: object) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in ALGORITHMS:
        return ALGORITHMS[key.curve.name]
    raise ValueError("C2PA signs with keys on the curves P-256, P-384 and P-521, Ed25519, and RSA")


def _self_issued(pem: bytes) -> bool:
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(pem)
    return certificate.issuer == certificate.subject


def _make(path: Path) -> None:
    """Make the local key. If several processes do, all of them use the same one."""
    pem, temporary = _new_pem(), path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            try:
                with suppress(FileExistsError):  # another process was faster
                    os.link(temporary, path)
            except OSError:  # a file system without links
                os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as e:
        raise UserError(
            f"a signing key could not be written to {printable(path.parent)} ({reason(e)}): set "
            f"{CONFIG_VARIABLE} to a folder that you may write to"
        ) from None


def _new_pem() -> bytes:
    """A new private key, its certificate, and the root of the certificate.

    C2PA accepts no certificate that issued itself. The names tell nothing of the user.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def name(text: str) -> x509.Name:
        of = x509.NameOID
        return x509.Name(
            [
                x509.NameAttribute(of.ORGANIZATION_NAME, "ganvas"),
                x509.NameAttribute(of.COMMON_NAME, text),
            ]
        )

    def usage(sign: bool) -> x509.KeyUsage:
        return x509.KeyUsage(sign, False, False, False, False, not sign, False, False, False)

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    above = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())

    def certificate(subject: str, public: ec.EllipticCurvePublicKey, ca: bool) -> bytes:
        built = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("local root"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))  # clocks may be wrong
            .not_valid_after(datetime.now(UTC) + LIFETIME)
            .add_extension(x509.BasicConstraints(ca, 0 if ca else None), critical=True)
            .add_extension(usage(sign=not ca), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )
        if not ca:
            issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above)
            email = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])
            built = built.add_extension(issuer, critical=False).add_extension(email, critical=False)
        return built.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return (
        private
        + certificate("local key", key.public_key(), ca=False)
        + certificate("local root", root_key.public_key(), ca=True)
    )
