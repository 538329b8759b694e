"""CUT: unpaired translation in one direction by contrasting patches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import final

import torch
from torch import Tensor, nn

from ganvas.core import Batch, Clock, Forward, Method, Plan, Shape, Terms, Update, rng
from ganvas.nets import cut
from ganvas.nets.image_to_image import ResNetGenerator
from ganvas.nets.init import xavier_init
from ganvas.objectives.adversarial import discriminator_log, lsgan
from ganvas.objectives.contrastive import patch_nce

INIT_GAIN = 0.02  # the authors' code


@final
class CUT(Method):
    """Contrastive Learning for Unpaired Image-to-Image Translation.

    Park, Efros, Zhang and Zhu, 2020, arXiv:2007.15651.

    L = L_LSGAN(G, D) + nce_weight L_NCE(a) + identity_weight L_NCE(b)    (equation 5)

    A patch of the translation G(a) must resemble the patch of a at the same place more
    than other patches of a: both are features of G's own encoder, projected by the MLPs
    F. L_NCE(b) is the same for G(b) and b, and keeps G from changing images of its own
    domain. D moves first, then G and F together. Without it, with a weight of 10 and
    with `flip`, this is the paper's FastCUT.

    Differs from the paper: each of the two L_NCE has half the weight if both are on, as
    in the authors' code, so that `identity_weight` is theirs. With `flip` each image
    decides by itself whether it is mirrored (the code decides for the whole batch,
    which is one image).
    """

    directions: Sequence[str] = ("b",)
    G: ResNetGenerator

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., ResNetGenerator],
        F: Callable[..., cut.PatchMLP],
        D: Callable[..., nn.Module],
        nce_weight: float = 1.0,
        identity_weight: float = 1.0,
        taps: Sequence[int] = (0, 4, 8, 12, 16),
        patches: int = 256,
        temperature: float = 0.07,
        flip: bool = False,
    ) -> None:
        """Build the networks for `shape`.

        taps: the layers of G whose features are compared (0: the image)
        patches: of an image, at random places, for each layer
        temperature: tau of equation 2
        flip: G gets half of the images mirrored, and its features are mirrored back
        """
        super().__init__()
        self.G = G(channels_in=shape.channels, channels_out=shape.channels)
        self.F = F(channels=cut.feature_channels(self.G, taps, shape.channels))
        self.D = D(channels=shape.channels)
        for net in (self.G, self.F, self.D):
            xavier_init(net, INIT_GAIN)
        self.nce_weight, self.identity_weight = nce_weight, identity_weight
        self.taps, self.patches, self.temperature, self.flip = taps, patches, temperature, flip
        self.multiple: int = self.G.multiple
        self.players = {"G": [self.G, self.F], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """D, then G with F, on the same generated images."""
        real = next(batches)
        if self.flip:
            mirror = rng.uniform(len(real), device=self.device) < 0.5
            real = real.having(mirror=mirror)
        generated = (yield Forward("G", self.translations, real)).outputs
        batch = real.having(**generated)
        yield Update("D", self.d_loss, batch)
        yield Update("G", self.g_loss, batch)

    def translations(self, real: Batch) -> dict[str, Tensor]:
        """G(a) as `fake`, and G(b) as `same` if it is used."""
        if not self.identity_weight:
            return {"fake": self.G(self.mirrored(real.a, real))}
        images = torch.cat([self.mirrored(x, real) for x in (real.a, real.b)])
        fake, same = self.G(images).chunk(2)
        return {"fake": fake, "same": same}

    def d_loss(self, batch: Batch) -> Terms:
        """Half of E[(D(b) - 1)^2] + E[D(G(a))^2]."""
        d_real, d_fake = self.D(batch.b), self.D(batch.fake)
        loss = (lsgan(d_real, 1.0) + lsgan(d_fake, 0.0)) / 2
        return Terms(loss, discriminator_log(d_real - 0.5, d_fake - 0.5))

    def g_loss(self, batch: Batch) -> Terms:
        """Equation 5."""
        adversarial = lsgan(self.D(batch.fake), 1.0)
        nce = self.contrast(batch.a, batch.fake, batch)
        log = {"adversarial": adversarial, "nce": nce}
        contrast = self.nce_weight * nce
        if self.identity_weight:
            log["identity"] = self.contrast(batch.b, batch.same, batch)
            contrast = (contrast + self.identity_weight * log["identity"]) / 2
        return Terms(adversarial + contrast, log)

    def contrast(self, source: Tensor, made: Tensor, batch: Batch) -> Tensor:
        """L_NCE of images [N, C, H, W] and their translations (equation 3)."""
        queries = cut.encode(self.G, made, self.taps)
        with torch.no_grad():
            keys = cut.encode(self.G, source, self.taps)
        # The same places for all images, drawn alike on every rank.
        places = [
            torch.randperm(key[0, 0].numel(), device=key.device)[: self.patches] for key in keys
        ]
        vectors = self.F([self.mirrored(query, batch) for query in queries], places)
        with torch.no_grad():
            own = self.F(keys, places)
        losses = [
            patch_nce(q, k, self.temperature).mean() for q, k in zip(vectors, own, strict=True)
        ]
        return torch.stack(losses).mean()

    def mirrored(self, x: Tensor, batch: Batch) -> Tensor:
        """Images or features [N, C, H, W], mirrored where `mirror` says so."""
        mirror = batch.get("mirror")
        return x if mirror is None else torch.where(mirror[:, None, None, None], x.flip(3), x)

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Images [N, C, H, W] of domain a to domain b."""
        return self.G(x)
