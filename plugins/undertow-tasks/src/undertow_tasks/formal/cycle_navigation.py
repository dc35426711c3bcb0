"""Cycle navigation: where on a circle does a walk end? Delétang et al., arXiv 2207.02098."""

from undertow_tasks.formal.counter import Counter


class CycleNavigation(Counter):
    """Moves by -1, 0 and 1 in, tokens 0, 1 and 2; at the last step, at which of five places the walk ends.

    It starts at place 0, and place 4 is one move back from it. Every step is a cue. The longer the walk, the more even
    the distribution of its end: from 20 steps on, the trivial loss is ln 5 to nine digits. 20 steps make 3^20 walks, so
    that splits hardly ever share one.
    """

    shape = "many-to-one"
    name = "cycle-navigation"
    moves = (-1, 0, 1)
    states = 5
