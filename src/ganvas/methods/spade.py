"""SPADE (GauGAN): images from label maps by modulated normalization."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update, rng
from ganvas.core.errors import UserError
from ganvas.nets.label_map import input_planes
from ganvas.nets.vgg import VGG19
from ganvas.objectives.adversarial import hinge
from ganvas.objectives.feature_matching import matched_maps, perceptual
from ganvas.objectives.precision import wide
from ganvas.objectives.variational import kl_to_normal, reparameterised


@final
class SPADE(Method):
    """Semantic Image Synthesis with Spatially-Adaptive Normalization (GauGAN).

    Park et al., 2019, arXiv:1903.07291.

    L_G = -E D(m, G(m, z)) + feature_weight L_FM + vgg_weight L_VGG + kl_weight L_KLD
    L_D = hinge(D(m, y)) + hinge(-D(m, G(m, z)))      (section 3 and appendix A)

    Ordinary normalization removes what a flat area of the label map m says; SPADE's
    gain and offset are computed from m at every layer. D looks at patches, at several
    scales. With a style encoder E, z is the style of the real image in training, and a
    random one in use. G moves before D, and D sees images of its own turn (the authors'
    code).

    Differs from the paper: the divergence of the style is the mean over the batch (the
    authors' code sums it). Without `vgg` there is no L_VGG; its
    input is normalized as in VGG19's training, which makes it about twice that of the
    authors' code, whose input is in [-1, 1]. At other sizes than the
    training's the style's grid is interpolated. Instances are shades of their labels'
    colors, and `edges` adds the plane of their edges.
    """

    directions: Sequence[str] = ("b",)
    trained_with: Sequence[str] = ("vgg",)
    unaugmented = "features of real and generated images are compared at each place"
    G: Any  # a `nets.spade.Generator`
    D: Any  # a `nets.multiscale.MultiscaleDiscriminator`

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        E: Callable[..., nn.Module] | None = None,
        feature_weight: float = 10.0,
        kl_weight: float = 0.05,
        vgg: str | None = None,
        vgg_weight: float = 10.0,
        edges: bool = False,
    ) -> None:
        """Build the networks for `shape`, which has the palette of the label maps.

        E: style encoder, for a G with a latent; None: one image for each label map
        feature_weight: of the distance of D's features
        kl_weight: of the styles' divergence from N(0, 1)
        vgg: file of VGG19's weights; None: no perceptual loss
        edges: show the networks where a pixel and its neighbor differ in color, too:
            for label maps whose shades are instances (`data.instances`)
        """
        super().__init__()
        self.palette, self.edges = shape.palette, edges
        labels = len(shape.palette) or shape.classes
        if not labels:
            raise UserError(
                "SPADE needs label maps, whose colors are labels: pairs of a label map and an image"
            )
        self.E = E(channels=shape.channels) if E is not None else None
        latent = {"latent": self.E.latent if self.E is not None else 0}
        labels += edges
        self.G = G(labels=labels, channels=shape.channels, size=shape.size, **latent)
        self.D = D(channels=labels + shape.channels)
        self.phi = VGG19(vgg, "relu5_1") if vgg else None
        self.feature_weight, self.kl_weight, self.vgg_weight = feature_weight, kl_weight, vgg_weight
        self.multiple = self.G.multiple
        self.players = {"G": [self.G] if self.E is None else [self.G, self.E], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One step of G, then one of D, each on images of its own."""
        pair = next(batches)
        batch = pair.having(m=input_planes(pair.x, self.palette, self.edges))
        yield Update("G", self.g_loss, batch)
        yield Update("D", self.d_loss, batch)

    def g_loss(self, batch: Batch) -> Terms:
        """The hinge loss of all scales, features, and the style's divergence."""
        q = self.E(batch.y) if self.E is not None else None
        fake = self.G(batch.m, None if q is None else reparameterised(q))
        maps, real_maps = (
            self.D(self.d_input(batch.m, fake)),
            self.D(self.d_input(batch.m, batch.y)),
        )
        log = {
            "adversarial": -torch.stack([wide(m[-1]).mean() for m in maps]).mean(),
            "features": matched_maps(maps, real_maps),
        }
        loss = log["adversarial"] + self.feature_weight * log["features"]
        if self.phi is not None:
            got, wanted = (self.phi.blocks_of((x + 1) / 2) for x in (fake, batch.y))
            log["vgg"] = perceptual(got, wanted)
            loss = loss + self.vgg_weight * log["vgg"]
        if q is not None:
            log["kl"] = kl_to_normal(q)
            loss = loss + self.kl_weight * log["kl"]
        return Terms(loss, log)

    def d_loss(self, batch: Batch) -> Terms:
        """The hinge loss, mean over scales."""
        q = self.E(batch.y) if self.E is not None else None
        fake = self.G(batch.m, None if q is None else reparameterised(q))
        scores = [
            [maps[-1] for maps in self.D(self.d_input(batch.m, x))]
            for x in (batch.y, fake.detach())
        ]
        real, made = (
            torch.stack([hinge(s, is_real) for s in found]).mean()
            for found, is_real in zip(scores, (True, False), strict=True)
        )
        return Terms(real + made, {"real": real, "fake": made})

    def scores_of(self, output: object) -> Tensor:
        """Those of the whole image, the last of its maps."""
        scales = cast(list[list[Tensor]], output)
        return scales[0][-1]

    def d_input(self, m: Tensor, x: Tensor) -> Tensor:
        """Label planes and image as channels of one image."""
        return torch.cat([m.to(x.dtype), x], 1)

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Images for label maps in colors, with a random style each."""
        m = input_planes(x, self.palette, self.edges)
        latent = self.G.latent
        return self.G(m, rng.normal(len(x), latent, device=x.device) if latent else None)
