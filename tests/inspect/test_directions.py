"""Directions in latent space: closed forms, and real models of several kinds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import SMALL, toy_data

from ganvas.core.errors import UserError
from ganvas.inference import explore
from ganvas.inference.latent.directions import factorization, principal_components
from ganvas.training.trainer import train

SPREADS = torch.tensor([3.0, 0.1, 1.0, 2.0])


class Linear(nn.Module):
    """An image that is a linear map of z, behind a layer that joins a label."""

    classes, curve = 0, "spherical"

    def __init__(self, matrix: Tensor, joined: int = 0) -> None:
        super().__init__()
        self.layer = nn.Linear(matrix.shape[1] + joined, len(matrix))
        self.layer.weight.data[:, : matrix.shape[1]] = matrix
        self.joined, self.d = joined, matrix.shape[1]

    def latent(self, n: int) -> Tensor:
        return torch.randn(n, self.d)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        z = self.latent(n) if z is None else z
        return self.layer(torch.cat([z, torch.ones(n, self.joined)], 1)).tanh()[:, :, None, None]


class Styles(Linear):
    """w is normal with the standard deviations SPREADS, turned by a rotation."""

    layers = 2

    def __init__(self, rotation: Tensor) -> None:
        super().__init__(torch.eye(4))
        self.rotation = rotation

    def styles(self, z: Tensor, y: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        w = truncation * (z * SPREADS) @ self.rotation.T + 5
        return w[:, None].expand(-1, 2, -1)

    def synthesize(self, w: Tensor) -> Tensor:
        return self.layer(w[:, 0])[:, :, None, None] + w[:, 1, :, None, None]

    def mean_style(self) -> Tensor:
        return torch.full((4,), 5.0)


def rotation(d: int) -> Tensor:
    return torch.linalg.qr(torch.randn(d, d))[0]


def aligned(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1).abs()


def test_components_are_the_axes_of_a_normal_distribution_by_their_spread() -> None:
    turn = rotation(4)
    found: Any = principal_components(Styles(turn), 3)  # type: ignore[arg-type]
    axes = turn.T[[0, 3, 2]]
    assert found.space == "w"
    torch.testing.assert_close(aligned(found.vectors, axes), torch.ones(3), atol=5e-3, rtol=0)
    torch.testing.assert_close(found.spreads, torch.tensor([3.0, 2.0, 1.0]), rtol=0.1, atol=0)


@pytest.mark.parametrize("joined", [0, 3])
def test_factors_are_the_right_singular_vectors_of_the_first_layer(joined: int) -> None:
    left, right = rotation(6), rotation(4)
    matrix = left[:, :4] @ torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0])) @ right.T
    found = factorization(Linear(matrix, joined), 4)  # type: ignore[arg-type]
    torch.testing.assert_close(aligned(found.vectors, right.T), torch.ones(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.spreads, torch.ones(4), atol=0.1, rtol=0)
    largest = found.vectors.gather(1, found.vectors.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


def test_a_generator_that_reads_parts_of_the_latent_has_no_factors() -> None:
    class Parts(Linear):
        def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
            z = self.latent(n) if z is None else z
            return self.layer(z.square())[:, :, None, None]

    with pytest.raises(UserError, match="no closed-form factorization"):
        factorization(Parts(torch.eye(4)))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="use factors"):
        principal_components(Linear(torch.eye(4)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("directions")
    models: dict[str, Any] = {}

    def of(recipe: str) -> Any:
        if recipe not in models:
            data = toy_data(recipe, folder / recipe / "data")
            models[recipe] = train(
                recipe,
                str(data),
                out=folder / recipe / "run",
                images=1,
                set=SMALL[recipe],
                device="cpu",
            )
        return models[recipe]

    return of


@pytest.mark.parametrize(
    ("recipe", "kind"),
    [
        ("dcgan", None),
        ("cgan_dcgan", None),
        ("progan", "factors"),
        ("stylegan2_digits", None),
        ("stylegan2_digits", "factors"),
        ("stylegan_digits", "factors"),
    ],
)
def test_a_step_of_zero_is_the_sample_and_another_moves_it(
    recipe: str, kind: Any, trained: Any
) -> None:
    model = trained(recipe)
    found = explore.find_directions(model, kind, count=3)
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(3), atol=1e-4, rtol=0)
    names = [(7, 0), (7, 3)]
    still = explore.moved(model, names, found, [])
    labels = [0] * 4 if model.method.classes else None
    plain = model.sample(4, seed=7, labels=labels, output="torch")[[0, 3]]
    torch.testing.assert_close(still, plain, atol=1e-5, rtol=0)
    assert not torch.allclose(explore.moved(model, names, found, [3.0]), still, atol=1e-4)
    assert torch.equal(explore.moved(model, names, found, [0.0, 0.0, 0.0]), still)


def test_layers_are_of_styles_only(trained: Any) -> None:
    model, styled = trained("dcgan"), trained("stylegan2_digits")
    with pytest.raises(UserError, match="no styles"):
        explore.moved(
            model, [(0, 0)], explore.find_directions(model, count=1), [1.0], layers="coarse"
        )
    found = explore.find_directions(styled, count=2)
    coarse, fine, both = (
        explore.moved(styled, [(0, 0)], found, [2.0], layers=which)
        for which in ("0-1", "2-3", None)
    )
    assert not torch.equal(coarse, fine)
    assert not torch.equal(coarse, both)
    with pytest.raises(UserError, match="2 directions"):
        explore.moved(styled, [(0, 0)], found, [1.0, 1.0, 1.0])
    with pytest.raises(UserError, match="without labels"):
        explore.find_directions(model, label=1)


@pytest.mark.parametrize("recipe", ["cgan_dcgan", "cogan"])
def test_the_images_of_a_grid_have_names(recipe: str, trained: Any) -> None:
    model = trained(recipe)
    grid = model.sample(5, seed=3, output="torch")
    for i in range(5):
        (seed, number), label = explore.sample_of_grid(model, i, 3)
        one = model.sample(number + 1, seed=seed, labels=[label] * (number + 1), output="torch")
        torch.testing.assert_close(one[number], grid[i], atol=1e-5, rtol=0)
