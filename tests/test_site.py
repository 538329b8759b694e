"""The site of the documentation builds in strict mode, and needs no network."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from processes import ENVIRONMENT, completed

pytest.importorskip("myst_parser", reason="needs the extra docs")
pytest.importorskip("furo", reason="needs the extra docs")

ROOT = Path(__file__).parents[1]
STRICT = ["--fail-on-warning", "--keep-going", "--quiet"]
# What a browser loads by itself; links that a reader may follow are <a href>.
LOADED = re.compile(r"<(?:script|img|source|iframe|link)\b[^>]*?(?:src|href)=\"(https?:)?//")
IMPORTED = re.compile(r"@import|url\(\s*['\"]?(?:https?:)?//")


def build(*arguments: object, ok: bool = True) -> str:
    command = [sys.executable, "-m", "sphinx", *STRICT, *arguments]
    # Its own dependencies may warn of what a coming Python or docutils removes.
    environment = {k: v for k, v in ENVIRONMENT.items() if k != "PYTHONWARNINGS"}
    return completed(command, ok=ok, env=environment, cwd=ROOT).stderr


def test_the_site_is_whole_and_needs_no_network(tmp_path: Path) -> None:
    site = tmp_path / "site"
    build("-c", "tools/site", "-d", tmp_path / "cache", ROOT, site)
    pages = {p.relative_to(site).as_posix(): p.read_text() for p in site.rglob("*.html")}
    assert "README.html" in pages["index.html"]
    assert "searchindex.js" in pages["search.html"]
    assert not [name for name, text in pages.items() if LOADED.search(text)]
    assert not [s.name for s in site.rglob("*.css") if IMPORTED.search(s.read_text())]
    # The sidebar of any page leads to each page, and links to source files lead to copies.
    methods = {f"{p.stem}.html" for p in (ROOT / "docs" / "methods").glob("[a-z]*.md")}
    assert methods <= set(re.findall(r'href="([\w.]+html)"', pages["docs/methods/README.html"]))
    (copy,) = re.findall(
        r'href="\.\./\.\./(_downloads/\w+/wgan_gp\.py)"', pages["docs/methods/wgan_gp.html"]
    )
    assert (site / copy).read_bytes() == (ROOT / "src/ganvas/methods/wgan_gp.py").read_bytes()
    assert 'href="../launchers' not in pages["docs/cluster.html"]


def test_what_is_missing_is_an_error(tmp_path: Path) -> None:
    missing = ("nowhere.md", "src/nowhere.py", "nowhere-on-this-page", "nowhere.png")
    links = ["[a](nowhere.md)", "[a](src/nowhere.py)", "[a](#nowhere-on-this-page)"]
    (tmp_path / "README.md").write_text("\n\n".join(["# Title", *links, "![a](nowhere.png)"]))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "README.md").write_text("# All pages\n")
    (tmp_path / "docs" / "forgotten.md").write_text("# In no navigation\n")
    place = tmp_path / "tools" / "site"
    shutil.copytree(ROOT / "tools" / "site", place)
    said = build("-c", place, "-d", tmp_path / "cache", tmp_path, tmp_path / "site", ok=False)
    assert [what for what in (*missing, "forgotten.md") if what not in said] == []
