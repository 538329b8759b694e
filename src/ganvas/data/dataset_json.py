"""Labels in dataset.json, in the format of StyleGAN's dataset_tool.py."""

from __future__ import annotations

from typing import Annotated

import pydantic

from ganvas.core.guards import reason
from ganvas.media.samples import Broken

NAME = "dataset.json"

_Class = Annotated[int, pydantic.Field(strict=True, ge=0, lt=1 << 31)]


class Foreign(Exception):
    """A dataset.json that is not StyleGAN's. The message is a note for the user."""


class _File(pydantic.BaseModel):
    """The part of dataset.json that is read. Other tools may add keys."""

    labels: list[tuple[str, _Class]] | list[tuple[str, list[float]]] | None


def parsed(data: bytes) -> tuple[dict[str, int] | None, str]:
    """Read the classes of dataset.json.

    Returns (name -> class, ""), or (None, note) if it declares no classes. Raises
    `Broken` for labels in another form, and `Foreign` for another tool's file.
    """
    try:
        labels = _File.model_validate_json(data).labels
    except pydantic.ValidationError as e:
        first = e.errors(include_url=False, include_context=False)[0]
        if first["loc"] in ((), ("labels",)) and first["type"] in ("missing", "model_type"):
            raise Foreign(f"{NAME} has no labels in it and is not used") from None
        raise Broken(_malformed(first["msg"])) from None
    except Exception as e:
        raise Broken(_malformed(reason(e))) from None
    if labels is None:
        return None, ""
    classes = {name.replace("\\", "/"): label for name, label in labels if isinstance(label, int)}
    if labels and not classes:
        return None, f"the labels of {NAME} are vectors, not classes, and are not used"
    return classes, ""


def _malformed(why: str) -> str:
    return (
        f"is not as StyleGAN's tools write it ({why.lower()}); "
        'expected {"labels": [["folder/image.png", 0], ...]}, '
        "classes from 0. Mend it, or rename it to train without its labels"
    )
