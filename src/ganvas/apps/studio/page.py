"""The page: its tabs and its look."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import gradio as gr

from ganvas.apps.studio import datasets, history, play, train, translate, verify
from ganvas.inference.library import find_models
from ganvas.training.jobs import Jobs

HEAD = (
    '<div class="studio-head"><h1>ganvas studio</h1>'
    "<p>Everything here runs on this machine. Every image that a model makes says that it was "
    "generated.</p>"
    '<button type="button" class="theme-switch" aria-label="Switch between dark and light">'
    "Dark / light</button></div>"
)


def build(folders: Sequence[Path], jobs: Jobs) -> gr.Blocks:
    """Lay out the page.

    folders: of runs and models
    jobs: the trainings that the page starts
    """
    models = partial(find_models, *folders)
    with gr.Blocks(title="ganvas studio", analytics_enabled=False) as page:
        gr.HTML(HEAD)
        with gr.Tabs() as tabs:
            with gr.Tab("Play", id="play"):
                play.tab(page, models)
            with gr.Tab("Map", id="map"):
                method = history.tab()
            with gr.Tab("Translate", id="translate"):
                translate.tab(page, models)
            with gr.Tab("Verify", id="verify"):
                verify.tab()
            with gr.Tab("Data", id="data"):
                datasets.tab()
            with gr.Tab("Train", id="train") as training:
                recipe = train.tab(page, training, jobs)
        method.click(
            _train_this,
            None,
            [tabs, recipe],
            show_progress="hidden",
            api_visibility="private",
        )
    return page


def _train_this(event: gr.EventData) -> list[object]:
    """Go to the tab Train with the recipe of a button "Train this"."""
    return [gr.Tabs(selected="train"), gr.update(value=event._data["name"])]


def theme() -> gr.themes.Base:
    """Colors and fonts; the fonts are the system's, so that nothing is fetched."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.indigo,
        neutral_hue=gr.themes.colors.slate,
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_text_color="white",
    )
