"""Tables of single combinations: those without a result, the best samples of a search, and every run.

unfinished_table(results).rows        # [("lstm", "512", "2", "failed", "2", "out of memory", …), …]
"""

from undertow.report.format import NO_VALUE, format_number, format_sampled, format_value, short_names
from undertow.report.groups import EXCLUDED_STATES, Groups
from undertow.report.reproduce import reproduction
from undertow.report.results import CombinationResult, StudyResults
from undertow.report.tables.results_table import Table


def unfinished_table(results: StudyResults) -> Table:
    """Every combination without a result, with the reason."""
    unfinished = [each for state in EXCLUDED_STATES for each in results.combinations if each.state == state]
    columns = (*_parameter_columns(results), "state", "attempts", "steps", "reason", "run folder")
    rows = tuple(
        (
            *_parameters(each, results),
            each.state,
            str(each.attempts),
            format_number(each.steps),
            each.reason or ("not started" if each.state == "missing" else NO_VALUE),
            each.folder or NO_VALUE,
        )
        for each in unfinished
    )
    return Table(columns, rows)


def sample_table(groups: Groups) -> Table:
    """The best sample at every point of the grid: the values that the sampler chose, and its objectives."""
    results = groups.results
    columns = (*_parameter_columns(results), *_objective_columns(results))
    rows = tuple(
        (*_parameters(each, results), *_objectives(each, results)) for group in groups.groups for each in group.included
    )
    return Table(columns, rows)


def run_table(results: StudyResults) -> Table:
    """Every run that was started, and the command that repeats it."""
    repeat = reproduction(results)
    columns = (
        *_parameter_columns(results),
        "state",
        *_objective_columns(results),
        "steps",
        "seconds",
        "run",
        "repeat it with",
    )
    rows = tuple(
        (
            *_parameters(each, results),
            each.state,
            *_objectives(each, results),
            format_number(each.steps),
            format_number(each.seconds),
            each.run_name or NO_VALUE,
            repeat.run_command(each.folder) if each.folder else NO_VALUE,
        )
        for each in results.combinations
        if each.state not in ("missing", "waiting")
    )
    return Table(columns, rows)


def _parameter_columns(results: StudyResults) -> list[str]:
    names = short_names([*results.space.vary, *results.space.search])
    return [*names.values(), *(["sample"] if results.space.search else [])]


def _parameters(combination: CombinationResult, results: StudyResults) -> list[str]:
    space, params = results.space, combination.params
    return [
        *(format_value(params[key]) if key in params else NO_VALUE for key in space.vary),
        *(format_sampled(params[key]) if key in params else NO_VALUE for key in space.search),
        *([str(combination.sample)] if space.search else []),
    ]


def _objective_columns(results: StudyResults) -> list[str]:
    return [each.metric for each in results.objectives]


def _objectives(combination: CombinationResult, results: StudyResults) -> list[str]:
    values = combination.values
    return [
        format_number(values[index]) if index < len(values) else NO_VALUE for index in range(len(results.objectives))
    ]
