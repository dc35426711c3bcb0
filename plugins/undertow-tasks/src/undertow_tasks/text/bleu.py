"""BLEU of written sentences: the share of their sequences of one to four words that the right translation has too."""

from itertools import takewhile

from torch import Tensor
from torchmetrics.text import BLEUScore


class Bleu(BLEUScore):
    """Corpus BLEU of Papineni et al. 2002, ACL P02-1040, by torchmetrics, of symbols; a sentence ends before `end`.

    It is 0 if no sequence of four words is in common. B batch, U time written, O output.

    Args:
        end: The end symbol.
    """

    def __init__(self, end: int) -> None:
        super().__init__(n_gram=4)
        self.end = end

    def update(self, preds: Tensor, target: Tensor) -> None:  # type: ignore[override]  # symbols in place of texts
        """Add sentences, `(B, U, O)` logits, and the right symbols, `(B, U)`."""
        super().update(
            [self._sentence(symbols) for symbols in preds.argmax(-1).tolist()],
            [[self._sentence(symbols)] for symbols in target.tolist()],
        )

    def _sentence(self, symbols: list[int]) -> str:
        """Each symbol as a word: BLEU only compares words for equality."""
        return " ".join(str(symbol) for symbol in takewhile(lambda symbol: symbol not in (self.end, -1), symbols))
