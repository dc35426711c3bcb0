"""Wrong requests: an error before anything is written."""

from pathlib import Path

import pytest
import yaml

import undertow

SEARCH = """\
name: search
vary: {cell.name: [rnn, lstm]}
search: {optim.lr: {low: 1.0e-4, high: 1.0e-2, log: true}}
sampler: {name: tpe}
samples: 3
"""


@pytest.mark.parametrize("command", ["status", "stop", "report"])
def test_without_a_database_the_error_names_the_command_that_creates_one(call, home: Path, command: str) -> None:
    output = call("study", command, "small")
    assert output.code == 2
    assert (
        f"there is no study database {home / 'optuna.db'} yet: start one with `undertow study run FILE`" in output.err
    )
    assert list(home.iterdir()) == []


def test_a_mapping_without_a_name_is_refused(unshipped, small) -> None:
    mapping = yaml.safe_load(small)
    del mapping["study"]["name"]
    with pytest.raises(undertow.RequestError, match=r"study\.name: required for a mapping"):
        undertow.study(mapping)
    assert list(unshipped.path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            "study.sampler.name=tpo",
            "--set study.sampler.name=tpo: study.sampler.name: there is no sampler 'tpo'. Did you mean `tpe`?",
        ),
        ("study.pruner.name=medain", "there is no pruner 'medain'. Did you mean `median`?"),
        ("study.sampler.options={n_startup_trails: 2}", "(`tpe`) has no such argument. Did you mean `n_startup_tri"),
        (
            "study.pruner={name: median, options: {n_warmup: 2}}",
            "(`median`) has no such argument. Did you mean `n_wa",
        ),
        ("study.pruner={name: threshold}", "study.pruner.options: ThresholdPruner: "),
        ("study.sampler.name=nothing", "There is: brute-force, cmaes"),
        ("study.vary={cell.nam: [rnn]}", "cell.nam: unknown key. Did you mean `name`?"),
        ("study.workers=0", "study.workers: 0 is not among the choices; allowed: auto or a whole number >= 1"),
    ],
)
def test_a_wrong_request_is_an_error_and_nothing_is_written(unshipped, call, wrong: str, message: str) -> None:
    file = unshipped.write(SEARCH)
    done = call("study", "run", file, "--set", wrong)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert sorted(path.name for path in unshipped.path.iterdir()) == ["mine.yaml"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers: 0 is too small; allowed: a whole number >= 1"),
        (["--trials", "0"], "--trials: 0 is too small; allowed: a whole number >= 1"),
        (["--trials", "many"], "many"),
    ],
)
def test_a_number_below_one_is_an_error_that_names_the_option(
    unshipped, call, options: list[str], message: str
) -> None:
    done = call("study", "run", unshipped.write(SEARCH), *options)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (unshipped.path / "optuna.db").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("task.length: [16, 32]", "task.lenght: [16, 32]", "task.lenght: unknown key. Did you mean `length`?"),
        ("task.length: [16, 32]", "task.length: [16, 1]", "task.length: task `adding` cannot have 1 steps; allowed: "),
        ("task.length: [16, 32]", "train.batch_size: [8, 0]", "train.batch_size: 0 is too small"),
    ],
)
def test_a_wrong_varied_value_is_an_error_with_its_line(
    unshipped, call, old: str, new: str, message: str, line_of, small
) -> None:
    file = unshipped.path / "mine.yaml"
    file.write_text(small.replace(old, new))
    for command in (["study", "run"], ["check"]):
        done = call(*command, file)
        assert done.code == 2
        assert f"mine.yaml:{line_of(old)}: {message}" in done.err
    assert not (unshipped.path / "optuna.db").exists()


def test_a_file_of_a_run_is_no_study_and_a_study_is_no_run(unshipped, call, line_of, small) -> None:
    file = unshipped.path / "small.yaml"
    file.write_text(small)
    many = call("run", file)
    assert many.code == 2
    assert (
        f"{file}:{line_of('study:')}: study: this describes many runs; run them with `undertow study run`" in many.err
    )
    plain = unshipped.path / "plain.yaml"
    plain.write_text(small.partition("study:")[0])
    one = call("study", "run", plain)
    assert one.code == 2
    assert f"study: this section is missing, so this is a single run: undertow run {plain}" in one.err
    assert sorted(path.name for path in unshipped.path.iterdir()) == ["plain.yaml", "small.yaml"]


def test_check_and_show_read_a_study(unshipped, call, line_of, small) -> None:
    file = Path("small.yaml")  # short: a table breaks long cells
    file.write_text(small)
    assert call("check", file).out == f"ok  {file}  small: 8 runs\n"
    shown = {line.split()[0]: line.split()[1:] for line in call("show", file).out.splitlines() if line}
    assert shown["cell.name"] == ["rnn", f"{file}:{line_of('cell.name')}", "(vary)"]
    assert shown["cell.hidden_size"] == ["4", f"{file}:3"]
    resolved = Path("resolved.yaml")
    resolved.write_text(call("show", file, "--resolved").out)
    assert call("check", resolved).out == f"ok  {resolved}  small: 8 runs\n"
