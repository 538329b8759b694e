"""The one setting that most often helps against each fault, with its source.

The sources give the direction; where they give no number, rates change by a factor of 2
or 4, which is our choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from ganvas.core import Run, config
from ganvas.core.errors import UserError
from ganvas.nets.augment import named

CHANGES = "color,translation,cutout"  # of --augment
TTUR = "Heusel et al., 2017, arXiv:1706.08500 (a rate of its own for each network)"


@dataclass(frozen=True)
class Remedy:
    """A setting to change.

    setting: as it is given to `ganvas train`
    source: the paper
    apply: the run with the setting; None: a checkpoint cannot take it, a new run can
    """

    setting: str
    source: str
    apply: Callable[[Run], Run] | None = None


def remedy(kind: str, run: Run) -> Remedy:
    """What most often helps a run that has a fault.

    kind: a key of `ganvas.training.monitor.FAULTS`
    """
    return _REMEDIES[kind](run)


def _set(source: str, *assignments: str) -> Remedy:
    def apply(run: Run) -> Run:
        for assignment in assignments:
            run = config.override(run, assignment)
        return run

    return Remedy(" ".join(f"--set {a}" for a in assignments), source, apply)


def _rate(player: str, factor: float, source: str) -> Callable[[Run], Remedy]:
    """The learning rate of a player, times a factor."""

    def found(run: Run) -> Remedy:
        rate = _keyword(run, player, "lr")
        if not isinstance(rate, int | float):
            return Remedy(f"--set optim.{player}.lr=… ({factor:g} times as high)", source)
        return _set(source, f"optim.{player}.lr={rate * factor:.6g}")

    return found


def _keyword(run: Run, player: str, name: str) -> object:
    make = run.optim.get(player)
    return make.keywords.get(name) if isinstance(make, partial) else None


def _augmented(run: Run) -> Remedy:
    """Augmentation; if the run has one or can have none, a slower discriminator."""
    method = run.method.func if isinstance(run.method, partial) else run.method
    if run.augment is not None or getattr(method, "unaugmented", ""):
        return _rate("D", 0.25, "Karras et al., 2020, arXiv:2006.06676 (D overfits)")(run)
    source = "Zhao et al., 2020, arXiv:2006.10738, section 4"
    return Remedy(f"--augment {CHANGES}", source, lambda run: replace(run, augment=named(CHANGES)))


def _calmer(run: Run) -> Remedy:
    """Less momentum: Adam's beta1 to .5, or from there to 0; SGD's momentum to 0."""
    assignments = []
    for player in run.optim:
        betas = _keyword(run, player, "betas")
        if isinstance(betas, list | tuple) and len(betas) == 2:
            first = 0.5 if betas[0] > 0.5 else 0.0
            if betas[0] != first:
                assignments.append(f"optim.{player}.betas=[{first:g},{betas[1]:g}]")
        elif _keyword(run, player, "momentum"):
            assignments.append(f"optim.{player}.momentum=0")
    if not assignments:
        return _rate("G", 0.5, TTUR)(run)
    return _set(
        "Radford et al., 2015, arXiv:1511.06434, section 4.1 (beta1 .9 oscillates, .5 does not); "
        "Gidel et al., 2018, arXiv:1807.04740 (less momentum, in games)",
        *assignments,
    )


def _even(run: Run) -> Remedy:
    """An even kernel of enlarging layers, if the generator has the setting."""
    source = "Odena et al., 2016, doi:10.23915/distill.00003"
    try:
        config.override(run, "G.kernel=4")
    except UserError:
        return Remedy("a generator that resizes and then convolves (stylegan2, sagan)", source)
    return Remedy("--set G.kernel=4 (in a new run)", source)


def _larger(run: Run) -> Remedy:
    return _set(
        "Brock et al., 2018, arXiv:1809.11096, section 3.1 (larger batches cover more modes)",
        f"batch={2 * run.batch}",
    )


_PERFECT = (
    "Arjovsky and Bottou, 2017, arXiv:1701.04862, theorem 2.4 (the better D, the less to learn)"
)
_LOCAL = "Mescheder et al., 2018, arXiv:1801.04406 (convergence needs small rates)"
_REMEDIES: dict[str, Callable[[Run], Remedy]] = {
    "collapse": _rate("G", 0.5, TTUR),
    "partial": _larger,
    "memorizing": _augmented,
    "vanished": _rate("D", 0.25, _PERFECT),
    "divergence": _rate("D", 0.25, _LOCAL),
    "weak": _rate("D", 4.0, TTUR),
    "oscillation": _calmer,
    "checkerboard": _even,
    "decay": _rate("G", 0.5, TTUR),
}
