"""Concepts: maps of the pixels that show a color, a shape, a class or a label.

Concepts come from rules on pixels (`rules`), from a classifier's maps of its classes
(`class_maps`), from a palette's labels (`labels_of`), or from any function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.ndimage import binary_fill_holes
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from ganvas.core.errors import ConfigError, UserError, did_you_mean
from ganvas.metrics.classifiers import Classifier

MARGIN = 0.25  # of a color's channels over the others, in images from -1 to 1
CONTRAST = 0.5  # of ink against the background, and of an edge


@dataclass(frozen=True)
class Concepts:
    """Named concepts and the function that finds them.

    names: of the concepts
    find: images [N, C, H, W] in [-1, 1] -> [N, concepts, H, W]: bool, or scores that
        are above 0 where a pixel shows the concept. Scores with a gradient allow
        `ganvas.evaluation.causal.optimized`
    """

    names: Sequence[str]
    find: Callable[[Tensor], Tensor]

    def scores(self, images: Tensor) -> Tensor:
        """Scores [N, concepts, H, W] of images [N, C, H, W], above 0 where present.

        Raises `UserError` if `find` returns another shape.
        """
        found = self.find(images)
        expected = (len(images), len(self.names), *images.shape[2:])
        if found.shape != expected:
            raise UserError(
                f"the concepts {', '.join(self.names)} were found as {list(found.shape)}; expected "
                f"{list(expected)}: a map for each image and concept, of the images' size"
            )
        return 2.0 * found - 1 if found.dtype == torch.bool else found.float()

    @torch.no_grad()
    def maps(self, images: Tensor) -> Tensor:
        """Which pixels show each concept, bool [N, concepts, H, W]."""
        return self.scores(images) > 0


def joined(*parts: Concepts) -> Concepts:
    """The concepts of several sources as one. Raises `UserError` for equal names."""
    names = [name for part in parts for name in part.names]
    if len(set(names)) < len(names):
        raise UserError(f"concepts need different names; got {', '.join(names)}")
    return Concepts(names, lambda x: torch.cat([part.scores(x) for part in parts], 1))


# -------------------------------------------------------------- rules on pixels


def _color(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, 3, H, W]; alpha is composited over middle gray."""
    if x.shape[1] == 4:
        x = x[:, :3] * (x[:, 3:] + 1) / 2
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x


def _gray(x: Tensor) -> Tensor:
    return _color(x).mean(1)


def _contrast(x: Tensor) -> Tensor:
    """|gray - that of the background|, which is the median of the image's border."""
    gray = _gray(x)
    sides = (gray[:, 0], gray[:, -1], gray[:, :, 0], gray[:, :, -1])
    background = torch.cat(sides, 1).median(1).values
    return (gray - background[:, None, None]).abs()


def _edge(x: Tensor) -> Tensor:
    """Gradient magnitude at each pixel, by Sobel's filters."""
    kernel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], device=x.device) / 4
    gray = pad(_gray(x)[:, None], (1, 1, 1, 1), mode="replicate")
    steps = conv2d(gray, torch.stack([kernel, kernel.T])[:, None])
    return (steps.square().sum(1) + 1e-12).sqrt()


def _hole(x: Tensor) -> Tensor:
    """Background that ink encloses."""
    ink = (_contrast(x) > CONTRAST).cpu().numpy()
    filled = np.stack([np.asarray(binary_fill_holes(one)) for one in ink])
    return torch.from_numpy(filled & ~ink).to(x.device) * 2.0 - 1


def _hue(x: Tensor, channels: Sequence[int]) -> Tensor:
    """The least of some channels minus the largest of the others, less `MARGIN`."""
    color = _color(x)
    others = [i for i in range(3) if i not in channels]
    return color[:, list(channels)].amin(1) - color[:, others].amax(1) - MARGIN


RULES: dict[str, Callable[[Tensor], Tensor]] = {
    "ink": lambda x: _contrast(x) - CONTRAST,
    "background": lambda x: CONTRAST - _contrast(x),
    "hole": _hole,
    "edge": lambda x: _edge(x) - CONTRAST,
    "bright": lambda x: _gray(x) - 0.5,
    "dark": lambda x: -0.5 - _gray(x),
    "white": lambda x: _color(x).amin(1) - 0.5,
    "black": lambda x: -0.5 - _color(x).amax(1),
    "red": partial(_hue, channels=(0,)),
    "green": partial(_hue, channels=(1,)),
    "blue": partial(_hue, channels=(2,)),
    "yellow": partial(_hue, channels=(0, 1)),
    "cyan": partial(_hue, channels=(1, 2)),
    "magenta": partial(_hue, channels=(0, 2)),
}
# Name -> whether a pixel lies there, by its (down, across) from 0 to 1.
PLACES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "top": lambda down, across: down < 0.5,
    "bottom": lambda down, across: down >= 0.5,
    "left": lambda down, across: across < 0.5,
    "right": lambda down, across: across >= 0.5,
    "center": lambda down, across: torch.maximum((down - 0.5).abs(), (across - 0.5).abs()) < 0.25,
}


def rules(names: Sequence[str]) -> Concepts:
    """Concepts by rules: a name of `RULES`, or one at a place, as "ink@top".

    Raises `ConfigError` for an unknown name.
    """
    found = [_rule(name) for name in names]
    return Concepts(list(names), lambda x: torch.stack([rule(x) for rule in found], 1))


def _rule(name: str) -> Callable[[Tensor], Tensor]:
    what, at, where = name.partition("@")
    if what not in RULES:
        raise ConfigError(f"there is no rule for {what!r}. {did_you_mean(what, RULES)}")
    if not at:
        return RULES[what]
    if where not in PLACES:
        raise ConfigError(f"there is no place {where!r} in {name!r}. {did_you_mean(where, PLACES)}")

    def there(x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        down = (torch.arange(height, device=x.device) + 0.5) / height
        across = (torch.arange(width, device=x.device) + 0.5) / width
        inside = PLACES[where](down[:, None], across[None])
        return torch.where(inside, RULES[what](x), -1.0)

    return there


# -------------------------------------------------------------- classifiers and labels


def class_maps(classifier: Classifier, names: Sequence[str], least: float = 0.5) -> Concepts:
    """Concepts by a classifier's maps of its classes.

    A pixel shows a class if the classifier gives the image a probability of at least
    `least` for it, and if the pixel has at least half of the map's largest evidence.

    names: of the classes, or their numbers

    Raises `UserError` for an unknown class.
    """
    numbers = [classifier.number(name) for name in names]

    def find(images: Tensor) -> Tensor:
        found = torch.full((len(images), len(names), *images.shape[2:]), -1.0)
        for i, image in enumerate(images.cpu()):
            for k, number in enumerate(numbers):
                probability, heat = classifier.find(image[None], number)
                largest = float(heat.max())
                if probability >= least and largest > 0:
                    large = interpolate(
                        heat[None, None].cpu() / largest,
                        (images.shape[2], images.shape[3]),
                        mode="bilinear",
                        align_corners=False,
                    )
                    found[i, k] = large[0, 0] - 0.5
        return found.to(images.device)

    return Concepts(list(names), find)


def labels_of(
    segmenter: Callable[[Tensor], Tensor], palette: Sequence[int], names: Sequence[str]
) -> Concepts:
    """Concepts by a network that paints label maps: each pixel has the nearest color.

    segmenter: images -> label maps [N, 3, H, W] in [-1, 1]
    palette: color of each label, 0xRRGGBB
    names: of the labels
    """
    channels = [[c >> 16, c >> 8 & 255, c & 255] for c in palette]
    colors = torch.tensor(channels).float() / 127.5 - 1

    def find(images: Tensor) -> Tensor:
        painted = segmenter(images)[:, None]
        far = (painted - colors.to(images.device)[:, :, None, None]).square().sum(2)
        others = torch.stack(
            [torch.cat([far[:, :k], far[:, k + 1 :]], 1).amin(1) for k in range(far.shape[1])], 1
        )
        return others - far

    return Concepts(list(names), find)
