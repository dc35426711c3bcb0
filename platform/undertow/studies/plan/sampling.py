"""Samplers and pruners, with their own arguments: Optuna's by a short name, any other by its import path.

sampler = make_sampler(Named(name="tpe", options={"n_startup_trials": 20}), seed=0)
pruner = make_pruner(Named(name="median", options={"n_warmup_steps": 200}))
sampler = make_sampler(Named(name="optunahub_samplers.AutoSampler"), seed=0)
"""

import inspect
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from undertow.config.space import Range, Scalar
from undertow.config.study_schema import Named
from undertow.errors import RequestError, did_you_mean
from undertow.plugins.imports import import_class, is_import_path, require_options
from undertow.plugins.registry import describe_error

if TYPE_CHECKING:
    import optuna
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

SAMPLERS: Mapping[str, str] = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    "cmaes": "CmaEsSampler",
    "gp": "GPSampler",
    "nsgaii": "NSGAIISampler",
    "nsgaiii": "NSGAIIISampler",
    "qmc": "QMCSampler",
    "brute-force": "BruteForceSampler",
}
PRUNERS: Mapping[str, str] = {
    "none": "NopPruner",
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "hyperband": "HyperbandPruner",
    "successive-halving": "SuccessiveHalvingPruner",
    "threshold": "ThresholdPruner",
    "patient": "PatientPruner",
    "wilcoxon": "WilcoxonPruner",
}


def make_sampler(config: Named, seed: int) -> "BaseSampler":
    """Make the sampler of a study.

    Args:
        config: Name and arguments.
        seed: Its random seed, unless the arguments have a `seed` or it takes none.

    Raises:
        RequestError: The sampler has no such argument, or a library that it needs is not installed.
    """
    from optuna import samplers

    if is_import_path(config.name):
        sampler_class = _imported("sampler", config.name, samplers.BaseSampler)
        seeded = {"seed": seed} if "seed" in inspect.signature(sampler_class).parameters else {}
        found: BaseSampler = _construct("sampler", config.name, sampler_class, {**seeded, **config.options})
        return found
    if config.name == "cmaes" and find_spec("cmaes") is None:  # Optuna fails only when it first samples
        raise RequestError("study.sampler.name: `cmaes` needs a library that is not installed: pip install cmaes")
    sampler_class = getattr(samplers, SAMPLERS[config.name])
    if config.name == "brute-force":  # after its last value it would stop `Study.optimize`, which does not run here
        sampler_class = type(sampler_class.__name__, (sampler_class,), {"after_trial": lambda *_: None})
    sampler: BaseSampler = _construct("sampler", config.name, sampler_class, {"seed": seed, **config.options})
    return sampler


def make_pruner(config: Named) -> "BasePruner":
    """Make the pruner of a study; `patient` takes the name of the pruner that it wraps as `wrapped_pruner`.

    Raises:
        RequestError: The pruner has no such argument, or one is missing.
    """
    from optuna import pruners

    if is_import_path(config.name):
        pruner_class = _imported("pruner", config.name, pruners.BasePruner)
        found: BasePruner = _construct("pruner", config.name, pruner_class, config.options)
        return found
    options = dict(config.options)
    if config.name == "patient":
        inner = options.get("wrapped_pruner", "none")
        if inner not in PRUNERS or inner == "patient":
            raise RequestError(
                f"study.pruner.options.wrapped_pruner: there is no pruner {inner!r}.{did_you_mean(str(inner), PRUNERS)}"
            )
        options["wrapped_pruner"] = make_pruner(Named(name=inner))
    pruner: BasePruner = _construct("pruner", config.name, getattr(pruners, PRUNERS[config.name]), options)
    return pruner


def suggest(trial: "optuna.Trial", key: str, each: Range) -> Scalar:
    """Let the sampler of a trial choose a value of a searched key."""
    if each.choices:
        return trial.suggest_categorical(key, each.choices)
    low, high = each.low, each.high
    assert low is not None
    assert high is not None
    if isinstance(low, int) and isinstance(high, int) and not isinstance(each.step, float):
        return trial.suggest_int(key, low, high, step=int(each.step or 1), log=each.log)
    return trial.suggest_float(key, low, high, step=each.step, log=each.log)


def _imported(section: str, path: str, base: type[Any]) -> type[Any]:
    """The class that the `name` of a section names by its import path.

    Raises:
        RequestError: It cannot be imported, or is of another kind.
    """
    cls = import_class(path, f"study.{section}.name")
    if not issubclass(cls, base):
        raise RequestError(f"study.{section}.name: {path} is no {section}: it must inherit from {base.__name__}")
    return cls


def _construct(section: str, name: str, cls: type[Any], options: dict[str, Any]) -> Any:
    require_options(cls, options, f"study.{section}.options", name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # several are marked experimental; the configuration names it, so it is intended
            return cls(**options)
    except ImportError as error:
        raise RequestError(f"study.{section}.name: `{name}` needs a library that is not installed: {error}") from error
    except Exception as error:  # what is named by its import path may raise anything
        reason = error if isinstance(error, TypeError | ValueError) else describe_error(error)
        raise RequestError(f"study.{section}.options: {cls.__name__}: {reason}") from error
