"""`ganvas translate clip.mp4`: sync to the frame, audio, resuming, damage, folders."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from processes import Command

import ganvas
from ganvas.core.errors import DataError, UserError
from ganvas.inference import translate_video as module
from ganvas.inference.importers.as_method import import_model
from ganvas.inference.model import Model
from ganvas.inference.translate_video import seconds, translate_video
from ganvas.media.clip import Clip, Frame, Look, write_part
from ganvas.media.decode import decode
from ganvas.media.display import ONE, quarter_turns, turned
from ganvas.nets import super_resolution

FRAMES, BITS = 50, 6
BASE = Fraction(1, 90_000)
BT709 = (1, 1, 1, 1)


def numbered(i: int, width: int, height: int) -> np.ndarray:
    """A frame that shows its number in black and white bars below a color."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2] = 200, 40, 90
    for bit in range(BITS):
        left, right = (width * k // BITS for k in (bit, bit + 1))
        pixels[height // 2 :, left:right] = 235 if i >> bit & 1 else 20
    return pixels


def number(frame: np.ndarray) -> int:
    """The number that a frame shows."""
    parts = np.array_split(frame[-8:].mean((0, 2)), BITS)
    return sum((part.mean() > 128) << bit for bit, part in enumerate(parts))


def film(path: Path, audio: str = "aac", size: tuple[int, int] = (64, 48)) -> Path:
    """A clip of variable frame rate with sound, turned by 90 degrees, of BT.709."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        picture: Any = out.add_stream("h264", rate=25, options={"crf": "4", "g": "8"})
        picture.width, picture.height = size
        picture.pix_fmt = "yuv420p"
        coder = picture.codec_context
        coder.time_base = picture.time_base = BASE
        coder.color_range, coder.colorspace, coder.color_primaries, coder.color_trc = BT709
        coder.sample_aspect_ratio = Fraction(4, 3)
        picture.set_display_rotation(90)
        sound: Any = out.add_stream(audio, rate=44_100)
        sound.layout = "mono"
        pts = 0
        for i in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(numbered(i, *size), "rgb24").reformat(
                format="yuv420p", dst_colorspace=1, dst_color_range=1
            )
            frame.pts, frame.time_base = pts, BASE
            pts += int(random.integers(1500, 9000))
            out.mux(picture.encode(frame))
        out.mux(picture.encode())
        for start in range(0, math.ceil(pts * BASE * 44_100), 1024):
            wave = np.sin(np.arange(start, start + 1024) / 15)[None].astype(np.float32)
            kind = "fltp" if audio == "aac" else "s16"
            samples = wave if audio == "aac" else (wave * 30_000).astype(np.int16)
            tone = av.AudioFrame.from_ndarray(samples, kind, "mono")
            tone.sample_rate, tone.pts, tone.time_base = 44_100, start, Fraction(1, 44_100)
            out.mux(sound.encode(tone))
        out.mux(sound.encode())
    return path


def packets(path: Path) -> list[tuple[int, int | None, bytes]]:
    """The audio: times and bytes."""
    with av.open(str(path)) as file:
        return [(p.pts, p.duration, bytes(p)) for p in file.demux(audio=0) if p.pts is not None]


def seen(path: Path) -> tuple[Clip, dict[int, np.ndarray]]:
    """A clip, and its frames by their timestamps."""
    opened = Clip(path)
    frames = {f.pts: f.pixels for f in opened.frames()}
    opened.close()
    return opened, frames


def turns(path: Path) -> int:
    """By how many quarters the frames are turned counterclockwise to be seen."""
    with av.open(str(path)) as file:
        frame: Any = next(file.decode(video=0))
        return frame.rotation // 90


def numbers(frames: dict[int, np.ndarray]) -> list[int]:
    """The numbers that frames show, in their order."""
    return [number(frame) for frame in frames.values()]


@pytest.fixture(scope="module")
def enlarger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that repeats pixels: x2 and nothing else."""
    folder = tmp_path_factory.mktemp("net")
    net = super_resolution.CompactNet(3, 4, 1, 2, prelu=True)
    for weight in net.parameters():
        torch.nn.init.zeros_(weight)
    torch.save(net.state_dict(), folder / "net.pth")
    import_model(folder / "net.pth", folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("film") / "clip.mp4")


def test_a_clip_stays_in_sync_to_the_frame(
    enlarger: Path, clip: Path, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "big.mp4"
    done = command("translate", enlarger, clip, "--out", out)
    assert done.status == 0, done.err
    assert f"{FRAMES} frames in {out}" in done.out
    source, before = seen(clip)
    result, after = seen(out)
    assert list(after) == list(before)  # variable times, exactly
    assert numbers(after) == list(range(FRAMES))
    for frame, old in zip(after.values(), before.values(), strict=True):
        assert frame.shape == (96, 128, 3)
        assert np.abs(frame[::2, ::2].astype(int) - old).mean() < 3
    assert result.look.matrix == source.look.matrix is not None
    assert result.look.color == BT709
    assert result.look.aspect == Fraction(4, 3)
    assert packets(out) == packets(clip)
    assert ganvas.verify(out).state == "signed"
    assert [p.name for p in tmp_path.iterdir()] == ["big.mp4"]  # no parts are left
    again = command("translate", enlarger, clip, "--out", out)
    assert "exists already and was kept" in again.err
    other = command("translate", enlarger, clip, "--out", out, "--seed", 1)
    assert other.status == 1
    assert "is the result of another model, input or options" in other.err


def test_a_killed_call_goes_on_at_a_keyframe(
    enlarger: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    monkeypatch.setattr(module, "PART", 16)
    translate_video(enlarger, clip, whole, every=2)
    bands, calls = Model.bands, iter(range(10**6))

    def killed(self: Model, *args: Any, **how: Any) -> Any:
        if next(calls) == 21:
            raise KeyboardInterrupt
        return bands(self, *args, **how)

    monkeypatch.setattr(Model, "bands", killed)
    with pytest.raises(KeyboardInterrupt):
        translate_video(enlarger, clip, out, every=2)
    assert not out.exists()
    report = translate_video(enlarger, clip, out, every=2)
    assert (report.kept, report.frames) == (16, 9)
    one, other = seen(whole)[1], seen(out)[1]
    assert numbers(other) == list(range(0, FRAMES, 2))
    assert all(np.array_equal(one[k], other[k]) for k in one.keys() | other.keys())
    assert packets(out) == packets(clip)


def test_a_part_begins_at_its_first_frame(enlarger: Path, clip: Path, tmp_path: Path) -> None:
    _, before = seen(clip)
    times = [float(pts * BASE) for pts in before]
    out = tmp_path / "part.mp4"
    translate_video(enlarger, clip, out, start=times[10], end=times[20])
    _, after = seen(out)
    assert numbers(after) == list(range(10, 20))
    first = list(before)[10]
    assert list(after) == [pts - first for pts in list(before)[10:20]]
    sound = packets(out)
    kept = [p for p in packets(clip) if times[10] <= p[0] / 44_100 < times[20]]
    assert [p[2] for p in sound] == [p[2] for p in kept]
    shift = round(times[10] * 44_100)
    assert all(abs(a[0] + shift - b[0]) <= 2 for a, b in zip(sound, kept))


def test_a_broken_frame_costs_one_line(
    enlarger: Path, clip: Path, tmp_path: Path, command: Command
) -> None:
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as file:
        chosen = [p for p in file.demux(video=0) if p.pts is not None][20]
        place, size = chosen.pos, chosen.size
    assert place is not None
    data[place : place + size] = b"\xff" * size
    (tmp_path / "broken.mp4").write_bytes(data)
    done = command("translate", enlarger, tmp_path / "broken.mp4", "--out", tmp_path / "out.mp4")
    assert done.status == 0, done.err
    (note,) = [line for line in done.err.splitlines() if line.startswith("note: ")]
    assert "broken.mp4 damaged, the first at" in note
    _, before = seen(clip)
    _, after = seen(tmp_path / "out.mp4")
    assert set(after) < set(before)
    assert len(after) >= FRAMES - 8  # at most up to the next keyframe
    pairs = list(zip(before, range(FRAMES), strict=True))
    assert numbers(after)[-8:] == [i for pts, i in pairs if pts in after][-8:]
    assert packets(tmp_path / "out.mp4") == packets(clip)


def test_a_cut_file_keeps_what_it_has(enlarger: Path, tmp_path: Path) -> None:
    whole = film(tmp_path / "clip.mkv")
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    translate_video(enlarger, tmp_path / "cut.mkv", tmp_path / "cut.mp4")
    found = numbers(seen(tmp_path / "cut.mp4")[1])
    assert 5 < len(found) < FRAMES
    assert found == list(range(len(found)))


def test_folders_of_frames_out_and_in(
    enlarger: Path, clip: Path, tmp_path: Path, command: Command
) -> None:
    folder = tmp_path / "frames"
    assert command("translate", enlarger, clip, "--out", folder, "--every", 5).status == 0
    names = sorted(p.name for p in folder.iterdir())
    assert names == [*(f"{i:06d}.png" for i in range(10)), "clip.json", "timestamps.txt"]
    with Image.open(folder / "000003.png") as image:
        assert image.size == (96, 128)  # upright
        assert number(np.rot90(np.asarray(image), -turns(clip))) == 15
    (folder / "000004.png").unlink()
    again = command("translate", enlarger, clip, "--out", folder, "--every", 5)
    assert "1 frame in" in again.out
    assert "9 there already" in again.out
    other = command("translate", enlarger, clip, "--out", folder)
    assert other.status == 1
    assert "the result of another model, input or options" in other.err
    out = tmp_path / "back.mp4"
    (folder / "000006.png").write_bytes(b"no image")
    back = command("translate", enlarger, folder, "--out", out)
    assert back.status == 0, back.err
    assert "1 frame of" in back.err
    _, before = seen(clip)
    result, after = seen(out)
    assert (result.look.matrix, result.look.aspect) == (None, Fraction(3, 4))
    assert result.look.color == BT709
    expected = [pts for i, pts in enumerate(list(before)[::5]) if i != 6]
    assert list(after) == expected
    assert (
        command(
            *("translate", enlarger, folder, "--out", tmp_path / "steady.mp4", "--fps", 10)
        ).status
        == 0
    )
    steady, frames = seen(tmp_path / "steady.mp4")
    assert [float(pts * steady.look.time_base) for pts in frames] == pytest.approx(
        [i / 10 for i in range(10) if i != 6]
    )


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_frames_turn_as_ffmpeg_says(rotation: int, mirrored: bool) -> None:
    """The matrix of FFmpeg's av_display_rotation_set and av_display_matrix_flip."""
    radians = -math.radians(rotation)
    c, s = round(math.cos(radians)), round(math.sin(radians))
    flip = -1 if mirrored else 1
    matrix = [flip * c * ONE, -s * ONE, 0, flip * s * ONE, c * ONE, 0, 0, 0, ONE << 14]
    found = quarter_turns(matrix)
    assert found is not None
    pixels = np.arange(6).reshape(2, 3, 1)
    expected = np.rot90(pixels, -rotation // 90)  # clockwise
    assert np.array_equal(turned(pixels, found), expected[:, ::-1] if mirrored else expected)
    assert quarter_turns([ONE // 2, 0, 0, 0, ONE, 0, 0, 0, ONE << 14]) is None


def test_ten_bits_go_to_a_folder_and_back(enlarger: Path, tmp_path: Path) -> None:
    deep, folder = tmp_path / "deep.mp4", tmp_path / "frames"
    ramp = np.linspace(10_000, 12_000, 64).astype(np.uint16)
    frame = np.repeat(np.repeat(ramp[None, :, None], 48, 0), 3, 2)
    look = Look(BASE, Fraction(25), (1, 9, 9, 16), deep=True)
    write_part(deep, (Frame(3600 * i, 3600, frame) for i in range(3)), look, 4)
    translate_video(enlarger, deep, folder)
    pixels = decode(str(folder / "000001.png")).color
    assert pixels.dtype == np.uint16
    assert len(np.unique(pixels)) > 12, "8 bits have 8 levels there"
    translate_video(enlarger, folder, tmp_path / "back.mp4")
    result, frames = seen(tmp_path / "back.mp4")
    assert (result.look.deep, result.look.color) == (True, look.color)
    assert np.abs(frames[3600][::4, ::4].astype(int) - frame).max() < 300
    (folder / "clip.json").write_text('{"color": {"range": 99}}')
    with pytest.raises(DataError, match=r"clip\.json describes no clip: remove it"):
        translate_video(enlarger, folder, tmp_path / "other.mp4")


def test_audio_that_mp4_does_not_hold_and_odd_sides(enlarger: Path, tmp_path: Path) -> None:
    film(tmp_path / "clip.mkv", "tta")
    report = translate_video(enlarger, tmp_path / "clip.mkv", tmp_path / "out.mp4", every=25)
    assert report.notes == ["without the audio (tta), which MP4 does not hold"]
    folder = tmp_path / "odd"
    folder.mkdir()
    Image.new("L", (33, 21), 77).save(folder / "1.png")
    translate_video(enlarger, folder, tmp_path / "odd.mp4")
    (frame,) = seen(tmp_path / "odd.mp4")[1].values()
    assert frame.shape == (42, 66, 3)
    assert abs(frame.mean() - 77) < 2


def mistakes(folder: Path, clip: Path) -> Iterator[tuple[Path, str, dict[str, Any], str]]:
    (folder / "text.mp4").write_text("no video")
    with av.open(str(folder / "sound.mp4"), "w") as out:
        stream: Any = out.add_stream("aac", rate=44_100)
        stream.layout = "mono"
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        tone.sample_rate = 44_100
        out.mux(stream.encode(tone))
        out.mux(stream.encode())
    (folder / "empty").mkdir()
    (folder / "sizes").mkdir()
    Image.new("L", (32, 32)).save(folder / "sizes" / "1.png")
    Image.new("L", (32, 34)).save(folder / "sizes" / "2.png")
    (folder / "times").mkdir()
    Image.new("L", (32, 32)).save(folder / "times" / "1.png")
    (folder / "times" / "timestamps.txt").write_text("# timestamp format v2\n1\n0\n")
    yield folder / "none.mp4", "o.mp4", {}, "there is no file"
    yield folder / "text.mp4", "o.mp4", {}, "text.mp4 is no video that can be read"
    yield folder / "sound.mp4", "o.mp4", {}, "holds no video"
    yield folder / "empty", "o.mp4", {}, "there are no images"
    yield folder / "sizes", "o.mp4", {}, "2.png is 32x34; the frames before it are 32x32"
    yield folder / "times", "o.mp4", {}, "expected one rising number of milliseconds"
    yield clip, "o.mkv", {}, "videos are written as .mp4"
    yield clip, "o.mp4", {"every": 0}, "expected a number from 1"
    yield clip, "o.mp4", {"start": 3.0, "end": 2.0}, "a later one"
    yield clip, "o.mp4", {"start": 1e6}, "has no frame there"
    yield clip, "o.mp4", {"rate": 0.0}, "more than 0"


def test_mistakes_cost_one_line(enlarger: Path, clip: Path, tmp_path: Path) -> None:
    for source, out, how, message in mistakes(tmp_path, clip):
        with pytest.raises(UserError, match=message) as caught:
            translate_video(enlarger, source, tmp_path / out, **how)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / out).exists()
    before = clip.read_bytes()
    with pytest.raises(UserError, match="is the clip itself: choose another --out"):
        translate_video(enlarger, clip, clip)
    assert clip.read_bytes() == before
    assert (seconds("90"), seconds("1:30"), seconds("1:00:00.5")) == (90, 90, 3600.5)
    for text in ("x", "", "1:-3", "nan", "1e99"):
        with pytest.raises(UserError, match="expected seconds"):
            seconds(text)


def test_options_of_videos_need_one(enlarger: Path, clip: Path, tmp_path: Path, command: Command):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    ended = command("translate", enlarger, tmp_path / "a.png", "--out", tmp_path, "--every", 2)
    assert (ended.status, "--every is for videos" in ended.err) == (1, True)
    ended = command("translate", enlarger, clip, clip, "--out", tmp_path / "o.mp4")
    assert (ended.status, "a video is translated alone" in ended.err) == (1, True)
    assert issubclass(DataError, UserError)


def test_a_playlist_opens_no_other_file(enlarger: Path, clip: Path, tmp_path: Path) -> None:
    """Under the name of a video, too: FFmpeg tells formats by their contents."""
    named = tmp_path / "list.mp4"
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:9", "#EXTINF:9,", str(clip), "#EXT-X-ENDLIST", ""]
    named.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"list\.mp4"):
        translate_video(enlarger, named, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
