"""Samplers and pruners of Optuna, by name."""

import pytest

from undertow.config.study_schema import Named
from undertow.errors import RequestError
from undertow.studies.sampling import PRUNERS, SAMPLERS, make_pruner, make_sampler

NEEDED = {"percentile": {"percentile": 25.0}, "threshold": {"lower": 0.0}, "patient": {"patience": 2}}


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"cmaes"}))
def test_every_sampler_can_be_had_by_its_name(name: str) -> None:
    assert type(make_sampler(Named(name=name), seed=0)).__name__ == SAMPLERS[name]


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_can_be_had_by_its_name(name: str) -> None:
    pruner = make_pruner(Named(name=name, options=NEEDED.get(name, {})))
    assert type(pruner).__name__ == PRUNERS[name]


def test_an_argument_that_optuna_does_not_take_is_refused() -> None:
    with pytest.raises(RequestError, match=r"n_startup_trails: Optuna's TPESampler .* Did you mean `n_startup_trials`"):
        make_sampler(Named(name="tpe", options={"n_startup_trails": 3}), seed=0)


def test_a_pruner_that_lacks_an_argument_says_so() -> None:
    with pytest.raises(RequestError, match=r"study\.pruner\.options: PercentilePruner: .*percentile"):
        make_pruner(Named(name="percentile"))


def test_patient_wraps_another_pruner_by_its_name() -> None:
    make_pruner(Named(name="patient", options={"patience": 1, "wrapped_pruner": "median"}))
    with pytest.raises(RequestError, match=r"there is no pruner 'medain'\. Did you mean `median`"):
        make_pruner(Named(name="patient", options={"patience": 1, "wrapped_pruner": "medain"}))
