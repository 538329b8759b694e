"""Dual learning: translation of toy languages by policy gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Length, Method, Plan, Shape, Stage, Terms, Update, rng
from ganvas.core.errors import UserError


@final
class DualLearning(Method):
    """Dual Learning for Machine Translation.

    Xia et al., 2016, arXiv:1611.00179.

    t ~ P(t | s; T_ab),   r = alpha log P(t; LM_b) + (1 - alpha) log P(s | t; T_ba)
    grad E r = E[r grad log P(t | s; T_ab)]
             + (1 - alpha) E[grad log P(s | t; T_ba)]                      (Algorithm 1)

    and the same from b. One translator translates a sentence. A model of the target
    language scores the translation, and the other translator scores how well the
    original can be recovered from it. Training sees no pair of sentences. The language
    models learn first, from monolingual sentences, `pretrain` of each language, and
    stay fixed afterwards.

    If T_ba knows the exact probabilities of s, the reward at alpha = 1/2 is half of
    -KL(translations || b) - H(t | s), plus a constant. It is largest if each sentence
    has one translation and all translations together are distributed as b. That does
    not determine what b's distribution does not determine: any exchange of words under
    which it stays the same.

    Differs from the paper: sentences of toy languages (`ganvas.data.toy`) in place of
    English and French, and tables of words in place of recurrent networks. Its
    translators start from sentence pairs. Ours start from nothing; a bonus for the
    entropy of each word's translation keeps them undecided at first and falls to 0. `k`
    samples in place of a beam search; the reward of each is compared with the mean of
    the others.
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
        pretrain: Length,
        alpha: float = 0.5,
        k: int = 8,
        temperature: float = 0.7,
        anneal: Length = 0,
    ) -> None:
        """Build the translators and the language models.

        pretrain: sentences of each language for the language models
        alpha: weight of the language model in the reward, 0 to 1
        k: translations of each sentence, at least 2
        temperature: initial weight of the entropy
        anneal: sentences over which that weight falls linearly to 0
        """
        super().__init__()
        if shape.channels != 1 or shape.classes < 2:
            raise UserError(
                "dual_learning translates toy languages, not images: give distinct, ring or "
                "uniform as data"
            )
        if k < 2 or not 0 <= alpha <= 1:
            raise UserError(f"k must be at least 2 and alpha from 0 to 1; got {k} and {alpha}")
        self.words = shape.classes
        self.T_ab, self.T_ba = (T(words=self.words) for _ in range(2))
        self.LM_a, self.LM_b = (LM(words=self.words) for _ in range(2))
        self.pretrain, self.alpha, self.k = pretrain, alpha, k
        self.temperature, self.anneal, self.entropy_weight = temperature, anneal, 0.0
        self.players = {"T": [self.T_ab, self.T_ba], "LM": [self.LM_a, self.LM_b]}

    def stage(self, clock: Clock) -> Stage:
        """0: the language models learn; 1: the translators."""
        return Stage(int(clock.images >= self.pretrain))

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Algorithm 1, after the language models."""
        real = next(batches)
        left = 1 - (clock.images - self.pretrain) / self.anneal if self.anneal else 0.0
        self.entropy_weight = self.temperature * max(left, 0.0)
        if self.current_stage.index == 0:
            yield Update("LM", self.lm_loss, real)
        else:
            yield Update("T", (self.a_loss, self.b_loss), real)

    def lm_loss(self, real: Batch) -> Terms:
        """-E[log P(sentence)] per word, summed over the languages."""
        a = -self.LM_a(self.sentences(real.a)).mean()
        b = -self.LM_b(self.sentences(real.b)).mean()
        return Terms(a + b, {"a": a, "b": b})

    def a_loss(self, real: Batch) -> Terms:
        """The translators' loss on the sentences of language a."""
        sentences = self.sentences(real.a)
        return self.translate_and_reconstruct(sentences, self.T_ab, self.T_ba, self.LM_b)

    def b_loss(self, real: Batch) -> Terms:
        """The translators' loss on the sentences of language b."""
        sentences = self.sentences(real.b)
        return self.translate_and_reconstruct(sentences, self.T_ba, self.T_ab, self.LM_a)

    def translate_and_reconstruct(
        self, s: Tensor, forward: nn.Module, backward: nn.Module, model: nn.Module
    ) -> Terms:
        """The loss whose gradient is minus that of the expected reward.

        s: sentences [n, T]. Rewards are per word: the sentence's over its length.
        """
        log_p = forward(s)[:, None].expand(-1, self.k, -1, -1).flatten(0, 1)  # [n k, T, words]
        t = self.sample_words(log_p.detach(), len(s))
        original = s.repeat_interleave(self.k, 0)
        communication = model(t).mean(1)
        reconstruction = _select(backward(t), original).mean(1)
        r = (self.alpha * communication + (1 - self.alpha) * reconstruction).detach()
        r = r.view(-1, self.k)
        advantage = (r - r.mean(1, keepdim=True)) * self.k / (self.k - 1)
        policy = -(advantage.flatten() * _select(log_p, t).sum(1)).mean()
        entropy = -(log_p.exp() * log_p).sum(2).mean()
        log = {
            "communication": communication.mean(),
            "reconstruction": reconstruction.mean(),
            "reward": r.mean(),
            "entropy": entropy,
        }
        loss = policy - (1 - self.alpha) * log["reconstruction"] - self.entropy_weight * entropy
        return Terms(loss, log)

    def sample_words(self, log_p: Tensor, n: int) -> Tensor:
        """Words by their log probabilities: [n k, T, words] -> [n k, T].

        The largest of log p + Gumbel noise.
        """
        noise = rng.uniform(n, self.k, *log_p.shape[1:], device=log_p.device).flatten(0, 1)
        return (log_p - noise.log().neg().log()).argmax(-1)

    def sentences(self, x: Tensor) -> Tensor:
        """Images in [-1, 1] -> the words of their pixels, [N, T]."""
        words = ((x.flatten(1) + 1) / 2 * (self.words - 1)).round().long()
        return words.clamp(0, self.words - 1)

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Each word's most likely translation."""
        t = {"b": self.T_ab, "a": self.T_ba}[to](self.sentences(x)).argmax(-1)
        return (t.float() / (self.words - 1) * 2 - 1).view(x.shape)


def _select(log_p: Tensor, words: Tensor) -> Tensor:
    """Log probabilities of `words`: [N, T, words], [N, T] -> [N, T]."""
    return log_p.gather(2, words[..., None]).squeeze(2)
