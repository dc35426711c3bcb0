"""BLEU of what is written: how many of its one to four word sequences stand in the right translation too?"""

from itertools import takewhile

from torch import Tensor
from torchmetrics.text import BLEUScore


class Bleu(BLEUScore):
    """Corpus BLEU of Papineni et al. 2002, ACL P02-1040, by torchmetrics, fed symbols; a sentence ends before `end`.

    0 where there is no sequence of four words in common. B batch, U time written, O output.

    Args:
        end: The end symbol.
    """

    def __init__(self, end: int) -> None:
        super().__init__(n_gram=4)
        self.end = end

    def update(self, preds: Tensor, target: Tensor) -> None:  # type: ignore[override]  # symbols in the place of texts
        """Add sentences, `(B, U, O)` logits, and the right symbols, `(B, U)`."""
        super().update(
            [self._sentence(symbols) for symbols in preds.argmax(-1).tolist()],
            [[self._sentence(symbols)] for symbols in target.tolist()],
        )

    def _sentence(self, symbols: list[int]) -> str:
        """Each symbol as a word: BLEU asks only whether words are the same."""
        return " ".join(str(symbol) for symbol in takewhile(lambda symbol: symbol not in (self.end, -1), symbols))
