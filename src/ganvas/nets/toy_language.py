"""Networks on toy languages (`ganvas.data.toy`).

Sentences are [N, T] of words 0 to `words` - 1 (int64). All are tables.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax


class Translator(nn.Module):
    """Sentences -> log P(word of the other language | word), word by word.

    [N, T] -> [N, T, words]; a word's neighbors do not count.
    """

    def __init__(self, words: int, std: float = 0.01) -> None:
        """`std`: of the table's first values.

        Small, so that every translation is as likely.
        """
        super().__init__()
        self.table = nn.Embedding(words, words)
        nn.init.normal_(self.table.weight, 0.0, std)

    def forward(self, s: Tensor) -> Tensor:
        """Map sentences s [N, T] (int64) to log probabilities [N, T, words]."""
        return log_softmax(self.table(s).float(), -1)


class Bigram(nn.Module):
    """A language model: sentences [N, T] -> log P(word | the word before it), [N, T].

    The first word's is log P(word). `std` as the translator's.
    """

    def __init__(self, words: int, std: float = 0.01) -> None:
        super().__init__()
        self.first, self.next = nn.Parameter(torch.empty(words)), nn.Embedding(words, words)
        for table in (self.first, self.next.weight):
            nn.init.normal_(table, 0.0, std)

    def forward(self, s: Tensor) -> Tensor:
        """Map sentences s [N, T] (int64) to log probabilities [N, T]."""
        first = log_softmax(self.first.float(), 0)[s[:, :1]]
        after = log_softmax(self.next(s[:, :-1]).float(), -1).gather(2, s[:, 1:, None]).squeeze(2)
        return torch.cat([first, after], 1)
