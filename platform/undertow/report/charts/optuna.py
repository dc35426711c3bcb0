"""Optuna's own figures of a study: importances, history, slices, parallel coordinates, Pareto front.

    for chart in optuna_charts(results):
        print(chart.title, chart.figure is not None)

They are drawn from a copy of the study in memory, since each of them reads the whole study again. Where one fails or
has nothing to show, its caption gives the reason.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from undertow.config.space import Space, choice_of
from undertow.report.charts._importances import plot_importances
from undertow.report.charts.chart import Chart, guessing_note
from undertow.report.charts.style import COLOUR_SCALE, TEXT, apply_style, mark_guessing
from undertow.report.format import count_of, plot_text, short_names, slug
from undertow.report.quantities import finite_metric
from undertow.report.results import StudyResults

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

_MAX_RUNS = 400
"""Runs that fANOVA learns from and that parallel coordinates show: the time of fANOVA grows with their square, and
parallel coordinates draw a line for each."""

_FANOVA = (
    "Share of the variance of the objective that goes with each parameter, by fANOVA (Hutter et al. 2014): a random "
    "forest is fitted to the complete runs, and every value of a factor has the same weight. Parameters that only some "
    "runs have are left out. The seed's share is noise; compare the others with it. Optuna's dashboard shows another "
    "measure under the same name, PED-ANOVA (Watanabe et al. 2023): how much the values of the best tenth of the runs "
    "differ from those of all. The two need not agree: a parameter may go with most of the variance and yet not tell "
    "the best runs from the good ones."
)
_SEARCHED = " A sampler chose the values: least is known of the ranges that it avoided."
_HISTORY = "Every complete run in the order of its start."
_SLICE = "Every complete run at its value of each parameter; the other parameters vary too."
_PARALLEL = "A line for each complete run; yellow is better."
_PARETO = "Every complete run; marked as best are those that no other run improves on in all objectives."


def optuna_charts(results: StudyResults) -> list[Chart]:
    """A chart of each kind for each objective."""
    with _without_messages():
        trials = results.study.get_trials(deepcopy=False)
        complete = [trial for trial in trials if trial.state.name == "COMPLETE" and _is_planned(trial, results.space)]
        study = _copy(results.study, complete)
        varying = _varying(study.get_trials(deepcopy=False))
        if len(complete) < 2:
            return [_nothing(f"{count_of(len(complete), 'complete run')}: too few to draw.")]
        if not varying:
            return [_nothing("No parameter varies over the complete runs.")]
        charts = [_pareto(study, results)] if len(results.objectives) > 1 else []
        for index in range(len(results.objectives)):
            charts += _objective_charts(study, varying, results, index)
        return charts


def _is_planned(trial: "FrozenTrial", space: Space) -> bool:
    """Whether the study still has every varied value of a trial: a value may be removed after its trials."""
    planned = {key: {choice_of(value) for value in values} for key, values in space.vary.items()}
    return all(value in planned[key] for key, value in trial.params.items() if key in planned)


def _nothing(why: str) -> Chart:
    return Chart("optuna", "Variance by parameter, history, slices", why, None)


def _pareto(study: "Study", results: StudyResults) -> Chart:
    from optuna.visualization import plot_pareto_front

    names = [plot_text(objective.metric) for objective in results.objectives]
    title = "Pareto front of the objectives"
    return _chart("pareto", title, _PARETO, 400, lambda: plot_pareto_front(study, target_names=names))


def _objective_charts(study: "Study", varying: list[str], results: StudyResults, index: int) -> list[Chart]:
    """The charts of one objective."""
    import optuna.visualization

    metric = results.objectives[index].metric
    several = len(results.objectives) > 1
    suffix = f"-{slug(metric)}" if several else ""
    options: dict[str, Any] = {"target_name": plot_text(metric), **({"target": _target(index)} if several else {})}
    guesses, maximized = _guesses(results, metric), results.objectives[index].direction == "maximize"
    some, thinned = _thinned(study)
    wide = 160 + 190 * len(varying)
    return [
        _chart(
            f"importances{suffix}",
            f"Variance of {metric} by parameter (fANOVA)",
            _FANOVA + (_SEARCHED if results.space.search else "") + thinned,
            320,
            lambda: plot_importances(some, options),
            half=True,
        ),
        _chart(
            f"history{suffix}",
            f"History of {metric}",
            _HISTORY + guessing_note(guesses),
            320,
            lambda: _with_guesses(optuna.visualization.plot_optimization_history(study, **options), guesses),
            half=True,
        ),
        _chart(
            f"slice{suffix}",
            f"Slices of {metric}",
            _SLICE + guessing_note(guesses),
            wide,
            lambda: _with_guesses(optuna.visualization.plot_slice(study, varying, **options), guesses),
        ),
        _chart(
            f"parallel{suffix}",
            f"Parallel coordinates of {metric}",
            _PARALLEL + thinned,
            wide,
            lambda: _visible(optuna.visualization.plot_parallel_coordinate(some, varying, **options), maximized),
        ),
    ]


def _chart(name: str, title: str, caption: str, width: int, plot: "Callable[[], Figure]", half: bool = False) -> Chart:
    """The chart, or the reason why Optuna could not draw it: the rest of the report is written all the same."""
    try:
        figure = plot()
    except Exception as error:  # noqa: BLE001  (any error of Optuna's is shown in the place of the figure)
        return Chart(name, title, f"Optuna could not draw this: {type(error).__name__}: {error}", None)
    if not figure.data:
        return Chart(name, title, "Optuna has nothing to draw here.", None)
    apply_style(figure)
    figure.update_yaxes(automargin=True)
    figure.update_annotations(bgcolor="rgba(255,255,255,0.85)", font_color=TEXT)
    figure.update_layout(margin_r=24)
    return Chart(name, title, caption, figure, width, half)


def _guesses(results: StudyResults, metric: str) -> list[float]:
    """The different scores of guessing of the complete runs."""
    name = f"task/trivial_{metric.partition('/')[2]}"
    known = (finite_metric(each, name) for each in results.combinations if each.state == "complete")
    return sorted({value for value in known if value is not None})


def _with_guesses(figure: "Figure", guesses: "Sequence[float]") -> "Figure":
    mark_guessing(figure, guesses)
    return figure


def _visible(figure: "Figure", maximized: bool) -> "Figure":
    """Lines in colours that stand out from the page, by their place on the first axis; those of Optuna end in white."""
    from plotly.colors import sample_colorscale

    for trace in figure.data:
        if trace.mode == "lines" and trace.y[0] is not None:
            place = min(1.0, max(0.0, trace.y[0]))
            (colour,) = sample_colorscale(COLOUR_SCALE, [place if maximized else 1 - place])
            trace.update(line={"color": colour, "width": 1.8}, opacity=0.85)
        elif trace.mode == "markers":
            trace.marker.update(colorscale=COLOUR_SCALE, reversescale=not maximized)
    return figure


def _thinned(study: "Study") -> "tuple[Study, str]":
    """At most `_MAX_RUNS` runs, evenly over their order, and a sentence for the caption where some are left out."""
    runs = study.get_trials(deepcopy=False)
    if len(runs) <= _MAX_RUNS:
        return study, ""
    some = [runs[round(index * (len(runs) - 1) / (_MAX_RUNS - 1))] for index in range(_MAX_RUNS)]
    return _copy(study, some), f" Made from {_MAX_RUNS} of the {len(runs):,} runs, evenly over their order."


def _varying(complete: "Sequence[FrozenTrial]") -> list[str]:
    """The parameters that have at least two values, in the order of their first use."""
    values: dict[str, set[str]] = {}
    for trial in complete:
        for key, value in trial.params.items():
            values.setdefault(key, set()).add(repr(value))
    return [key for key, seen in values.items() if len(seen) > 1]


def _copy(study: "Study", complete: "Sequence[FrozenTrial]") -> "Study":
    """A study in memory of these trials: objectives, and parameters by their short names, texts escaped for plotly."""
    import optuna

    names = short_names(dict.fromkeys(key for trial in complete for key in trial.params))
    copied = optuna.create_study(directions=study.directions, sampler=optuna.samplers.RandomSampler(seed=0))
    copied.add_trials(
        optuna.trial.create_trial(
            values=trial.values,
            params={names[key]: _escaped(value) for key, value in trial.params.items()},
            distributions={names[key]: _escaped_choices(trial.distributions[key]) for key in trial.params},
        )
        for trial in complete
    )
    return copied


def _escaped(value: Any) -> Any:
    return plot_text(value) if isinstance(value, str) else value


def _escaped_choices(distribution: "BaseDistribution") -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution([_escaped(choice) for choice in distribution.choices])
    return distribution


def _target(index: int) -> "Callable[[FrozenTrial], float]":
    return lambda trial: trial.values[index]


@contextmanager
def _without_messages() -> Iterator[None]:
    """Silence Optuna's log and its warnings: the captions give the reasons."""
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
