"""Explore a model beyond `Model`: named samples, directions, cycles; for front ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ganvas.core import Styled, Translates
from ganvas.core.errors import CapabilityError, UserError
from ganvas.inference.latent import naming, style_mixing
from ganvas.inference.latent.directions import Directions, factorization, principal_components
from ganvas.inference.latent.naming import SampleName
from ganvas.inference.model import Model
from ganvas.inference.options import ImageSource, Label
from ganvas.inference.runtime import fixed_seed
from ganvas.inference.sampler import Sampler

Kind = Literal["components", "factors"]


def find_directions(
    model: Model, kind: Kind | None = None, *, count: int = 8, label: Label | None = None
) -> Directions:
    """Directions in a model's latent space, found without labels.

    kind: "components" (of w: `latent.directions.principal_components`) or "factors"
        (closed form: `factorization`). None: components for methods with styles, else
        factors
    label: the class whose latents are looked at; None: the first

    Raises `UserError` for a model that has no such directions.
    """
    sampler = Sampler(model.runtime)
    method = sampler.generator()
    kind = kind or ("components" if isinstance(method, Styled) else "factors")
    if kind not in ("components", "factors"):
        raise UserError(f"directions are components or factors; got {kind!r}")
    find = principal_components if kind == "components" else factorization
    return find(method, count, sampler.one_label(label, 1))


def images(
    model: Model,
    names: Sequence[SampleName],
    *,
    label: Label | None = None,
    truncation: float | None = None,
) -> Tensor:
    """Samples by their names, all of one class: images [n, C, H, W] in [-1, 1].

    label: the class; None: the first

    Raises `UserError` as `Model.sample` does.
    """
    sampler = Sampler(model.runtime)
    y = sampler.one_label(label, len(names))
    return sampler.images(names, None if y is None else y.tolist(), truncation)


def moved(
    model: Model,
    names: Sequence[SampleName],
    directions: Directions,
    amounts: Sequence[float],
    *,
    layers: str | None = None,
    label: Label | None = None,
    truncation: float | None = None,
) -> Tensor:
    """Samples moved along directions: images [n, C, H, W] in [-1, 1].

    names: samples by (seed, number)
    amounts: along the first directions, in their spreads; the others do not move
    layers: the styles that move: coarse, middle, fine, or a range such as "2-5"; None:
        all

    Raises `UserError` as `Model.sample` does, and for layers without styles.
    """
    sampler = Sampler(model.runtime)
    method = sampler.generator(truncation)
    if len(amounts) > len(directions):
        raise UserError(f"there are {len(directions)} directions; got {len(amounts)} amounts")
    if layers is not None and not isinstance(method, Styled):
        raise CapabilityError(f"{type(method).__name__} has no styles: leave the layers out")
    y = sampler.one_label(label, len(names))
    with model.runtime.autocast(), fixed_seed(), torch.no_grad():
        steps = torch.zeros(len(directions), device=directions.vectors.device)
        steps[: len(amounts)] = torch.as_tensor(amounts, dtype=steps.dtype)
        shift, z = directions.shift(steps), naming.latents(method, names)
        if directions.space == "w":
            assert isinstance(method, Styled)
            w = naming.styles(method, z, y, truncation).clone()
            which = slice(None) if layers is None else style_mixing.layers(layers, method.layers)
            w[:, which] += shift
            return method.synthesize(w).float()
        return naming.generate(method, z + shift.view(1, *z.shape[1:]), y, truncation).float()


def sample_of_grid(model: Model, index: int, seed: int) -> tuple[SampleName, int | None]:
    """The name and the label of image `index` of `Model.sample` without labels."""
    names, labels = Sampler(model.runtime).named(index + 1, seed=seed)
    return names[index], None if labels is None else labels[index]


def cycle_error(model: Model, image: ImageSource, to: str | None = None) -> float | None:
    """How far an image is from its translation there and back, at the training size.

    to: the domain of the first translation; None: the model's first

    Returns the mean absolute difference in gray levels, 0 to 255; None for models that
    translate in one direction only.
    """
    method = model.method
    if not isinstance(method, Translates) or len(method.directions) != 2:
        return None
    to = to or method.directions[0]
    back = next(other for other in method.directions if other != to)
    x = model.fitted(image)
    there = model.translate(x, to=to, output="torch")
    again = model.translate(there, to=back, output="torch")
    return float((again.clamp(-1, 1) - x).abs().mean()) * 127.5


def third_of_styles(model: Model, third: int) -> str:
    """The first, second or last third of a model's styles, as `Model.mix` names them.

    third: 0, 1 or 2

    Raises `CapabilityError` for models without styles.
    """
    method = model.method
    if not isinstance(method, Styled):
        raise CapabilityError(f"{type(method).__name__} has no styles to mix")
    first, stop = (method.layers * k // 3 for k in (third, third + 1))
    return f"{min(first, method.layers - 1)}-{max(stop - 1, first)}"
