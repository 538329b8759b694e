"""Augmentation by one keyword changes all inputs of discriminators and nothing else."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from toys import toy_data, toy_run

from ganvas.core.config import override
from ganvas.core.errors import UserError
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.nets.augment import named
from ganvas.training.start import augmented


def engine(recipe: str, tmp_path: Path, augment: str, *more: str) -> Engine:
    run = augmented(toy_run(recipe, toy_data(recipe, tmp_path / "data")), augment)
    for assignment in more:
        run = override(run, assignment)
    return Engine(run, run.data())


FIXED = ("augment.p=0.5", "augment.target=null")


@pytest.mark.parametrize(
    ("recipe", "augment", "more"),
    [
        ("dcgan", "ada", ("augment.p=0.5",)),
        ("dcgan_digits", "color,translation,cutout", ()),  # R1 passes through it
        ("wgan_gp", "ada", FIXED),
        ("progan", "ada", FIXED),
        ("pix2pix", "ada", ("augment.p=0.5",)),
        ("cyclegan", "translation", ()),
        ("gan", "ada", ("augment.p=0.5", "precision=bf16")),
    ],
)
def test_every_method_resumes_exactly_with_it(
    recipe: str, augment: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    straight = engine(recipe, tmp_path, augment, *more)
    plain = engine(recipe, tmp_path, "none")
    assert set(
        straight.method.get_submodule("G_ab" if recipe == "cyclegan" else "G").state_dict()
    ) <= {k.partition(".")[2] for k in plain.method.state_dict()}
    kept = {k for k in straight.method.state_dict() if not k.startswith("augment.")}
    assert kept == set(plain.method.state_dict()), "weights keep their names"
    log = {}
    for step in range(5):
        if step == 3:
            checkpoint.save(tmp_path / "cut", *straight.state())
        log = straight.step()
        assert all(math.isfinite(v) for v in log.values())
        plain.step()
    first = plain.method.discriminators[0]
    assert any(
        not torch.equal(a, b)
        for a, b in zip(
            *(e.method.get_submodule(first).parameters() for e in (straight, plain)), strict=True
        )
    )
    again = engine(recipe, tmp_path, augment, *more)
    again.load_state(*checkpoint.load(checkpoint.all_of(tmp_path / "cut")[-1]))
    again.step()
    assert again.step() == log
    for (k, a), b in zip(
        again.method.state_dict().items(), straight.method.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), k


def test_discriminators_in_evaluation_get_unchanged_images(tmp_path: Path) -> None:
    e = engine("dcgan", tmp_path, "ada", *FIXED)
    model, x = e.model(), torch.rand(4, 3, 16, 16)
    score = model.D  # type: ignore[union-attr]
    assert torch.equal(score(x), score(x))  # type: ignore[operator]
    e.method.train()
    assert not torch.equal(e.method.D(x), e.method.D(x))  # type: ignore[operator]


def test_augmentation_gets_the_number_of_channels(tmp_path: Path) -> None:
    """D of pix2pix sees a pair in its channels."""
    e = engine("pix2pix", tmp_path, "ada", *FIXED)
    assert e.method.augment.channels == e.feed.info.channels  # type: ignore[union-attr]


@pytest.mark.parametrize("augment", ["none", "color,translation,cutout", "ada"])
def test_compared_features_are_of_equally_augmented_images(augment: str, tmp_path: Path) -> None:
    """VAE/GAN: the distance of an image to itself is 0, and to a pale copy is not."""
    more = FIXED if augment == "ada" else ()
    e = engine("vaegan_small", tmp_path, augment, "Dis.width=8", *more)
    e.method.train()
    x = torch.rand(16, 3, 16, 16) * 2 - 1

    def like(rebuilt: torch.Tensor) -> float:
        _, (wanted, got) = e.method.discriminate(x, rebuilt)  # type: ignore[operator]
        return float((wanted - got).detach().square().mean())

    assert like(x) == 0
    assert like(x / 2) > 0.1 * like(x.roll(1, 0))


def test_micro_batches_are_augmented_as_the_batch(tmp_path: Path) -> None:
    whole, cut = (
        engine("dcgan", tmp_path, "ada", "augment.p=0.7", "D.norm=false", "G.width=4", f"micro={m}")
        for m in (8, 2)
    )
    seen: list[list[torch.Tensor]] = [[], []]
    for e, kept in zip((whole, cut), seen, strict=True):
        e.method.augment.register_forward_hook(lambda m, i, o, kept=kept: kept.append(o.detach()))  # type: ignore[union-attr, operator]
        e.step()
    real = [kept[0::2] for kept in seen]
    torch.testing.assert_close(real[0][0], torch.cat(real[1][:4]))


def test_p_rises_while_the_discriminator_overfits(tmp_path: Path) -> None:
    """The probability p is logged, and saved as a buffer."""
    e = engine(
        "dcgan",
        tmp_path,
        "ada",
        "augment.images=500",
        "optim.G.lr=0",
        "optim.D.lr=1e-2",
        "D.norm=false",
    )
    logs = [e.step() for _ in range(40)]
    assert float(logs[-1]["D/sign"]) > 0.6
    assert float(logs[-1]["augment/p"]) > 0.1
    assert float(logs[-1]["augment/p"]) == float(e.method.state_dict()["augment.p"])


def test_data_that_cannot_be_augmented_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"augment\.target=null"):
        engine("wgan_gp_dcgan", tmp_path, "ada").step()
    with pytest.raises(UserError, match="ada, or some of"):
        named("rotation")
