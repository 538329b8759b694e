"""The engine performs a method's updates. It knows of optimizers, devices, ranks, precision and averaging, and of no method."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import draw, ranks
from ganvas.core import Batch, Clock, Method, Outcome, Run, Stage, Update
from ganvas.errors import UserError


class NotFinite(UserError):
    """A loss, a logged term or a weight became NaN or infinite."""


class Engine:
    """`run`'s method, optimizers and averaged weights, and the clock.

    `feed` gives real images: `feed.draw(cursor, n, seed=..., rows=..., resolution=..., device=...) -> Batch`.
    Raises `UserError` where the run's numbers cannot be used together."""

    def __init__(self, run: Run, feed: Any, device: str | torch.device = "cpu") -> None:
        if run.precision not in ("fp32", "bf16"):
            raise UserError(f"precision {run.precision!r} is not known; choose fp32 or bf16")
        if run.batch < ranks.world() or run.batch % ranks.world():
            raise UserError(
                f"a batch of {run.batch} cannot be shared by {ranks.world()} processes: give --batch a multiple of it"
            )
        self.run, self.feed, self.device = run, feed, torch.device(device)
        torch.manual_seed(draw.mix(run.seed, "init"))  # the same weights on every rank
        self.method: Method = run.method(feed.info.shape).to(self.device)
        self.clock = Clock()
        self.method.now = self.method.stage(self.clock)
        self.ema: nn.ModuleDict = nn.ModuleDict()
        if run.ema is not None:
            self.ema = nn.ModuleDict({n: copy.deepcopy(self.method.get_submodule(n)) for n in self.method.averaged})
            self.ema.requires_grad_(False)
        missing = set(self.method.players) ^ set(run.optim)
        if missing:
            raise UserError(
                f"the run's optimizers {sorted(run.optim)} are not the method's {sorted(self.method.players)}"
            )
        self.parameters = {p: [w for m in nets for w in m.parameters()] for p, nets in self.method.players.items()}
        self.optim = {player: run.optim[player](ws) for player, ws in self.parameters.items()}
        self._base_lr = {p: [g["lr"] for g in o.param_groups] for p, o in self.optim.items()}
        self._mover: str | None = None
        self._seeded = 0

    # ------------------------------------------------------------ one step of the clock

    def step(self) -> dict[str, Tensor]:
        """Perform one plan, from its first update to its last. Returns every scalar that its objectives logged, as
        `player/term`, mean over the plan's updates, detached and on the device."""
        stage = self.method.stage(self.clock)
        if stage.index != self.method.now.index:
            self.optim = {player: self.run.optim[player](ws) for player, ws in self.parameters.items()}
        self.method.now = stage
        self.method.train()
        self._images, self._seeded, self._gain = 0, 0, stage.lr
        whole = stage.batch or self.run.batch
        local = whole // ranks.world()
        mine = draw.Rows(ranks.rank() * local, (ranks.rank() + 1) * local, whole)
        logs: dict[str, list[Tensor]] = {}
        plan = self.method.updates(self.clock, self._batches(stage.resolution, mine))
        self._reseed()
        outcome = None
        while True:
            try:
                with draw.rows(mine):
                    update = next(plan) if outcome is None else plan.send(outcome)
            except StopIteration:
                break
            outcome = self.apply(update)
            for name, value in outcome.log.items():
                logs.setdefault(f"{update.player}/{name}", []).append(value)
        self.clock = Clock(self.clock.step + 1, self.clock.images + self._images)
        self._average()
        return {k: torch.stack(v).mean() if len(v) > 1 else v[0] for k, v in logs.items()}

    def apply(self, update: Update) -> Outcome:
        """One optimizer step: only `update.player`'s parameters receive gradients and move."""
        self._give_the_move(update.player)
        optimizer, parameters = self.optim[update.player], self.parameters[update.player]
        optimizer.zero_grad(set_to_none=True)
        local, world, rank = len(update.batch), ranks.world(), ranks.rank()
        micro = self.run.micro or local
        seed, starts = self._next_seed(), range(0, local, micro)
        log: dict[str, Tensor] = {}
        kept: dict[str, list[Tensor]] = {}
        for start in starts:
            part = update.batch[start : start + micro] if micro < local else update.batch
            share = len(part) / local
            self._seed(seed)  # draws are per row of the whole batch: the same however it is cut
            rows = draw.Rows(rank * local + start, rank * local + start + len(part), world * local)
            with draw.rows(rows), torch.autocast(self.device.type, torch.bfloat16, self.run.precision == "bf16"):
                terms = update.objective(part)
            (terms.loss * share if share < 1 else terms.loss).backward()
            for name, value in {"loss": terms.loss, **terms.log}.items():
                log[name] = log.get(name, 0) + value.detach().float() * share
            for name, value in terms.keep.items():
                kept.setdefault(name, []).append(value)
        ranks.average_([p.grad for p in parameters if p.grad is not None] + list(log.values()))
        self._check_finite(update.player, log)
        self._schedule(update.player, optimizer, update.gain)
        optimizer.step()
        self._reseed()
        return Outcome(log, {k: torch.cat(v) if len(v) > 1 else v[0] for k, v in kept.items()})

    def _batches(self, resolution: int | None, mine: draw.Rows) -> Iterator[Batch]:
        """Real images, this rank's rows of each batch. What is drawn here is what the clock counts."""
        while True:
            cursor = self.clock.images + self._images
            self._images += mine.total
            yield self.feed.draw(
                cursor, mine.total, seed=self.run.seed, rows=mine, resolution=resolution, device=self.device
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

    def _average(self) -> None:
        if self.run.ema is None:
            return
        weight = 1.0 - self.run.ema(self.clock, self._images)
        with torch.no_grad():
            for name, average in self.ema.items():
                now, mean = self.method.get_submodule(name).state_dict(), average.state_dict()
                floats = [k for k, v in mean.items() if v.is_floating_point()]
                torch._foreach_lerp_([mean[k] for k in floats], [now[k] for k in floats], weight)
                for k in mean.keys() - set(floats):
                    mean[k].copy_(now[k])

    # Every draw of a run is a function of (seed, step, how many draws' worth of turns came before in this step).
    def _next_seed(self) -> int:
        self._seeded += 1
        return draw.mix(self.run.seed, self.clock.step, self._seeded)

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
        if self.device.type == "cpu":  # elsewhere it would wait for the device; the trainer checks what it reads
            self.complain_of({f"{player}/{k}": float(v) for k, v in log.items()})

    def complain_of(self, scalars: Mapping[str, float]) -> None:
        """Raise `NotFinite` if one of them is not finite, naming it."""
        bad = [k for k, v in scalars.items() if not math.isfinite(v)]
        if bad:
            rest = ", ".join(f"{k} = {v:.4g}" for k, v in scalars.items() if k not in bad) or "none"
            raise NotFinite(
                f"{' and '.join(bad)} became {scalars[bad[0]]} at step {self.clock.step}, image {self.clock.images}. "
                f"Finite terms at that moment: {rest}."
            )

    def check_weights(self) -> None:
        """Raise `NotFinite` if a weight is NaN or infinite: such a state is never saved over a good one."""
        for name, value in self.method.state_dict().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise NotFinite(f"the weights {name} are no longer finite at image {self.clock.images}.")

    # ------------------------------------------------------------ what it has made

    def model(self) -> Method:
        """The method as one would use it: averaged weights where the run averages, evaluation mode."""
        model = copy.deepcopy(self.method)
        for name, average in self.ema.items():
            model.get_submodule(name).load_state_dict(average.state_dict())
        model.now = self.method.stage(self.clock)
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
            scalars[player] = [{k: v for k, v in g.items() if k != "params"} for g in groups["param_groups"]]
            for index, slots in groups["state"].items():
                shared |= {f"optim/{player}/{index}/{k}": v for k, v in slots.items() if isinstance(v, Tensor)}
        values = {
            "clock": {"step": self.clock.step, "images": self.clock.images},
            "stage": self.method.now.index,
            "optim": scalars,
            "ranks": ranks.world(),
        }
        return values, shared, {f"method/{k}": method[k] for k in own}

    def load_state(
        self, values: dict[str, Any], shared: Mapping[str, Tensor], own: Mapping[str, Tensor] | None
    ) -> None:
        """The inverse of `state`. `own` None: this rank did not exist before; its own buffers start afresh."""
        fresh = {k: v for k, v in self.method.state_dict().items() if k in self._own_keys()}
        mine = fresh if own is None else {k.removeprefix("method/"): v for k, v in own.items()}
        shared_method = {k.removeprefix("method/"): v for k, v in shared.items() if k.startswith("method/")}
        try:
            self.method.load_state_dict({**shared_method, **mine})
            self.ema.load_state_dict({k.removeprefix("ema/"): v for k, v in shared.items() if k.startswith("ema/")})
        except RuntimeError as e:
            raise UserError(f"this checkpoint belongs to another method or other sizes: {e}") from None
        for player, optimizer in self.optim.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in shared.items():
                if key.startswith(f"optim/{player}/"):
                    index, slot = key.removeprefix(f"optim/{player}/").split("/")
                    slots.setdefault(int(index), {})[slot] = value
            groups = optimizer.state_dict()["param_groups"]
            for group, saved in zip(groups, values["optim"][player], strict=True):
                group.update({k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()})
            optimizer.load_state_dict({"state": slots, "param_groups": groups})
        self.clock = Clock(**values["clock"])
        self.method.now = Stage(index=values["stage"])  # the next step compares: a border just reached still resets

    def _own_keys(self) -> set[str]:
        owners = [name for name, m in self.method.named_modules() if getattr(m, "per_rank", False)]
        return {k for k in self.method.state_dict() if any(k.startswith(f"{o}.") for o in owners)}
