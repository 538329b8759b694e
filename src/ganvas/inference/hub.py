"""Share models on the Hugging Face Hub, by huggingface_hub (extra `hub`).

A repository holds a model folder: weights, description and model card. Nothing is
unpickled: a model from the hub is read as one of the disk is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ganvas.core.errors import OutputError, UserError, printable
from ganvas.core.guards import open_regular, reason
from ganvas.inference import zoo

PREFIX = "hub:"
FILES = ("model.safetensors", "model.json")
MOST = 1 << 20  # bytes of a card
T = TypeVar("T")


def push(run: str | Path, repository: str, *, private: bool = False) -> str:
    """Upload the model of a run or of the zoo, with its card, to a repository.

    repository: OWNER/NAME

    The repository is made if it does not exist. The token is huggingface_hub's own:
    that of `hf auth login`, or HF_TOKEN.

    Returns the repository's address. Raises `UserError` if there is no model, or if the
    hub refuses.
    """
    run = zoo.resolved(run)
    folder = _model_folder(run)
    hub: Any = _library()
    card = _card(folder, run, repository).encode()
    parts = [hub.CommitOperationAdd(name, str(folder / name)) for name in FILES]
    parts.append(hub.CommitOperationAdd("README.md", card))

    def upload() -> str:
        api = hub.HfApi(library_name="ganvas")
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.create_commit(repository, parts, commit_message="Upload by ganvas")
        return str(address)

    return _asked(upload, f"{printable(repository)} could not be written", OutputError)


def fetched(name: str) -> Path:
    """The folder of a downloaded model "hub:OWNER/NAME" or "hub:OWNER/NAME@REVISION".

    What was downloaded before is not downloaded again, and works without a network.

    Raises `UserError` if the hub has no such model, or cannot be reached.
    """
    hub: Any = _library()
    repository, _, revision = name.removeprefix(PREFIX).partition("@")

    def download() -> str:
        return hub.snapshot_download(
            repository, revision=revision or None, allow_patterns=list(FILES)
        )

    return Path(_asked(download, f"{printable(name)} could not be read", UserError))


def _library() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError:
        raise UserError(
            "the hub needs the package huggingface_hub: pip install 'ganvas[hub]'"
        ) from None
    return huggingface_hub


def _asked(call: Callable[[], T], failure: str, kind: type[UserError]) -> T:
    """The result of a call of huggingface_hub; its errors in one line."""
    import huggingface_hub.errors as errors

    expected = (
        errors.HfHubHTTPError,
        errors.HFValidationError,
        errors.LocalEntryNotFoundError,
        OSError,
        ValueError,
    )
    try:
        return call()
    except Exception as e:
        # Errors of its HTTP client have no class of their own here.
        if not isinstance(e, expected) and "http" not in type(e).__module__:
            raise
        raise kind(
            f"{failure} ({reason(e)}): check the name, the network and the token (hf auth login)"
        ) from None


def _model_folder(run: Path) -> Path:
    for folder in (run / "model", run):
        if all((folder / name).is_file() for name in FILES):
            return folder
    raise UserError(
        f"there is no model in {printable(run)}: expected a run, or a model's folder with "
        f"{' and '.join(FILES)}"
    )


def _card(folder: Path, run: Path, repository: str) -> str:
    """The model card: the folder's, with the hub's header and the run's measures."""
    text = "# A ganvas model\n"
    if (folder / "README.md").is_file():
        with open_regular(folder / "README.md") as file:
            text = file.read(MOST).decode(errors="replace")
    here = json.dumps(f"{PREFIX}{repository}", ensure_ascii=False)
    text = text.replace('"path/of/this/folder"', here)
    header = "---\nlibrary_name: ganvas\ntags:\n- ganvas\n- gan\n- image-generation\n---\n\n"
    return header + text + _measures(run / "measures.jsonl")


def _measures(file: Path) -> str:
    """The last and the best point of a run's quality curve, as a part of the card."""
    from ganvas.engine.run_dir import (  # here: a model file needs no engine
        best_line,
        number,
        read_lines,
    )

    points = [line for line in read_lines(file) if best_line([line]) is not None]
    best = best_line(points)
    if best is None:
        return ""
    rows = {"last": points[-1], "best": best}
    table = [
        f"| {name} | {number(line, 'images'):,.0f} | {number(line, 'frechet'):.4g} | "
        f"{printable(line.get('extractor', 'not recorded'))} |"
        for name, line in rows.items()
    ]
    return (
        "\n## Measured while it was trained\n\n"
        "| | images | Fréchet distance | features |\n|---|---|---|---|\n"
        + "\n".join(table)
        + "\n\nIt compares only within one run: the samples are few. It is not FID.\n"
    )
