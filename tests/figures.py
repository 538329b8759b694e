"""Figures in the documentation come from records. The convention, in markdown's source and invisible when rendered:

    0.43 <!-- = docs/claims/mse-is-blurry.json seeds.0.figures.mse_distance -->
    92% <!-- = mean docs/claims/x.json seeds.*.figures.share -->
    at least 0.8 <!-- not measured: the goal -->

A comment that begins with `=` follows its figure at once: the record's path from the project's root, and the names that lead
to the value in it, joined by dots; `*` goes into every element of a list, and one of mean, median, min, max before the path
makes them one. The value, rounded to the digits that the text shows, is the text's number; before a % it is taken as a share.
A figure that is no measurement of ours (a goal, a bound, a paper's figure) says what it is.

What needs a comment: a number with a decimal point, with % or with a unit of UNITS behind it, or alone in a table's cell that
is not the first of its row. Where: all of docs/results.md and docs/performance.md; in README.md and docs/methods the tables and
the sections whose heading says "result" or "measured"; elsewhere nothing, but a comment that is there must be right. Code and
links' targets are skipped: settings are written as `code`.

    python tests/figures.py     says what is wrong, with file and line
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STRICT = ("results.md", "performance.md")
RECORDS = ("docs/claims/", "docs/results/", "bench/results/")
REDUCE = {"mean": statistics.fmean, "median": statistics.median, "min": min, "max": max}
UNITS = "dB|ms|s|min|h|seconds?|minutes?|hours?|images/s|steps/s|x|×|[kMG]i?B"

NUMBER = r"[-+−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?"
FIGURE = re.compile(rf"(?<![\w.:/,@#-])(?P<number>{NUMBER})(?P<unit>\s?%|\s?(?:{UNITS})(?![\w/]))?(?![\w]|\.\d)")
SOURCE = re.compile(r"[\s*]*<!-- = (?:(?P<reduce>\w+) )?(?P<path>\S+\.json) (?P<names>.+?) -->")
EXCUSE = re.compile(r"[\s*]*<!-- not measured: \S.*? -->")
SKIPPED = re.compile(r"`[^`]*`|\]\([^)]*\)|<!--.*?-->|https?://\S+", re.DOTALL)


def problems(file: Path, root: Path = ROOT) -> list[str]:
    """What is wrong in a markdown file, as "file:line: what"."""
    text = file.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.DOTALL | re.MULTILINE)
    hidden = SKIPPED.sub(lambda m: re.sub(r"[^\n]", "\x00", m[0]), text)  # same length: positions agree
    found, sourced, strict, start = [], set(), file.name in STRICT, 0
    for line in hidden.splitlines(keepends=True):
        if line.startswith("#") and file.name not in STRICT:
            strict = bool(re.search("result|measured", line, re.IGNORECASE))
        table = line.lstrip().startswith("|")
        for match in FIGURE.finditer(line):
            at, end = start + match.start(), start + match.end()
            where = f"{file.relative_to(root)}:{text.count(chr(10), 0, at) + 1}"
            if source := SOURCE.match(text, end):
                sourced.add(source.end())
                found += [f"{where}: {w}" for w in wrong(match["number"], match["unit"] or "", source, root)]
            elif (strict or table) and needs_source(line, match, table) and not EXCUSE.match(text, end):
                found.append(f"{where}: {match[0]!r} says not where it comes from: add <!-- = RECORD.json NAMES -->")
        start += len(line)
    for source in SOURCE.finditer(text):
        if source.end() not in sourced:
            found.append(
                f"{file.relative_to(root)}:{text.count(chr(10), 0, source.start()) + 1}: no figure before {source[0]!r}"
            )
    return found


def needs_source(line: str, figure: re.Match[str], table: bool) -> bool:
    if figure["unit"] or "." in figure["number"] or "e" in figure["number"]:
        return True
    before, after = line[: figure.start()], line[figure.end() :]
    alone = not before.rpartition("|")[2].strip(" *\x00") and not after.partition("|")[0].strip(" *\x00")
    return table and alone and before.count("|") > 1


def wrong(number: str, unit: str, source: re.Match[str], root: Path) -> list[str]:
    """What is wrong with a figure of this number and unit before this comment."""
    path, names = source["path"], source["names"]
    if not path.startswith(RECORDS):
        return [f"{path} is not a record: they lie in {', '.join(RECORDS)}"]
    try:
        values = look_up(json.loads((root / path).read_text(encoding="utf-8")), names.split("."))
        value = REDUCE[source["reduce"]](values) if source["reduce"] else values
        if isinstance(value, bool) or not isinstance(value, int | float):
            return [f"{path} {names} is not one number"]
    except FileNotFoundError:
        return [f"there is no record {path}"]
    except (KeyError, IndexError, ValueError, TypeError) as e:
        return [f"{path} has nothing at {names} ({type(e).__name__}: {e})"]
    shown = Decimal(number.replace(",", "").replace("−", "-"))
    true = Decimal(repr(value)) * (100 if unit.strip() == "%" else 1)
    half = Decimal(1).scaleb(int(shown.as_tuple().exponent)) / 2
    return [] if abs(true - shown) <= half else [f"{number}{unit} is {float(true):.6g} in {path} {names}"]


def look_up(value: Any, names: list[str]) -> Any:
    """What lies in nested objects and lists at these names; a list where one of them is *."""
    for i, name in enumerate(names):
        if name == "*":
            return [look_up(v, names[i + 1 :]) for v in value]
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def documents() -> list[Path]:
    docs = ROOT / "docs"
    return [ROOT / "README.md", *sorted(docs.glob("*.md")), *sorted((docs / "methods").glob("*.md"))]


if __name__ == "__main__":
    wrongs = [p for d in documents() for p in problems(d)]
    print("\n".join(wrongs) or "every figure is its record's")
    sys.exit(bool(wrongs))
