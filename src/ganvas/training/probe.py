"""Measurements of a training run at its snapshots: the lines of measures.jsonl.

frechet             Fréchet distance of samples to the data, over `FEATURES`
diversity           spread of the samples over that of the data; 1 is best
precision           share of the samples that lie among the data; recall: the reverse
coverage            share of the data with a sample nearby (Naeem et al., 2020)
checkerboard        peaks of the spectrum over those of the data; about 1 is best
D/real              mean score of the discriminators on training images
D/heldout           on images that are not trained on, if the run has such
D/generated         on generated images
G/gradient, ...     norm of each player's gradient
D/loss, D/loss_heldout, ...   losses of the players with the same draws on either data

The last five groups are of one plan of the method on a copy whose weights do not move
(`Rehearsal`). A method of likelihood (VAE) has an objective that compares between
snapshots: with held-out images, its losses and what else it logs (bits per dimension)
are means over `OBJECTIVE` of the next training images, and over the same held-out ones
at each snapshot (`_heldout`). Scores are missing where a discriminator returns none
(S3GAN, SinGAN), where it sees real images changed (patches; images that grow) and where
there is none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import SGD

from ganvas.core import Batch, Method, Run, Translates, distributed
from ganvas.core.errors import DataError, NumericalError, UserError, sentence
from ganvas.core.rng import Rows
from ganvas.data import Prefetch
from ganvas.data.arrays import SHIPPED
from ganvas.data.feed import Feed
from ganvas.data.info import Info
from ganvas.engine.engine import Engine
from ganvas.inference.model import Model
from ganvas.metrics.checkerboard import checkerboard
from ganvas.metrics.feature_set import FeatureSet
from ganvas.metrics.features import extractor
from ganvas.metrics.frechet import frechet_distance
from ganvas.metrics.precision_recall import fidelity

FEATURES = "random-conv-v1"
IMAGES = 1000  # samples, and at most as many real images
TRANSLATED = 64  # the same, of methods that translate
PATTERNS = 64  # images of which spectra are taken
NEIGHBORS = 5  # of coverage
OBJECTIVE = 256  # images, about, over which an objective that is no game is averaged


def held_out_images(run: Run, feed: Feed | Prefetch, *, paired: bool = False) -> Feed | None:
    """Open the images that a run does not train on, `Run.test`.

    If the run names none: the test part of data that lie on this machine, if there is
    one.

    feed: the training images
    paired: whether they are measured as pairs, too (`training.validation`), which may
        be of any size; what does not fit here is left out then

    Raises `DataError` for named images that cannot be opened.
    """
    assert isinstance(run.data, partial)
    settings = run.data.keywords
    if run.test is None:
        here = str(settings.get("source", ""))
        if "part" in settings or not (here in SHIPPED or all(map(os.path.exists, here.split(",")))):
            return None
    changes = {"part": "test"} if run.test is None else {"source": run.test}
    try:
        found = run.data.func(**{**settings, **changes})
    except (UserError, TypeError) as e:
        if run.test is None or paired:
            return None
        raise DataError(
            f"test images (--test) {run.test}: {sentence(e)} To go on with a run without them: "
            "ganvas resume RUN --set test=null"
        ) from None
    sides, expected = found.info.shape, feed.info.shape
    fits = (sides.channels, *sides.size) == (expected.channels, *expected.size)
    if run.test is None or paired:
        return found if fits and found.info.fingerprint != feed.info.fingerprint else None
    if not fits:
        raise DataError(
            f"test images (--test) {run.test}: they are {sides.width}x{sides.height} with "
            f"{sides.channels} channels; those of the data are {expected.width}x{expected.height} "
            f"with {expected.channels}"
        )
    return found


class Probe:
    """Measures a run at its snapshots.

    data: the real images that samples are compared with
    held_out: images that are not trained on; None: there are none
    """

    def __init__(self, data: Feed | Prefetch, held_out: Feed | None = None) -> None:
        self._data, self._held_out = data, held_out
        self._real: dict[tuple[str, int | None], tuple[FeatureSet, Tensor]] = {}
        self._rehearsal: Rehearsal | None = None

    def rehearse(self, engine: Engine) -> dict[str, float]:
        """Scores, gradients and losses, by name. Every rank must call this."""
        if self._rehearsal is None:
            self._rehearsal = Rehearsal(engine)
        found = self._rehearsal(engine, engine.feed)
        if self._held_out is not None:
            if compares(engine.method):
                return found | self._objective(engine, self._rehearsal, self._held_out)
            other = self._rehearsal(engine, self._held_out)
            if "D/real" in other:
                found["D/heldout"] = other["D/real"]
            # A generator's loss is often the same: it knows nothing of real images.
            changed = [k for k, v in other.items() if k.endswith("/loss") and v != found.get(k)]
            found |= {f"{name}_heldout": other[name] for name in changed}
        return found

    def _objective(self, engine: Engine, rehearsal: Rehearsal, held_out: Feed) -> dict[str, float]:
        """What a method logs of training images, and as `_heldout` of held-out ones."""
        trained = rehearsal.objective(engine, engine.feed, engine.clock.images)
        other = rehearsal.objective(engine, held_out, 0)
        return trained | {f"{name}_heldout": value for name, value in other.items()}

    def measure(self, engine: Engine, model: Model) -> dict[str, float]:
        """Distance, diversity, coverage and patterns of the model's images, by name.

        Comparable only within one run: the sample is small, and the features are
        random. Of methods that translate, the mean over the directions.
        """
        side = engine.method.current_stage.resolution
        if not isinstance(model.method, Translates):
            batches = model.batches(IMAGES, seed=engine.run.seed + 1)
            return _compared(*_filled(batches), *self._real_side("", side))
        found: list[dict[str, float]] = []
        for to in model.method.directions:
            source, _ = self._pair(to)
            outputs = [model.translate(x[None], to=to, output="torch") for x in source]
            generated = _filled([torch.cat(outputs)])
            found.append(_compared(*generated, *self._real_side(to, None)))
        return {name: sum(f[name] for f in found) / len(found) for name in found[0]}

    def _real_side(self, to: str, side: int | None) -> tuple[FeatureSet, Tensor]:
        """The features of real images in a resolution, and some of the images; kept."""
        if (to, side) not in self._real:
            if to:
                x = self._pair(to)[1]
            else:
                real = self._data.fixed(min(IMAGES, self._data.info.count))
                # one set, or coupled domains
                x = real.x if "x" in real else torch.cat([real.a, real.b])
                if side is not None and side < max(x.shape[-2:]):
                    x = torch.nn.functional.avg_pool2d(x, max(x.shape[-2:]) // side)
            self._real = {k: v for k, v in self._real.items() if k[1] == side}
            self._real[to, side] = _filled(x.split(64))
        return self._real[to, side]

    def _pair(self, to: str) -> tuple[Tensor, Tensor]:
        """Fixed real images: inputs of the translation `to`, and its target domain."""
        real: Batch = self._data.fixed(min(TRANSLATED, self._data.info.count))
        return (real.a, real.b) if to == "b" else (real.b, real.a)


def compares(method: Method) -> bool:
    """Whether a method's own objective compares between the snapshots of a run.

    It does without discriminators. Translations are measured as pairs instead.
    """
    networks = {name for name, _ in method.named_children()}
    return networks.isdisjoint(method.discriminators) and not isinstance(method, Translates)


def _filled(batches: Iterable[Tensor]) -> tuple[FeatureSet, Tensor]:
    """The features of images, and the first of the images."""
    first: list[Tensor] = []
    features = FeatureSet(extractor(FEATURES), "compared")
    for x in batches:
        if sum(map(len, first)) < PATTERNS:
            first.append(x.cpu())
        features.add(x)
    return features, torch.cat(first)[:PATTERNS]


def _compared(
    generated: FeatureSet, images: Tensor, real: FeatureSet, real_images: Tensor
) -> dict[str, float]:
    ours, theirs = generated.moments.statistics(), real.moments.statistics()
    found = {"frechet": frechet_distance(*ours, *theirs)}
    spread = float(theirs.cov.trace())
    if spread > 0:
        found["diversity"] = (float(ours.cov.trace()) / spread) ** 0.5
    if min(generated.count, real.count) > NEIGHBORS:
        features = real.kept()[0], generated.kept()[0]
        close = fidelity(*features, k=NEIGHBORS)
        found |= {
            "precision": close.precision,
            "recall": close.recall,
            "coverage": close.coverage,
        }
    if images.shape[1:] == real_images.shape[1:]:
        found["checkerboard"] = checkerboard(images, real_images)
    return found


class Rehearsal:
    """One step of a method on a copy whose weights do not move.

    The copy takes as much memory as the weights.
    """

    def __init__(self, engine: Engine) -> None:
        still = partial(SGD, lr=0.0)
        run = replace(
            engine.run,
            optim=dict.fromkeys(engine.run.optim, still),
            **dict.fromkeys(("lr", "momentum", "beta2", "ema", "augment", "compile")),
        )
        self._engine = Engine(run, engine.feed, engine.device)

    def __call__(self, engine: Engine, feed: Feed | Prefetch) -> dict[str, float]:
        """Perform the step that `engine` would take next, with images of `feed`.

        Returns scores, norms of gradients and losses by name; nothing if a loss is not
        finite.
        """
        copy = self._copied(engine)
        copy.feed = drawn = _Recorded(feed)
        try:
            with _scores(copy.method, drawn) as scores:
                log = copy.step()
        except NumericalError:
            return {}
        found = {k: v for k, v in log.items() if k.endswith("/loss")}
        for player, weights in copy.parameters.items():
            norms = [w.grad.detach().norm() for w in weights if w.grad is not None]
            if norms:
                found[f"{player}/gradient"] = torch.stack(norms).norm()
        for name, values in scores.items():
            if values:
                found[name] = torch.stack(values).mean()
        values = [v.detach().float().to(copy.device) for v in found.values()]
        distributed.all_reduce_mean_(values)
        return {k: float(v) for k, v in zip(found, values, strict=True) if torch.isfinite(v)}

    def objective(self, engine: Engine, feed: Feed | Prefetch, cursor: int) -> dict[str, float]:
        """What the model logs of about `OBJECTIVE` images of `feed`, as means.

        It is in evaluation, with averaged weights if the run averages.

        cursor: position of the first image

        Returns means by name, as in the log; nothing if a loss is not finite.
        """
        copy = self._copied(engine)
        copy.method.load_state_dict(engine.model().state_dict(), strict=False)
        copy.feed = _Recorded(feed, cursor - engine.clock.images)
        copy.training = False
        steps = max(OBJECTIVE // engine.run.batch, 1)
        try:
            logs = [copy.step() for _ in range(steps)]  # each with noise of its own
        except NumericalError:
            return {}
        finally:
            copy.training = True
        means = {k: torch.stack([log[k].detach().float() for log in logs]).mean() for k in logs[0]}
        distributed.all_reduce_mean_(list(means.values()))
        return {k: float(v) for k, v in means.items() if torch.isfinite(v)}

    def _copied(self, engine: Engine) -> Engine:
        """The copy with the weights and at the clock of `engine`."""
        copy = self._engine
        copy.method.load_state_dict(engine.method.state_dict(), strict=False)  # no augmentation
        copy.clock, copy.method.current_stage = engine.clock, engine.method.current_stage
        return copy


class _Recorded:
    """A feed that remembers the last batch that it has drawn.

    offset: added to the positions that are drawn
    """

    def __init__(self, feed: Feed | Prefetch, offset: int = 0) -> None:
        self._offset = offset
        # Not the feed's thread, which has drawn the next batch of the training.
        self._feed = feed.feed if isinstance(feed, Prefetch) else feed
        self.info: Info = feed.info
        self.images: list[Tensor] = []

    def draw(
        self,
        cursor: int,
        n: int,
        *,
        seed: int,
        rows: Rows | None = None,
        resolution: int | None = None,
        device: torch.device | str | None = None,
    ) -> Batch:
        """As `Feed.draw`."""
        batch = self._feed.draw(
            cursor + self._offset, n, seed=seed, rows=rows, resolution=resolution, device=device
        )
        fields = [batch.get(name) for name in ("x", "y", "a", "b")]
        images = [x for x in fields if x is not None and x.ndim == 4]
        self.images = images + [(x + 1) / 2 for x in images]  # as enlargements take them
        return batch


@contextmanager
def _scores(method: Method, drawn: _Recorded) -> Iterator[Mapping[str, list[Tensor]]]:
    """Collect the discriminators' mean scores in the mapping that the context yields.

    Real images are those of the last batch, also beside an input or each other in the
    channels.
    Generated images are all others of the generators' turns: in the discriminators'
    own, penalties show them further images.
    """
    found: dict[str, list[Tensor]] = {"D/real": [], "D/generated": []}

    def record(net: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        scores, x = method.scores_of(output), inputs[0]
        if scores is None or len(scores) != len(x):
            return
        own = any(w.requires_grad for w in net.parameters())
        n = len(drawn.images[0]) if drawn.images else 0
        for images, part in zip(x.split(n or len(x)), scores.split(n or len(x)), strict=True):
            real = any(_shows(images, y) for y in drawn.images)
            if real or not own:
                found["D/real" if real else "D/generated"].append(part.detach().float().mean())

    nets = [net for n, net in method.named_children() if n in method.discriminators]
    handles = [net.register_forward_hook(record) for net in nets]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _shows(images: Tensor, y: Tensor) -> bool:
    """Whether a discriminator's input is y: in packs (PacGAN), or the last channels."""
    if images.numel() == y.numel():
        return torch.equal(images.reshape(y.shape), y)
    last = images[:, -y.shape[1] :]
    return last.shape == y.shape and torch.equal(last, y)
