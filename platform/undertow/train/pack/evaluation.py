"""The test of the replicates of a pack in one pass over the test split.

    tested = test_together(trainer, tests, PackData(…))

Each network is run by itself, batch by batch as alone, so that its scores do not depend on the others that are tested:
what is shared is the loop around them.
"""

from collections.abc import Sequence
from typing import cast

import pytorch_lightning as pl
from torch import nn

from undertow.api.contract import Batch
from undertow.errors import Interrupted
from undertow.train.job import FinalTest
from undertow.train.learner import Learner
from undertow.train.pack.data import PackData


def test_together(trainer: pl.Trainer, tests: Sequence[FinalTest], data: PackData) -> bool:
    """Test several networks; each learner then has its scores.

    Args:
        trainer: That of the pack.
        tests: What is tested.
        data: That of the pack.

    Returns:
        False if they must be tested one after another: they have different numbers of examples, or an error occurred,
        which is then found again for the one that it belongs to.

    Raises:
        Interrupted: The pack was stopped.
    """
    sizes = {tuple((part.examples, part.length) for part in test.parts) for test in tests}
    if len(tests) < 2 or len(sizes) != 1 or sizes == {()}:
        return False
    data.tested_together = [test.parts for test in tests]
    try:
        trainer.test(_Learners([test.learner for test in tests]), datamodule=data, verbose=False)
    except Interrupted:
        raise
    except Exception:  # noqa: BLE001  (a plugin's code may raise anything)
        for test in tests:
            test.learner.test_on(test.parts)  # forget the batches so far
        return False
    return True


class _Learners(pl.LightningModule):
    """Tests each learner on its own part of a batch."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        super().__init__()
        self.learners = nn.ModuleList(learners)

    def test_step(self, batches: Sequence[Batch], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add one batch of each."""
        for learner, batch in zip(self.learners, batches, strict=True):
            cast(Learner, learner).test_step(batch, batch_idx, dataloader_idx)

    def on_test_epoch_end(self) -> None:
        """Compute the scores of each."""
        for learner in self.learners:
            cast(Learner, learner).on_test_epoch_end()
