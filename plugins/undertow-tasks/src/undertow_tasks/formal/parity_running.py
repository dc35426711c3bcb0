"""Parity, running: is the number of ones so far odd? The language of arXiv 2207.02098, with an answer at every step."""

from undertow_tasks.formal.counter import Counter


class ParityRunning(Counter):
    """As `parity`, but with the parity of every prefix as the target of its last symbol.

    Each answer follows from the answer before it and one symbol, so the gradient need not reach far: a network that
    fails here cannot keep the state, one that fails only `parity` did not learn to. The last answer still depends on
    every step. The trivial loss is ln 2.
    """

    shape = "aligned"
    name = "parity-running"
    moves = (0, 1)
    states = 2
