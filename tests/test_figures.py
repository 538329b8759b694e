"""Figures in the documentation come from records, and the pages equal their templates."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pages
import pytest

import docs

SOURCES = [*docs.templates(), *docs.plain_pages()]


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: str(p.relative_to(docs.ROOT)))
def test_every_figure_has_a_reference_and_every_reference_a_value(source: Path) -> None:
    assert docs.problems(source.read_text(encoding="utf-8"), source.name in docs.STRICT) == []


def test_pages_of_methods_as_well() -> None:
    found = {name: docs.problems(text, strict=False) for name, text in pages.templates().items()}
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_committed_pages_equal_the_output_of_the_tool() -> None:
    assert docs.outdated() == []


def test_strict_templates_exist() -> None:
    assert set(docs.STRICT) <= {t.name for t in docs.templates()}


def test_pages_have_no_html_comments() -> None:
    written = [docs.ROOT / "README.md", *(docs.ROOT / "docs").glob("**/*.md")]
    assert [p for p in written if "<!--" in p.read_text(encoding="utf-8")] == []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "claims").mkdir(parents=True)
    record = {
        "share": 0.9234,
        "small": 1.25e-5,
        "n": 26000,
        "to b": [{"v": 1.0}, {"v": 2.0}],
        "holds": True,
        "gain": 0.5,
    }
    (tmp_path / "docs" / "claims" / "x.json").write_text(json.dumps(record))
    return tmp_path


@pytest.mark.parametrize(
    ("template", "page"),
    [
        ("It is {{.2f docs/claims/x.json share}}.", "It is 0.92."),
        ("It is **{{.1% docs/claims/x.json share}}** of all.", "It is **92.3%** of all."),
        ("{{.0e docs/claims/x.json small}}", "1e-05"),
        ("{{, docs/claims/x.json n}} samples", "26,000 samples"),
        ("gain: {{+.1f docs/claims/x.json gain}}", "gain: +0.5"),
        (
            "{{.1f mean docs/claims/x.json to b.*.v}} dB and {{.1f docs/claims/x.json to b.1.v}} s",
            "1.5 dB and 2.0 s",
        ),
        ("{{.0f max docs/claims/x.json to*.*.v}}", "2"),
        ("at least {{0.8; not measured: the goal}}", "at least 0.8"),
        ("after {{12 s; not measured: a trial}}", "after 12 s"),
        ("| {{.2f docs/claims/x.json share}} | `64` |", "| 0.92 | `64` |"),
    ],
)
def test_references_become_figures(root: Path, template: str, page: str) -> None:
    assert docs.problems(template, True, root) == []
    assert docs.render(template, root) == page


@pytest.mark.parametrize(
    "text",
    [
        "24 of 25 modes, after 1,600 steps, arXiv:1701.07875, `--lr 1e-4`, `64`, `-n 10,000`, "
        "[a](b-0.3.png), 2018, version 3.11.7",
        "| 2 | fine |\n|---|---|\n| 3 | `64` |",
        "```\n0.5 s\n```",
    ],
)
def test_numbers_that_need_no_reference(root: Path, text: str) -> None:
    assert docs.problems(text, True, root) == []
    assert docs.render(text, root) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("first\n{{.2f docs/claims/y.json share}}", "2: there is no record docs/claims/y.json"),
        ("{{.2f docs/claims/x.json shares}}", "1: docs/claims/x.json has nothing at shares"),
        ("{{.0f docs/claims/x.json holds}}", "not one number"),
        ("{{.0f docs/claims/x.json to b}}", "not one number"),
        ("{{.2q docs/claims/x.json share}}", "not a format"),
        ("{{.2f /etc/x.json share}}", "is not a record"),
        ("{{.2f share}}", "'{{.2f share}}' is not a reference"),
        ("{{ docs/claims/x.json share }}", "is not a reference"),
        ("first\nit reached 0.92 soon", "2: '0.92' has no reference"),
        ("it took 12 s", "'12 s' has no"),
        ("97% of them", "'97%' has no"),
        ("twice: 2.3x as fast", "'2.3x' has no"),
        ("| modes | 24 |", "'24' has no"),
        ("after `184,500` images", "'`184,500`' has no"),
        ("in `2 minutes`", "'`2 minutes`' has no"),
        ("at most `1%`", "'`1%`' has no"),
    ],
)
def test_problems(root: Path, text: str, problem: str) -> None:
    (found,) = docs.problems(text, True, root)
    assert problem in found


@pytest.mark.parametrize("text", ["{{0.92; not measured: }}", "{{0.92; not measured}}"])
def test_a_number_without_a_reason_is_no_reference(root: Path, text: str) -> None:
    assert any("is not a reference" in p for p in docs.problems(text, True, root))


def test_elsewhere_only_tables_and_results_need_references(root: Path) -> None:
    text = "Wait 0.5 s.\n\n# Results\n\nIt took 0.5 s.\n\n# Use\n\n0.5 s\n\n| a | 0.7 |"
    found = docs.problems(text, False, root)
    assert [f.partition(" has")[0] for f in found] == ["5: '0.5 s'", "11: '0.7'"]


def test_an_outdated_page_is_found(root: Path) -> None:
    (root / "README.md").write_text("fine\n")
    (root / "docs" / "src").mkdir()
    (root / "docs" / "src" / "a.md.in").write_text("{{.2f docs/claims/x.json share}}\n")
    (root / "docs" / "a.md").write_text("0.93\n")
    assert docs.check(root) == ["docs/a.md is outdated: run `python tools/docs.py`"]
    (root / "docs" / "a.md").write_text("0.92\n")
    assert docs.check(root) == []


PLACE = re.compile(r"`((?:\w+/)+\w+\.py)(?:: ([\w.]+))?`")


@pytest.mark.parametrize("page", ["docs/architecture.md", "README.md", "CONTRIBUTING.md"])
def test_files_and_functions_that_a_page_names_exist(page: str) -> None:
    """`folder/file.py: name` is a function, class, method or table of that file."""
    text = (docs.ROOT / page).read_text(encoding="utf-8")
    for path, name in PLACE.findall(text):
        if path.endswith(("yours.py", "x.py")):
            continue
        files = [docs.ROOT / path, docs.ROOT / "src" / "ganvas" / path]
        assert any(f.is_file() for f in files), path
        source = next(f for f in files if f.is_file()).read_text(encoding="utf-8")
        for part in filter(None, name.split(".")):
            defined = rf"^\s*(?:(?:async )?def|class) {part}\b|^{part}\b.*="
            assert re.search(defined, source, re.MULTILINE), f"{path}: {name}"
