"""The engine performs a method's updates. It knows of optimizers, devices, ranks, precision and averaging, and of no method."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.core import (
    Batch,
    Clock,
    Forward,
    Method,
    Outcome,
    Run,
    Stage,
    Terms,
    Update,
    distributed,
    rng,
)
from ganvas.core.errors import NumericalError, UserError, printable
from ganvas.engine.build import (
    EXECUTION_FLAGS,
    _augment,
    _compile,
    _kind,
    build,
    check_numbers,
    check_players,
    make_optimizer,
)


@dataclass
class _CachedForward:
    """What a `Make` left for its player's update: `leaves` are what the plan and the objectives see."""

    make: Forward
    seed: int
    leaves: dict[str, Tensor]
    graph: (
        dict[str, Tensor] | None
    )  # the same tensors with their history; None: to be computed again, part by part
    used: bool = False


class Engine:
    """`run`'s method, optimizers and averaged weights, and the clock.

    `feed` gives real images: `feed.draw(cursor, n, seed=..., rows=..., resolution=..., device=...) -> Batch`.
    Raises `UserError` where the run's numbers cannot be used together."""

    def __init__(self, run: Run, feed: Any, device: str | torch.device = "cpu") -> None:
        check_numbers(run)
        self.run, self.feed, self.device = run, feed, torch.device(device)
        torch.manual_seed(rng.fold_in(run.seed, "init"))  # the same weights on every rank
        self.method = build(run, feed.info.shape)
        if run.augment is not None:
            _augment(self.method, run.augment(), feed.info.shape.channels)
        self.method.to(self.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (torch's stubs lack it)
        self.clock = Clock()
        self.method.current_stage = self.method.stage(self.clock)
        self.ema: nn.ModuleDict = nn.ModuleDict()
        if run.ema is not None:
            self.ema = nn.ModuleDict(
                {n: copy.deepcopy(self.method.get_submodule(n)) for n in self.method.ema_networks}
            )
            self.ema.requires_grad_(False)
        check_players(run, self.method)
        self.parameters = {
            p: [w for m in nets for w in m.parameters()] for p, nets in self.method.players.items()
        }
        self._views = {
            p: [_in_memory_order(w.detach()) for w in ws] for p, ws in self.parameters.items()
        }
        self.optim = self._optimizers()
        self._base_lr = {p: [g["lr"] for g in o.param_groups] for p, o in self.optim.items()}
        self._mover: str | None = None
        self._seeded = 0
        self._made: list[_CachedForward] = []
        self._adaptive = {k: m for k, m in self.method.named_modules() if hasattr(m, "adapt")}
        self._averages: tuple[list[Tensor], ...] | None = None
        if run.compile is not None:
            _compile(self.method, run.compile)

    # ------------------------------------------------------------ one step of the clock

    def step(self) -> dict[str, Tensor]:
        """Perform one plan, from its first update to its last. Returns every scalar that its objectives logged, as
        `player/term`, mean over the plan's updates, detached and on the device.

        A module of the method that follows what is logged (an augmentation's strength) has `adapt(log, images) -> log`."""
        stage = self.method.stage(self.clock)
        if stage.index != self.method.current_stage.index:
            self.optim = self._optimizers()
        self.method.current_stage = stage
        self.method.train()
        self._images, self._seeded, self._gain = 0, 0, stage.lr
        whole = stage.batch or self.run.batch
        local = whole // distributed.world()
        mine = rng.Rows(distributed.rank() * local, (distributed.rank() + 1) * local, whole)
        self._set_precision()
        self._made.clear()
        logs: dict[str, list[Tensor]] = {}
        plan = self.method.updates(self.clock, self._batches(stage.resolution, mine))
        self._reseed()
        outcome = None
        while True:
            try:
                with rng.rows(mine):
                    update = next(plan) if outcome is None else plan.send(outcome)
            except StopIteration:
                break
            if isinstance(update, Forward):
                outcome = self.make(update)
                continue
            outcome = self.apply(update)
            for name, value in outcome.log.items():
                logs.setdefault(f"{update.player}/{name}", []).append(value)
        self.clock = Clock(self.clock.step + 1, self.clock.images + self._images)
        self._average()
        log = {k: torch.stack(v).mean() if len(v) > 1 else v[0] for k, v in logs.items()}
        for name, module in self._adaptive.items():
            log |= {f"{name}/{k}": v for k, v in module.adapt(log, self._images).items()}  # type: ignore[operator]
        return log

    def apply(self, update: Update) -> Outcome:
        """One optimizer step: only `update.player`'s parameters receive gradients and move."""
        self._give_the_move(update.player)
        parameters = self.parameters[update.player]
        for weight in parameters:
            weight.grad = None
        mine = [m for m in self._made if m.make.player == update.player]
        made = [m for m in mine if any(update.batch.holds(leaf) for leaf in m.leaves.values())]
        assert not any(m.used for m in made), (
            "what was made serves one update of its player: make it again"
        )
        for leaf in (leaf for m in made for leaf in m.leaves.values()):
            leaf.requires_grad_(True)
        objectives = (
            update.objective if isinstance(update.objective, Sequence) else (update.objective,)
        )
        seeds = [self._next_seed() for _ in objectives]
        log: dict[str, Tensor] = {}
        kept: dict[str, list[Tensor]] = {}
        with self._autocast():  # once around all objectives, so that weights are narrowed once
            for part, rows, share in self._parts(update.batch):
                for objective, seed in zip(objectives, seeds, strict=True):
                    terms: Terms = self._run(objective, part, rows, seed)
                    with self._autocast(False):
                        (terms.loss * share if share < 1 else terms.loss).backward()
                    for name, value in {"loss": terms.loss, **terms.log}.items():
                        wide = torch.promote_types(value.dtype, torch.float32)
                        log[name] = log.get(name, 0) + value.detach().to(wide) * share
                    for name, value in terms.outputs.items():
                        kept.setdefault(name, []).append(value)
        for m in made:
            self._carry_back(m)
        distributed.all_reduce_mean_(
            [p.grad for p in parameters if p.grad is not None] + list(log.values())
        )
        self._check_finite(update.player, log)
        optimizer = self.optim[update.player]
        self._schedule(update.player, optimizer, update.gain)
        for weight, view in zip(parameters, self._views[update.player], strict=True):
            view.grad = None if weight.grad is None else _in_memory_order(weight.grad)
        optimizer.step()
        self._reseed()
        return Outcome(log, {k: torch.cat(v) if len(v) > 1 else v[0] for k, v in kept.items()})

    def make(self, make: Forward) -> Outcome:
        """Tensors for several turns, with their history where the whole batch passes at once. Micro-batches are there to
        save memory: with them the history is computed again when it is needed."""
        self._give_the_move(make.player)
        seed, parts = self._next_seed(), list(self._parts(make.batch))
        with torch.set_grad_enabled(len(parts) == 1), self._autocast():
            outs = [self._run(make.maker, part, rows, seed) for part, rows, _ in parts]
        leaves = {
            k: torch.cat([out[k].detach() for out in outs])
            if len(outs) > 1
            else outs[0][k].detach()
            for k in outs[0]
        }
        self._made.append(
            _CachedForward(make, seed, leaves, dict(outs[0]) if len(parts) == 1 else None)
        )
        self._reseed()
        return Outcome({}, leaves)

    def _carry_back(self, made: _CachedForward) -> None:
        """The gradients that arrived at what was made, on into the networks that made it."""
        grads = {k: leaf.grad for k, leaf in made.leaves.items() if leaf.grad is not None}
        if made.graph is not None:
            torch.autograd.backward([made.graph[k] for k in grads], list(grads.values()))
        else:
            at = 0
            for part, rows, _ in self._parts(made.make.batch):
                with self._autocast():
                    out = self._run(made.make.maker, part, rows, made.seed)
                here = slice(at, at + len(part))
                torch.autograd.backward([out[k] for k in grads], [g[here] for g in grads.values()])
                at += len(part)
        for leaf in made.leaves.values():
            leaf.requires_grad_(False)
            leaf.grad = None
        made.graph, made.used = None, True

    def _parts(self, batch: Batch) -> Iterator[tuple[Batch, rng.Rows, float]]:
        """(micro-batch, its rows of the whole batch, its share of this rank's)."""
        local, world, rank = len(batch), distributed.world(), distributed.rank()
        micro = self.run.micro or local
        for start in range(0, local, micro):
            part = batch[start : start + micro] if micro < local else batch
            rows = rng.Rows(rank * local + start, rank * local + start + len(part), world * local)
            yield part, rows, len(part) / local

    def _run(self, function: Any, part: Batch, rows: rng.Rows, seed: int) -> Any:
        """An objective or a maker of a plan, on `part`."""
        self._seed(seed)  # draws are per row of the whole batch: the same however it is cut
        with rng.rows(rows):
            return function(part)

    def _autocast(self, on: bool = True) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, on and self.run.precision == "bf16")

    def _batches(self, resolution: int | None, mine: rng.Rows) -> Iterator[Batch]:
        """Real images, this rank's rows of each batch. What is drawn here is what the clock counts."""
        while True:
            cursor = self.clock.images + self._images
            self._images += mine.total
            yield self.feed.draw(
                cursor,
                mine.total,
                seed=self.run.seed,
                rows=mine,
                resolution=resolution,
                device=self.device,
            )

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            player: make_optimizer(self.run, player, views) for player, views in self._views.items()
        }

    def _set_precision(self) -> None:
        """A process has one setting for its products, so it is made before every step."""
        if self.device.type == "cuda":
            tf32 = self.run.precision == "tf32"
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
            torch.backends.cudnn.benchmark = (
                True  # shapes hardly ever change: let it choose the fastest kernels
            )

    def _give_the_move(self, player: str) -> None:
        """Freeze the opponents: their weights pass gradients on and gather none."""
        if self._mover != player:
            self.method.requires_grad_(False)
            for w in self.parameters[player]:
                w.requires_grad_(True)
            self._mover = player

    def _schedule(self, player: str, optimizer: torch.optim.Optimizer, gain: float) -> None:
        scale = gain * self._gain * (self.run.lr(self.clock) if self.run.lr else 1.0)
        for group, base in zip(optimizer.param_groups, self._base_lr[player], strict=True):
            group["lr"] = base * scale
            if self.run.momentum and "momentum" in group:
                group["momentum"] = self.run.momentum(self.clock)
            if self.run.beta2 and "betas" in group:
                group["betas"] = (group["betas"][0], self.run.beta2(self.clock))

    def _average(self) -> None:
        if self.run.ema is None:
            return
        weight = 1.0 - self.run.ema(self.clock, self._images)
        if self._averages is None:
            now = [
                v
                for name in self.ema
                for v in self.method.get_submodule(name).state_dict().values()
            ]
            mean = [v for average in self.ema.values() for v in average.state_dict().values()]
            pairs = list(zip(mean, now, strict=True))
            floats, others = (
                [p for p in pairs if p[0].is_floating_point() == wanted] for wanted in (True, False)
            )
            self._averages = tuple(
                [p[i] for p in part] for part in (floats, others) for i in (0, 1)
            )
        mean, now, counts, counted = self._averages
        with torch.no_grad():
            torch._foreach_lerp_(mean, now, weight)
            for old, new in zip(counts, counted, strict=True):
                old.copy_(new)

    # Every draw of a run is a function of (seed, step, how many draws' worth of turns came before in this step).
    def _next_seed(self) -> int:
        self._seeded += 1
        return rng.fold_in(self.run.seed, self.clock.step, self._seeded)

    def _reseed(self) -> None:
        self._seed(self._next_seed())

    def _seed(self, seed: int) -> None:
        """`torch.manual_seed`. That one also takes notes for accelerators that were never used, which lasts longer than a
        small network's forward pass."""
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)

    # ------------------------------------------------------------ health

    def _check_finite(self, player: str, log: Mapping[str, Tensor]) -> None:
        if (
            self.device.type == "cpu"
        ):  # elsewhere it would wait for the device; the trainer checks what it reads
            self.complain_of({f"{player}/{k}": float(v) for k, v in log.items()})

    def complain_of(self, scalars: Mapping[str, float]) -> None:
        """Raise `NumericalError` if one of them is not finite, naming it."""
        bad = [k for k, v in scalars.items() if not math.isfinite(v)]
        if bad:
            rest = ", ".join(f"{k} = {v:.4g}" for k, v in scalars.items() if k not in bad) or "none"
            raise NumericalError(
                f"{' and '.join(bad)} became {scalars[bad[0]]} at step {self.clock.step}, image {self.clock.images}. "
                f"Finite terms at that moment: {rest}."
            )

    def check_weights(self) -> None:
        """Raise `NumericalError` if a weight or an optimizer's state is NaN or infinite: it is never saved over a good
        one. (A finite gradient of 1e25 makes Adam's second moment infinite, and its weight never moves again.)"""
        for name, value in self.method.state_dict().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise NumericalError(
                    f"the weights {name} are no longer finite at image {self.clock.images}."
                )
        for player, optimizer in self.optim.items():
            for index, weight in enumerate(self._views[player]):
                for slot, value in optimizer.state.get(weight, {}).items():
                    if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
                        name = self._name(self.parameters[player][index])
                        raise NumericalError(
                            f"the optimizer's state of {player} ({slot} of {name}) is no longer finite at image "
                            f"{self.clock.images}: a gradient was too large."
                        )

    def _name(self, weight: Tensor) -> str:
        return next((name for name, w in self.method.named_parameters() if w is weight), "a weight")

    # ------------------------------------------------------------ what it has made

    def model(self) -> Method:
        """The method as one would use it: averaged weights where the run averages, evaluation mode."""
        model = copy.deepcopy(self.method)
        for name, average in self.ema.items():
            model.get_submodule(name).load_state_dict(average.state_dict())
        model.current_stage = self.method.stage(self.clock)
        return model.eval().requires_grad_(False)

    # ------------------------------------------------------------ state

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
        """(plain values, tensors that all ranks share, tensors of this rank alone)."""
        own = self._own_keys()
        method = self.method.state_dict()
        shared = {f"method/{k}": v for k, v in method.items() if k not in own}
        shared |= {f"ema/{k}": v for k, v in self.ema.state_dict().items()}
        scalars: dict[str, Any] = {}
        for player, optimizer in self.optim.items():
            groups = optimizer.state_dict()
            scalars[player] = [
                {k: v for k, v in g.items() if k not in ("params", *EXECUTION_FLAGS)}
                for g in groups["param_groups"]
            ]
            for index, slots in groups["state"].items():
                weight = self.parameters[player][index]
                for k, v in slots.items():
                    if isinstance(v, Tensor):
                        shared[f"optim/{player}/{index}/{k}"] = _as_the_weight(v, weight)
        values = {
            "clock": {"step": self.clock.step, "images": self.clock.images},
            "stage": self.method.current_stage.index,
            "optim": scalars,
            "ranks": distributed.world(),
        }
        return values, shared, {f"method/{k}": method[k] for k in own}

    def load_state(
        self, values: dict[str, Any], shared: Mapping[str, Tensor], own: Mapping[str, Tensor] | None
    ) -> None:
        """The inverse of `state`. `own` None: this rank did not exist before; its own buffers start afresh.

        Raises `UserError` for a state of another method, of other sizes, or of other optimizers."""
        try:
            self._load_state(values, shared, own)
        except (RuntimeError, KeyError, IndexError, TypeError, ValueError) as e:
            raise UserError(
                f"this checkpoint belongs to another method or other sizes: {printable(e)}"
            ) from None

    def _load_state(
        self, values: dict[str, Any], shared: Mapping[str, Tensor], own: Mapping[str, Tensor] | None
    ) -> None:
        fresh = {k: v for k, v in self.method.state_dict().items() if k in self._own_keys()}
        mine = fresh if own is None else {k.removeprefix("method/"): v for k, v in own.items()}
        shared_method = {
            k.removeprefix("method/"): v for k, v in shared.items() if k.startswith("method/")
        }
        self.method.load_state_dict({**shared_method, **mine})
        self.ema.load_state_dict(
            {k.removeprefix("ema/"): v for k, v in shared.items() if k.startswith("ema/")}
        )
        for player, optimizer in self.optim.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in shared.items():
                if key.startswith(f"optim/{player}/"):
                    index, slot = key.removeprefix(f"optim/{player}/").split("/")
                    slots.setdefault(int(index), {})[slot] = value
            groups = optimizer.state_dict()["param_groups"]
            for group, saved in zip(groups, values["optim"][player], strict=True):
                known = {
                    k: v for k, v in saved.items() if k not in EXECUTION_FLAGS
                }  # older checkpoints hold those, too
                if any(_kind(known[k]) != _kind(group[k]) for k in known.keys() & group.keys()):
                    raise ValueError(f"the optimizer of {player} has other settings")
                group.update({k: tuple(v) if isinstance(v, list) else v for k, v in known.items()})
            for index, held in slots.items():
                weight = self.parameters[player][index]
                for slot, value in held.items():
                    if value.dim() and value.shape != weight.shape:
                        raise ValueError(f"{slot} of weight {index} of {player} has another shape")
                    if value.shape == weight.shape:
                        held[slot] = _in_memory_order(
                            torch.empty_like(weight, dtype=value.dtype).copy_(value)
                        )
            optimizer.load_state_dict({"state": slots, "param_groups": groups})
        self.clock = Clock(**values["clock"])
        self.method.current_stage = Stage(
            index=values["stage"]
        )  # the next step compares: a border just reached still resets

    def _own_keys(self) -> set[str]:
        owners = [name for name, m in self.method.named_modules() if getattr(m, "per_rank", False)]
        return {k for k in self.method.state_dict() if any(k.startswith(f"{o}.") for o in owners)}


def _in_memory_order(tensor: Tensor) -> Tensor:
    """`tensor`, its dimensions in the order of its memory: what optimizers are given, since fused ones copy all else first."""
    return tensor.permute(0, 2, 3, 1) if _is_channels_last(tensor) else tensor


def _as_the_weight(slot: Tensor, weight: Tensor) -> Tensor:
    """An optimizer's tensor for `_in_memory_order(weight)`, with its dimensions as the weight's."""
    return slot.permute(0, 3, 1, 2) if slot.dim() == 4 and _is_channels_last(weight) else slot


def _is_channels_last(tensor: Tensor) -> bool:
    return (
        tensor.dim() == 4
        and not tensor.is_contiguous()
        and tensor.is_contiguous(memory_format=torch.channels_last)
    )
