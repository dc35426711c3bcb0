"""What Optuna's own figures show of a study: importances, history, slices, parallel coordinates, Pareto front.

    for chart in optuna_charts(results):
        print(chart.title, chart.figure is not None)

They are drawn from a copy in memory, since each of them reads the whole study anew. One that fails, or has nothing to
show, leaves a sentence in its place.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from undertow.report.charts.chart import Chart, dressed
from undertow.report.format import count, short_names, slug
from undertow.report.results import StudyResults

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

_MOST = 400
"""Runs that fANOVA learns from and that parallel coordinates show: the time of the one grows with their square, and
each is a line of the other."""

_TREES = 32


def optuna_charts(results: StudyResults) -> list[Chart]:
    """A chart of each kind for each objective."""
    with _quiet():
        complete = [trial for trial in results.study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
        study = _study_of(results.study, complete)
        varying = _varying(study.get_trials(deepcopy=False))
        if len(complete) < 2 or not varying:
            few = f"{count(len(complete), 'complete run')}: too few to draw."
            why = few if len(complete) < 2 else "No parameter varies over the complete runs."
            return [Chart("optuna", "Importances, history, slices", why, None)]
        front: list[Chart] = []
        if len(results.objectives) > 1:
            front = [
                _attempt("pareto", "Pareto front of the objectives", _PARETO, 400, lambda: _pareto(study, results))
            ]
        each = [_of_one(study, varying, results, place) for place in range(len(results.objectives))]
        return [*front, *(chart for charts in each for chart in charts)]


def _of_one(study: "Study", varying: list[str], results: StudyResults, place: int) -> list[Chart]:
    """The charts of one objective."""
    import optuna.visualization as optuna_draws

    metric = results.objectives[place].metric
    several = len(results.objectives) > 1
    suffix = f"-{slug(metric)}" if several else ""
    aim: dict[str, Any] = {"target_name": metric, **({"target": _target(place)} if several else {})}
    some, thinned = _thinned(study)
    wide = 160 + 190 * len(varying)
    return [
        _attempt(
            f"importances{suffix}",
            f"Importances for {metric} (fANOVA)",
            _FANOVA + (_SEARCHED if results.space.search else "") + thinned,
            320,
            lambda: _importances(some, aim),
            half=True,
        ),
        _attempt(
            f"history{suffix}",
            f"History of {metric}",
            _HISTORY,
            320,
            lambda: optuna_draws.plot_optimization_history(study, **aim),
            half=True,
        ),
        _attempt(
            f"slice{suffix}",
            f"Slices of {metric}",
            _SLICE,
            wide,
            lambda: optuna_draws.plot_slice(study, varying, **aim),
        ),
        _attempt(
            f"parallel{suffix}",
            f"Parallel coordinates of {metric}",
            _PARALLEL + thinned,
            wide,
            lambda: optuna_draws.plot_parallel_coordinate(some, varying, **aim),
        ),
    ]


_FANOVA = (
    "Share of the variance of the objective that each parameter explains, by fANOVA (Hutter et al. 2014): a random "
    "forest is fitted to the complete runs, and every value of a factor weighs the same. Parameters that only some "
    "runs have are left out. The seed's share is noise, a measure for the others."
)
_SEARCHED = " A sampler chose where to look; what it avoided is known least."
_HISTORY = "Every complete run in the order of its start."
_SLICE = "Every complete run at its value of each parameter; what else varied is not held fixed."
_PARALLEL = "A line for each complete run."
_PARETO = "Every complete run; those marked as best are beaten by none on all objectives."


def _importances(study: "Study", aim: dict[str, Any]) -> "Figure":
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.visualization import plot_param_importances

    evaluator = FanovaImportanceEvaluator(n_trees=_TREES, seed=0)
    found = plot_param_importances(_levelled(study, aim.get("target", lambda trial: trial.value)), evaluator, **aim)
    if not any(len(trace.y) for trace in found.data):
        raise ValueError("no parameter is shared by all complete runs and varies")
    return found


def _levelled(study: "Study", target: "Callable[[FrozenTrial], float]") -> "Study":
    """The study with the place of each choice among all of them in the place of the choice.

    Optuna gives each choice a column of its own and visits all subsets of them: 2^n for n cells. By their places,
    ordered by number or by mean objective, a tree can split them as well as by any columns, and all weigh the same.
    """
    import optuna

    trials = study.get_trials(deepcopy=False)
    found: dict[str, dict[Any, list[float]]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if isinstance(distribution, optuna.distributions.CategoricalDistribution):
                found.setdefault(name, {}).setdefault(trial.params[name], []).append(target(trial))
    places = {name: {level: place for place, level in enumerate(_in_order(by))} for name, by in found.items()}
    levelled = optuna.create_study(directions=study.directions, sampler=optuna.samplers.RandomSampler(seed=0))
    levelled.add_trials(
        optuna.trial.create_trial(
            values=trial.values,
            params={name: places[name][value] if name in places else value for name, value in trial.params.items()},
            distributions={
                name: optuna.distributions.FloatDistribution(-0.5, len(places[name]) - 0.5) if name in places else each
                for name, each in trial.distributions.items()
            },
        )
        for trial in trials
    )
    return levelled


def _in_order(levels: dict[Any, list[float]]) -> list[Any]:
    if all(isinstance(level, int | float) for level in levels):
        return sorted(levels)
    return sorted(levels, key=lambda level: sum(levels[level]) / len(levels[level]))


def _pareto(study: "Study", results: StudyResults) -> "Figure":
    from optuna.visualization import plot_pareto_front

    return plot_pareto_front(study, target_names=[objective.metric for objective in results.objectives])


def _thinned(study: "Study") -> "tuple[Study, str]":
    """As many runs as can be drawn and learned from, evenly over their order, and a sentence when that is not all."""
    runs = study.get_trials(deepcopy=False)
    if len(runs) <= _MOST:
        return study, ""
    some = [runs[round(place * (len(runs) - 1) / (_MOST - 1))] for place in range(_MOST)]
    return _study_of(study, some), f" Of the {len(runs):,} runs it takes {_MOST}, evenly over their order."


def _attempt(
    name: str, title: str, caption: str, width: int, draw: "Callable[[], Figure]", half: bool = False
) -> Chart:
    """The chart, or the reason why another's library could not draw it: the report is written all the same."""
    try:
        drawn = draw()
    except Exception as error:  # noqa: BLE001  (whatever it is, it is told in the place of the figure)
        return Chart(name, title, f"Optuna could not draw this: {type(error).__name__}: {error}", None)
    if not drawn.data:
        return Chart(name, title, "Optuna found nothing to draw here.", None)
    dressed(drawn)
    drawn.update_yaxes(automargin=True)
    drawn.update_annotations(bgcolor="rgba(255,255,255,0.85)", font_color="#1b1b1b")
    drawn.update_layout(margin_r=24)
    return Chart(name, title, caption, drawn, width, half)


def _varying(complete: "Sequence[FrozenTrial]") -> list[str]:
    """The parameters that have at least two values, in the order of their first use."""
    values: dict[str, set[str]] = {}
    for trial in complete:
        for key, value in trial.params.items():
            values.setdefault(key, set()).add(repr(value))
    return [key for key, seen in values.items() if len(seen) > 1]


def _study_of(study: "Study", complete: "Sequence[FrozenTrial]") -> "Study":
    """Complete runs as a study in memory, without what else they carry, their parameters by their short names."""
    import optuna

    names = short_names(dict.fromkeys(key for trial in complete for key in trial.params))
    copied = optuna.create_study(directions=study.directions, sampler=optuna.samplers.RandomSampler(seed=0))
    copied.add_trials(
        optuna.trial.create_trial(
            values=trial.values,
            params={names[key]: value for key, value in trial.params.items()},
            distributions={names[key]: trial.distributions[key] for key in trial.params},
        )
        for trial in complete
    )
    return copied


def _target(place: int) -> "Callable[[FrozenTrial], float]":
    return lambda trial: trial.values[place]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's remarks out of the terminal: what matters of them stands in the report."""
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
