"""The page of the gallery: figures, images and docs/gallery.md.

A run is judged anew if it has been trained further since bench/results/gallery.json was
written. Images of data sets whose license is not clear are not shown."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gallery import DATA, RECORD, TABLE, words, write
from gallery_figures import Judged, all_of, some, translated
from PIL import Image

from ganvas.core.environment import commit
from ganvas.engine.run_dir import read_record
from ganvas.media import encode, grid

PICTURES, TEMPLATE = "docs/gallery", "docs/src/gallery.md.in"
LARGEST = 400_000  # bytes of an image
COLUMNS = {
    "model": "this run",
    "real": "real images",
    "untrained": "untrained",
    "input": "the input",
}
FIGURES = {  # name -> (in words, format)
    "frechet": ("Fréchet distance (lower is better)", ".2f"),
    "frechet_a": ("Fréchet distance, domain A (lower is better)", ".2f"),
    "frechet_b": ("Fréchet distance, domain B (lower is better)", ".2f"),
    "precision": ("precision", ".2f"),
    "recall": ("recall", ".2f"),
    "recognized": ("recognized as the requested letter", ".1%"),
    "recognized_a": ("letter still recognized, to domain A", ".1%"),
    "recognized_b": ("letter still recognized, to domain B", ".1%"),
    "same_letter": ("the same letter in both domains", ".1%"),
    "patches": ("distance of patches (lower is better)", ".4f"),
    "diversity": ("diversity of samples", ".2f"),
    "psnr": ("PSNR in dB (higher is better)", ".1f"),
    "lpips": ("LPIPS (lower is better)", ".3f"),
}
INTRODUCTION = """# Gallery

Results of each method on a small data set after 7 to 30 minutes of one processor core, with
their defects. Nothing was selected: the images are the first of seed 0, and the first of the
test part.

```
python bench/gallery.py                            # train; the same command continues what was cut
python bench/gallery.py --page --weights DIR       # the figures, the images and this page
```

Each figure ([record](../bench/results/gallery.json)) stands beside the same figure of real images
(of the other part of the data; for pairs: the true image of another input) and of the network
before training. Fréchet distances are over `{extractor}`: they are not FID and compare only within
a section. As many samples are judged as the other part has images, 2,048 at most; precision
and recall depend on that number. A part of letters or photographs that the networks have not
seen is of other typefaces and other photographs, so that real images themselves are not at 0.
In the record, `colour` has a commit that was rewritten before it was merged, and `gan` one
whose source had been changed."""


def write_page(names: list[str], runs: Path, root: Path, weights: Path | None) -> None:
    """Judge the runs of `names` that have a model and write record, images and page."""
    file = root / RECORD
    record: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {"rows": {}}
    for name in names:
        if not (runs / name / "model" / "model.json").is_file():
            continue
        trained = json.loads((runs / name / "model" / "model.json").read_text())["images_trained"]
        if record["rows"].get(name, {}).get("images") != trained:
            record["rows"][name] = judged(name, runs, root, weights)
            file.parent.mkdir(parents=True, exist_ok=True)
            write(file, record)
            print(name, json.dumps(record["rows"][name]["figures"]), flush=True)
    (root / TEMPLATE).parent.mkdir(parents=True, exist_ok=True)
    (root / TEMPLATE).write_text(template(record, root), encoding="utf-8")
    if (root / "tools" / "docs.py").is_file():
        subprocess.run([sys.executable, str(root / "tools" / "docs.py")], check=True)


def judged(name: str, runs: Path, root: Path, weights: Path | None) -> dict[str, Any]:
    """The record of a row; its image is written to docs/gallery."""
    row, data = TABLE[name], DATA[TABLE[name].data]
    state = json.loads((runs / f"{name}.json").read_text())
    it = Judged(name, runs / name, data.path(runs), state["images"], weights)
    run = read_record(runs / name)
    trained = it.model.info["images_trained"]
    picture = root / PICTURES / f"{name}.png"
    picture.unlink(missing_ok=True)
    if data.publish:
        facts = {"recipe": row.recipe, "data": data.name, "images_trained": trained}
        encode.save(small_enough(lambda count: image(it, count)), picture, **facts)
    return {
        "command": shlex.join(["ganvas", *words(row, data.shown, f"runs/{name}", state)]),
        "task": it.task,
        "images": trained,
        "planned": state["images"],
        "cpu_minutes": state["cpu_seconds"] / 60,
        "machine": run.get("machine"),
        "precision": run["run"].get("precision"),
        "figures": it.figures(),
        "extractor": it.extractor.name,
        "commit": commit(),
    }


def image(it: Judged, count: int) -> Image.Image:
    """Up to `count` rows of generated images, or examples with inputs and outputs."""
    if it.task == "noise" and it.model.method.classes:
        classes = it.model.method.classes
        x = it.model.sample(count, all_classes=True, output="torch")
        return grid.grid(x, classes)
    if it.task in ("noise", "coupled"):
        return grid.grid(it.model.sample(12 * count, output="torch"), 12)
    if it.task == "one_image":
        return one_image(it)
    feed = it.feed("test")
    if it.task == "pairs":
        batch = feed.fixed(count)
        made = translated(it.model, batch.a, "b")
        captions = ("input", "output", "truth")
        return grid.side_by_side(batch.a, made, batch.b, captions=captions, across=2)
    chosen = [some(all_of(feed, side), count) for side in "ab"]
    a, b = (x[: min(map(len, chosen))] for x in chosen)
    columns = a, translated(it.model, a, "b"), b, translated(it.model, b, "a")
    return grid.side_by_side(*columns, captions=("A", "to B", "B", "to A"), across=3)


def one_image(it: Judged) -> Image.Image:
    """The image and three samples; below, two samples of twice its width."""
    side = it.row.size
    real, made = it.feed("train").fixed(1).x, it.model.sample(3, output="torch")
    wide = it.model.sample(2, size=(side, 2 * side), output="torch")
    above, below = grid.grid(torch.cat([real, made]), 4), grid.grid(wide, 2)
    whole = Image.new("RGB", (max(above.width, below.width), above.height + below.height))
    whole.paste(above)
    whole.paste(below, (0, above.height))
    return whole


def small_enough(make: Callable[[int], Image.Image]) -> Image.Image:
    """The image of as many examples as fit in `LARGEST` bytes."""
    for count in (12, 8, 6, 4, 3, 2):
        made = make(count)
        if len(encode.png_bytes(made)) < LARGEST:
            return made
    return make(1)


def template(record: dict[str, Any], root: Path) -> str:
    """docs/src/gallery.md.in: a section for each data set, a reference for each figure."""
    rows = {name: record["rows"][name] for name in TABLE if name in record["rows"]}
    extractors = sorted({row["extractor"] for row in rows.values()})
    parts = [INTRODUCTION.replace("{extractor}", "` and `".join(extractors))]
    for data in DATA.values():
        of_data = {name: row for name, row in rows.items() if TABLE[name].data == data.name}
        if of_data:
            parts += [f"## Data `{data.name}`", data.credit]
        if len(of_data) > 1:
            parts.append(overview(of_data))
        for name, row in of_data.items():
            parts += section(name, row, root)
    if missing := [f"`{name}`" for name in TABLE if name not in rows]:
        parts.append(f"Not trained yet: {', '.join(missing)}.")
    return "\n\n".join(parts) + "\n"


def overview(rows: dict[str, Any]) -> str:
    """A table of the rows of a data set, the best by their first figure first."""
    figures = list(dict.fromkeys(f for row in rows.values() for f in row["figures"]))
    first = figures[0]
    sign = -1 if "higher" in FIGURES[first][0] else 1

    def order(name: str) -> float:
        found = rows[name]["figures"].get(first)
        return sign * found["model"] if found else math.inf

    lines = [
        "| method | minutes | " + " | ".join(FIGURES[f][0] for f in figures) + " |",
        "|---" * (2 + len(figures)) + "|",
    ]
    for name in sorted(rows, key=order):
        cells = [f"[`{name}`](#{name})", reference(name, ".0f", "cpu_minutes")]
        found = rows[name]["figures"]
        cells += [
            reference(name, form(f, found[f]), f"figures.{f}.model") if f in found else ""
            for f in figures
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def reference(row: str, how: str, names: str) -> str:
    """A place of the page that tools/docs.py fills from the record."""
    return f"{{{{{how} {RECORD} rows.{row}.{names}}}}}"


def form(figure: str, found: dict[str, float]) -> str:
    """The format of a figure. Distances over large features have no decimals."""
    return ",.0f" if min(found.values()) >= 1000 else FIGURES[figure][1]


def section(name: str, row: dict[str, Any], root: Path) -> list[str]:
    """The paragraphs of a row."""
    parts = [f"### `{name}`"]
    if (root / PICTURES / f"{name}.png").is_file():
        parts.append(f"![what {name} makes]({PICTURES.removeprefix('docs/')}/{name}.png)")
    parts.append(f"```\n{row['command']}\n```")
    minutes, images = reference(name, ".0f", "cpu_minutes"), reference(name, ",", "images")
    cut = "" if row["images"] >= row["planned"] else f" of {reference(name, ',', 'planned')} (cut)"
    hardware = f"{row['machine']['processor']}, {row['precision']}"
    facts = f"{minutes} processor minutes ({hardware}), {images} images{cut}."
    parts.append(f"{facts} {TABLE[name].why}".rstrip())
    columns = [c for c in COLUMNS if any(c in found for found in row["figures"].values())]
    lines = [
        "| " + " | ".join(["", *(COLUMNS[c] for c in columns)]) + " |",
        "|---" * (1 + len(columns)) + "|",
    ]
    for figure, found in row["figures"].items():
        how = form(figure, found)
        cells = [
            reference(name, how, f"figures.{figure}.{c}") if c in found else "" for c in columns
        ]
        lines.append("| " + " | ".join([FIGURES[figure][0], *cells]) + " |")
    parts.append("\n".join(lines))
    parts.append(f"Weak points: {TABLE[name].fault or 'not described yet.'}")
    return parts
