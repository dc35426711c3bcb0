"""`undertow run --seeds`: one table of all replicates, or one JSON object, and what has failed."""

from pathlib import Path

import pytest
from rich.console import Console

from undertow.cli.output.replicates import replicates_table, summary
from undertow.config.schema import ExperimentConfig
from undertow.errors import Interrupted
from undertow.runs import replicates
from undertow.runs.experiment import RunResult


def replicate(seed: int, home: Path, **metrics: float) -> RunResult:
    config = {"cell": {"name": "gru"}, "task": {"name": "digits-by-pixel", "length": 64}, "seed": seed}
    folder = home / f"gru-T64-s{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    named = {name.replace("__", "/"): value for name, value in metrics.items()}
    return RunResult(folder.name, folder, "id", True, 1, named, {}, ExperimentConfig.model_validate(config))


def rendered(results: list[RunResult]) -> list[list[str]]:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(replicates_table(results))
    return [line.split() for line in capture.get().splitlines() if line.strip()]


def test_a_few_replicates_have_their_median_and_range(tmp_path: Path) -> None:
    reach = "gradient__input__reach"
    results = [
        replicate(0, tmp_path, test__accuracy=0.5, **{reach: 63.0, f"{reach}_censored": 1.0}),
        replicate(1, tmp_path, test__accuracy=0.25, **{reach: 20.0, f"{reach}_censored": 0.0}),
        replicate(2, tmp_path, test__accuracy=1.0, **{reach: 30.0, f"{reach}_censored": 0.0}),
    ]
    assert rendered(results) == [
        ["range"],
        ["median", "from", "to", "n"],
        ["─" * len(rendered(results)[2][0])],
        ["test/accuracy", "0.5", "0.25", "1", "3"],
        ["reach", "of", "∂L/∂x", "30", "20", ">", "63", "3"],
    ]


def test_a_measure_that_one_replicate_lacks_says_how_many_have_it(tmp_path: Path) -> None:
    results = [replicate(0, tmp_path, val__loss=1.0, test__loss=2.0), replicate(1, tmp_path, val__loss=3.0)]
    assert rendered(results)[-2:] == [["test/loss", "2", "1"], ["val/loss", "2", "1", "3", "2"]]


def test_many_replicates_have_an_interval(tmp_path: Path) -> None:
    results = [replicate(seed, tmp_path, val__loss=float(seed)) for seed in range(12)]
    assert rendered(results)[:2] == [["95", "%", "interval"], ["IQM", "from", "to", "n"]]
    assert summary(results)["val/loss"]["iqm"] == 5.5
    assert summary(results)["val/loss"]["spread"] == "95 % interval"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Replace the training of replicates; the keys `failures` and `error` say how it ends."""
    seen: dict[str, object] = {"failures": []}

    def run_replicates(loaded, count, *, home, progress, on_start, note):
        print("printed by a plugin")
        if "error" in seen:
            raise seen["error"]
        seen.update(count=count, progress=progress, seed=loaded.config.seed)
        done = count - len(seen["failures"])
        return [replicate(seed, home, val__loss=float(seed)) for seed in range(done)], seen["failures"]

    monkeypatch.setattr(replicates, "run_replicates", run_replicates)
    return seen


def test_one_table_shows_all_replicates(call, digits: Path, seen) -> None:
    outcome = call("run", digits, "--seeds", 3)
    assert outcome.code == 0
    assert outcome.out.startswith("gru on digits-by-pixel, 64 time steps: 3 replicates, seed 0, 1, 2\n")
    assert (seen["count"], seen["progress"]) == (3, True)
    assert outcome.out.count("val/loss") == 1
    assert "printed by a plugin" in outcome.err


def test_json_has_every_run_and_the_summary(call, digits: Path, seen) -> None:
    document = call("run", digits, "--seeds", 3, "--quiet", "--json").document
    assert [run["metrics"]["val/loss"] for run in document["runs"]] == [0.0, 1.0, 2.0]
    assert document["summary"] == {
        "val/loss": {"median": 1.0, "low": 0.0, "high": 2.0, "spread": "range", "n": 3},
    }
    assert document["failures"] == []
    assert seen["progress"] is False


def test_one_that_has_failed_is_named_and_the_exit_code_is_1(call, digits: Path, seen) -> None:
    seen["failures"] = ["gru-T64-s2-abc: the training loss became nan at step 3"]
    outcome = call("run", digits, "--seeds", 3)
    assert outcome.code == 1
    assert "gru-T64-s2-abc: the training loss became nan at step 3" in outcome.err
    assert "2 replicates, seed 0, 1" in outcome.out


def test_a_stop_says_how_to_continue(call, digits: Path, seen) -> None:
    seen["error"] = Interrupted("gru-T64-s0: stopped. Continue with: undertow run --resume x")
    outcome = call("run", digits, "--seeds", 3)
    assert outcome.code == 1
    assert "undertow run --resume x" in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "3", "--resume", "x"], "--seeds starts new runs: leave out --resume, which continues one"),
        (["digits.yaml", "--seeds", "many"], "Invalid value"),
    ],
)
def test_wrong_requests_are_refused(call, digits: Path, words, message: str) -> None:
    outcome = call("run", *words)
    assert outcome.code == 2
    assert message in outcome.err
