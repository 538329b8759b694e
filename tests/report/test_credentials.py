"""Signatures: read by c2pa's own reader, and by `ganvas verify`."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from PIL import Image
from processes import CONFIG

import ganvas
from ganvas.core.errors import DataError, UserError
from ganvas.media import credentials, encode, generated, signing_key, verify, video

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
FACTS = {"recipe": "dcgan", "weights": "00ff", "seed": 7}
SUFFIXES = [".png", ".jpg", ".webp", ".tif", ".gif", ".mp4"]


def written(path: Path, composite: bool = False, **facts: Any) -> Path:
    image = Image.fromarray(PIXELS)
    if path.suffix in (".gif", ".mp4"):
        return video.save([image, image.rotate(90)], path, composite=composite, **facts)
    return encode.save(image, path, composite=composite, **facts)


def report(path: Path) -> tuple[str, dict[str, Any]]:
    """(state, manifest) by c2pa's reader, which trusts the root of the local key."""
    root = signing_key.read(Path(CONFIG) / "signing-key.pem").root.decode()
    settings = c2pa.Settings.from_dict({"version": 1, "trust": {"user_anchors": root}})
    with (
        path.open("rb") as file,
        c2pa.Context(settings) as context,
        c2pa.Reader(credentials.MIME[path.suffix], file, context=context) as reader,
    ):
        found = json.loads(reader.json())
        return str(reader.get_validation_state()), found["manifests"][found["active_manifest"]]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("composite", [False, True])
def test_another_reader_trusts_what_is_written(
    suffix: str, composite: bool, tmp_path: Path
) -> None:
    path = written(tmp_path / f"a{suffix}", composite, **FACTS)
    state, manifest = report(path)
    assert state == "Trusted"
    data = {a["label"]: a["data"] for a in manifest["assertions"]}
    (action,) = data["c2pa.actions.v2"]["actions"]
    kind = "compositeWithTrainedAlgorithmicMedia" if composite else "trainedAlgorithmicMedia"
    assert action["digitalSourceType"].rpartition("/")[2] == kind
    assert action["softwareAgent"] == {"name": "ganvas", "version": ganvas.__version__}
    assert data[credentials.FACTS] == FACTS
    assert "time" not in manifest["signature_info"], "no timestamp server was asked"
    assert not any("thumbnail" in label for label in [*manifest, *data])
    assert path.stat().st_size < 40_000


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_changed_byte_is_found(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"a{suffix}", **FACTS)
    verdict = verify.verify(path)
    assert (verdict.state, verdict.generated, verdict.facts) == ("signed", True, FACTS)
    assert verdict.software == f"ganvas {ganvas.__version__}"
    data = path.read_bytes()
    # The signature has padding, which it does not cover: only the rest is damaged here.
    start = data.index(b"jumb") - 4
    stop = start + int.from_bytes(data[start : start + 4]) * 256 // 255 + 16
    elsewhere = [i for i in range(64, len(data)) if not start <= i < stop]
    for at in np.random.default_rng(1).choice(elsewhere, 12):
        damaged = bytearray(data)
        damaged[at] ^= 4
        path.write_bytes(damaged)
        assert verify.verify(path).state in ("changed", "unknown", "marked"), at
    path.write_bytes(data + b"more")
    assert verify.verify(path).state != "signed"


def test_pixels_that_are_saved_again_are_marked_only_or_unknown(tmp_path: Path) -> None:
    path = written(tmp_path / "a.png", **FACTS)
    with Image.open(path) as image:
        xmp = image.info["xmp"]
        image.save(tmp_path / "kept.webp", xmp=xmp)
        image.save(tmp_path / "plain.png")
    kept = verify.verify(tmp_path / "kept.webp")
    assert (kept.state, kept.generated, kept.facts) == ("marked", True, FACTS)
    assert verify.verify(tmp_path / "plain.png") == verify.Verdict("unknown", False)
    (tmp_path / "text.png").write_text("no image")
    assert verify.verify(tmp_path / "text.png").state == "unknown"
    for bad in ("missing.png", "."):
        with pytest.raises(DataError, match="cannot be read"):
            verify.verify(tmp_path / bad)


def test_images_saved_by_pil_and_in_memory_are_signed(tmp_path: Path) -> None:
    image = generated.generated(PIXELS, composite=True, **FACTS)
    image.rotate(90).save(tmp_path / "a.jpg", quality=80)
    assert verify.verify(tmp_path / "a.jpg").state == "signed"
    assert b"compositeWithTrained" in (tmp_path / "a.jpg").read_bytes()
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    (tmp_path / "b.png").write_bytes(buffer.getvalue())
    assert verify.verify(tmp_path / "b.png").state == "signed"


def test_facts_of_any_kind(tmp_path: Path) -> None:
    """JSON of the statement has no NaN, no large numbers and no broken text."""
    odd = {
        "a": float("nan"),
        "b": 10**30,
        "c": "\udcff\n",
        "d": {1: [None, (2.5,)]},
        "e": Path("x"),
    }
    found = verify.verify(written(tmp_path / "a.png", **odd))
    assert found.state == "signed"
    assert found.facts == {
        "a": "nan", "b": "1" + 30 * "0", "c": "\\udcff\n", "d": {"1": [None, [2.5]]}, "e": "x",
    }  # fmt: skip


def test_many_threads_sign_at_once(tmp_path: Path) -> None:
    def write(worker: int) -> None:
        for i in range(5):
            written(tmp_path / f"{worker}-{i}.png", worker=worker)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for file in tmp_path.iterdir():
        found = verify.verify(file)
        assert (found.state, found.facts) == ("signed", {"worker": int(file.name[0])})


def test_the_local_key_is_made_once_and_is_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANVAS_CONFIG", str(tmp_path / "own"))
    threads = [threading.Thread(target=signing_key.signer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (file,) = (tmp_path / "own").iterdir()
    first = file.read_bytes()
    assert signing_key.signer() == signing_key.read(file)
    assert file.read_bytes() == first
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    ours = written(tmp_path / "a.png")
    assert verify.verify(ours).state == "signed"
    monkeypatch.setenv("GANVAS_CONFIG", str(tmp_path / "another"))
    theirs = verify.verify(ours)
    assert (theirs.state, theirs.signer) == ("signed-by-others", "local key, ganvas")
    assert not (tmp_path / "another").exists(), "verifying makes no key"


def chain(key: Any, days: int = 1) -> bytes:
    """PEM of a key of the user's own with its certificate and a root."""
    root_key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)

    def certificate(name: str, public: Any, ca: bool) -> bytes:
        names = [
            x509.Name(
                [
                    x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "A laboratory"),
                    x509.NameAttribute(x509.NameOID.COMMON_NAME, text),
                ]
            )
            for text in (name, "root")
        ]
        usage = x509.KeyUsage(not ca, False, False, False, False, ca, False, False, False)
        above = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above)
        built = (
            x509.CertificateBuilder(names[1], names[0], public, 7)
            .not_valid_before(now - timedelta(days=3))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(issuer, critical=False)
        )
        if not ca:
            email = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])
            built = built.add_extension(email, critical=False)
        return built.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    leaf = certificate("signer", key.public_key(), False)
    return private + leaf + certificate("root", root_key.public_key(), True)


KEYS = {
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_certificate_of_the_user(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.pem"
    own.write_bytes(chain(KEYS[kind]()))
    monkeypatch.setenv("GANVAS_SIGNER", str(own))
    path = written(tmp_path / "a.png", **FACTS)
    assert verify.verify(path).signer == "signer, A laboratory"
    assert verify.verify(path).state == "signed"
    monkeypatch.delenv("GANVAS_SIGNER")
    assert verify.verify(path).state == "signed-by-others"


def test_certificates_that_cannot_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    own, key = tmp_path / "own.pem", KEYS["ed25519"]()
    monkeypatch.setenv("GANVAS_SIGNER", str(own))
    one, other = chain(key), chain(KEYS["ed25519"]())
    certificates = one[one.index(b"-----BEGIN CERTIFICATE") :]
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    for content, message in (
        (None, "No such file"),
        (b"nothing", "got 0 keys and 0 certificates"),
        (other[: other.index(b"-----BEGIN CERTIFICATE")] + certificates, "belongs to another key"),
        (secret + certificates, "[Pp]assword"),
        (one[:60] + b"x" + one[60:], "cannot be used"),
    ):
        if content is not None:
            own.write_bytes(content)
        with pytest.raises(UserError, match=f"(?s)signing key .*{message}.*GANVAS_SIGNER"):
            written(tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()

    credentials._say_once.cache_clear()
    own.write_bytes(chain(key, days=-1))  # c2pa signs with no expired certificate
    for name in ("a", "b"):
        assert verify.verify(written(tmp_path / f"{name}.png")).state == "marked"
    (line,) = capfd.readouterr().err.splitlines()
    assert "files could not be signed" in line
    assert credentials.LOST in line


def test_without_the_package_or_the_wish_the_mark_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("GANVAS_SIGN", "0")
        unsigned = written(tmp_path / "a.png", **FACTS)
    assert (verify.verify(unsigned).state, verify.verify(unsigned).note) == ("marked", None)
    credentials._library.cache_clear()
    try:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "c2pa", None)
            without = verify.verify(written(tmp_path / "b.png", **FACTS))
    finally:
        credentials._library.cache_clear()
    assert without.state == "marked"
    assert "pip install 'ganvas[provenance]'" in (without.note or "")
    assert capfd.readouterr().err == "", "who does not install it is not told at every image"


def test_no_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    credentials._say_once.cache_clear()
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANVAS_CONFIG", str(tmp_path / "file" / "config"))
    assert verify.verify(written(tmp_path / "a.png")).state == "marked"
    assert "set GANVAS_CONFIG to a folder" in capfd.readouterr().err


def test_an_empty_variable_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CONFIG", str(tmp_path / "own"))
    monkeypatch.setenv("GANVAS_SIGNER", "")
    assert verify.verify(written(tmp_path / "a.png")).state == "signed"
