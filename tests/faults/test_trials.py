"""Faults of a trial: that trial alone fails, with its reason, and the others run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from undertow.studies.plan.load import LoadedStudy
from undertow.studies.run import run_study
from undertow.studies.work.driver import ProgressView

Bombs = Callable[..., LoadedStudy]

pytestmark = pytest.mark.slow


def test_each_fault_fails_its_own_trial_only(
    bombs: Bombs, home: Path, notes: ProgressView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undertow.studies.work.driver._SAVE_SECONDS", 0.5)
    modes = ["raise", "die", "memory", "nan", "hang", "fine"]
    results, _ = run_study(
        bombs("study.trial_timeout=6", "study.memory_per_trial=0.5", modes=modes), home=home, watch=notes
    )
    found = {str(trial.params["cell.options.bomb.mode"]): trial for trial in results.combinations}
    assert {mode: trial.state for mode, trial in found.items()} == {
        mode: "complete" if mode == "fine" else "failed" for mode in modes
    }
    assert "ValueError: it broke" in found["raise"].reason
    assert "SIGKILL" in found["die"].reason
    assert "out of memory" in found["memory"].reason
    assert "the training loss became nan" in found["nan"].reason
    assert "took longer than 6 s" in found["hang"].reason
    assert found["fine"].steps == 20


def test_a_lost_trial_resumes_from_its_checkpoint_in_the_same_run(
    bombs: Bombs, home: Path, notes: ProgressView
) -> None:
    results, _ = run_study(bombs("study.retries=1", modes=["once"]), home=home, watch=notes)
    (trial,) = results.combinations
    assert (trial.state, trial.attempts, trial.steps) == ("complete", 2, 20)
    folders = [path.parent for path in home.glob("*/result.json")]
    assert len(folders) == 1
    outbox = (folders[0] / "outbox.jsonl").read_text()
    assert outbox.count('"kind":"start"') == 1
    assert '"status":"RUNNING"' in outbox
    assert '"status":"FINISHED"' in outbox


def test_a_run_whose_gradient_does_not_reach_the_cue_is_pruned_at_once(
    bombs: Bombs, home: Path, notes: ProgressView
) -> None:
    loaded = bombs(
        "task={name: digits-by-pixel, length: 256}",
        "cell={name: rnn, hidden_size: 4}",
        "probes=[{name: gradient-profile}]",
        "study.vary={seed: [0]}",
        "study.prune={gradient_at_cue: 1.0e-12}",
        "train.max_steps=100000",
    )
    (trial,) = run_study(loaded, home=home, watch=notes)[0].combinations
    assert trial.state == "pruned"
    assert "the gradient at the cue is 1e-" in trial.reason
    assert trial.steps < 50000


def test_a_pruner_of_optuna_ends_a_run_that_is_worse(bombs: Bombs, home: Path, notes: ProgressView) -> None:
    loaded = bombs(
        "study.vary={seed: [0, 1]}",
        "study.pruner={name: threshold, options: {upper: 0.001}}",
        "study.workers=1",
        "cell.options.bomb.mode=slow",
        "train.max_steps=400",
    )
    results, _ = run_study(loaded, home=home, watch=notes)
    assert [trial.state for trial in results.combinations] == ["pruned", "pruned"]
    assert all("threshold: val/loss is" in trial.reason and trial.steps < 400 for trial in results.combinations)
