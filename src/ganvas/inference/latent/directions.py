"""Directions in latent space, found without labels.

`principal_components`: GANSpace, Härkönen et al., 2020, arXiv:2004.02546, section 3.1.
`factorization`: SeFa, Shen and Zhou, 2020, arXiv:2007.06600, equations 6 to 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ganvas.core import Samples, Styled
from ganvas.core.errors import CapabilityError, UserError
from ganvas.inference.latent.naming import latents

Space = Literal["w", "z"]
SAMPLES = 2048  # latents from which means, components and spreads are estimated


@dataclass(frozen=True)
class Directions:
    """Orthonormal directions in a latent space, the strongest first.

    space: "w" for methods with styles, else "z"
    vectors: [k, d]
    spreads: [k], the standard deviation of the model's own latents along each
    """

    space: Space
    vectors: Tensor
    spreads: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    def shift(self, amounts: Tensor) -> Tensor:
        """The sum [d] of the directions, `amounts` [k] of their spreads long."""
        return (amounts * self.spreads) @ self.vectors


@torch.no_grad()
def principal_components(
    method: Samples, count: int = 8, y: Tensor | None = None, seed: int = 0
) -> Directions:
    """The directions in which w varies most.

    y: one label [1] for all samples, for methods with classes

    Raises `CapabilityError` for methods without styles: their z varies alike in all
    directions, so that only `factorization` tells them apart.
    """
    if not isinstance(method, Styled):
        raise CapabilityError(
            f"{type(method).__name__} has no styles, whose components could be found: use factors"
        )
    w = _population(method, y, seed)
    _, _, vectors = torch.linalg.svd(w - w.mean(0), full_matrices=False)
    return _strongest(vectors, w, "w", count)


@torch.no_grad()
def factorization(
    method: Samples, count: int = 8, y: Tensor | None = None, seed: int = 0
) -> Directions:
    """The directions that move most what the first layers make of the latent.

    The eigenvectors of A^T A with the largest eigenvalues. A stacks the weights of all
    affine layers that read the latent itself: w, or z without styles.

    y: as of `principal_components`

    Differs from the authors' code, which gives every row of A length 1 and may use the
    styles of some layers only.

    Raises `CapabilityError` if no layer reads the latent as a whole (BigGAN's read
    parts of it).
    """
    space: Space = "w" if isinstance(method, Styled) else "z"
    population = _population(method, y, seed)
    weights = [_matrix(layer, x, population.shape[1]) for layer, x in _readers(method, y, seed)]
    if not weights:
        raise CapabilityError(
            f"no layer of {type(method).__name__} reads the latent as a whole, so it has no "
            "closed-form factorization"
        )
    _, _, vectors = torch.linalg.svd(torch.cat(weights), full_matrices=False)
    return _strongest(vectors, population, space, count)


def _population(method: Samples, y: Tensor | None, seed: int) -> Tensor:
    """`SAMPLES` latents [n, d]: w, or z without styles."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        z = method.latent(SAMPLES)
        labels = None if y is None else y[:1].expand(SAMPLES)
        return method.styles(z, labels)[:, 0] if isinstance(method, Styled) else z.flatten(1)


def _strongest(vectors: Tensor, population: Tensor, space: Space, count: int) -> Directions:
    """The first directions, each with its largest coordinate positive."""
    if count < 1:
        raise UserError(f"count is {count}; it must be at least 1")
    vectors = vectors[:count]
    # A singular vector has two signs; this choice is the same on every machine.
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = vectors * largest.sign()
    return Directions(space, vectors, (population @ vectors.T).std(0))


def _readers(method: Samples, y: Tensor | None, seed: int) -> list[tuple[nn.Module, Tensor]]:
    """The layers whose input begins with the latent (scaled at most), and their inputs.

    One image is generated while hooks watch the layers' inputs.
    """
    assert isinstance(method, nn.Module)
    z = latents(method, [(seed, 0)])
    latent = (method.styles(z, y)[:, 0] if isinstance(method, Styled) else z).flatten(1)
    found: dict[nn.Module, Tensor] = {}

    def watch(layer: nn.Module, inputs: tuple[object, ...]) -> None:
        x = inputs[0] if inputs else None
        if not isinstance(x, Tensor) or x.shape[0] != 1 or x[0].numel() < latent.numel():
            return
        if any(side > 1 for side in x.shape[2:]):
            return
        start = x.flatten(1)[:, : latent.shape[1]].float()
        if torch.cosine_similarity(start, latent.float()).item() > 1 - 1e-5:
            found[layer] = x

    handles: list[RemovableHandle] = [
        layer.register_forward_pre_hook(watch)
        for layer in method.modules()
        if next(layer.parameters(), None) is not None
        and all(name == "parametrizations" for name, _ in layer.named_children())
    ]
    try:
        if isinstance(method, Styled):
            method.synthesize(method.styles(z, y))
        else:
            method.sample(1, z=z, y=y)
    finally:
        for handle in handles:
            handle.remove()
    return [(layer, x) for layer, x in found.items() if _is_affine(layer, x)]


def _is_affine(layer: nn.Module, x: Tensor) -> bool:
    zero, once, twice = (layer(x * k).float() for k in (0, 1, 2))
    return torch.allclose(twice - once, once - zero, rtol=1e-3, atol=1e-4)


def _matrix(layer: nn.Module, x: Tensor, d: int) -> Tensor:
    """The weights [out, d] of the latent in an affine layer, by its effect."""
    basis = torch.zeros(d + 1, *x.shape[1:], device=x.device, dtype=x.dtype)
    basis.flatten(1)[1:, :d] = torch.eye(d, device=x.device, dtype=x.dtype)
    out = layer(basis).float().flatten(1)
    return (out[1:] - out[0]).T
