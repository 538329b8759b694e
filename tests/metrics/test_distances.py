"""Distances against golden outputs, independent implementations and closed forms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from safetensors.torch import load_file

from ganvas.core.errors import UserError
from ganvas.metrics.frechet import extrapolated, frechet_distance, subset_distances
from ganvas.metrics.inception_score import InceptionScore
from ganvas.metrics.kid import kernel_distance, kernel_distance_interval
from ganvas.metrics.precision_recall import duplicates, fidelity, nearest

GOLDEN = ["features_64d", "features_2048d_rank_deficient"]


def golden(shared: Path, name: str) -> tuple[torch.Tensor, torch.Tensor, dict]:
    tensors = load_file(shared / "golden" / "metrics" / f"{name}.safetensors")
    results = json.loads((shared / "golden" / "metrics" / f"{name}.json").read_text())["results"]
    return tensors["real"].double(), tensors["fake"].double(), results


def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x.mean(0), x.T.cov()


@pytest.mark.parametrize("name", GOLDEN)
def test_frechet_golden(shared: Path, name: str) -> None:
    real, fake, results = golden(shared, name)
    got = frechet_distance(*moments(real), *moments(fake))
    assert got == pytest.approx(results["frechet_distance_torch_fidelity"], rel=1e-6)


@pytest.mark.parametrize("name", GOLDEN)
def test_kernel_golden(shared: Path, name: str) -> None:
    real, fake, results = golden(shared, name)
    full = next(v for k, v in results.items() if k.startswith("kid_full"))
    assert kernel_distance(real[: len(fake)], fake) == pytest.approx(full, rel=1e-6)
    protocol = results["kid_torch_fidelity"]
    options, rng = protocol["options"], np.random.RandomState(2020)
    values = []
    for _ in range(options["kid_subsets"]):
        f = rng.choice(len(fake), options["kid_subset_size"], replace=False)
        r = rng.choice(len(real), options["kid_subset_size"], replace=False)
        values.append(kernel_distance(fake[f], real[r]))
    assert np.mean(values) == pytest.approx(
        protocol["mean_std"]["kernel_inception_distance_mean"], rel=1e-6
    )
    assert np.std(values) == pytest.approx(
        protocol["mean_std"]["kernel_inception_distance_std"], rel=1e-6
    )


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize(("k", "key"), [(3, "prdc"), (5, "prdc_k5")])
def test_fidelity_golden(shared: Path, name: str, k: int, key: str) -> None:
    real, fake, results = golden(shared, name)
    for measure, value in fidelity(real, fake, k)._asdict().items():
        assert value == pytest.approx(results[key][measure], abs=1e-12), measure


def test_frechet_against_scipy_and_closed_form() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(40, 12, generator=g, dtype=torch.float64) * s + s for s in (1.0, 2.5))
    (m1, c1), (m2, c2) = moments(a), moments(b)
    root = np.real(scipy.linalg.sqrtm((c1 @ c2).numpy()))
    expected = float((m1 - m2).square().sum() + c1.trace() + c2.trace()) - 2 * np.trace(root)
    assert frechet_distance(m1, c1, m2, c2) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(m2, c2, m1, c1) == pytest.approx(expected, rel=1e-9)
    # For covariances that commute: |m1 - m2|^2 + sum (sqrt(l1) - sqrt(l2))^2.
    l1, l2 = torch.tensor([4.0, 1.0, 0.0]), torch.tensor([1.0, 9.0, 0.0])
    assert frechet_distance(torch.zeros(3), l1.diag(), torch.ones(3), l2.diag()) == pytest.approx(
        3 + 1 + 4
    )
    assert frechet_distance(m1, c1, m1, c1) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(
        torch.zeros(3), torch.zeros(3, 3), torch.ones(3), torch.zeros(3, 3)
    ) == pytest.approx(3)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")
def test_agrees_with_torchmetrics() -> None:
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance
    except Exception as e:  # a broken neighbor of torchmetrics breaks its import with any error
        pytest.skip(f"torchmetrics does not import: {e}")

    class Flatten(torch.nn.Module):
        num_features = 48

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)

    g = torch.Generator().manual_seed(1)
    real, fake = (
        torch.rand(300, 3, 4, 4, generator=g),
        torch.rand(300, 3, 4, 4, generator=g).pow(1.3),
    )
    fid = FrechetInceptionDistance(feature=Flatten(), normalize=True, input_img_size=(3, 4, 4))
    fid.set_dtype(torch.float64)
    kid = KernelInceptionDistance(feature=Flatten(), subsets=1, subset_size=300, normalize=True)
    for metric in (fid, kid):
        metric.update(real, real=True)
        metric.update(fake, real=False)
    x, y = real.flatten(1).double(), fake.flatten(1).double()
    assert frechet_distance(*moments(x), *moments(y)) == pytest.approx(
        float(fid.compute()), rel=1e-4
    )
    assert kernel_distance(x, y) == pytest.approx(float(kid.compute()[0]), rel=1e-2)


def test_kernel_is_unbiased_and_its_interval_is_as_wide_as_it_should_be() -> None:
    g = torch.Generator().manual_seed(2)

    def draw(n: int, shift: float) -> torch.Tensor:
        return torch.randn(n, 8, generator=g, dtype=torch.float64) + shift

    same = [kernel_distance(draw(20, 0), draw(30, 0)) for _ in range(300)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 300**0.5
    values = [kernel_distance(draw(120, 0), draw(120, 0.5)) for _ in range(60)]
    widths = []
    for seed in range(8):
        d = kernel_distance_interval(draw(120, 0), draw(120, 0.5), subsets=50, seed=seed)
        assert d.low < d.value < d.high
        widths.append((d.high - d.low) / 2 / 1.96)
    assert np.mean(widths) == pytest.approx(np.std(values), rel=0.35)


def test_subsets_share_one_kernel_matrix() -> None:
    """The interval's subsets share one kernel matrix, and equal those computed alone."""
    g = torch.Generator().manual_seed(6)
    x, y = torch.randn(90, 5, generator=g) + 0.3, torch.randn(70, 5, generator=g)
    got = kernel_distance_interval(x, y, subsets=20, size=30, seed=3)
    rng = np.random.default_rng(3)
    alone = [
        kernel_distance(x[rng.choice(90, 30, replace=False)], y[rng.choice(70, 23, replace=False)])
        for _ in range(20)
    ]
    assert got.value == pytest.approx(kernel_distance(x, y), rel=1e-9)
    assert (got.subset_mean, got.subset_std) == pytest.approx(
        (np.mean(alone), np.std(alone, ddof=1)), rel=1e-9
    )


def test_frechet_of_gaussians_by_its_closed_form() -> None:
    """N(0, S) against N(shift, s^2 S), for a diagonal S.

    The distance is dim shift^2 + (s - 1)^2 tr(S), and larger with few images. The
    extrapolated distance is not, and the spread of halves is the spread over
    independent samples."""
    g, dim, n, shift = torch.Generator().manual_seed(7), 16, 600, 0.2
    scale = torch.linspace(0.3, 2, dim, dtype=torch.float64)
    truth = dim * shift**2 + (0.2**2 * scale.square()).sum().item()
    wholes, infinite, spreads = [], [], []
    for seed in range(20):
        x, y = (torch.randn(n, dim, generator=g, dtype=torch.float64) * scale for _ in range(2))
        y = 1.2 * y + shift
        wholes.append(frechet_distance(*moments(x), *moments(y)))
        infinite.append(extrapolated(x, y, seed))
        spreads.append(np.std(subset_distances(x, y, [0.5] * 8, seed), ddof=1))
    error = 3 / 20**0.5
    assert np.mean(wholes) - truth > 2 * error * np.std(wholes)
    assert abs(np.mean(infinite) - truth) < error * np.std(infinite)
    assert np.mean(spreads) == pytest.approx(np.std(wholes), rel=0.5)


def inception_score(logits: torch.Tensor, splits: int) -> tuple[float, float]:
    """Over successive parts, as other libraries form them."""
    n = len(logits)
    ends = torch.tensor([(i + 1) * n // splits for i in range(splits)])
    score = InceptionScore(logits.shape[1], splits=splits)
    score.add(logits, torch.bucketize(torch.arange(n), ends, right=True))
    return score.score()


@pytest.mark.parametrize(
    ("key", "splits"), [("shuffled", 10), ("unshuffled", 10), ("single_split", 1)]
)
def test_inception_score_golden(shared: Path, key: str, splits: int) -> None:
    folder = shared / "golden" / "metrics"
    logits = load_file(folder / "inception_score_logits.safetensors")["logits"].double()
    expected = json.loads((folder / "inception_score_logits.json").read_text())["results"][key]
    if key == "shuffled":
        logits = logits[torch.from_numpy(np.random.RandomState(2020).permutation(len(logits)))]
    mean, std = inception_score(logits, splits)
    assert mean == pytest.approx(expected["inception_score_mean"], rel=1e-6)
    assert std == pytest.approx(expected["inception_score_std"], rel=1e-6)


def test_inception_score_at_random_is_that_of_shuffled_images(shared: Path) -> None:
    folder = shared / "golden" / "metrics"
    logits = load_file(folder / "inception_score_logits.safetensors")["logits"].double()
    expected = json.loads((folder / "inception_score_logits.json").read_text())["results"][
        "shuffled"
    ]
    found = []
    for seed in range(5):
        score = InceptionScore(logits.shape[1], seed)
        score.add(logits)
        found.append(score.score()[0])
    spread = expected["inception_score_std"] / 10**0.5  # of the mean of ten parts
    assert np.mean(found) == pytest.approx(expected["inception_score_mean"], abs=3 * spread)


def test_inception_score_by_its_closed_form() -> None:
    sure = torch.eye(4).repeat(10, 1) * 1000
    assert inception_score(sure, 1) == pytest.approx((4, 0))  # each of one class, all classes alike
    assert inception_score(torch.zeros(40, 4), 1) == pytest.approx((1, 0))
    assert inception_score(sure[:1].repeat(40, 1), 5) == pytest.approx((1, 0))


def test_kernel_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.rand(50, 4), torch.rand(40, 4)
    whole, balls = kernel_distance(x, y), fidelity(x, y)
    monkeypatch.setattr("ganvas.metrics.kid._CHUNK", 7)
    monkeypatch.setattr("ganvas.metrics.precision_recall.CHUNK", 7)
    assert kernel_distance(x, y) == pytest.approx(whole, rel=1e-9)
    assert fidelity(x, y) == balls


def test_precision_and_recall_distinguish_collapse_from_noise() -> None:
    g = torch.Generator().manual_seed(3)
    real = torch.randn(300, 6, generator=g)
    copies = fidelity(real, real.clone())
    assert (copies.precision, copies.recall, copies.coverage) == (1, 1, 1)
    collapsed = fidelity(real, real[:3].repeat(100, 1) + 1e-3 * torch.randn(300, 6, generator=g))
    assert collapsed.precision > 0.95
    assert collapsed.coverage < 0.2
    assert collapsed.recall < 0.2
    far = fidelity(real + 1e4, real + 1e4 + 100)  # a far origin costs no precision
    assert tuple(far) == (0, 0, 0, 0)
    with pytest.raises(UserError, match="more than 5 images"):
        fidelity(real[:5], real)


def test_nearest_finds_copies_exactly() -> None:
    g = torch.Generator().manual_seed(4)
    training = torch.randn(2000, 16, generator=g) + 50
    samples = training[[7, 1999]] + torch.tensor([[0.0], [0.01]])
    distances, indices = nearest(samples, training, k=3)
    assert indices[:, 0].tolist() == [7, 1999]
    assert distances[0, 0] == 0
    assert distances[1, 0] == pytest.approx(0.04, rel=1e-3)
    assert torch.all(distances.diff(dim=1) >= 0)
    brute = (samples[0].double() - training.double()).norm(dim=1).sort().values[:3]
    torch.testing.assert_close(distances[0], brute)


def test_duplicates() -> None:
    g = torch.Generator().manual_seed(5)
    x = torch.randn(1500, 8, generator=g)
    x[1200] = x[3]
    x[40] = x[1400] + 0.001
    assert [(i, j) for i, j, _ in duplicates(x, 0.01)] == [(3, 1200), (40, 1400)]
    assert duplicates(x[:1200], 1e-6) == []
