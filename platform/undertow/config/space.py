"""Which combinations a study has: a grid of the varied values, and the samples of the search at each of its points.

    space = Space(vary={"cell.name": ("rnn", "lstm"), "seed": (0, 1)}, search={}, samples=1)
    [str(combination) for combination in space.combinations()]
    # ["cell.name=rnn seed=0", "cell.name=rnn seed=1", "cell.name=lstm seed=0", "cell.name=lstm seed=1"]

An option of one cell or task (``cell.options.lstm.forget_bias``) has an effect only where that one is chosen: elsewhere
it is left out, so that no run is done twice.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

Scalar = str | int | float | bool | None
Params = Mapping[str, Scalar]
"""Values by dotted key, as `--set` names them."""


@dataclass(frozen=True)
class Range:
    """The values of one searched key.

    Attributes:
        low: The smallest; None where there are choices.
        high: The largest.
        log: Whether its logarithm is sampled.
        step: The distance between two values; None for any.
        choices: The values themselves, instead of a range.
        when: Other keys, with the values they must have for this one to have an effect.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | float | None = None
    choices: tuple[Scalar, ...] = ()
    when: Params = field(default_factory=dict)


@dataclass(frozen=True)
class Combination:
    """One point of the grid, and the number of its sample of the search."""

    params: Params
    sample: int = 0

    @property
    def key(self) -> str:
        """Its identity in the ledger; the same for equal combinations, whatever the order of their keys."""
        return json.dumps([dict(sorted(self.params.items())), self.sample])

    def __str__(self) -> str:
        settings = [f"{key}={_plain(value)}" for key, value in self.params.items()]
        return " ".join([*settings, *([f"#{self.sample}"] if self.sample else [])]) or "the only one"


@dataclass(frozen=True)
class Space:
    """What is varied and what is searched.

    Attributes:
        vary: All the values of each key; every combination is run.
        search: The keys whose values a sampler chooses.
        samples: How many samples are taken at each point of the grid; 1 without a search.
        base: `cell.name` and `task.name` where they are neither varied nor searched: options depend on them.
        cases: The settings of each value of the varied key `case`.
    """

    vary: Mapping[str, tuple[Scalar, ...]]
    search: Mapping[str, Range]
    samples: int = 1
    base: Params = field(default_factory=dict)
    cases: Mapping[str, Params] = field(default_factory=dict)

    def points(self) -> Iterator[dict[str, Scalar]]:
        """Every point of the grid once, in the order written; the last key changes fastest."""
        seen = set()
        for values in product(*self.vary.values()):
            point = dict(zip(self.vary, values, strict=True))
            chosen = self.chosen(point)
            relevant = {key: value for key, value in point.items() if matters(key, {}, chosen)}
            key = json.dumps(relevant)
            if key not in seen:
                seen.add(key)
                yield relevant

    def combinations(self) -> Iterator[Combination]:
        """Every combination once; all points for the first sample, then for the second."""
        for sample in range(self.samples):
            for point in self.points():
                yield Combination(point, sample)

    def chosen(self, params: Params) -> dict[str, Scalar]:
        """These values, with the settings of their case and what all combinations share."""
        return {**self.base, **self.cases.get(str(params.get("case")), {}), **params}

    def searched_at(self, params: Params) -> dict[str, Range]:
        """What can be searched next, once these values are chosen; an option comes after the choice of its cell."""
        chosen = self.chosen(params)
        undecided = tuple(
            f"{section}.options."
            for section in ("cell", "task")
            if f"{section}.name" in self.search and f"{section}.name" not in chosen
        )
        return {
            key: each
            for key, each in self.search.items()
            if key not in params and not key.startswith(undecided) and matters(key, each.when, chosen)
        }


def matters(key: str, when: Params, chosen: Params) -> bool:
    """Whether a key has an effect with the chosen values: an option of a cell only where that cell is chosen."""
    section, _, rest = key.partition(".options.")
    if rest and section in ("cell", "task") and f"{section}.name" in chosen:
        name = str(chosen[f"{section}.name"])
        if not rest.startswith(f"{name}."):
            return False
    return all(other in chosen and chosen[other] == value for other, value in when.items())


def _plain(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
