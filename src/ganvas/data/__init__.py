"""Load image data sets as batches of tensors in [-1, 1].

`images`, `pairs`, `label_maps`, `domains`, `super_resolution` and `derived` open a
folder, a zip file, MNIST's idx, an .npz, `digits` (comes with scikit-learn) or an
official set by name, and return a `Feed`; `stacks` opens images of up to 16 channels
and 16 bits. Images are decoded once, into a cache, and those in shards
(`ganvas data pack`) whenever they are drawn; crops and flips happen when a batch is
drawn, which is a pure function of a cursor.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from ganvas.core.errors import UserError
from ganvas.core.sizes import sides_of
from ganvas.data.check import Report, check
from ganvas.data.degradations import KINDS, reduced
from ganvas.data.downloads import cache_dir
from ganvas.data.feed import Feed
from ganvas.data.found import feed_of
from ganvas.data.info import Info
from ganvas.data.label_maps import LabelMaps, have_ids, palette_of, parse_palette, with_labels
from ganvas.data.layouts import find_domains, find_images, find_pairs
from ganvas.data.measured import as_measured
from ganvas.data.open_source import Source, source_title, two_paths
from ganvas.data.pictures import Part, checked_white
from ganvas.data.prefetch import Prefetch
from ganvas.data.real_degradation import Degradation, require_eight_bits
from ganvas.data.reductions import BesideReduction, find_reductions
from ganvas.data.stacked import stacks
from ganvas.data.tiles import Tiles
from ganvas.media.values import Span

__all__ = [
    "Feed",
    "Info",
    "Prefetch",
    "Report",
    "cache_dir",
    "check",
    "derived",
    "domains",
    "images",
    "label_maps",
    "pairs",
    "stacks",
    "super_resolution",
]

Size = int | tuple[int, int]


def images(
    source: str | os.PathLike[str],
    *,
    size: Size | None = None,
    channels: int | None = None,
    flip: bool = False,
    labels: bool = True,
    strict: bool = False,
    part: Part = "train",
    white: int | None = None,
    window: Span | None = None,
    labeled: float = 1.0,
    label_seed: int = 0,
) -> Feed:
    """Open one set of images.

    Class folders (or the set's own labels, or two paths, "PATH_A,PATH_B") become `y`.
    Batches hold `x` [n, C, H, W] and `y` [n].

    size: a side in pixels, or (height, width). Images are scaled (bicubic, antialiased)
        to cover it and cropped to their center; None: their own size, if all are equal
    channels: 1, 3 or 4; None: 1 if all are gray, 4 if more than half have alpha, else 3
    flip: mirror half of the draws
    labels: False: no `y`
    strict: raise for an unreadable or enlarged image, which is otherwise skipped or
        noted
    part: "test" opens the set's test or validation part, if it has one
    white: the value that becomes 255, the same for all images (4095 for 12 bits), in
        gray image files of more than 8 bits and in arrays of such integers; None:
        65535. Color files of 16 bits are read in 8 bits, whatever `white` is
    window: measurements, not photographs: 1 to 16 channels and all bits of TIFF files
        (extra `science`; every page is an image), PNG files and arrays are kept. (low,
        high) are the values that become black and white, for all images; "type": the
        range of 8 or 16 bits, or of the bits that the files declare
    labeled: share of the images, above 0 to 1, that have a label when they are drawn
        for training; the labels of others are hidden, in each class alike. The label
        is then -1, as in a folder "unlabeled" beside the class folders
    label_seed: decides which; the images of a smaller share are among those of a larger

    Raises `UserError` for a source that is missing, empty or unreadable, for images of
    different sizes without `size`, and for a share without labels.
    """
    if not 0 < labeled <= 1:
        raise UserError(
            f"got labeled={labeled}; expected the share of images with a label, above 0 to 1 "
            "(0.1: a tenth). Without any labels: labels=False"
        )
    found = find_images(source, part, labels=labels, white=checked_white(white))
    found, values = as_measured(found, window, white=white, channels=channels)
    feed = feed_of(
        *("images", found, sides_of(size), None, channels, flip, strict, labels),
        white=white,
        values=values,
    )
    if labeled < 1:
        feed.keep_labels(labeled, label_seed)
    return feed


def pairs(
    source: Source,
    *,
    size: Size = 256,
    load: Size | None = None,
    direction: Literal["a2b", "b2a"] = "a2b",
    flip: bool = True,
    strict: bool = False,
    part: Part = "train",
    channels: int | None = None,
    white: int | None = None,
    window: Span | None = None,
) -> Feed:
    """Open pairs of images.

    Pairs are A/ and B/ (trainA/ and trainB/, train/A, A/train, or two paths) matched by
    stem, or A|B halves of one image. Batches hold the input as `a` and `x` and the
    target as `b` and `y`, [n, C, H, W].

    load: size that images are scaled to before a random crop of `size` (pix2pix: 286
        and 256); None: no random crop. Both images of a pair get the same crop and flip
    direction: "b2a" makes B the input
    size, flip, strict, part, channels, white, window: see `images`

    Raises `UserError` that names the images without a partner and the pairs of
    different shapes.
    """
    found = find_pairs(source, part, white=checked_white(white))
    found, values = as_measured(found, window, white=white, channels=channels)
    return feed_of(
        "pairs",
        found,
        sides_of(size),
        sides_of(load),
        channels,
        flip,
        strict,
        False,
        direction,
        white,
        values,
    )


def label_maps(
    source: Source,
    *,
    size: Size = 256,
    load: Size | None = None,
    palette: str | Sequence[str] | None = None,
    ids: bool | None = None,
    instances: bool = False,
    direction: Literal["a2b", "b2a"] = "a2b",
    flip: bool = True,
    strict: bool = False,
    part: Part = "train",
    white: int | None = None,
) -> Feed:
    """Open pairs of a label map and an image.

    A label map is an image in which every color is a label (for gray files, every
    gray), or every number: an integer of 16 bits, or an index of a palette. Batches
    hold it as `a` and `x`, and the image as `b` and `y`, [n, 3, H, W].

    palette: "facades", "cityscapes", "voc", or colors ("#0030ff,#ff0000"), to the
        nearest of which every pixel is set; None: those that there are, at most 256
    ids: whether numbers are the labels; None: without `palette`, if there are numbers
        that colors do not tell apart (16 bits, or two indices of one color)
    instances: keep the shades of the palette's colors, which are instances of labels
        (`ganvas data instances` writes such maps)
    direction: "b2a": B is the label map
    size, load, flip, strict, part, white: see `pairs`

    Raises `UserError` for label maps that were saved with loss, without a palette.
    """
    found = find_pairs(source, part, white=checked_white(white))
    colors = parse_palette(palette) if palette is not None else None
    if instances and colors is None:
        raise UserError(
            "instances are shades of the labels' colors, so that these must be named: --set "
            "data.palette=facades, or --set 'data.palette=#000000,#ff0000'"
        )
    side = "a" if direction == "a2b" else "b"
    target = sides_of(load or size)
    assert target is not None
    snapped = None if instances else colors
    if ids is None:
        ids = colors is None and have_ids(found.sets[side])
    sets = {**found.sets, side: LabelMaps(found.sets[side], target, snapped, ids)}
    labeled = replace(found, sets=sets)
    feed = feed_of(
        "pairs", labeled, sides_of(size), sides_of(load), 3, flip, strict, False, direction, white
    )
    maps = feed.raw()["a"]  # the input in both directions
    shares = palette_of(maps, found.title, colors if instances else None, ids)
    colors = tuple(shares) if colors is None else colors
    feed.info = with_labels(feed.info, {c: shares.get(c, 0.0) for c in colors}, ids)
    return feed


def domains(
    source: Source,
    *,
    size: Size = 256,
    load: Size | None = None,
    flip: bool = True,
    strict: bool = False,
    part: Part = "train",
    channels: int | None = None,
    white: int | None = None,
    window: Span | None = None,
) -> Feed:
    """Open two sets of images that are not paired.

    The sets are the folders of `pairs`, any two class folders (in alphabetical order),
    or two paths, also as "PATH_A,PATH_B". Batches hold `a` and `b`, [n, C, H, W]. Each
    set is shuffled by itself, so that all images of both are drawn if their lengths
    differ.

    load: see `pairs` (CycleGAN: 286 and 256)
    size, flip, strict, part, channels, white, window: see `images`
    """
    found = find_domains(source, part, white=checked_white(white))
    found, values = as_measured(found, window, white=white, channels=channels)
    return feed_of(
        *("domains", found, sides_of(size), sides_of(load), channels, flip, strict, False),
        white=white,
        values=values,
    )


def super_resolution(
    source: Source,
    *,
    size: Size = 96,
    scale: int = 4,
    load: Size | None = None,
    flip: bool = True,
    turn: bool = False,
    strict: bool = False,
    part: Part = "train",
    channels: int | None = None,
    white: int | None = None,
    window: Span | None = None,
    degrade: Degradation | None = None,
) -> Feed:
    """Open images and their reductions by `scale`, at the images' own resolution.

    Batches hold random crops of `size` as the target `b` and `y`, [n, C, H, W], and
    their reductions as the input `a` and `x`, [n, C, H / scale, W / scale]. The
    reductions are bicubic, as MATLAB's, and rounded to 8 bits (with `window`, to the
    steps of its integers); those of two paths, "LOW,HIGH", are the images of the
    first, matched by name.

    scale: upscaling factor. 1: images of the same size, for restoration with `degrade`
        or two paths; without these, the input is the target itself
    load: size of the tiles that images are cut into, from which crops are taken;
        smaller images are skipped and named. Tiles for training overlap by the crop's
        size less one, so that crops lie anywhere in an image, at every place equally
        often; larger tiles take less room in the cache. None: as large as all images of
        at least 4/3 of `size` hold, at most twice `size`. Tiles of the test part are of
        4/3 of `size` and overlap as little as possible
    turn: turn crops, which must be square, by 0 to 3 quarters, equally often
    degrade: blur, noise and compression besides: a `RealDegradation` ("real" in
        settings), or a `Chain`, a list of steps; None: clean reductions
    size, flip, strict, part, channels, white, window: see `images`

    Raises `UserError` if `size` is not a multiple of `scale`, and for images of two
    paths that do not form such pairs.
    """
    height, width = sides_of(size) or (0, 0)
    exist = two_paths(source) is not None
    if scale < 1 or height % scale or width % scale:
        raise UserError(
            f"the size {height}x{width} must be a multiple of the scale {scale}, which is 1 or more"
        )
    if turn and height != width:
        raise UserError(
            f"turn=true turns crops by quarters, but those of {height}x{width} (height x width) "
            "are not square: give a square --size, or --set data.turn=false"
        )
    if exist and degrade is not None:
        raise UserError(
            f"{source_title(source)} has reductions as files, and degrade makes others: give one "
            "path, or --set data.degrade=null"
        )
    white = checked_white(white)
    if exist:
        found, values = find_reductions(source, part, scale, white, window, channels)
    else:
        found = find_images(source, part, labels=False, white=white)
        found, values = as_measured(found, window, white=white, channels=channels)
    if degrade is not None:
        require_eight_bits(values)
    # With reductions as files, tiles are laid over these.
    images, step = found.sets["a" if exist else "x"], scale if exist else 1
    crop, least = (height // step, width // step), (height * 4 // 3 // step, width * 4 // 3 // step)
    stored = sides_of(load)
    if stored and (stored[0] % step or stored[1] % step):
        raise UserError(f"load={load} must be a multiple of the scale {scale}")
    stored = (stored[0] // step, stored[1] // step) if stored else None
    tiles = (
        Tiles(images, stored or least)
        if part == "test"
        else Tiles.overlapping(images, crop, least, stored)
    )
    if tiles.small and not tiles.covered:
        needed = stored or least
        raise UserError(
            f"all images of {found.title} are smaller than {needed[0] * step}x{needed[1] * step} "
            f"(height x width), from which crops of {height}x{width} are taken: give larger "
            "images, or a smaller size (--size)"
        )
    x = BesideReduction(tiles, found.sets["b"], scale) if exist else tiles
    tiled, size = replace(found, sets={"x": x}), (height, width)
    feed = feed_of(
        *("pairs", tiled, size, x.size, channels, flip, strict, False), white=white, values=values
    )
    feed.turn = turn
    if exist:
        feed.split_reductions(scale)
        return feed
    steps = 255 if values is None else values.steps
    feed.scale, feed.derive = scale, partial(reduced, scale=scale, steps=steps)
    if degrade is not None:
        feed.degrade = partial(degrade, scale=scale)
    elif scale == 1:
        note = (
            "with a scale of 1 and nothing that degrades the images, inputs are the targets "
            "themselves: give --set data.degrade=real, or real pairs as LOW,HIGH"
        )
        feed.info = replace(feed.info, notes=(*feed.info.notes, note))
    return feed


def derived(
    source: str | os.PathLike[str],
    *,
    kind: Literal["gray", "luma", "edges", "same"],
    size: Size = 256,
    load: Size | None = None,
    flip: bool = True,
    strict: bool = False,
    part: Part = "train",
    channels: int | None = 3,
    white: int | None = None,
    window: Span | None = None,
) -> Feed:
    """Open photographs and images derived from them.

    Batches hold the photographs as the target `b` and `y`, and the derived images as
    the input `a` and `x`, [n, C, H, W].

    kind: "gray" removes the chroma and keeps the lightness L*, "luma" keeps the luma of
        BT.601, "edges" leaves dark lines on white, "same" changes nothing
        (autoencoders)
    load: see `pairs`
    channels: see `images`; with `window`, the default of 3 stands for the images' own
    window: with kind "same" only, since measurements have no colors; see `images`
    size, flip, strict, part, white: see `images`
    """
    if kind not in KINDS:
        raise UserError(
            f"got the kind {kind!r}; expected {' or '.join(KINDS)}, which is derived from "
            "photographs"
        )
    if window is not None:
        if kind != "same":
            raise UserError(
                f"got window={window} and the kind {kind!r}; measurements have no colors and no "
                "drawings: leave out data.window"
            )
        channels = None if channels == 3 else channels
    found = find_images(source, part, labels=False, white=checked_white(white))
    found, values = as_measured(found, window, white=white, channels=channels)
    feed = feed_of(
        *("pairs", found, sides_of(size), sides_of(load), channels, flip, strict, False),
        white=white,
        values=values,
    )
    feed.derive = KINDS[kind]
    return feed
