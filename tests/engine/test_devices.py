"""Steps on a device without data: torch's meta device stands for an accelerator.

Meta tensors have shapes and a device, so that a whole step runs: forward, backward,
optimizers, averages and logs. torch's fake CUDA tensors need a torch with CUDA to
differentiate them.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from toys import distinct_recipes, toy_data, toy_run

from ganvas import recipes
from ganvas.core import rng
from ganvas.engine import build
from ganvas.engine.engine import Engine
from ganvas.media import blur_kernels

aten = torch.ops.aten
# The last copies the values of torch.tensor(values, device=...).
COPIES = (aten._to_copy.default, aten.copy_.default, aten.lift_fresh.default)
# Steps that wait for the device, since a value on it decides how they go on.
WAITS = {
    "colour": "in_gamut",  # only colors outside the gamut are searched for
    "multiscale_patch": "updates",  # D rests while it is right too often
    "singan": "updates",  # whether a scale has begun
}


# What takes long here and is done again: updates, and singular values (sngan has them).
SHORTER = {
    "biggan": ("n_critic=1", "sigma_every=0"),
    "sagan": ("sigma_every=0",),
    "singan": ("updates=1",),
    "sngan": ("n_critic=1",),
}


def families() -> list[str]:
    """One recipe for each method: what a test of a few seconds can run."""
    methods: dict[object, str] = {}
    for name in distinct_recipes():
        run: Any = recipes.find(name)(1)
        methods.setdefault(run.method.func, name)
    return sorted(methods.values())


class OneDevice(TorchDispatchMode):
    """Notes what is computed on the processor, and what reads a value of the device.

    Constants and draws may be made on the processor, if they are only copied from
    there. A value that is read is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.strays: set[str] = set()
        self.waits: set[str] = set()
        self.watching = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; keeping the compiler out of each operation takes long."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default:
            if not args[0].is_meta:
                return func(*args, **kwargs)
            self.waits.add(place())
            return torch.zeros((), dtype=args[0].dtype).item()
        if self.watching and func not in COPIES and not func.is_view and strays((args, kwargs)):
            self.strays.add(f"{func} in {place()}")
        return func(*args, **kwargs)

    def apart(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which works on the processor by intention."""

        def called(*args: Any, **kwargs: Any) -> Any:
            self.watching, before = False, self.watching
            try:
                return function(*args, **kwargs)
            finally:
                self.watching = before

        return called


def strays(arguments: object) -> bool:
    """Whether some tensor among the arguments of an operation is not on the device."""
    if isinstance(arguments, torch.Tensor):
        return not arguments.is_meta
    if isinstance(arguments, dict):
        return any(map(strays, arguments.values()))
    return isinstance(arguments, tuple | list) and any(map(strays, arguments))


def place() -> str:
    """The innermost function of ganvas that is being called."""
    stack = traceback.extract_stack()
    return next(f.name for f in reversed(stack) if "/ganvas/" in Path(f.filename).as_posix())


@pytest.fixture
def meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch lacks for this device: autocast and fused optimizers."""
    autocast = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: autocast("cpu", enabled=False))
    monkeypatch.setattr(build, "EXECUTION_FLAGS", ("foreach",))


@pytest.mark.usefixtures("meta")
@pytest.mark.parametrize("recipe", families())
def test_a_step_computes_on_its_device(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = toy_run(recipe, toy_data(recipe, tmp_path), "seed=3", *SHORTER.get(recipe, ()))
    feed, mode = run.data(), OneDevice()
    feed.degrade = None  # Real-ESRGAN's: NumPy's draws, on the processor by intention
    engine = Engine(run, feed, "meta")
    # A batch is cut on the processor, and optimizers count their steps there.
    monkeypatch.setattr(feed, "draw", mode.apart(feed.draw))
    # A kernel that is computed in float64, once for each device.
    monkeypatch.setattr(blur_kernels, "gaussian", mode.apart(blur_kernels.gaussian))
    for optimizer in engine.optim.values():
        monkeypatch.setattr(optimizer, "step", lambda: None)
    with mode:
        log = engine.step()
    assert not mode.strays
    assert mode.waits == ({WAITS[recipe]} if recipe in WAITS else set())
    assert {k for k, v in log.items() if not v.is_meta} == set(), "terms of the log elsewhere"
    kept = engine.method.state_dict() | engine.ema.state_dict()
    assert {k for k, v in kept.items() if not v.is_meta} == set(), "weights and buffers elsewhere"


@pytest.mark.usefixtures("meta")
def test_a_draw_on_the_processor_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = toy_run("gan", toy_data("gan", tmp_path), "seed=3")
    engine, mode = Engine(run, run.data(), "meta"), OneDevice()

    def latent(n: int) -> torch.Tensor:
        return (2 * rng.uniform(n, 100) - 1).to("meta")

    monkeypatch.setattr(engine.method, "latent", latent)
    with mode:
        engine.step()
    assert {stray.split()[0] for stray in mode.strays} == {"aten.mul.Tensor", "aten.sub.Tensor"}
