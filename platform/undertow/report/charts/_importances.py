"""fANOVA importances of a study, drawn by Optuna, in a time that does not grow with the number of choices."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

_TREES = 32


def plot_importances(study: "Study", options: dict[str, Any]) -> "Figure":
    """Optuna's figure of the importances.

    Args:
        study: Complete trials alone.
        options: For Optuna: `target_name`, and `target` where there are several objectives.

    Raises:
        ValueError: No parameter is shared by all trials and varies.
    """
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.visualization import plot_param_importances

    evaluator = FanovaImportanceEvaluator(n_trees=_TREES, seed=0)
    ordinal = _with_ordinal_choices(study, options.get("target", lambda trial: trial.value))
    figure = plot_param_importances(ordinal, evaluator, **options)
    if not any(len(trace.y) for trace in figure.data):
        raise ValueError("no parameter is shared by all complete runs and varies")
    figure.update_xaxes(title_text="share of the variance").update_yaxes(title_text="")
    return figure


def _with_ordinal_choices(study: "Study", target: "Callable[[FrozenTrial], float]") -> "Study":
    """A copy of the study with every choice replaced by its place in an order of all choices.

    Optuna gives each choice a column of its own and visits all subsets of the columns: 2^n for n cells. A tree splits
    places in an order, by number or by mean objective, as well as columns, and all choices weigh the same.
    """
    import optuna

    trials = study.get_trials(deepcopy=False)
    targets: dict[str, dict[Any, list[float]]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if isinstance(distribution, optuna.distributions.CategoricalDistribution):
                targets.setdefault(name, {}).setdefault(trial.params[name], []).append(target(trial))
    places = {name: {choice: place for place, choice in enumerate(_ordered(by))} for name, by in targets.items()}
    copied = optuna.create_study(directions=study.directions, sampler=optuna.samplers.RandomSampler(seed=0))
    copied.add_trials(
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
    return copied


def _ordered(choices: dict[Any, list[float]]) -> list[Any]:
    """By value where all are numbers, else by mean objective."""
    if all(isinstance(choice, int | float) for choice in choices):
        return sorted(choices)
    return sorted(choices, key=lambda choice: sum(choices[choice]) / len(choices[choice]))
