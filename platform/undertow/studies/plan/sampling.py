"""Optuna's samplers and pruners, by name and with their own arguments.

sampler = make_sampler(Named(name="tpe", options={"n_startup_trials": 20}), seed=0)
pruner = make_pruner(Named(name="median", options={"n_warmup_steps": 200}))
"""

import inspect
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from undertow.config.study_schema import Named
from undertow.errors import RequestError, did_you_mean

if TYPE_CHECKING:
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
    """The sampler of a study.

    Args:
        config: Name and arguments.
        seed: Where its own choices start, unless the arguments have a `seed`.

    Raises:
        RequestError: An argument that it does not take, or a library that it needs is not installed.
    """
    from optuna import samplers

    if config.name == "cmaes" and find_spec("cmaes") is None:  # Optuna finds out when it first samples
        raise RequestError("study.sampler.name: `cmaes` needs a library that is not installed: pip install cmaes")
    kind = getattr(samplers, SAMPLERS[config.name])
    if config.name == "brute-force":  # having tried everything, it would stop the `Study.optimize` that is not there
        kind = type(kind.__name__, (kind,), {"after_trial": lambda *_: None})
    made: BaseSampler = _made("sampler", config.name, kind, {"seed": seed, **config.options})
    return made


def make_pruner(config: Named) -> "BasePruner":
    """The pruner of a study; `patient` takes the name of the one that it wraps as `wrapped_pruner`.

    Raises:
        RequestError: An argument that it does not take, or one that is missing.
    """
    from optuna import pruners

    options = dict(config.options)
    if config.name == "patient":
        inner = options.get("wrapped_pruner", "none")
        if inner not in PRUNERS or inner == "patient":
            raise RequestError(
                f"study.pruner.options.wrapped_pruner: there is no pruner {inner!r}.{did_you_mean(str(inner), PRUNERS)}"
            )
        options["wrapped_pruner"] = make_pruner(Named(name=inner))
    made: BasePruner = _made("pruner", config.name, getattr(pruners, PRUNERS[config.name]), options)
    return made


def _made(what: str, name: str, kind: type[Any], options: dict[str, Any]) -> Any:
    known = [each for each in inspect.signature(kind).parameters if each not in ("args", "kwargs")]
    for option in options:
        if option not in known:
            raise RequestError(
                f"study.{what}.options.{option}: Optuna's {kind.__name__} (`{name}`) takes no such argument."
                f"{did_you_mean(option, known)}"
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # several are marked experimental; choosing one by name is asking for it
            return kind(**options)
    except ImportError as error:
        raise RequestError(f"study.{what}.name: `{name}` needs a library that is not installed: {error}") from error
    except (TypeError, ValueError) as error:
        raise RequestError(f"study.{what}.options: {kind.__name__}: {error}") from error
