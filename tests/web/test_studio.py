"""Every tab of the studio, driven as a person would."""

from __future__ import annotations

import base64
import io
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from processes import LIMIT

from ganvas.apps.studio.server import serve
from ganvas.core.errors import UserError
from ganvas.media import encode, provenance
from ganvas.recipes import catalog

UNNAMED = """() => [...document.querySelectorAll("button, input, select, textarea, [role=slider]")]
  .filter((e) => e.checkVisibility({ visibilityProperty: true }) && e.type !== "file")
  .filter((e) => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.title
    || e.textContent.trim() || (e.labels && [...e.labels].some((l) => l.textContent.trim()))))
  .map((e) => e.outerHTML.slice(0, 200))"""
WIDER = "() => document.documentElement.scrollWidth - window.innerWidth"


def has(page: Any, selector: str, text: str) -> None:
    """Wait until an element has a text."""
    page.locator(selector).filter(has_text=text).first.wait_for()


def changed(page: Any, selector: str, before: str) -> str:
    """Wait until an image is another, and return its address."""
    page.wait_for_function(
        "([s, b]) => { const e = document.querySelector(s); return e && e.src !== b; }",
        arg=[selector, before],
    )
    return page.locator(selector).first.get_attribute("src")


def pixels(address: str) -> bytes:
    """The pixels of an image in the page."""
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return image.tobytes()


def saved(page: Any, place: str, tmp_path: Path) -> provenance.Mark:
    """The mark of the file that a button "Save" writes."""
    with page.expect_download() as download:
        page.locator(f"{place} .save").first.click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return provenance.read(path)


def test_play(page: Any, tmp_path: Path) -> None:
    cells = page.locator("#images .cells button")
    has(page, "#chosen", "Image 0 of seed 0")
    assert cells.count() == 64
    # by keyboard: one stop of the Tab key, then arrows
    cells.first.focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    has(page, "#chosen", "Image 9 of seed 0")
    assert cells.nth(9).get_attribute("aria-pressed") == "true"
    assert page.locator("#images [aria-pressed=true]").count() == 1

    image = "#chosen img"
    still = page.locator(image).get_attribute("src")
    slider = page.get_by_label("Direction 1").and_(page.locator("[type=number]"))
    slider.fill("3")
    slider.press("Enter")
    moved = changed(page, image, still)
    page.get_by_role("button", name="All to zero").click()
    assert pixels(changed(page, image, moved)) == pixels(still) != pixels(moved)
    mark = saved(page, "#chosen", tmp_path)
    assert mark["generated"]
    assert mark["facts"]["number"] == 9

    page.get_by_role("tab", name="Path").click()
    film = page.locator("#path .film")
    film.get_by_role("slider").press("End")
    assert film.locator("img").get_attribute("style").startswith("transform: translateX(-")
    film.get_by_role("button", name="Play").click()
    film.get_by_role("button", name="Pause").click()
    page.get_by_role("tab", name="Styles").click()
    page.locator("#mixed img").nth(2).wait_for()
    page.get_by_role("tab", name="Walk").click()
    page.get_by_role("button", name="Walk", exact=True).click()
    page.locator("#walk .film").wait_for()

    page.get_by_role("button", name="New images").click()
    has(page, "#images", "seed 1")
    sheet = page.locator("#images img").get_attribute("src")
    page.get_by_label("Truncation").and_(page.locator("[type=number]")).fill("0.5")
    page.keyboard.press("Enter")
    changed(page, "#images img", sheet)
    facts = saved(page, "#images", tmp_path)["facts"]
    assert (facts["seed"], facts["truncation"]) == (1, 0.5)

    page.get_by_role("tab", name="Nearest").click()
    page.get_by_role("button", name="Find the nearest").click()
    page.locator("#nearest img").wait_for()
    page.get_by_label("Real images").fill("/no/such/<b>folder")
    page.get_by_role("button", name="Find the nearest").click()
    has(page, "body", "/no/such/<b>folder")
    assert page.evaluate(UNNAMED) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(f"() => ({WIDER})() <= 0")


def test_concepts(page: Any, runs: Path, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Concepts").click()
    canvas = page.locator("#brush canvas")
    canvas.wait_for()
    assert "image 0 of seed 0" in canvas.get_attribute("aria-label").lower()
    has(page, "#brush tr", "ink <b>")
    assert page.get_by_label("add artifacts").count() == 0  # without values: only removed
    original, edited = "#brush img", "#edited img"
    before = page.locator(original).get_attribute("src")
    # by pointer: only what is painted changes
    page.get_by_label("add ink <b>").check()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 8, box["y"] + 4)
    page.mouse.up()
    has(page, "#edited", "Edited: added ink <b>")
    corner = page.locator(edited).get_attribute("src")
    assert pixels(corner) != pixels(before)
    assert pixels(corner)[-8:] == pixels(before)[-8:]
    # by keyboard, another concept elsewhere
    page.get_by_label("remove artifacts").check()
    canvas.focus()
    for key in ("ArrowRight", "ArrowDown", "Space"):
        page.keyboard.press(key)
    has(page, "#brush", "brush at")
    has(page, "#edited", "added ink <b>, removed artifacts")
    both = page.locator(edited).get_attribute("src")
    assert len({pixels(source) for source in (before, corner, both)}) == 3
    mark = saved(page, "#edited", tmp_path)
    assert mark["generated"]
    assert mark["facts"]["kind"] == "edited by units"
    assert page.evaluate(UNNAMED) == []
    # erase everywhere
    page.get_by_label("erase what is painted").check()
    page.get_by_role("button", name="Everywhere").click()
    has(page, "#edited", "Paint on the image")
    page.get_by_label("remove ink").check()
    page.get_by_role("button", name="Everywhere").click()
    has(page, "#edited", "Edited: removed ink <b>")
    page.get_by_role("button", name="Clear").locator("visible=true").click()
    has(page, "#edited", "Paint on the image")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(f"() => ({WIDER})() <= 0")
    # a run without units says how to find them
    record = runs / "letters" / "units.json"
    aside = record.rename(tmp_path / "units.json")
    try:
        page.locator("#images .cells button").nth(3).click()
        has(page, "#units", f"ganvas dissect {runs}/letters --out")
    finally:
        aside.rename(record)


def test_without_a_model_the_page_says_what_to_do(page: Any, runs: Path) -> None:
    aside = runs.rename(runs.with_name("aside"))
    runs.mkdir()
    try:
        page.emulate_media(color_scheme="dark")
        page.reload()
        page.get_by_text("No model to play with yet").wait_for()
        assert "dark" in page.locator("body").get_attribute("class")
        page.get_by_role("button", name="Switch between dark and light").click()
        assert "dark" not in page.locator("body").get_attribute("class")
        page.get_by_role("tab", name="Translate").click()
        page.get_by_text("No model that translates yet").wait_for()
        page.get_by_role("tab", name="Train").click()
        page.get_by_text("No run yet").wait_for()
        assert page.get_by_role("alert").count() == 0
        # runs that appear are listed when the tab is opened again
        runs.rmdir()
        aside.rename(runs)
        page.get_by_role("tab", name="Map").click()
        page.get_by_role("tab", name="Train").click()
        has(page, "#state", ", complete")
    finally:
        if aside.exists():
            runs.rmdir()
            aside.rename(runs)


def test_map(page: Any) -> None:
    page.get_by_role("tab", name="Map").click()
    methods = page.locator("#map .method")
    assert methods.count() == len(catalog.history())
    page.get_by_role("button", name="CycleGAN, 2017").focus()
    page.keyboard.press("Enter")
    has(page, "#method h2", "CycleGAN")
    has(page, "#method code", "ganvas train cyclegan")
    paper = page.get_by_role("link", name="arXiv:1703.10593")
    assert paper.get_attribute("rel") == "noopener noreferrer"
    assert page.locator("#map [aria-pressed=true]").count() == 1
    page.get_by_role("button", name="Train cyclegan").click()
    page.get_by_role("button", name="Start", exact=True).wait_for()
    assert page.get_by_label("Recipe", exact=True).input_value() == "cyclegan"
    page.get_by_role("tab", name="Map").click()
    assert page.evaluate(UNNAMED) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(f"() => ({WIDER})() <= 0")


def picture(path: Path, size: tuple[int, int] = (40, 24)) -> Path:
    """An image file with a name that HTML could misread."""
    Image.linear_gradient("L").resize(size).convert("RGB").save(path)
    return path


def choose(page: Any, label: str, option: str) -> None:
    """Choose an option of a list, as by mouse."""
    page.get_by_label(label, exact=True).locator("visible=true").click()
    page.get_by_role("option", name=re.compile(option)).click()


def drop(page: Any, tab: str, file: Path, field: int = 0) -> None:
    """Give a file to a field of a tab."""
    panel = page.get_by_role("tabpanel").locator("visible=true").last
    panel.locator("input[type=file]").nth(field).set_input_files(file)
    has(page, "body", file.stem[:12])


def test_translate(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Translate").click()
    choose(page, "Model", "domains")
    page.get_by_role("button", name="Translate", exact=True).click()
    has(page, "body", "there is no image yet")
    drop(page, "Translate", picture(tmp_path / "field & <i>sky.png"))
    page.get_by_label("to the first domain").click()
    page.get_by_role("button", name="Translate", exact=True).click()
    has(page, "#result", "40x24 pixels; there and back at the training size")
    slider = page.get_by_label("Before and after")
    slider.press("Home")
    assert "--at: 100%" in page.locator(".comparison").get_attribute("style")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the result").click()
    download.value.save_as(tmp_path / "result.png")
    with Image.open(tmp_path / "result.png") as result:
        assert result.size == (40, 24)
    mark = provenance.read(tmp_path / "result.png")
    assert mark["generated"]
    assert mark["facts"]["recipe"] == "cyclegan"

    choose(page, "Model", "maps")
    page.get_by_label("label 1").check()
    page.get_by_role("button", name="Fill all").click()
    has(page, "#result", "32x32 pixels")
    given = "#result img[alt=before]"
    before = page.locator(given).get_attribute("src")
    page.get_by_label("label 0").check()
    page.locator("#paint canvas").click(position={"x": 40, "y": 60})
    before = changed(page, given, before)
    page.locator("#paint canvas").focus()
    for key in ("ArrowRight", "ArrowDown", "Space"):
        page.keyboard.press(key)
    changed(page, given, before)
    assert page.evaluate(UNNAMED) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(f"() => ({WIDER})() <= 0")


def test_translate_a_clip(page: Any, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (40, 24), (40 * i, 90, 30)) for i in range(5)]
    clip = tmp_path / "shades.gif"  # no word of the page: `drop` waits for it
    frames[0].save(clip, save_all=True, append_images=frames[1:], duration=80)
    page.get_by_role("tab", name="Translate").click()
    choose(page, "Model", "domains")
    drop(page, "Translate", clip)
    page.get_by_role("button", name="Translate", exact=True).click()
    has(page, "#result", "5 frames of 40x24 pixels")
    for name in ("before", "after"):
        source = page.locator(f"#result img[alt={name}]").get_attribute("src")
        assert source.startswith("data:image/gif;base64,")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the result").click()
    assert download.value.suggested_filename.startswith("shades.")


def test_verify(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Verify").click()
    drop(page, "Verify", picture(tmp_path / "photo <b>.png"))
    has(page, "#found .bad", "Unknown: neither a signature nor a mark")
    page.get_by_role("button", name="Clear").locator("visible=true").click()
    ours = encode.save(Image.new("L", (8, 8)), tmp_path / "ours.png", recipe="<img src=x>", seed=7)
    drop(page, "Verify", ours)
    has(page, "#found .good", "Signed with this user's key, and whole")
    has(page, "#found tr", "recipe<img src=x>")
    has(page, "#found tr", "seed7")
    page.get_by_role("button", name="Clear").locator("visible=true").click()
    data = bytearray(ours.read_bytes())
    data[-20] ^= 1
    (tmp_path / "forged.png").write_bytes(data)
    drop(page, "Verify", tmp_path / "forged.png")
    has(page, "#found .bad", "Changed since it was signed")
    assert page.evaluate(UNNAMED) == []


def test_data(page: Any, tmp_path: Path) -> None:
    folder = tmp_path / "photos & more, 2024"  # one folder, not two
    for name in ("sea", "land"):
        (folder / name).mkdir(parents=True)
        for i in range(3):
            picture(folder / name / f"{i}.png", (40 + i, 32))
    picture(folder / "sea" / "again.png", (40, 32))
    (folder / "land" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    page.get_by_role("tab", name="Data").click()
    page.get_by_placeholder("photos/").locator("visible=true").fill(str(folder))
    page.get_by_role("button", name="Check").click()
    has(page, "#report tr", "images7")
    has(page, "#report tr", "width40 to 42 pixels")
    has(page, "#report tr", "cannot be read1: ")
    has(page, "#report tr", "with the same pixels")
    has(page, "#report .bars tr", "sea4")
    has(page, "#report code", "ganvas train cyclegan")
    page.locator("#report img").wait_for()
    page.get_by_placeholder("photos/").locator("visible=true").fill("/no/such/folder")
    page.get_by_role("button", name="Check").click()
    has(page, "#report .bad", "/no/such/folder")
    assert page.evaluate(UNNAMED) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(f"() => ({WIDER})() <= 0")


def test_train(page: Any, runs: Path) -> None:
    page.get_by_role("tab", name="Train").click()
    start = page.get_by_role("button", name="Start", exact=True)
    start.click()
    has(page, "body", "name the data first")
    choose(page, "Recipe", "^dcgan_digits$")
    page.get_by_placeholder("photos/, letters").fill("digits")
    page.get_by_label("Name of the run").fill("../<i>")
    start.click()
    has(page, "body", "got '../<i>'")
    page.get_by_label("Name of the run").fill("digits-1")
    page.get_by_label("Size").fill("16")
    start.click()
    has(page, "#state", "images/s")
    has(page, "#curves", "Losses")
    page.get_by_role("button", name="Stop and save").click()
    has(page, "#state", "stopped; it can be continued")
    assert list((runs / "digits-1" / "checkpoints").iterdir())
    page.get_by_role("button", name="Continue").click()
    has(page, "#state", "images/s")
    choose(page, "Beside it", "letters")
    has(page, "#state", "letters (stylegan2_digits)")
    has(page, "#curves", "Only the distances of digits-1")
    assert page.evaluate(UNNAMED) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(f"() => ({WIDER})() <= 0")
    # It goes on until the studio ends, which saves it.


def answer(address: str, host: str) -> tuple[int, str]:
    """(status, Content-Security-Policy) of the page, asked for under a host's name."""
    request = urllib.request.Request(address, headers={"Host": host})
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.headers["Content-Security-Policy"]
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.headers["Content-Security-Policy"]


def test_only_this_machine_is_answered_and_asked(studio: str) -> None:
    port = urllib.parse.urlparse(studio).port
    for host in (f"127.0.0.1:{port}", "localhost"):
        status, policy = answer(studio, host)
        assert status == 200
        assert policy.startswith("default-src 'self' ")
        assert "http" not in policy
    assert answer(studio, "rebound.example")[0] == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://other.example"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://other.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_a_page_of_another_site_cannot_upload(
    studio: str, headers: dict[str, str], status: int
) -> None:
    files = {"files": ("a.png", b"x", "image/png")}
    response = httpx.post(f"{studio}gradio_api/upload", files=files, headers=headers, timeout=60)
    assert response.status_code == status, response.text


def test_sigterm_ends_a_studio_as_ctrl_c_does(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "ganvas", "studio", "runs", "--port", "0"],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        text=True,
    )
    assert process.stdout is not None
    assert "http://127.0.0.1:" in process.stdout.readline()
    assert list(tmp_path.glob("ganvas-studio-*"))
    process.terminate()
    process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    assert not list(tmp_path.glob("ganvas-studio-*"))


def test_a_studio_that_cannot_be_served_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="GANVAS_STUDIO_PASSWORD"):
        serve(tmp_path, host="0.0.0.0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="--port 0"):
            serve(tmp_path, port=taken.getsockname()[1])
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UserError, match=r"ganvas\[ui\]"):
        serve(tmp_path, port=0)
