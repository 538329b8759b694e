"""Two ranks equal one process with the whole batch: gradients, penalties, batch norm."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from processes import completed, forks
from toys import distinct_recipes, toy_data

from ganvas import recipes

# Run by one process and by two: takes two steps of every recipe, in float64 so that
# rounding does not hide mistakes, and records the gradients of every optimizer step.
WORKER = """
import sys
from pathlib import Path
from typing import Any

import torch
from toys import toy_run

from ganvas.core import distributed as ranks
from ganvas.core.config import override
from ganvas.engine.engine import Engine
from ganvas.training.start import augmented


class Doubled:
    def __init__(self, feed):
        self.feed, self.info = feed, feed.info

    def draw(self, *args, **options):
        batch = self.feed.draw(*args, **options)
        return batch.map(lambda t: t.double() if t.is_floating_point() else t)


torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
ranks.LARGE = 50  # so that the toy networks have tensors of both kinds
ranks.init("cpu")
for told in sys.argv[2:]:
    recipe, _, data = told.partition("=")
    name, _, augment = recipe.partition("+")
    averaged = augment == "averaged"  # codes that are moving averages, not an augmentation
    run = augmented(toy_run(name, Path(data)), None if averaged else augment or None)
    if averaged:
        run = override(run, "AE.ema=0.5")
    if "pretrain" in run.method.keywords and not name.startswith("s3gan"):  # which needs it
        run = override(run, "pretrain=0")  # a stage that follows has optimizers of its own
    if "critic" in run.method.keywords:
        run = override(override(run, "critic=0"), "threshold=10")  # both players move
    if name.startswith(("vqgan", "autoencoder_kl")):
        run = override(run, "start=0")  # autoencoders with the game and its weight
    if augment == "ada":
        run = override(run, "augment.p=0.5")
    if name.startswith("progan"):
        run = override(run, "D.group=4")  # statistics of a group need its images on one rank
    engine = Engine(run, Doubled(run.data()))
    found = []
    for player, optimizer in engine.optim.items():
        def step(player=player, step=optimizer.step):
            grads = [w.grad.flatten() for w in engine.parameters[player] if w.grad is not None]
            found.append((player, torch.cat(grads)))
            return step()
        optimizer.step = step
    engine.step()
    engine.step()
    if ranks.rank() == 0:
        torch.save(found, Path(sys.argv[1]) / f"{recipe}.{ranks.world()}.pt")
ranks.destroy()
"""


def test_two_ranks_give_the_gradients_of_one_process(tmp_path: Path) -> None:
    # Other networks of a method are of the same layers.
    methods: dict[object, str] = {}
    for name in distinct_recipes():
        method: Any = recipes.find(name)(12).method
        methods.setdefault(method.func, name)
    names = [*methods.values(), "vae_conv", "vqgan+averaged"]
    names += ["dcgan+ada", "dcgan_digits+color,cutout"]
    names.remove("singan")  # trains on one image, which two processes cannot share
    told = [
        f"{name}={toy_data(name.partition('+')[0], tmp_path / 'data' / name)}" for name in names
    ]
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    path = os.pathsep.join(
        [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with forks([tmp_path, *told], script) as process:
        [alone] = process.ended()
    assert alone.returncode == 0, alone.stderr
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    completed([sys.executable, *torchrun, script, tmp_path, *told], env=environment)
    for name in names:
        one, two = (
            torch.load(tmp_path / f"{name}.{count}.pt", weights_only=True) for count in (1, 2)
        )
        assert [p for p, _ in one] == [p for p, _ in two]
        assert len(one) >= 2
        for turn, ((player, a), (_, b)) in enumerate(zip(one, two, strict=True)):
            error = float((a - b).norm() / a.norm())
            assert error < 1e-6, (
                f"{name}: {player}'s gradients in turn {turn} differ by {error:.1e}"
            )
