"""Trained models that come with a checkout of ganvas: `zoo:NAME`.

They lie in its folder `zoo/`, a model folder each. An installed package has none.
"""

from __future__ import annotations

from pathlib import Path

from ganvas.core.errors import UserError, did_you_mean

PREFIX = "zoo:"
FOLDER = Path(__file__).parents[3] / "zoo"


def names() -> list[str]:
    """The models of the checkout, sorted; none in an installed package."""
    return sorted(file.parent.name for file in FOLDER.glob("*/model.safetensors"))


def resolved(path: str | Path) -> Path:
    """The folder of a model `zoo:NAME`; another path as it is.

    Raises `UserError` if the zoo has no such model.
    """
    text = str(path)
    if not text.startswith(PREFIX) or Path(path).exists():
        return Path(path)
    name, known = text.removeprefix(PREFIX), names()
    if name not in known:
        advice = did_you_mean(name, known) if known else "The zoo comes with a checkout of ganvas"
        raise UserError(f"the zoo has no model {name!r}. {advice}")
    return FOLDER / name
