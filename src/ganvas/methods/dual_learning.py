from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Method, Plan, Shape, Stage, Terms, Update, rng
from ganvas.core.errors import UserError


@final
class DualLearning(Method):
    """Dual Learning for Machine Translation. Xia et al., 2016, arXiv:1611.00179.

    t ~ P(t | s; T_ab),   r = alpha log P(t; LM_b) + (1 - alpha) log P(s | t; T_ba)
    grad E r = E[r grad log P(t | s; T_ab)] + (1 - alpha) E[grad log P(s | t; T_ba)]               (algorithm 1)

    and the same from b. A sentence is translated; a model of the other language says how good a sentence that is, and the other
    translator how well it tells the original. No pair of sentences is ever seen. The language models are learned first, from
    monolingual sentences, for `pretrain` sentences of each, and then stay.

    Where T_ba tells the exact chances of s, the reward at alpha = 1/2 is half of -KL(translations || b) - H(t | s), plus a
    constant: largest where each sentence has one translation, and those together are distributed as b is. That leaves open
    what b's distribution leaves open: every exchange of words under which it stays the same.

    Differs from the paper: sentences of toy languages (`ganvas.data.toy`) in place of English and French, and tables of
    words in place of recurrent networks. Its translators start from sentence pairs; ours from nothing, and are kept
    undecided at first by a bonus for the entropy of each word's translation, which falls to 0. `k` samples in place of a
    beam search, each one's reward compared with the mean of the others'.
    """

    ema_networks = ("T_ab", "T_ba")
    discriminators: Sequence[str] = ()
    directions: Sequence[str] = ("b", "a")
    multiple = 1

    def __init__(
        self,
        shape: Shape,
        T: Callable[..., nn.Module],
        LM: Callable[..., nn.Module],
        pretrain: int,
        alpha: float = 0.5,
        k: int = 8,
        temperature: float = 0.7,
        anneal: int = 0,
    ) -> None:
        """`alpha`: the language models' part of the reward, 0 to 1. `k`: translations of each sentence, at least 2.
        `temperature`: the weight of the entropy at first, which falls in proportion over `anneal` sentences."""
        super().__init__()
        if shape.channels != 1 or shape.classes < 2:
            raise UserError(
                "dual_learning translates toy languages, not images: give distinct, ring or uniform as data"
            )
        if k < 2 or not 0 <= alpha <= 1:
            raise UserError(f"k must be at least 2 and alpha from 0 to 1; got {k} and {alpha}")
        self.words = shape.classes
        self.T_ab, self.T_ba = (T(words=self.words) for _ in range(2))
        self.LM_a, self.LM_b = (LM(words=self.words) for _ in range(2))
        self.pretrain, self.alpha, self.k = pretrain, alpha, k
        self.temperature, self.anneal, self.heat = temperature, anneal, 0.0
        self.players = {"T": [self.T_ab, self.T_ba], "LM": [self.LM_a, self.LM_b]}

    def stage(self, clock: Clock) -> Stage:
        return Stage(int(clock.images >= self.pretrain))

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        """Algorithm 1, after the language models."""
        said = next(feed)
        left = 1 - (clock.images - self.pretrain) / self.anneal if self.anneal else 0.0
        self.heat = self.temperature * max(left, 0.0)
        if self.current_stage.index == 0:
            yield Update("LM", self.lm_loss, said)
        else:
            yield Update("T", (self.a_loss, self.b_loss), said)

    def lm_loss(self, said: Batch) -> Terms:
        a, b = (-LM(self.heard(x)).mean() for LM, x in ((self.LM_a, said.a), (self.LM_b, said.b)))
        return Terms(a + b, {"a": a, "b": b})

    def a_loss(self, said: Batch) -> Terms:
        return self.there_and_back(self.heard(said.a), self.T_ab, self.T_ba, self.LM_b)

    def b_loss(self, said: Batch) -> Terms:
        return self.there_and_back(self.heard(said.b), self.T_ba, self.T_ab, self.LM_a)

    def there_and_back(self, s: Tensor, there: nn.Module, back: nn.Module, model: nn.Module) -> Terms:
        """Sentences [n, T] -> the loss whose gradient is minus that of the expected reward. Rewards are a word's: the
        sentence's over its length."""
        likely = there(s)[:, None].expand(-1, self.k, -1, -1).flatten(0, 1)  # [n k, T, words]
        t = self.drawn(likely.detach(), len(s))
        known = s.repeat_interleave(self.k, 0)
        communication = model(t).mean(1)
        reconstruction = _of(back(t), known).mean(1)
        r = (self.alpha * communication + (1 - self.alpha) * reconstruction).detach().view(-1, self.k)
        advantage = (r - r.mean(1, keepdim=True)) * self.k / (self.k - 1)
        policy = -(advantage.flatten() * _of(likely, t).sum(1)).mean()
        entropy = -(likely.exp() * likely).sum(2).mean()
        log = {"communication": communication.mean(), "reconstruction": reconstruction.mean(), "reward": r.mean()}
        return Terms(
            policy - (1 - self.alpha) * log["reconstruction"] - self.heat * entropy, {**log, "entropy": entropy}
        )

    def drawn(self, likely: Tensor, n: int) -> Tensor:
        """Words by their log probabilities: [n k, T, words] -> [n k, T]. (The largest of log p + Gumbel noise.)"""
        noise = rng.uniform(n, self.k, *likely.shape[1:], device=likely.device).flatten(0, 1)
        return (likely - noise.log().neg().log()).argmax(-1)

    def heard(self, x: Tensor) -> Tensor:
        """Images in [-1, 1] -> the words of their pixels, [N, T]."""
        return ((x.flatten(1) + 1) / 2 * (self.words - 1)).round().long().clamp(0, self.words - 1)

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Each word's most likely translation."""
        t = {"b": self.T_ab, "a": self.T_ba}[to](self.heard(x)).argmax(-1)
        return (t.float() / (self.words - 1) * 2 - 1).view(x.shape)


def _of(log_p: Tensor, words: Tensor) -> Tensor:
    """log P of those words: [N, T, words], [N, T] -> [N, T]."""
    return log_p.gather(2, words[..., None]).squeeze(2)
