"""Guessing: the score of the best answer that ignores the input, and whether a group is better than that.

    guessing(group, quantity)          # 0.167, from the metric `task/trivial_loss` of its runs
    learned(group, quantity)

A task states it as `trivial_loss`, or as `trivial_scores` for its other metrics (for a classifier the share of the most
frequent class); a run records them as ``task/trivial_<score>``.
"""

from collections.abc import Iterable

from undertow.report.groups import Group
from undertow.report.quantities import Quantity, finite_metric

MARGIN = 0.02
"""A score has to be better than guessing by this share of the way to a perfect one, else nothing was learned."""


def guessing(group: Group, quantity: Quantity) -> float | None:
    """The score of the best answer that ignores the input, in the unit of a score; None where the task states none."""
    return next(iter(guesses_in([group], quantity.name.partition("/")[2])), None)


def guesses_in(groups: Iterable[Group], score: str) -> list[float]:
    """The different scores of guessing in some groups, ascending; none where the task states none.

    Args:
        groups: The groups.
        score: Without its split, such as ``loss``.
    """
    known = (finite_metric(each, f"task/trivial_{score}") for group in groups for each in group.included)
    return sorted({value for value in known if value is not None})


def learned(group: Group, quantity: Quantity) -> bool:
    """Whether a group's score is better than guessing by `MARGIN`; true where guessing is not known."""
    guess = guessing(group, quantity)
    if guess is None:
        return True
    value = group.estimates[quantity.name].value
    if quantity.better == "low":
        return value < guess * (1 - MARGIN) if guess > 0 else value < guess
    return value > guess + MARGIN * (1 - guess)
