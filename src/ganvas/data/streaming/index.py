"""shards.json: the index of a set of shards, checked before anything else is read."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

import pydantic

from ganvas.core.errors import DataError, printable

NAME = "shards.json"
MOST_BYTES = 1 << 26  # of the index

Count = Annotated[int, pydantic.Field(ge=0, le=1 << 40)]
Part = Literal["train", "val", "test", "all"]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)


class Shard(_Strict):
    """One tar file. Its name is a plain file name, so that it lies beside the index."""

    name: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}\.tar$")]
    part: Part
    bytes: Annotated[int, pydantic.Field(ge=1024, le=1 << 40)]
    sha256: Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
    images: Annotated[int, pydantic.Field(ge=1, le=1 << 26)]


class Facts(_Strict):
    """What the images of a part are like, for those who have not read them.

    images: or pairs
    labels: images of each class, in the order of the classes; one without label counts
        in none
    width, height: smallest and largest in pixels
    channels: "1", "3" or "4" -> images
    bits: per value, 8 or 16
    values: smallest and largest stored value
    """

    images: Count
    labels: list[Count]
    width: tuple[Count, Count]
    height: tuple[Count, Count]
    channels: dict[Literal["1", "3", "4"], Count]
    bits: Literal[8, 16]
    values: tuple[Count, Count]

    @property
    def depths(self) -> Counter[int]:
        """Channels -> images."""
        return Counter({int(k): n for k, n in self.channels.items()})


class Index(_Strict):
    """The contents of shards.json.

    task: "pairs": each sample has an image a and an image b
    parts: part -> what its images are like
    shards: in the order of their images' numbers
    """

    format: Literal["ganvas-shards-1"]
    task: Literal["images", "pairs"]
    classes: Annotated[list[str], pydantic.Field(max_length=1 << 20)]
    parts: dict[Part, Facts]
    shards: Annotated[list[Shard], pydantic.Field(min_length=1, max_length=1 << 20)]

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Index:
        if len({s.name for s in self.shards}) < len(self.shards):
            raise ValueError("two shards have the same name")
        for part, facts in self.parts.items():
            count = sum(s.images for s in self.shards if s.part == part)
            if count != facts.images:
                raise ValueError(f"the shards of {part} hold {count} images, not {facts.images}")
            if len(facts.labels) != len(self.classes) or sum(facts.labels) > facts.images:
                raise ValueError(f"the labels of {part} do not fit its classes and images")
            if not (1 <= facts.width[0] <= facts.width[1] <= 1 << 20) or not (
                1 <= facts.height[0] <= facts.height[1] <= 1 << 20
            ):
                raise ValueError(f"the images of {part} have no possible size")
        if {s.part for s in self.shards} != set(self.parts):
            raise ValueError("the parts of the shards are not those that are described")
        return self

    def text(self) -> str:
        """As shards.json holds it."""
        return self.model_dump_json(indent=1) + "\n"


def parsed(data: bytes, where: str) -> Index:
    """Read the contents of shards.json.

    where: place for messages

    Raises `DataError`.
    """
    try:
        return Index.model_validate_json(data)
    except pydantic.ValidationError as e:
        first = e.errors(include_url=False, include_context=False)[0]
        at = ".".join(map(str, first["loc"])) or "the whole"
        raise DataError(
            f"{where} is not as `ganvas data pack` writes it ({printable(at)}: "
            f"{printable(first['msg'].lower())}). Pack the images again"
        ) from None
