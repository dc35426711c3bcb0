"""What there is to list by name: combinations without a result, the best samples of a search, and every run.

unfinished_table(results).rows        # [("lstm", "512", "2", "failed", "2", "out of memory", …), …]
"""

import shlex

from undertow.report.format import NOTHING, number, scalar, short_names
from undertow.report.groups import LEFT_OUT, Groups
from undertow.report.results import CombinationResult, StudyResults
from undertow.report.tables.results_table import Table


def unfinished_table(results: StudyResults) -> Table:
    """Every combination without a result, with the reason."""
    names = _names(results)
    found = [trial for state in LEFT_OUT for trial in results.combinations if trial.state == state]
    columns = (*names.values(), *_sample_column(results), "state", "attempts", "steps", "reason", "run folder")
    rows = tuple(
        (
            *_values(trial, names),
            *_sample(trial, results),
            trial.state,
            str(trial.attempts),
            number(trial.steps),
            trial.reason or ("never tried" if trial.state == "missing" else NOTHING),
            trial.folder or NOTHING,
        )
        for trial in found
    )
    return Table(columns, rows)


def sample_table(digest: Groups) -> Table:
    """The best sample at every point of the grid: what the sampler chose, and what came of it."""
    results = digest.results
    names = _names(results)
    columns = (*names.values(), "sample", *(each.metric for each in results.objectives))
    rows = tuple(
        (*_values(trial, names), str(trial.sample), *_objectives(trial, results))
        for group in digest.groups
        for trial in group.counted
    )
    return Table(columns, rows)


def run_table(results: StudyResults) -> Table:
    """Every run that was started, and the command that repeats it alone."""
    names = _names(results)
    columns = (
        *names.values(),
        *_sample_column(results),
        "state",
        *(each.metric for each in results.objectives),
        "steps",
        "seconds",
        "run",
        "repeat it with",
    )
    rows = tuple(
        (
            *_values(trial, names),
            *_sample(trial, results),
            trial.state,
            *_objectives(trial, results),
            number(trial.steps),
            number(trial.seconds),
            trial.run_name or NOTHING,
            f"undertow run {shlex.quote(trial.folder + '/config.yaml')}" if trial.folder else NOTHING,
        )
        for trial in results.combinations
        if trial.state not in ("missing", "waiting")
    )
    return Table(columns, rows)


def _names(results: StudyResults) -> dict[str, str]:
    return short_names([*results.space.vary, *results.space.search])


def _values(trial: CombinationResult, names: dict[str, str]) -> list[str]:
    return [scalar(trial.params[key]) if key in trial.params else NOTHING for key in names]


def _sample_column(results: StudyResults) -> tuple[str, ...]:
    return ("sample",) if results.space.search else ()


def _sample(trial: CombinationResult, results: StudyResults) -> tuple[str, ...]:
    return (str(trial.sample),) if results.space.search else ()


def _objectives(trial: CombinationResult, results: StudyResults) -> list[str]:
    return [
        number(trial.values[place]) if place < len(trial.values) else NOTHING
        for place in range(len(results.objectives))
    ]
