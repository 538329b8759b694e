"""Build a run's method and optimizers, and refuse what cannot work before data are opened."""

from __future__ import annotations

import functools
import inspect
import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.core import Method, Run, Shape, Translates, distributed
from ganvas.core.allocator import total_memory
from ganvas.core.errors import UserError, printable
from ganvas.core.meta_device import on_meta

PRECISIONS = ("fp32", "tf32", "bf16")
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")  # torch.compile's
MAX_BATCH = 1_000_000
MAX_IMAGES = 1 << 53  # beyond it JSON's readers disagree
MAX_SEED = (1 << 63) - 1  # torch's
MAX_SETTING = 1 << 20  # of a network: widths, numbers of layers
EXECUTION_FLAGS = ("fused", "foreach")  # an optimizer's settings that decide how it computes, not what


def _kind(setting: Any) -> type:
    """The type of an optimizer's setting, as far as JSON keeps it."""
    if isinstance(setting, bool) or setting is None:
        return type(setting)
    return tuple if isinstance(setting, list | tuple) else float if isinstance(setting, int | float) else type(setting)


def check_numbers(run: Run) -> None:
    """Raise `UserError` for a precision, compile mode, batch or number of images that no run can have."""
    if run.precision not in PRECISIONS:
        raise UserError(f"precision {run.precision!r} is not known; choose fp32, tf32 or bf16")
    if run.compile is not None and run.compile not in COMPILE_MODES:
        raise UserError(f"compile mode {run.compile!r} is not known; choose {', '.join(COMPILE_MODES)}")
    if run.images < 1 or run.batch < 1:
        raise UserError(f"--images and --batch must be at least 1; got {run.images} and {run.batch}")
    if run.batch > MAX_BATCH or run.images > MAX_IMAGES:
        raise UserError(
            f"--batch may be at most {MAX_BATCH:,} and --images at most {MAX_IMAGES:,}; got {run.batch} and {run.images}"
        )
    if run.micro is not None and not 1 <= run.micro <= MAX_BATCH:
        raise UserError(f"micro={run.micro}: expected a number of images per forward pass, 1 to {MAX_BATCH:,}, or null")
    if not 0 <= run.seed <= MAX_SEED:
        raise UserError(f"seed={run.seed}: expected 0 to {MAX_SEED}")
    if run.batch < distributed.world() or run.batch % distributed.world():
        raise UserError(
            f"a batch of {run.batch} cannot be shared by {distributed.world()} processes: give --batch a multiple of it"
        )


def build(run: Run, shape: Shape) -> Method:
    """The run's method for `shape`. Raises `UserError` for settings that it cannot be built with."""
    try:
        return _strict(run.method)(shape)
    except UserError:
        raise
    except (ValueError, TypeError, ArithmeticError, AssertionError, IndexError, RuntimeError, MemoryError) as e:
        reason = str(e).strip().partition("\n")[0] or type(e).__name__
        raise UserError(f"the networks cannot be built with these settings: {printable(reason)}") from e


def require_buildable(run: Run, shape: Shape, device: torch.device) -> None:
    """Raise `UserError` for networks of absurdly many layers, or larger than the device's memory.

    A description may come from anybody: nothing is allocated before this has passed."""
    for value in _numbers(run.method):
        if abs(value) > MAX_SETTING:
            raise UserError(f"the networks cannot be built: the setting {value} is larger than {MAX_SETTING:,}")
    with on_meta(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = build(run, shape)
    _require_memory(method, device)


def _numbers(part: Any) -> list[int]:
    """The whole numbers among the settings of a part of a run and of the parts in it."""
    if isinstance(part, partial):
        part = [p for k, p in part.keywords.items()]
    if isinstance(part, list | tuple):
        return [n for p in part for n in _numbers(p)]
    return [part] if isinstance(part, int) else []


def _require_memory(method: Method, device: torch.device) -> None:
    memory = total_memory(device)
    weights = sum(w.numel() for w in method.parameters())
    if memory is not None and 4 * 4 * weights > memory:  # weights, gradients, two moments: float32
        raise UserError(
            f"the networks have {weights:,} weights, and training them takes {4 * 4 * weights / 2**30:,.0f} GiB; there "
            f"are {memory / 2**30:,.0f} GiB: give smaller networks"
        )


def check_players(run: Run, method: Method) -> None:
    """Raise `UserError` unless the run has an optimizer for each of the method's players."""
    if set(method.players) != set(run.optim):
        raise UserError(f"the run's optimizers {sorted(run.optim)} are not the method's {sorted(method.players)}")


def make_optimizer(run: Run, player: str, weights: list[Tensor]) -> torch.optim.Optimizer:
    """The player's optimizer. Raises `UserError` for settings that it does not take."""
    try:
        return _fused(run.optim[player])(weights)
    except (ValueError, TypeError, RuntimeError, OverflowError) as e:
        reason = str(e).strip().partition("\n")[0] or type(e).__name__
        raise UserError(f"the optimizer of {player} cannot be built: {printable(reason)}") from e


def rehearse(run: Run, shape: Shape, device: torch.device) -> Method:
    """Build the run's method for `shape` on the meta device, which takes no memory, and check what it needs.

    Raises `UserError` for settings that cannot be used, for sides that the networks cannot take, and for networks or a batch
    that are larger than the device's memory. Returns the method."""
    check_numbers(run)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zero-sized weights are named below
        method = build(run, shape)
        if run.augment is not None:
            _augment(method, run.augment(), shape.channels)
    check_players(run, method)
    for player, nets in method.players.items():
        make_optimizer(run, player, [nn.Parameter(torch.zeros(1))])
        if any(w.numel() == 0 for net in nets for w in net.parameters()):
            raise UserError(f"{player} has layers without weights: give a width of at least 1")
    _check_sides(run, method, shape)
    _require_memory(method, device)
    memory = total_memory(device)
    if memory is not None:
        batch = 4 * run.batch // distributed.world() * shape.channels * shape.height * shape.width
        if batch > memory:
            raise UserError(
                f"a batch of {run.batch:,} images of {shape.height}x{shape.width} pixels takes {batch / 2**30:,.0f} GiB; there "
                f"are {memory / 2**30:,.0f} GiB: give a smaller --batch or --size"
            )
    return method


def _check_sides(run: Run, method: Method, shape: Shape) -> None:
    """Raise `UserError` for sides that the method's networks cannot take in training."""
    least = max(
        (int(getattr(m, "least", 0)) for m in method.modules() if isinstance(getattr(m, "least", 0), int)), default=0
    )
    if min(shape.size) < least:
        raise UserError(
            f"the discriminator needs images with sides of at least {least} pixels; got {shape.height}x{shape.width} "
            "(height x width): give a larger --size, or fewer layers with --set D.layers="
        )
    if not isinstance(method, Translates):
        return
    step = method.multiple * method.upscale
    if shape.height % step == 0 and shape.width % step == 0:
        return
    depth = min(side & -side for side in shape.size).bit_length() - 1
    fewer = (
        f", or a network of fewer levels: --set G.depth={depth}" if _has_depth(run.method, method) and depth > 1 else ""
    )
    near = "x".join(str(max(step, round(side / step) * step)) for side in shape.size)
    raise UserError(
        f"this network takes images whose sides are multiples of {step}; got {shape.height}x{shape.width} (height x width): "
        f"give --size {near if shape.height != shape.width else near.partition('x')[0]}{fewer}"
    )


def _has_depth(part: Any, method: Method) -> bool:
    """Whether G's sides are decided by its setting `depth` (U-Nets)."""
    G = part.keywords.get("G") if isinstance(part, partial) else None
    known = inspect.signature(G).parameters if callable(G) else {}
    return "depth" in known and method.upscale == 1


class _StrictPartial(partial[Any]):
    """A part of a run, which does not let its settings be replaced in silence by what the method knows (channels, sides)."""

    path = ""

    def __call__(self, *args: Any, **known: Any) -> Any:
        for name, value in known.items():
            if self.keywords.get(name, value) != value:
                raise UserError(
                    f"--set {self.path}{name}={self.keywords[name]}: this follows from the data and the other settings, which "
                    f"make it {value}. Leave it out"
                )
        return super().__call__(*args, **known)


def _strict(part: Any, path: str = "") -> Any:
    if not isinstance(part, partial):
        return part
    inner = {k: _strict(v, f"{path}{k}.") for k, v in part.keywords.items()}
    told = _StrictPartial(part.func, *part.args, **inner)
    told.path = path
    return told


def _fused(make: Any) -> Any:
    """An optimizer in its fastest form, where the run does not say which: fused where it can be, else by lists of tensors."""
    known = inspect.signature(make).parameters
    said = getattr(make, "keywords", {})
    for how in EXECUTION_FLAGS:
        if how in known and not any(said.get(k) is not None for k in EXECUTION_FLAGS):
            return functools.partial(make, **{how: True})
    return make


def _augment(method: Method, augment: nn.Module, channels: int) -> None:
    """Have the images of the method's judges pass `augment` in training. It becomes a part of the method, so that its buffers
    are saved; a hook, so that the judges' weights keep their names, and whatever calls a judge (a loss, a penalty, any
    player's) is augmented alike."""
    discriminators = [getattr(method, name) for name in method.discriminators if hasattr(method, name)]
    if not discriminators:
        raise UserError(
            f"{type(method).__name__} has no discriminator whose images could be augmented: leave --augment out"
        )
    method.augment = augment
    augment.channels = channels  # pyright: ignore[reportArgumentType] (not a submodule: a number)
    # Disabled here and not where it is written, since that imports the whole compiler with this module.
    hook = functools.partial(torch.compiler.disable(_augmented), augment)
    for judge in discriminators:
        judge.apart = False  # real and generated images are drawn for separately (nets/layers.py, together)
        judge.register_forward_pre_hook(hook)


def _augmented(augment: nn.Module, judge: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (augment(inputs[0]), *inputs[1:]) if judge.training else inputs


def _compile(method: Method, mode: str) -> None:
    """The players' networks through torch.compile, in place, so that their weights keep their names. Penalties, which
    differentiate twice, pass by it (`objectives/penalties.py`)."""
    for nets in method.players.values():
        for net in nets:
            net.compile(mode=mode)
