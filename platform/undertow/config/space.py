"""Which combinations a study has: a grid of the varied values, and the samples of the search at each of its points.

    space = Space(vary={"cell.name": ("rnn", "lstm"), "seed": (0, 1)}, search={}, samples=1)
    [str(combination) for combination in space.combinations()]
    # ["cell.name=rnn seed=0", "cell.name=rnn seed=1", "cell.name=lstm seed=0", "cell.name=lstm seed=1"]

An option of one cell, task or optimiser (``cell.options.lstm.forget_bias``) has an effect only where that one is
chosen: elsewhere it is left out, so that no run is done twice.

A value may be a list, as in ``vary: {optim.betas: [[0.9, 0.999], [0.8, 0.99]]}``. Here it is a tuple, which can be
compared and hashed; `frozen` makes it, and `written` makes a list of it again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

Scalar = str | int | float | bool | None
Value = Scalar | tuple["Value", ...]
Params = Mapping[str, Value]
"""Values by dotted key, as `--set` names them."""

NAMED = ("cell", "task", "optim")
"""The sections that choose by `name`, and have the options of each choice under its name."""


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

    def has(self, value: Value) -> bool:
        """Whether a sampler can choose this value."""
        if self.choices:
            return any(identity(value) == identity(choice) for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float) or self.low is None or self.high is None:
            return False
        if not self.low <= value <= self.high:
            return False
        whole = isinstance(self.low, int) and isinstance(self.high, int) and not isinstance(self.step, float)
        step = self.step or (1 if whole else None)
        steps = (value - self.low) / step if step else 0.0
        return abs(steps - round(steps)) < 1e-8

    def __str__(self) -> str:
        if self.choices:
            return "one of " + ", ".join(map(text_of, self.choices))
        return f"{self.low} to {self.high}" + (f" in steps of {self.step}" if self.step else "")


@dataclass(frozen=True)
class Combination:
    """One point of the grid, and the number of its sample of the search."""

    params: Params
    sample: int = 0

    @cached_property
    def key(self) -> str:
        """Its identity in the ledger; the same for equal combinations, whatever the order of their keys."""
        return json.dumps([dict(sorted(self.params.items())), self.sample])

    @property
    def group(self) -> str:
        """Equal for replicates: combinations that differ by their seed alone."""
        return replace(self, params={key: value for key, value in self.params.items() if key != "seed"}).key

    @classmethod
    def from_key(cls, key: str) -> "Combination":
        """The combination with this key."""
        params, sample = json.loads(key)
        return cls({name: frozen(value) for name, value in params.items()}, sample)

    def __str__(self) -> str:
        settings = [f"{key}={text_of(value)}" for key, value in self.params.items()]
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

    vary: Mapping[str, tuple[Value, ...]]
    search: Mapping[str, Range]
    samples: int = 1
    base: Params = field(default_factory=dict)
    cases: Mapping[str, Params] = field(default_factory=dict)

    def points(self) -> Iterator[dict[str, Value]]:
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

    @cached_property
    def groups(self) -> tuple[tuple[Combination, ...], ...]:
        """Every combination once, with its replicates, in the order of the first replicate of each."""
        found: dict[str, list[Combination]] = {}
        for combination in self.combinations():
            found.setdefault(combination.group, []).append(combination)
        return tuple(map(tuple, found.values()))

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys of all combinations."""
        return frozenset(each.key for each in self.combinations())

    def length(self, params: Params) -> int:
        """The sequence length of a combination in time steps; 0 where all have the same."""
        length = self.chosen(params).get("task.length")
        return length if isinstance(length, int) else 0

    def chosen(self, params: Params) -> dict[str, Value]:
        """These values, with the settings of their case and what all combinations share."""
        return {**self.base, **self.cases.get(str(params.get("case")), {}), **params}

    def searched_at(self, params: Params) -> dict[str, Range]:
        """What can be searched next, once these values are chosen; an option comes after the choice of its cell."""
        chosen = self.chosen(params)
        undecided = tuple(
            f"{section}.options."
            for section in NAMED
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
    if rest and section in NAMED and f"{section}.name" in chosen:
        name = str(chosen[f"{section}.name"])
        if not rest.startswith(f"{name}."):
            return False
    return all(other in chosen and chosen[other] == value for other, value in when.items())


def frozen(value: Any) -> Value:
    """A value of the configuration, with tuples in the place of its lists."""
    if isinstance(value, list | tuple):
        return tuple(frozen(each) for each in value)
    scalar: Scalar = value
    return scalar


def frozen_settings(settings: Mapping[str, Any]) -> dict[str, Value]:
    """`frozen` for each value of a mapping."""
    return {key: frozen(value) for key, value in settings.items()}


def written(value: Value) -> Any:
    """A value as a configuration file has it: with lists."""
    return [written(each) for each in value] if isinstance(value, tuple) else value


def text_of(value: Value) -> str:
    """A value as YAML writes it in one line."""
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else json.dumps(value)


def choice_of(value: Value) -> Scalar:
    """What stands for a value in Optuna, which has no lists: a scalar for itself, JSON text for a list."""
    return json.dumps(value) if isinstance(value, tuple) else value


def identity(value: Value) -> object:
    """Equal for equal values: 1 and 1.0 are one value, as in a file where a number is expected; 1 and true are two."""
    return tuple(identity(each) for each in value) if isinstance(value, tuple) else (isinstance(value, bool), value)


def twice(values: Iterable[Value]) -> tuple[Value, Value] | None:
    """Two of the values that cannot be told apart by Python or by Optuna, such as 1 and 1.0; None without any."""
    seen: dict[object, Value] = {}
    for value in values:
        for key in {value, choice_of(value)}:
            if key in seen:
                return seen[key], value
        seen |= {value: value, choice_of(value): value}
    return None
