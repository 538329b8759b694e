"""Recipe of DiscoGAN."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import domains
from ganvas.methods import DiscoGAN
from ganvas.nets import discogan as nets


def discogan(count: int) -> Run:
    """arXiv:1703.05192 by the numbers of the authors' code.

    64x64, Adam 2e-4 with beta1 .5 and weight decay 1e-5, batches of 64, D in every
    third iteration, r .01 for the first 10,000 iterations and .5 after them. It
    stops after 5,000 passes; --images shortens it. Drawn edges were thickened by a
    3x3 dilation first. `--set G.bottleneck=100`: the code's extra layers.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999), weight_decay=1e-5)
    return Run(
        method=partial(DiscoGAN, G=partial(nets.Generator), D=partial(nets.Discriminator)),
        data=partial(domains, size=64, flip=False),
        optim={"G": adam, "D": adam},
        batch=64,
        images=5000 * count,
    )
