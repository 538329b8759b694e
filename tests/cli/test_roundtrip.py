"""`ganvas translate` with networks that change nothing, on files of forty kinds."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch import nn
from typer.testing import CliRunner

from ganvas.apps.cli import app
from ganvas.core import Shape
from ganvas.core.errors import UserError
from ganvas.core.files import open_atomic
from ganvas.inference import load
from ganvas.inference import translate_files as translate_module
from ganvas.inference.masks import Masks
from ganvas.inference.model import Model
from ganvas.inference.translate_files import translate_files
from ganvas.media import decode, generated, provenance
from ganvas.media.samples import Decoded
from ganvas.methods import CycleGAN, SRResNet
from ganvas.nets import patchgan

HEIGHT, WIDTH = 21, 34
RNG = np.random.default_rng(0)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY = SRGB[:16] + b"GRAY" + SRGB[20:]  # a profile's color space; nothing here looks further


class Same(nn.Module):
    """A 1x1 convolution that changes nothing."""

    def __init__(self, channels: int = 3, scale: int = 1) -> None:
        super().__init__()
        self.scale, self.multiple = scale, 1
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        nn.init.dirac_(self.conv.weight)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        return (
            nn.functional.interpolate(x, scale_factor=self.scale, mode="nearest")
            if self.scale > 1
            else x
        )


def identity(channels: int = 3, scale: int = 1, kind: str = "restores") -> Model:
    shape = Shape(channels, 16, 16)
    if kind == "restores":
        method: Any = SRResNet(shape, lambda **_: Same(channels, scale))
    else:
        method = CycleGAN(
            shape,
            lambda **_: Same(channels),
            partial(patchgan.PatchDiscriminator, width=4, layers=1),
        )
    return Model(method, {"shape": asdict(shape), "recipe": "same", "task": "domains"})


@pytest.fixture
def same(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the command translate with an identity."""

    def use(*args: Any, **kwargs: Any) -> None:
        model = identity(*args, **kwargs)
        for module in (load, translate_module):
            monkeypatch.setattr(module, "load", lambda *_, **__: model)

    use()
    return use


def noise(channels: int, kind: type = np.uint8) -> np.ndarray:
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    return RNG.integers(0, int(np.iinfo(kind).max) + 1, shape, dtype=kind)


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    """No pixel is fully transparent, since the color of such pixels is undefined."""
    pixels[..., -1] |= 1
    return pixels


def png16(samples: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A 16-bit PNG, which Pillow writes only for gray images."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    height, width, channels = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    parts = (b"IHDR", head), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*p) for p in parts)


def deep(channels: int) -> np.ndarray:
    return RNG.integers(1, 65536, (HEIGHT, WIDTH, channels), dtype=np.uint16)


def read16(file: Path) -> np.ndarray:
    """The samples of a 16-bit file written by ganvas, read without ganvas."""
    data, at, body, head = file.read_bytes(), 8, b"", (0,) * 7
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IHDR":
            head = struct.unpack(">IIBBBBB", data[at + 8 : at + 21])
        if kind == b"IDAT":
            body += data[at + 8 : at + 8 + length]
        at += 12 + length
    width, height, bits, color = head[:4]
    assert bits == 16
    channels = {0: 1, 4: 2, 2: 3, 6: 4}[color]
    lines = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + 2 * channels * width)
    above, out = np.zeros(2 * channels * width, np.uint8), []
    for line in lines:
        row, pixel = line[1:].copy(), 2 * channels
        if line[0] == 1:
            row = row.reshape(-1, pixel).cumsum(0, dtype=np.uint8).ravel()
        elif line[0] == 2:
            row += above
        above = row
        out.append(row.view(">u2").astype(np.uint16).reshape(width, channels))
    return np.stack(out)


def by_pillow(image: Image.Image, suffix: str, **options: Any) -> Callable[[Path], None]:
    return lambda path: image.save(path, {".apng": "PNG"}.get(suffix), **options)


def raw(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


def _palette(transparent: bool) -> Image.Image:
    image = Image.frombytes("P", (WIDTH, HEIGHT), (noise(1) % 16).tobytes())
    image.putpalette(RNG.integers(0, 256, 48).tolist())
    if transparent:
        image.info["transparency"] = bytes([128, 200, *[255] * 14])
    return image


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def kinds() -> dict[str, tuple[str, Callable[[Path], None]]]:
    """name -> (suffix, function that writes such a file)."""
    photo = Image.fromarray(noise(3))
    clear = Image.fromarray(with_alpha(noise(4)))
    gray = Image.fromarray(noise(1))
    la = Image.merge("LA", [gray, Image.fromarray(noise(1) | 1)])
    sixteen = Image.fromarray(deep(1)[..., 0])
    found = {
        "1": (".png", by_pillow(gray.convert("1"), ".png")),
        "L": (".png", by_pillow(gray, ".png")),
        "L, profile": (".png", by_pillow(gray, ".png", icc_profile=GRAY)),
        "LA": (".png", by_pillow(la, ".png")),
        "L, tRNS": (".png", by_pillow(gray, ".png", transparency=int(np.asarray(gray)[3, 4]))),
        "P": (".png", by_pillow(_palette(False), ".png")),
        "P, transparent": (".png", by_pillow(_palette(True), ".png")),
        "RGB": (".png", by_pillow(photo, ".png")),
        "RGB, profile": (".png", by_pillow(photo, ".png", icc_profile=SRGB)),
        "RGB, tRNS": (
            ".png",
            by_pillow(photo, ".png", transparency=tuple(np.asarray(photo)[2, 2].tolist())),
        ),
        "RGBA": (".png", by_pillow(clear, ".png")),
        "RGBA, profile": (".png", by_pillow(clear, ".png", icc_profile=SRGB)),
        "gray 16 PNG": (".png", by_pillow(sixteen, ".png")),
        "gray 16 PNG, tRNS": (".png", raw(png16(deep(1) % 99, (b"tRNS", struct.pack(">H", 5))))),
        "gray 16 TIFF": (".tif", by_pillow(sixteen, ".tif")),
        "gray 16 TIFF, profile": (".tif", by_pillow(sixteen, ".tif", icc_profile=GRAY)),
        "I": (".tif", by_pillow(sixteen.convert("I"), ".tif")),
        "F": (
            ".tif",
            by_pillow(Image.fromarray((deep(1)[..., 0] / 65535).astype(np.float32)), ".tif"),
        ),
        "gray and alpha 16": (".png", raw(png16(deep(2)))),
        "RGB 16": (".png", raw(png16(deep(3)))),
        "RGB 16, profile": (".png", raw(png16(deep(3), (b"iCCP", b"x\0\0" + zlib.compress(SRGB))))),
        "RGB 16, tRNS": (
            ".png",
            raw(png16(deep(3) // 60000, (b"tRNS", struct.pack(">HHH", 1, 1, 0)))),
        ),
        "RGBA 16": (".png", raw(png16(deep(4)))),
        "CMYK JPEG": (".jpg", by_pillow(photo.convert("CMYK"), ".jpg")),
        "CMYK TIFF": (".tif", by_pillow(photo.convert("CMYK"), ".tif")),
        "YCbCr": (".tif", by_pillow(photo.convert("YCbCr"), ".tif", compression="tiff_lzw")),
        "JPEG": (".jpg", by_pillow(photo, ".jpg", icc_profile=SRGB)),
        "JPEG, gray": (".jpeg", by_pillow(gray, ".jpeg")),
        "WebP": (".webp", by_pillow(photo, ".webp", icc_profile=SRGB)),
        "WebP, alpha": (".webp", by_pillow(clear, ".webp", lossless=True, exact=True)),
        "TIFF": (".tif", by_pillow(photo, ".tif", compression="tiff_lzw", icc_profile=SRGB)),
        "TIFF, alpha": (".tiff", by_pillow(clear, ".tiff")),
        "BMP": (".bmp", by_pillow(photo, ".bmp")),
        "GIF": (".gif", by_pillow(_palette(False), ".gif")),
        "PPM": (".ppm", by_pillow(photo, ".ppm")),
        "PGM": (".pgm", by_pillow(gray, ".pgm")),
        "TGA": (".tga", by_pillow(clear, ".tga")),
    }
    for orientation in range(1, 9):
        ending = (".jpg", ".png", ".tif")[orientation % 3]
        found[f"orientation {orientation}"] = (
            ending,
            by_pillow(photo, ending, exif=_turned(orientation)),
        )
    deep_turned = png16(deep(3), (b"eXIf", _turned(6).tobytes()[6:]))
    found["RGB 16, orientation 6"] = (".png", raw(deep_turned))
    if ".avif" in Image.registered_extensions():
        found["AVIF"] = (".avif", by_pillow(photo, ".avif", icc_profile=SRGB))
    return found


KINDS = kinds()


def in_floats(image: Decoded) -> np.ndarray:
    return image.samples() / image.white


@pytest.mark.parametrize("name", KINDS)
def test_an_identity_changes_nothing(name: str, same: Callable[..., None], tmp_path: Path) -> None:
    """Whole, in tiles and by a mask, as PNG and as TIFF: size, colors, alpha, depth and profile."""
    ending, write = KINDS[name]
    file = tmp_path / f"x{ending}"
    write(file)
    image = decode.decode(str(file))
    with Image.open(file) as opened:
        plain = decode.read(opened) if image.white == 255 else None
        assert opened.info.get("icc_profile") in (image.profile, None)
    if plain is not None:
        mode = {1: "L", 2: "RGBA", 3: "RGB", 4: "RGBA"}[image.samples().shape[2]]
        assert plain.mode == mode
        assert np.array_equal(
            np.asarray(plain.convert("RGBA")), np.asarray(as_rgba(image.samples()))
        )
    mask = np.zeros((image.height, image.width), np.uint8)
    mask[3:9, 2:11] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    # where nothing is visible the color may be another, unless a mask protects it
    visible = np.ones_like(mask, bool) if image.alpha is None else image.alpha > 0
    ways: dict[str, dict[str, Any]] = {
        "whole": {},
        "tiled": {"tile": 16},
        "masked": {"masks": Masks(tmp_path / "mask.png")},
    }
    for way, how in ways.items():
        for format in ("png", "tif"):
            report = translate_files(Path("m"), [file], tmp_path / way, **how, format=format)
            assert (report.made, report.skipped, report.notes) == (1, [], [])
            target = tmp_path / way / f"x.{format}"
            made = decode.decode(str(target))
            same_color = (made.color == image.color).all(2)
            assert same_color[visible].all()
            assert same_color[mask == 0].all() or way != "masked"
            assert np.array_equal(made.samples()[..., -1], image.samples()[..., -1])
            assert made.color.dtype == image.color.dtype
            assert made.profile == image.profile
            assert provenance.read(target)["generated"]
            if image.white == 65535 and format == "png":
                assert np.array_equal(read16(target), made.samples())
            with Image.open(target) as opened:
                opened.load()
                assert opened.size == (image.width, image.height)
                assert opened.info.get("icc_profile") == image.profile


def as_rgba(samples: np.ndarray) -> Image.Image:
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples).convert("RGBA")


@pytest.mark.parametrize("name", [k for k in KINDS if "16" not in k])
def test_python_reads_images_as_files(name: str, tmp_path: Path) -> None:
    """A path and the PIL image of the same file give the same marked result."""
    ending, write = KINDS[name]
    write(tmp_path / f"x{ending}")
    model = identity()
    of_path = model.translate(tmp_path / f"x{ending}", output="numpy")
    with Image.open(tmp_path / f"x{ending}") as image:
        assert np.array_equal(model.translate(image, output="numpy"), of_path)
        image.load()
        made = model.translate([image])[0]
    made.save(tmp_path / "made.png")
    assert provenance.read(tmp_path / "made.png")["generated"]
    back = decode.decode(str(tmp_path / "made.png"))
    assert np.array_equal(back.samples(), of_path)
    assert back.profile == decode.decode(str(tmp_path / f"x{ending}")).profile


def test_python_keeps_sixteen_bits_of_color(tmp_path: Path) -> None:
    samples = deep(4)
    (tmp_path / "x.png").write_bytes(png16(samples))
    made = identity().translate(tmp_path / "x.png")
    made.save(tmp_path / "deep.png")
    assert np.array_equal(read16(tmp_path / "deep.png"), samples)
    made.save(tmp_path / "deep.tif")
    assert np.array_equal(decode.decode(str(tmp_path / "deep.tif")).samples(), samples)
    made.putpixel((0, 0), (1, 2, 3, 4))
    made.save(tmp_path / "changed.png")
    with Image.open(tmp_path / "changed.png") as image:
        assert image.getpixel((0, 0)) == (1, 2, 3, 4), "what was changed since is what is saved"


@pytest.mark.parametrize(("format", "bits"), [("jpg", 8), ("webp", 8), ("png", 16), ("tif", 16)])
def test_properties_that_a_format_lacks_are_reported(
    format: str, bits: int, same: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(np.full((12, 9, 4), (200, 100, 50, 0), np.uint8)).save(
        folder / "clear.png", icc_profile=SRGB
    )
    Image.fromarray(np.full((12, 9, 3), 77, np.uint8)).save(folder / "solid.png")
    (folder / "deep.png").write_bytes(png16(deep(3)))
    report = translate_files(Path("m"), [folder], tmp_path / "out", format=format)
    assert report.made == 3
    lost = [n for n in report.notes if "alpha" in n], [n for n in report.notes if "16 bits" in n]
    assert [len(n) for n in lost] == [int(format == "jpg"), int(bits == 8)]
    with Image.open(tmp_path / "out" / f"clear.{format}") as image:
        assert image.info["icc_profile"] == SRGB
        assert provenance.read(tmp_path / "out" / f"clear.{format}")["generated"]
        if format == "jpg":
            assert np.asarray(image).min() > 250, "alpha is laid over white"
        else:
            assert image.mode == "RGBA"
            assert not np.asarray(image)[..., 3].any()
    made = decode.decode(str(tmp_path / "out" / f"deep.{format}"))
    assert made.color.itemsize * 8 == bits


def test_quality_is_for_lossy_formats(same: Any, tmp_path: Path) -> None:
    Image.fromarray(noise(3)).save(tmp_path / "x.png")
    sizes = []
    for quality in (10, 95):
        translate_files(
            Path("m"), [tmp_path / "x.png"], tmp_path / str(quality), format="jpg", quality=quality
        )
        sizes.append((tmp_path / str(quality) / "x.jpg").stat().st_size)
    assert sizes[0] < sizes[1]
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"format": "bmp"}, "is unknown"),
        ({"quality": 90}, "for the formats jpg"),
        ({"quality": 0}, "1 to 100"),
    ]
    for wrong, what in wrongs:
        with pytest.raises(UserError, match=what):
            translate_files(Path("m"), [tmp_path / "x.png"], tmp_path / "out", **wrong)


def test_gray_stays_gray_where_a_model_restores(tmp_path: Path) -> None:
    """Alpha is enlarged with the image. Another domain may give color to a gray image."""
    gray, la = tmp_path / "gray.png", tmp_path / "la.png"
    Image.fromarray(noise(1)).save(gray)
    Image.merge("LA", [Image.fromarray(noise(1)), Image.new("L", (WIDTH, HEIGHT), 255)]).save(la)
    for model, times, modes in (
        (identity(), 1, ("L", "LA")),
        (identity(scale=2), 2, ("L", "LA")),
        (identity(kind="translates"), 1, ("RGB", "RGBA")),
        (identity(channels=1), 1, ("L", "LA")),
        (identity(channels=4), 1, ("RGBA", "RGBA")),
    ):
        for file, mode in zip((gray, la), modes, strict=True):
            made = model.translate(file)
            assert (made.mode, made.size) == (mode, (WIDTH * times, HEIGHT * times))
    assert (np.asarray(identity(scale=2).translate(la))[..., 1] == 255).all()
    model = identity(channels=1)
    Image.fromarray(noise(3)).save(tmp_path / "color.png", icc_profile=SRGB)
    assert "ICC profile" in model.bands(tmp_path / "color.png").lost[0]


@pytest.mark.parametrize("tile", [None, 16])
def test_no_seam_of_hidden_color_where_alpha_changes(tile: int | None, tmp_path: Path) -> None:
    """The black under the transparent half of a white image must not reach the network."""
    pixels = np.zeros((40, 64, 4), np.uint8)
    pixels[:, 32:] = 255
    Image.fromarray(pixels).save(tmp_path / "icon.png")
    model = identity(scale=2)
    net: Any = model.method
    blur = nn.Conv2d(3, 3, 5, padding=2, padding_mode="replicate", bias=False, groups=3)
    nn.init.constant_(blur.weight, 1 / 25)
    name = next(n for n, _ in net.named_children())
    setattr(net, name, nn.Sequential(blur, getattr(net, name)))
    made = np.asarray(model.translate(tmp_path / "icon.png", tile=tile))
    assert made.shape == (80, 128, 4)
    assert (made[..., :3][made[..., 3] > 0] == 255).all()
    assert (made[:, :60, 3] == 0).all()
    assert (made[:, 68:, 3] == 255).all()


def test_at_training_size(tmp_path: Path) -> None:
    """The network gets its training size; the result has the image's size and alpha."""
    x, y = np.meshgrid(np.linspace(0, 255, 96), np.linspace(0, 255, 64))
    pixels = np.stack([x, y, 255 - x, 255 - y], 2).astype(np.uint8)
    Image.fromarray(with_alpha(pixels)).save(tmp_path / "x.png")
    model = identity(kind="translates")
    seen = []
    hook: Any = model.method
    hook.G_ab.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    made = np.asarray(model.translate(tmp_path / "x.png", at_training_size=True))
    assert seen == [(1, 3, 16, 24)]
    assert made.shape == (64, 96, 4)
    assert np.array_equal(made[..., 3], pixels[..., 3])
    assert np.abs(made[..., :3].astype(int) - pixels[..., :3]).mean() < 3
    with pytest.raises(UserError, match="upscales"):
        identity(scale=2).translate(tmp_path / "x.png", at_training_size=True)


def test_a_larger_image_than_those_of_training_is_noted(
    same: Callable[..., None], tmp_path: Path
) -> None:
    Image.fromarray(noise(3)).resize((99, 80)).save(tmp_path / "x.png")
    same(kind="translates")
    (note,) = translate_files(Path("m"), [tmp_path / "x.png"], tmp_path / "a").notes
    assert "16x16" in note
    assert "--at-training-size" in note
    report = translate_files(Path("m"), [tmp_path / "x.png"], tmp_path / "b", at_training_size=True)
    assert (report.made, report.notes) == (1, [])


def test_frames_that_are_left_out_are_noted(same: Any, tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(3)) for _ in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.png", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "c.tif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "d.png")
    files = sorted(tmp_path.iterdir())
    report = translate_files(Path("m"), files, tmp_path / "out")
    assert report.made == 4
    assert report.notes == ["3 images came out without all frames but the first"]


def test_names(same: Any, tmp_path: Path) -> None:
    """Results are no inputs, names with other endings stay apart, names may be long."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "a.jpg", f"{'n' * 251}.png"):
        Image.fromarray(noise(3)).save(folder / name)
    for made, kept in ((3, 0), (0, 3)):
        report = translate_files(Path("m"), [folder], folder / "made")
        assert (report.made, report.kept, report.skipped) == (made, kept, [])
    assert sorted(p.name for p in (folder / "made").iterdir()) == [
        "a.jpg.png",
        "a.png.png",
        f"{'n' * 251}.png",
    ]
    with pytest.raises(UserError, match="choose another --out"):
        translate_files(Path("m"), [folder], folder)
    report = translate_files(Path("m"), list(folder.glob("*.*")), tmp_path / "webp", format="webp")
    assert report.made == 2
    assert "name is too long" in report.skipped[0]


@pytest.mark.parametrize("size", [(1, 1), (53, 1), (2, 37), (5, 5)])
def test_images_of_few_pixels(size: tuple[int, int]) -> None:
    from ganvas.nets import image_to_image

    shape = Shape(3, 16, 16)
    method = CycleGAN(
        shape,
        lambda **_: image_to_image.ResNetGenerator(width=2, blocks=1),
        partial(patchgan.PatchDiscriminator, width=4, layers=1),
    )
    model = Model(method, {"shape": asdict(shape)})
    assert model.translate(Image.new("RGB", size)).size == size
    assert model.translate(Image.new("RGB", size), tile=16).size == size


def test_more_pixels_than_memory_has_room_for(
    same: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(noise(3)).save(tmp_path / "a.png")
    Image.fromarray(noise(3)[:4, :4].copy()).save(tmp_path / "b.png")
    monkeypatch.setattr(decode, "available", lambda: 16 * 100)
    report = translate_files(Path("m"), [tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out")
    assert report.made == 1
    assert "memory has room for" in report.skipped[0]


def test_a_file_that_cannot_be_written_ends_the_call(same: Any, tmp_path: Path) -> None:
    files = []
    for name in "abc":
        files.append(tmp_path / f"{name}.png")
        Image.fromarray(noise(3)).save(files[-1])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used for the results"):
        translate_files(Path("m"), files, tmp_path / "file" / "out")
    (tmp_path / "out").mkdir()
    seen = []
    original = open_atomic

    def full(path: Path) -> Any:
        seen.append(path)
        return original(tmp_path / "file" / "x.png")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ganvas.media.encode.open_atomic", full)
        with pytest.raises(UserError, match="could not be written"):
            translate_files(Path("m"), files, tmp_path / "out")
    assert len(seen) == 1, "the second is not tried"


def test_skipped_images_are_a_failure(same: Any, tmp_path: Path) -> None:
    Image.fromarray(noise(3)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    for files, status, said in (
        (["a.png"], 0, "1 image in"),
        (["b.png"], 1, "0 images in"),
        (["a.png", "b.png"], 1, "there already"),
    ):
        arguments = [
            "translate",
            "m",
            *(str(tmp_path / f) for f in files),
            "--out",
            str(tmp_path / "out"),
        ]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == status
        assert said in done.output


def test_marks_of_python_images(tmp_path: Path) -> None:
    """Marked however PIL saves the image: by name, by format, into a buffer."""
    image = generated.generated(noise(3), seed=7)
    assert isinstance(image, Image.Image)
    for i, made in enumerate(
        (
            image,
            image.crop((0, 0, 5, 5)),
            image.resize((9, 9)),
            image.convert("L"),
            image.copy(),
            image.rotate(30),
        )
    ):
        for suffix in (".png", ".jpg", ".webp", ".tif"):
            made.save(tmp_path / f"{i}{suffix}")
            found = provenance.read(tmp_path / f"{i}{suffix}")
            assert found["generated"]
            assert found["facts"] == {"seed": 7}
    with (tmp_path / "x").open("wb") as file:
        image.save(file, "PNG", icc_profile=SRGB)
    assert provenance.read(tmp_path / "x")["generated"]
    with Image.open(tmp_path / "x") as opened:
        assert opened.info["icc_profile"] == SRGB
    image.save(tmp_path / "x.bmp")
    image.save(tmp_path / "x.gif")
    assert torch.from_numpy(np.array(image)).shape == (HEIGHT, WIDTH, 3)
