"""`undertow study run` with a replaced study."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.report.results import CombinationResult, StudyResults
from undertow.studies import run

Call = Callable[..., Any]


@pytest.fixture
def study(runs: Path, digits: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study file; running it returns one complete combination at once."""
    nothing: Any = None
    results = StudyResults("digits", "", "", nothing, (), {}, (CombinationResult({}, 0, "complete"),), nothing)
    monkeypatch.setattr(run, "run_study", lambda *_, **__: (results, runs / "digits" / "report.html"))
    path = Path("study.yaml")
    path.write_text(f"{digits.read_text()}study: {{name: digits, vary: {{seed: [0]}}}}\n")
    return path


@pytest.mark.parametrize("words", [[], ["--json"]], ids=["table", "json"])
def test_a_study_is_done_even_if_its_results_cannot_be_shown(call: Call, study: Path, words: list[str]) -> None:
    code, _, err = call("study", "run", study, "--quiet", *words)  # its folder does not exist
    assert code == 0
    assert "the study is done, but its results cannot be shown: " in err
