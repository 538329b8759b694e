"""The training monitor: what it sees in a log, and what a run does about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import SMALL, toy_data, toy_images, toy_run

from ganvas import recipes
from ganvas.core.errors import NumericalError, UserError
from ganvas.data import Prefetch
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.engine.retention import Retention
from ganvas.evaluation.report import write_report
from ganvas.evaluation.report_plots import curves
from ganvas.metrics.checkerboard import checkerboard
from ganvas.training import probe, snapshot, watch
from ganvas.training.detectors import FEWEST, Evidence, Log
from ganvas.training.interrupts import Stopped
from ganvas.training.monitor import FAULTS, Finding, find
from ganvas.training.remedies import remedy
from ganvas.training.trainer import resume, train
from ganvas.training.watch import ended_early, parse_early_stopping

STEP = 1000  # images between two snapshots of the made-up logs


def log_of(count: int = 20, **changes: Sequence[float]) -> Log:
    """A healthy log in which the last values of some measures are others."""
    rng = np.random.default_rng(0)
    noise = 1 + 0.05 * rng.standard_normal((8, count))
    k = np.arange(count)
    values = {
        "frechet": 5 + 95 * 0.7**k,
        "diversity": 1 - 0.8 * 0.6**k,
        "precision": 0.9 - 0.8 * 0.6**k,
        "recall": 0.6 - 0.5 * 0.6**k,
        "checkerboard": 1.5 + 20 * 0.5**k,
        "D/real": np.full(count, 0.5),
        "D/generated": np.full(count, -0.5),
        "G/gradient": np.full(count, 2.0),
    }
    values = {name: v * n for (name, v), n in zip(values.items(), noise, strict=True)}
    values["D/heldout"] = values["D/real"] - 0.1
    loss = np.full(count, 1.2)
    for name, last in changes.items():
        column = loss if name == "loss" else values[name.replace("_", "/")]
        column[count - len(last) :] = last
    at = [int(STEP * (i + 1)) for i in k]
    lines = [
        {"step": 10 * i + j, "images": images - STEP + STEP * (j + 1) // 10, "D/loss": float(x)}
        for i, (images, x) in enumerate(zip(at, loss, strict=True))
        for j in range(10)
    ]
    return Log(
        lines,
        [{"images": n, **{k: float(v[i]) for k, v in values.items()}} for i, n in enumerate(at)],
    )


FAULTY: dict[str, dict[str, Any]] = {
    "collapse": {"frechet": [40.0], "diversity": [0.3]},
    "partial": {"frechet": [8.0] * 3, "recall": [0.2] * 3},
    "memorizing": {"D_heldout": [-0.4] * 6},
    "vanished": {"G_gradient": [0.01] * 2},
    "divergence": {"loss": [100.0]},
    "weak": {"D_generated": [0.9] * 3, "frechet": [8.0] * 3},
    "oscillation": {"frechet": [5.0, 12.0] * 8},
    "checkerboard": {"checkerboard": [12.0] * 3},
    "decay": {"frechet": [5.5, 6.5, 8.0, 9.5, 10.5]},
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_seen_and_named(kind: str) -> None:
    changes = FAULTY[kind]
    findings = {f.kind: f for f in find(log_of(**changes))}
    assert kind in findings
    finding = findings[kind]
    assert FAULTS[kind][0] in finding.text
    begun = STEP * (20 - max(map(len, changes.values())))
    assert begun - STEP <= finding.evidence.began <= finding.images
    assert finding.images > begun


def test_a_healthy_log_and_a_short_one_show_nothing() -> None:
    assert find(log_of()) == []
    assert find(Log([], [])) == []
    bad = log_of(FEWEST - 1, frechet=[500.0])
    assert find(bad) == []


def test_a_jump_of_singular_values_is_a_divergence() -> None:
    log = log_of()
    lines = [{**x, "D/sigma0/out": 2.0 if i < 190 else 30.0} for i, x in enumerate(log.lines)]
    (finding,) = find(Log(lines, log.measures))
    assert (finding.kind, finding.evidence.name) == ("divergence", "D/sigma0/out")
    assert finding.evidence.began > 18 * STEP


def test_a_finding_rests_on_nothing_that_came_later() -> None:
    log = log_of(30, frechet=[6.0] * 5 + [9.0] * 15, recall=[0.2] * 15)
    whole = find(log)
    assert whole
    for moment in log.moments:
        part = find(log.until(moment))
        assert [f.kind for f in part] == [f.kind for f in whole if f.images <= moment]


def test_an_old_log_of_distances_alone_shows_its_decay_before_they_have_doubled() -> None:
    """As in public logs of DCGAN: 49.0 at best, 137.4 at the end."""
    fall, rise = 49 + 150 * 0.6 ** np.arange(12), np.linspace(49, 137.4, 20)
    curve = [*fall.tolist(), *rise.tolist()]
    log = Log([], [{"images": 1000 * (i + 1), "frechet": d} for i, d in enumerate(curve)])
    (finding,) = find(log)
    assert finding.kind == "decay"
    assert curve[finding.images // 1000 - 1] < 2 * 49
    assert finding.good is not None
    assert curve[finding.good // 1000 - 1] < 50


@pytest.mark.parametrize("recipe", ["dcgan", "pix2pix", "gan"])
def test_every_remedy_can_be_applied_or_says_that_it_cannot(recipe: str) -> None:
    run = recipes.find(recipe)(100)
    for kind in FAULTS:
        advice = remedy(kind, run)
        assert "arXiv" in advice.source or "doi" in advice.source
        assert (advice.apply is None) == (kind == "checkerboard")
        if advice.apply is not None:
            assert advice.apply(run) != run


def test_checkerboards_stand_out() -> None:
    smooth = torch.nn.functional.interpolate(torch.randn(16, 1, 8, 8), 32, mode="bilinear")
    sign = torch.arange(32) % 2 * 2.0 - 1
    pattern = sign[:, None] * sign
    assert checkerboard(smooth[:8], smooth[8:]) < 3
    assert checkerboard(smooth[:8] + 0.1 * pattern, smooth[8:]) > 10
    assert checkerboard(smooth[..., :4, :4], smooth[..., :4, :4]) == 1.0


@pytest.mark.parametrize("recipe", ["dcgan", "sngan", "cyclegan", "pix2pix", "wgan_gp"])
def test_a_rehearsal_measures_and_changes_nothing(recipe: str, tmp_path: Path) -> None:
    run = toy_run(recipe, toy_data(recipe, tmp_path / "data"))
    alone, watched = (Engine(run, run.data(), "cpu") for _ in range(2))
    rehearsal, found, log = probe.Rehearsal(watched), {}, {}
    for _ in range(2):
        alone.step()
        found = rehearsal(watched, watched.feed)
        log = watched.step()
    one, two = alone.state()[1], watched.state()[1]
    assert all(torch.equal(one[name], two[name]) for name in one)
    if recipe not in ("sngan", "wgan_gp"):  # whose D moves several times in a step
        assert found["D/loss"] == pytest.approx(float(log["D/loss"]), rel=1e-4)
    assert found["G/gradient"] > 0
    assert found["D/real"] != found["D/generated"]


def test_scores_are_those_of_the_discriminator(tmp_path: Path) -> None:
    run = toy_run("dcgan", toy_data("dcgan", tmp_path / "data"), "D.norm=false")
    assert isinstance(run.data, partial)
    other = run.data(source=str(toy_images(tmp_path / "other", seed=5)))
    engine = Engine(run, Prefetch(run.data()), "cpu")
    D: Any = engine.method.D
    engine.step()
    found = probe.Probe(engine.feed, other).rehearse(engine)
    for name, feed in (("D/real", engine.feed), ("D/heldout", other)):
        x = feed.draw(engine.clock.images, run.batch, seed=run.seed).x
        with torch.no_grad():
            assert found[name] == pytest.approx(float(D(x).mean()), abs=1e-5)
    assert found["D/loss_heldout"] != found["D/loss"]


@pytest.mark.parametrize(
    ("recipe", "name"), [("vae", "VAE/loss"), ("sparse_transformer", "T/bits_per_dim")]
)
def test_the_objective_of_no_game_is_measured_on_the_same_held_out_images(
    recipe: str, name: str, tmp_path: Path
) -> None:
    run = toy_run(recipe, toy_data(recipe, tmp_path / "data"))
    assert isinstance(run.data, partial)
    other = run.data(source=str(toy_images(tmp_path / "other", seed=5)))
    engine = Engine(run, Prefetch(run.data()), "cpu")
    watch = probe.Probe(engine.feed, other)
    for weight in engine.method.parameters():
        weight.data.add_(0.1 * torch.randn_like(weight))  # some are 0 at first
    before = {k: v.clone() for k, v in engine.state()[1].items()}
    found = watch.rehearse(engine)
    assert all(torch.equal(v, before[k]) for k, v in engine.state()[1].items())
    assert found[name] != found[f"{name}_heldout"]
    if recipe == "vae":  # whose loss has noise
        assert {"VAE/kl_heldout", "VAE/reconstruction", "VAE/gradient"} <= found.keys()
        return
    values = []
    method: Any = engine.model()  # without its dropout
    for feed, start in ((engine.feed, engine.clock.images), (other, 0)):
        x = [feed.draw(start + i, run.batch, seed=run.seed) for i in range(0, 16, run.batch)]
        losses = torch.stack([method.loss(batch).loss.detach() for batch in x])
        values.append(float(losses.mean()))
    assert [found["T/loss"], found["T/loss_heldout"]] == pytest.approx(values, rel=1e-4)


def test_scores_of_all_scales_are_the_last_maps(tmp_path: Path) -> None:
    run = toy_run("pix2pixhd", toy_data("pix2pixhd", tmp_path / "data"))
    engine = Engine(run, run.data(), "cpu")
    method: Any = engine.method
    batch = engine.feed.draw(0, run.batch, seed=run.seed)
    with torch.no_grad():
        maps = method.D(method.d_input(method.planes(batch.x), batch.y))
    found = probe.Rehearsal(engine)(engine, engine.feed)
    assert found["D/real"] == pytest.approx(float(maps[0][-1].mean()), abs=1e-5)


def test_scores_that_begin_late_are_looked_at() -> None:
    """The discriminators of growing methods see real images blended at first."""
    log = log_of(30, **FAULTY["memorizing"])
    growing: list[Any] = [dict(line) for line in log.measures]
    for line in growing[:5]:
        del line["D/real"]
    assert Log([], growing).having("D/real", "D/heldout").moments[0] == 6 * STEP
    assert "memorizing" in {f.kind for f in find(Log(log.lines, growing))}
    del growing[-1]["D/real"]
    assert not Log([], growing).having("D/real").measures


SETTINGS: dict[str, Any] = {
    "size": 16,
    "batch": 8,
    "images": 64,
    "device": "cpu",
    "set": ["G.width=4", "D.width=4"],
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots every 16 images, of few samples, and no reports."""
    monkeypatch.setattr(snapshot, "SNAPSHOT_INTERVAL", 16)
    monkeypatch.setattr(probe, "IMAGES", 16)
    monkeypatch.setattr(snapshot, "write_report", lambda run, **_: None)


def fault(kind: str = "collapse") -> Finding:
    """A finding at 48 images, which began after 32."""
    return Finding(kind, 48, Evidence("frechet", 9.0, 3.0, 40), good=32)


def see(monkeypatch: pytest.MonkeyPatch, finding: Finding) -> None:
    """Let the monitor see a fault in every log that reaches its moment."""

    def found(log: Log) -> list[Finding]:
        return [finding] if log.moments[-1] >= finding.images else []

    monkeypatch.setattr(watch, "find", found)


@pytest.mark.usefixtures("quick")
def test_rewinding_goes_on_from_the_good_checkpoint_and_resumes_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = toy_images(tmp_path / "data")
    monkeypatch.setattr(Retention, "prune", lambda *_: None)
    see(monkeypatch, fault())
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train("dcgan", data, out=whole, on_collapse="rewind", **SETTINGS)
    told = capsys.readouterr().err
    assert "sudden collapse" in told
    assert "back to the checkpoint at 32 images, with --set optim.G.lr=0.0001" in told
    record = json.loads((whole / "run.json").read_text())
    rewinds = record["rewinds"]
    # The fault shows again after each return, until the run has no returns left.
    assert [(r["kind"], r["images"], r["to"]) for r in rewinds] == [("collapse", 48, 32)] * 3
    assert record["run"]["optim"]["G"]["lr"] == pytest.approx(2e-4 / 8)
    assert [x["images"] for x in Log.read(whole).measures] == [16, 32, 48, 64]

    seen: list[int] = []

    def interrupt(shot: snapshot.Snapshot) -> None:
        seen.append(shot.images)
        if seen.count(48) == 2:  # at the second return
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("dcgan", data, out=cut, on_collapse="rewind", on_snapshot=interrupt, **SETTINGS)
    resume(cut, device="cpu")
    for name in ("log.jsonl", "measures.jsonl"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    ends = [checkpoint.load(run / "checkpoints" / "000000064")[1] for run in (whole, cut)]
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())
    assert json.loads((cut / "run.json").read_text())["rewinds"] == rewinds
    capsys.readouterr()
    again = {"on_collapse": "rewind", "resume": "auto", **SETTINGS}
    train("dcgan", data, out=cut, **again)  # the settings that the returns changed are its own
    assert "complete: 64 of 64 images" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"optim\.G\.lr"):
        train("dcgan", data, out=cut, **{**again, "set": [*SETTINGS["set"], "optim.G.lr=1e-3"]})


@pytest.mark.usefixtures("quick")
def test_a_loss_that_is_not_finite_leads_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, step = toy_images(tmp_path / "data"), Engine.step

    def breaking(self: Engine) -> Any:
        if self.clock.images == 56 and self._base_lr["D"] == [2e-4]:
            raise NumericalError("D/loss became nan")
        return step(self)

    monkeypatch.setattr(Engine, "step", breaking)
    train("dcgan", data, out=tmp_path / "run", on_collapse="rewind", **SETTINGS)
    (rewind,) = json.loads((tmp_path / "run" / "run.json").read_text())["rewinds"]
    assert (rewind["kind"], rewind["setting"]) == ("divergence", "--set optim.D.lr=5e-05")
    with pytest.raises(Stopped, match="became nan"):
        train("dcgan", data, out=tmp_path / "other", **SETTINGS)


@pytest.mark.usefixtures("quick")
def test_stopping_saves_and_names_the_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = toy_images(tmp_path / "data"), tmp_path / "run"
    see(monkeypatch, fault("checkerboard"))
    with pytest.raises(Stopped, match=r"checkerboard.*ganvas resume"):
        train("dcgan", data, out=out, on_collapse="stop", **SETTINGS)
    assert max(int(p.name) for p in checkpoint.all_of(out / "checkpoints")) == 48
    resume(out, device="cpu")  # regardless
    with pytest.raises(UserError, match="expected warn, stop, rewind"):
        train("dcgan", data, out=tmp_path / "other", on_collapse="pray", **SETTINGS)


@pytest.mark.usefixtures("quick")
def test_early_stopping_makes_the_run_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = toy_images(tmp_path / "data"), tmp_path / "run"
    measure = probe.Probe.measure

    def rising(self: probe.Probe, engine: Engine, model: Any) -> dict[str, float]:
        return {**measure(self, engine, model), "frechet": abs(engine.clock.images - 24.0)}

    monkeypatch.setattr(probe.Probe, "measure", rising)
    train("dcgan", data, out=out, early_stopping="frechet:2", **SETTINGS)
    assert json.loads((out / "run.json").read_text())["images"] == 48
    with pytest.raises(UserError, match="complete: 48 of 48"):
        resume(out, device="cpu")
    again = {"early_stopping": "frechet:2", "resume": "auto", **SETTINGS}
    train("dcgan", data, out=out, **again)  # the same command trains no further
    assert json.loads((out / "run.json").read_text())["images"] == 48
    train("dcgan", data, out=out, **{**again, "images": 56})  # another length does
    assert json.loads((out / "run.json").read_text())["images"] == 56
    for wrong in ("frechet:0", "fid", "coverage:x", "", "psnr", "D/loss_heldout"):
        with pytest.raises(UserError, match="--early-stopping"):
            train("dcgan", data, out=tmp_path / "x", early_stopping=wrong, **SETTINGS)
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("name", "values"), [("psnr", [20, 22, 21, 19]), ("VAE/loss_heldout", [3, 1, 2, 4])]
)
def test_a_measure_of_held_out_images_has_its_own_direction(name: str, values: list[float]) -> None:
    log = Log([], [{"images": i, name: v} for i, v in enumerate(values)])
    assert ended_early(log, parse_early_stopping(f"{name}:2"))
    assert not ended_early(log, parse_early_stopping(f"{name}:3"))


@pytest.mark.usefixtures("quick")
def test_early_stopping_needs_a_measure_that_is_taken(tmp_path: Path) -> None:
    data, other = toy_images(tmp_path / "d"), toy_images(tmp_path / "t", seed=5)
    vae = {"size": 8, "batch": 8, "images": 16, "device": "cpu", "set": SMALL["vae"]}
    with pytest.raises(UserError, match=r"VAE/loss_heldout: this run does not measure it"):
        train("vae", data, out=tmp_path / "x", early_stopping="VAE/loss_heldout", **vae)
    train("vae", data, out=tmp_path / "y", test=other, early_stopping="VAE/loss_heldout", **vae)
    last = Log.read(tmp_path / "y")
    assert {"VAE/loss", "VAE/loss_heldout"} <= last.measures[-1].keys()
    (loss, *_) = curves([*last.lines], [*last.measures])
    assert [label for label, _ in loss["legend"]] == ["VAE", "VAE, held-out images"]


@pytest.mark.usefixtures("quick")
def test_named_test_images_are_measured_and_must_fit(tmp_path: Path) -> None:
    data, other = toy_images(tmp_path / "data"), toy_images(tmp_path / "test", seed=5)
    out = tmp_path / "run"
    train("dcgan", data, out=out, test=other, **SETTINGS)
    last = json.loads((out / "measures.jsonl").read_text().splitlines()[-1])
    assert last["D/heldout"] != last["D/real"]
    assert str(tmp_path) not in (out / "run.json").read_text()
    with pytest.raises(UserError, match=r"test images \(--test\)"):
        train("dcgan", data, out=tmp_path / "x", test=tmp_path / "none", **SETTINGS)
    assert not (tmp_path / "x").exists()


@pytest.mark.usefixtures("quick")
def test_a_review_of_any_log_writes_the_findings_to_the_report(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train("dcgan", toy_images(tmp_path / "data"), out=out, **SETTINGS)
    faulty = log_of(**FAULTY["decay"])
    for name, lines in (("log", faulty.lines), ("measures", faulty.measures)):
        (out / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    found = watch.review(out)
    assert [f["kind"] for f in found.findings] == ["decay"]
    page = (out / "report.html").read_text()
    assert "decay: the images have been getting worse" in page
    assert "optim.G.lr" in page
    (out / "monitor.json").write_text(json.dumps([{"text": "<b>", "images": "x"}, 3]))
    assert "&lt;b&gt;" in write_report(out).read_text()
    (out / "measures.jsonl").write_text("")
    assert watch.review(out).lines == ["0 snapshots were measured; the monitor judges from 6 on"]
