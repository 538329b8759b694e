"""Verify: what a file says about its origin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from ganvas.apps.studio import parts
from ganvas.apps.studio.parts import polite
from ganvas.core.errors import printable
from ganvas.media.verify import STATES, verify

KINDS = {
    "signed": "good",
    "signed-by-others": "good",
    "marked": "",
    "unknown": "bad",
    "changed": "bad",
}


class Verdict(NamedTuple):
    """What the page says of a file.

    kind: "good" for a whole signature, "" for a mark only, "bad" for all else
    """

    kind: str
    said: str
    facts: dict[str, object]


def tab() -> None:
    """Lay out the tab."""
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            file = gr.File(label="Image or clip to verify", height=160)
            gr.HTML(
                parts.note(
                    "A signature shows that a file is as its signer wrote it. A mark alone is "
                    "information, not proof: saving an image again removes both, and anybody can "
                    "write a mark. The file does not leave this machine."
                )
            )
        with gr.Column(scale=2, min_width=320):
            result = gr.HTML(parts.note("Drop a file to see where it comes from."), elem_id="found")
    file.change(_shown, [file], [result], show_progress="hidden", api_visibility="private")


@polite
def _shown(file: str | None) -> str:
    if file is None:
        return parts.note("Drop a file to see where it comes from.")
    found = verdict(Path(file))
    rows = [(printable(k), printable(_text(v))) for k, v in found.facts.items()]
    title = f"<h2>{parts.escape(printable(Path(file).name))}</h2>"
    return f"{title}{parts.note(found.said, found.kind)}{parts.table(rows) if rows else ''}"


def verdict(file: Path) -> Verdict:
    """The one place that asks for the origin of a file.

    Raises `DataError` if the file cannot be read.
    """
    found = verify(file)
    facts: dict[str, object] = {"software": found.software, "signer": found.signer, **found.facts}
    facts = {name: value for name, value in facts.items() if value is not None}
    said = STATES[found.state][1]
    said = said[0].upper() + said[1:]
    if found.generated:
        said += ". It says that a model generated it, wholly or in part"
    if found.state == "unknown":
        said += ". An image without a mark may be generated, too"
    if found.note:
        said += f". {printable(found.note)}"
    return Verdict(KINDS[found.state], f"{said}.", facts)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
