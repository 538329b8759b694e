"""Read files of weights, and say what other files are."""

from __future__ import annotations

import pickle
import re
import stat
import warnings
import zipfile
from pathlib import Path

import torch

from ganvas.core.errors import UserError, printable
from ganvas.core.guards import plural


class _Named:
    """Stands in for the classes of `NAMED`, whose code is not loaded."""


# What checkpoints have beside networks: keys of dicts in Lightning's, and the arguments
# of training scripts.
NAMED = [
    f"{package}.callbacks.{module}"
    for package in ("pytorch_lightning", "lightning.pytorch")
    for module in ("model_checkpoint.ModelCheckpoint", "early_stopping.EarlyStopping")
] + ["argparse.Namespace"]


def read(file: Path) -> object:
    """Read a file of torch.save or safetensors; tensors and containers only.

    Raises `UserError` if it holds no weights, with what it is and what to do.
    """
    where = printable(file)
    try:
        # Checked before opening, since opening a pipe waits for its other end.
        if not stat.S_ISREG(file.stat().st_mode):
            raise UserError(
                f"{where} cannot be read: it is not a regular file; expected a file of weights"
            )
        with file.open("rb") as f:
            head = f.read(512)
    except (OSError, ValueError) as e:
        if isinstance(e, UserError):
            raise
        raise UserError(
            f"{where} cannot be read: {printable(getattr(e, 'strerror', None) or e)}."
        ) from None
    if (what := _no_weights(file, head)) is not None:
        raise UserError(f"{where} is not a checkpoint but {what}")
    try:
        if head[8:9] == b"{":  # safetensors: eight bytes of length, then JSON
            from safetensors.torch import load_file

            return load_file(file)
        known = torch.serialization.safe_globals([(_Named, name) for name in NAMED])
        with warnings.catch_warnings(), known:
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as e:  # a broken file may fail in any way inside the readers
        if isinstance(e, pickle.UnpicklingError) and re.search(
            "Unsupported (global|class)", str(e)
        ):
            raise UserError(
                f"{where} holds Python objects besides tensors, which are not loaded because they "
                "could run code. Where "
                "you trust it, load it in its own project and save only the state dict: "
                "torch.save(network.state_dict(), 'weights.pth')."
            ) from None
        if head[:1] == b"\x80" and head[1:2] >= b"\x03":  # torch's own have an older protocol
            raise UserError(
                f"{where} is a pickle of Python objects, such as NVIDIA's of StyleGAN2-ADA and "
                "StyleGAN3, which could run code. Where you trust it, save the weights alone in a "
                "clone of its project: torch.save(pickle.load(open(FILE, 'rb'))['G_ema']"
                ".state_dict(), 'g.pth')"
            ) from None
        raise UserError(
            f"{where} is not a checkpoint, or only a piece of one. Expected a state dict saved by "
            "torch.save or safetensors; download or copy it again if it should be one."
        ) from None


# How files begin that are often taken for weights, and what to do.
UNLIKE = {
    b"version https://git-lfs": "a Git LFS pointer; the file itself was not fetched: git lfs pull",
    b"%PDF": "a PDF document",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF8": "an image",
    b"\x89HDF": "an HDF5 file, as Keras writes it; expected weights of PyTorch",
    b"\x93NUMPY": "a NumPy array; expected a state dict",
    b"\x1f\x8b": "compressed (gzip): unpack it first",
    b"BZh": "compressed (bzip2): unpack it first",
    b"\xfd7zXZ": "compressed (xz): unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"GGUF": "a GGUF file; expected weights of PyTorch",
}


def other_kind(file: Path) -> str | None:
    """What a file without weights is; None if it may hold some, or cannot be read."""
    try:
        with file.open("rb") as f:
            return _no_weights(file, f.read(512))
    except OSError:
        return None


def _no_weights(file: Path, head: bytes) -> str | None:
    """Why a file holds no weights, and what to do; None if it may hold some."""
    if not head:
        return "an empty file: download or copy it again"
    for beginning, what in UNLIKE.items():
        if head.startswith(beginning):
            return what
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<!--")):
        return "a web page, not the file: download it again"
    if head.startswith(b"PK\x03\x04"):
        return _no_weights_in_zip(file)
    # Pickles of protocol 0 are also text and end with a dot after brackets:
    # torch reads them.
    if (
        head[8:9] != b"{"
        and all(32 <= c < 127 or c in b"\t\r\n" for c in head)
        and head[:1] not in b"(c"
    ):
        return f"a text file, which begins {head.decode('ascii')[:40]!r}"
    return None


def _no_weights_in_zip(file: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except Exception:  # cut short, or damaged: the reader says so
        return None
    if any(name.endswith("/constants.pkl") for name in names):
        return (
            "a TorchScript archive: in its own project, save torch.jit.load(FILE).state_dict() "
            "with torch.save, and "
            "import that"
        )
    if any(name.endswith("data.pkl") for name in names):
        return None
    return (
        f"a zip archive without weights of its own ({plural(len(names), 'file')}): unpack it first"
    )
