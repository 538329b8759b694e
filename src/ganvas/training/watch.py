"""Act on what the monitor sees while a run trains: tell, stop, go back, end early."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from ganvas.core import Method, Run, distributed
from ganvas.core.environment import say
from ganvas.core.errors import UserError, did_you_mean, printable
from ganvas.core.files import write
from ganvas.data.info import Info
from ganvas.engine.engine import Engine
from ganvas.engine.records import EarlyStopping, RunRecord
from ganvas.engine.run_dir import read_record, run_of
from ganvas.evaluation.report import write_report
from ganvas.evaluation.report_plots import finite
from ganvas.training.detectors import FEWEST, Evidence, Log
from ganvas.training.interrupts import Stopped, resume_command
from ganvas.training.monitor import Finding, best_snapshot, find
from ganvas.training.probe import NEIGHBORS, compares
from ganvas.training.remedies import remedy
from ganvas.training.rewind import rewind, target
from ganvas.training.validation import Validation

ON_COLLAPSE = ("warn", "stop", "rewind")
FILE = "monitor.json"  # the findings, for the report
# The best of a measure, among the values of a run.
BEST: dict[str, Callable[[Sequence[float]], float]] = {
    "frechet": min,
    "precision": max,
    "recall": max,
    "coverage": max,
    "psnr": max,
    "ssim": max,
    "lpips": min,
}
HELD_OUT = "/loss_heldout"  # ending of the losses of methods without discriminators; less is better
SNAPSHOTS = 5  # without a new best, after which training ends early


class Rewound(Exception):
    """The run folder was set back to an earlier checkpoint: restore the run."""


class Verdict(IntEnum):
    """How a run goes on after a snapshot. The largest of all ranks counts."""

    GO_ON = 0
    END_EARLY = 1
    STOP = 2
    REWIND = 3


@dataclass(frozen=True)
class Judgement:
    """The result of `judge` on rank 0; other ranks have no findings.

    findings: those that show for the first time
    """

    verdict: Verdict
    findings: Sequence[Finding] = ()


def judge(engine: Engine, out: Path, record: RunRecord) -> Judgement:
    """Look at the log after a snapshot, tell what is new, and decide.

    Every rank calls this. Rank 0 writes `FILE` and, to go back, sets the folder back.
    """
    verdict, new = Verdict.GO_ON, []
    images, total = engine.clock.images, engine.run.images
    if distributed.rank() == 0:
        log = Log.read(out)
        findings = find(log)
        new = [finding for finding in findings if finding.images == images]
        write_findings(out, engine.run, findings)
        for finding in new:
            say(*lines(finding, engine.run))
        if ended_early(log, record.get("early_stopping")):
            verdict = Verdict.END_EARLY
        if new and images < total and record.get("on_collapse") == "stop":
            verdict = Verdict.STOP
        if _rewound(out, engine.run, record, new):
            verdict = Verdict.REWIND
    (largest,) = distributed.largest(verdict)
    return Judgement(Verdict(largest), new)


def after_numerical_error(engine: Engine, out: Path, record: RunRecord) -> bool:
    """Set the folder back after a loss that is not finite, if the run asks for it.

    Every rank calls this. Returns whether it was done.
    """
    done = False
    if distributed.rank() == 0:
        log, images = Log.read(out), engine.clock.images
        began = log.moments[-1] if log.moments else 0
        evidence = Evidence("loss", float("inf"), 0.0, began)
        finding = Finding("divergence", images, evidence, best_snapshot(log, began))
        done = _rewound(out, engine.run, record, [finding])
    return bool(distributed.largest(done)[0])


def _rewound(out: Path, run: Run, record: RunRecord, findings: Sequence[Finding]) -> bool:
    """Go back for the first finding for which that is possible."""
    if record.get("on_collapse") != "rewind":
        return False
    for finding in findings:
        change = remedy(finding.kind, run)
        to = target(out, record, finding, change)
        if to is not None:
            rewind(out, record, to, finding, change)
            say(f"back to the checkpoint at {to:,} images, with {change.setting}")
            return True
    if findings:
        say("no earlier checkpoint can help here; training goes on")
    return False


def stopped(out: Path, findings: Sequence[Finding]) -> Stopped:
    """The error with which a run ends that stops at its first finding."""
    names = ", ".join(finding.kind for finding in findings) or "see rank 0"
    return Stopped(
        f"training stopped, as --on-collapse stop asks for ({names}); everything is saved. To go "
        f"on regardless: {resume_command(out)}"
    )


def lines(finding: Finding, run: Run) -> list[str]:
    """A finding and what to do, for people."""
    advice = remedy(finding.kind, run)
    good = (
        f"the best snapshot before is at {finding.good:,} images"
        if finding.good is not None
        else "no snapshot before it was measured"
    )
    return [
        f"monitor: {finding.text}; {good}.",
        f"monitor: most often helps: {advice.setting}. Source: {advice.source}",
    ]


def write_findings(
    out: Path, run: Run, findings: Sequence[Finding]
) -> list[dict[str, str | int | None]]:
    """Write `FILE`, from which the report draws; without findings, remove it.

    Returns its content.
    """
    found: list[dict[str, str | int | None]] = [
        {
            "kind": finding.kind,
            "text": finding.text,
            "images": finding.images,
            "began": finding.evidence.began,
            "figure": finding.evidence.name,
            "good": finding.good,
            "setting": remedy(finding.kind, run).setting,
            "source": remedy(finding.kind, run).source,
        }
        for finding in findings
    ]
    if found:
        write(out / FILE, json.dumps(found, indent=1))
    else:
        (out / FILE).unlink(missing_ok=True)
    return found


class Review(NamedTuple):
    """What the monitor sees in a run: as in `FILE`, and as lines for people."""

    findings: list[dict[str, str | int | None]]
    lines: list[str]


def review(out: str | Path) -> Review:
    """Look at the log of any run folder; write `FILE` and the report.

    Raises `CheckpointError` if it cannot be read.
    """
    out = Path(out)
    run, log = run_of(out, read_record(out)), Log.read(out)
    findings = find(log)
    found = write_findings(out, run, findings)
    write_report(out)
    text = [line for finding in findings for line in lines(finding, run)]
    if len(log.moments) < FEWEST:
        text = [f"{len(log.moments)} snapshots were measured; the monitor judges from {FEWEST} on"]
    return Review(found, text or [f"no fault seen in {len(log.moments)} snapshots"])


def parse_early_stopping(text: str | None) -> EarlyStopping | None:
    """`"frechet"` or `"coverage:8"` (snapshots without a new best) as a record.

    A measure is one of `BEST`, or the loss of a player on held-out images, as in
    "VAE/loss_heldout".

    Raises `UserError` for anything else.
    """
    if text is None:
        return None
    parts = re.fullmatch(r"([\w/]+)(?::([1-9][0-9]{0,5}))?", text)
    if parts is None or not (parts[1] in BEST or parts[1].endswith(HELD_OUT)):
        raise UserError(
            f"--early-stopping {printable(text)}: expected a measure ({', '.join(BEST)}, or of a "
            f"method without a discriminator PLAYER{HELD_OUT}), with a number of snapshots if it "
            f"is not {SNAPSHOTS}, as in frechet:8. {did_you_mean(text.partition(':')[0], BEST)}"
        )
    return {"measure": parts[1], "snapshots": int(parts[2] or SNAPSHOTS)}


def require_measured(
    rule: EarlyStopping | None,
    method: Method,
    data: Info,
    validation: Validation | None,
    held_out: bool,
) -> None:
    """Raise `UserError` if the snapshots of a run lack the measure that may end it.

    validation: of held-out pairs; None: there are none
    held_out: whether there are images that are not trained on
    """
    names: list[str] = []
    if data.count > 1:
        names += ["frechet"]
    if data.count > NEIGHBORS:
        names += ["precision", "recall", "coverage"]
    if validation is not None:
        names += ["psnr", "ssim", *(["lpips"] if validation.perceptual is not None else [])]
    if held_out and compares(method):
        names += [f"{player}{HELD_OUT}" for player in method.players]
    if rule is not None and rule["measure"] not in names:
        raise UserError(
            f"--early-stopping {rule['measure']}: this run does not measure it, but "
            f"{', '.join(names) or 'nothing'}. Images that are not trained on (--test) give psnr "
            "and ssim of pairs, and lpips if its weights are there (docs/environment.md); of a "
            f"method without a discriminator (vae) they give its loss (VAE{HELD_OUT})"
        )


def ended_early(log: Log, rule: EarlyStopping | None) -> bool:
    """Whether the last snapshots of a log bring no new best."""
    if rule is None:
        return False
    name = rule["measure"]
    values = [float(v) for line in log.measures if finite(v := line.get(name))]
    if len(values) <= rule["snapshots"]:
        return False
    best = BEST.get(name, min)
    first = values.index(best(values))
    return len(values) - 1 - first >= rule["snapshots"]
