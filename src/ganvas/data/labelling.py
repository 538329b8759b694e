"""Labels as StyleGAN's dataset_tool.py writes them: dataset.json beside the images, in a folder or a zip file."""

from __future__ import annotations

from typing import Annotated

import pydantic

from ganvas.core.guards import reason
from ganvas.media.samples import Broken

NAME = "dataset.json"

_Class = Annotated[int, pydantic.Field(strict=True, ge=0, lt=1 << 31)]


class _File(pydantic.BaseModel):
    """What is read of dataset.json; other keys are other tools'."""

    labels: list[tuple[str, _Class]] | list[tuple[str, list[float]]] | None


def parsed(data: bytes) -> tuple[dict[str, int] | None, str]:
    """(name -> class, why there are no classes). Raises `Broken` for what is not of the declared form."""
    try:
        labels = _File.model_validate_json(data).labels
    except pydantic.ValidationError as e:
        first = e.errors(include_url=False, include_context=False)[0]
        if first["type"] == "missing" and first["loc"] == ("labels",):
            return None, f"{NAME} has no labels in it and is not used"
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
        f'is not as StyleGAN\'s tools write it ({why.lower()}); expected {{"labels": [["folder/image.png", 0], ...]}}, '
        "classes from 0. Mend it, or rename it to train without its labels"
    )
