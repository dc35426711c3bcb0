"""Cycle navigation, running: where is the walk now? The language of arXiv 2207.02098, with an answer at every step."""

from undertow_tasks.formal.counter import Counter


class CycleNavigationRunning(Counter):
    """As `cycle-navigation`, but with the place after every move as the target of that step.

    After the first moves not all places are possible, so the trivial loss is a little below ln 5: the mean over all
    steps of the entropy of the place.
    """

    shape = "aligned"
    name = "cycle-navigation-running"
    moves = (-1, 0, 1)
    states = 5
