"""Parity, running: is the number of ones so far odd? The language of arXiv 2207.02098, with an answer at every step."""

from undertow_tasks.formal.counter import Counter


class ParityRunning(Counter):
    """As `parity`, and the parity of every prefix is due at its last symbol.

    Each answer is one symbol away from the one before it, so there is no long way for the gradient to go: a network
    that fails here cannot hold the state, one that fails `parity` alone could not find it. The last answer needs every
    step all the same. The trivial loss is ln 2.
    """

    shape = "aligned"
    name = "parity-running"
    moves = (0, 1)
    states = 2
