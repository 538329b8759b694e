"""Verify: what a file says about its origin."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

from ganvas.apps.studio import parts
from ganvas.apps.studio.parts import polite
from ganvas.core.errors import printable
from ganvas.media.verify import PIXELS, STATES, Verdict, verify

EMPTY = parts.note("Drop a file to see where it comes from.")
KINDS = {  # of the notes: a whole signature, a mark only, all else
    "signed": "good",
    "signed-by-others": "good",
    "marked": "",
    "pixels": "",
    "unknown": "bad",
    "changed": "bad",
}


def tab() -> None:
    """Lay out the tab."""
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            file = gr.File(label="Image or clip to verify", height=160)
            gr.HTML(
                parts.note(
                    "A signature shows that a file is as its signer wrote it. A mark alone is "
                    "information, not proof: anybody can write one. Saving an image again removes "
                    "both, but not the invisible mark in the pixels of images of at least 256 px. "
                    "The file does not leave this machine."
                )
            )
        with gr.Column(scale=2, min_width=320):
            result = gr.HTML(EMPTY, elem_id="found")
    file.change(_shown, [file], [result], show_progress="hidden", api_visibility="private")


@polite
def _shown(file: str | None) -> str:
    if file is None:
        return EMPTY
    found = verify(Path(file))
    facts = {"software": found.software, "signer": found.signer, **found.facts}
    facts["pixels"] = PIXELS[found.pixels]
    rows = [(printable(k), printable(_text(v))) for k, v in facts.items() if v is not None]
    title = f"<h2>{parts.escape(printable(Path(file).name))}</h2>"
    note = parts.note(_sentences(found), KINDS[found.state])
    return f"{title}{note}{parts.table(rows) if rows else ''}"


def _sentences(found: Verdict) -> str:
    """A verdict in words."""
    said = STATES[found.state][1]
    said = said[0].upper() + said[1:]
    if found.generated:
        said += ". It says that a model generated it, wholly or in part"
    if found.state == "unknown":
        said += ". An image without a mark may be generated, too"
    if found.note:
        said += f". {printable(found.note)}"
    return f"{said}."


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
