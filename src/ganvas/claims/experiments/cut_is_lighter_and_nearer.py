"""CUT, table 1: one network instead of two, at a lower distance than CycleGAN's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

import torch
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.costs import seconds_per_image, training_bytes
from ganvas.claims.kit.letters import Styles, serif_and_sans
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Method, Run
from ganvas.core.schedules import LinearDecay
from ganvas.engine.engine import Engine
from ganvas.methods import CUT, CycleGAN
from ganvas.nets import cut, image_to_image, patchgan

SIDE = 64  # pixels
WIDTH, BLOCKS = 32, 6
IMAGES = 30_000
RATES = (1e-4, 2e-4, 4e-4)  # of CycleGAN; the paper's is the second
DEVICE = "cuda"
PART = 64  # images in one forward pass


def letters() -> Styles:
    """Letters with and without serifs."""
    return serif_and_sans(SIDE)


def run(method: partial[CycleGAN] | partial[CUT], rate: float = 2e-4) -> Run:
    """Every method has the same generator, discriminator, batches and schedule."""
    adam = partial(Adam, lr=rate, betas=(0.5, 0.999))
    return Run(
        method=partial(
            method,
            G=partial(
                image_to_image.ResNetGenerator,
                width=WIDTH,
                blocks=BLOCKS,
                blur_down=True,
                blur_up=True,
            ),
            D=partial(patchgan.PatchDiscriminator, width=WIDTH, layers=2, blur=True),
        ),
        data=lambda: letters().feed,
        optim={"G": adam, "D": adam},
        batch=1,
        images=IMAGES,
        lr=LinearDecay(start=IMAGES // 2, end=IMAGES),
    )


CYCLEGAN = partial(CycleGAN, identity_weight=0.0)
CONTRAST = partial(CUT, F=partial(cut.PatchMLP))
ARMS = {
    "cyclegan": [run(CYCLEGAN, rate) for rate in RATES],
    "cut": run(CONTRAST),
    "fastcut": run(partial(CONTRAST, nce_weight=10.0, identity_weight=0.0, flip=True)),
}


def arm_of(method: Method) -> str:
    """The name of a trained method's arm."""
    if isinstance(method, CycleGAN):
        return "cyclegan"
    assert isinstance(method, CUT)
    return "fastcut" if method.flip else "cut"


@cache
def prices(device: str) -> dict[str, float]:
    """Seconds of an image in each arm; the rate changes nothing."""
    runs = {k: v[0] if isinstance(v, list) else v for k, v in ARMS.items()}
    return seconds_per_image(runs, device)


def graph_bytes(method: Method) -> int:
    """What the generators' update keeps, with all losses in one graph as in the papers.

    The engine performs CycleGAN's two directions one after the other, and has one of
    them at a time.
    """
    real = letters().feed.draw(0, 1, seed=0, device=method.device)
    method = method.train().requires_grad_(True)

    def loss() -> Tensor:
        if isinstance(method, CycleGAN):
            return method.a_loss(real).loss + method.b_loss(real).loss
        assert isinstance(method, CUT)
        batch = real
        if method.flip:
            batch = batch.having(
                mirror=torch.ones(len(real), dtype=torch.bool, device=real.a.device)
            )
        return method.g_loss(batch.having(**method.translations(batch))).loss

    return training_bytes(method, loss)


@torch.no_grad()
def translated(trained: Trained) -> Tensor:
    """Held-out letters without their serifs."""
    device = trained.engine.device
    parts = letters().serifs.split(PART)
    return torch.cat([trained.model.translate(x.to(device), to="b").cpu() for x in parts])


def measure(trained: Trained) -> dict[str, float]:
    """The distance of translations, seconds of an image, and memory in MiB."""
    its, device = trained.engine.run, str(trained.engine.device)
    fresh = Engine(its, trained.feed, device).method
    return {
        "frechet": letters().distance.of(translated(trained).split(PART)),
        "seconds": prices(device)[arm_of(fresh)],
        "mib": graph_bytes(fresh) / 2**20,
    }


def unchanged() -> dict[str, float]:
    """The distance of letters that keep their serifs: a guess."""
    return {"frechet": letters().distance.of(letters().serifs.split(PART))}


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """Distances, and time and memory over CycleGAN's.

    A method that is not nearer than CycleGAN cannot take its place, whatever it costs:
    its shares count as 1.
    """
    base = arms["cyclegan"]
    found = {f"{arm}_{name}": value for arm, each in arms.items() for name, value in each.items()}
    for arm in ("cut", "fastcut"):
        each = arms[arm]
        nearer = base["frechet"] / max(each["frechet"], 1e-9)
        shares = {name: each[name] / base[name] for name in ("seconds", "mib")}
        found[f"{arm}_nearer"] = nearer
        found[f"{arm}_time"] = shares["seconds"] if nearer > 1 else 1.0
        found[f"{arm}_memory"] = shares["mib"] if nearer > 1 else 1.0
    return found


def series(trained: Trained) -> dict[str, object]:
    """Every 26th letter and its translation, small."""
    step = slice(0, 8 * 26, 26)
    rows = {"serif": letters().serifs[step], "sans": translated(trained)[step]}
    return {name: plots.pixels(x, 8, side=32) for name, x in rows.items()}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms=ARMS,
        controls=["cyclegan"],
        measure=measure,
        chance=unchanged,
        figures=figures,
        series=series,
        rank=lambda figures: figures["frechet"],
        device=DEVICE,
    ),
    plot=plots.pictures(
        {
            "with serifs": lambda s: s["cut"]["serif"],
            "CUT, distance": lambda s: s["cut"]["sans"],
            "FastCUT, distance": lambda s: s["fastcut"]["sans"],
            "CycleGAN, distance": lambda s: s["cyclegan"]["sans"],
        },
        {
            "CUT, distance": "cut_frechet",
            "FastCUT, distance": "fastcut_frechet",
            "CycleGAN, distance": "cyclegan_frechet",
        },
    ),
    ready=letters,
)
