"""What makes a step fast changes nothing but the order of sums."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam
from toys import SMALL, distinct_recipes, toy_data, toy_images, toy_run

from ganvas import recipes
from ganvas.core import Batch, Forward, Method, Run, Shape, Terms, Update, rng
from ganvas.core.errors import UserError
from ganvas.data import images
from ganvas.engine import build
from ganvas.engine.engine import Engine
from ganvas.nets.norm import InstanceNorm2d


def made_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything as torch does it by default.

    Contiguous memory, one optimizer loop over the weights, and torch's own layers in
    place of the fast ones."""
    to = nn.Module.to
    monkeypatch.setattr(
        nn.Module,
        "to",
        lambda self, *args, memory_format=None, **kw: to(self, *args, **kw) if args or kw else self,
    )
    monkeypatch.setattr(build, "_fused", lambda make: partial(make, foreach=False))
    monkeypatch.setattr(
        InstanceNorm2d,
        "forward",
        lambda self, x: F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps),
    )


@pytest.mark.parametrize("recipe", distinct_recipes())
def test_a_step_is_the_plain_steps(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64, so that rounding is far below the effect of an error."""
    run = toy_run(recipe, toy_data(recipe, tmp_path / "data"))

    def losses() -> list[dict[str, float]]:
        feed = run.data()
        plain = feed.draw
        feed.draw = lambda *a, **k: plain(*a, **k).map(
            lambda t: t.double() if t.is_floating_point() else t
        )
        torch.set_default_dtype(torch.float64)
        try:
            engine = Engine(run, feed)
            return [{k: float(v) for k, v in engine.step().items()} for _ in range(2)]
        finally:
            torch.set_default_dtype(torch.float32)

    fast = losses()
    made_plain(monkeypatch)
    for step, (a, b) in enumerate(zip(fast, losses(), strict=True)):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-7), f"step {step}"


# One of each kind of layers and normalization.
@pytest.mark.parametrize(
    "recipe",
    [
        *("biggan", "cgan", "cut", "cyclegan", "dcgan", "fastgan", "pix2pix", "pix2pixhd", "r3gan"),
        *("sngan", "spade_style", "stylegan", "stylegan2", "stylegan3", "unit", "vqgan", "wgan_gp"),
    ],
)
def test_in_float32_the_first_losses_agree_to_1e_5(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = toy_run(recipe, toy_data(recipe, tmp_path / "data"))
    engine = Engine(run, run.data())
    first = next(iter(engine.method.players))
    fast = engine.step()
    made_plain(monkeypatch)
    plain = Engine(run, run.data()).step()
    for name in fast:
        tolerance = (
            1e-5 if name.startswith(first) or recipe == "cyclegan" else 1e-3
        )  # Adam's first step is a sign
        assert float(fast[name]) == pytest.approx(
            float(plain[name]), rel=tolerance, abs=tolerance
        ), name


# ---------------------------------------------------------------- shared forward passes


class Sharing(Method):
    """A method whose two updates use the same generated images.

    shared=False: each update generates them again, from the same noise"""

    def __init__(self, shape: Shape, shared: bool = True, twice: bool = False) -> None:
        super().__init__()
        self.G = nn.Sequential(
            nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3 * 8 * 8), nn.Unflatten(1, (3, 8, 8))
        )
        self.D = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 1))
        self.shared, self.twice = shared, twice
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock, batches):
        real = next(batches)
        real = real.having(z=rng.normal(len(real), 4))
        if self.shared:
            real = real.having(
                **(yield Forward("G", lambda b: {"fake": self.G(b.z)}, real)).outputs
            )
        yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)
        if self.twice:
            yield Update("G", self.g_loss, real)

    def d_loss(self, b: Batch) -> Terms:
        return Terms(self.D(b.x).square().mean() - self.D(self.fake(b)).mean())

    def g_loss(self, b: Batch) -> Terms:
        return Terms(self.D(self.fake(b)).mean() + 0.1 * self.fake(b).square().mean())

    def fake(self, b: Batch) -> Tensor:
        return b.fake if self.shared else self.G(b.z)

    def latent(self, n: int) -> Tensor:
        return rng.normal(n, 4)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        return self.G(self.latent(n) if z is None else z)


def sharing(tmp_path: Path, micro: int | None = None, **options: Any) -> Engine:
    data = tmp_path / "data"
    if not data.exists():
        toy_images(data)
    sgd = partial(SGD, lr=0.1)
    run = Run(
        method=partial(Sharing, **options),
        data=partial(images, source=str(data), size=8),
        optim={"G": sgd, "D": sgd},
        batch=8,
        images=80,
        micro=micro,
    )
    return Engine(run, run.data())


@pytest.mark.parametrize("micro", [None, 3, 1])
def test_a_shared_forward_pass_moves_the_weights_as_two_passes(
    tmp_path: Path, micro: int | None
) -> None:
    once, again = sharing(tmp_path, micro), sharing(tmp_path, micro, shared=False)
    for _ in range(3):
        once.step()
        again.step()
    for (name, a), b in zip(
        once.method.state_dict().items(), again.method.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, msg=name)


def test_the_others_do_not_see_its_history(tmp_path: Path) -> None:
    engine = sharing(tmp_path)
    seen: list[tuple[str, bool]] = []
    for name in ("d_loss", "g_loss"):
        plain = getattr(engine.method, name)
        setattr(
            engine.method,
            name,
            lambda b, n=name, f=plain: (seen.append((n, b.fake.requires_grad)), f(b))[1],
        )
    engine.step()
    assert seen == [("d_loss", False), ("g_loss", True)]


def test_it_serves_one_update(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="serves one update"):
        sharing(tmp_path, twice=True).step()


# ---------------------------------------------------------------- sums of objectives


def test_a_sum_of_objectives_is_descended_as_their_sum(tmp_path: Path) -> None:
    class Two(Sharing):
        def updates(self, clock, batches):
            real = next(batches)
            real = real.having(z=rng.normal(len(real), 4))
            parts = (self.d_loss, self.weigh)
            whole = lambda b: Terms(torch.stack([f(b).loss for f in parts]).sum())  # noqa: E731
            yield Update("D", whole if self.twice else parts, real)
            yield Update("G", self.g_loss, real)

        def weigh(self, b: Batch) -> Terms:
            return Terms(0.01 * self.D(b.x).abs().mean())

    def step(twice: bool) -> Engine:
        engine = sharing(tmp_path, shared=False)
        engine.method.__class__ = Two
        vars(engine.method)["twice"] = twice
        return engine

    one, two = step(True), step(False)
    assert float(one.step()["D/loss"]) == pytest.approx(float(two.step()["D/loss"]), rel=1e-6)
    torch.testing.assert_close(one.method.state_dict(), two.method.state_dict())


# ---------------------------------------------------------------- optimizers, precision, compiling


def test_optimizers_are_fused_unless_the_run_sets_it(tmp_path: Path) -> None:
    def groups(make: Any) -> dict[str, Any]:
        return build._fused(make)([nn.Parameter(torch.zeros(2))]).param_groups[0]

    assert groups(partial(Adam, lr=0.1))["fused"] is True
    assert groups(partial(torch.optim.RMSprop, lr=0.1))["foreach"] is True
    assert groups(partial(Adam, lr=0.1, foreach=True))["fused"] is None


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # torch's own tracing
@pytest.mark.parametrize(
    ("recipe", "smaller"),
    [
        ("wgan_gp", ["G.width=2", "D.width=2", "data.size=8", "n_critic=1"]),
        ("dcgan_digits", ["r1_every=1"]),
        ("cyclegan", []),
    ],
)
def test_compiled_networks_give_the_same_losses(
    recipe: str, smaller: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trace and differentiate with torch.compile, without its slow code generation."""
    compile = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, mode: compile(self, backend="aot_eager"))
    data = toy_data(recipe, tmp_path / "data")
    plain = toy_run(recipe, data, *smaller)
    compiled = toy_run(recipe, data, *smaller, "compile=default")
    a, b = (Engine(run, run.data()) for run in (plain, compiled))
    for _ in range(2):
        expected = {k: float(v) for k, v in a.step().items()}
        assert {k: float(v) for k, v in b.step().items()} == pytest.approx(
            expected, rel=1e-3, abs=1e-3
        )


def test_unknown_ways_are_refused(tmp_path: Path) -> None:
    data = toy_data("gan", tmp_path / "data")
    for setting, message in (
        ("precision=fp8", "fp32, tf32 or bf16"),
        ("compile=fast", "reduce-overhead"),
    ):
        run = toy_run("gan", data, setting)
        with pytest.raises(UserError, match=message):
            Engine(run, run.data())


def test_every_recipe_is_here() -> None:
    assert sorted(SMALL) == sorted(recipes.all_recipes())
