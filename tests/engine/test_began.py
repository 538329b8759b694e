"""The engine supports BEGAN's feedback loop without a change to it.

BEGAN: Boundary Equilibrium Generative Adversarial Networks. Berthelot et al., 2017,
arXiv:1703.10717. The discriminator is an autoencoder; k_t, the weight of the generated
images in its loss, is controlled by the losses of the plan before.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam
from toys import toy_images

from ganvas.core import Batch, Method, Run, Shape, Terms, Update, rng
from ganvas.core.errors import NumericalError
from ganvas.data import images
from ganvas.engine.engine import Engine
from ganvas.inference.model import Model
from ganvas.nets.dcgan import Generator


class Autoencoder(nn.Module):
    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1), nn.ELU(), nn.Conv2d(width, width, 4, 2, 1)
        )
        self.decode = nn.Sequential(
            nn.ConvTranspose2d(width, width, 4, 2, 1),
            nn.ELU(),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """L(x) = |x - D(x)|, one number an image."""
        return (x - self.decode(self.encode(x))).abs().flatten(1).mean(1)


class BEGAN(Method):
    def __init__(self, shape: Shape, gamma: float = 0.5, rate: float = 0.1) -> None:
        super().__init__()
        self.G = Generator(latent=8, width=4, size=shape.size, channels=shape.channels)
        self.D = Autoencoder(4, shape.channels)
        self.gamma, self.rate = gamma, rate
        self.k: Tensor
        self.register_buffer("k", torch.zeros(()))
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock, batches):
        real = next(batches)
        d = (yield Update("D", self.d_loss, real)).log
        g = (yield Update("G", self.g_loss, real)).log
        self.k.add_(self.rate * (self.gamma * d["real"] - g["loss"])).clamp_(0, 1)  # equation 9

    def d_loss(self, real: Batch) -> Terms:
        l_real = self.D(real.x).mean()
        return Terms(
            l_real - self.k * self.D(self.sample(len(real))).mean(), {"real": l_real, "k": self.k}
        )

    def g_loss(self, real: Batch) -> Terms:
        return Terms(self.D(self.sample(len(real))).mean())

    def latent(self, n: int) -> Tensor:
        return rng.normal(n, 8, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        return self.G(self.latent(n) if z is None else z)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    adam = partial(Adam, lr=1e-3)
    return Run(
        method=partial(BEGAN),
        data=partial(images, source=str(toy_images(tmp_path / "data")), size=16),
        optim={"G": adam, "D": adam},
        batch=8,
        images=80,
    )


def test_the_feedback_loop_runs_and_resumes_exactly(run: Run) -> None:
    straight = Engine(run, run.data())
    for _ in range(4):
        straight.step()
    values, shared, own = straight.state()
    shared, own = ({k: v.clone() for k, v in part.items()} for part in (shared, own))
    for _ in range(4):
        straight.step()
    assert 0 < float(straight.method.get_buffer("k")) <= 1, "the equilibrium was steered"
    again = Engine(run, run.data())
    again.load_state(values, shared, own)
    for _ in range(4):
        again.step()
    for name, value in straight.method.state_dict().items():
        assert torch.equal(value, again.method.state_dict()[name]), name


def test_its_model_is_used_like_any_other(run: Run) -> None:
    engine = Engine(run, run.data())
    engine.step()
    pictures = Model(engine.model(), {"shape": {"channels": 3, "height": 16, "width": 16}}).sample(
        2, seed=1
    )
    assert [p.size for p in pictures] == [(16, 16)] * 2


def test_a_term_that_is_not_finite_stops_the_run_and_is_named(run: Run) -> None:
    engine = Engine(run, run.data())
    engine.step()
    engine.method.get_buffer("k").fill_(float("nan"))
    with pytest.raises(
        NumericalError, match=r"D/loss and D/k became nan at step 1, image 8.*D/real = "
    ):
        engine.step()
