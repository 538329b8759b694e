"""The engine: perform a method's updates.

It knows optimizers, devices, ranks, precision and weight averaging, and no method.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ganvas.core import (
    Adaptive,
    Batch,
    Clock,
    Dataset,
    Forward,
    Method,
    Outcome,
    Run,
    Stage,
    Update,
    distributed,
    rng,
)
from ganvas.core.errors import CheckpointError, NumericalError, printable
from ganvas.engine.averaging import WeightAverages
from ganvas.engine.build import (
    attach_augmentation,
    build,
    check_numbers,
    check_players,
    compile_networks,
    make_optimizer,
    set_precision,
)
from ganvas.engine.freezing import require_trained, trained_weights
from ganvas.engine.records import EngineState
from ganvas.engine.state import (
    dump_optimizer,
    in_memory_order,
    is_finite,
    load_optimizer,
    own_keys,
    without_prefix,
)

T = TypeVar("T")


@dataclass
class _CachedForward:
    """The result of a `Forward`, which its player's next update differentiates.

    leaves: the tensors that the plan and the objectives see
    graph: the same tensors with their history; None: to be computed again in parts
    """

    forward: Forward
    seed: int
    leaves: dict[str, Tensor]
    graph: dict[str, Tensor] | None
    used: bool = False


class Engine:
    """A run's method, optimizers, averaged weights and clock.

    run: every number that decides the result
    feed: the real images
    device: of the networks

    Raises `UserError` if the run's settings cannot be used together.
    """

    training = True  # mode of the networks in `step`; False: a rehearsal in evaluation

    def __init__(self, run: Run, feed: Dataset, device: str | torch.device = "cpu") -> None:
        check_numbers(run)
        self.run, self.device = run, torch.device(device)
        self.feed: Any = feed
        torch.manual_seed(rng.fold_in(run.seed, "init"))  # the same weights on every rank
        self.method = build(run, feed.info.shape)
        if run.augment is not None:
            attach_augmentation(self.method, run.augment(), feed.info.shape.channels)
        self.method.to(self.device)
        self.method.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.clock = Clock()
        self.method.current_stage = self.method.stage(self.clock)
        self.ema: nn.ModuleDict = nn.ModuleDict()
        if run.ema is not None:
            networks = {n: self.method.get_submodule(n) for n in self.method.ema_networks}
            self.ema = nn.ModuleDict({n: copy.deepcopy(net) for n, net in networks.items()})
            self.ema.requires_grad_(False)
        check_players(run, self.method)
        self.parameters = trained_weights(self.method, run.frozen)
        # Fused optimizers would copy weights in any other order of memory.
        self._views = {
            player: [in_memory_order(w.detach()) for w in weights]
            for player, weights in self.parameters.items()
        }
        self.optim = self._optimizers()
        self._base_lr = {p: [g["lr"] for g in o.param_groups] for p, o in self.optim.items()}
        self._trainable: str | None = None  # the player whose weights take gradients
        self._seeds_used = 0  # in this step
        self._forward_cache: list[_CachedForward] = []
        self._adaptive = {k: m for k, m in self.method.named_modules() if isinstance(m, Adaptive)}
        self._averages: WeightAverages | None = None
        if run.compile is not None:
            compile_networks(self.method, run.compile)

    def step(self) -> dict[str, Tensor]:
        """Perform one plan, from its first update to its last.

        Returns every scalar that the plan's objectives logged, as `player/term`: the
        mean over the plan's updates, detached and on the device, and what `Adaptive`
        modules of the method (an augmentation's strength) log.
        """
        if self.run.compile is not None and self.device.type == "cuda":
            # CUDA graphs may reuse memory of the last step, but none of this one.
            torch.compiler.cudagraph_mark_step_begin()
        stage = self.method.stage(self.clock)
        if stage.index != self.method.current_stage.index:
            self.optim = self._optimizers()
        self.method.current_stage = stage
        self.method.train(self.training)
        self._images, self._seeds_used, self._stage_lr = 0, 0, stage.lr
        total = stage.batch or self.run.batch
        local, rank = total // distributed.world(), distributed.rank()
        local_rows = rng.Rows(rank * local, (rank + 1) * local, total)
        set_precision(self.run.precision, self.device)
        self._forward_cache.clear()
        logs: dict[str, list[Tensor]] = {}
        plan = self.method.updates(self.clock, self._batches(stage.resolution, local_rows))
        self._reseed()
        outcome = None
        while True:
            try:
                with rng.rows(local_rows):
                    request = next(plan) if outcome is None else plan.send(outcome)
            except StopIteration:
                break
            if isinstance(request, Forward):
                outcome = self.forward(request)
                continue
            outcome = self.apply(request)
            for name, value in outcome.log.items():
                logs.setdefault(f"{request.player}/{name}", []).append(value)
        self.clock = Clock(self.clock.step + 1, self.clock.images + self._images)
        self._average()
        log = {k: torch.stack(v).mean() if len(v) > 1 else v[0] for k, v in logs.items()}
        for name, module in self._adaptive.items():
            log |= {f"{name}/{k}": v for k, v in module.adapt(log, self._images).items()}
        return log

    def apply(self, update: Update) -> Outcome:
        """Perform one optimizer step: only the weights of `update.player` move."""
        self._freeze_others(update.player)
        parameters = self.parameters[update.player]
        for weight in parameters:
            weight.grad = None
        cached = [
            c
            for c in self._forward_cache
            if c.forward.player == update.player
            and any(update.batch.holds(leaf) for leaf in c.leaves.values())
        ]
        assert not any(c.used for c in cached), (
            "the result of a Forward serves one update of its player: yield the Forward again"
        )
        for leaf in (leaf for c in cached for leaf in c.leaves.values()):
            leaf.requires_grad_(True)
        objectives = [update.objective] if callable(update.objective) else update.objective
        seeds = [self._next_seed() for _ in objectives]
        log: dict[str, Tensor] = {}
        outputs: dict[str, list[Tensor]] = {}
        with self._autocast():  # once around all objectives, so that weights are cast once
            for part, rows, weight in self._parts(update.batch):
                for objective, seed in zip(objectives, seeds, strict=True):
                    terms = self._call(objective, part, rows, seed)
                    require_trained(terms.loss, update.player, self.run.frozen)
                    with self._autocast(False):
                        (terms.loss * weight if weight < 1 else terms.loss).backward()
                    for name, value in {"loss": terms.loss, **terms.log}.items():
                        wide = torch.promote_types(value.dtype, torch.float32)
                        log[name] = log.get(name, 0) + value.detach().to(wide) * weight
                    for name, value in terms.outputs.items():
                        outputs.setdefault(name, []).append(value)
        for forward in cached:
            self._backward_through(forward)
        gradients = [p.grad for p in parameters if p.grad is not None]
        distributed.all_reduce_mean_(gradients + list(log.values()))
        if self.device.type == "cpu":  # elsewhere it would wait; the trainer checks what it reads
            self.raise_if_not_finite({f"{update.player}/{k}": float(v) for k, v in log.items()})
        self._schedule(update.player, update.gain)
        for weight, view in zip(parameters, self._views[update.player], strict=True):
            view.grad = None if weight.grad is None else in_memory_order(weight.grad)
        self.optim[update.player].step()
        self._reseed()
        return Outcome(log, {k: _cat(parts) for k, parts in outputs.items()})

    def forward(self, forward: Forward) -> Outcome:
        """Compute tensors for several turns of the plan.

        Their history is kept if the whole batch passes at once. With micro-batches,
        which are there to save memory, it is computed again for the backward pass.
        """
        self._freeze_others(forward.player)
        seed, parts = self._next_seed(), list(self._parts(forward.batch))
        with torch.set_grad_enabled(len(parts) == 1), self._autocast():
            outputs = [self._call(forward.maker, part, rows, seed) for part, rows, _ in parts]
        leaves = {k: _cat([out[k].detach() for out in outputs]) for k in outputs[0]}
        graph = dict(outputs[0]) if len(parts) == 1 else None
        self._forward_cache.append(_CachedForward(forward, seed, leaves, graph))
        self._reseed()
        return Outcome({}, leaves)

    def _backward_through(self, cached: _CachedForward) -> None:
        """Carry the gradients at a cached forward pass's leaves into its networks."""
        grads = {k: leaf.grad for k, leaf in cached.leaves.items() if leaf.grad is not None}
        if cached.graph is not None:
            torch.autograd.backward([cached.graph[k] for k in grads], list(grads.values()))
        else:
            start = 0
            for part, rows, _ in self._parts(cached.forward.batch):
                with self._autocast():
                    out = self._call(cached.forward.maker, part, rows, cached.seed)
                span = slice(start, start + len(part))
                torch.autograd.backward([out[k] for k in grads], [g[span] for g in grads.values()])
                start += len(part)
        for leaf in cached.leaves.values():
            leaf.requires_grad_(False)
            leaf.grad = None
        cached.graph, cached.used = None, True

    def _parts(self, batch: Batch) -> Iterator[tuple[Batch, rng.Rows, float]]:
        """(micro-batch, its rows of the whole batch, its fraction of this rank's)."""
        local, world, rank = len(batch), distributed.world(), distributed.rank()
        micro = self.run.micro or local
        for start in range(0, local, micro):
            part = batch[start : start + micro] if micro < local else batch
            first = rank * local + start
            yield part, rng.Rows(first, first + len(part), world * local), len(part) / local

    def _call(self, function: Callable[[Batch], T], part: Batch, rows: rng.Rows, seed: int) -> T:
        """Call an objective or a `Forward`'s function on a part of the batch."""
        rng.reseed(seed)  # draws are per row of the whole batch, whatever the parts
        with rng.rows(rows):
            return function(part)

    def _autocast(self, on: bool = True) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, on and self.run.precision == "bf16")

    def _batches(self, resolution: int | None, rows: rng.Rows) -> Iterator[Batch]:
        """This rank's rows of each batch of real images, counted as drawn."""
        while True:
            cursor = self.clock.images + self._images
            self._images += rows.total
            yield self.feed.draw(
                cursor,
                rows.total,
                seed=self.run.seed,
                rows=rows,
                resolution=resolution,
                device=self.device,
            )

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {p: make_optimizer(self.run, p, views) for p, views in self._views.items()}

    def _freeze_others(self, player: str) -> None:
        """Let only this player's weights take gradients; others pass them on."""
        if self._trainable != player:
            self.method.requires_grad_(False)
            for w in self.parameters[player]:
                w.requires_grad_(True)
            self._trainable = player

    def _schedule(self, player: str, gain: float) -> None:
        scale = gain * self._stage_lr * (self.run.lr(self.clock) if self.run.lr else 1.0)
        groups = self.optim[player].param_groups
        for group, base in zip(groups, self._base_lr[player], strict=True):
            group["lr"] = base * scale
            if self.run.momentum and "momentum" in group:
                group["momentum"] = self.run.momentum(self.clock)
            if self.run.beta2 and "betas" in group:
                group["betas"] = (group["betas"][0], self.run.beta2(self.clock))

    def _average(self) -> None:
        if self.run.ema is not None:
            self._averages = self._averages or WeightAverages(self.ema, self.method)
            self._averages.update(1.0 - self.run.ema(self.clock, self._images))

    # Every draw is a function of the run's seed, the step, and the number of seeds that
    # this step has used before.
    def _next_seed(self) -> int:
        self._seeds_used += 1
        return rng.fold_in(self.run.seed, self.clock.step, self._seeds_used)

    def _reseed(self) -> None:
        rng.reseed(self._next_seed())

    def raise_if_not_finite(self, scalars: Mapping[str, float]) -> None:
        """Raise `NumericalError`, which names them, if some scalars are not finite."""
        bad = [k for k, v in scalars.items() if not math.isfinite(v)]
        if bad:
            finite = [f"{k} = {v:.4g}" for k, v in scalars.items() if k not in bad]
            raise NumericalError(
                f"{' and '.join(bad)} became {scalars[bad[0]]} at step {self.clock.step}, image "
                f"{self.clock.images}. Finite terms at that moment: {', '.join(finite) or 'none'}."
            )

    def check_weights(self) -> None:
        """Raise `NumericalError` for NaN or infinity in weights or optimizers.

        Such a state must not be saved over a good one. A finite gradient of 1e25 makes
        Adam's second moment infinite, and its weight never moves again.
        """
        image = self.clock.images
        for name, value in self.method.state_dict().items():
            if not is_finite(value):
                raise NumericalError(f"the weights {name} are no longer finite at image {image}.")
        for player, optimizer in self.optim.items():
            for index, weight in enumerate(self._views[player]):
                for slot, value in optimizer.state.get(weight, {}).items():
                    if isinstance(value, Tensor) and not is_finite(value):
                        name = self._name(self.parameters[player][index])
                        raise NumericalError(
                            f"the optimizer's state of {player} ({slot} of {name}) is no longer "
                            f"finite at image {image}: a gradient was too large."
                        )

    def _name(self, weight: Tensor) -> str:
        return next((name for name, w in self.method.named_parameters() if w is weight), "a weight")

    def model(self) -> Method:
        """A copy of the method for inference: averaged weights if the run averages."""
        model = copy.deepcopy(self.method)
        for name, average in self.ema.items():
            model.get_submodule(name).load_state_dict(average.state_dict())
        model.current_stage = self.method.stage(self.clock)
        return model.eval().requires_grad_(False)

    def state(self) -> tuple[EngineState, dict[str, Tensor], dict[str, Tensor]]:
        """(plain values, tensors that all ranks share, tensors of this rank alone)."""
        own = own_keys(self.method)
        method = self.method.state_dict()
        shared = {f"method/{k}": v for k, v in method.items() if k not in own}
        shared |= {f"ema/{k}": v for k, v in self.ema.state_dict().items()}
        settings: dict[str, list[dict[str, object]]] = {}
        for player, optimizer in self.optim.items():
            settings[player], slots = dump_optimizer(optimizer, self.parameters[player])
            shared |= {f"optim/{player}/{k}": v for k, v in slots.items()}
        values: EngineState = {
            "clock": {"step": self.clock.step, "images": self.clock.images},
            "stage": self.method.current_stage.index,
            "optim": settings,
            "ranks": distributed.world(),
        }
        return values, shared, {f"method/{k}": method[k] for k in own}

    def load_state(
        self, values: EngineState, shared: Mapping[str, Tensor], own: Mapping[str, Tensor] | None
    ) -> None:
        """Restore what `state` returned.

        own: None: this rank is new, and its own buffers start afresh

        Raises `CheckpointError` for a state of another method, size or optimizer.
        """
        try:
            names = own_keys(self.method)
            fresh = {k: v for k, v in self.method.state_dict().items() if k in names}
            local = fresh if own is None else without_prefix("method/", own)
            self.method.load_state_dict({**without_prefix("method/", shared), **local})
            self.ema.load_state_dict(without_prefix("ema/", shared))
            for player, optimizer in self.optim.items():
                slots = without_prefix(f"optim/{player}/", shared)
                load_optimizer(optimizer, self.parameters[player], values["optim"][player], slots)
        except (RuntimeError, KeyError, IndexError, TypeError, ValueError) as e:
            raise CheckpointError(
                f"this checkpoint belongs to another method or other sizes: {printable(e)}"
            ) from None
        self.clock = Clock(**values["clock"])
        # The next step compares stages, so that a border just reached still resets
        # optimizers.
        self.method.current_stage = Stage(index=values["stage"])


def _cat(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]
