"""A study's configuration: loaded completely, or refused with the place of every mistake."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertow.errors import RequestError
from undertow.studies.plan.load import LoadedStudy, load_study, load_study_mapping

STUDY = """\
task: {name: digits-by-pixel}
cell: {hidden_size: 8}
study:
  vary:
    cell.name: [rnn, lstm]
    task.length: [64, 128]
    seed: [0, 1, 2]
  search:
    optim.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
  samples: 2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "lengths.yaml"
    path.write_text(STUDY)
    return path


def test_a_study_is_named_after_its_folder_and_file(file: Path) -> None:
    loaded = load_study(file)
    assert loaded.name == f"{file.parent.name}-lengths"
    assert len(list(loaded.space.combinations())) == 2 * 2 * 3 * 2


@pytest.mark.parametrize("name", ["it's", "a`b", "new\nline", "1+1", "long" * 50])
def test_a_folder_and_file_name_that_cannot_name_a_study_is_refused_with_one_that_can(file: Path, name: str) -> None:
    other = file.rename(file.with_name(f"{name}.yaml"))
    with pytest.raises(RequestError, match=r"study\.name: without one, folder and file name are the name") as caught:
        load_study(other)
    remedy = str(caught.value).rpartition("--set '")[2].removesuffix("'")
    assert load_study(other, [remedy]).name == remedy.partition("=")[2]


def test_a_combination_becomes_a_complete_configuration_named_by_its_factors(file: Path) -> None:
    config = load_study(file).experiment({"cell.name": "lstm", "task.length": 128, "seed": 2, "optim.lr": 0.005})
    assert (config.cell.name, config.task.length, config.seed, config.optim.lr) == ("lstm", 128, 2, 0.005)
    assert config.run_name == "lstm-T128-s2-lr=0.005"
    assert config.study is None
    assert config.plugins.strict


def test_the_yaml_of_a_study_loads_back_to_an_equal_one(file: Path) -> None:
    loaded = load_study(file)
    copy = file.with_name("copy.yaml")
    copy.write_text(loaded.yaml())
    assert load_study(copy).yaml() == loaded.yaml()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("study.vary={cell.name: [rnn, lstn]}", "cell.name: there is no cell 'lstn'. Did you mean `lstm`?"),
        ("study.vary={cell.name: [rnn], task.length: [20]}", "cannot have 20 steps; allowed: 64 or more"),
        ("study.vary={cell.hidden_sise: [8]}", "cell.hidden_sise: unknown key. Did you mean `hidden_size`?"),
        ("study.vary={seed: [0, 0]}", "vary.seed: a value is there twice"),
        ("study.vary={optim.weight_decay: [1, 1.0]}", "a value is there twice: 1 and 1.0 are the same; keep one"),
        ("study.vary={optim.betas: [[0, 0.5], [0.0, 0.5]]}", "[0, 0.5] and [0.0, 0.5] are the same; keep one"),
        ("study.vary={optim.betas: [[0.9, 2]]}", "optim.betas.1: 2 is too large"),
        ("study.vary={optim.betas: [{a: 1}]}", "study.vary.optim.betas.0: {'a': 1} is not among the choices"),
        ("study.vary={seed: []}", "study.vary.seed: [] has too few entries"),
        ("study.seeds=4", "study: `seeds: 4` is short for `vary: {seed: [0, …, 3]}`, and `vary` has a seed: keep one"),
        (
            "study.seeds=many",
            "--set study.seeds=many: study.seeds: 'many' is not a whole number; allowed: a whole number",
        ),
        ("study.seeds=0", "study.seeds: 0 is too small; allowed: a whole number >= 1 and <= 10000"),
        ("study.seeds=100000000000", "study.seeds: 100000000000 is too large"),
        ("study.seeds=[0, 1]", "study.seeds: [0, 1] is not a whole number"),
        ("study.pack=all", "study.pack: 'all' is not among the choices; allowed: auto, off or a whole number >= 1"),
        ("study.pack=0", "study.pack: 0 is not among the choices"),
        (
            "study.pack=4",
            "study.pack: 4 runs side by side are impossible with study.search: every run has sampled values",
        ),
        ("study.search={seed: {low: 0, high: 9}}", "a seed is a replicate, not something to tune; put it into `vary`"),
        ("study.search={optim.lr: {low: 1.0}}", "give either `low` and `high`, or `choices`"),
        ("study.search={optim.lr: {low: -1.0, high: 1.0}}", "optim.lr: -1.0 is too small; allowed: a number > 0"),
        ("study.search={optim.lr: {low: 0.0, high: 1.0, log: true}}", "a range on a log scale starts above 0"),
        ("study.search={optim.lr: {low: 1, high: 2, when: {cel.name: rnn}}}", "Did you mean `cell.name`?"),
        ("study.samples=null", "`search` needs `samples`"),
        ("study.enqueue=[{optim.lr: 9}]", "study.enqueue.0.optim.lr: the search of `optim.lr` does not take 9: "),
        ("study.enqueue=[{optim.lrr: 9}]", "optim.lrr: this key is not searched. Did you mean `optim.lr`?"),
        ("study.enqueue=[{}, {}, {}, {}, {}, {}, {}]", "`enqueue` has 7 settings, and `samples` is "),
        (
            "study.objectives=[{metric: test/accuracy}]",
            "study.objectives.0.metric: 'test/accuracy' is measured once, after training, and nothing is chosen by it",
        ),
        ("study.objectives=[{metric: val/acuracy}]", "has no metric 'val/acuracy'. Did you mean `val/accuracy`?"),
        ("study.sampler.name=grid", "there is no sampler 'grid'"),
        ("study.pruner.name=medain", "there is no pruner 'medain'. Did you mean `median`?"),
        ("study.trials=3", "--set study.trials=3: study.trials: renamed to `study.samples`"),
        ("study.wrokers=2", "study.wrokers: unknown key. Did you mean `workers`?"),
        ("study=null", "so this is a single run: undertow run"),
    ],
)
def test_a_mistake_is_an_error_with_its_key_and_remedy(file: Path, override: str, message: str) -> None:
    with pytest.raises(RequestError) as error:
        load_study(file, [override])
    assert message in str(error.value)


def test_seeds_are_short_for_the_same_seeds_in_vary(file: Path) -> None:
    vary = load_study(file, ["study.vary={cell.name: [rnn, lstm], seed: [0, 1, 2, 3]}"])
    short = load_study(file, ["study.vary={cell.name: [rnn, lstm]}", "study.seeds=4"])
    assert short.space == vary.space
    assert short.yaml() == vary.yaml()
    file.write_text(STUDY.replace("    seed: [0, 1, 2]\n", "") + "  seeds: 3\n")
    loaded = load_study(file)
    assert loaded.origins()["seed"] == f"{file}:10 (vary)"
    assert len(list(load_study(file, ["study.seeds=16"]).space.combinations())) == 2 * 2 * 16 * 2


def test_seeds_alone_are_a_study(file: Path) -> None:
    loaded = load_study(file, ["study={seeds: 2}", "cell.name=rnn"])
    assert [str(each) for each in loaded.space.combinations()] == ["seed=0", "seed=1"]


def test_a_number_of_packed_runs_that_is_impossible_is_an_error_with_the_line_of_what_forbids_it(file: Path) -> None:
    file.write_text(
        "task: {name: digit}\ncell:\n  name: rnn\n  dropout: 0.5\nstudy:\n  vary: {seed: [0, 1]}\n  pack: 2\n"
    )
    with pytest.raises(RequestError) as error:
        load_study(file)
    assert str(error.value).startswith(f"{file}:7: study.pack: 2 runs side by side are impossible with cell.dropout: ")
    assert f"({file}:4)" in str(error.value)


def test_a_mistake_in_the_file_is_an_error_with_its_line(file: Path) -> None:
    file.write_text(STUDY.replace("lstm]", "lstn]"))
    with pytest.raises(RequestError, match=r"lengths\.yaml:5: cell\.name: there is no cell 'lstn'"):
        load_study(file)


def test_several_objectives_exclude_a_pruner(load: Callable[..., LoadedStudy]) -> None:
    with pytest.raises(RequestError, match="Optuna prunes by one objective only"):
        load("study.objectives=[{metric: val/loss}, {metric: cost/flops}]", "study.pruner.name=median")


def test_a_case_sets_several_keys_and_names_the_run(file: Path) -> None:
    cases = "study.cases={wide: {cell.hidden_size: 99}, chrono: {cell.options.lstm.chrono: true}}"
    loaded = load_study(file, [cases, "study.vary={seed: [0]}", "cell.name=lstm"])
    wide, chrono = (loaded.experiment(point) for point in loaded.space.points())
    assert (wide.cell.hidden_size, wide.run_name) == (99, "lstm-T64-s0-wide")
    assert chrono.cell.options["lstm"]["chrono"] is True


def test_a_case_may_set_a_list(file: Path) -> None:
    loaded = load_study(
        file, ["study.cases={slow: {optim.betas: [0.5, 0.99]}}", "study.vary={seed: [0]}", "cell.name=rnn"]
    )
    (config,) = (loaded.experiment(point) for point in loaded.space.points())
    assert config.optim.betas == (0.5, 0.99)


def test_numpy_s_numbers_and_arrays_are_those_of_python(mapping: dict[str, Any]) -> None:
    mapping["cell"]["hidden_size"] = np.int64(4)
    mapping["study"]["vary"] = {
        "optim.lr": np.array([0.5, 0.25]),
        "seed": [np.int32(3)],
        "cell.name": np.array(["rnn"]),
    }
    mapping["optim"] = {"weight_decay": np.float32(0.5)}
    loaded = load_study_mapping(mapping)
    first, second = loaded.space.points()
    assert (first, second["optim.lr"]) == ({"optim.lr": 0.5, "seed": 3, "cell.name": "rnn"}, 0.25)
    assert type(first["optim.lr"]) is float
    mapping["optim"] = {"weight_decay": np.longdouble(0.5)}
    with pytest.raises(RequestError, match="is of type longdouble, which YAML cannot hold"):
        load_study_mapping(mapping)


def test_a_mistake_in_a_case_is_an_error_with_its_line(file: Path) -> None:
    file.write_text(STUDY + "  cases:\n    wide: {cell.hidden_size: -1}\n")
    with pytest.raises(RequestError, match=r"lengths\.yaml:12: cell\.hidden_size: -1 is too small"):
        load_study(file)


@pytest.mark.parametrize(
    ("study", "mistake"),
    [
        (
            "{vary: {optim.scheduler.name: [constant, plateau]}, samples: 1, "
            "search: {optim.scheduler.warmup_steps: {low: 0, high: 100}}}",
            "a plateau schedule has no warm-up",
        ),
        (
            "{samples: 1, search: {optim.scheduler.warmup_steps: {low: 0, high: 9}, "
            "optim.scheduler.name: {choices: [constant, plateau]}}}",
            "a plateau schedule has no warm-up",
        ),
        (
            "{samples: 1, search: {optim.scheduler.name: {choices: [constant, plateau]}, "
            "optim.scheduler.warmup_steps: {low: 0, high: 9, when: {optim.scheduler.name: plateau}}}}",
            "a plateau schedule has no warm-up",
        ),
        (
            "{samples: 1, search: {cell.name: {choices: [rnn, lstm]}, "
            "cell.options.lstm.forget_bias: {choices: [1.0, soon]}}}",
            "forget_bias",
        ),
    ],
    ids=["varied", "searched", "searched when", "option of a searched cell"],
)
def test_a_search_that_is_impossible_anywhere_is_refused(file: Path, study: str, mistake: str) -> None:
    with pytest.raises(RequestError, match=mistake):
        load_study(file, [f"study={study}", "cell.name=lstm"])


def test_a_searched_value_that_matters_only_where_it_is_possible_is_accepted(file: Path) -> None:
    study = (
        "{vary: {optim.scheduler.name: [constant, plateau]}, samples: 1, search: {optim.scheduler.warmup_steps: "
        "{low: 1, high: 100, when: {optim.scheduler.name: constant}}}}"
    )
    assert load_study(file, [f"study={study}", "cell.name=lstm"]).space.search


def test_the_end_of_a_range_that_no_step_reaches_is_not_checked(file: Path) -> None:
    study = "study={samples: 1, search: {optim.scheduler.warmup_steps: {low: 0, high: 99, step: 100}}}"
    plateau = ["optim.scheduler.name=plateau", "cell.name=lstm"]
    assert load_study(file, [study, *plateau]).space.search
    with pytest.raises(RequestError, match="a plateau schedule has no warm-up"):
        load_study(file, [study.replace("99", "100"), *plateau])
