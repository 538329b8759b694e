"""Recipe of dual learning on toy languages."""

from functools import partial

from torch.optim import SGD, Adam

from ganvas.core import Run
from ganvas.data import toy
from ganvas.methods import DualLearning
from ganvas.nets import toy_language


def dual_learning(count: int) -> Run:
    """Toy languages of 8 words in sentences of 8, from monolingual sentences alone.

    10,000 for the language models, 100,000 for the game at alpha .5, batches of 64,
    SGD at 2. Not the paper's, which translates English and French (alpha .01, a beam
    of 2).
    """
    return Run(
        method=partial(
            DualLearning,
            T=partial(toy_language.Translator),
            LM=partial(toy_language.Bigram),
            pretrain=10_000,
            anneal=80_000,
        ),
        data=partial(toy.languages, size=8),
        optim={"T": partial(SGD, lr=2.0), "LM": partial(Adam, lr=0.1)},
        batch=64,
        images=110_000,
    )
