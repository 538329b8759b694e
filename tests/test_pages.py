"""docs/methods equals the output of tools/pages.py."""

from __future__ import annotations

from typing import Any

import pages

from ganvas.recipes import catalog


def test_pages_are_up_to_date() -> None:
    wanted = pages.pages()
    found = {f.name: f.read_text(encoding="utf-8") for f in pages.FOLDER.glob("*.md")}
    names = wanted.keys() | found.keys()
    stale = sorted(name for name in names if wanted.get(name) != found.get(name))
    assert not stale, (
        f"docs/methods is out of date ({', '.join(stale)}). "
        "Run `python tools/pages.py` and commit the pages"
    )


def test_ideas_refer_to_existing_things() -> None:
    """Every method, recipe, format and image file that ideas.toml names exists."""
    ideas: Any = catalog.ideas()
    recipes, data = pages.recipes.all_recipes(), ideas.pop("data")
    assert data.keys() <= recipes.keys()
    assert {f"{name}.md" for name in ideas} | {"README.md"} == pages.pages().keys()
    for idea in ideas.values():
        parts = idea.get("formats", ())
        assert not parts or any(part in name for name in pages.importers.FORMATS for part in parts)
        assert "picture" not in idea or (pages.DOCS / idea["picture"]).is_file()
