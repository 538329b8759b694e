"""Build a run's method and optimizers; reject settings before data are opened.

`rehearse` checks a whole run without memory for its weights. `build` and
`make_optimizer` build for real. `attach_augmentation` and `compile_networks` prepare a
method for training.
"""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ganvas.core import Measure, Method, Run, Shape, Translates, distributed
from ganvas.core.environment import memory
from ganvas.core.errors import CapabilityError, ConfigError, UserError, printable
from ganvas.core.meta_device import on_meta
from ganvas.engine.freezing import trained_weights

PRECISIONS = ("fp32", "tf32", "bf16")
# torch.compile's
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
# An optimizer's settings that decide how it computes, not what.
EXECUTION_FLAGS = ("fused", "foreach")
MAX_BATCH = 1_000_000
MAX_IMAGES = 1 << 53  # beyond it JSON's readers disagree
MAX_SEED = (1 << 63) - 1  # torch's
MAX_SETTING = 1 << 20  # of a network: widths, numbers of layers
# Weights, gradients and two moments, in float32.
TRAINING_BYTES_PER_WEIGHT = 4 * 4


def without_weights(run: Run, shape: Shape) -> Method:
    """Build a run's method without memory for weights, for its networks' settings."""
    with on_meta(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zero-sized weights
        return build(run, shape)


def rehearse(run: Run, shape: Shape, device: torch.device) -> Method:
    """Check a run by building its method on the meta device, which takes no memory.

    shape: of the data
    device: on which the run is to train

    Returns the method, without memory for its weights. Raises `UserError` for settings
    that cannot be used, for sides that the networks cannot take, and for networks or a
    batch that are larger than the device's memory.
    """
    check_numbers(run)
    with on_meta(bounded=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zero-sized weights are reported below
        method = build(run, shape)
        if run.augment is not None:
            attach_augmentation(method, run.augment(), shape.channels)
    check_players(run, method)
    trained_weights(method, run.frozen)
    for player, nets in method.players.items():
        make_optimizer(run, player, [nn.Parameter(torch.zeros(1))])
        if any(w.numel() == 0 for net in nets for w in net.parameters()):
            raise ConfigError(f"{player} has layers without weights: give a width of at least 1")
    _check_sides(run, method, shape)
    available = memory(device, unknown=sys.maxsize)
    _check_weights(method, available)
    _check_batch(run, shape, available)
    return method


def require_buildable(run: Run, shape: Shape, device: torch.device) -> None:
    """Check a description that may come from anybody, before memory is taken for it.

    Raises `ConfigError` for networks of too many layers, and for networks that are
    larger than the device's memory.
    """
    for value in _whole_numbers(run.method):
        if abs(value) > MAX_SETTING:
            raise ConfigError(
                f"the networks cannot be built: the setting {value} is larger than {MAX_SETTING:,}"
            )
    with on_meta(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = build(run, shape)
    _check_weights(method, memory(device, unknown=sys.maxsize))


def _whole_numbers(part: Any) -> list[int]:
    """The integers among the settings of a part of a run and of its parts."""
    if isinstance(part, partial):
        part = list(part.keywords.values())
    if isinstance(part, list | tuple):
        return [n for p in part for n in _whole_numbers(p)]
    return [part] if isinstance(part, int) else []


def check_numbers(run: Run) -> None:
    """Raise `ConfigError` for unknown modes and impossible counts."""
    if run.precision not in PRECISIONS:
        raise ConfigError(
            f"precision {run.precision!r} is not known; choose auto, fp32, tf32 or bf16"
        )
    if run.compile is not None and run.compile not in COMPILE_MODES:
        modes = ", ".join(COMPILE_MODES)
        raise ConfigError(f"compile mode {run.compile!r} is not known; choose {modes}")
    if run.best not in get_args(Measure):
        raise ConfigError(
            f"best is {printable(run.best)!r}; expected {', '.join(get_args(Measure))}"
        )
    for name, count, most in (
        ("images", run.images, MAX_IMAGES),
        ("batch", run.batch, MAX_BATCH),
    ):
        if not 1 <= count <= most:
            raise ConfigError(f"{name} must be at least 1 and at most {most:,}; got {count}")
    if run.micro is not None and not 1 <= run.micro <= MAX_BATCH:
        raise ConfigError(
            f"micro={run.micro}: expected images per forward pass, 1 to {MAX_BATCH:,}, or null"
        )
    if not 0 <= run.seed <= MAX_SEED:
        raise ConfigError(f"seed={run.seed}: expected 0 to {MAX_SEED}")
    world = distributed.world()
    if run.batch < world or run.batch % world:
        raise ConfigError(
            f"a batch of {run.batch} cannot be shared by {world} processes: give a multiple of it"
        )


def build(run: Run, shape: Shape) -> Method:
    """Build the run's method for images of a shape.

    Raises `UserError` for settings that it cannot be built with.
    """
    try:
        return _strict(run.method)(shape)
    except UserError:
        raise
    except (
        ValueError,
        TypeError,
        ArithmeticError,
        AssertionError,
        IndexError,
        RuntimeError,
        MemoryError,
    ) as e:
        raise ConfigError(
            f"the networks cannot be built with these settings: {_first_line(e)}"
        ) from e


def make_optimizer(run: Run, player: str, weights: list[Tensor]) -> torch.optim.Optimizer:
    """Build a player's optimizer. Raises `ConfigError` for unusable settings."""
    try:
        return _fused(run.optim[player])(weights)
    except (ValueError, TypeError, RuntimeError, OverflowError) as e:
        raise ConfigError(f"the optimizer of {player} cannot be built: {_first_line(e)}") from e


def check_players(run: Run, method: Method) -> None:
    """Raise `ConfigError` unless the run has an optimizer for each player."""
    if set(method.players) != set(run.optim):
        raise ConfigError(
            f"the run's optimizers {sorted(run.optim)} are not the method's "
            f"{sorted(method.players)}"
        )


def attach_augmentation(method: Method, augmentation: nn.Module, channels: int) -> None:
    """Augment what the method's discriminators see in training.

    The augmentation becomes a submodule of the method, so that its buffers are saved.
    It works by a forward hook, so that the discriminators' weights keep their names,
    and so that every call of a discriminator is augmented (by a loss, a penalty, any
    player).

    channels: of one image of the data

    Raises `CapabilityError` if the method has no discriminator of images, or none whose
    images can be augmented.
    """
    if method.unaugmented:
        raise CapabilityError(
            f"{type(method).__name__} cannot be augmented, for {method.unaugmented}: "
            "leave augment out"
        )
    networks = [getattr(method, name, None) for name in method.discriminators]
    discriminators = [net for net in networks if isinstance(net, nn.Module)]
    if not discriminators:
        raise CapabilityError(
            f"{type(method).__name__} has no discriminator whose images could be augmented: "
            "leave augment out"
        )
    method.augment = augmentation
    augmentation.channels = channels  # pyright: ignore[reportArgumentType] (a number)
    # Disabled here instead of by a decorator, which would import the compiler with this
    # module.
    hook = functools.partial(torch.compiler.disable(_augment_input), augmentation)
    for discriminator in discriminators:
        discriminator.register_forward_pre_hook(hook)


def compile_networks(method: Method, mode: str) -> None:
    """Compile the players' networks in place; weights keep their names.

    mode: of torch.compile, one of `COMPILE_MODES`

    Penalties, which differentiate twice, bypass it (`objectives/penalties.py`).
    """
    for nets in method.players.values():
        for net in nets:
            net.compile(mode=mode)


def set_precision(precision: str, device: torch.device) -> None:
    """Set how this process multiplies on a GPU.

    Called before every step: a process has one setting and may hold several engines.
    """
    if device.type == "cuda":
        tf32 = precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        # Shapes hardly ever change. Another kernel may be the fastest each time.
        torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()


def _check_sides(run: Run, method: Method, shape: Shape) -> None:
    """Raise `ConfigError` for sides of images that the networks cannot take."""
    size = f"{shape.height}x{shape.width} (height x width)"
    leasts = [getattr(m, "least", 0) for m in method.modules()]
    least = max(int(n) for n in [0, *leasts] if isinstance(n, int))
    if min(shape.size) < least:
        raise ConfigError(
            f"the discriminator needs images with sides of at least {least} pixels; got {size}: "
            "give a larger size (--size), or fewer layers with --set D.layers="
        )
    if not isinstance(method, Translates):
        return
    step = method.multiple * method.upscale
    if shape.height % step == 0 and shape.width % step == 0:
        return
    nearest = [str(max(step, round(side / step) * step)) for side in shape.size]
    advice = f"--size {nearest[0] if shape.height == shape.width else 'x'.join(nearest)}"
    depth = min(side & -side for side in shape.size).bit_length() - 1
    if _has_depth(run.method, method) and depth > 1:
        advice += f", or a network of fewer levels: --set G.depth={depth}"
    raise ConfigError(
        f"this network takes images whose sides are multiples of {step}; got {size}: give {advice}"
    )


def _has_depth(part: Any, method: Method) -> bool:
    """Whether the setting `depth` of G decides which sides it takes (U-Nets)."""
    G = part.keywords.get("G") if isinstance(part, partial) else None
    known = inspect.signature(G).parameters if callable(G) else {}
    return "depth" in known and method.upscale == 1


def _check_weights(method: Method, available: int) -> None:
    """Raise `ConfigError` if training the weights needs more than `available` bytes."""
    weights = sum(w.numel() for w in method.parameters())
    need = TRAINING_BYTES_PER_WEIGHT * weights
    if need > available:
        raise ConfigError(
            f"the networks have {weights:,} weights, and training them takes "
            f"{need / 2**30:,.0f} GiB; there are {available / 2**30:,.0f} GiB: give smaller "
            "networks"
        )


def _check_batch(run: Run, shape: Shape, available: int) -> None:
    """Raise `ConfigError` if a batch of images needs more than `available` bytes."""
    pixels = shape.height * shape.width
    need = 4 * run.batch // distributed.world() * shape.channels * pixels
    if need > available:
        raise ConfigError(
            f"a batch of {run.batch:,} images of {shape.height}x{shape.width} pixels takes "
            f"{need / 2**30:,.0f} GiB; there are {available / 2**30:,.0f} GiB: give a smaller "
            "batch or size"
        )


class _StrictPartial(partial[Any]):
    """A partial that rejects settings which the method derives itself, as channels."""

    path = ""  # of its settings in the run, for messages

    def __call__(self, *args: Any, **derived: Any) -> Any:
        for name, value in derived.items():
            if self.keywords.get(name, value) != value:
                raise ConfigError(
                    f"--set {self.path}{name}={self.keywords[name]}: this follows from the data "
                    f"and the other settings, which make it {value}. Leave it out"
                )
        return super().__call__(*args, **derived)


def _strict(part: Any, path: str = "") -> Any:
    """A part of a run with all partials in it strict."""
    if not isinstance(part, partial):
        return part
    keywords = {k: _strict(v, f"{path}{k}.") for k, v in part.keywords.items()}
    strict = _StrictPartial(part.func, *part.args, **keywords)
    strict.path = path
    return strict


def _fused(make: Callable[..., torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """The optimizer in its fastest form, fused or foreach, unless the run names one."""
    known = inspect.signature(make).parameters
    chosen = getattr(make, "keywords", {})
    if any(chosen.get(flag) is not None for flag in EXECUTION_FLAGS):
        return make
    for flag in EXECUTION_FLAGS:
        if flag in known:
            return functools.partial(make, **{flag: True})
    return make


def _augment_input(
    augmentation: nn.Module, discriminator: nn.Module, inputs: tuple[Any, ...]
) -> tuple[Any, ...]:
    return (augmentation(inputs[0]), *inputs[1:]) if discriminator.training else inputs


def _first_line(e: BaseException) -> str:
    return printable(str(e).strip().partition("\n")[0] or type(e).__name__)
