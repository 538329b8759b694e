"""Sphinx's settings for the site that `make docs` builds of the Markdown pages.

The pages stay as they are, and can be read without the site. Here they get a navigation,
made of the links of docs/README.md and docs/methods/README.md, so that a page which neither
names is an error. Links to files of the source tree become links to copies of them in the
site, and a missing file is an error, too. A site cannot show a folder: of a link to one, the
text stays.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
START = "README"
PAGES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\n]+)\]\((?P<target>[^)#\s:]+)\)")

project = html_title = "ganvas"
extensions = ["myst_parser"]
root_doc = START
include_patterns = [*PAGES, "docs/**.md"]
exclude_patterns = [f.name for f in ROOT.iterdir() if f.name not in {*PAGES, "docs"}]
html_theme = "furo"  # its styles, scripts and fonts are local
html_extra_path = ["index.html"]
html_copy_source = html_use_index = False
highlight_language = "none"  # of blocks that name none
myst_heading_anchors = 4


def trees(page: Path) -> str:
    """A hidden table of contents for each section of a page, of the pages that it links."""
    text, found = page.read_text(encoding="utf-8"), []
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        names = {}
        for link in LINK.finditer(section):
            target = (page.parent / link["target"]).resolve().relative_to(ROOT)
            if target.suffix == ".md" and target.with_suffix("").as_posix() != START:
                names.setdefault(f"/{target.with_suffix('')}", link["text"])
        if names:
            title = "" if section.startswith("#") else section.partition("\n")[0]
            lines = [f"{text} <{name}>" for name, text in names.items()]
            head = ["```{toctree}", ":hidden:", *([f":caption: {title}"] if title else []), ""]
            found.append("\n".join([*head, *lines, "```"]))
    return "\n\n".join(["", *found, ""])


def prepare(_app: Sphinx, name: str, source: list[str]) -> None:
    """Add the navigation to a page, and unlink folders."""
    page = ROOT / f"{name}.md"
    source[0] = LINK.sub(
        lambda link: link["text"] if (page.parent / link["target"]).is_dir() else link[0],
        source[0],
    )
    if name == START:
        source[0] += "\n\n```{toctree}\n:hidden:\n\nAll pages <docs/README>\n```\n"
        source[0] += trees(ROOT / "docs" / "README.md")
    elif name == "docs/methods/README":
        source[0] += trees(page)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("source-read", prepare)
    return {"parallel_read_safe": True}
