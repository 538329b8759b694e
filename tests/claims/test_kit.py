"""What all claims stand on: the training loop, arms and nulls, bounds that mean something."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import pytest
from torch.optim import Adam

from ganvas.claims import Check, Claim, Finding, Words, runner
from ganvas.claims.claim import interval
from ganvas.claims.kit.training import Comparison, Trained, resumable, train
from ganvas.core import Run
from ganvas.data import images
from ganvas.methods import DCGAN
from ganvas.nets import dcgan as nets

RUN = Run(
    method=partial(
        DCGAN,
        G=partial(nets.Generator, width=2, latent=4),
        D=partial(nets.Discriminator, width=2),
    ),
    data=partial(images, "digits", size=16, labels=False),
    optim={p: partial(Adam, lr=1e-3) for p in "GD"},
    batch=8,
    images=64,
)


def weight(trained: Trained) -> dict[str, float]:
    return {
        "weight": sum(float(w.detach().double().sum()) for w in trained.engine.method.parameters())
    }


def reading(engine: object, logged: object) -> dict[str, float]:
    return {"losses": float(len(logged["D/loss"]))}  # type: ignore[index]


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(RUN, 3, readings=4, read=reading)
    assert [r["images"] for r in whole.readings] == [16, 32, 48, 64]
    assert whole.curve("losses") == [2, 2, 2, 2]
    monkeypatch.setattr("ganvas.claims.kit.training.SAVE_SECONDS", -1.0)
    reads = 0

    def stops(engine: object, logged: object) -> dict[str, float]:
        nonlocal reads
        reads += 1
        if reads == 3:
            raise KeyboardInterrupt
        return reading(engine, logged)

    with resumable(tmp_path):
        with pytest.raises(KeyboardInterrupt):
            train(RUN, 3, readings=4, read=stops)
        resumed = train(RUN, 3, readings=4, read=stops)
    assert reads == 5, "the readings before the interruption are kept"
    assert resumed.readings == whole.readings
    assert weight(resumed) == weight(whole)


def test_the_untrained_twin_has_taken_no_step() -> None:
    twin = train(RUN, 3, readings=2, read=lambda engine, logged: {"steps": engine.clock.step})
    assert twin.curve("steps") == [4, 8]
    twin = train(RUN, 3, readings=2, read=lambda *_: {"a": 1.0}, steps=False)
    assert twin.engine.clock.step == 0
    assert len(twin.readings) == 2


def test_arms_are_compared_and_computed_again_with_each_null() -> None:
    slow = dataclasses.replace(RUN, images=8)
    found = Comparison(
        arms={"long": RUN, "short": [slow, dataclasses.replace(slow, images=16)]},
        controls=["short"],
        measure=lambda trained: {"images": float(trained.engine.clock.images)},
        chance={"images": 5.0},
        figures=lambda arms: {"ratio": arms["long"]["images"] / arms["short"]["images"]},
        rank=lambda figures: -figures["images"],
    )(0)
    assert found.figures == {"ratio": 4.0}, "the control has its best setting, 16 images"
    assert found.nulls == {
        "untrained": {"ratio": 0.0},
        "chance": {"ratio": 5 / 16},
        "short": {"ratio": 1.0},
    }


def claim(*checks: Check) -> Claim:
    words = Words(
        kind="trained",
        paper="Nobody, 2020",
        section="1",
        sentence="s",
        experiment="e",
        minutes=1,
        figures={"a": "a"},
        checks=list(checks),
    )
    return Claim(name="toy", words=words, experiment=lambda seed: Finding({}), plot=lambda *_: None)


def test_a_bound_that_a_null_passes_makes_the_claim_void() -> None:
    seeds = [{"figures": {"a": a}, "nulls": {"untrained": {"a": u}}} for a, u in ((3, 1), (4, 2))]
    good = Check(figure="a", op=">=", bound=2.5, why="because it is")
    easy = Check(figure="a", op=">=", bound=1, why="because it is")
    assert runner.judge(claim(good), seeds)["holds"]
    judged = runner.judge(claim(good, easy), seeds)
    assert judged["void"]
    assert not judged["holds"]
    gate = easy.model_copy(update={"role": "gate"})
    assert runner.judge(claim(good, gate), seeds)["holds"], "a gate is no part of the statement"


def test_a_mean_is_judged_by_its_interval() -> None:
    low, high = interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-3)
    mean = Check(figure="a", op=">", bound=0, why="because it is", over="mean")
    assert not mean.holds([1.0, 2.0, 3.0])
    assert mean.holds([1.9, 2.0, 2.1])
    assert not mean.holds([5.0]), "one seed has no interval"
    share = Check(figure="a", op=">=", bound=0.6, why="because it is", over="share")
    assert share.holds([1, 1, 1, 0, 0])
    assert not share.holds([1, 1, 0, 0, 0])
