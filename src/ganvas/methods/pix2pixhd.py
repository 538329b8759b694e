"""pix2pixHD: large images from label maps, and a local enhancer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganvas.core import Batch, Clock, Forward, Length, Method, Plan, Shape, Stage, Terms, Update
from ganvas.core.errors import ConfigError
from ganvas.nets.label_map import input_planes
from ganvas.nets.pix2pixhd import LocalEnhancer, halved
from ganvas.nets.vgg import VGG19
from ganvas.objectives.adversarial import lsgan
from ganvas.objectives.feature_matching import matched_maps, perceptual


@final
class Pix2PixHD(Method):
    """High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs.

    Wang et al., 2018, arXiv:1711.11585.

    min_G  (max_D sum_k L_GAN(G, D_k)) + feature_weight sum_k L_FM(G, D_k)  (equation 5)

    D_k are patch discriminators at several scales, with least squares; L_FM compares
    their features of real and generated images. The generator may be global alone or
    have a local enhancer, in three stages (section 3.2):

    0    the global generator learns at half the size, for `coarse` images
    1    the enhancer learns beside it, for `fixed` images
    2    both learn

    Label maps enter as planes, other images as they are. Instances are shades of their
    labels' colors, and `edges` adds the plane of their edges (section 3.3).

    Differs from the paper: no encoder of instance features. L_FM is the mean over
    scales of sums over layers, as in the authors' code. Without `vgg` there is no
    perceptual loss; its input is normalized as in VGG19's training, which makes the
    loss about twice that of the authors' code, whose input is in [-1, 1].
    """

    directions: Sequence[str] = ("b",)
    trained_with: Sequence[str] = ("vgg",)
    unaugmented = "features of real and generated images are compared at each place"
    G: Any  # a network with `multiple`, of which both sides must be multiples
    D: Any  # a `nets.multiscale.MultiscaleDiscriminator`

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        feature_weight: float = 10.0,
        vgg: str | None = None,
        vgg_weight: float = 10.0,
        edges: bool = False,
        coarse: Length = 0,
        fixed: Length = 0,
    ) -> None:
        """Build the networks for `shape`.

        feature_weight: lambda of equation 5
        vgg: file of VGG19's weights; None: no perceptual loss
        edges: show the networks where a pixel and its neighbor differ in color, too:
            for label maps whose shades are instances (`data.instances`)
        coarse, fixed: images of stages 0 and 1, for a generator with an enhancer
        """
        super().__init__()
        self.palette, self.edges = shape.palette, edges
        if edges and not shape.palette:
            raise ConfigError(
                "edges=true needs label maps, whose shades are instances: this data has images on "
                "both sides"
            )
        channels_in = len(shape.palette) + edges or shape.channels
        self.G = G(channels_in=channels_in, channels_out=shape.channels)
        self.coarse, self.fixed = coarse, fixed
        if coarse and not (isinstance(self.G, LocalEnhancer) and self.G.head is not None):
            raise ConfigError(
                f"coarse={coarse} trains the global generator of a local enhancer: take the recipe "
                "pix2pixhd_local, with G.head=true, or set coarse=0"
            )
        self.D = D(channels=channels_in + shape.channels)
        self.phi = VGG19(vgg, "relu5_1") if vgg else None
        self.feature_weight, self.vgg_weight = feature_weight, vgg_weight
        self.multiple = self.G.multiple
        self.players = {"G": [self.G], "D": [self.D]}

    def stage(self, clock: Clock) -> Stage:
        """0, 1 or 2, as above; without `coarse` there are none."""
        if not self.coarse:
            return Stage()
        return Stage((clock.images >= self.coarse) + (clock.images >= self.coarse + self.fixed))

    @property
    def parts(self) -> Literal["coarse", "enhancer", "all"]:
        """What of the generator learns."""
        return ("coarse", "enhancer", "all")[self.current_stage.index] if self.coarse else "all"

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One step of G, then one of D, on the same generated images."""
        pair = next(batches)
        m, real = self.planes(pair.x), pair.y
        d_m, real = (halved(m), halved(real)) if self.parts == "coarse" else (m, real)
        batch = pair.having(m=m, d_m=d_m, real=real)
        generated = (yield Forward("G", self.fake, batch)).outputs
        batch = batch.having(**generated)
        yield Update("G", self.g_loss, batch)
        yield Update("D", self.d_loss, batch)

    def fake(self, batch: Batch) -> dict[str, Tensor]:
        """The images of the label maps or inputs."""
        match self.parts:
            case "coarse":
                return {"fake": self.G.whole(batch.m)}
            case "enhancer":
                return {"fake": self.G(batch.m, frozen=True)}
            case "all":
                return {"fake": self.G(batch.m)}

    def g_loss(self, batch: Batch) -> Terms:
        """Equation 5 for G, and the distance of VGG19's features."""
        maps = self.D(self.d_input(batch.d_m, batch.fake))
        real_maps = self.D(self.d_input(batch.d_m, batch.real))
        log = {
            "adversarial": torch.stack([lsgan(m[-1], 1.0) for m in maps]).sum(),
            "features": matched_maps(maps, real_maps),
        }
        loss = log["adversarial"] + self.feature_weight * log["features"]
        if self.phi is not None:
            got, wanted = (self.phi.blocks_of((x + 1) / 2) for x in (batch.fake, batch.real))
            log["vgg"] = perceptual(got, wanted)
            loss = loss + self.vgg_weight * log["vgg"]
        return Terms(loss, log)

    def d_loss(self, batch: Batch) -> Terms:
        """Least squares, summed over scales, at half weight."""
        real, fake = (
            torch.stack([lsgan(m[-1], target) for m in self.D(self.d_input(batch.d_m, x))]).sum()
            for x, target in ((batch.real, 1.0), (batch.fake, 0.0))
        )
        return Terms((real + fake) / 2, {"real": real, "fake": fake})

    def scores_of(self, output: object) -> Tensor:
        """Those of the whole image, the last of its maps."""
        scales = cast(list[list[Tensor]], output)
        return scales[0][-1]

    def d_input(self, m: Tensor, x: Tensor) -> Tensor:
        """Label planes or input image, and image, as channels of one image."""
        return torch.cat([m.to(x.dtype), x], 1)

    def planes(self, x: Tensor) -> Tensor:
        """Label planes of label maps in colors; input images as they are."""
        return input_planes(x, self.palette, self.edges) if self.palette else x

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Images for label maps in colors, or for input images."""
        if self.parts == "coarse":
            return interpolate(self.G.whole(self.planes(x)), scale_factor=2)
        return self.G(self.planes(x))
