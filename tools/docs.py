"""Write the documentation pages that show measured figures from their templates.

    python tools/docs.py            write docs/NAME.md from docs/src/NAME.md.in
    python tools/docs.py --check    report missing references and outdated pages

A template holds a reference instead of each figure:

    {{.2f docs/claims/x.json seeds.0.figures.distance}}     a value, formatted by Python's `format`
    {{.1% mean docs/claims/x.json seeds.*.figures.share}}   also median, min, max, sum
    {{0.8; not measured: the goal}}                         a goal, or a setting of the script

A reference gives a record's path from the project's root and the names that lead to the
value, joined by dots; `*` takes every element of a list or object, and `a*` those whose
name it matches. Records lie in RECORDS.

A figure without a reference is an error if it has a decimal point, a percent sign or a unit
of UNITS, or if it stands alone in a table's cell that is not the first of its row. This holds
in the whole of the templates in STRICT; in other pages it holds in tables and in sections
whose heading contains "result" or "measured". Code, link targets and addresses are not
examined: settings are written as `code`. But a bare number in `code` with a thousands
separator, a percent sign or a unit needs a reference there, too, since results hide in
such code; a goal or a setting among them is written as {{10,000; not measured: a setting}}.
"""

from __future__ import annotations

import fnmatch
import json
import re
import statistics
import sys
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STRICT = ("results.md.in", "performance.md.in")
RECORDS = ("docs/claims/", "docs/results/", "bench/results/")
REDUCE = {"mean": statistics.fmean, "median": statistics.median, "min": min, "max": max, "sum": sum}
UNITS = "dB|ms|s|min|h|seconds?|minutes?|hours?|images/s|steps/s|x|×|[kMG]i?B"

NUMBER = r"[-+−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?"
FIGURE = re.compile(
    rf"(?<![\w.:/,@#-])(?P<number>{NUMBER})(?P<unit>\s?%|\s?(?:{UNITS})(?![\w/]))?(?![\w]|\.\d)"
)
REFERENCE = re.compile(
    r"\{\{(?:(?P<literal>[^{};\n]+); not measured: [^{}\s][^{}\n]*"
    r"|(?P<format>\S+) (?:(?P<reduce>mean|median|min|max|sum) )?(?P<path>\S+\.json) "
    r"(?P<names>[^{}\n]+))\}\}"
)
SKIPPED = re.compile(rf"{REFERENCE.pattern}|`[^`]*`|\]\([^)]*\)|https?://\S+", re.DOTALL)
BARE = re.compile(
    rf"(?<!`)`(?:[-+−<>~]?\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|{NUMBER}(?:\s?%|\s?(?:{UNITS})))`(?!`)"
)
CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


class WrongReference(ValueError):
    """A reference whose record, names or format is wrong."""


def render(template: str, root: Path = ROOT) -> str:
    """The page of a template: each reference replaced by its record's value.

    Raises:
        WrongReference: A record or a name does not exist, or the value is not one number.
    """
    return REFERENCE.sub(lambda match: _figure(match, root), template)


def problems(template: str, strict: bool, root: Path = ROOT) -> list[str]:
    """Wrong references of a template and figures that need one, as "line: what".

    Args:
        template: Markdown with references.
        strict: Examine all of it, not only tables and sections of results.
    """
    text = CODE_BLOCK.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), template)
    found = []
    for match in REFERENCE.finditer(text):
        try:
            _figure(match, root)
        except WrongReference as e:
            found.append(f"{_line(text, match.start())}: {e}")
    masked = SKIPPED.sub(lambda m: re.sub(r"[^\n]", "\x00", m[0]), text)  # positions stay the same
    found += [
        f"{_line(text, masked.index('{{', at))}: {text[at : text.find('}}', at) + 2]!r} "
        "is not a reference"
        for at in (m.start() for m in re.finditer(r"\{\{", masked))
    ]
    start, examined = 0, strict
    for line in masked.splitlines(keepends=True):
        if line.startswith("#") and not strict:
            examined = bool(re.search("result|measured", line, re.IGNORECASE))
        table = line.lstrip().startswith("|")
        if examined or table:
            wanted = [m for m in FIGURE.finditer(line) if _needs_reference(line, m, table)]
            wanted += BARE.finditer(text[start : start + len(line)])
            found += [
                f"{_line(text, start + match.start())}: {match[0]!r} has no reference: "
                "write {{FORMAT RECORD.json NAMES}}"
                for match in wanted
            ]
        start += len(line)
    return found


def look_up(value: Any, names: list[str]) -> Any:
    """The value at `names` in nested objects and lists; a flat list for patterns."""
    for i, name in enumerate(names):
        if "*" in name:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            rest = names[i + 1 :]
            found = [look_up(v, rest) for k, v in items if fnmatch.fnmatch(str(k), name)]
            return list(chain.from_iterable(found)) if any("*" in n for n in rest) else found
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def templates(root: Path = ROOT) -> dict[Path, Path]:
    """Every template with the page that it becomes."""
    docs = root / "docs"
    return {t: docs / t.name.removesuffix(".in") for t in sorted((docs / "src").glob("*.md.in"))}


def plain_pages(root: Path = ROOT) -> list[Path]:
    """Pages without a template, in which a figure that needs a reference is an error."""
    written = set(templates(root).values())
    return [
        root / "README.md",
        *(p for p in sorted((root / "docs").glob("*.md")) if p not in written),
    ]


def check(root: Path = ROOT) -> list[str]:
    """Everything that is wrong in templates and plain pages, and pages that are outdated."""
    found = []
    for source in (*templates(root), *plain_pages(root)):
        wrong = problems(source.read_text(encoding="utf-8"), source.name in STRICT, root)
        found += [f"{source.relative_to(root)}:{w}" for w in wrong]
    if not found:
        found = [
            f"{page.relative_to(root)} is outdated: run `python tools/docs.py`"
            for page in outdated(root)
        ]
    return found


def outdated(root: Path = ROOT) -> list[Path]:
    """Pages that differ from what their templates give."""
    return [
        page
        for source, page in templates(root).items()
        if not page.is_file()
        or page.read_text(encoding="utf-8") != render(source.read_text(encoding="utf-8"), root)
    ]


def _figure(match: re.Match[str], root: Path) -> str:
    if match["literal"]:
        return match["literal"]
    path, names = match["path"], match["names"]
    if not path.startswith(RECORDS):
        raise WrongReference(f"{path} is not a record: they lie in {', '.join(RECORDS)}")
    try:
        value = look_up(json.loads((root / path).read_text(encoding="utf-8")), names.split("."))
        value = REDUCE[match["reduce"]](value) if match["reduce"] else value
    except FileNotFoundError:
        raise WrongReference(f"there is no record {path}") from None
    except (KeyError, IndexError, ValueError, TypeError) as e:
        raise WrongReference(f"{path} has nothing at {names} ({type(e).__name__}: {e})") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongReference(f"{path} {names} is not one number")
    try:
        return format(value, match["format"])
    except ValueError as e:
        raise WrongReference(f"{match['format']!r} is not a format of a number: {e}") from None


def _needs_reference(line: str, figure: re.Match[str], table: bool) -> bool:
    if figure["unit"] or "." in figure["number"] or "e" in figure["number"]:
        return True
    before, after = line[: figure.start()], line[figure.end() :]
    alone = not before.rpartition("|")[2].strip(" *\x00") and not after.partition("|")[0].strip(
        " *\x00"
    )
    return table and alone and before.count("|") > 1


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def main() -> None:
    if sys.argv[1:] not in ([], ["--check"]):
        raise SystemExit(__doc__)
    if not sys.argv[1:]:
        for source, page in templates().items():
            page.write_text(render(source.read_text(encoding="utf-8")), encoding="utf-8")
    found = check()
    print("\n".join(found) or "every figure is its record's, and every page is its template's")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
