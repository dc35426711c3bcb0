"""Parity: is the number of ones in a string odd? Delétang et al., arXiv 2207.02098."""

from undertow_tasks.formal.counter import Counter


class Parity(Counter):
    """Zeros and ones in, tokens 0 and 1; at the last step, 1 if there was an odd number of ones, else 0.

    Every symbol changes the answer, so every step is a cue. Both answers are equally likely at any length: the trivial
    loss is ln 2. 32 steps make 2^32 strings, so that splits hardly ever share one.
    """

    shape = "many-to-one"
    name = "parity"
    moves = (0, 1)
    states = 2
