"""docs/methods holds what tools/pages.py writes."""

from __future__ import annotations

import pages


def test_pages_are_what_the_tool_writes() -> None:
    wanted = pages.pages()
    there = {f.name: f.read_text(encoding="utf-8") for f in pages.FOLDER.glob("*.md")}
    stale = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
    assert not stale, (
        f"docs/methods is out of date ({', '.join(stale)}). Run `python tools/pages.py` and commit what it writes"
    )


def test_what_ideas_say_is_of_something() -> None:
    """No idea for a method, data for a recipe, formats or pictures that are not there (any more)."""
    ideas = pages.tomllib.loads((pages.FOLDER / "ideas.toml").read_text(encoding="utf-8"))
    recipes, data = pages.recipes.all_recipes(), ideas.pop("data")
    assert data.keys() <= recipes.keys()
    assert {f"{name}.md" for name in ideas} | {"README.md"} == pages.pages().keys()
    for idea in ideas.values():
        parts = idea.get("formats", ())
        assert not parts or any(part in name for name in pages.importers.FORMATS for part in parts)
        assert "picture" not in idea or (pages.DOCS / idea["picture"]).is_file()
