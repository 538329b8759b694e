"""Settings that a file's names and shapes do not show: given as options, or assumed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from ganvas.core.errors import UserError, did_you_mean, printable
from ganvas.inference.importers.formats import Found, Numbers, Reading

LOG = logging.getLogger(__name__)
Options = Mapping[str, str | int | float | bool | None]  # NAME=VALUE; case does not matter


def parse(texts: Sequence[str]) -> dict[str, str]:
    """Options of the command line: NAME=VALUE each.

    Raises `UserError` for any other text.
    """
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UserError(f"--option {printable(text)[:100]} is not NAME=VALUE")
        options[name] = value
    return options


def apply(found: Found, options: Options, name: str, file: str) -> tuple[Found, dict[str, str]]:
    """Set the options in the network. Returns (network, all settings, also assumed).

    name, file: the format and the file, for errors

    Raises `UserError` for options or values that the format does not have, and if one
    that cannot be assumed is missing.
    """
    what = f"{printable(file)} is a {name}"
    chosen = {k: str(v).lower() for k, v in options.items()}
    for option, value in chosen.items():
        if option not in found.settings:
            has = did_you_mean(option, found.settings) if found.settings else "It has no options"
            raise UserError(f"{what}, which has no option {printable(option)[:100]!r}. {has}")
        readings = found.settings[option].readings
        if value not in readings:
            raise UserError(
                f"{what}, whose option {option} is {_described(readings)}; "
                f"got {printable(value)[:100]!r}"
            )
    for option, setting in found.settings.items():
        if option not in chosen and setting.assumed is None:
            raise UserError(
                f"{what}, and does not show its {option}, {_described(setting.readings)}: say "
                f"which with {_choices(option, setting.readings)}"
            )
    for option, value in chosen.items():
        if (output_map := found.settings[option].readings[value](found.net)) is not None:
            found = found._replace(output_map=output_map)
    return found, {k: chosen.get(k) or v.assumed or "" for k, v in found.settings.items()}


def announce(found: Found, options: Options, name: str, file: str) -> None:
    """Log in one line what is assumed, and how to choose another reading."""
    parts = []
    for option, setting in found.settings.items():
        if option not in options and setting.announced:
            others = [value for value in setting.readings if value != setting.assumed]
            parts.append(f"{option}={setting.assumed} (else {_choices(option, others)})")
    if parts:
        LOG.warning(
            "%s is a %s and does not show all settings; assumed: %s",
            printable(file),
            name,
            ", ".join(parts),
        )


def _described(readings: Mapping[str, Reading]) -> str:
    return " or ".join(readings.described() if isinstance(readings, Numbers) else readings)


def _choices(option: str, values: Iterable[str]) -> str:
    return f"--option {option}={'|'.join(values)}"
