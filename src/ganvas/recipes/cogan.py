"""Recipe of CoGAN."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import domains
from ganvas.methods import CoGAN
from ganvas.nets import cogan as nets


def cogan(count: int) -> Run:
    """The authors' PyTorch code on digits and edges of digits.

    Its networks, 28x28, 64 images of each domain, Adam 2e-4 with beta1 .5 and a
    weight decay of 5e-4. Ours: the length, 25,000 steps; weights from N(0, .02) in G
    and torch's default in D (there Xavier's uniform ones with gain sqrt(2), and
    biases of .1, in both); images in [-1, 1] (there D sees [0, 1]); and losses
    summed over the domains (there their mean), which under Adam halves the effect of
    the weight decay.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999), weight_decay=5e-4)
    return Run(
        method=partial(CoGAN, G=partial(nets.Generators), D=partial(nets.Discriminators)),
        data=partial(domains, size=28, flip=False),
        optim={"G": adam, "D": adam},
        batch=64,
        images=25_000 * 64,
    )
