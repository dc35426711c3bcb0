"""Samplers and pruners of Optuna, by name."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from undertow.config.study_schema import Named
from undertow.errors import RequestError
from undertow.studies.plan.sampling import PRUNERS, SAMPLERS, make_pruner, make_sampler
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.trial import Outcome

INSTALLED = sorted(set(SAMPLERS) - ({"cmaes"} if find_spec("cmaes") is None else set()))
NEEDED = {"percentile": {"percentile": 25.0}, "threshold": {"lower": 0.0}, "patient": {"patience": 2}}


@pytest.mark.parametrize("name", INSTALLED)
def test_every_sampler_is_made_by_its_name(name: str) -> None:
    assert type(make_sampler(Named(name=name), seed=0)).__name__ == SAMPLERS[name]


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_is_made_by_its_name(name: str) -> None:
    pruner = make_pruner(Named(name=name, options=NEEDED.get(name, {})))
    assert type(pruner).__name__ == PRUNERS[name]


@pytest.mark.parametrize("name", INSTALLED)
def test_every_sampler_samples_at_each_point_until_no_trial_is_left(
    name: str, open_ledger: Callable[..., Ledger]
) -> None:
    """More samples than there are values, and more than the random ones with which each sampler begins."""
    ledger = open_ledger(
        "study.vary={seed: [0, 1]}",
        "study.search={cell.name: {choices: [rnn, lstm]}, cell.options.lstm.forget_bias: {low: 0, high: 1, step: 1}}",
        "study.samples=6",
        f"study.sampler.name={name}",
    )
    found = []
    while ledger.plan():
        (claim,) = ledger.take()
        found.append(claim.params)
        ledger.complete(claim, [float(len(found) % 5)], Outcome())
    assert len(found) == 12
    assert all(("cell.options.lstm.forget_bias" in each) == (each["cell.name"] == "lstm") for each in found)


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_uses_the_reported_values(name: str, open_ledger: Callable[..., Ledger]) -> None:
    options = json.dumps(NEEDED.get(name, {}))
    ledger = open_ledger("study.vary={seed: [0, 1, 2]}", f"study.pruner={{name: {name}, options: {options}}}")
    while ledger.plan():
        (claim,) = ledger.take()
        prunes = [ledger.report(claim, step, -1.0) for step in range(1, 4)]
        assert prunes == [name == "threshold"] * 3, "all are alike, and below a threshold of 0"
        ledger.complete(claim, [0.0], Outcome())


@pytest.mark.skipif(find_spec("cmaes") is not None, reason="`cmaes` is installed")
def test_a_sampler_whose_library_is_missing_names_it() -> None:
    with pytest.raises(RequestError, match="`cmaes` needs a library that is not installed: pip install cmaes"):
        make_sampler(Named(name="cmaes"), seed=0)


@pytest.mark.parametrize("wrong", ["study.sampler.options={seeed: 1}", "study.pruner={name: patient}"])
def test_wrong_arguments_are_refused_before_the_database_is_written(
    wrong: str, open_ledger: Callable[..., Ledger], home: Path
) -> None:
    before = (home / "optuna.db").read_bytes()
    with pytest.raises(RequestError):
        open_ledger(wrong)
    assert (home / "optuna.db").read_bytes() == before


def test_an_argument_that_optuna_does_not_have_is_refused() -> None:
    with pytest.raises(RequestError, match=r"n_startup_trails: TPESampler .* Did you mean `n_startup_trials`"):
        make_sampler(Named(name="tpe", options={"n_startup_trails": 3}), seed=0)


def test_a_missing_argument_of_a_pruner_is_named() -> None:
    with pytest.raises(RequestError, match=r"study\.pruner\.options: PercentilePruner: .*percentile"):
        make_pruner(Named(name="percentile"))


def test_patient_wraps_another_pruner_by_its_name() -> None:
    make_pruner(Named(name="patient", options={"patience": 1, "wrapped_pruner": "median"}))
    with pytest.raises(RequestError, match=r"there is no pruner 'medain'\. Did you mean `median`"):
        make_pruner(Named(name="patient", options={"patience": 1, "wrapped_pruner": "medain"}))


def test_a_sampler_and_a_pruner_may_be_named_by_their_import_path() -> None:
    sampler = make_sampler(Named(name="optuna.samplers.TPESampler", options={"n_startup_trials": 3}), seed=7)
    assert type(sampler).__name__ == "TPESampler"
    pruner = make_pruner(Named(name="optuna.pruners.MedianPruner", options={"n_startup_trials": 3}))
    assert type(pruner).__name__ == "MedianPruner"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("optuna.samplers.TPESampla", r"`optuna\.samplers` has no class `TPESampla`\. Did you mean `TPESampler`"),
        ("optuna.no_such.Sampler", r"`optuna\.no_such` cannot be imported: ModuleNotFoundError"),
        ("optuna.pruners.MedianPruner", "is no sampler: it must inherit from BaseSampler"),
        ("optuna.samplers.BaseSampler", "BaseSampler: .*abstract"),
    ],
)
def test_a_wrong_import_path_of_a_sampler_is_refused(path: str, message: str) -> None:
    with pytest.raises(RequestError, match=r"study\.sampler\..*" + message):
        make_sampler(Named(name=path), seed=0)


def test_the_environment_limits_import_paths_as_it_limits_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", "undertow-cells")
    make_pruner(Named(name="optuna.pruners.NopPruner"))
    with pytest.raises(RequestError, match="UNDERTOW_PLUGINS_ALLOW does not list the distribution of `sqlalchemy`"):
        make_sampler(Named(name="sqlalchemy.orm.Session"), seed=0)
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", "undertow-cells, sqlalchemy")
    with pytest.raises(RequestError, match="is no sampler"):
        make_sampler(Named(name="sqlalchemy.orm.Session"), seed=0)
    monkeypatch.setenv("UNDERTOW_PLUGINS_BLOCK", "SQLAlchemy")
    with pytest.raises(RequestError, match="UNDERTOW_PLUGINS_BLOCK lists sqlalchemy"):
        make_sampler(Named(name="sqlalchemy.orm.Session"), seed=0)


def test_known_settings_are_the_first_samples_at_each_point(open_ledger: Callable[..., Ledger]) -> None:
    """What a setting leaves out is sampled; a retry keeps it; later samples are the sampler's."""
    ledger = open_ledger(
        "study.vary={cell.name: [rnn, lstm], seed: [0]}",
        "study.search={optim.lr: {low: 1.0e-4, high: 1.0, log: true}, train.batch_size: {low: 2, high: 64}}",
        "study.samples=3",
        "study.enqueue=[{optim.lr: 0.5, train.batch_size: 7}, {optim.lr: 0.25}]",
        "study.retries=1",
    )
    found: dict[int, list[tuple[object, object]]] = {}
    first = True
    while ledger.plan():
        (claim,) = ledger.take()
        if first:
            ledger.fail(claim, "lost", "its process died", Outcome())
            first = False
            continue
        values = claim.params["optim.lr"], claim.params["train.batch_size"]
        found.setdefault(claim.combination.sample, []).append(values)
        ledger.complete(claim, [0.5], Outcome())
    assert found[0] == [(0.5, 7)] * 2
    assert [lr for lr, _ in found[1]] == [0.25] * 2
    assert all(lr not in (0.5, 0.25) for lr, _ in found[2])
