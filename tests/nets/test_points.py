"""Networks for points of the plane: shapes, sizes, initialization, and training."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.optim import Adam

from ganvas.core import Run, config
from ganvas.data import toy
from ganvas.engine.engine import Engine
from ganvas.methods import GAN, WGANGP
from ganvas.nets import toy_points


def test_shapes_and_sizes() -> None:
    G, D = toy_points.Generator(), toy_points.Discriminator()
    x = G(torch.randn(5, G.latent))
    assert x.shape == (5, 2, 1, 1)
    assert D(x).shape == (5,)
    # 4 hidden layers of 400 without biases, each with batch norm's 2 x 400, and the
    # last layer's 2 x 400 + 2.
    assert (
        sum(p.numel() for p in G.parameters()) == 2 * 400 + 3 * 400**2 + 4 * 2 * 400 + 400 * 2 + 2
    )
    # 3 maxout layers of 200 units with 5 pieces, with biases, and 200 + 1.
    assert sum(p.numel() for p in D.parameters()) == (2 + 1) * 1000 + 2 * (200 + 1) * 1000 + 201


def test_starting_weights_are_the_papers() -> None:
    torch.manual_seed(0)
    for net in (toy_points.Generator(), toy_points.Discriminator()):
        for name, p in net.state_dict().items():
            if p.ndim == 2:
                assert float(p.std()) == pytest.approx(0.02, rel=0.2), name
                assert abs(float(p.mean())) < 4 * 0.02 / p.numel() ** 0.5, name
            elif "running" not in name and p.ndim == 1:  # batch norm's gains, and biases
                assert bool((p == float(name.endswith("weight"))).all()), name


def test_without_norm_a_point_does_not_see_its_batch() -> None:
    G = toy_points.Generator(width=8, layers=2, norm=False).train()
    z = torch.randn(6, 2)
    torch.testing.assert_close(G(z)[:2], G(z[:2]))


@pytest.mark.parametrize("method", [GAN, WGANGP])
def test_methods_train_on_points(method: type) -> None:
    adam = partial(Adam, lr=1e-3, betas=(0.5, 0.9))
    run = Run(
        method=partial(
            method,
            G=partial(toy_points.Generator, width=16, layers=1),
            D=partial(toy_points.Discriminator, units=8, pieces=2, layers=1),
        ),
        data=partial(toy.gaussian_grid_feed, count=500),
        optim={"G": adam, "D": adam},
        batch=20,
        images=1000,
    )
    run = config.load(
        config.dump(run)
    )  # the run is written down and read back, as a run's folder does it
    engine = Engine(run, run.data())
    before = {k: v.clone() for k, v in engine.method.state_dict().items()}
    for _ in range(2):
        engine.step()
    moved = {
        k.split(".")[0]
        for k, v in engine.method.state_dict().items()
        if not torch.equal(v, before[k])
    }
    assert moved == {"G", "D"}
    assert engine.model().sample(7).shape == (7, 2, 1, 1)  # type: ignore[operator]
